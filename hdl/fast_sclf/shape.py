"""Sizes derived from a configuration, and where things lie in the memories.

LLRs of a node of level t (2**t of them, in one bank) lie in *words* of two halves of ``pes``
LLRs: f and g take LLR i of the low half with LLR i of the high one.  A node of at most
``2 * pes`` LLRs is one word, its first half low and its second half high, both from lane 0; of a
larger one word w holds rows w and w + words of ``pes`` LLRs.  The channel's LLRs lie likewise in
a memory of their own, which all paths read.

Partial sums, the words of left children of at least ``pes`` bits, lie in *rows* of ``pes`` bits:
those of level j from row 2**(j - log2(pes)).  Row 0 holds the last ``pes`` bits of all.
"""

from dataclasses import dataclass
from functools import cached_property

from ...models.fast_sclf.config import FastSclfConfig


@dataclass(frozen=True)
class Shape:
    """Derived sizes of one configuration."""

    config: FastSclfConfig

    @property
    def levels(self) -> int:
        """log2 of the longest code: its channel LLRs are of this level."""
        return self.config.length.bit_length() - 1

    @property
    def row_level(self) -> int:
        """log2 of ``pes``: nodes of this level are one row."""
        return self.config.pes.bit_length() - 1

    @property
    def leaf_level(self) -> int:
        """log2 of the largest leaf."""
        return self.config.leaf.bit_length() - 1

    @property
    def magnitude(self) -> int:
        """Bits of an LLR without its sign."""
        return self.config.llr_bits - 1

    @property
    def half_sum(self) -> int:
        """Bits of the sum of the magnitudes of half a leaf's lanes."""
        return self.magnitude + self.leaf_level - 1

    @property
    def selections(self) -> int:
        """Most path selections of a decoding: no program has more."""
        return self.config.program // 2

    @property
    def channel_words(self) -> int:
        """Words of the longest frame."""
        return self.words(self.levels)

    @property
    def rows(self) -> int:
        """Rows of partial sums of one decoding: those of all left children and the last one."""
        return self.config.length // self.config.pes

    def words(self, level: int) -> int:
        """Words of a node's LLRs."""
        return max(1, (1 << level) // (2 * self.config.pes))

    def first_word(self, level: int) -> int:
        """Where the LLRs of a level's node, 1 to ``levels - 1``, begin in a bank."""
        return self._first[level]

    @property
    def bank_words(self) -> int:
        """Words of a bank."""
        return self._first[self.levels]

    def row(self, level: int, row: int) -> int:
        """Where a row of the partial sums of a left child, of at least ``row_level``, lies."""
        return (1 << level - self.row_level) + row

    @cached_property
    def _first(self) -> list[int]:
        first = [0, 0]
        for level in range(1, self.levels):
            first.append(first[-1] + self.words(level))
        return first
