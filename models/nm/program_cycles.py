"""Cycles of a whole program: queues, semaphores and what units take, nothing stalled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, NoReturn, Protocol

from .port_cycles import MASTERS_LATENCY, LoadCycles
from .program import SEMAPHORES, Fence, Instruction, Load

QUEUE = 8
"""Instructions that wait at a unit."""

FLIGHT = 4
"""Instructions of a unit that have begun and not ended."""

UNITS = ("load", "gemm", "out")
"""Of two units that could begin an instruction, the first does."""


class Cycles(Protocol):
    """What a unit takes; one that runs several kinds of instructions has one of these for each."""

    @property
    def ready(self) -> int | None:
        """First cycle in which the next instruction can be taken, given those before; None where
        that is not known yet."""
        ...

    def run(self, instruction: Any, cycle: int, /) -> int:
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

    A unit that takes masters, those of one load each time, has
    :meth:`~.update_cycles.UpdateCycles.take` in place of ``run``.

    Raises :class:`DeadlockError` where an instruction waits for ever.
    """
    return _Schedule(program, dict(units) | {"fence": FenceCycles()}).run()


class _Schedule:
    """The cycles in which something can change, one after the other.

    A load of masters and the update that takes them hold each other up: when either ends is known
    once both have begun.
    """

    def __init__(self, program: Sequence[Instruction], units: Mapping[str, Any]) -> None:
        self._program, self._units = program, units
        self._begins: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._queued: dict[str, list[int]] = {unit: [] for unit in UNITS}
        self._begun: dict[str, list[int]] = {unit: [] for unit in UNITS}
        self._offered: dict[str, list[int]] = {unit: [] for unit in UNITS}  # begun, not started
        self._levels = [0] * SEMAPHORES
        self._events: list[tuple[int, int]] = []
        self._heads: dict[int, int] = {}  # first cycle in which a queued instruction may begin
        self._fed = self._moved = 0  # words in queues; when the latest was
        self._update: int | None = None  # that masters have not come for
        self._loads: list[int] = []  # that the unit has taken
        self._masters: list[int] = []  # of these, those that no update has taken
        self._known = 0  # loads whose ends are

    def run(self) -> list[Times]:
        """All of the program."""
        cycle = 0
        self._feed()
        while len(self._begins) < len(self._program):
            while self._events and self._events[0][0] < cycle:
                self._signal(heappop(self._events)[1])
            moments = [self._events[0][0] + 1] if self._events else []
            for unit in UNITS:
                queue = self._queued[unit]
                earliest = self._earliest(unit, queue[0]) if queue else None
                if earliest is None:
                    continue
                if earliest > cycle:
                    moments.append(earliest)
                elif self._raised(queue[0]):
                    self._begin(unit, queue.pop(0), cycle)
                    moments = [cycle + 1]
                    break
            if not moments:
                self._stuck(len(self._program) - len(self._begins))
            cycle = min(moments)
        if len(self._ends) < len(self._program):
            self._stuck(len(self._program) - len(self._ends))
        numbers = range(len(self._program))
        return [Times(self._begins[n], self._starts[n], self._ends[n]) for n in numbers]

    def _stuck(self, count: int) -> NoReturn:
        stuck = [str(queue[0]) for queue in self._queued.values() if queue]
        stuck += [str(self._loads[index]) for index in self._masters]
        stuck += [str(self._update)] if self._update is not None else []
        raise DeadlockError(
            f"{count} instructions never end, first of all {', '.join(stuck)}; let earlier ones "
            "signal what they wait for, and load as many masters as are updated"
        )

    def _feed(self) -> None:
        """Queues words as far as there is room."""
        while self._fed < len(self._program):
            unit = self._program[self._fed].unit
            queue, begun = self._queued[unit], self._begun[unit]
            moved = self._moved + 1
            if len(queue) == QUEUE:
                return
            if len(queue) + len(begun) >= QUEUE:  # room was made by one that began
                made = begun[len(queue) + len(begun) - QUEUE]
                moved = max(moved, self._begins[made] + 1)
            queue.append(self._fed)
            self._heads[self._fed] = moved + 1
            self._moved = moved
            self._fed += 1

    def _earliest(self, unit: str, number: int) -> int | None:
        """When it could begin if its semaphores were raised; None if that is not known yet."""
        begun, earliest = self._begun[unit], self._heads[number]
        if begun:
            latest = begun[-1]
            after: list[int | None] = [self._begins[latest] + 1, self._starts.get(latest)]
            if len(begun) >= FLIGHT:
                after.append(self._after(begun[-FLIGHT]))
            kind = type(self._program[number])
            if unit == "out" and (kind is Fence or kind is not type(self._program[latest])):
                after.append(self._after(latest))
            for moment in after:
                if moment is None:
                    return None
                earliest = max(earliest, moment)
        return earliest

    def _after(self, number: int) -> int | None:
        return self._ends[number] + 1 if number in self._ends else None

    def _raised(self, number: int) -> bool:
        wait = self._program[number].wait
        return all(level or not wait >> s & 1 for s, level in enumerate(self._levels))

    def _begin(self, unit: str, number: int, cycle: int) -> None:
        wait = self._program[number].wait
        for s in range(SEMAPHORES):
            self._levels[s] -= wait >> s & 1
        self._begins[number] = cycle
        self._begun[unit].append(number)
        self._offered[unit].append(number)
        self._start(unit)
        self._feed()

    def _start(self, unit: str) -> None:
        """Gives the unit what it can take."""
        while self._offered[unit]:
            number = self._offered[unit][0]
            instruction = self._program[number]
            cycles = self._units[type(instruction).__name__.lower()]
            ready = cycles.ready
            if ready is None or (unit == "out" and self._update is not None):
                return
            self._offered[unit].pop(0)
            start = self._starts[number] = max(self._begins[number] + 1, ready)
            if hasattr(cycles, "take"):
                self._update = number
            elif isinstance(cycles, LoadCycles):
                self._accept(cycles, number)
            else:
                self._end(number, cycles.run(instruction, start))
            self._pair()

    def _accept(self, cycles: LoadCycles, number: int) -> None:
        load = self._program[number]
        assert isinstance(load, Load)
        index = cycles.accept(load, self._starts[number])
        self._loads.append(number)
        if load.target == "masters":
            self._masters.append(index)
        self._learn(cycles)

    def _learn(self, cycles: LoadCycles) -> None:
        """Ends of loads that have become known."""
        for end in cycles.ends[self._known :]:
            self._end(self._loads[self._known], end)
            self._known += 1

    def _pair(self) -> None:
        """Runs an update with its masters, if both are there."""
        if self._update is None or not self._masters:
            return
        load, index = self._units["load"], self._masters[0]
        first = load.first_take(index)
        if first is None:
            return
        update, self._update = self._update, None
        end, taken = self._units["update"].take(
            self._program[update], self._starts[update], first + MASTERS_LATENCY
        )
        self._end(update, end)
        self._masters.pop(0)
        load.pass_on(taken)
        self._learn(load)
        self._start("load")
        self._start("out")

    def _end(self, number: int, cycle: int) -> None:
        self._ends[number] = cycle
        heappush(self._events, (cycle, number))

    def _signal(self, number: int) -> None:
        for s in range(SEMAPHORES):
            self._levels[s] += self._program[number].signal >> s & 1
