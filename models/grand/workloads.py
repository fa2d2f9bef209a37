"""Received words to decode: random ones, and those that a decoder is likely to get wrong."""

import numpy as np

from ..codes.channel import Awgn, Quantiser
from ..codes.montecarlo import random_bits
from .decoder import Grand


def forced(decoder: Grand, row: int, quantiser: Quantiser, seed: int = 0) -> np.ndarray:
    """int64 [1, n]: a quantised word that the pattern of this ``row``, no earlier one, mends.

    -1 stands for the last pattern: the longest search that succeeds.  Raises
    :class:`ValueError` where the search for such a word fails (an earlier pattern always
    matches, as in codes of few checks).
    """
    ranks = decoder.patterns.ranks[row]
    row %= len(decoder.patterns)
    rng, levels = np.random.default_rng([seed, row]), quantiser.limits[1] + 1
    for _ in range(200):
        word = decoder.code.encode(random_bits(rng, 1, decoder.code.k))
        # Reliabilities in all levels, so that ties are broken by the index as well.
        magnitude = rng.integers(0, levels, word.shape)
        order = np.argsort(magnitude[0], kind="stable")
        word[0, order[ranks[ranks > 0] - 1]] ^= 1
        received = np.where(word == 1, ~magnitude, magnitude)
        if decoder(received).rows[0] == row:
            return received
    raise ValueError(
        f"found no word of {decoder.code.name} that row {row} mends first; choose an earlier row"
    )


def corners(decoder: Grand, quantiser: Quantiser, seed: int = 0) -> np.ndarray:
    """int64 [words, n]: ties, zeros, saturation, abandoned words, first and last patterns.

    Every kind with random words of the code underneath.
    """
    code, rng = decoder.code, np.random.default_rng([seed, 2])
    low, high = quantiser.limits
    sent = code.encode(random_bits(rng, 32, code.k))
    wrong = sent.copy()
    wrong[np.arange(32), rng.integers(0, code.n, 32)] ^= 1
    parts = [
        np.array([[0], [-1], [low], [high]]) + np.zeros(code.n, np.int64),
        np.where(sent == 1, low, high),  # saturated and right
        np.where(wrong == 1, low, high),  # saturated with one wrong bit: nothing but ties
        np.where(wrong == 1, -1, 0),  # all zero but for the sign
        rng.integers(low, high + 1, (32, code.n)),  # no word at all: mostly abandoned
    ]
    last = len(decoder.patterns) - 1
    for row in (1, 2, 3, 1 + last // 3, last):
        try:
            parts.append(forced(decoder, row, quantiser, seed))
        except ValueError:  # a code of so few checks has no such word
            continue
    return np.concatenate(parts)


def noisy(
    decoder: Grand, ebn0: float, frames: int, quantiser: Quantiser | None = None, seed: int = 0
) -> np.ndarray:
    """[frames, n]: random words over AWGN at ``ebn0`` dB, quantised if asked to."""
    code, rng = decoder.code, np.random.default_rng([seed, 3])
    received = Awgn.at(ebn0, code.rate).send(code.encode(random_bits(rng, frames, code.k)), rng)
    return quantiser(received) if quantiser else received
