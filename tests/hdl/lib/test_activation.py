# amaranth: UnusedElaboratable=no
"""Activation functions against their models, for every argument."""

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.sim import Simulator
from thresher.hdl.lib.activation import PiecewiseLinear, TableFunction
from thresher.hdl.lib.fixed import bounds
from thresher.models import activation
from thresher.models.piecewise import Piecewise


def run(dut, xs: np.ndarray) -> np.ndarray:
    """``y`` of every ``x``, one a cycle where ``en`` is high, found at the stated latency."""
    ys = []
    rng = np.random.default_rng(0)

    async def bench(ctx):
        accepted = 0
        while len(ys) < len(xs):
            enable = rng.random() < 0.8
            ctx.set(dut.x, int(xs[min(accepted, len(xs) - 1)]))
            ctx.set(dut.en, int(enable))
            await ctx.tick()
            accepted += enable
            if enable and accepted >= dut.latency:
                ys.append(ctx.get(dut.y))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return np.array(ys)


def everything(shape) -> np.ndarray:
    low, high = bounds(shape)
    return np.arange(low, high + 1)


@pytest.mark.parametrize(
    ("entries", "bits", "x", "frac"),
    [
        (256, 8, signed(12), 8),
        (16, 4, signed(9), 3),
        (64, 6, signed(7), 0),  # coarser than the table: shifted left
        (64, 6, signed(10), -1),
        (32, 5, unsigned(8), 4),
    ],
)
def test_tables(entries, bits, x, frac):
    xs = everything(x)
    for make, table, span in [
        (TableFunction.sigmoid, activation.sigmoid_table, activation.SIGMOID_SPAN),
        (TableFunction.tanh, activation.tanh_table, activation.TANH_SPAN),
    ]:
        want = table(entries, bits)[activation.table_index(xs, frac, entries, span)]
        np.testing.assert_array_equal(run(make(entries, bits, x, frac), xs), want)


@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
@pytest.mark.parametrize(
    ("segments", "frac", "bits", "guard", "x"),
    [(16, 6, 8, 4, signed(12)), (32, 8, 8, 0, signed(10)), (8, 3, 4, 2, signed(8))],
)
def test_piecewise(function, segments, frac, bits, guard, x):
    model = Piecewise(function, segments, frac, bits, guard)
    xs = everything(x)
    np.testing.assert_array_equal(run(PiecewiseLinear(model, x), xs), model(xs))


def test_a_table_is_a_power_of_two():
    with pytest.raises(ValueError, match="12 entries; needs a power of two"):
        TableFunction(range(12), unsigned(4), 8, signed(8), 4)
