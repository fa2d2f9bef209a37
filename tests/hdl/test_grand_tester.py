"""The array of slots against NumPy: what matches first, when it says so, and what it takes."""

from dataclasses import dataclass

import numpy as np
import pytest
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.grand import tester
from thresher.hdl.grand.shape import Shape
from thresher.hdl.verilog import emit
from thresher.models.grand.config import OrbgrandConfig, StepGrandConfig
from thresher.sim import Session

LATENCY, FOUND = tester.Tester.latency, tester.Tester.found_latency

SMALL = {
    "orbgrand": OrbgrandConfig.preset("small"),
    "step_grand": StepGrandConfig.preset("small"),
    "fewer pairs than triples": StepGrandConfig.preset("small").replace(limits=(30, 8, 30)),
    "no pairs": StepGrandConfig.preset("small").replace(limits=(25, 0, 25), checks=5),
    "one triple": StepGrandConfig.preset("small").replace(limits=(6, 0, 6), checks=2),
}
FULL = {"orbgrand": OrbgrandConfig(), "step_grand": StepGrandConfig()}


@dataclass(frozen=True)
class Test:
    """A test, or none, of a word of columns ``h`` (``h[0]`` is 0), and the rank that arrives."""

    __test__ = False
    h: np.ndarray
    rank: int
    """0: none."""
    total: int
    target: int
    classes: int
    valid: bool


def expected(shape, test):
    """(i, j) of the first slot that matches, or None."""
    slots, h = np.array(shape.slots), test.h
    third = test.total - slots.sum(1)
    kind = (slots > 0).sum(1)
    there = (third >= 1) & (third < len(h)) & (test.classes >> kind & 1 == 1)
    i, j = np.minimum(slots, len(h) - 1).T  # the last rank stands in for those beyond it
    match = there & (h[i] ^ h[j] ^ h[np.where(there, third, 0)] == test.target)
    return tuple(slots[match.argmax()]) if match.any() and test.valid else None


def word(shape, rng, n, cycles):
    """Random tests of one word as early as they may come, a planted match in most of them."""
    slots, values = np.array(shape.slots), 1 << shape.config.checks
    pool = rng.integers(values, size=rng.choice([4, 1000]))  # of few, many slots match at once
    h = np.concatenate([[0], rng.choice(pool, n)])
    arrived, last = 0, cycles
    for cycle in range(cycles):
        rank = arrived + 1 if arrived < n and (not cycle or rng.random() < 0.7) else 0
        arrived = max(arrived, rank)
        if rank == n:
            last = cycle
        most = min(shape.reach + n, cycle) if cycle >= last + 3 else arrived
        total = rng.choice([most, rng.integers(1, most + 1)])
        i, j = np.minimum(rng.choice(slots[slots.sum(1) < total]), n)
        planted = h[i] ^ h[j] ^ h[min(total - i - j, n)]
        target = rng.choice([planted, planted, rng.integers(values)])
        classes = rng.choice([7, 7, rng.integers(8)])
        yield Test(h, rank, int(total), int(target), int(classes), rng.random() < 0.9)


def apply(sim, shape, rng, test, arrival):
    """``test`` with the rank of ``arrival``; what does not count is random."""
    checks = shape.config.checks
    junk = rng.integers(1 << checks, size=shape.reach + 1)
    ranks = test.total - np.arange(shape.reach + 1)
    there = (ranks >= 1) & (ranks < len(test.h))
    entries = np.where(there, test.h[np.where(there, ranks, 0)], junk | 1 << checks)
    sim["dial"] = sum(int(entry) << x * (checks + 1) for x, entry in enumerate(entries))
    sim["target"], sim["classes"], sim["valid"] = test.target, test.classes, int(test.valid)
    sim["rank_valid"] = int(arrival.rank > 0)
    sim["rank"] = int(arrival.h[arrival.rank] if arrival.rank else junk[0])
    sim["first"] = int(arrival.rank == 1 or (not arrival.rank and rng.integers(2)))


def check(config, words, ahead):
    """Ranks arrive as late as they may, or ``ahead``: rank 1 with the last test before it."""
    shape, rng = Shape(config), np.random.default_rng(1)
    fewest = shape.ranks + 1
    sizes = [config.length, fewest, int(rng.integers(1, fewest))] * words
    arrivals = [test for n in sizes for test in word(shape, rng, n, int(rng.integers(1, 3 * n)))]
    idle = [Test(arrivals[0].h, 0, 1, 0, 0, False)] * ahead
    tests, arrivals = idle + arrivals, arrivals + idle
    found = [expected(shape, test) for test in tests]
    assert len(set(found)) > len(shape.slots) / 2
    with Session(tester.Tester(config)) as sim:
        for cycle, (test, arrival) in enumerate(zip(tests, arrivals, strict=True)):
            apply(sim, shape, rng, test, arrival)
            if cycle >= LATENCY:
                assert sim["hit"] == (found[cycle - LATENCY] is not None), cycle
            if cycle >= FOUND and found[cycle - FOUND]:
                assert (sim["i"], sim["j"]) == found[cycle - FOUND], cycle
            sim.tick()


@pytest.mark.parametrize("ahead", [0, 1])
@pytest.mark.parametrize("name", SMALL)
def test_first_match(name, ahead):
    check(SMALL[name].replace(lut_inputs=6 if name == "step_grand" else 4), 20, ahead)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_first_match_in_full_size(name):
    check(FULL[name], 8, ahead=0)


def test_reset_forgets_tests():
    config = SMALL["orbgrand"]
    rng = np.random.default_rng(0)
    match = Test(np.array([0, 5]), 1, 1, 5, 7, True)
    with Session(tester.Tester(config)) as sim:
        for delay in range(LATENCY):
            apply(sim, Shape(config), rng, match, match)
            sim.tick()
            sim["valid"] = 0
            sim.tick(delay)
            sim["rst"] = 1
            sim.tick()
            sim["rst"] = 0
            for _ in range(LATENCY):
                assert not sim["hit"]
                sim.tick()


def test_signals_that_synthesis_is_to_keep_survive_into_verilog():
    config = SMALL["orbgrand"]
    assert emit(tester.Tester(config)).count("(* keep") >= len(Shape(config).slots)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize(("target", "inputs"), [("ecp5-85k", 4), ("xc7", 6)])
def test_a_slot_takes_as_few_tables_as_its_inputs_fill(name, target, inputs):
    config = FULL[name]
    shape = Shape(config)
    slots = len(shape.slots) * -(-(2 * config.checks - 1) // (inputs - 1))
    sums = (shape.reach + len(shape.rows) - 1) * config.checks
    mapped = synthesise(tester.Tester(config, inputs), device(target), "tester")
    assert mapped.resources.lut < 1.1 * (slots + sums)
