"""Cycles of the units at the memory ports, nothing stalled."""

from bisect import bisect_right
from math import prod

from .config import NmConfig
from .program import Load, Pattern

OUTSTANDING = 64
"""Beats that may be requested and not yet taken."""


def beats(pattern: Pattern) -> int:
    """Beats of a pattern."""
    return prod(count for count, _ in pattern.loops)


def beat_cycles(config: NmConfig, load: Load) -> int:
    """Cycles in which a beat's words are written: more than 1 if they share a bank."""
    shared = load.target == "left" and load.rows_in_beat == (load.dataflow == "weight")
    return config.port_words if shared else 1


class LoadCycles:
    """The unit that loads, an instruction after the other.

    With B beats of p cycles each (:func:`beat_cycles`), an instruction taken in cycle t asks for
    beat k in ``t + 1 + k``, or later if :data:`OUTSTANDING` beats are, and takes it in ``f + k *
    p``: ``f = t + 2``, or p cycles (of their own) after the last beat before.  It ends in ``f + B *
    p + 1``.
    """

    def __init__(self, config: NmConfig):
        self._config = config
        self.ready = 0
        """First cycle in which the next instruction can be taken."""
        self.next_take = 0
        """First cycle in which its first beat can be taken."""
        self._taken = 0  # beats
        # Number, cycle and period of the first of some beats, the latest last.
        self._runs: list[tuple[int, int, int]] = []
        self._began = 0  # when the latest instruction left the queue

    def run(self, load: Load, cycle: int) -> int:
        """Takes ``load`` in ``cycle`` or, at the earliest, when :attr:`ready`; when it ends."""
        cycle, count = max(cycle, self.ready), beats(load.pattern)
        period = beat_cycles(self._config, load)
        first = max(cycle + 2, self.next_take)
        begins = max(cycle + 1, self.next_take)
        self._runs.append((self._taken, first, period))
        self._taken += count
        asked = max(cycle + count, self._cycle(self._taken - 1 - OUTSTANDING) + 1)
        self.ready = max(asked, self._began + 1)
        self._began = begins
        self.next_take = first + count * period
        return self.next_take + 1

    def _cycle(self, number: int) -> int:
        """When beat ``number`` was taken; long ago if there is none."""
        if number < 0:
            return -1
        at = bisect_right(self._runs, (number, 1 << 62, 0)) - 1
        begin, cycle, period = self._runs[at]
        return cycle + (number - begin) * period
