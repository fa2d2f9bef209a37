"""The variables of COSMA's integer program, and the steps in which each of them exists."""

import math
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import Any

from ..problem import Problem

CORRECTIONS = frozenset({"base", "single", "liveness", "parameters", "bounds", "operands", "times"})
"""What is done about defects of the published program, and can be left out, to show them: Eq2 at
the first step; one operator a step; nothing stays after its last use; parameters are not created;
Eq9 whether or not a tensor is there; each operand once; windows in time, not in numbers of
operators."""


class Variables:
    """Of one problem; made when they are asked for, and numbers where they are known."""

    def __init__(
        self,
        problem: Problem,
        order: Sequence[int] | None,
        peak: bool,
        without: Collection[str],
    ) -> None:
        """As for :class:`.model.Model`."""
        import pulp

        if unknown := {*without} - CORRECTIONS:
            raise ValueError(f"{sorted(unknown)} are none of {sorted(CORRECTIONS)}")
        self.pulp: Any = pulp
        self.problem, self.order, self.without = problem, order, frozenset(without)
        self.steps = len(problem.steps)
        self.double = problem.memory.double_buffered
        self.peak = peak
        sizes = [b.size for b in problem.buffers]
        banks = [problem.memory.bank] if problem.memory.banks > 1 else []
        self.unit = math.gcd(*sizes, *banks)
        """Bytes; addresses can be whole multiples of it: what lies lower is pushed down."""
        self.size = [size // self.unit for size in sizes]
        self.budget = problem.memory.budget // self.unit
        self.scale = self.unit if peak else math.gcd(*(b.bytes for b in problem.buffers))
        """Bytes by which the objective is divided."""
        self.program: Any = pulp.LpProblem("cosma", pulp.LpMinimize)
        self.made: dict[tuple[Any, ...], Any] = {}
        self._windows()

    def binary(self, *name: Any) -> Any:
        """One of its name, the same each time."""
        if name not in self.made:
            text = "_".join(map(str, name))
            self.made[name] = self.pulp.LpVariable(text, cat="Binary")
        return self.made[name]

    def row(self, small: Any, large: Any, name: str = "") -> None:
        """``small <= large``."""
        difference = small - large
        if isinstance(difference, int | float):
            if difference > 0:  # constants that cannot be
                self.program += self.binary("never") <= -1
            return
        self.program += difference <= 0

    def total(self, terms: Iterator[Any]) -> Any:
        """Their sum; a number where all are."""
        found = list(terms)
        number = sum(x for x in found if isinstance(x, int))
        others = [x for x in found if not isinstance(x, int)]
        return self.pulp.lpSum(others) + number if others else number

    def runs(self, o: int, t: int) -> Any:
        """Whether operator ``o`` is step ``t``'s: x[o,t]."""
        early, late = self.when[o]
        if not early <= t <= late:
            return 0
        return 1 if early == late and not self.free else self.binary("x", o, t)

    def ran(self, o: int, t: int) -> Any:
        """Whether it is that of a step up to ``t``."""
        early, late = self.when[o]
        return 1 if t >= late else self.total(self.runs(o, k) for k in range(early, t + 1))

    def created(self, b: int, t: int) -> Any:
        """C[b,t]."""
        if b in self.creators:
            return self.runs(self.creators[b], t)
        if b in self.parts or (b in self.brought and "parameters" in self.without):
            return self.binary("C", b, t) if self.within(b, t) else 0
        return 0

    def within(self, b: int, t: int) -> bool:
        first, last = self.window[b]
        return first <= t <= last

    def preserved(self, b: int, t: int) -> Any:
        """P[b,t]."""
        if "liveness" in self.without and self.window[b][0] < t < self.steps:
            return self.binary("P", b, t)
        if "base" in self.without and self.within(b, t):
            return self.binary("P", b, t)
        first, last = self.window[b]
        return self.binary("P", b, t) if first < t <= last else 0

    def spilled(self, b: int, t: int) -> Any:
        """S[b,t]."""
        first, last = self.window[b]
        if self.peak or not first < t <= last or not self.copied(b):
            return 0
        return self.binary("S", b, t)

    def retrieved(self, b: int, t: int) -> Any:
        """R[b,t]."""
        if not self.within(b, t) or (self.peak and b not in self.brought):
            return 0
        return self.binary("R", b, t)

    def resident(self, b: int, t: int) -> Any:
        """C + P + R."""
        return self.created(b, t) + self.preserved(b, t) + self.retrieved(b, t)

    def occupies(self, b: int, t: int) -> Any:
        """Whether its place is taken: as :meth:`resident`, and with transfers during steps."""
        if not self.double:
            return self.resident(b, t)
        first, last = self.window[b]
        return self.binary("O", b, t) if first - 1 <= t <= last + 1 and 0 <= t < self.steps else 0

    def address(self, b: int, t: int) -> Any:
        """L[b,t], in units; not declared whole: :meth:`plan` pushes down what lies between."""
        if ("L", b, t) not in self.made:
            most = self.budget - self.size[b]
            if "bounds" in self.without:
                most += self.budget
            self.made["L", b, t] = self.pulp.LpVariable(f"L_{b}_{t}", 0, max(most, 0))
        return self.made["L", b, t]

    @property
    def free(self) -> bool:
        return self.order is None

    def copied(self, b: int) -> bool:
        """Whether it may have to be stored: whether anything but a load writes it."""
        return b not in self.clean or b in self.rewritten

    @cached_property
    def writers(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for o, step in enumerate(self.problem.steps):
            for b in step.writes:
                found.setdefault(b, []).append(o)
        return found

    @cached_property
    def brought(self) -> set[int]:
        """Clean buffers that no load writes."""
        return {
            b
            for b, buffer in enumerate(self.problem.buffers)
            if buffer.clean and b not in self.problem.loads
        }

    @cached_property
    def clean(self) -> set[int]:
        return {*self.problem.loads, *(self.brought if "parameters" not in self.without else ())}

    def _windows(self) -> None:
        problem = self.problem
        after: list[set[int]] = [set() for _ in problem.steps]
        before: list[set[int]] = [set() for _ in problem.steps]
        for o in range(self.steps):  # the default order is one
            for other in problem.before[o]:
                before[o] |= before[other] | {other}
        for o in range(self.steps):
            for other in before[o]:
                after[other].add(o)
        if self.order is None:
            self.when = [
                (len(b), self.steps - 1 - len(a)) for b, a in zip(before, after, strict=True)
            ]
        else:
            place = {o: t for t, o in enumerate(self.order)}
            self.when = [(place[o], place[o]) for o in range(self.steps)]
        self.users: list[list[int]] = [[] for _ in problem.buffers]
        for o, step in enumerate(problem.steps):
            for b in step.uses:
                self.users[b].append(o)
        when = self.when
        if "times" in self.without:
            when = [(o, o) for o in range(self.steps)]
        first = [min(when[o][0] for o in users) for users in self.users]
        if "base" in self.without:
            first = [0 for _ in first]
        last = [max(when[o][1] for o in users) for users in self.users]
        self.window = list(zip(first, last, strict=True))
        self.creators: dict[int, int] = {}
        self.parts: set[int] = set()
        """Buffers that any of several operators may begin."""
        self.rewritten: set[int] = set()
        """Buffers that are written when they have content."""
        for b, writers in self.writers.items():
            firsts = [o for o in writers if not any(o in after[other] for other in writers)]
            if b in self.brought:
                self.rewritten.add(b)
            elif len(firsts) == 1:
                self.creators[b] = firsts[0]
            elif self.order is not None:
                self.creators[b] = min(writers, key=lambda o: self.when[o])
            else:
                self.parts.add(b)
            if len(writers) > 1:
                self.rewritten.add(b)
