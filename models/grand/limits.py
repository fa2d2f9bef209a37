"""Searches for step-GRAND's limits: the best staircase for a worst case in cycles.

Both :meth:`.patterns.Staircase.worst_cycles` and the probability that the noise's own pattern
is not tested are sums over Hamming weights (those up to three share their cycles).  Which limit
each weight gets is thus a knapsack, solved exactly for sampled noise.  Limits fit the sample
that they were chosen by: judge them on another seed.
"""

from dataclasses import replace
from math import comb

import numpy as np

from ..codes.channel import Awgn, Quantiser, magnitude
from .patterns import PARITIES, Parity, Staircase

_BLOCK = 8192


def best_limits(
    n: int,
    channel: Awgn,
    cycles: int,
    *,
    p: int = 6,
    skip_parity: bool = True,
    edge: int = 0,
    reach: int = 0,
    quantiser: Quantiser | None = None,
    frames: int = 100_000,
    seed: int = 0,
) -> Staircase:
    """The staircase for up to ``p`` of ``n`` ranks that misses the noise on ``channel`` least.

    No word takes more than ``cycles``; with ``skip_parity`` neither even nor odd ones do.
    Prefixes have ranks of at most ``edge`` (0: any), and :attr:`.patterns.Staircase.reach` is
    ``reach`` (0: any): it bounds the number of patterns that are tested at once, which is what
    the hardware's area goes by.  ``frames`` noises are drawn for each Hamming weight.  Raises
    :class:`ValueError` on a ``p`` of less than 3, on fewer ``cycles`` than the least triple
    needs, and on an ``edge`` or a ``reach`` as :class:`.patterns.Staircase`.
    """
    if not 3 <= p <= n or cycles < 8:
        raise ValueError(f"p = {p} is not from 3 to {n}, or {cycles} cycles are fewer than 8")
    limits = tuple(n * h for h in range(1, p + 1))
    every = Staircase(n, limits, (edge,) * (p - 3) if edge else (), reach)
    misses = [_misses(every, h, channel, quantiser, frames, seed) for h in range(1, p + 1)]
    found = {}
    for parity in PARITIES[1:] if skip_parity else PARITIES[:1]:
        found |= _knapsack(every, misses, cycles - 1, parity)
    limits, prefixes = zip(*(found[h] for h in range(1, p + 1)), strict=True)
    # Where no prefix goes as far as the edge, the reach admits a little more than was counted.
    return replace(every, limits=limits, prefixes=prefixes[3:] if edge else ())


def _knapsack(
    every: Staircase, misses: list[np.ndarray], budget: int, parity: Parity
) -> dict[int, tuple[int, int]]:
    """The limit and prefixes' rank of every Hamming weight, in ``budget`` cycles together."""
    heights = every.hamming_weights(parity)
    # Of each number of cycles: the least probability of a miss, and the limits behind it.
    best = []
    for dial in range(budget + 1):
        chosen = {h: (_bound(every, h, dial), 0) for h in heights if h <= 3}
        best.append((sum(misses[h - 1][0, limit] for h, (limit, _) in chosen.items()), chosen))
    for h in (h for h in heights if h > 3):
        choices = _choices(every, h, misses[h - 1], budget)
        best = [
            min(
                (
                    (best[spent - cost][0] + missed, {**best[spent - cost][1], h: choice})
                    for cost, missed, choice in choices
                    if cost <= spent
                ),
                key=lambda found: found[0],
            )
            for spent in range(budget + 1)
        ]
    return min(best, key=lambda found: found[0])[1]


def _choices(
    every: Staircase, h: int, misses: np.ndarray, budget: int
) -> list[tuple[int, float, tuple[int, int]]]:
    """Cycles of Hamming weight ``h`` alone, probability of a miss, and the limits behind them."""
    choices = [(0, misses[0, 0], (0, every.edge))]
    for rank in range(h - 3, every.edge + 1) if every.edge else (0,):
        limit = h * (h + 1) // 2
        while _bound(every, h, limit) == limit:
            prefixes = (rank,) * (h - 3) if rank else ()
            alone = Staircase(every.n, (0,) * (h - 1) + (limit,), prefixes, every.reach)
            if (cost := alone.worst_cycles() - 1) > budget:
                break
            choices.append((cost, misses[rank, limit], (limit, rank)))
            limit += 1
    # More cycles pay only where fewer are missed.
    choices.sort()
    least = np.minimum.accumulate([missed for _, missed, _ in choices])
    return [c for c, before in zip(choices, [np.inf, *least], strict=False) if c[1] < before]


def _bound(every: Staircase, h: int, limit: int) -> int:
    """The limit of Hamming weight ``h`` that admits what ``limit`` does."""
    limit = min(limit, h * every.n - h * (h - 1) // 2)
    return limit if limit >= h * (h + 1) // 2 else 0


def _misses(
    every: Staircase,
    h: int,
    channel: Awgn,
    quantiser: Quantiser | None,
    frames: int,
    seed: int,
) -> np.ndarray:
    """[prefix, LW]: the probability of a noise of Hamming weight ``h`` outside these limits.

    Row 0 is that of prefixes of any rank.
    """
    n, blocks = every.n, max(frames // _BLOCK, 1)
    counts, total = np.zeros((every.edge + 1, h * n + 1)), 0.0
    rng = np.random.default_rng([seed, h])
    for _ in range(blocks):
        received, weight = channel.send_wrong(np.zeros((_BLOCK, n), np.uint8), h, rng)
        received = quantiser(received) if quantiser else received
        order = np.argsort(magnitude(received), axis=1, kind="stable")
        rank = np.nonzero(np.take_along_axis(received < 0, order, axis=1))[1] + 1
        rank = np.pad(rank.reshape(-1, h), ((0, 0), (3, 0)))
        last = rank[:, -4] if every.edge else np.zeros(_BLOCK, int)
        here = every.within(rank[:, -2], rank[:, -3]) & (last <= every.edge)
        np.add.at(counts, (last[here], rank[here].sum(1)), weight[here])
        total += weight.sum()
    p = channel.error_probability
    outside = (total - counts.cumsum(0).cumsum(1)) / (blocks * _BLOCK)
    return outside * comb(n, h) * p**h * (1 - p) ** (n - h)
