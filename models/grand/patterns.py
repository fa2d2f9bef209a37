"""Which error patterns are tested, in which order, and in which clock cycle.

A word's bits are ranked by reliability: rank 1 is the least reliable.  A pattern is a set of
ranks; its *logistic weight* LW is their sum, its *Hamming weight* HW their number.  Tested are,
in this order, the empty pattern (the hard decision itself) and then for LW = 1, 2, 3, ... and
each HW upwards the sets of HW distinct ranks of at most n with that sum, in lexicographic order
of their ascending ranks: {1, 2, 7}, {1, 3, 6}, {1, 4, 5}, {2, 3, 5} for LW 10, HW 3.

A :class:`Staircase` says how far: a pattern of Hamming weight h is tested iff its logistic
weight is at most ``limits[h - 1]``.  ORBGRAND (LWmax, P) has P equal steps.  step-GRAND's idea,
a step-shaped restriction that cuts the worst case, is taken as any such staircase: the limits
that its own paper uses were not available to us, and ours are not claimed to be them.

The *dial* schedule: the hardware tests in one cycle all patterns of one logistic weight and
up to three ranks (there is such a cycle for every LW up to the largest limit of these HW), and
in one cycle all that share a logistic weight, a Hamming weight above three and all but their
three largest ranks, the *prefix*.  The empty pattern has a cycle of its own, cycle 1.

Two more limits follow from what that costs.  Prefixes of high ranks leave few patterns a cycle:
``prefixes`` bounds their largest rank.  Each second and third largest rank x >= y that occur
together take hardware of their own (:mod:`...hdl.grand.shape`), and few words need high ones,
for at equal LW patterns of one weak and some strong ranks are likelier than balanced ones:
``reach`` bounds ``x + max(y, edge)``, y = 0 of a pair and ``edge`` the largest of ``prefixes``.
The edge makes the restriction one that hardware can keep without masks: a triple that a cycle
tests beside its own (a rank of the prefix, or one below it, among the three) makes a pattern
that is within the limits, too, and was tested before.

Every word of some codes has even weight.  Then a hard decision of even (odd) weight can only
be mended by patterns of even (odd) HW, and the others and their cycles are skipped:
``parity`` 0 or 1 instead of None.
"""

