"""The activation tables against floats, far from where floats could be wrong."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from thresher.models.activation import sigmoid_table, table_index, tanh_table


@pytest.mark.parametrize("entries", [16, 256, 4096])
@pytest.mark.parametrize("bits", [2, 8, 16])
def test_entries_are_rounded_half_up(entries, bits):
    for table, fn, span, low in (
        (sigmoid_table(entries, bits), lambda x: 1 / (1 + math.exp(-x)), 16, 0),
        (tanh_table(entries, bits), math.tanh, 8, 1 - 2**bits),
    ):
        assert table.shape == (entries,)
        for a in range(-entries // 2, entries // 2):
            y = fn(a * span / entries) * 2**bits
            fraction = y + 0.5 - math.floor(y + 0.5)
            assert a == 0 or 1e-9 < fraction < 1 - 1e-9, "too near a tie for this check"
            assert table[a] == min(max(math.floor(y + 0.5), low), 2**bits - 1)


def test_symmetry_and_ends():
    s, t = sigmoid_table(256, 8), tanh_table(256, 8)
    assert s[[-128, 0, 127]].tolist() == [0, 128, 255]
    assert t[[-128, 0, 127]].tolist() == [-255, 0, 255]
    assert (t[1:128] == -t[:-128:-1]).all()
    with pytest.raises(ValueError, match="read-only"):
        s[0] = 1  # shared between callers
    with pytest.raises(ValueError, match="power of two"):
        tanh_table(100, 8)


@pytest.mark.parametrize("frac", [-3, 0, 2, 5, 9])
def test_index_rounds_to_the_grid_and_saturates(frac):
    entries, span = 32, 16
    z = np.arange(-9000, 9000)
    exact = [
        math.floor(Fraction(int(v) * entries, span) / Fraction(2) ** frac + Fraction(1, 2))
        for v in z
    ]
    want = [min(max(a, -16), 15) for a in exact]
    assert table_index(z, frac, entries, span).tolist() == want
    assert table_index(torch.from_numpy(z), frac, entries, span).tolist() == want


def test_index_of_a_huge_argument_does_not_overflow():
    z = np.array([2**60, -(2**60)])
    assert table_index(z, -8, 4096, 8).tolist() == [2047, -2048]
