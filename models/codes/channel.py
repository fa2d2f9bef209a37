"""Channels and what a receiver makes of them.

Bit 0 is sent as +1, bit 1 as -1 (BPSK).  An LLR is ``ln p(y | bit = 0) / p(y | bit = 1)``:
*positive means 0*.  Eb/N0 counts the energy an information bit: with the rate
R = k / n of information bits alone (a CRC's and frozen bits are none), the noise's
standard deviation at signal amplitude 1 is ``sigma = (2 * R * Eb/N0) ** -0.5``.
"""

from dataclasses import dataclass
from math import erfc, exp, log, sqrt

import numpy as np
import torch

from ..fixed import limits, quantise

_DEPTH = 30.0
"""exp(-30) = 1e-13: how rare, among wrong bits, the values are that are still drawn often."""


@dataclass(frozen=True)
class Awgn:
    """Additive white Gaussian noise of standard deviation ``sigma`` on +-1."""

    sigma: float

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(f"noise of standard deviation {self.sigma} is not above 0")

    @classmethod
    def at(cls, ebn0: float, rate: float) -> "Awgn":
        """The channel at ``ebn0`` dB for codes of ``rate`` information bits a channel bit."""
        if not 0 < rate <= 1:
            raise ValueError(f"rate {rate} is not above 0 and at most 1")
        return cls((2 * rate * 10 ** (ebn0 / 10)) ** -0.5)

    @property
    def error_probability(self) -> float:
        """Of a hard decision: Q(1 / sigma)."""
        return 0.5 * erfc(1 / self.sigma / sqrt(2))

    @property
    def llr_scale(self) -> float:
        """An LLR is this times the received value."""
        return 2 / self.sigma**2

    def send(self, words: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Received values, float32 [frames, n], of ``words`` [frames, n]."""
        noise = rng.standard_normal(words.shape, np.float32)
        noise *= np.float32(self.sigma)
        noise += 1 - 2 * words.astype(np.float32)
        return noise

    def send_wrong(
        self, words: np.ndarray, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`send`, given that exactly ``count`` hard decisions of each word are wrong.

        The second result, float64 [frames], is what each word counts, 1 on average: for the
        sake of rare events a quarter of the words has a wrong bit whose received value lies
        far beyond the decision's edge more often than in truth.
        """
        wrong = _subsets(len(words), words.shape[1], count, rng)
        noise = rng.standard_normal(words.shape, np.float32)
        edge = np.float32(-1 / self.sigma)
        while len(over := np.flatnonzero(noise.reshape(-1) <= edge)):
            noise.reshape(-1)[over] = rng.standard_normal(len(over), np.float32)
        tail, weight = 1 - rng.random(wrong.shape), np.ones(len(words))
        if count:
            # Of a wrong bit, the probability of values beyond its own: uniform on 0..1 in truth;
            # in a quarter of the words one bit's logarithm is, down to -_DEPTH.  Which of the
            # wrong bits that was (here the first) cannot be told from the word.
            far = rng.random(len(words)) < 0.25
            tail[far, 0] = np.exp(-_DEPTH * (1 - tail[far, 0]))
            density = np.where(tail >= exp(-_DEPTH), 1 / (_DEPTH * tail), 0).mean(1)
            weight = 1 / (0.75 + 0.25 * density)
        beyond = torch.special.ndtri(torch.from_numpy(self.error_probability * tail)).numpy()
        value = 1 + np.float32(self.sigma) * noise
        beyond = np.minimum(1 + self.sigma * beyond, -1e-12).astype(np.float32)
        np.put_along_axis(value, wrong, beyond, axis=1)
        return value * (1 - 2 * words.astype(np.float32)), weight

    def llr(self, received: np.ndarray) -> np.ndarray:
        """The LLRs of ``received`` values."""
        return np.float32(self.llr_scale) * received


@dataclass(frozen=True)
class Bsc:
    """Flips each bit with ``probability``; received are +1 and -1, a decoder's ties throughout."""

    probability: float

    def __post_init__(self) -> None:
        if not 0 < self.probability < 0.5:
            raise ValueError(f"crossover probability {self.probability} is not inside 0..0.5")

    @property
    def error_probability(self) -> float:
        """Of a hard decision."""
        return self.probability

    @property
    def llr_scale(self) -> float:
        """An LLR is this times the received value."""
        return log((1 - self.probability) / self.probability)

    def send(self, words: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Received values, float32 [frames, n], of ``words`` [frames, n]."""
        flips = rng.random(words.shape, np.float32) < self.probability
        return 1 - 2 * (words ^ flips).astype(np.float32)

    def llr(self, received: np.ndarray) -> np.ndarray:
        """The LLRs of ``received`` values."""
        return np.float32(self.llr_scale) * received


Channel = Awgn | Bsc


@dataclass(frozen=True)
class Quantiser:
    """Received values (signal amplitude 1) or LLRs as integers of ``bits`` bits.

    ``q = floor(y / step)``, saturated to two's complement: the levels lie half a step off
    zero, at ``(q + 1/2) * step``, so that there are as many of either sign, none is zero and
    no sign is lost.  A receiver of such a number takes its sign bit as the hard decision
    (1 where negative) and :func:`magnitude`, from 0 to 2**(bits-1) - 1, as the reliability.
    """

    bits: int = 5
    step: float = 0.1

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise ValueError(f"LLRs of {self.bits} bits are not of 2 to 16, a sign included")
        if not self.step > 0:
            raise ValueError(f"quantisation step {self.step} is not above 0")

    def __call__(self, y: np.ndarray) -> np.ndarray:
        """int64 of ``y``'s shape; raises :class:`ValueError` on NaN."""
        # Half a step off, rounding half up is rounding down.
        return quantise(np.asarray(y, np.float64) / self.step - 0.5, 0, self.bits)

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest number."""
        return limits(self.bits)


def hard(y: np.ndarray) -> np.ndarray:
    """uint8: the more likely bits of received values, LLRs or quantised ones: 1 where negative."""
    return (y < 0).astype(np.uint8)


def magnitude(y: np.ndarray) -> np.ndarray:
    """The reliability of :func:`hard`: ``abs(y)``; of integers q ``q`` or ``-1 - q``.

    That is the distance from the middle between 0 and -1, half a step left out; in hardware
    each bit XOR the sign.
    """
    y = np.asarray(y)
    return np.abs(y) if y.dtype.kind == "f" else np.where(y < 0, ~y, y)


def _subsets(frames: int, n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """int64 [frames, count]: ``count`` distinct numbers below n, every set equally likely."""
    if count * count > n:  # few draws would be distinct
        return np.argsort(rng.random((frames, n), np.float32), axis=1)[:, :count]
    chosen = rng.integers(0, n, (frames, count))
    again = np.arange(frames)
    while True:
        ordered = np.sort(chosen[again], axis=1)
        again = again[(ordered[:, 1:] == ordered[:, :-1]).any(1)]
        if not len(again):
            return chosen
        chosen[again] = rng.integers(0, n, (len(again), count))