from dataclasses import dataclass, replace
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
    prefixes: tuple[int, ...] = ()
    """The largest rank in the prefix of a pattern of HW 4 upwards; (): any rank."""
    reach: int = 0
    """The largest x + max(y, edge), x and y being the second and third largest rank; 0: any."""

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
        if self.prefixes and len(self.prefixes) != self.p - 3:
            raise ValueError(
                f"{len(self.prefixes)} prefixes, one a Hamming weight from 4 to {self.p}, are not "
                f"{max(self.p - 3, 0)}; leave them out for any rank"
            )
        for h, rank in enumerate(self.prefixes, 4):
            if rank < h - 3:
                raise ValueError(
                    f"largest rank {rank} in the prefixes of Hamming weight {h}, which have "
                    f"{h - 3} ranks, is not at least {h - 3}"
                )
        if self.reach:
            self._check_reach()

    def _check_reach(self) -> None:
        if self.p > 3 and not self.prefixes:
            raise ValueError(f"a reach of {self.reach} needs prefixes as well")
        if self.reach < (least := 2 * self.edge + 3):
            raise ValueError(
                f"reach {self.reach} leaves prefixes up to rank {self.edge} without a triple; it "
                f"is at least {least}, or 0 for any"
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

    def __str__(self) -> str:
        limits = [",".join(map(str, part)) for part in (self.limits, self.prefixes) if part]
        return "/".join([*limits, *([f"reach {self.reach}"] if self.reach else [])])

    def shortened(self, n: int) -> "Staircase":
        """The same limits for fewer ranks: those patterns of this staircase that n ranks have."""
        if n >= self.n:
            return replace(self, n=n)
        limits = [min(limit, n * h) for h, limit in enumerate(self.limits, 1) if h <= n]
        least = [limit if limit >= h * (h + 1) // 2 else 0 for h, limit in enumerate(limits, 1)]
        return Staircase(n, tuple(least), self.prefixes[: max(len(least) - 3, 0)], self.reach)

    @property
    def p(self) -> int:
        """The largest Hamming weight."""
        return len(self.limits)

    @property
    def lw_max(self) -> int:
        """The largest logistic weight."""
        return max(self.limits)

    def highest(self, h: int) -> int:
        """The largest rank in a prefix of Hamming weight ``h`` > 3."""
        return min(self.prefixes[h - 4], self.n - 3) if self.prefixes else self.n - 3

    @property
    def edge(self) -> int:
        """The largest rank in any prefix, where ``prefixes`` bounds it; 0 otherwise."""
        return max(self.prefixes, default=0)

    def within(self, x: np.ndarray, y: np.ndarray | np.int16) -> np.ndarray:
        """bool: whether patterns of these second and third largest ranks are within the reach.

        0 stands for a rank that a pattern does not have.
        """
        return (x == 0) | (x + np.maximum(y, self.edge) <= self.reach) | (self.reach == 0)

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
        # Three ranks of l + 1 to n have every sum from 3l + 6 to 3n - 3, or to reach + n.
        most = self.n + min(self.reach or 2 * self.n, 2 * self.n - 3)
        cycles = 1 + self.dial_cycles(parity)
        for h in self.hamming_weights(parity):
            if h > 3:
                prefixes = _ascending(h, self.limits[h - 1], self.n, h - 3)
                prefixes = prefixes[prefixes[:, -1] <= self.highest(h)]
                room = self.limits[h - 1] - prefixes.sum(1, dtype=np.int64)
                cycles += int((np.minimum(room, most) - 3 * prefixes[:, -1] - 5).sum())
        return cycles

    def worst_queries(self, parity: Parity = None) -> int:
        """Patterns tested, the empty one included, for a word that none mends.

        By counting, without enumerating them.
        """
        return 1 + sum(map(self._count, self.hamming_weights(parity)))

    def _count(self, h: int) -> int:
        """Patterns of Hamming weight ``h``."""
        limit = self.limits[h - 1]
        if h == 1 or not limit:
            return min(limit, self.n)
        y, x = np.triu_indices(min(self.n, limit) + 1, 1)
        if h == 2:
            y, x = y[y == 0], x[y == 0]
        here = (y >= h - 2) & (y + 2 * x < limit) & self.within(x, y)
        y, x = y[here], x[here]
        # [edge, total]: sets of h - 3 ranks of at most edge.
        edge = np.minimum(y - 1, self.highest(h) if h > 3 else 0).clip(0)
        below = _sets(max(h - 3, 0), int(edge.max(initial=0)), limit)
        largest = np.minimum(limit - y - x - np.arange(limit + 1)[:, None], self.n)
        return int((below.T[:, edge] * np.maximum(largest - x, 0)).sum())


STEP_GRAND = Staircase(128, (99, 89, 99, 62, 53, 45), (5, 5, 4), 27)
"""Our step-GRAND of 128 bits, even and odd patterns apart: at most 400 cycles of either."""
STEP_GRAND_ANY = Staircase(128, (91, 91, 91, 58, 46, 42), (5, 5, 4), 27)
"""The same for codes with words of odd weight: at most 600 cycles."""


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
            if h > 3:
                found = found[found[:, h - 4] <= staircase.highest(h)]
            if h > 1:
                third = found[:, h - 3] if h > 2 else np.int16(0)
                found = found[staircase.within(found[:, h - 2], third)]
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


def _sets(size: int, edge: int, most: int) -> np.ndarray:
    """int64 [edge + 1, most + 1]: sets of ``size`` ranks of at most each edge, by their sum."""
    count = np.zeros((size + 1, most + 1), np.int64)  # [size, sum]
    count[0, 0] = 1
    found = [count[size].copy()]
    for rank in range(1, edge + 1):
        count[1:, rank:] += count[:-1, : most + 1 - rank].copy()
        found.append(count[size].copy())
    return np.stack(found)


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
