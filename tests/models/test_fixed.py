"""Rounding, saturation, wrapping and quantisation against exact rationals."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from thresher.models.fixed import (
    ROUNDINGS,
    dequantise,
    limits,
    quantise,
    round_shift,
    saturate,
    wrap,
)

EXACT = {
    "half_up": lambda x: math.floor(x + Fraction(1, 2)),
    "nearest_even": round,
    "toward_zero": math.trunc,
}


@pytest.mark.parametrize("mode", ROUNDINGS)
@pytest.mark.parametrize("n", range(-3, 8))
def test_round_shift_is_exact(mode, n):
    values = np.arange(-300, 300)
    want = [EXACT[mode](Fraction(int(v)) / Fraction(2) ** n) for v in values]
    assert round_shift(values, n, mode).tolist() == want
    assert round_shift(torch.from_numpy(values), n, mode).tolist() == want
    assert [round_shift(int(v), n, mode) for v in values] == want


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", range(1, 9))
def test_saturate_and_wrap(bits, signed):
    low, high = limits(bits, signed)
    assert (high - low + 1, low < 0) == (2**bits, signed)
    values = np.arange(-600, 600)
    clamped = [sorted((low, int(v), high))[1] for v in values]
    wrapped = [next(w for w in range(low, high + 1) if (w - v) % 2**bits == 0) for v in values]
    for function, want in ((saturate, clamped), (wrap, wrapped)):
        assert function(values, bits, signed).tolist() == want
        assert function(torch.from_numpy(values), bits, signed).tolist() == want
        assert [function(int(v), bits, signed) for v in values] == want


@pytest.mark.parametrize("mode", ROUNDINGS)
@pytest.mark.parametrize("frac", [-2, 0, 3])
def test_quantise_is_exact_on_and_beside_ties(mode, frac):
    ties = np.arange(-80, 80) / 2.0 / 2.0**frac
    x = np.concatenate([np.nextafter(ties, -1e9), ties, np.nextafter(ties, 1e9), [1e300, -np.inf]])
    with np.errstate(over="ignore"):
        clipped = np.clip(x, -1e6, 1e6)
    want = [saturate(EXACT[mode](Fraction(float(v)) * Fraction(2) ** frac), 6) for v in clipped]
    assert quantise(x, frac, 6, mode).tolist() == want
    assert quantise(torch.from_numpy(x), frac, 6, mode).tolist() == want
    assert [int(quantise(float(v), frac, 6, mode)) for v in x] == want


def test_dequantise_inverts():
    values = np.arange(-128, 128)
    assert (quantise(dequantise(values, 5), 5, 8) == values).all()
    assert (quantise(dequantise(torch.from_numpy(values), -3), -3, 8).numpy() == values).all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        quantise(np.array([0.0, np.nan]), 3, 8)
    with pytest.raises(TypeError, match="float64"):
        round_shift(np.array([0.5]), 1)
    with pytest.raises(TypeError, match="float32"):
        saturate(torch.tensor([0.5]), 1)
    with pytest.raises(ValueError, match="'up'"):
        round_shift(3, 1, "up")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="'up'"):
        quantise(3.0, 1, 8, "up")  # pyright: ignore[reportArgumentType]
