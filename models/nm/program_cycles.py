"""Cycles of a whole program: queues, semaphores and what units take, nothing stalled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

from .program import SEMAPHORES, Fence, Instruction

QUEUE = 8
"""Instructions that wait at a unit."""

FLIGHT = 4
"""Instructions of a unit that have begun and not ended."""

UNITS = ("load", "gemm", "out")
"""Of two units that could begin an instruction, the first does."""


class Cycles(Protocol):
    """What a unit takes; one that runs several kinds of instructions has one of these for each."""

    ready: int
    """First cycle in which the next instruction can be taken, given those before."""

    def run(self, instruction: Instruction, cycle: int, /) -> int:
        """Takes an instruction in ``cycle``, which is no earlier than :attr:`ready`; the cycle in
        which it ends."""
        ...


class FenceCycles:
    """Taken at once."""

    ready = 0

    def run(self, instruction: Instruction, cycle: int, /) -> int:
        """Ends when its tag is."""
        return cycle


@dataclass(frozen=True)
class Times:
    """Cycles of an instruction, from 0 in which the program's first word is taken."""

    begin: int
    """It takes its semaphores."""
    start: int
    """Its unit takes it."""
    end: int
    """Its effects are there; a fence's tag is taken."""


class DeadlockError(ValueError):
    """A program that would wait for ever."""


def schedule(program: Sequence[Instruction], units: Mapping[str, Cycles]) -> list[Times]:
    """When the instructions of ``program`` run on ``units``, fresh ones of each kind by name: load,
    gemm, store, update.

    Raises :class:`DeadlockError` where an instruction waits for ever.
    """
    return _Schedule(program, dict(units) | {"fence": FenceCycles()}).run()


class _Schedule:
    """The cycles in which something can change, one after the other."""

    def __init__(self, program: Sequence[Instruction], units: Mapping[str, Cycles]) -> None:
        self._program, self._units = program, units
        self._times: dict[int, Times] = {}
        self._queued: dict[str, list[int]] = {unit: [] for unit in UNITS}
        self._begun: dict[str, list[int]] = {unit: [] for unit in UNITS}
        self._levels = [0] * SEMAPHORES
        self._ends: list[tuple[int, int]] = []
        self._heads: dict[int, int] = {}  # first cycle in which a queued instruction may begin
        self._fed = self._taken = 0  # words in queues; when the next word can be taken

    def run(self) -> list[Times]:
        """All of the program."""
        cycle = 0
        self._feed()
        while len(self._times) < len(self._program):
            while self._ends and self._ends[0][0] < cycle:
                self._signal(heappop(self._ends)[1])
            moments = [self._ends[0][0] + 1] if self._ends else []
            for unit in UNITS:
                queue = self._queued[unit]
                if not queue:
                    continue
                earliest = self._earliest(unit, queue[0])
                if earliest > cycle:
                    moments.append(earliest)
                elif self._raised(queue[0]):
                    self._begin(unit, queue.pop(0), cycle)
                    moments = [cycle + 1]
                    break
            if not moments:
                stuck = ", ".join(str(queue[0]) for queue in self._queued.values() if queue)
                raise DeadlockError(
                    f"{len(self._program) - len(self._times)} instructions never begin, first of "
                    f"all {stuck}; let earlier ones signal what they wait for"
                )
            cycle = min(moments)
        return [self._times[number] for number in range(len(self._program))]

    def _feed(self) -> None:
        """Queues words as far as there is room."""
        while self._fed < len(self._program):
            unit = self._program[self._fed].unit
            queue, begun = self._queued[unit], self._begun[unit]
            queued = self._taken + 1
            if len(queue) == QUEUE:
                return
            if len(queue) + len(begun) >= QUEUE:  # room was made by one that began
                made = begun[len(queue) + len(begun) - QUEUE]
                queued = max(queued, self._times[made].begin + 1)
            queue.append(self._fed)
            self._heads[self._fed] = queued + 1
            self._taken = queued
            self._fed += 1

    def _earliest(self, unit: str, number: int) -> int:
        """When it could begin if its semaphores were raised."""
        begun, earliest = self._begun[unit], self._heads[number]
        if begun:
            latest = self._times[begun[-1]]
            earliest = max(earliest, latest.begin + 1, latest.start)
            if len(begun) >= FLIGHT:
                earliest = max(earliest, self._times[begun[-FLIGHT]].end + 1)
            kind = type(self._program[number])
            if unit == "out" and (kind is Fence or kind is not type(self._program[begun[-1]])):
                earliest = max(earliest, latest.end + 1)
        return earliest

    def _raised(self, number: int) -> bool:
        wait = self._program[number].wait
        return all(level or not wait >> s & 1 for s, level in enumerate(self._levels))

    def _begin(self, unit: str, number: int, cycle: int) -> None:
        instruction = self._program[number]
        for s in range(SEMAPHORES):
            self._levels[s] -= instruction.wait >> s & 1
        cycles = self._units[type(instruction).__name__.lower()]
        start = max(cycle + 1, cycles.ready)
        end = cycles.run(instruction, start)
        self._times[number] = Times(cycle, start, end)
        self._begun[unit].append(number)
        heappush(self._ends, (end, number))
        self._feed()

    def _signal(self, number: int) -> None:
        for s in range(SEMAPHORES):
            self._levels[s] += self._program[number].signal >> s & 1
