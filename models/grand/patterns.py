"""Which error patterns are tested, in which order, and in which clock cycle.

A word's bits are ranked by reliability: rank 1 is the least reliable.  A pattern is a set of
ranks; its *logistic weight* LW is their sum, its *Hamming weight* HW their number.  Tested are,
in this order, the empty pattern (the hard decision itself) and then for LW = 1, 2, 3, ... and
each HW upwards the sets of HW distinct ranks of at most n with that sum, in lexicographic order
of their ascending ranks: {1, 2, 7}, {1, 3, 6}, {1, 4, 5}, {2, 3, 5} for LW 10, HW 3.

A :class:`Staircase` says how far: a pattern of Hamming weight h is tested iff its logistic
weight is at most ``limits[h - 1]``.  ORBGRAND (LWmax, P) has P equal steps.  step-GRAND's
idea, a step-shaped restriction that cuts the worst case, is taken as any such staircase: the
limits that its own paper uses were not available to us, and ours are not claimed to be them.

The *dial* schedule: the hardware tests in one cycle all patterns of one logistic weight and
up to three ranks (there is such a cycle for every LW up to the largest limit of these HW), and
in one cycle all that share a logistic weight, a Hamming weight above three and all but their
three largest ranks, the *prefix*.  The empty pattern has a cycle of its own, cycle 1.

Every word of some codes has even weight.  Then a hard decision of even (odd) weight can only
be mended by patterns of even (odd) HW, and the others and their cycles are skipped:
``parity`` 0 or 1 instead of None.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Parity = int | None
"""Of the Hamming weights that are tested: 0 even, 1 odd, None all."""
PARITIES: tuple[Parity, ...] = (None, 0, 1)


@dataclass(frozen=True)
class Staircase:
    """The patterns of HW h up to ``len(limits)`` with LW <= ``limits[h - 1]``, of n ranks."""

    n: int
    limits: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 2 <= self.n <= 1024:
            raise ValueError(f"n = {self.n} ranks are not 2 to 1024")
        if not 1 <= len(self.limits) <= min(self.n, 16):
            raise ValueError(
                f"{len(self.limits)} limits, one a Hamming weight, are not 1 to {min(self.n, 16)}"
            )
        for h, limit in enumerate(self.limits, 1):
            if not (limit == 0 or h * (h + 1) // 2 <= limit <= self.n * h):
                raise ValueError(
                    f"limit {limit} of Hamming weight {h} is neither 0 (no such pattern) nor "
                    f"from {h * (h + 1) // 2}, the smallest logistic weight, to {self.n * h}"
                )

    @classmethod
    def orbgrand(cls, n: int, lw_max: int = 64, p: int = 6) -> "Staircase":
        """ORBGRAND (LWmax, P): every pattern of LW <= ``lw_max`` and HW <= ``p``."""
        if p < 1 or lw_max < p * (p + 1) // 2:
            raise ValueError(
                f"LWmax = {lw_max} admits no pattern of P = {p} ranks, the smallest of which has "
                f"{p * (p + 1) // 2}; lower P, which is at least 1"
            )
        return cls(n, tuple(min(lw_max, n * h) for h in range(1, p + 1)))

    @property
    def p(self) -> int:
        """The largest Hamming weight."""
        return len(self.limits)

    @property
    def lw_max(self) -> int:
        """The largest logistic weight."""
        return max(self.limits)

    def hamming_weights(self, parity: Parity = None) -> list[int]:
        """Those that are tested after the empty pattern."""
        return [h for h in range(1, self.p + 1) if parity is None or h % 2 == parity]

    def dial_cycles(self, parity: Parity = None) -> int:
        """Cycles that test patterns of up to three ranks: one for each LW from 1 to this."""
        return max((self.limits[h - 1] for h in self.hamming_weights(parity) if h <= 3), default=0)

    def worst_cycles(self, parity: Parity = None) -> int:
        """Cycles of a word that no pattern mends, by the closed form.

        ``1 + max(limits of HW <= 3) + sum_h #{(LW, prefix) of HW h > 3}``
        """
        heights = self.hamming_weights(parity)
        cycles = 1 + self.dial_cycles(parity)
        for h in heights:
            if h > 3:  # three ranks of l + 1 to n have every sum from 3l + 6 to 3n - 3
                prefixes = _ascending(h, self.limits[h - 1], self.n, h - 3)
                room = self.limits[h - 1] - prefixes.sum(1, dtype=np.int64)
                cycles += int((np.minimum(room, 3 * self.n - 3) - 3 * prefixes[:, -1] - 5).sum())
        return cycles

    def worst_queries(self, parity: Parity = None) -> int:
        """Patterns tested, the empty one included, for a word that none mends.

        By counting partitions into distinct parts, without enumerating them.
        """
        top = self.lw_max
        count = [[0] * (top + 1) for _ in range(self.p + 1)]  # [parts][sum]
        count[0][0] = 1
        for part in range(1, min(self.n, top) + 1):
            for h in range(self.p, 0, -1):
                for total in range(top, part - 1, -1):
                    count[h][total] += count[h - 1][total - part]
        return 1 + sum(
            sum(count[h][: self.limits[h - 1] + 1]) for h in self.hamming_weights(parity)
        )


@dataclass(frozen=True, eq=False)
class Patterns:
    """Every pattern of a staircase, in the order of the tests.

    Raises :class:`ValueError` where they are more than 2**24.
    """

    staircase: Staircase

    def __post_init__(self) -> None:
        if (count := self.staircase.worst_queries()) > 1 << 24:
            raise ValueError(
                f"limits {self.staircase.limits} admit {count} patterns, more than {1 << 24}; "
                "lower those of large Hamming weights"
            )

    @cached_property
    def ranks(self) -> np.ndarray:
        """int16 [Q, P]: each pattern's ranks, ascending, then 0; row 0 is the empty pattern."""
        staircase = self.staircase
        blocks = [np.zeros((1, staircase.p), np.int16)]
        for h in range(1, staircase.p + 1):
            found = _ascending(h, staircase.limits[h - 1], staircase.n, h)
            blocks.append(np.zeros((len(found), staircase.p), np.int16))
            blocks[-1][:, :h] = found
        ranks = np.concatenate(blocks)
        # Each block is lexicographic and blocks have ascending HW: a stable sort keeps both.
        return ranks[np.argsort(ranks.sum(1, dtype=np.int16), kind="stable")]

    @cached_property
    def lw(self) -> np.ndarray:
        """int32 [Q]: logistic weights, ascending."""
        return self.ranks.sum(1, dtype=np.int32)

    @cached_property
    def hw(self) -> np.ndarray:
        """int32 [Q]: Hamming weights."""
        return (self.ranks != 0).sum(1, dtype=np.int32)

    def __len__(self) -> int:
        return len(self.ranks)

    def tested(self, parity: Parity = None) -> np.ndarray:
        """bool [Q]: which patterns are tested; the empty one always."""
        return np.ones(len(self), bool) if parity is None else self._even_or_odd(parity)

    def queries(self, parity: Parity = None) -> np.ndarray:
        """int32 [Q]: the number of tests up to and with each tested pattern, from 1."""
        return np.cumsum(self.tested(parity), dtype=np.int32)

    def cycles(self, parity: Parity = None) -> np.ndarray:
        """int32 [Q]: the cycle, from 1, in which each tested pattern is tested."""
        new = np.zeros(len(self), np.int32)
        new[self.heads] = self.tested(parity)[self.heads] & (self.hw[self.heads] > 3)
        dials = np.minimum(self.lw, self.staircase.dial_cycles(parity))
        return 1 + dials + np.cumsum(new, dtype=np.int32)

    @cached_property
    def heads(self) -> np.ndarray:
        """int64: the rows that begin a run of patterns of one LW, HW and prefix."""
        prefixes, _ = take_apart(self.ranks)
        new = (self.lw[1:] != self.lw[:-1]) | (self.hw[1:] != self.hw[:-1])
        new |= (prefixes[1:] != prefixes[:-1]).any(1)
        return np.flatnonzero(np.concatenate([[True], new]))

    def _even_or_odd(self, parity: int) -> np.ndarray:
        return (self.hw % 2 == parity) | (self.hw == 0)


