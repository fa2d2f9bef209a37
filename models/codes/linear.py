"""Binary linear codes by their parity-check matrix."""

from dataclasses import dataclass, field
from functools import cached_property
from zlib import crc32

import numpy as np

from . import gf2
from .crc import Crc


@dataclass(frozen=True, eq=False)
class LinearCode:
    """The words c of n bits with ``H @ c = 0``, and the rule from messages to words, ``u @ G``.

    ``LinearCode(H)`` is systematic: the message stands in :attr:`information`, the leftmost
    positions that can hold one.  Another ``G`` may be given.  Raises :class:`ValueError` on
    entries other than 0 and 1, on dependent rows, and where G does not generate H's code.
    """

    H: np.ndarray
    """uint8 [n - k, n], of full rank."""
    G: np.ndarray = field(default=None)  # pyright: ignore[reportAssignmentType]
    """uint8 [k, n], of full rank, with ``H @ G.T = 0``."""
    name: str = "linear code"

    def __post_init__(self) -> None:
        H = gf2.matrix(self.H, "H")
        checks, n = H.shape
        if not 0 < checks < n:
            raise ValueError(f"H has {checks} rows and {n} columns; 1 to n - 1 rows make a code")
        if (rank := gf2.rank(H)) < checks:
            raise ValueError(
                f"H has {checks} rows but rank {rank}: a parity check is the sum of others; "
                "gf2.row_reduce(H)[0] leaves out what is superfluous"
            )
        G = gf2.null_space(H) if self.G is None else gf2.matrix(self.G, "G")
        if G.shape != (n - checks, n) or gf2.rank(G) < len(G) or gf2.multiply(H, G.T).any():
            raise ValueError(
                f"G of shape {G.shape} does not generate the code of {n - checks} dimensions "
                f"and {n} bits that H checks; leave it out for a systematic one"
            )
        object.__setattr__(self, "H", H)
        object.__setattr__(self, "G", G)

    @classmethod
    def generated(cls, G: np.ndarray, name: str = "linear code") -> "LinearCode":
        """The code whose words are ``u @ G``; raises :class:`ValueError` on dependent rows."""
        G = gf2.matrix(G, "G")
        if (rank := gf2.rank(G)) < len(G):
            raise ValueError(f"G has {len(G)} rows but rank {rank}: two messages share a word")
        return cls(gf2.null_space(G), G, name)

    @property
    def n(self) -> int:
        """Bits of a word."""
        return self.H.shape[1]

    @property
    def checks(self) -> int:
        """n - k: bits of a syndrome."""
        return len(self.H)

    @property
    def k(self) -> int:
        """Bits of a message: information alone, without a CRC."""
        return self.n - self.checks

    @cached_property
    def digest(self) -> str:
        """Tells apart what :attr:`name` may not: eight digits of H and G."""
        return f"{crc32(self.G.tobytes(), crc32(self.H.tobytes())):08x}"

    @property
    def rate(self) -> float:
        """k / n: information bits a channel bit."""
        return self.k / self.n

    @cached_property
    def even_weight(self) -> bool:
        """Whether every word has an even number of ones."""
        return not (self.G.sum(1) & 1).any()

    @cached_property
    def beside_parity(self) -> np.ndarray:
        """uint8 [n - k - 1, n]: checks that, with a row of ones, are those of an even-weight code.

        Raises :class:`ValueError` where the code has words of odd weight.
        """
        if not self.even_weight:
            raise ValueError(f"{self.name} has words of odd weight: ones are no check of it")
        rows = np.concatenate([np.ones((1, self.n), np.uint8), self.H])
        # Rows that are not sums of those before: the ones, and all of H's but one.
        return rows[gf2.row_reduce(rows.T)[1][1:]]

    @cached_property
    def extended(self) -> "LinearCode":
        """The same messages with a parity bit behind each word: a code of even weight."""
        parity = self.G.sum(1, dtype=np.uint8)[:, None] & 1
        H = np.pad(self.H, ((0, 0), (0, 1)))
        H = np.concatenate([H, np.ones((1, self.n + 1), np.uint8)])
        return LinearCode(H, np.concatenate([self.G, parity], 1), f"{self.name}-extended")

    @cached_property
    def columns(self) -> np.ndarray:
        """int64 [n]: H's columns, row i in bit i; raises :class:`ValueError` over 64 rows."""
        return gf2.pack(self.H.T)

    @cached_property
    def information(self) -> np.ndarray:
        """int64 [k]: positions, ascending, whose bits determine the message."""
        return np.sort(gf2.row_reduce(self.G)[1])

    @cached_property
    def systematic(self) -> bool:
        """Whether the message itself stands in :attr:`information`."""
        return np.array_equal(self.G[:, self.information], np.eye(self.k))

    def encode(self, messages: np.ndarray) -> np.ndarray:
        """Words [..., n] of ``messages`` [..., k]."""
        return gf2.multiply(self._bits(messages, self.k, "message"), self.G)

    def message(self, words: np.ndarray) -> np.ndarray:
        """Messages [..., k] of ``words`` [..., n] of the code."""
        return gf2.multiply(self._bits(words, self.n, "word")[..., self.information], self._solve)

    def syndrome(self, words: np.ndarray) -> np.ndarray:
        """``H @ word`` [..., n - k] of any ``words`` [..., n]: zero for words of the code."""
        return gf2.multiply(self._bits(words, self.n, "word"), self.H.T)

    @cached_property
    def _solve(self) -> np.ndarray:
        return gf2.inverse(self.G[:, self.information])

    @staticmethod
    def _bits(values: np.ndarray, length: int, what: str) -> np.ndarray:
        values = np.asarray(values)
        if values.shape[-1:] != (length,):
            raise ValueError(f"a {what} has {length} bits, not the shape {values.shape}")
        return values


def random_code(n: int, k: int, seed: int = 0) -> LinearCode:
    """A systematic code with parity bits drawn at random: the same ones for the same seed."""
    if not 0 < k < n:
        raise ValueError(f"k = {k} is not from 1 to n - 1 = {n - 1}")
    parity = np.random.default_rng([seed, n, k]).integers(0, 2, (n - k, k), np.uint8)
    H = np.concatenate([parity, np.eye(n - k, dtype=np.uint8)], axis=1)
    return LinearCode(H, name=f"random-{n}-{k}-{seed}")


def crc_code(n: int, crc: Crc) -> LinearCode:
    """A message of ``n - crc.length`` bits followed by its CRC."""
    k = n - crc.length
    if k < 1:
        raise ValueError(f"n = {n} leaves no message before the {crc.length} bits of {crc.name}")
    H = np.concatenate([crc.matrix(k).T, np.eye(crc.length, dtype=np.uint8)], axis=1)
    return LinearCode(H, name=f"crc-{n}-{k}-{crc.name}")
