"""Rounding and saturation: every operand of every width up to 8 bits, every mode."""

import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal, Value, signed, unsigned
from amaranth.sim import Simulator
from thresher.hdl.lib import fixed
from thresher.models import fixed as model

SHAPES = [Shape(width, is_signed) for width in range(1, 9) for is_signed in (False, True)]


def operands(shape: Shape) -> np.ndarray:
    """All integers of ``shape``, repeated to 256."""
    low, high = fixed.bounds(shape)
    return np.resize(np.arange(low, high + 1), 256)


def evaluate(build) -> tuple[list[Value], list[list[int]]]:
    """The results of ``build(operand)`` of every shape, for every operand."""
    inputs = {(s.width, s.signed): Signal(s) for s in SHAPES}
    results = [result for operand in inputs.values() for result in build(operand)]
    m = Module()
    outputs = [Signal(result.shape()) for result in results]
    m.d.comb += [output.eq(result) for output, result in zip(outputs, results, strict=True)]
    values = []

    async def bench(ctx):
        for k in range(256):
            for signal in inputs.values():
                ctx.set(signal, int(operands(signal.shape())[k]))
            values.append([ctx.get(output) for output in outputs])

    sim = Simulator(m)
    sim.add_testbench(bench)
    sim.run()
    return results, [list(column) for column in zip(*values, strict=True)]


def check(cases, build_one, reference) -> None:
    results, columns = evaluate(lambda operand: [build_one(operand, *case) for case in cases])
    expected = [(shape, case) for shape in SHAPES for case in cases]
    for (shape, case), result, column in zip(expected, results, columns, strict=True):
        want = reference(operands(shape), shape, *case)
        np.testing.assert_array_equal(column, want, err_msg=f"{shape} {case}")
        yield shape, case, result.shape(), want


@pytest.mark.parametrize("mode", model.ROUNDINGS)
def test_round_shift(mode):
    cases = [(n,) for n in range(-2, 11)]
    for shape, _, got, want in check(
        cases,
        lambda value, n: fixed.round_shift(value, n, mode),
        lambda v, _, n: model.round_shift(v, n, mode),
    ):
        low, high = int(want.min()), int(want.max())
        if any(want):
            assert got == fixed.narrowest(low, high, shape.signed)
        else:
            assert got == Shape(1, shape.signed)


@pytest.mark.parametrize("target_signed", [None, False, True])
def test_saturate(target_signed):
    def reference(v, shape, bits):
        return model.saturate(v, bits, shape.signed if target_signed is None else target_signed)

    for shape, (bits,), got, _ in check(
        [(bits,) for bits in range(1, 11)],
        lambda value, bits: fixed.saturate(value, bits, target_signed),
        reference,
    ):
        is_signed = shape.signed if target_signed is None else target_signed
        assert got == Shape(bits, is_signed)


def test_rounding_is_no_wider_than_the_result_needs():
    assert fixed.round_shift(Signal(signed(16)), 8).shape() == signed(9)
    assert fixed.round_shift(Signal(signed(16)), 8, "toward_zero").shape() == signed(8)
    assert fixed.round_shift(Signal(unsigned(16)), 16).shape() == unsigned(1)


def test_bad_requests_name_the_way_out():
    with pytest.raises(ValueError, match="'up' is not one of half_up"):
        fixed.round_shift(Signal(4), 1, "up")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="0 bits; ask for at least 1"):
        fixed.saturate(Signal(4), 0)
