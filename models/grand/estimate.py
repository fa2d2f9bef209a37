"""Error rates too small to be counted.

A word's hard decision has K wrong bits, K binomial.  Every rate is a sum over K of its
probability, which is known, and the rate among words with that many, which is estimated from
words drawn with exactly that many: rare words are drawn as often as common ones.  Among them,
those with an improbably strong wrong bit are drawn too often and count the less.

:func:`stratified` decodes such words, and misses nothing.  :func:`noise_only` does not decode:
it asks whether the noise's own pattern is among those tested, and adds a union term, one false
match in ``2**(n-k)`` for each test before it, as if the code's columns were random.  Low-weight
words of a real code make more: the estimate falls short where undetected errors count.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import comb, sqrt

import numpy as np

from ..codes.channel import Awgn, Quantiser, magnitude
from ..codes.montecarlo import random_bits
from .decoder import Grand
from .split import Split


@dataclass(frozen=True)
class Estimate:
    """A frame error rate as a sum over strata, and other expectations beside it."""

    fer: float
    deviation: float
    """Standard deviation of :attr:`fer`, by its own samples."""
    means: dict[str, float]
    """Of :func:`stratified`: average costs (a word with more than P wrong bits counts as the
    worst) and the rate of ``undetected`` errors, wrong words of the code, without such words.
    Of :func:`noise_only`: the two parts of :attr:`fer`, ``miss`` and ``union``."""
    frames: int
    """Frames that count."""

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """A confidence interval of :attr:`fer`, 95 % by default."""
        return max(self.fer - z * self.deviation, 0.0), self.fer + z * self.deviation


def stratified(
    decoder: Grand,
    channel: Awgn,
    *,
    quantiser: Quantiser | None = None,
    frames: int = 1_000_000,
    block: int = 8192,
    seed: int = 0,
) -> Estimate:
    """Decodes about ``frames`` random words with 1 to P wrong hard decisions."""
    code = decoder.code

    def sample(wrong: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        sent = code.encode(random_bits(rng, block, code.k))
        received, weight = channel.send_wrong(sent, wrong, rng)
        decoded = decoder(quantiser(received) if quantiser else received)
        error = (decoded.words != sent).any(1)
        return weight, error, error & decoded.found, *decoded.costs.values()

    strata = _Strata(decoder, channel, block, seed, sample)
    strata.spend(frames)
    # None wrong: nothing to mend.  More than P: no tested pattern is the right one.
    undetected, *costs = strata.means()
    return Estimate(
        strata.beyond + strata.rate,
        strata.deviation,
        {"undetected": undetected}
        | {
            name: strata.share[0] + mean + strata.beyond * most
            for (name, most), mean in zip(decoder.worst.items(), costs, strict=True)
        },
        strata.frames,
    )


def noise_only(
    decoder: Grand,
    channel: Awgn,
    *,
    quantiser: Quantiser | None = None,
    frames: int = 1_000_000,
    block: int = 8192,
    seed: int = 0,
) -> Estimate:
    """Estimates from about ``frames`` noises with 1 to P wrong hard decisions.

    The code counts by its length and its number of checks alone.
    """
    n, most, parity = decoder.code.n, decoder.staircase.p, decoder.skip_parity
    split, silence = Split(decoder.patterns), np.zeros((block, n), np.uint8)
    queries = [decoder.patterns.queries(odd if parity else None) for odd in (0, 1)]
    # By parity, only half of the syndromes are those of a tested pattern's weight.
    chance = 0.5 ** (decoder.code.checks - parity)

    def sample(wrong: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        received, weight = channel.send_wrong(silence, wrong, rng)
        received = quantiser(received) if quantiser else received
        order = np.argsort(magnitude(received), axis=1, kind="stable")
        rank = np.nonzero(np.take_along_axis(received < 0, order, axis=1))[1] + 1
        ranks = np.zeros((block, most), np.int64)
        ranks[:, :wrong] = rank.reshape(block, wrong)
        rows = split.rows(ranks)
        before = np.where(rows < 0, 0, queries[wrong % 2][rows] - 1)
        return weight, rows < 0, chance * before

    strata = _Strata(decoder, channel, block, seed, sample)
    strata.spend(frames)
    miss, (union,) = strata.beyond + strata.rate, strata.means()
    return Estimate(miss + union, strata.deviation, {"miss": miss, "union": union}, strata.frames)


def shares(decoder: Grand, channel: Awgn) -> tuple[list[float], float]:
    """The probabilities of 0 to P wrong hard decisions, P the most that are mended, and of more."""
    n, p = decoder.code.n, channel.error_probability
    share = [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    most = decoder.staircase.p
    return share[: most + 1], sum(share[most + 1 :])


@dataclass
class _Stratum:
    """Weighted sums over words with a given number of wrong bits."""

    frames: int = 0
    blocks: int = 0
    weight: float = 0.0
    errors: float = 0.0
    squares: float = 0.0
    largest: float = 0.0
    """The largest weight of an error seen."""
    sums: np.ndarray = field(default_factory=lambda: np.zeros(1))

    @property
    def variance(self) -> float:
        """Of one word's part in the error rate; one error more than seen keeps it above 0."""
        more = self.largest or 1.0
        mean = (self.errors + more) / (self.frames + 2)
        return (self.squares + more**2) / (self.frames + 2) - mean**2


