"""Growing hash trees for a regression, and improving them one level at a time.

A tree here is what :class:`.encoder.Encoder` says of one codebook: all nodes of a level look at
one input, each with a threshold of its own.  The values of an input are sorted into bins first,
so that every threshold there can be is judged at once, by cumulated histograms.
"""

from dataclasses import dataclass

import numpy as np
import torch

BINS = 256
"""Of an input; where it has more values than that, thresholds lie between quantiles."""


class Bins:
    """The values of each input in ``rows`` [N, D], as the numbers of bins.

    ``index`` uint8 [D, N]; value x of input d lies in a bin above b where
    ``x > thresholds[d, b]``, and in none above the last (infinity).
    """

    def __init__(self, rows: np.ndarray):
        self.varying = rows.min(axis=0) < rows.max(axis=0)
        """bool [D]: the inputs that a tree can tell rows apart by."""
        self.index = np.empty((rows.shape[1], rows.shape[0]), np.uint8)
        self.thresholds = np.full((rows.shape[1], BINS), np.inf)
        for d, column in enumerate(rows.T):
            between = _between(column)
            self.index[d] = np.searchsorted(between, column, side="left")
            self.thresholds[d, : len(between)] = between


def _between(column: np.ndarray) -> np.ndarray:
    """At most BINS - 1 thresholds midway between neighbouring values."""
    values, counts = np.unique(column, return_counts=True)
    if len(values) > BINS:
        quantile = (np.cumsum(counts) - counts / 2) * (BINS / len(column))
        last = np.flatnonzero(np.diff(np.floor(quantile)))
    else:
        last = np.arange(len(values) - 1)
    low, high = values[last], values[last + 1]
    middle = low / 2 + high / 2
    return np.where((low <= middle) & (middle < high), middle, low)


@dataclass
class Tree:
    """One codebook over :class:`Bins`."""

    dims: np.ndarray
    """int64 [levels]"""
    cuts: np.ndarray
    """int64 [2**levels - 1]: a row goes right where its bin is above."""

    @property
    def levels(self) -> int:
        """I."""
        return len(self.dims)

    def codes(self, bins: Bins, start: int = 0, codes: np.ndarray | None = None) -> np.ndarray:
        """int64 [N]: where the rows arrive, from the root or from nodes of the level ``start``."""
        if codes is None:
            codes = np.zeros(len(bins.index[0]), np.int64)
        for level in range(start, self.levels):
            cut = self.cuts[(1 << level) - 1 + codes]
            codes = 2 * codes + (bins.index[self.dims[level]] > cut)
        return codes


def grow(bins: Bins, target: np.ndarray, levels: int, allowed: np.ndarray) -> Tree:
    """A tree whose leaves' means come close to ``target`` [N, P], chosen level by level.

    ``allowed`` bool [D] says which inputs it may look at.
    """
    nodes = np.zeros(len(target), np.int64)
    tree = Tree(np.zeros(levels, np.int64), np.zeros((1 << levels) - 1, np.int64))
    for level in range(levels):
        best = -np.inf
        for d in np.flatnonzero(allowed):
            gain, cuts = _split(bins.index[d], target, nodes, 1 << level)
            if gain > best:
                best, tree.dims[level] = gain, d
                tree.cuts[(1 << level) - 1 : (2 << level) - 1] = cuts
        nodes = 2 * nodes + (bins.index[tree.dims[level]] > tree.cuts[(1 << level) - 1 + nodes])
    return tree


def _split(
    index: np.ndarray, target: np.ndarray, nodes: np.ndarray, count: int
) -> tuple[float, np.ndarray]:
    """By how much the best cut of each node lowers the squared error, and the cuts."""
    keys = nodes * BINS + index
    rows = np.bincount(keys, minlength=count * BINS).reshape(count, BINS)
    sums = torch.zeros(count * BINS, target.shape[1], dtype=torch.float64)
    sums = sums.index_add_(0, torch.from_numpy(keys), torch.from_numpy(target)).numpy()
    left = np.cumsum(sums.reshape(count, BINS, -1), axis=1)
    right = left[:, -1:] - left
    below = np.cumsum(rows, axis=1)
    above = below[:, -1:] - below
    tiny = 1e-9  # an empty side explains nothing, without a division by 0
    gain = np.square(left).sum(2) / (below + tiny)
    gain += np.square(right).sum(2) / (above + tiny)
    cuts = gain.argmax(axis=1)
    return float(gain.max(axis=1).sum()), cuts


def improve(bins: Bins, cost: np.ndarray, tree: Tree, allowed: np.ndarray) -> None:
    """Changes ``tree`` in place so that the sum of ``cost[row, code of row]`` falls, or stays.

    ``cost`` [N, K].  One level after the other, from the leaves up: with all else as it is, the
    best input that ``allowed`` [D] lets it look at, each with its nodes' best thresholds.
    """
    rows, dims = np.arange(len(cost)), np.flatnonzero(allowed)
    for level in reversed(range(tree.levels)):
        count, first = 1 << level, (1 << level) - 1
        upper = Tree(tree.dims[:level], tree.cuts[:first])
        nodes = upper.codes(bins)
        left = tree.codes(bins, level + 1, 2 * nodes)
        right = tree.codes(bins, level + 1, 2 * nodes + 1)
        saved = cost[rows, left] - cost[rows, right]  # by going right
        own = int(tree.dims[level])
        goes = bins.index[own] > tree.cuts[first + nodes]
        best = saved[goes].sum() + 1e-9 * np.abs(saved).sum()  # rounding is no improvement
        nodes *= BINS
        for d in dims:
            sums = np.bincount(nodes + bins.index[d], saved, count * BINS).reshape(count, BINS)
            total = sums.sum(axis=1)
            gain = total[:, None] - np.cumsum(sums, axis=1)
            gain[:, -1] = 0
            if (found := gain.max(axis=1).sum()) > best:
                best, tree.dims[level] = found, d
                tree.cuts[first : first + count] = gain.argmax(axis=1)
