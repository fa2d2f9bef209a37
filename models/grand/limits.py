"""Searches for step-GRAND's limits: the best staircase for a worst case in cycles.

Both :meth:`.patterns.Staircase.worst_cycles` and the probability that the noise's own pattern
is not tested are sums over Hamming weights (those up to three share their cycles).  Which limit
each weight gets is thus a knapsack, solved exactly for sampled noise.  Limits fit the sample
that they were chosen by: judge them on another seed.
"""

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
    triples: int | None = None,
    quantiser: Quantiser | None = None,
    frames: int = 100_000,
    seed: int = 0,
) -> tuple[int, ...]:
    """The limits for up to ``p`` of ``n`` ranks that miss the noise on ``channel`` least often.

    No word takes more than ``cycles``; with ``skip_parity`` neither even nor odd ones do.
    ``triples`` bounds the limit of Hamming weight 3, and so the number of patterns that are
    tested at once, which is what the hardware's area goes by.  ``frames`` noises are drawn for
    each Hamming weight.  Raises :class:`ValueError` on a ``p`` of less than 3 and on fewer
    ``cycles`` than the least triple needs.
    """
    if not 3 <= p <= n or cycles < 8:
        raise ValueError(f"p = {p} is not from 3 to {n}, or {cycles} cycles are fewer than 8")
    misses = [_misses(n, h, channel, quantiser, frames, seed) for h in range(1, p + 1)]
    limits = [0] * p
    for parity in PARITIES[1:] if skip_parity else PARITIES[:1]:
        for h, limit in _knapsack(n, misses, cycles - 1, parity, triples or cycles).items():
            limits[h - 1] = limit
    return tuple(limits)


def _knapsack(
    n: int, misses: list[np.ndarray], budget: int, parity: Parity, triples: int
) -> dict[int, int]:
    """The limit of every Hamming weight of ``parity``, in ``budget`` cycles together."""
    heights = [h for h in range(1, len(misses) + 1) if parity is None or h % 2 == parity]

    def bound(h: int, limit: int) -> int:
        limit = min(limit, h * n - h * (h - 1) // 2, triples if h == 3 else limit)
        return limit if limit >= h * (h + 1) // 2 else 0

    # Of each number of cycles: the least probability of a miss, and the limits behind it.
    best = [(np.inf, {})] * (budget + 1)
    for dial in range(budget + 1):
        chosen = {h: bound(h, dial) for h in heights if h <= 3}
        best[dial] = (sum(misses[h - 1][limit] for h, limit in chosen.items()), chosen)
    for h in (h for h in heights if h > 3):
        choices, limit = [(0, 0)], h * (h + 1) // 2
        while bound(h, limit) == limit and (cost := _cost(n, h, limit)) <= budget:
            choices.append((limit, cost))
            limit += 1
        best = [
            min(
                (
                    (
                        best[spent - cost][0] + misses[h - 1][limit],
                        {**best[spent - cost][1], h: limit},
                    )
                    for limit, cost in choices
                    if cost <= spent
                ),
                key=lambda found: found[0],
            )
            for spent in range(budget + 1)
        ]
    return min(best, key=lambda found: found[0])[1]


def _cost(n: int, h: int, limit: int) -> int:
    """Cycles of Hamming weight ``h`` alone."""
    return Staircase(n, (0,) * (h - 1) + (limit,)).worst_cycles() - 1


def _misses(
    n: int, h: int, channel: Awgn, quantiser: Quantiser | None, frames: int, seed: int
) -> np.ndarray:
    """[LW]: the probability of a noise of Hamming weight ``h`` and a larger logistic weight."""
    counts, blocks = np.zeros(h * n + 1), max(frames // _BLOCK, 1)
    rng = np.random.default_rng([seed, h])
    for _ in range(blocks):
        received, weight = channel.send_wrong(np.zeros((_BLOCK, n), np.uint8), h, rng)
        received = quantiser(received) if quantiser else received
        order = np.argsort(magnitude(received), axis=1, kind="stable")
        rank = np.nonzero(np.take_along_axis(received < 0, order, axis=1))[1] + 1
        counts += np.bincount(rank.reshape(-1, h).sum(1), weight, minlength=len(counts))
    p = channel.error_probability
    above = counts[::-1].cumsum()[::-1] - counts
    return above / (blocks * _BLOCK) * comb(n, h) * p**h * (1 - p) ** (n - h)
