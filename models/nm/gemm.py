"""Sums of products as the array makes them, bit for bit: one product at a time, in a stated order.

A right operand is given by *entries*: ``values`` [entries, columns] and ``k`` [entries, columns],
the positions along the reduction axis that they multiply; where all columns have the same ones,
``k`` [entries, 1].  Entries are taken in their order.  :func:`dense` and :func:`sparse` make them
of a matrix, in the order of additions of :mod:`.program`.

Arrays are NumPy's or torch tensors, on any device: FP32 holding values of the operands' format, or
int8.
"""

from typing import Any

import numpy as np

from .. import floating
from .config import NmConfig
from .program import Dataflow


def gemm(left: Any, values: Any, k: Any, start: Any = None) -> Any:
    """Sums [rows, columns] = ``start`` + sum over e of ``left[r, k[e, n]] * values[e, n]``.

    FP32: each step is one :func:`~..floating.fma`; int8 gives int32, which wraps.  ``start`` is
    +0 where it is None.
    """
    _check(left, values, k)
    integers = "int8" in str(left.dtype)
    if start is None:
        start = _zeros(left, (left.shape[0], values.shape[1]), integers)
    sums = start
    if integers:
        left, values = _int32(left), _int32(values)
    for row, position in zip(values, k, strict=True):
        taken = left[:, position]
        sums = sums + taken * row if integers else floating.fma(sums, taken, row)
    return sums


def order(config: NmConfig, dataflow: Dataflow, size: int) -> np.ndarray:
    """Positions [size] of a dense reduction of that ``size`` in the order of additions.

    Output-stationary: ascending.  Weight-stationary: ascending in (b, s, g, j) with
    ``k = (b * G + g) * M + s * N + j``; padding beyond ``size`` is left out.
    """
    k = np.arange(size)
    if dataflow == "output":
        return k
    span, group, kept = config.clusters * config.group, config.group, config.kept
    return k[np.lexsort((k % kept, k % span // group, k % group // kept, k // span))]


def dense(config: NmConfig, dataflow: Dataflow, weights: Any) -> tuple[Any, Any]:
    """Entries (values [size, columns], k [size, 1]) of all of ``weights`` [size, columns]."""
    k = order(config, dataflow, weights.shape[0])
    return weights[k], k[:, None]


def sparse(config: NmConfig, weights: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """Entries (values, k), each [groups * N, columns], of ``weights`` [size, columns] in ``mask``.

    ``mask`` (truth values) keeps N of every M along the reduction axis; entries ascend in k.
    Raises :class:`ValueError` where another number is kept.
    """
    weights, mask = np.asarray(weights), np.asarray(mask, bool)
    size, columns = weights.shape
    if mask.shape != weights.shape or size % config.group:
        raise ValueError(
            f"weights {weights.shape} and mask {mask.shape}; they must be alike, and their first "
            f"axis a multiple of group = {config.group}: pad them"
        )
    groups = mask.reshape(-1, config.group, columns)
    counts = groups.sum(1)
    if (counts != config.kept).any():
        q, column = np.argwhere(counts != config.kept)[0]
        raise ValueError(
            f"the mask keeps {counts[q, column]} in group {q} of column {column}, not kept = "
            f"{config.kept}; take exactly so many"
        )
    # A stable sort puts what is kept first, in ascending order.
    kept = np.argsort(~groups, axis=1, kind="stable")[:, : config.kept]
    k = (kept + config.group * np.arange(len(groups))[:, None, None]).reshape(-1, columns)
    return np.take_along_axis(weights, k, 0), k


def _check(left: Any, values: Any, k: Any) -> None:
    if left.ndim != 2 or values.ndim != 2 or k.ndim != 2 or len(k) != len(values):
        raise ValueError(
            f"left {tuple(left.shape)}, values {tuple(values.shape)} and k {tuple(k.shape)} are "
            "not [rows, size], [entries, columns] and [entries, columns or 1]"
        )
    if left.dtype != values.dtype:
        raise ValueError(f"left is {left.dtype} but values are {values.dtype}; convert one")
    if not any(name in str(left.dtype) for name in ("int8", "float32")):
        raise ValueError(f"operands are {left.dtype}; give float32 (rounded to a format) or int8")


def _zeros(like: Any, shape: tuple[int, int], integers: bool) -> Any:
    if isinstance(like, np.ndarray):
        return np.zeros(shape, np.int32 if integers else np.float32)
    made = like.new_zeros(shape)
    return made.int() if integers else made


def _int32(array: Any) -> Any:
    return array.astype(np.int32) if isinstance(array, np.ndarray) else array.int()
