"""Tables in integers."""

import numpy as np
import pytest
from thresher.models.amu.encoder import Encoder
from thresher.models.amu.layer import Format, Layer
from thresher.models.amu.tables import quantise, quantise_like_bolt


def drawn(rng):
    books, levels, outputs = rng.integers(1, 6), rng.integers(1, 5), rng.integers(1, 7)
    tables = rng.normal(rng.normal(0, 5), 1, (books, 1 << levels, outputs)) * rng.uniform(0.01, 30)
    return tables, rng.normal(0, 10, outputs)


@pytest.mark.parametrize("seed", range(8))
def test_integers_are_as_near_as_their_scale_allows(seed):
    rng = np.random.default_rng(seed)
    tables, bias = drawn(rng)
    bits = int(rng.integers(2, 13))
    found = quantise(tables, bias, bits)
    assert Format(bits).holds(found.tables)
    assert found.tables.max() == (1 << bits) - 1  # the whole range is in use
    assert (found.tables.min(axis=1) == 0).all()
    codes = rng.integers(0, tables.shape[1], (50, len(tables)))
    encoder = Encoder(np.zeros((len(tables), tables.shape[1].bit_length() - 1), int),
                      np.zeros((len(tables), tables.shape[1] - 1), int))  # fmt: skip
    sums = Layer(encoder, found.tables, found.bias).sums(codes) / found.scale
    exact = bias + sum(tables[c, codes[:, c]] for c in range(len(tables)))
    assert np.abs(sums - exact).max() <= (len(tables) + 1) / 2 / found.scale * (1 + 1e-9)


def test_rounding_is_half_up_and_zero_points_go_into_the_bias():
    tables = np.array([[[-1.0, 10.0], [0.5, 10.5]], [[3.0, 0.0], [3.0, 0.25]]])
    found = quantise(tables, np.array([0.25, -20.0]), 4, scale=1)
    assert found.tables.tolist() == [[[0, 0], [2, 1]], [[0, 0], [0, 0]]]
    assert found.bias.tolist() == [2, -10]  # of 2.25, and of -20 + 10 + 0


def test_a_given_scale_must_fit():
    tables = np.array([[[0.0], [8.0]]])
    assert quantise(tables, np.zeros(1), 8, scale=31.875).tables.max() == 255
    with pytest.raises(ValueError, match=r"256 at the scale 32,.*8 bits.*at most 31\.875"):
        quantise(tables, np.zeros(1), 8, scale=32)
    for scale in (0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="scale"):
            quantise(tables, np.zeros(1), 8, scale=scale)


def test_tables_that_say_nothing_are_zero():
    found = quantise(np.full((2, 4, 3), 7.5), np.ones(3))
    assert not found.tables.any()
    assert (found.bias / found.scale == 16).all()
    with pytest.raises(ValueError, match="no scale"):
        quantise_like_bolt(np.zeros((1, 2, 3)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad):
    tables = np.zeros((1, 2, 3))
    tables[0, 1, 2] = bad
    for call in (lambda: quantise(tables, np.zeros(3)), lambda: quantise_like_bolt(tables)):
        with pytest.raises(ValueError, match="NaN or infinity"):
            call()
    with pytest.raises(ValueError, match="bias"):
        quantise(np.zeros((1, 2, 3)), np.array([0, bad, 0]))
    with pytest.raises(ValueError, match=r"bias.*\(3,\)"):
        quantise(np.zeros((1, 2, 3)), np.zeros(2))
    with pytest.raises(ValueError, match="0 bits"):
        quantise(np.zeros((1, 2, 3)), np.zeros(3), 0)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        quantise(np.zeros((2, 3)), np.zeros(3))


def test_bolts_scale_is_a_hair_below_a_power_of_two():
    rng = np.random.default_rng(1)
    for _ in range(20):
        tables, _ = drawn(rng)
        found = quantise_like_bolt(tables)
        exponent = np.log2(found.scale / 255.5)
        assert abs(exponent - round(exponent)) < 1e-9
        assert 127 <= found.tables.max() <= 255
        assert (found.tables.min(axis=(1, 2)) == 0).all()