def take_apart(ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prefixes [..., max(P - 3, 1)] and suffixes [..., 3] of ``ranks`` [..., P].

    All ascending, then 0: the suffix is the three largest ranks, or as many as there are.
    """
    size = (ranks != 0).sum(-1, keepdims=True)
    start = np.maximum(size - 3, 0)
    wide = np.concatenate([ranks, np.zeros((*ranks.shape[:-1], 3), ranks.dtype)], axis=-1)
    suffix = np.take_along_axis(wide, start + np.arange(3), axis=-1)
    prefix = wide[..., : max(ranks.shape[-1] - 3, 1)].copy()
    prefix[np.arange(prefix.shape[-1]) >= start] = 0
    return prefix, suffix


def _ascending(h: int, limit: int, n: int, depth: int) -> np.ndarray:
    """int16 [., depth]: the first ``depth`` of h ascending ranks of at most n, of sum <= limit.

    In lexicographic order, each once.
    """
    found, total = np.zeros((1, 0), np.int16), np.zeros(1, np.int32)
    for left in range(h, h - depth, -1):
        last = found[:, -1].astype(np.int32) if found.shape[1] else np.zeros(1, np.int32)
        # `left` ranks from a upwards sum to at least left * a + left * (left - 1) / 2.
        room = (limit - total - left * (left - 1) // 2) // left
        count = np.maximum(np.minimum(room, n - left + 1) - last, 0)
        first = np.repeat(np.cumsum(count) - count - last - 1, count)
        rank = (np.arange(len(first)) - first).astype(np.int16)
        found = np.column_stack([np.repeat(found, count, axis=0), rank])
        total = np.repeat(total, count) + rank
    return found
