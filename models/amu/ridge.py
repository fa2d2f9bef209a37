"""Tables of all codebooks at once, by ridge regression on their codes."""

from dataclasses import dataclass

import numpy as np
import torch

_RIDGES = 2.0 ** np.arange(-8, 11)


def product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of two matrices, by PyTorch: :func:`..threads.one_thread` holds for it."""
    return (torch.from_numpy(one) @ torch.from_numpy(other)).numpy()


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of a symmetric matrix, rising, and their vectors as columns."""
    values, vectors = torch.linalg.eigh(torch.from_numpy(matrix))
    return values.numpy(), vectors.numpy()


def eigvalsh(matrix: np.ndarray) -> np.ndarray:
    """Eigenvalues of a symmetric matrix, rising."""
    return torch.linalg.eigvalsh(torch.from_numpy(matrix)).numpy()


def regression(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """[D, M]: the weight by which centred ``x`` [N, D] comes nearest to ``targets`` [N, M].

    A thousandth of the mean variance is added to each, so that there is always one.
    """
    gram = product(x.T, x)
    gram[np.diag_indices_from(gram)] += 1e-3 * np.trace(gram) / len(gram) + 1e-12
    moments = product(x.T, targets - targets.mean(axis=0))
    return torch.linalg.solve(torch.from_numpy(gram), torch.from_numpy(moments)).numpy()


@dataclass(frozen=True)
class Solved:
    """Tables [C, K, M], a bias [M], the ridge that was taken, and how good they are."""

    tables: np.ndarray
    bias: np.ndarray
    ridge: float
    score: float
    """The mean squared error of a row, as generalised cross-validation estimates it."""


class Normal:
    """The normal equations of ``targets`` [N, M] on the codes [N, C], one-hot, and a bias."""

    def __init__(self, codes: np.ndarray, targets: np.ndarray, prototypes: int):
        n, books = codes.shape
        self._shape = (books, prototypes, targets.shape[1])
        size = books * prototypes
        columns = codes + prototypes * np.arange(books)
        gram = np.empty((books, prototypes, size))
        moments = np.empty(self._shape)
        for c in range(books):
            pairs = codes[:, c, None] * size + columns
            gram[c] = np.bincount(pairs.ravel(), minlength=prototypes * size).reshape(-1, size)
            hot = codes[:, c, None] == np.arange(prototypes)
            moments[c] = product(hot.T.astype(np.float64), targets)
        self._rows = n
        self._hits = np.bincount(columns.ravel(), minlength=size) / n
        self._mean = targets.mean(axis=0)
        self._gram = gram.reshape(size, size) - n * np.outer(self._hits, self._hits)
        self._moments = moments.reshape(size, -1) - n * np.outer(self._hits, self._mean)
        self._power = float(np.square(targets - self._mean).sum())

    def solve(self, ridge: float | None = None) -> Solved:
        """The tables and the bias of least error.

        ``ridge`` times the squares of all entries is added to the squared error; by default the
        ridge is the one of :data:`_RIDGES` with the least error in generalised cross-validation.
        """
        values, axes = eigh(self._gram)
        values = np.maximum(values, 0)
        along = product(axes.T, self._moments)
        power = np.square(along).sum(axis=1)
        ridges = _RIDGES if ridge is None else [ridge]
        score, ridge = min((self._gcv(values, power, r), float(r)) for r in ridges)
        # A direction that no row tells of, where the ridge does not shrink it away either, is 0.
        known = values + ridge > 1e-10 * max(values[-1], 1)
        tables = product(axes, along * np.where(known, 1 / (values + ridge + ~known), 0)[:, None])
        bias = self._mean - product(self._hits[None], tables)[0]
        return Solved(tables.reshape(self._shape), bias, ridge, score)

    def _gcv(self, values: np.ndarray, power: np.ndarray, ridge: float) -> float:
        values = np.maximum(values, 1e-12)
        left = self._power - (power * (values + 2 * ridge) / (values + ridge) ** 2).sum()
        free = self._rows - 1 - (values / (values + ridge)).sum()
        return self._rows * left / max(free, 1e-9) ** 2
