"""Which inputs share a codebook: those that are told by few bits together.

Input j gives the outputs ``x[j] * weight[j]``.  What a block of inputs gives has the variances
that are the eigenvalues of ``cov(x[i], x[j]) * (weight[i] . weight[j])`` over its inputs; a tree
has so many bits to tell it.  A Gaussian of these variances would be left with the error that
*reverse water-filling* gives: below a level all of the variance, above it the level, which is as
high as the bits allow.  A partition is good where the sum of these errors is low.
"""

import numpy as np

from .ridge import eigvalsh, product

_NEIGHBOURS = 6
"""Of an input: those whose blocks it may move to."""
_PASSES = 6


def partition(
    x: np.ndarray, weight: np.ndarray, inputs: np.ndarray, blocks: int, bits: float
) -> list[np.ndarray]:
    """``inputs`` in so many blocks, none empty, whose trees tell so many ``bits``.

    ``x`` [N, D] and ``weight`` [D, M] are those of all inputs.  Blocks of neighbours at first;
    then each input moves to where the errors together are lowest, until none moves.
    """
    x = x[:, inputs] - x[:, inputs].mean(axis=0)
    w = weight[inputs]
    kernel = product(x.T, x) * product(w, w.T) / len(x)
    home = np.repeat(np.arange(blocks), [len(part) for part in np.array_split(inputs, blocks)])
    scale = np.sqrt(np.maximum(np.diag(kernel), 1e-30))
    alike = np.abs(kernel) / np.outer(scale, scale)
    np.fill_diagonal(alike, -1)
    near = np.argsort(-alike, axis=1, kind="stable")[:, :_NEIGHBOURS]
    members = [np.flatnonzero(home == b) for b in range(blocks)]
    errors = [_left(kernel, part, bits) for part in members]
    for _ in range(_PASSES):
        moved = False
        for i in range(len(inputs)):
            old = home[i]
            if len(members[old]) == 1:
                continue
            without = members[old][members[old] != i]
            shrunk = _left(kernel, without, bits)
            best, to = errors[old] - shrunk, old
            for b in np.unique(home[near[i]]):
                if b == old:
                    continue
                grown = _left(kernel, np.append(members[b], i), bits)
                if grown - errors[b] < best * (1 - 1e-9):
                    best, to = grown - errors[b], b
            if to != old:
                moved = True
                home[i] = to
                members[old], errors[old] = without, shrunk
                members[to] = np.sort(np.append(members[to], i))
                errors[to] = _left(kernel, members[to], bits)
        if not moved:
            break
    return [inputs[part] for part in members]


def _left(kernel: np.ndarray, part: np.ndarray, bits: float) -> float:
    """The error of a block that has so many ``bits``."""
    variances = eigvalsh(kernel[np.ix_(part, part)])[::-1]
    variances = np.maximum(variances, 1e-12 * max(variances[0], 1e-300))
    active = np.arange(1, len(part) + 1)
    level = np.exp2((np.cumsum(np.log2(variances)) - 2 * bits) / active)
    last = np.flatnonzero(level <= variances)[-1]
    return float(level[last] * active[last] + variances[last + 1 :].sum())
