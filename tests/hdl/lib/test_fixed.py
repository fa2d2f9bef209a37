"""Rounding and saturation: every operand of every width up to 8 bits, every mode."""

import numpy as np
import pytest
from amaranth.hdl import Shape, Signal, Value, signed, unsigned
from thresher.hdl.lib import fixed
from thresher.models import fixed as model

SHAPES = [Shape(width, is_signed) for width in range(1, 9) for is_signed in (False, True)]


def everything(shape: Shape) -> np.ndarray:
    """All integers of ``shape``, repeated to 256."""
    low, high = fixed.bounds(shape)
    return np.resize(np.arange(low, high + 1), 256)


def check(evaluate, function, reference) -> list[tuple[Shape, int, Shape, np.ndarray]]:
    """Holds ``function(value, n)`` equal to ``reference(integers, shape, n)`` for
    every operand of every shape and every n; gives (shape, n, result's shape, integers).
    """
    cases = [(shape, n) for shape in SHAPES for n in range(-2, 11)]
    built: list[Value] = []

    def build(*signals: Signal) -> list[Value]:
        built.extend(function(s, n) for s in signals for n in range(-2, 11))
        return built

    got = evaluate(SHAPES, build, [everything(shape) for shape in SHAPES])
    checked = []
    for (shape, n), value, integers in zip(cases, built, got, strict=True):
        want = reference(everything(shape), shape, n)
        np.testing.assert_array_equal(integers, want, err_msg=f"{shape}, n = {n}")
        checked.append((shape, n, value.shape(), integers))
    return checked


@pytest.mark.parametrize("mode", model.ROUNDINGS)
def test_round_shift(evaluate, mode):
    checked = check(
        evaluate,
        lambda value, n: fixed.round_shift(value, n, mode),
        lambda integers, _, n: model.round_shift(integers, n, mode),
    )
    for shape, _, got, integers in checked:
        low, high = int(integers.min()), int(integers.max())
        assert got == fixed.narrowest(low, high, shape.signed)


@pytest.mark.parametrize("target_signed", [None, False, True])
def test_saturate(evaluate, target_signed):
    def is_signed(shape: Shape) -> bool:
        return shape.signed if target_signed is None else target_signed

    checked = check(
        evaluate,
        lambda value, n: fixed.saturate(value, n + 3, target_signed),
        lambda integers, shape, n: model.saturate(integers, n + 3, is_signed(shape)),
    )
    for shape, n, got, _ in checked:
        assert got == Shape(n + 3, is_signed(shape))


def test_rounding_is_no_wider_than_the_result_needs():
    assert fixed.round_shift(Signal(signed(16)), 8).shape() == signed(9)
    assert fixed.round_shift(Signal(signed(16)), 8, "toward_zero").shape() == signed(8)
    assert fixed.round_shift(Signal(unsigned(16)), 16).shape() == unsigned(1)


def test_bad_requests_name_the_way_out():
    with pytest.raises(ValueError, match="'up' is not one of half_up"):
        fixed.round_shift(Signal(4), 1, "up")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="0 bits; ask for at least 1"):
        fixed.saturate(Signal(4), 0)
