"""Finding the first pattern whose syndrome matches, for many words at once.

Words come as syndromes: ``table[r]`` holds each word's column of H at rank r (row 0 is zero,
for "no rank"), ``target`` each word's own syndrome, and a pattern matches where the XOR of its
ranks' columns is the target.  Two exact ways: testing every pattern in turn, good for the
early ones that mend most words; and, for the rest, meeting in the middle: a pattern is a
prefix and up to three larger ranks, so that some thousand XORs of three columns, looked up
among the target's XORs with some hundred prefixes, find every match of the whole staircase.
"""

from collections.abc import Callable

import numpy as np
import torch

from .patterns import Patterns
from .split import Split

NONE = -1
"""Instead of a pattern's row: none matches."""

_SPARSE = 7
"""A word's filter has this power of two more entries than there are prefixes: few other sums
hit it, and it still fits a processor's cache."""
_BATCH = {"cpu": 1 << 18}
"""XORs of columns, of all words together, that are made at a time: what a cache holds, or,
elsewhere than on a processor, :data:`_LARGE_BATCH`."""
_LARGE_BATCH = 1 << 25
_EARLY = 1024
"""Patterns that are tested one by one before the middle is met."""


class InOrder:
    """The first match among ``ranks`` [Q, P] (0 for none), tested one after the other."""

    def __init__(self, ranks: np.ndarray, device: torch.device | str = "cpu") -> None:
        self.ranks = torch.from_numpy(ranks.astype(np.int64)).to(device)
        self.sizes = (ranks != 0).sum(1)

    def __call__(self, table: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """int64 [words]: the row of ``ranks`` that matches first, or :data:`NONE`.

        ``table`` is [n + 1, words], ``target`` [words].
        """
        result = torch.full_like(target, NONE, dtype=torch.int64)
        open_ = torch.arange(len(target), device=target.device)
        batch = _BATCH.get(target.device.type, _LARGE_BATCH)
        first, size = 0, 64
        while first < len(self.ranks) and len(open_):
            ranks = self.ranks[first : first + size]
            sums = table[ranks[:, 0]]
            for h in range(1, int(self.sizes[first : first + size].max())):
                sums ^= table[ranks[:, h]]
            match = sums == target
            found = match.any(0)
            # argmax gives the first of equal ones.
            result[open_[found]] = first + match[:, found].to(torch.uint8).argmax(0)
            open_, table, target = open_[~found], table[:, ~found], target[~found]
            first += len(ranks)
            # Few words: more patterns at a time, within the same memory.
            size = min(2 * size, max(batch // max(len(open_), 1), 64))
        return result


class Staged:
    """The first match among all :class:`.patterns.Patterns`."""

    def __init__(self, patterns: Patterns, device: torch.device | str = "cpu") -> None:
        self.early = InOrder(patterns.ranks[: _EARLY + 1], device)
        self.rest = Middle(patterns, device) if len(patterns) > _EARLY + 1 else None

    def __call__(self, table: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """int64 [words]: the row of the patterns that matches first, or :data:`NONE`."""
        result = self.early(table, target)
        if self.rest is not None:
            open_ = torch.nonzero(result == NONE).squeeze(1)
            result[open_] = self.rest(table[:, open_], target[open_])
        return result


class Middle:
    """The same as :class:`Staged` by meeting in the middle alone."""

    def __init__(self, patterns: Patterns, device: torch.device | str = "cpu") -> None:
        split = Split(patterns)
        self.bits = min(max(len(split.prefixes).bit_length() + _SPARSE, 8), 20)
        self.rows = len(patterns)
        arrays = (split.suffixes.T, split.suffixes[:, 0], split.suffix_size, split.suffix_sum)
        self.suffixes, self.suffix_first, self.suffix_size, self.suffix_sum = (
            torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays
        )
        arrays = (split.prefixes.T, split.prefix_last, split.prefix_sum, split.base)
        self.prefixes, self.prefix_last, self.prefix_sum, self.base = (
            torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays
        )

    def __call__(self, table: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """int64 [words]: the row of the patterns that matches first, or :data:`NONE`."""
        batch = _BATCH.get(target.device.type, _LARGE_BATCH)
        # No more words than 32-bit addresses of their filters hold.
        size = min(max(batch // self.suffixes.shape[1], 1), 1 << 30 - self.bits)
        parts = zip(table.split(size, dim=1), target.split(size), strict=True)
        found = [self._batch(table.T.contiguous(), target) for table, target in parts]
        return torch.cat(found) if found else target.long()

    def _batch(self, table: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The same of ``table`` [words, n + 1]: a word's lookups stay together."""
        sums = _xor(table, self.suffixes)
        wanted = _xor(table, self.prefixes) ^ target[:, None]
        words = torch.arange(len(target), device=target.device, dtype=torch.int32)
        hits = self._among(sums, _low, words[:, None], wanted)
        word = hits.div(sums.shape[1], rounding_mode="floor")
        suffix, value = hits - word * sums.shape[1], sums.view(-1)[hits]
        sure = self._among(value, _mixed, word.to(torch.int32), wanted)
        word, suffix, value = word[sure], suffix[sure], value[sure]

        at, prefix = torch.nonzero(wanted[word] == value[:, None], as_tuple=True)
        word, suffix = word[at], suffix[at]
        lw = self.prefix_sum[prefix] + self.suffix_sum[suffix]
        size = self.suffix_size[suffix]
        known = (lw < self.base.shape[1]) & (self.suffix_first[suffix] > self.prefix_last[prefix])
        known &= (prefix == 0) | (size == 3)
        head = torch.where(prefix > 0, 2 + prefix, size - 1)
        row = self.base[head, lw.clamp(max=self.base.shape[1] - 1)] + suffix
        row = torch.where(known, row, self.rows)
        first = torch.full_like(target, self.rows, dtype=torch.int64)
        first.scatter_reduce_(0, word, row, "amin")
        return torch.where(first < self.rows, first, NONE)

    def _among(
        self,
        values: torch.Tensor,
        hashed: Callable[[torch.Tensor], torch.Tensor],
        word: torch.Tensor,
        wanted: torch.Tensor,
    ) -> torch.Tensor:
        """Flat indices of ``values`` whose hash is that of one of their word's ``wanted``."""
        words = torch.arange(len(wanted), dtype=torch.int32, device=values.device)[:, None]
        mask, size = (1 << self.bits) - 1, len(wanted) << self.bits
        seen = torch.zeros(size, dtype=torch.bool, device=values.device)
        seen[((hashed(wanted) & mask) + (words << self.bits)).view(-1)] = True
        address = (hashed(values) & mask) + (word << self.bits)
        return torch.nonzero(seen.index_select(0, address.view(-1))).squeeze(1)


def _low(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.int32)


def _mixed(x: torch.Tensor) -> torch.Tensor:
    """Other bits, from all of ``x`` (products wrap)."""
    bits = 8 * x.element_size()
    return (x * (0x9E3779B97F4A7C15 - (1 << 64) >> 64 - bits | 1) >> bits - 24).to(torch.int32)


def _xor(table: torch.Tensor, ranks: torch.Tensor) -> torch.Tensor:
    """[words, sets] of ``table`` [words, n + 1] and ``ranks`` [ranks a set, sets]."""
    if table.device.type == "cpu":  # NumPy gathers columns several times faster
        rows = table.numpy()
        result = np.take(rows, ranks[0].numpy(), axis=1)
        for rank in ranks[1:]:
            result ^= np.take(rows, rank.numpy(), axis=1)
        return torch.from_numpy(result)
    result = table[:, ranks[0]]
    for rank in ranks[1:]:
        result ^= table[:, rank]
    return result
