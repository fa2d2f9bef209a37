"""The search for step-GRAND's limits against trying them all."""

from dataclasses import replace
from itertools import product
from math import comb

import numpy as np
import pytest
from thresher.models.codes.channel import Awgn, Quantiser
from thresher.models.codes.named import code
from thresher.models.grand.decoder import Grand, step_grand
from thresher.models.grand.estimate import noise_only
from thresher.models.grand.limits import _misses, best_limits
from thresher.models.grand.patterns import PARITIES, Staircase

CHANNEL = Awgn.at(3.0, 0.6)


def possible(n, h, cycles):
    return [0, *range(h * (h + 1) // 2, min(h * n - h * (h - 1) // 2, cycles + 9) + 1)]


@pytest.mark.parametrize("skip_parity", [False, True])
@pytest.mark.parametrize(("edge", "reach"), [(0, 0), (2, 0), (2, 7)])
def test_limits_are_the_best_of_all(skip_parity, edge, reach):
    n, p, cycles = 7, 4, 12
    found = best_limits(
        n, CHANNEL, cycles, p=p, skip_parity=skip_parity, edge=edge, reach=reach, frames=8192
    )
    every = Staircase(n, (7, 14, 21, 28), (edge,) if edge else (), reach)
    misses = [_misses(every, h, CHANNEL, None, 8192, 0) for h in range(1, p + 1)]

    def missed(limits, prefixes):
        rows = [0, 0, 0, *(prefixes if edge else [0])]
        return sum(misses[k][rows[k], limit] for k, limit in enumerate(limits))

    def fits(staircase):
        parities = PARITIES[1:] if skip_parity else PARITIES[:1]
        return max(map(staircase.worst_cycles, parities)) <= cycles

    least = np.inf
    for limits in product(*(possible(n, h, cycles) for h in range(1, p + 1))):
        for prefixes in [(rank,) for rank in range(1, edge + 1)] or [()]:
            better = any(limits) and missed(limits, prefixes) < least
            if better and fits(Staircase(n, limits, prefixes, reach)):
                least = missed(limits, prefixes)
    assert fits(found)
    assert missed(found.limits, found.prefixes) == pytest.approx(least)
    assert found.reach == reach


def test_misses_are_probabilities_of_the_noise():
    """Without limits, each Hamming weight's share of the binomial is what is missed."""
    every = Staircase.orbgrand(16, 256, 16)
    misses = [_misses(every, h, CHANNEL, Quantiser(4, 0.2), 8192, 1)[0, 0] for h in range(1, 17)]
    p = CHANNEL.error_probability
    assert sum(misses) == pytest.approx(1 - (1 - p) ** 16, rel=0.02)


def test_misses_are_those_of_the_patterns():
    """Rare ones by counting, for patterns with prefixes and a reach."""
    staircase = Staircase(16, (16, 20, 20, 22, 25), (2, 3), 10)
    every = replace(staircase, limits=tuple(16 * h for h in range(1, 6)), prefixes=(3, 3))
    misses = [_misses(every, h, CHANNEL, None, 80_000, 1) for h in range(1, 6)]
    rows = [0, 0, 0, *staircase.prefixes]
    ours = sum(misses[k][rows[k], limit] for k, limit in enumerate(staircase.limits))
    p = CHANNEL.error_probability
    beyond = 1 - sum(comb(16, k) * p**k * (1 - p) ** (16 - k) for k in range(6))
    estimate = noise_only(Grand(code("random-16-8"), staircase), CHANNEL, frames=200_000)
    assert ours + beyond == pytest.approx(estimate.means["miss"], rel=0.05)


def test_limits_beat_those_of_orbgrand_at_a_tenth_of_its_cycles():
    c = code("polar-128-105-crc11")
    channel = Awgn.at(6.0, c.rate)
    staircase = best_limits(128, channel, 400, edge=5, reach=27, frames=30_000)
    decoder = Grand(c, staircase, skip_parity=True)
    assert max(decoder.staircase.worst_cycles(parity) for parity in PARITIES[1:]) <= 400
    ours, orbgrand, known = (
        noise_only(d, channel, frames=60_000, seed=3).means["miss"]
        for d in (decoder, Grand(c), step_grand(c))
    )
    assert ours < 0.9 * orbgrand
    assert known == pytest.approx(ours, rel=0.1)


def test_impossible_searches_are_explained():
    with pytest.raises(ValueError, match="p = 2 is not from 3 to 10"):
        best_limits(10, CHANNEL, 100, p=2)
    with pytest.raises(ValueError, match="7 cycles are fewer than 8"):
        best_limits(10, CHANNEL, 7)
