"""Learning an approximate matrix product from rows: trees, and tables fitted to the outputs.

Blalock and Guttag's trees tell what the *inputs* of a block are, as if all mattered alike.  Here
a tree tells what its block gives the *outputs*: ``x[block] @ weight[block]``, which is exact and
free of what the other blocks add, so that thresholds are not fitted to noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..threads import one_thread
from .blocks import partition
from .encoder import Encoder
from .given import checked
from .ridge import Normal, eigh, product, regression
from .trees import Bins, Tree, grow, improve

_ROUNDS = 4
"""Of improving a tree and its leaves in turn."""
_DIRECTIONS = 16
"""Of what a block contributes to the outputs: the longest, which its tree is grown by."""
_WORTHS = 0.5, 0.75, 1.0
"""Bits that a level is worth when inputs are put into blocks; the better partition is taken."""


@dataclass(frozen=True, eq=False)
class Learned:
    """``y[m] = bias[m] + sum over c of tables[c, code[c], m]``, in floating point."""

    encoder: Encoder
    """With thresholds between values of the rows learned from; infinity sends all left."""
    tables: np.ndarray
    """float64 [codebooks, prototypes, outputs]"""
    bias: np.ndarray
    """float64 [outputs]"""

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """float64 [rows, outputs] of ``rows`` [rows, inputs]."""
        return self.bias + sums(self.tables, self.encoder(rows))


def learn(
    rows: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    targets: np.ndarray | None = None,
    codebooks: int,
    levels: int = 4,
    ridge: float | None = None,
    contiguous: bool = False,
    max_inputs: int | None = None,
    sweeps: int = 3,
) -> Learned:
    """Trees and tables that approximate ``rows @ weight``, or ``targets`` in its place.

    ``rows`` [N, D]; ``weight`` [D, M]; ``targets`` [N, M] are what should come out of ``rows``,
    such as the outputs of a layer whose inputs are approximations.

    Each codebook has a block of inputs, whose contribution to the outputs its tree tells.
    ``contiguous`` blocks are runs of neighbours; otherwise :func:`.blocks.partition` chooses them
    where that is better.  ``sweeps`` more times, each tree learns what the others leave over.
    Tables are fitted to the targets, all codebooks at once, shrunk by ``ridge`` towards what each
    block contributes by itself.  Blocks, sweeps and, by default, the ridge are judged by
    generalised cross-validation.  Trees read at most ``max_inputs`` inputs altogether, those
    that matter most.

    The result is the same on any number of threads.  Raises :class:`ValueError` where shapes do
    not fit and where a value is NaN or infinite.
    """
    if codebooks < 1 or not 1 <= levels <= 8:
        raise ValueError(
            f"{codebooks} codebooks of {levels} levels: at least 1 codebook, 1 to 8 levels"
        )
    if max_inputs is not None and max_inputs < 1:
        raise ValueError(f"trees cannot do with {max_inputs} inputs; allow at least 1")
    with one_thread():  # sums in one order, whatever the machine
        x, w, t = checked(rows, weight, targets)
        learner = _Learner(x, w, t, codebooks, levels, ridge)
        best = min(map(learner.start, learner.partitions(contiguous)), key=lambda fit: fit.score)
        if max_inputs is not None:
            best = learner.limited(best, max_inputs)
        for _ in range(sweeps):
            fit = learner.swept(best)
            if fit.score >= best.score:
                break
            best = fit
        return best.learned(learner.bins)


@dataclass(frozen=True)
class _Fit:
    """Trees of blocks, and their tables."""

    blocks: list[np.ndarray]
    """The inputs of each codebook, which its goal is made of; from the beginning again where
    there are fewer blocks than codebooks."""
    allowed: np.ndarray
    """bool [D]: those that trees may look at."""
    trees: list[Tree]
    codes: np.ndarray
    """int64 [N, C]: of the rows learned from."""
    tables: np.ndarray
    bias: np.ndarray
    score: float
    """The error, as generalised cross-validation estimates it."""

    @property
    def read(self) -> np.ndarray:
        """The inputs that trees look at."""
        return np.unique([tree.dims for tree in self.trees])

    def learned(self, bins: Bins) -> Learned:
        """With thresholds in place of bins."""
        dims = np.stack([tree.dims for tree in self.trees])
        at = np.repeat(dims, 1 << np.arange(dims.shape[1]), axis=1)
        thresholds = bins.thresholds[at, np.stack([tree.cuts for tree in self.trees])]
        return Learned(Encoder(dims, thresholds), self.tables, self.bias)


class _Learner:
    """What is learnt from, and the steps of learning."""

    def __init__(
        self, x: np.ndarray, w: np.ndarray, t: np.ndarray, codebooks: int, levels: int,
        ridge: float | None,
    ):  # fmt: skip
        self.bins = Bins(x)
        self._x, self._w, self._t = x - x.mean(axis=0), w, t
        self._codebooks, self._levels, self._ridge = codebooks, levels, ridge

    def partitions(self, contiguous: bool) -> Iterator[list[np.ndarray]]:
        """Blocks of the inputs that tell rows apart, by which to begin."""
        inputs = np.flatnonzero(self.bins.varying)
        if not len(inputs):
            inputs = np.array([0])
        number = min(self._codebooks, len(inputs))
        yield np.array_split(inputs, number)
        if not contiguous and 1 < number < len(inputs):
            for worth in _WORTHS:
                yield partition(self._x, self._w, inputs, number, worth * self._levels)

    def start(self, blocks: list[np.ndarray], allowed: np.ndarray | None = None) -> _Fit:
        """Each tree for what its block contributes; of several trees, what earlier ones left."""
        may = self.bins.varying if allowed is None else allowed
        goals = [_directions(self._x[:, block], self._w[block]) for block in blocks]
        shares = [product(self._x[:, block], self._w[block]) for block in blocks]
        blocks = [blocks[c % len(blocks)] for c in range(self._codebooks)]
        trees, codes, tables = [], [], []
        for c, block in enumerate(blocks):
            goal, share = goals[c % len(goals)], shares[c % len(goals)]
            trees.append(self._tree(block, goal, may))
            codes.append(trees[c].codes(self.bins))
            goal -= leaf_means(codes[c], goal, 1 << self._levels)[codes[c]]
            tables.append(leaf_means(codes[c], share, 1 << self._levels))
            share -= tables[c][codes[c]]
        return self._fitted(blocks, may, trees, np.stack(codes, 1), np.stack(tables))

    def swept(self, fit: _Fit) -> _Fit:
        """Each tree anew, for what its block tells of the targets beside all other tables."""
        trees, codes, tables = list(fit.trees), fit.codes.copy(), fit.tables.copy()
        left = self._t - fit.bias - sums(tables, codes)
        for c, block in enumerate(fit.blocks):
            left += tables[c][codes[:, c]]
            x = self._x[:, block]
            weight = regression(x, left)
            trees[c] = self._tree(block, _directions(x, weight), fit.allowed)
            codes[:, c] = trees[c].codes(self.bins)
            tables[c] = leaf_means(codes[:, c], product(x, weight), 1 << self._levels)
            left -= tables[c][codes[:, c]]
        return self._fitted(fit.blocks, fit.allowed, trees, codes, tables)

    def limited(self, fit: _Fit, inputs: int) -> _Fit:
        """The same with trees that read so many inputs at most."""
        if len(fit.read) <= inputs:
            return fit
        worth = np.zeros(len(self.bins.varying))
        for tree, block, codes in zip(fit.trees, fit.blocks, fit.codes.T, strict=True):
            goal = _directions(self._x[:, block], self._w[block])
            full = _explained(codes, goal, 1 << self._levels)
            for d in np.unique(tree.dims):
                bits = 1 << self._levels - 1 - np.flatnonzero(tree.dims == d)
                worth[d] += full - _explained(codes & ~bits.sum(), goal, 1 << self._levels)
        allowed = np.zeros(len(worth), bool)
        allowed[np.argsort(-worth, kind="stable")[:inputs]] = True
        blocks = fit.blocks[: max(1, min(self._codebooks, np.count_nonzero(self.bins.varying)))]
        return self.start(blocks, allowed & self.bins.varying)

    def _tree(self, block: np.ndarray, goal: np.ndarray, allowed: np.ndarray) -> Tree:
        """A tree that looks at inputs of its block and whose leaves' means come near ``goal``."""
        own = np.zeros(len(allowed), bool)
        own[block] = allowed[block]
        if not own.any():  # others may tell something of the block
            own = allowed if allowed.any() else ~own
        tree = grow(self.bins, goal, self._levels, own)
        for _ in range(_ROUNDS):
            means = leaf_means(tree.codes(self.bins), goal, 1 << self._levels)
            cost = np.square(means).sum(axis=1) - 2 * product(goal, means.T)
            improve(self.bins, cost, tree, own)
        return tree

    def _fitted(
        self, blocks: list[np.ndarray], allowed: np.ndarray, trees: list[Tree],
        codes: np.ndarray, prior: np.ndarray,
    ) -> _Fit:  # fmt: skip
        normal = Normal(codes, self._t - sums(prior, codes), 1 << self._levels)
        solved = normal.solve(self._ridge)
        return _Fit(blocks, allowed, trees, codes, prior + solved.tables, solved.bias, solved.score)


