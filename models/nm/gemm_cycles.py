"""Cycles of products on the array's core, exactly, for any sequence of instructions.

All times are cycles of one clock.  Names as in :mod:`.program`; ``skew = N * I``.  A fold and tile
whose weights are stationary, or a row tile and tile whose sums are, is a *pass*; passes begin

* weight-stationary: ``max(rows, (G - 1) * load_pace + 1)`` cycles apart, for the next one's words
  must be loaded meanwhile; where a fold goes on from the sums of the one before, the same
  tile's passes are ``R * I + 4`` apart at least;
* output-stationary: ``max(steps, R) * I`` cycles apart with ``steps = folds * repeat``, for sums
  of the one before drain meanwhile.
"""

from dataclasses import dataclass
from typing import Self

from .config import NmConfig
from .program import Gemm

QUEUE = 4
"""Instructions that wait in the core, apart from the one at work."""

TOP_OFFSET = 5
"""Cycles from a left word to the sum that it is added to, at the edges of the array."""


def load_pace(config: NmConfig) -> int:
    """Cycles from one right word of a fold to the next.

    Half of those that a sum takes from cluster to cluster.  So a fold may begin with its first
    word, and the last comes half of the way ahead of the sums; and when that has come, the next
    fold's may: as they go down, the clusters' words of the fold before go to work.
    """
    return max(1, config.kept * config.interleave // 2)


@dataclass(frozen=True)
class Timing:
    """What the array's shape makes of it; equal to the properties of ``hdl.nm_array``'s array."""

    weight_latency: int
    """Cycles from a left word's entry to its sum's exit."""
    output_latency: int
    """Cycles from the entry of the first word that is a tile's last to the exit of a sum."""
    tile_period: int
    """Cycles, at least, from the first of one tile's last words to that of the next."""

    @classmethod
    def of(cls, config: NmConfig) -> Self:
        """Of the array of this configuration."""
        turns = config.interleave
        finished = config.clusters - 1 + (config.kept - 1) * turns
        return cls(
            weight_latency=TOP_OFFSET + config.rows * turns + 1,
            output_latency=TOP_OFFSET + finished + 2 * turns + 1,
            tile_period=config.rows * turns,
        )


@dataclass(frozen=True)
class Times:
    """Cycles in which things happen to an instruction."""

    taken: int
    """It is transferred."""
    first_read: int
    """The first left word is read."""
    last_read: int
    """The last left word is read by the first bank."""
    finished: int
    """``finished`` is high; the last sums were written in the cycle before."""


class GemmCycles:
    """Instructions one after the other, as long a program as may be.

    It is a :class:`~.program_cycles.Cycles`.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        self.timing = Timing.of(config)
        self._loading = (config.clusters - 1) * load_pace(config)
        # Where sums are as fast as right words, all of these come before a fold begins.
        self._before_start = self._loading if config.kept * config.interleave == 1 else 0
        self._popped = [-1] * QUEUE  # when the latest instructions left the queue for sums
        self._taken = self._right_free = self._left_free = self._written = -1
        self._start: int | None = None  # of the latest pass of weights
        self._fold = 0  # of the latest fold's first pass
        self._last = -self.timing.tile_period  # latest first word that is a tile's last
        self._before: Gemm | None = None

    @property
    def ready(self) -> int:
        """First cycle in which the next instruction can be taken."""
        return max(self._taken, self._popped[0]) + 1

    def run(self, instruction: Gemm, cycle: int) -> int:
        """Takes ``instruction`` in ``cycle``, :attr:`ready` or later; when it is finished."""
        return self.times(instruction, cycle).finished

    def times(self, gemm: Gemm, cycle: int) -> Times:
        """As :meth:`run`, with what happens meanwhile."""
        before, self._before = self._before, gemm
        same = before is not None and _place(before) == _place(gemm)
        switches = before is not None and before.dataflow != gemm.dataflow
        ready = max(cycle + 1, self._left_free) + 1
        if switches or (gemm.accumulate and not same):
            ready = max(ready, self._written + 1)
        loads = max(cycle + 1, self._right_free) + 1
        begin = self._weight if gemm.dataflow == "weight" else self._output
        first, last, written = begin(gemm, ready, loads, gemm.accumulate and same)
        self._popped = [*self._popped[1:], max(cycle + 1, self._written)]
        self._taken, self._left_free, self._written = cycle, last, written
        return Times(cycle, first + 1, last + 1, written + self.config.columns)

    def _weight(self, gemm: Gemm, ready: int, loads: int, follows: bool) -> tuple[int, int, int]:
        """First and last decision to read a left word; last write in the first column."""
        apart = self.config.rows * self.config.interleave + 4
        period = self._loading + 1
        after = period - self._before_start  # a start, the next fold's first word comes
        if self._start is not None:
            loads = max(loads, self._start + after)
        start = max(ready, loads + self._before_start)
        if follows:
            start = max(start, self._fold + apart)
        passes_apart = max(gemm.rows, period)
        folds_apart = max(gemm.tiles * passes_apart, apart)
        self._fold = start + (gemm.folds - 1) * folds_apart
        self._start = self._fold + (gemm.tiles - 1) * passes_apart
        if gemm.tiles > 1:  # words of the last pass are loaded a while after the one before began
            loads = self._start - passes_apart + after
        elif gemm.folds > 1:
            loads = self._start - folds_apart + after
        self._right_free = loads + self._loading
        last = self._start + gemm.rows - 1
        return start, last, last + 2 + self.timing.weight_latency

    def _output(self, gemm: Gemm, ready: int, _loads: int, _follows: bool) -> tuple[int, int, int]:
        turns = self.config.interleave
        length = gemm.folds * gemm.repeat * turns
        start = max(ready, self._last + self.timing.tile_period - (length - turns))
        period = max(length, self.timing.tile_period)
        final = start + (gemm.rows * gemm.tiles - 1) * period
        last = final + length - 1
        self._last = last - turns + 1
        self._right_free = last
        return start, last, self._last + 1 + self.timing.output_latency + turns * self.config.rows


def _place(gemm: Gemm) -> tuple[int, ...]:
    """Where its sums are."""
    return gemm.rows, gemm.tiles, gemm.sums, gemm.half
