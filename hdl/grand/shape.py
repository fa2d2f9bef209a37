"""What a configuration needs of the parallel tester: its slots, and how far dials reach.

Columns of H are taken in the order of reliability: ``h[r]`` is that of rank r, ``h[0] = 0``.
In one cycle the tester tests all patterns of up to three ranks with one sum, ``total``.  A
*slot* (i, j) tests the ranks i, j and ``total - i - j``::

    h[i] ^ h[j] ^ h[total - i - j] == target

Slot (0, 0) tests the single rank, slots (0, j) pairs, the others triples i < j.  Where the
third rank is not above j the slot tests again what another one does, or what a pattern of two
bits fewer has done before; where it is below 1 or above n the slot must not match.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...models.grand.config import GrandConfig


@dataclass(frozen=True)
class Shape:
    """Derived sizes of one configuration."""

    config: GrandConfig

    @cached_property
    def slots(self) -> list[tuple[int, int]]:
        """Every (i, j) that some pattern needs: (0, 0), then ascending, row by row."""
        staircase, last = self.config.staircase, self.config.length - 1
        limits = staircase.limits
        found = [(0, 0)]
        found += [(0, j) for j in range(1, last + 1) if 2 * j < limits[1]]
        for i in range(1, last):
            # Behind a prefix of h - 3 ranks, at best 1 to h - 3, a triple begins above them.
            total = max(
                limit - (h - 3) * (h - 2) // 2 for h, limit in enumerate(limits[2 : i + 2], 3)
            )
            found += [(i, j) for j in range(i + 1, last + 1) if i + 2 * j < total]
        i, j = np.array(found).T
        return [slot for slot, within in zip(found, staircase.within(j, i), strict=True) if within]

    @cached_property
    def rows(self) -> list[tuple[int, list[int]]]:
        """The slots by their i: (i, its js)."""
        firsts = sorted({i for i, _ in self.slots})
        return [(i, [j for first, j in self.slots if first == i]) for i in firsts]

    @cached_property
    def ranks(self) -> int:
        """The largest j: ranks 1 to this stand still while a word is searched."""
        return max(j for _, j in self.slots)

    @cached_property
    def reach(self) -> int:
        """The largest i + j: a dial shows ``h[total]`` down to ``h[total - reach]``."""
        return max(i + j for i, j in self.slots)

    @property
    def prefix(self) -> int:
        """Most ranks in a prefix: those of a pattern beside its three largest."""
        return len(self.config.staircase.limits) - 3

    @cached_property
    def lw_max(self) -> int:
        """The largest logistic weight."""
        return self.config.staircase.lw_max

    @property
    def total(self) -> range:
        """Sums of a test."""
        return range(self.lw_max + 1)

    @property
    def rank(self) -> range:
        """Ranks that a word is asked for, and the one after."""
        return range(self.lw_max + 2)

    @property
    def part(self) -> range:
        """A rank of a prefix: three more follow, each above the one before."""
        staircase = self.config.staircase
        highest = max(staircase.prefixes, default=self.config.length)
        return range(min(highest, max(1, (self.lw_max - 6) // 4)) + 1)

    @property
    def first(self) -> range:
        """The i of a slot."""
        return range(self.rows[-1][0] + 1)

    @property
    def second(self) -> range:
        """The j of a slot."""
        return range(self.ranks + 1)
