"""How long an engine takes, without simulating it."""

from dataclasses import dataclass

from . import constant
from .shape import Shape

TEXT = (
    "rows * groups * folds + depth + 2, with a cycle more where groups * folds > 1 and one "
    "for results that are requantised; and "
    "levels where folds = 1, levels + 2 where folds < levels, else "
    "3 + (groups - 1) * (levels - 1); groups = ceil(codebooks / parallel_codebooks), "
    "folds = ceil(outputs / parallel_outputs), depth = ceil(log2(parallel_codebooks)); "
    "fixed contents, everything at once: rows and a latency of at most levels + depth + 3; "
    "loading: groups * parallel_codebooks * 2**levels * folds * parallel_outputs / load_port"
)
"""For people."""


@dataclass(frozen=True)
class Timing:
    """Predicted counts of a run in which no port stalls."""

    cycles: int
    """From the first transfer on ``x`` to the last on ``y``, both included."""
    ideal: int
    """Those in which tables must be looked up."""


def timing(shape: Shape, rows: int, exact: bool = True) -> Timing:
    """Timing of ``rows`` rows, at least one; ``exact`` as :func:`latency`."""
    ideal = rows * shape.groups * shape.folds
    return Timing(ideal + latency(shape, exact) + (shape.groups - 1) * _pace(shape), ideal)


def latency(shape: Shape, exact: bool = True) -> int:
    """Cycles from the transfer of a row's last beat to when its first results are offered, where
    no row is before it.

    Not ``exact``: the most there can be where it depends on fixed contents, which takes no time
    to find.
    """
    if shape.unrolled:
        return constant.latency(shape) if exact else shape.config.levels + shape.depth + 3
    levels = shape.config.levels
    codes = 3 if shape.serial else levels + 2 * (shape.folds > 1)
    return codes + shape.depth + 2 + shape.buffered + (shape.config.output is not None)


def load_cycles(shape: Shape) -> int:
    """What it takes to load thresholds, tables and biases, side by side."""
    words = shape.groups * shape.folds * shape.config.parallel_codebooks * shape.prototypes
    return words * shape.parts


def load_beats(shape: Shape) -> int:
    """The beats of all three."""
    pairs = shape.groups * shape.config.parallel_codebooks * shape.pairs
    return pairs + load_cycles(shape) + shape.folds * shape.parts


def _pace(shape: Shape) -> int:
    """Cycles by which the first row's beats come too late for one a cycle."""
    return shape.config.levels - 1 if shape.serial else 0
