"""The search for step-GRAND's limits against trying them all."""

from itertools import product

import pytest
from thresher.models.codes.channel import Awgn, Quantiser
from thresher.models.codes.named import code
from thresher.models.grand.decoder import Grand
from thresher.models.grand.estimate import noise_only
from thresher.models.grand.limits import _misses, best_limits
from thresher.models.grand.patterns import PARITIES, Staircase

CHANNEL = Awgn.at(3.0, 0.6)


def possible(n, h, cycles):
    return [0, *range(h * (h + 1) // 2, min(h * n - h * (h - 1) // 2, cycles + 9) + 1)]


@pytest.mark.parametrize("skip_parity", [False, True])
@pytest.mark.parametrize("triples", [None, 8])
def test_limits_are_the_best_of_all(skip_parity, triples):
    n, p, cycles = 7, 4, 14
    found = best_limits(
        n, CHANNEL, cycles, p=p, skip_parity=skip_parity, triples=triples, frames=8192
    )
    misses = [_misses(n, h, CHANNEL, None, 8192, 0) for h in range(1, p + 1)]

    def missed(limits):
        return sum(miss[limit] for miss, limit in zip(misses, limits, strict=True))

    def fits(limits):
        staircase = Staircase(n, limits)
        parities = PARITIES[1:] if skip_parity else PARITIES[:1]
        return max(map(staircase.worst_cycles, parities)) <= cycles

    least = min(
        missed(limits)
        for limits in product(*(possible(n, h, cycles) for h in range(1, p + 1)))
        if limits[2] <= (triples or 99) and any(limits) and fits(limits)
    )
    assert fits(found)
    assert missed(found) == pytest.approx(least)
    assert found[2] <= (triples or 99)


def test_misses_are_probabilities_of_the_noise():
    """Without limits, each Hamming weight's share of the binomial is what is missed."""
    misses = [_misses(16, h, CHANNEL, Quantiser(4, 0.2), 8192, 1)[0] for h in range(1, 17)]
    p = CHANNEL.error_probability
    assert sum(misses) == pytest.approx(1 - (1 - p) ** 16, rel=0.02)


def test_limits_beat_those_of_orbgrand_at_a_ninth_of_its_cycles():
    c = code("polar-128-105-crc11")
    channel = Awgn.at(6.25, c.rate)
    limits = best_limits(128, channel, 450, triples=72, frames=30_000)
    decoder = Grand(c, Staircase(128, limits), skip_parity=True)
    assert max(decoder.staircase.worst_cycles(parity) for parity in PARITIES[1:]) <= 450
    ours, orbgrand = (
        noise_only(d, channel, frames=60_000, seed=3).means["miss"] for d in (decoder, Grand(c))
    )
    assert ours < orbgrand


def test_impossible_searches_are_explained():
    with pytest.raises(ValueError, match="p = 2 is not from 3 to 10"):
        best_limits(10, CHANNEL, 100, p=2)
    with pytest.raises(ValueError, match="7 cycles are fewer than 8"):
        best_limits(10, CHANNEL, 7)
