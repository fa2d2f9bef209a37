"""Learning an approximate matrix product from rows: trees, and tables fitted to the outputs."""

from dataclasses import dataclass

import numpy as np

from ..threads import one_thread
from .encoder import Encoder
from .ridge import Normal, eigh, product, solve
from .trees import Bins, Tree, grow, improve

_ROUNDS = 4
"""Of improving a tree and its leaves in turn."""
_DIRECTIONS = 16
"""Of what a block contributes to the outputs: the longest, which its tree is grown by."""


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
) -> Learned:
    """Trees and tables that approximate ``rows @ weight``, or ``targets`` in its place.

    ``rows`` [N, D]; ``weight`` [D, M]; ``targets`` [N, M] are what should come out of ``rows``,
    such as the outputs of a layer whose inputs are approximations.  ``ridge`` shrinks the tables
    towards what each block of inputs contributes by itself; by default it is chosen by generalised
    cross-validation.

    Raises :class:`ValueError` where shapes do not fit and where a value is NaN or infinite.
    """
    if codebooks < 1 or not 1 <= levels <= 8:
        raise ValueError(
            f"{codebooks} codebooks of {levels} levels: at least 1 codebook, 1 to 8 levels"
        )
    with one_thread():  # sums in one order, whatever the machine
        x, w, t = _checked(rows, weight, targets)
        return _learn(x, w, t, codebooks, levels, ridge)


def _learn(
    x: np.ndarray, w: np.ndarray, t: np.ndarray, codebooks: int, levels: int, ridge: float | None
) -> Learned:
    count = 1 << levels
    bins = Bins(x)
    blocks = _blocks(bins.varying, codebooks)
    goals = [_contribution(x[:, block], w[block]) for block in blocks]
    trees: list[Tree] = []
    codes = np.empty((len(x), codebooks), np.int64)
    tables = np.zeros((codebooks, count, t.shape[1]))
    for c in range(codebooks):
        block, goal = blocks[c % len(blocks)], goals[c % len(blocks)]
        trees.append(_tree(bins, block, goal, levels))
        codes[:, c] = trees[c].codes(bins)
        means = leaf_means(codes[:, c], goal, count)
        goal -= means[codes[:, c]]
        tables[c] = leaf_means(codes[:, c], product(x[:, block], w[block]), count)
    correction, bias = Normal(codes, t - sums(tables, codes), count).solve(ridge)
    return Learned(_encoder(bins, trees), tables + correction, bias)


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


def _checked(
    rows: np.ndarray, weight: np.ndarray | None, targets: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, weight and targets, in double precision."""
    x = _matrix("rows", rows)
    if weight is None and targets is None:
        raise ValueError("give the weight, or the targets of the rows")
    if targets is None:
        w = _matrix("weight", weight)
        if len(w) != x.shape[1]:
            raise ValueError(f"a weight for {x.shape[1]} inputs is not of the shape {w.shape}")
        return x, w, product(x, w)
    t = _matrix("targets", targets)
    if len(t) != len(x):
        raise ValueError(f"{len(x)} rows need as many targets, not {len(t)}")
    if weight is not None:
        w = _matrix("weight", weight)
        if w.shape != (x.shape[1], t.shape[1]):
            raise ValueError(
                f"a weight for {x.shape[1]} inputs and {t.shape[1]} targets is not of the shape "
                f"{w.shape}"
            )
        return x, w, t
    centred = x - x.mean(axis=0)
    gram = product(centred.T, centred)
    gram[np.diag_indices_from(gram)] += 1e-3 * np.trace(gram) / len(gram) + 1e-12
    return x, solve(gram, product(centred.T, t - t.mean(axis=0))), t


def _matrix(name: str, values: np.ndarray | None) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{name} are a matrix with rows and columns, not of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} hold NaN or infinity; mend the values before learning")
    return array


def _blocks(varying: np.ndarray, codebooks: int) -> list[np.ndarray]:
    """The inputs that tell rows apart, in at most so many blocks of neighbours."""
    inputs = np.flatnonzero(varying)
    if not len(inputs):
        inputs = np.array([0])
    return np.array_split(inputs, min(codebooks, len(inputs)))


def _contribution(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[N, P]: what a block's inputs ``x`` [N, L] give the outputs, seen along few directions.

    Distances are those between ``x @ weight``, as far as the directions go.
    """
    x = x - x.mean(axis=0)
    power, axes = eigh(product(weight, weight.T))
    x = product(x, axes * np.sqrt(np.maximum(power, 0)))
    if x.shape[1] > _DIRECTIONS:
        x = product(x, eigh(product(x.T, x))[1][:, -_DIRECTIONS:])
    return x


def _tree(bins: Bins, block: np.ndarray, goal: np.ndarray, levels: int) -> Tree:
    """A tree that looks at inputs of ``block`` and whose leaves' means come close to ``goal``."""
    allowed = np.zeros(len(bins.varying), bool)
    allowed[block] = True
    tree = grow(bins, goal, levels, allowed)
    for _ in range(_ROUNDS):
        means = leaf_means(tree.codes(bins), goal, 1 << levels)
        improve(bins, np.square(means).sum(axis=1) - 2 * product(goal, means.T), tree, allowed)
    return tree


def _encoder(bins: Bins, trees: list[Tree]) -> Encoder:
    dims = np.stack([tree.dims for tree in trees])
    at = np.repeat(dims, 1 << np.arange(dims.shape[1]), axis=1)
    return Encoder(dims, bins.thresholds[at, np.stack([tree.cuts for tree in trees])])
