"""Patterns taken apart: every prefix and every suffix has a number, and two make a row."""

import numpy as np

from .patterns import Patterns, Staircase, take_apart


class Split:
    """Numbers prefixes and suffixes, and knows the row of every pattern by the two numbers.

    Suffixes, of one to three ranks, are ordered like patterns.  So the patterns of one LW, HW
    and prefix, which are consecutive, have consecutive suffixes, and ``row - suffix`` is the
    same for all of them.
    """

    prefixes: np.ndarray
    """int64 [J, max(P - 3, 1)]: ranks, ascending, then 0; number 0 is the empty prefix."""
    suffixes: np.ndarray
    """int64 [S, 3]: ranks, ascending, then 0."""
    base: np.ndarray
    """int64 [2 + J, LWmax + 1]: ``row - suffix`` of each head and LW, or :attr:`nowhere`.

    Heads 0 to 2 are the empty prefix before one to three ranks, head 2 + j is prefix j before
    three."""

    def __init__(self, patterns: Patterns) -> None:
        staircase = patterns.staircase
        limits = list(staircase.limits[:3])
        for h in range(4, staircase.p + 1):  # the least prefix leaves most for the suffix
            most = staircase.limits[h - 1] - (h - 3) * (h - 2) // 2
            limits[2] = max(limits[2], min(most, 3 * staircase.n))
        every = Patterns(Staircase(staircase.n, tuple(limits)))
        _, suffixes = take_apart(every.ranks[1:].astype(np.int64))
        first, second, third = suffixes.T
        x = np.where(third, second, np.where(second, first, 0))
        self.suffixes = suffixes[staircase.within(x, np.where(third, first, 0))]
        self.suffix_sum, self.suffix_size = self.suffixes.sum(1), (self.suffixes != 0).sum(1)

        heads = patterns.heads[1:]
        prefixes, suffixes = take_apart(patterns.ranks[heads].astype(np.int64))
        self.prefixes, number = np.unique(
            np.concatenate([np.zeros_like(prefixes[:1]), prefixes]), axis=0, return_inverse=True
        )
        self.prefix_sum, self.prefix_last = self.prefixes.sum(1), self.prefixes.max(1)
        number = number.reshape(-1)[1:]
        self.nowhere = len(patterns)
        self.base = np.full((2 + len(self.prefixes), staircase.lw_max + 1), self.nowhere)
        head = np.where(number > 0, 2 + number, (suffixes != 0).sum(1) - 1)
        self.base[head, patterns.lw[heads]] = heads - self._number(suffixes, self.suffixes)

    def rows(self, ranks: np.ndarray) -> np.ndarray:
        """int64 [...]: the rows of sets of ``ranks`` [..., P], ascending, then 0; -1 if untested.

        The empty pattern is row 0.
        """
        shape, ranks = ranks.shape[:-1], ranks.reshape(-1, ranks.shape[-1]).astype(np.int64)
        prefixes, suffixes = take_apart(ranks)
        total, size = ranks.sum(1), (suffixes != 0).sum(1)
        suffix = self._number(suffixes, self.suffixes)
        prefix = self._number(prefixes, self.prefixes)
        known = (suffix >= 0) & (prefix >= 0) & (total < self.base.shape[1])
        head = np.where(prefix > 0, 2 + prefix, size - 1)
        base = self.base[np.where(known, head, 0), np.where(known, total, 0)]
        row = np.where(known & (base != self.nowhere), base + suffix, -1)
        return np.where(size == 0, 0, row).reshape(shape)

    @staticmethod
    def _number(sets: np.ndarray, among: np.ndarray) -> np.ndarray:
        """The index of each of ``sets`` in ``among``, or -1."""
        width = among.shape[1]
        bits = max(int(among.max(initial=0)).bit_length(), 1)
        if bits * width > 62:
            raise ValueError(f"prefixes of {width} ranks up to {among.max()} are too many")
        weights = 1 << bits * np.arange(width)[::-1]
        fits = (sets >> bits == 0).all(1)
        keys, wanted = among @ weights, np.where(fits, sets @ weights, -1)
        order = np.argsort(keys)
        at = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
        return np.where(keys[order[at]] == wanted, order[at], -1)