class _Strata:
    """The words with 1 to P wrong hard decisions.

    ``sample(wrong, rng)`` draws a block of them and gives, [block] each, the weights, which
    words are errors, and whatever else is to be averaged.
    """

    def __init__(
        self,
        decoder: Grand,
        channel: Awgn,
        block: int,
        seed: int,
        sample: Callable[[int, np.random.Generator], tuple[np.ndarray, ...]],
    ) -> None:
        self.block, self.seed, self.sample = block, seed, sample
        self.share, self.beyond = shares(decoder, channel)
        self.parts = {wrong: _Stratum() for wrong in range(1, len(self.share))}

    @property
    def frames(self) -> int:
        return sum(part.frames for part in self.parts.values())

    @property
    def rate(self) -> float:
        return sum(self.share[k] * part.errors / part.frames for k, part in self.parts.items())

    @property
    def deviation(self) -> float:
        parts = self.parts.items()
        return sqrt(sum(self.share[k] ** 2 * part.variance / part.frames for k, part in parts))

    def means(self) -> list[float]:
        means = [self.share[k] * part.sums / part.weight for k, part in self.parts.items()]
        return np.sum(means, axis=0).tolist()

    def spend(self, frames: int) -> None:
        """Draws about ``frames``: a fifth to see where they help most, the rest accordingly.

        Only the rest counts: samples that decide how many follow them would bias the sum.
        """
        for wrong in self.parts:
            self.draw(wrong, frames // 5 // len(self.parts))
        need = {k: self.share[k] * sqrt(part.variance) for k, part in self.parts.items()}
        for wrong, part in self.parts.items():
            self.parts[wrong] = _Stratum(blocks=part.blocks)
            share = 0.9 * need[wrong] / sum(need.values()) + 0.1 / len(need)
            self.draw(wrong, round(frames * 4 / 5 * share))

    def draw(self, wrong: int, frames: int) -> None:
        """Adds whole blocks, at least one, until there are ``frames`` more."""
        for _ in range(max(-(-frames // self.block), 1)):
            self._draw(wrong)

    def _draw(self, wrong: int) -> None:
        part = self.parts[wrong]
        rng = np.random.default_rng([self.seed, wrong, part.blocks])
        weight, error, *others = self.sample(wrong, rng)
        part.blocks += 1
        part.frames += len(weight)
        part.weight += float(weight.sum())
        part.errors += float(weight[error].sum())
        part.squares += float((weight[error] ** 2).sum())
        part.largest = max(part.largest, float(weight[error].max(initial=0)))
        part.sums = part.sums + np.array([float((weight * other).sum()) for other in others])
