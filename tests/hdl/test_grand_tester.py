"""The array of slots against NumPy: what matches first, and when it says so."""

import numpy as np
import pytest
from thresher.hdl.grand import tester
from thresher.hdl.grand.shape import Shape
from thresher.models.grand.config import OrbgrandConfig, StepGrandConfig
from thresher.sim import Session

LATENCY, FOUND = tester.Tester.latency, tester.Tester.found_latency
CONFIGS = {
    "orbgrand small": OrbgrandConfig.preset("small"),
    "step_grand small": StepGrandConfig.preset("small"),
}


def expected(shape, h, total, target, classes):
    """(i, j) of the first slot that matches, or None; ``h[0]`` is 0."""
    slots = np.array(shape.slots)
    third = total - slots.sum(1)
    kind = (slots > 0).sum(1)
    there = (third >= 1) & (third < len(h)) & (classes >> kind & 1 == 1)
    # The last rank stands in for those beyond it.
    i, j = np.minimum(slots, len(h) - 1).T
    match = there & (h[i] ^ h[j] ^ h[np.where(there, third, 0)] == target)
    return tuple(slots[match.argmax()]) if match.any() else None


def word(shape, rng, n, tests):
    """Cycles of one word: (rank's column or None, test or None), and what its tests give."""
    checks = shape.config.checks
    # Few different columns make several slots match at once.
    few = rng.integers(1 << checks, size=8)
    h = np.concatenate(
        [[0], rng.choice(few, n) if rng.random() < 0.3 else rng.integers(1 << checks, size=n)]
    )
    cycles, arrived, full = [], 0, tests
    for number in range(tests):
        arrives = arrived < n and (number == 0 or rng.random() < 0.7)
        arrived += arrives
        if arrives and arrived == n:
            full = number
        test = None
        if rng.random() < 0.9:
            most = arrived if number < full + 3 else min(shape.reach + n, number)
            total = int(rng.integers(1, most + 1)) if rng.random() < 0.5 else most
            slots = np.array(shape.slots)
            third = total - slots.sum(1)
            i, j = np.minimum(slots[rng.choice(np.flatnonzero(third >= 1))], n)
            k = min(total - i - j, n)
            target = (
                int(h[i] ^ h[j] ^ h[k]) if rng.random() < 0.7 else int(rng.integers(1 << checks))
            )
            test = total, target, int(rng.integers(8)), bool(rng.random() < 0.9)
        cycles.append((h, arrived if arrives else None, test))
    return cycles


@pytest.mark.parametrize("name", CONFIGS)
def test_first_match(name):
    config = CONFIGS[name]
    shape, rng = Shape(config), np.random.default_rng(1)
    cycles = []
    for number in range(60):
        n = config.length if number % 2 else int(rng.integers(1, config.length + 1))
        cycles += word(shape, rng, n, int(rng.integers(1, 80)))
    found = {}
    bits = config.checks + 1
    hits = 0
    with Session(tester.Tester(config)) as sim:
        for cycle, (h, rank, test) in enumerate(cycles + [(None, None, None)] * 10):
            sim["rank_valid"] = rank is not None
            sim["rank"] = int(h[rank]) if rank else int(rng.integers(1 << config.checks))
            sim["first"] = int(rank == 1 if rank else rng.integers(2))
            total, target, classes, valid = test or (1, 0, 7, False)
            dial = 0
            for x in range(shape.reach + 1):
                k = total - x
                there = h is not None and 1 <= k < len(h)
                dial |= (
                    int(h[k]) if there else 1 << bits - 1 | int(rng.integers(1 << bits - 1))
                ) << x * bits
            sim["valid"], sim["classes"], sim["target"], sim["dial"] = (
                int(valid),
                classes,
                target,
                dial,
            )
            if test and valid:
                found[cycle] = expected(shape, h, total, target, classes)
            if cycle >= LATENCY:
                assert sim["hit"] == (found.get(cycle - LATENCY) is not None), cycle
            before = found.get(cycle - FOUND)
            if before is not None:
                hits += 1
                assert (sim["i"], sim["j"]) == before
            sim.tick()
    assert hits > 500
