"""How many words wait while one is searched for long: the backlog of a decode core.

Words arrive one a cycle.  A word keeps the core busy for B cycles, 0 where its hard decision is
right; B is independent from word to word.  Work V that a word finds undone follows Lindley's
recurrence ``V' = max(V + B - 1, 0)``, whose stationary distribution balances, for every level j,
what climbs over it and what falls by one below::

    P(V = j + 1) * P(B = 0) = sum over i <= j of P(V = i) * P(B >= j + 2 - i)

A sum of positive terms: small probabilities are as exact as large ones.
"""

import numpy as np

from ..codes.channel import Awgn, Quantiser
from ..codes.montecarlo import random_bits
from .decoder import Grand
from .estimate import shares


def cycles(
    decoder: Grand,
    channel: Awgn,
    *,
    quantiser: Quantiser | None = None,
    frames: int = 200_000,
    block: int = 8192,
    seed: int = 0,
) -> np.ndarray:
    """float64 [worst + 1]: how probable each number of a word's cycles is, by the golden model.

    Words with many wrong bits are drawn as often as those with few (:mod:`.estimate`); one with
    more of them than the longest pattern counts as abandoned.
    """
    most, (share, beyond) = decoder.worst["cycles"], shares(decoder, channel)
    found = np.zeros(most + 1)
    found[1], found[most] = share[0], beyond
    for wrong in range(1, len(share)):
        counts = np.zeros(most + 1)
        for number in range(max(frames // len(share) // block, 1)):
            rng = np.random.default_rng([seed, wrong, number])
            sent = decoder.code.encode(random_bits(rng, block, decoder.code.k))
            received, weight = channel.send_wrong(sent, wrong, rng)
            decoded = decoder(quantiser(received) if quantiser else received)
            counts += np.bincount(decoded.costs["cycles"], weight, minlength=most + 1)
        found += share[wrong] * counts / counts.sum()
    return found


def backlog(busy: np.ndarray, levels: int) -> np.ndarray:
    """float64 [levels]: how probable it is that a word finds that many cycles of work undone.

    ``busy`` [longest + 1]: how probable each B is.  Raises :class:`ValueError` where words come
    faster than they leave.
    """
    load = float((busy * np.arange(len(busy))).sum())
    if load >= 1:
        raise ValueError(f"a word takes {load:.3g} cycles on average, more than the 1 that it has")
    at_least = np.pad(busy[::-1].cumsum()[::-1], (0, levels + 2))
    found = np.zeros(levels)
    found[0] = 1
    for j in range(levels - 1):
        climbs = at_least[2 : j + 3][::-1] @ found[: j + 1]
        found[j + 1] = climbs / busy[0]
    return found / found.sum()
