"""When the engine does what, nothing stalled: exactly as in hardware.

Cycles are counted from the first activation.  With S = ``config.scan``, a row of crossbars takes S
cycles for every bit of every fragment that is read, and one for a vector of which none is; it
waits for nothing else once its steps are there and a bank of sums is free.  So a layer in one row
takes ::

    S * steps + empty vectors + fill

cycles, where what fills and drains the pipelines does not depend on how many vectors there are,
unless values under windows come more slowly than they are converted, or results leave more slowly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .layer_config import ReramLayerConfig
from .skipping import effective_cycles
from .window_cycles import Rows, passes

BANKS = 2
"""Vectors of which a readout keeps sums: one is added up, one is read."""


@dataclass(frozen=True)
class Delays:
    """Constants of the units, in cycles; of rows of crossbars from the top."""

    held: Sequence[int]
    """Vectors inside each row's bit planes at most."""
    planes: Sequence[int]
    """From a vector's last value to the first step of its last fragment with steps."""
    sums: int
    """From the column that is read last to sums that can be fetched."""
    results: int
    """From a sum that is read to its result."""


@dataclass(frozen=True)
class Schedule:
    """Of a number of vectors."""

    cycles: int
    """From the first activation to the last result, both included."""
    first: int
    """Cycle of the first step."""
    converted: int
    """Cycle after the last column that is read."""


def row_steps(config: ReramLayerConfig, lines: np.ndarray) -> np.ndarray:
    """int64 [vectors, down, fragments]: the bits that are read of what word lines see.

    ``lines`` [..., inputs] unsigned.  Fragments that are not there have none.
    """
    steps = effective_cycles(config, lines.reshape(-1, config.inputs))
    missing = config.down * config.fragments - steps.shape[1]
    steps = np.pad(steps, ((0, 0), (0, missing)))
    return steps.reshape(-1, config.down, config.fragments)


def bound(config: ReramLayerConfig, steps: np.ndarray) -> int:
    """Cycles of the busiest row's converters alone."""
    return config.scan * int(steps.sum(axis=(0, 2)).max(initial=0))


def schedule(config: ReramLayerConfig, steps: np.ndarray, delays: Delays) -> Schedule:
    """Of :func:`row_steps` of whole frames."""
    windows = _Windows(config)
    rows = [_Row(config, d, delays) for d in range(config.down)]
    freed: list[int] = []  # the cycle in which each vector's bank was
    read = -1  # the last cycle in which sums were
    for number, vector in enumerate(steps.tolist()):
        bank = freed[number - BANKS] + 1 if number >= BANKS else 0
        offered = entered = windows.begin(number)
        for row, counts in zip(rows, vector, strict=True):
            offered, entered = row.enter(entered)
            row.convert(counts, bank)
        windows.end(number, offered, entered)
        read = max(read + 1, max(row.free for row in rows) + delays.sums)
        read += config.features - 1
        freed.append(read)
    first, converted = min(row.first for row in rows), max(row.free for row in rows)
    return Schedule(read + delays.results + 1, first, converted)


class _Windows:
    """When the values of each vector leave the line buffer."""

    def __init__(self, config: ReramLayerConfig):
        self._across = config.windows[1]
        self._rows = None if passes(config) else Rows(config)
        self._next = 0

    def begin(self, number: int) -> int:
        """When the first value of vector ``number`` is there."""
        if self._rows is not None and number % self._across == 0:
            self._next = max(self._next, self._rows.begin())
        return self._next

    def end(self, number: int, offered: int, after: int) -> None:
        """The vector's last value could leave in the cycle ``offered``, and left by ``after``."""
        self._next = after
        if self._rows is not None and number % self._across == self._across - 1:
            self._rows.end(offered)


class _Row:
    """A row of crossbars."""

    def __init__(self, config: ReramLayerConfig, d: int, delays: Delays):
        self._config = config
        self._inputs = min(config.rows, config.inputs - d * config.rows)
        self._held, self._delay = delays.held[d], delays.planes[d]
        self._left: list[int] = []  # of each vector, the cycle of its last step
        self._entered = 0
        self.free = 0
        """From which cycle on a step can be taken."""
        self.first = -1
        """Cycle of the first step."""

    def enter(self, offered: int) -> tuple[int, int]:
        """The next vector's values are there from the cycle ``offered`` on.

        When the last of them is, and the cycle after it has entered.
        """
        before = len(self._left) - self._held
        self._entered = max(offered, self._left[before] + 1) if before >= 0 else offered
        after = self._entered + self._inputs
        return (after - 1 if self._inputs > 1 else offered), after

    def convert(self, counts: Sequence[int], bank: int) -> None:
        """Steps of that vector's fragments; ``bank``: the cycle in which there is one for it."""
        m, scan = self._config.fragment_rows, self._config.scan
        there = [f for f, count in enumerate(counts) if count]
        last_value = self._entered + self._inputs - 1
        # A fragment's steps are there with the next one's values, the last one's with the vector.
        ready = [
            self._entered + min((f + 1) * m, self._inputs) - 1 + self._delay - 1 for f in there[1:]
        ]
        ready.append(last_value + self._delay)
        cycle = max(self.free, bank, ready[0])
        if self.first < 0:
            self.first = cycle
        for f, arrives in zip(there, ready, strict=False):
            cycle = max(cycle, arrives) + scan * counts[f]
        self._left.append(cycle - scan if there else cycle)
        self.free = cycle if there else cycle + 1
