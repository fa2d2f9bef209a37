"""Linear algebra over GF(2) on small matrices: uint8 arrays of 0 and 1."""

from typing import Any

import numpy as np


def matrix(values: Any, name: str = "matrix") -> np.ndarray:
    """``values`` as a uint8 matrix; raises :class:`ValueError` unless it is two-dimensional 0/1."""
    array = np.asarray(values)
    if array.ndim != 2 or not ((array == 0) | (array == 1)).all():
        raise ValueError(f"{name} is not a matrix of 0 and 1, but {array.dtype} {array.shape}")
    return array.astype(np.uint8)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b`` modulo 2, with the shapes of ``numpy.matmul``."""
    # Single precision counts exactly up to 2**24 ones, and is what BLAS is fast at.
    return (a.astype(np.float32) @ b.astype(np.float32)).astype(np.int64).astype(np.uint8) & 1


def row_reduce(a: np.ndarray, columns: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The reduced row echelon form without its zero rows, and the pivot column of every row.

    Pivots are looked for in the order of ``columns`` (by default from the left).
    """
    a, pivots = a.copy(), []
    for column in range(a.shape[1]) if columns is None else columns:
        row = len(pivots)
        below = np.flatnonzero(a[row:, column])
        if not len(below):
            continue
        a[[row, row + below[0]]] = a[[row + below[0], row]]
        others = np.flatnonzero(a[:, column])
        a[others[others != row]] ^= a[row]
        pivots.append(column)
        if len(pivots) == len(a):
            break
    return a[: len(pivots)], np.array(pivots, np.int64)


def rank(a: np.ndarray) -> int:
    """The number of independent rows."""
    return len(row_reduce(a)[1])


def null_space(a: np.ndarray) -> np.ndarray:
    """A basis, as rows, of the vectors x with ``a @ x = 0``.

    The identity stands in the leftmost columns that can hold it, in ascending order: a
    basis of a code's words that is systematic, message first.
    """
    n = a.shape[1]
    reduced, pivots = row_reduce(a, np.arange(n)[::-1])
    free = np.setdiff1d(np.arange(n), pivots)
    basis = np.zeros((len(free), n), np.uint8)
    basis[np.arange(len(free)), free] = 1
    basis[:, pivots] = reduced[:, free].T
    return basis


def inverse(a: np.ndarray) -> np.ndarray:
    """The inverse of a square matrix; raises :class:`ValueError` where there is none."""
    size = len(a)
    reduced, pivots = row_reduce(np.concatenate([a, np.eye(size, dtype=np.uint8)], axis=1))
    if a.shape != (size, size) or not np.array_equal(pivots, np.arange(size)):
        raise ValueError(f"a matrix of shape {a.shape} and rank {rank(a)} has no inverse")
    return reduced[:, size:]


def pack(bits: np.ndarray) -> np.ndarray:
    """int64 [...] of bits [..., m], m <= 64: bit i of a word is ``bits[..., i]``."""
    if bits.shape[-1] > 64:
        raise ValueError(f"{bits.shape[-1]} bits do not fit a word of 64")
    weights = np.uint64(1) << np.arange(bits.shape[-1], dtype=np.uint64)
    return (bits.astype(np.uint64) * weights).sum(-1, dtype=np.uint64).view(np.int64)
