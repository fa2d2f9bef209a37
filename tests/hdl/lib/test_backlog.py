# amaranth: UnusedElaboratable=no
"""The queue without counters: its addresses, its order and its pace."""

import numpy as np
import pytest
from amaranth.hdl import unsigned
from amaranth.sim import Simulator
from thresher.hdl.lib.backlog import Backlog, following


@pytest.mark.parametrize("width", range(3, 13))
def test_addresses_come_round_when_all_were_used(evaluate, width):
    (after,) = evaluate([unsigned(width)], lambda a: [following(a)], [np.arange(1 << width)])
    seen, address = [0], int(after[0])
    while address:
        seen.append(address)
        address = int(after[address])
    assert sorted(seen) == list(range((1 << width) - 1))


@pytest.mark.parametrize("depth", [8, 32])
@pytest.mark.parametrize("eager", [1, 0.5, 0.1])
def test_payloads_leave_in_order_as_soon_as_they_can(depth, eager):
    dut = Backlog(16, depth)
    rng = np.random.default_rng(depth)
    offered = []  # of each payload inside, oldest first: when it is on `o`

    async def bench(ctx):
        pushed = left = 0
        for cycle in range(2000):
            there = bool(offered) and offered[0] <= cycle
            assert ctx.get(dut.o.valid) == there
            assert ctx.get(dut.empty) == (not offered)
            if there:
                assert ctx.get(dut.o.payload) == left
            push = len(offered) - there < depth - 2 and rng.random() < 0.7
            take = rng.random() < eager
            ctx.set(dut.push, push)
            ctx.set(dut.i, pushed if push else 0xFFFF)
            ctx.set(dut.o.ready, take)
            await ctx.tick()
            if there and take:
                offered.pop(0)
                left += 1
                if offered:
                    offered[0] = max(offered[0], cycle + 1)
            if push:
                offered.append(cycle + 2)
                pushed += 1
        assert left > 100

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("depth", [4, 24, 8192])
def test_a_depth_without_addresses_is_refused(depth):
    with pytest.raises(ValueError, match=f"depth = {depth} is not a power of two"):
        Backlog(8, depth)
