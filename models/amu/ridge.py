"""Tables of all codebooks at once, by ridge regression on their codes."""

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


def solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``matrix**-1 @ right``"""
    return torch.linalg.solve(torch.from_numpy(matrix), torch.from_numpy(right)).numpy()


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

    def solve(self, ridge: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Tables [C, K, M] and bias [M].

        ``ridge`` times the squares of all entries is added to the squared error; by default the
        ridge is the one of :data:`_RIDGES` with the least error in generalised cross-validation.
        """
        values, axes = eigh(self._gram)
        values = np.maximum(values, 0)
        along = product(axes.T, self._moments)
        if ridge is None:
            power = np.square(along).sum(axis=1)
            ridge = min(_RIDGES, key=lambda r: self._gcv(values, power, r))
        # A direction that no row tells of, where the ridge does not shrink it away either, is 0.
        known = values + ridge > 1e-10 * max(values[-1], 1)
        tables = product(axes, along * np.where(known, 1 / (values + ridge + ~known), 0)[:, None])
        bias = self._mean - self._hits @ tables
        self.ridge = ridge
        return tables.reshape(self._shape), bias

    def _gcv(self, values: np.ndarray, power: np.ndarray, ridge: float) -> float:
        left = self._power - (power * (values + 2 * ridge) / (values + ridge) ** 2).sum()
        free = self._rows - 1 - (values / (values + ridge)).sum()
        return left / max(free, 1e-9) ** 2
