"""Polar codes with a CRC: which bits are frozen, and the transform.

A word is ``d = u @ F`` with F the m-fold Kronecker power of [[1, 0], [1, 1]], without bit
reversal, as in TS 38.212.  ``u`` is 0 where frozen; elsewhere stand, in ascending order of
index, the message and then its CRC.  Neither interleavers nor rate matching are part of it:
n is a power of two.
"""

from dataclasses import dataclass
from functools import cached_property
from math import exp, log, log1p, pi

import numpy as np

from . import gf2
from .crc import Crc
from .linear import LinearCode
from .polar_sequence import SEQUENCE


@dataclass(frozen=True, eq=False)
class PolarCode:
    """A polar code of n = ``len(frozen)`` bits."""

    frozen: np.ndarray
    """bool [n]: the bits of u that are 0."""
    crc: Crc | None = None
    """What is appended to the message before it is encoded."""
    name: str = "polar code"

    def __post_init__(self) -> None:
        frozen = np.asarray(self.frozen)
        n = frozen.size
        if frozen.ndim != 1 or n < 2 or n & n - 1:
            raise ValueError(
                f"a frozen set of shape {frozen.shape} is not one flag a bit of a polar code, "
                "whose length is a power of two"
            )
        if frozen.dtype != bool:
            raise ValueError(
                f"a frozen set is one true or false a bit, not {frozen.dtype}; "
                "np.isin(np.arange(n), indices) makes it from indices"
            )
        object.__setattr__(self, "frozen", frozen)
        if not 0 < self.k < n:
            raise ValueError(
                f"{n - frozen.sum()} bits of {n} are not frozen and {self._crc_bits} of them hold "
                f"a CRC: that leaves a message of {self.k} bits, not of 1 to n - 1"
            )

    @classmethod
    def of_order(
        cls, order: np.ndarray, k: int, crc: Crc | None = None, name: str = "polar code"
    ) -> "PolarCode":
        """Frozen but for the last ``k + crc.length`` indices of ``order`` [n], most reliable last.

        Raises :class:`ValueError` where they exceed n.
        """
        n, used = len(order), k + (crc.length if crc else 0)
        if not (k >= 1 and used <= n):
            raise ValueError(
                f"a message of {k} bits and a CRC of {used - k} do not fit a polar code of {n}; "
                f"k is from 1 to {n - used + k}"
            )
        frozen = np.ones(n, bool)
        frozen[order[n - used :]] = False
        return cls(frozen, crc, name)

    @property
    def n(self) -> int:
        """Bits of a word."""
        return len(self.frozen)

    @property
    def k(self) -> int:
        """Bits of a message, without its CRC."""
        return int((~self.frozen).sum()) - self._crc_bits

    @property
    def rate(self) -> float:
        """k / n: information bits a channel bit; a CRC's bits are not information."""
        return self.k / self.n

    @cached_property
    def information(self) -> np.ndarray:
        """int64: indices of u that are not frozen, ascending."""
        return np.flatnonzero(~self.frozen)

    def encode(self, messages: np.ndarray) -> np.ndarray:
        """Words [..., n] of ``messages`` [..., k]."""
        bits = self.crc.append(messages) if self.crc else np.asarray(messages)
        if bits.shape[-1] != len(self.information):
            raise ValueError(f"a message has {self.k} bits, not the shape {np.shape(messages)}")
        u = np.zeros((*bits.shape[:-1], self.n), np.uint8)
        u[..., self.information] = bits
        return transform(u)

    @cached_property
    def linear(self) -> LinearCode:
        """The same code and encoder by matrices."""
        return LinearCode.generated(self.encode(np.eye(self.k, dtype=np.uint8)), self.name)

    @property
    def _crc_bits(self) -> int:
        return self.crc.length if self.crc else 0


def transform(u: np.ndarray) -> np.ndarray:
    """``u @ F`` of bits [..., n], n a power of two; its own inverse."""
    x = np.array(u, np.uint8)
    for step in (1 << i for i in range(x.shape[-1].bit_length() - 1)):
        pairs = x.reshape(*x.shape[:-1], -1, 2, step)
        pairs[..., 0, :] ^= pairs[..., 1, :]
    return x


def order_5g(n: int) -> np.ndarray:
    """int64 [n]: the indices below n by TS 38.212's reliability, the most reliable last."""
    if not 2 <= n <= len(SEQUENCE) or n & n - 1:
        raise ValueError(f"n = {n} is not a power of two from 2 to {len(SEQUENCE)}")
    order = np.array(SEQUENCE)
    return order[order < n]


def order_gaussian(n: int, esn0: float) -> np.ndarray:
    """int64 [n]: the indices by Gaussian approximation at ``esn0`` dB, the most reliable last.

    Each LLR of the decoding tree counts as normal with a variance of twice its mean
    (Chung, Richardson, Urbanke 2001), whose function phi is used as usual in pieces.
    """
    if n < 2 or n & n - 1:
        raise ValueError(f"n = {n} is not a power of two of at least 2")
    means = [4 * 10 ** (esn0 / 10)]
    while len(means) < n:
        means = [mean for m in means for mean in (_check(m), 2 * m)]
    return np.argsort(means, kind="stable")


def polar_5g(n: int, k: int, crc: Crc | None = None) -> PolarCode:
    """The 5G polar code (n, k + CRC); raises :class:`ValueError` where it does not fit."""
    name = f"polar-{n}-{k}" + (f"-{crc.name}" if crc else "")
    return PolarCode.of_order(order_5g(n), k, crc, name)


def is_word(code: PolarCode, words: np.ndarray) -> np.ndarray:
    """bool [...]: whether ``words`` [..., n] keep the frozen bits 0 and the CRC."""
    u = transform(words)
    good = np.asarray(~u[..., code.frozen].any(-1))
    if code.crc:
        message, parity = np.split(u[..., code.information], [code.k], axis=-1)
        good &= (gf2.multiply(message, code.crc.matrix(code.k)) == parity).all(-1)
    return good


def _check(mean: float) -> float:
    """The mean behind a check node of two LLRs of ``mean``: phi of it is 1 - (1 - phi)**2."""
    phi = _log_phi(mean)
    target = phi + log1p(1 - exp(phi))
    low, high = 0.0, mean
    for _ in range(60):  # phi falls; logarithms, because phi itself underflows
        middle = (low + high) / 2
        low, high = (middle, high) if _log_phi(middle) > target else (low, middle)
    return (low + high) / 2


def _log_phi(x: float) -> float:
    if x < 10:
        return min(-0.4527 * x**0.86 + 0.0218, 0.0)
    return 0.5 * log(pi / x) + log1p(-10 / (7 * x)) - x / 4
