"""Voltage drops along the wires of a crossbar: exactly, and fast.

A row is driven at its left end, a column is read at its lower end by what keeps it at 0 V; between
neighbouring cells, and at those two ends, lies one segment of wire.  Rows that are not driven are
held at 0 V.  The network is linear, so what wires do is known once the crossbar is programmed:
column currents are ``voltages @ effective`` for an effective conductance of every cell, whichever
rows are driven.

Conductances are in units of the highest that a cell has, resistances in units of its inverse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu


@dataclass(frozen=True)
class Wires:
    """Resistance of a segment over the lowest of a cell: 2 ohm at 10 kilohm are 2e-4."""

    row: float
    column: float

    def __post_init__(self) -> None:
        for name in ("row", "column"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is no resistance of a wire; leave wires out "
                    "where they have none"
                )


def currents(conductances: np.ndarray, voltages: np.ndarray, wires: Wires) -> np.ndarray:
    """Column currents [columns] of ``conductances`` [rows, columns], rows at ``voltages`` [rows].

    Exact nodal analysis: one sparse factorisation of the whole network, of two nodes a cell.
    """
    rows, columns = conductances.shape
    row = np.arange(rows * columns).reshape(rows, columns)  # nodes of row wires
    column = row + row.size
    along, down = 1 / wires.row, 1 / wires.column
    resistors = (
        (row, column, conductances),
        (row[:, :-1], row[:, 1:], np.full((rows, columns - 1), along)),
        (column[:-1], column[1:], np.full((rows - 1, columns), down)),
    )
    a, b, g = (np.concatenate([part[i].ravel() for part in resistors]) for i in range(3))
    outside = np.zeros(2 * row.size)
    outside[row[:, 0]] = along
    outside[column[-1]] = down
    nodes = np.arange(2 * row.size)
    values = np.concatenate([g, g, -g, -g, outside])
    at = np.concatenate([a, b, a, b, nodes]), np.concatenate([a, b, b, a, nodes])
    network = sparse.csc_matrix((values, at), shape=(2 * row.size,) * 2)
    driven = np.zeros(2 * row.size)
    driven[row[:, 0]] = along * voltages
    return down * splu(network).solve(driven)[column[-1]]


def effective(conductances: np.ndarray, wires: Wires) -> np.ndarray:
    """[rows, columns]: what a cell's row driven by 1 V alone adds to its column's current.

    Exact.  Columns are eliminated one after the other, from the far end of the rows: behind the
    row nodes v of column j lies a resistive network whose currents are B[j] v, where ::

        B[j] = (what column j takes itself) + B[j+1] X[j+1],    X[j] = inverse(1 + row * B[j])

    and X[j] is how voltages drop over one segment.  ``O(rows**3 * columns)``.
    """
    rows, columns = conductances.shape
    down = 1 / wires.column
    wire = np.diag(np.full(rows, 2 * down))
    wire[0, 0] = down  # the upper end goes nowhere
    wire -= np.diag(np.full(rows - 1, down), 1) + np.diag(np.full(rows - 1, down), -1)
    unit = np.eye(rows)
    behind = np.zeros((rows, rows))
    drops, read = np.empty((columns, rows, rows)), np.empty((columns, rows))
    for j in reversed(range(columns)):
        cells = conductances[:, j]
        potentials = np.linalg.inv(wire + np.diag(cells)) * cells  # of the column, from the rows'
        read[j] = down * potentials[-1]
        taken = np.diag(cells) - cells[:, None] * potentials
        behind = taken + (behind @ drops[j + 1] if j + 1 < columns else 0)
        drops[j] = np.linalg.inv(unit + wires.row * behind)
    found = np.empty((rows, columns))
    voltages = unit  # [row nodes of a column, driven row]
    for j in range(columns):
        voltages = drops[j] @ voltages
        found[:, j] = read[j] @ voltages
    return found


def ladders(conductances: np.ndarray, wires: Wires, rounds: int = 3) -> np.ndarray:
    """As :func:`effective`, but a current that has left its column into another row is lost.

    Every row is then a ladder, loaded by its cells and the columns behind them, and so is every
    column, loaded by its cells and the rows behind them; ``rounds`` times each gives the other its
    loads.  ``O(rows * columns)``, and always too low.
    """
    rows, columns = conductances.shape
    shape = conductances.shape
    loads = conductances  # of the columns
    potential = np.empty(0)
    for _ in range(rounds):
        below, above, read = np.empty(shape), np.zeros(shape), np.empty(shape)
        below[-1] = read[-1] = 1 / wires.column
        for i in reversed(range(rows - 1)):
            below[i] = _behind(below[i + 1] + loads[i + 1], wires.column)
            read[i] = read[i + 1] * (1 - wires.column * below[i])
        for i in range(1, rows):
            above[i] = _behind(above[i - 1] + loads[i - 1], wires.column)
        column = below + above
        cells = conductances * column / (conductances + column)
        right, left, potential = np.zeros(shape), np.empty(shape), np.empty(shape)
        left[:, 0] = 1 / wires.row
        for j in reversed(range(columns - 1)):
            right[:, j] = _behind(right[:, j + 1] + cells[:, j + 1], wires.row)
        potential[:, 0] = 1 / (1 + wires.row * (cells[:, 0] + right[:, 0]))
        for j in range(1, columns):
            left[:, j] = _behind(left[:, j - 1] + cells[:, j - 1], wires.row)
            potential[:, j] = potential[:, j - 1] * (1 - wires.row * right[:, j - 1])
        row = left + right
        loads = conductances * row / (conductances + row)
        potential = potential * cells / column * read
    return potential


@dataclass(frozen=True)
class Approximation:
    """:func:`ladders` with what they lose put back, on average.

    A current that comes back through other rows does not depend on the cell, but on how conductive
    its row and its column are: ``ladders + returned * mean(row) * mean(column)``.
    """

    wires: Wires
    returned: np.ndarray
    """[rows, columns], found from exact solutions."""
    error: float
    """Of column currents, on a crossbar that nothing was found from and with half of the rows
    driven: the largest, over the largest current."""

    @classmethod
    def calibrated(
        cls, wires: Wires, crossbars: Callable[[], np.ndarray], samples: int = 3, seed: int = 0
    ) -> Self:
        """From ``samples`` exact solutions of conductances [rows, columns] that ``crossbars()``
        gives, of the kind that is to be approximated; one more of them gives :attr:`error`."""
        lost = conductive = 0.0
        for _ in range(samples):
            conductances = crossbars()
            lost = lost + effective(conductances, wires) - ladders(conductances, wires)
            conductive = conductive + _conductive(conductances)
        returned = np.asarray(lost) / conductive
        unseen = crossbars()
        voltages = np.random.default_rng(seed).permutation(np.arange(len(unseen)) % 2)
        exact = voltages @ effective(unseen, wires)
        off = voltages @ cls(wires, returned, 0.0)(unseen) - exact
        return cls(wires, returned, float(np.abs(off).max() / exact.max()))

    def __call__(self, conductances: np.ndarray) -> np.ndarray:
        """As :func:`effective`, approximately; the shape must be the one calibrated for."""
        if conductances.shape != self.returned.shape:
            raise ValueError(
                f"conductances have the shape {conductances.shape}, not that of the calibration, "
                f"{self.returned.shape}; calibrate for them"
            )
        return ladders(conductances, self.wires) + self.returned * _conductive(conductances)


def any_of(conductances: Sequence[np.ndarray], seed: int = 0) -> Callable[[], np.ndarray]:
    """For :meth:`Approximation.calibrated`: crossbars of cells drawn from those given."""
    cells = np.concatenate([part.ravel() for part in conductances])
    rng, shape = np.random.default_rng(seed), conductances[0].shape
    return lambda: rng.choice(cells, shape)


def _behind(conductance: np.ndarray, resistance: float) -> np.ndarray:
    """Of a conductance behind a resistance."""
    return conductance / (1 + resistance * conductance)


def _conductive(conductances: np.ndarray) -> np.ndarray:
    return conductances.mean(axis=1)[:, None] * conductances.mean(axis=0)
