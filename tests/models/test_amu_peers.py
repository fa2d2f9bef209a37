"""Other implementations' parameters give their codes, tables and sums."""

import numpy as np
import pytest
from thresher.models import data
from thresher.models.amu.encoder import Encoder
from thresher.models.amu.half import sortable
from thresher.models.amu.peers import bolt, halut, ordered
from thresher.models.amu.tables import quantise_like_bolt

SMALL = [("ar1", 4), ("ar1", 8), ("ar1", 16), ("uni", 8), ("digits", 8), ("digits", 16)]


def stored(name):
    """The arrays whose names begin so, without the beginning."""
    file = data.load("halut_bolt_small.npz")
    return {k.removeprefix(name): v for k, v in file.items() if k.startswith(name)}


def rows_and_weight(name):
    file = stored(f"{name}_")
    if name == "digits":
        return data.digits()[0][1400:].astype(np.float32), file["B"]
    return file["A_test"], file["B"]


@pytest.mark.parametrize(("name", "codebooks"), SMALL)
def test_halut_learnt_these_codes_and_tables(name, codebooks):
    found = stored(f"{name}_C{codebooks}_halut_")
    bytes_ = quantise_like_bolt(found["luts"].transpose(1, 2, 0))
    assert (bytes_.tables == found["lut_u8"].transpose(1, 2, 0)).all()
    assert (bytes_.offset, bytes_.scale) == (found["lut_offset"], found["lut_scale"])
    rows, _ = rows_and_weight(name)
    codes = Encoder(found["dims"], found["thresholds"])(rows)
    assert (codes == found["enc"]).all()
    product = halut(found)
    assert (product.layer.encoder(product.rows(rows)) == found["enc"]).all()
    unrounded = found["luts"][:, np.arange(codebooks), codes].sum(axis=2).T
    assert np.abs(unrounded - found["Y"]).max() < 1e-4 * np.abs(found["Y"]).max()
    assert np.abs(product(rows) - found["Y"]).max() * found["lut_scale"] <= codebooks / 2 + 0.01


@pytest.mark.parametrize(("name", "codebooks"), SMALL)
def test_bolt_learnt_these_codes_tables_and_sums(name, codebooks):
    found = stored(f"{name}_C{codebooks}_bolt_")
    rows, weight = rows_and_weight(name)
    bytes_ = quantise_like_bolt(found["centroids"] @ weight)
    assert (bytes_.tables == found["lut_u8"].transpose(1, 2, 0)).all()
    product = bolt(found)
    assert (product.layer.encoder(product.rows(rows)) == found["enc"]).all()
    sums = (found["Y_intsum"] - found["lut_offset"]) * found["lut_scale"]
    assert (product.layer(product.rows(rows)) == np.rint(sums)).all()
    assert np.abs(sums - np.rint(sums)).max() < 0.01


@pytest.mark.parametrize("layer", range(3))
@pytest.mark.parametrize("length", [8, 16])
def test_halut_coded_mnist_so(layer, length):
    network = data.load("mnist_fc_halut.npz")
    x = data.mnist()[0][8000:8256].astype(np.float32) / 255
    for before in range(layer):
        x = np.maximum(x @ network[f"W{before}"] + network[f"b{before}"], 0)
    prefix = f"L{layer}_len{length}_halut_"
    codes = Encoder(network[f"{prefix}dims"], network[f"{prefix}thresholds"])(x)
    assert (codes == network[f"{prefix}enc"]).mean() > 0.9999  # sums of floats round as they may


@pytest.mark.parametrize("name", ["C16M8", "C32M32", "corner_C16M8"])
def test_integers_in_the_order_of_halves_give_the_codes_of_haluts_rtl(name):
    file = data.load("halut_rtl_vectors.npz")
    inputs, thresholds = file[f"{name}_inp"], file[f"{name}_thr"]
    books, levels = inputs.shape[1:]
    dims = np.arange(books * levels).reshape(books, levels)
    thresholds = sortable(thresholds.view(np.uint16).reshape(books, -1)[:, :-1])
    codes = Encoder(dims, thresholds)(sortable(inputs.view(np.uint16)).reshape(len(inputs), -1))
    assert (codes == file[f"{name}_enc"]).all()
    tables = file[f"{name}_lut"].transpose(1, 2, 0).astype(np.int64)
    sums = tables[np.arange(books), codes].sum(axis=1)
    assert (sums == file[f"{name}_out"]).all()
    # Its comparator takes +0 for more than -0, which row 1 of the corner cases meets.
    wrong = (sums != file[f"{name}_rtl_out"]).any(axis=1)
    assert np.flatnonzero(wrong).tolist() == ([1] if name.startswith("corner") else [])


def test_integers_are_in_the_order_of_single_precision():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 1 << 32, 4000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([values[~np.isnan(values)], np.float32([0.0, -0.0, np.inf, -np.inf])])
    integers, other = ordered(values), rng.permutation(len(values))
    assert ((values > values[other]) == (integers > integers[other])).all()
    assert ((values == values[other]) == (integers == integers[other])).all()
    with pytest.raises(ValueError, match="NaN"):
        ordered(np.float32([np.nan]))
