"""The flip controller against a sort."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from thresher.hdl.fast_sclf.flips import Flips
from thresher.hdl.fast_sclf.shape import Shape
from thresher.models.fast_sclf.config import FastSclfConfig

SHAPE = Shape(FastSclfConfig.preset("small", program=64))


def run(frames, alpha, attempts):
    """The selections flipped in each attempt of ``frames``, lists of (kept, dropped, offset)."""
    dut, flipped = Flips(SHAPE), []

    async def start(ctx, frame, first, restart):
        for name, value in (("start", 1), ("frame", frame), ("first", first), ("restart", restart)):
            ctx.set(getattr(dut, name), value)
        await ctx.tick()
        ctx.set(dut.start, 0)

    async def decode(ctx, selections):
        """A cycle of selection now and then; returns those told to be flipped."""
        told = []
        for number, (kept, dropped, offset) in enumerate(selections):
            ctx.set(dut.selection, 1)
            if ctx.get(dut.worst):
                told.append(number)
            await ctx.tick()
            for name, value in (("kept", kept), ("dropped", dropped), ("offset", offset)):
                ctx.set(getattr(dut, name), value)
            ctx.set(dut.selection, 0)
            if number % 3 == 2:
                await ctx.tick()
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.busy)
        return told

    async def bench(ctx):
        ctx.set(dut.alpha, alpha)
        ctx.set(dut.selections, len(frames[0]))
        for number, selections in enumerate(frames):
            buffer = number % 2
            await start(ctx, buffer, 1, 0)
            assert await decode(ctx, selections) == []
            await start(ctx, 1 - buffer, 1, 0)  # meanwhile the next frame, dropped half-way
            await decode(ctx, [(9, 9, 9)] * 5)
            told = []
            for attempt in range(attempts):
                await start(ctx, buffer, 0, attempt == 0)
                told += await decode(ctx, selections)
            flipped.append(told)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return flipped


@pytest.mark.parametrize("alpha", [0, 32, 38, 255])
@pytest.mark.parametrize("most", [3, 256])
def test_flips_in_order(alpha, most):
    """Many ties with small numbers; of them the earlier selection comes first."""
    rng = np.random.default_rng([alpha, most])
    frames = rng.integers(0, most, (3, 20, 3))
    frames[:, :, 2] *= 15
    flipped = run(frames.tolist(), alpha, 12)
    judged = alpha * (frames[..., 1] + frames[..., 2]) - 32 * (frames[..., 0] + frames[..., 2])
    assert flipped == np.argsort(judged, 1, kind="stable")[:, :12].tolist()


def test_all_selections_in_turn():
    frames = np.random.default_rng(0).integers(0, 9, (2, 7, 3)).tolist()
    assert [sorted(told) for told in run(frames, 38, 7)] == [list(range(7))] * 2
