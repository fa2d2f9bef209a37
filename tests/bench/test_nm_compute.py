"""Products on the N:M array's core: where known operands lie, and how long they take."""

import numpy as np
import pytest
from thresher.bench._nm_compute import HEADLINE, Point, Product, array, modelled, scalesim
from thresher.models import data


def test_rows_hold():
    """Every bar that the cycle model is judged by."""
    try:
        peers = scalesim()
    except data.MissingData as missing:
        pytest.skip(str(missing))
    rows = list(modelled(peers))
    assert all(row.holds for row in rows if row.bar is not None)
    assert sum(row.bar is not None for row in rows) > 10


@pytest.mark.parametrize("dataflow", ["weight", "output"])
def test_every_column_keeps_entries_of_its_own(dataflow):
    config = array(2, 8, 8)
    product = Product.random(config, Point(8, dataflow, 20, 24, 64, 2, 8))
    groups = product.right.reshape(8, 8, 24) != 0
    assert (groups.sum(1) <= 2).all()
    assert len(np.unique(groups.reshape(64, 24), axis=1).T) == 24


def test_a_wrong_sum_is_found():
    """The comparison with NumPy can fail."""
    config = array(HEADLINE.kept, HEADLINE.group, 8)
    product = Product.random(config, Point(8, "weight", 20, 24, 64, 2, 8))
    sums = np.zeros((2, config.sums_depth, config.columns), np.int64)
    want = product.left @ product.right & 0xFFFFFFFF
    for n in range(24):
        sums[0, n // 8 * 20 + np.arange(20), n % 8] = want[:, n]
    assert product.wrong(config, sums) == 0
    sums[0, 3, 5] ^= 1 << 31
    assert product.wrong(config, sums) == 1