def sums(tables: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """[N, M]: of each row's entries in ``tables`` [C, K, M], by ``codes`` [N, C]."""
    total = np.zeros((len(codes), tables.shape[2]))
    for c in range(len(tables)):
        total += tables[c, codes[:, c]]
    return total


def leaf_means(codes: np.ndarray, target: np.ndarray, count: int) -> np.ndarray:
    """[count, M]: of ``target`` [N, M] over the rows of each code [N]; without rows, of all."""
    rows = np.bincount(codes, minlength=count)[:, None]
    hot = (codes == np.arange(count)[:, None]).astype(np.float64)
    return np.where(rows > 0, product(hot, target) / np.maximum(rows, 1), target.mean(axis=0))


def _explained(codes: np.ndarray, target: np.ndarray, count: int) -> float:
    """How much of ``target`` [N, P] the means of the codes explain, as a sum of squares."""
    means = leaf_means(codes, target, count)
    rows = np.bincount(codes, minlength=count)
    return float((rows * np.square(means).sum(axis=1)).sum())


def _directions(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[N, P]: what a block's inputs ``x`` [N, L] give the outputs, seen along few directions.

    Distances are those between ``x @ weight``, as far as the directions go.
    """
    power, axes = eigh(product(weight, weight.T))
    x = product(x, axes * np.sqrt(np.maximum(power, 0)))
    if x.shape[1] > _DIRECTIONS:
        x = product(x, eigh(product(x.T, x))[1][:, -_DIRECTIONS:])
    return x
