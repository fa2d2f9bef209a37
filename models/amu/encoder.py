"""Hash trees: which of K prototypes stands for a row, by a few comparisons a codebook.

Each codebook has a balanced binary tree of I levels.  All nodes of a level look at the same
input, each compares it with a threshold of its own::

    g = 0
    for each level l:  g = 2 g + [ x[dims[l]] > thresholds[2**l - 1 + g] ]

and the last g, of K = 2**I, is the code (Blalock, Guttag: Multiplying Matrices Without
Multiplying, 2021).  A code's most significant bit comes from the first level; a value equal to
the threshold goes left.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Encoder:
    """The trees of all codebooks.  Raises :class:`ValueError` where shapes do not fit."""

    dims: np.ndarray
    """int64 [codebooks, levels]: the input that a level looks at."""
    thresholds: np.ndarray
    """[codebooks, 2**levels - 1], integer or float, level by level."""

    def __post_init__(self) -> None:
        dims, thresholds = np.asarray(self.dims), np.asarray(self.thresholds)
        if dims.ndim != 2 or not dims.size:
            raise ValueError(f"dims are [codebooks, levels], not the shape {dims.shape}")
        if dims.dtype.kind not in "iu" or dims.min() < 0:
            raise ValueError("dims are the numbers of inputs: integers from 0")
        wanted = (dims.shape[0], 2 ** dims.shape[1] - 1)
        if thresholds.shape != wanted:
            raise ValueError(
                f"thresholds of {dims.shape[0]} codebooks with {dims.shape[1]} levels have the "
                f"shape {wanted}, not {thresholds.shape}"
            )
        if thresholds.dtype.kind == "f" and np.isnan(thresholds).any():
            raise ValueError("a threshold is NaN; use infinity for a node that sends all left")
        object.__setattr__(self, "dims", dims.astype(np.int64))
        object.__setattr__(self, "thresholds", thresholds)

    @property
    def codebooks(self) -> int:
        """C."""
        return self.dims.shape[0]

    @property
    def levels(self) -> int:
        """I."""
        return self.dims.shape[1]

    @property
    def prototypes(self) -> int:
        """K = 2**I, a codebook."""
        return 1 << self.levels

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """int64 [rows, codebooks]: the codes of ``rows`` [rows, inputs].

        Raises :class:`ValueError` on NaN and where a tree looks at an input that is not there.
        """
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] <= self.dims.max():
            raise ValueError(
                f"rows are [rows, inputs] with at least {self.dims.max() + 1} inputs, "
                f"not the shape {rows.shape}"
            )
        if rows.dtype.kind == "f" and np.isnan(rows).any():
            raise ValueError("a row holds NaN; mend the values before they are encoded")
        books = np.arange(self.codebooks)
        codes = np.zeros((len(rows), self.codebooks), np.int64)
        for level in range(self.levels):
            threshold = self.thresholds[books, (1 << level) - 1 + codes]
            codes = 2 * codes + (rows[:, self.dims[:, level]] > threshold)
        return codes
