"""The sets that crossbars want weights from, and the way to the nearest member of each.

Weights are matrices [inputs, outputs], inputs in the mapping's order; a fragment is ``rows``
consecutive inputs of an output, the last one of what is left.

========== ============================================= ===========================================
pruned     whole inputs (filter shapes) and whole        the largest sums of squares stay: outputs
           outputs (filters) are 0                       first, then inputs of what is left
polarised  all weights of a fragment share a sign        exact: the sign with the larger sum of
                                                         squares stays; 0 replaces the other
quantised  integers up to ``levels`` times one step      the step by alternating least squares
========== ============================================= ===========================================

Sources: Yuan et al., FORMS, ISCA 2021; the distance to a fragment of one sign is the sum of squares
of what has the other.
"""

from typing import Literal

import torch
from torch import Tensor

Rule = Literal["energy", "sum"]
"""Which sign a fragment takes: that of the larger sum of squares, which is nearest, or that of the
sum."""

_ROUNDS = 8
"""Of the search for a step."""


def polarities(matrix: Tensor, rows: int, rule: Rule = "energy") -> Tensor:
    """The sign 1 or -1 that each weight [inputs, outputs] of a fragment should have; 1 for 0."""
    measure = matrix.abs() * matrix if rule == "energy" else matrix
    inputs, outputs = matrix.shape
    whole = measure.new_zeros(-(-inputs // rows) * rows, outputs)
    whole[:inputs] = measure
    sums = whole.view(-1, rows, outputs).sum(dim=1)
    signs = torch.where(sums < 0, -1.0, 1.0).to(matrix.dtype)
    return signs.repeat_interleave(rows, dim=0)[:inputs]


def polarised(matrix: Tensor, signs: Tensor) -> Tensor:
    """The nearest weights of the ``signs`` [inputs, outputs]: 0 where they have the other."""
    return torch.where(matrix * signs < 0, 0, matrix)


def quantised(matrix: Tensor, levels: int, step: float | None = None) -> tuple[Tensor, float]:
    """Integers from ``-levels`` to ``levels``, rounded to nearest, and the step they are worth.

    Without a ``step`` it starts at the largest magnitude over ``levels``; integers and the step
    that suits them best then take turns, which never adds to the squared error.  A matrix of
    zeros has the step 1.
    """
    if step is not None:
        return (matrix / step).round().clamp(-levels, levels), step
    found = float(matrix.abs().max()) / levels
    if found == 0:
        return torch.zeros_like(matrix), 1.0
    for _ in range(_ROUNDS):
        whole = (matrix / found).round().clamp(-levels, levels)
        better = float((matrix * whole).sum() / whole.square().sum())
        if better == found:
            break
        found = better
    return (matrix / found).round().clamp(-levels, levels), found


def largest(energies: Tensor, count: int) -> Tensor:
    """bool: the ``count`` largest; of equal ones the first."""
    order = energies.argsort(descending=True, stable=True)
    return torch.zeros_like(energies, dtype=torch.bool).index_fill(0, order[:count], True)


def whole_crossbars(share: float, count: int, unit: int) -> int:
    """How many of ``count`` to keep for a ``share`` of them: whole ``unit``\\ s, at least one.

    All where no whole unit goes.
    """
    return min(max(-(-round(share * count) // unit), 1) * unit, count)
