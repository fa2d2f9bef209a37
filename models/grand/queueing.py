"""How many words wait while one is searched for long: the backlog of a decode core.

In each cycle a word arrives with probability ``1 / interval``.  It keeps the core busy for B
cycles, 0 where its hard decision is right; B is independent from word to word.  The work V that
a cycle finds undone follows Lindley's recurrence ``V' = max(V + B - 1, 0)``, B being 0 where no
word arrives.  Its stationary distribution balances, for every level j, what climbs over it and
what falls by one below::

    P(V = j + 1) * P(B = 0) = sum over i <= j of P(V = i) * P(B >= j + 2 - i)

A sum of positive terms: small probabilities are as exact as large ones.
"""

from collections.abc import Callable

import numpy as np

from ..codes.channel import Awgn, Quantiser
from ..codes.montecarlo import random_bits
from .decoder import Decoded, Grand
from .estimate import shares


def distribution(
    decoder: Grand,
    channel: Awgn,
    cost: Callable[[np.ndarray, Decoded], np.ndarray],
    longest: int,
    *,
    quantiser: Quantiser | None = None,
    frames: int = 200_000,
    block: int = 8192,
    seed: int = 0,
) -> np.ndarray:
    """float64 [longest + 1]: how probable each ``cost(received, decoded)`` of a word is.

    The cost, from 0 to ``longest``, is 0 where the hard decision is right.  Words with many wrong
    bits are drawn as often as those with few (:mod:`.estimate`); those with more of them than any
    pattern has count as ``longest``.
    """
    share, beyond = shares(decoder, channel)
    found = np.zeros(longest + 1)
    found[0], found[longest] = share[0], beyond
    for wrong in range(1, len(share)):
        counts = np.zeros(longest + 1)
        for number in range(max(frames // len(share) // block, 1)):
            rng = np.random.default_rng([seed, wrong, number])
            sent = decoder.code.encode(random_bits(rng, block, decoder.code.k))
            received, weight = channel.send_wrong(sent, wrong, rng)
            received = quantiser(received) if quantiser else received
            costs = cost(received, decoder(received))
            counts += np.bincount(costs, weight, minlength=longest + 1)
        found += share[wrong] * counts / counts.sum()
    return found


def backlog(busy: np.ndarray, levels: int, interval: float = 1.0) -> np.ndarray:
    """float64 [levels]: how probable it is that a cycle finds that many cycles of work undone.

    ``busy`` [longest + 1]: how probable each B of a word is.  Raises :class:`ValueError` where
    words come faster than they leave.
    """
    busy = busy / busy.sum() / interval
    busy[0] += 1 - 1 / interval
    load = float((busy * np.arange(len(busy))).sum())
    if load >= 1:
        raise ValueError(
            f"a word takes {load * interval:.3g} cycles on average and comes every {interval:.3g}; "
            "more cores, or words that come less often, leave time for all"
        )
    at_least = np.pad(busy[::-1].cumsum()[::-1], (0, levels + 2))
    found = np.zeros(levels)
    found[0] = 1
    for j in range(levels - 1):
        found[j + 1] = at_least[2 : j + 3][::-1] @ found[: j + 1] / busy[0]
    return found / found.sum()
