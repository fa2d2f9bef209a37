# amaranth: UnusedElaboratable=no
"""WUVE beyond what every engine must pass: the rounding to int8, and its pace."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from thresher.hdl.wuve.component import QUEUED
from thresher.hdl.wuve.narrow import Fp32ToInt8
from thresher.models.nm.update import operands
from thresher.models.nm.wuve_config import WuveConfig
from thresher.sim import simulate


@pytest.mark.parametrize("shift", [0, 7, 31])
def test_int8_rounds_to_even_and_saturates(shift):
    """Integers and halves of all signs, a hair beside them, and any bits."""
    rng = np.random.default_rng(shift)
    halves = (np.arange(-520, 521) / 2).astype(np.float32) * np.float32(2.0**-shift)
    beside = [np.nextafter(halves, np.float32(side)) for side in (-np.inf, np.inf)]
    anything = rng.integers(0, 1 << 32, 1000, dtype=np.uint32).view(np.float32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45], np.float32)
    values = np.concatenate([halves, *beside, anything, special])
    component = Fp32ToInt8()
    got = []

    async def bench(ctx):
        ctx.set(component.shift, shift)
        for bits in values.view(np.uint32).tolist() + [0] * component.latency:
            ctx.set(component.i, bits)
            await ctx.tick()
            got.append(ctx.get(component.o))

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    # What is set before an edge is there `latency` edges later.
    result = got[component.latency - 1 :][: len(values)]
    np.testing.assert_array_equal(result, operands(values, "int8", shift))


def test_a_beat_a_cycle():
    config = WuveConfig(lanes=1, format="bf16")
    report = simulate("wuve", config, "random", samples=200)
    assert report.holds
    cycles = report.run.output_cycles["updated"]
    assert (np.diff(cycles) == 1).all()
    assert cycles[0] - report.run.input_cycles["weights"][0] == config.latency + QUEUED
