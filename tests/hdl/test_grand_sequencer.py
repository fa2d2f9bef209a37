"""The enumeration of prefixes against the golden order of patterns."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from thresher.hdl.grand.sequencer import Sequencer
from thresher.models.grand.config import OrbgrandConfig, StepGrandConfig
from thresher.models.grand.patterns import Patterns, take_apart

CONFIGS = {
    "ORBGRAND": OrbgrandConfig(),
    "P = 8": OrbgrandConfig(lw_max=44, p=8),
    "P = 7": OrbgrandConfig(lw_max=33, p=7),
    "P = 3": OrbgrandConfig(lw_max=20, p=3),
    "step-GRAND": StepGrandConfig(),
    "unequal": StepGrandConfig(limits=(50, 40, 33, 40, 0, 30), prefixes=(), reach=0),
    "prefixes": StepGrandConfig(limits=(60, 60, 60, 50, 44, 40, 36), prefixes=(7, 4, 5, 5)),
}


def golden(config, parity):
    """(total, prefix, classes) of each cycle after the hard decision's."""
    patterns = Patterns(config.staircase)
    rows = np.flatnonzero(patterns.tested(parity))[1:]
    cycle = patterns.cycles(parity)[rows]
    prefix, suffix = take_apart(patterns.ranks[rows])
    hw = patterns.hw[rows]
    tests = {}
    for at, p, s, h in zip(cycle, prefix, suffix, hw, strict=True):
        known = tests.setdefault(int(at), (int(s.sum()), sorted(p[p > 0].tolist()), set()))
        known[2].add(min(h, 3))
    return tests


def enumerate_tests(config, skip, odd, rank=None):
    sequencer = Sequencer(config)
    everything = config.staircase.lw_max + 1
    found, issued = {}, []

    async def bench(ctx):
        ctx.set(sequencer.skip, skip)
        ctx.set(sequencer.odd, odd)
        ctx.set(sequencer.start, 1)
        await ctx.tick()
        ctx.set(sequencer.start, 0)
        last, cycle = False, 0
        while not last:
            cycle += 1
            assert cycle < 20_000
            ctx.set(sequencer.rank, rank(cycle) if rank else everything)
            if ctx.get(sequencer.issue):
                parts = [p for p in ctx.get(sequencer.prefix) if p]
                classes = ctx.get(sequencer.classes)
                found[len(found) + 2] = (ctx.get(sequencer.total), parts, classes)
                issued.append(cycle)
                last = ctx.get(sequencer.last)
            await ctx.tick()
        for _ in range(5):
            assert not ctx.get(sequencer.issue)
            await ctx.tick()

    simulator = Simulator(sequencer)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found, issued


@pytest.mark.parametrize("parity", [None, 0, 1])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_cycle_is_the_golden_one(name, parity):
    config = CONFIGS[name]
    found, issued = enumerate_tests(config, parity is not None, parity or 0)
    assert issued == list(range(1, len(issued) + 1))  # without a bubble
    assert len(found) == config.staircase.worst_cycles(parity) - 1
    wanted = golden(config, parity)
    for cycle, (total, parts, classes) in found.items():
        if cycle in wanted:  # else a weight without a pattern: it has its cycle all the same
            assert (total, parts) == wanted[cycle][:2]
            assert all(classes >> h - 1 & 1 for h in wanted[cycle][2])
        else:
            assert not parts
        for h in (1, 2, 3):
            if classes >> h - 1 & 1:
                assert parts or total <= config.staircase.limits[h - 1]
                assert parity is None or parts or h % 2 == parity


def test_waits_for_ranks():
    """A rank every third cycle: early weights wait for theirs, later ones find them there."""
    config = OrbgrandConfig(lw_max=30, p=5)
    found, issued = enumerate_tests(config, 0, 0, lambda cycle: min(1 + cycle // 3, 31))
    assert found == enumerate_tests(config, 0, 0)[0]
    patterns = Patterns(config.staircase)
    first = {}
    for lw, cycle in zip(patterns.lw[1:], patterns.cycles()[1:], strict=True):
        first.setdefault(int(lw), int(cycle) - 2)
    at, expected = 0, []
    starts = {position: lw for lw, position in first.items()}
    for position in range(len(found)):
        at += 1
        if position in starts:
            at = max(at, 3 * starts[position])
        expected.append(at)
    assert issued == expected
