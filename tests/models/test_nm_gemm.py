import numpy as np
import pytest
import torch
from thresher.models import data, floating
from thresher.models.nm.config import NmConfig
from thresher.models.nm.gemm import dense, gemm, order, sparse

SMALL = NmConfig.preset("small")


def random_mask(random: np.random.Generator, config: NmConfig, size: int, columns: int):
    """A choice of its own in every group of every column."""
    scores = random.random((size // config.group, config.group, columns))
    rank = scores.argsort(1).argsort(1)
    return (rank < config.kept).reshape(size, columns)


def test_the_stored_sequence_of_fp16_products_comes_out_bit_for_bit():
    try:
        stored = data.load("nm_masks.npz")
    except data.MissingData as missing:
        pytest.skip(str(missing))
    left, right = stored["mac_x"].astype(np.float32), stored["mac_w"].astype(np.float32).T
    config = NmConfig.preset("large")
    found = gemm(left, *dense(config, "output", right))
    assert np.array_equal(found.view(np.uint32), stored["mac_y_f32_sequential"].view(np.uint32))
    other = gemm(left, *dense(config, "weight", right))
    assert not np.array_equal(other, found), "the order of additions shows in the sums"
    np.testing.assert_allclose(other, stored["mac_y_f64"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("format", [floating.FP16, floating.BF16])
def test_sparse_sums_come_near_fp64s_and_equal_tensors(format: floating.Float):
    random = np.random.default_rng(1)
    config = NmConfig(format=format.name)  # type: ignore[arg-type]
    left = floating.narrow(random.normal(size=(5, 96)), format)
    weights = floating.narrow(random.normal(size=(96, 7)), format)
    mask = random_mask(random, config, 96, 7)
    values, k = sparse(config, weights, mask)
    found = gemm(left, values, k)
    assert found.dtype == np.float32
    want = left.astype(np.float64) @ np.where(mask, weights, 0).astype(np.float64)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)
    tensors = gemm(torch.tensor(left), torch.tensor(values), torch.tensor(k))
    assert np.array_equal(tensors.numpy().view(np.uint32), found.view(np.uint32))
    # Padding by what is not kept changes nothing: entries in ascending k are the whole story.
    assert np.array_equal(gemm(left, *dense(config, "output", np.where(mask, weights, 0))), found)


def test_integers_wrap_as_32_bits_do():
    left = np.full((1, 4), -128, np.int8)
    values, k = dense(SMALL, "weight", np.full((4, 2), -128, np.int8))
    start = np.full((1, 2), 2**31 - 1, np.int32)
    assert gemm(left, values, k, start).tolist() == [[-(2**31) - 1 + 4 * 128**2] * 2]


def test_the_order_of_dense_weight_stationary_sums():
    config = SMALL.replace(rows=4, kept=2, group=4)  # 2 clusters, blocks of 8
    assert order(config, "weight", 8).tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert order(config, "weight", 14).tolist() == [
        0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11,
    ]  # fmt: skip
    assert order(config, "output", 5).tolist() == [0, 1, 2, 3, 4]


def test_infinities_and_zeros_of_either_sign():
    inf, nan = np.float32(np.inf), np.float32(np.nan)
    left = np.array([[inf, 1], [0, -0.0], [inf, inf]], np.float32)
    right = np.array([[1, 0], [1, -1]], np.float32)
    values, k = dense(NmConfig(), "output", right)
    found = gemm(left, values, k)
    want = np.array([[inf, nan], [0, 0], [inf, nan]], np.float32)
    assert np.array_equal(found.view(np.uint32), want.view(np.uint32))


def test_what_cannot_be_multiplied_is_refused():
    weights = np.ones((8, 2), np.int8)
    config = SMALL
    with pytest.raises(ValueError, match="keeps 4 in group 0 of column 0, not kept = 2"):
        sparse(config, weights, weights)
    with pytest.raises(ValueError, match="multiple of group = 4"):
        sparse(config, weights[:6], weights[:6])
    with pytest.raises(ValueError, match="convert one"):
        gemm(np.ones((2, 8), np.float32), *dense(config, "output", weights))
    with pytest.raises(ValueError, match="float64"):
        gemm(np.ones((2, 8)), *dense(config, "output", np.ones((8, 2))))
