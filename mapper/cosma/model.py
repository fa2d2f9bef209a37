"""The rows of COSMA's integer program; :mod:`thresher.mapper.cosma` says what they mean."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from ..backends import SolverError
from ..plan import Plan, Residence
from ..problem import Problem

CORRECTIONS = frozenset({"base", "single", "liveness", "parameters", "bounds", "operands", "times"})
"""What is done about defects of the published program, and can be left out, to show them: Eq2 at
the first step; one operator a step; nothing stays after its last use; parameters are not created;
Eq9 whether or not a tensor is there; each operand once; windows in time, not in numbers of
operators."""


class Model:
    """Variables and rows for one problem."""

    def __init__(
        self,
        problem: Problem,
        order: Sequence[int] | None,
        *,
        capacity_cut: bool = True,
        peak: bool = False,
        without: Collection[str] = (),
    ) -> None:
        """``order``: None where the program chooses it.  ``peak``: Eq13 to 15 in place of spills
        and addresses.  ``without``: some of :data:`CORRECTIONS`."""
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
        self.scale = 1 if peak else math.gcd(*(b.bytes for b in problem.buffers))
        """Bytes by which the objective is divided."""
        if peak:
            self.scale = self.unit
        self.program: Any = pulp.LpProblem("cosma", pulp.LpMinimize)
        self.made: dict[tuple[Any, ...], Any] = {}
        self._windows()
        self._operators()
        for b in range(len(problem.buffers)):
            self._residence(b)
            if self.double:
                self._transfers_during_steps(b)
            if not peak:
                self._copies(b)
                self._addresses(b)
        if peak:
            self._least_peak()
            return
        self._pairs()
        if capacity_cut:
            self._capacity()
        self._objective()

    # Variables

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

    # What the problem says

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

    # Rows

    def _operators(self) -> None:
        """Eq7; one operator a step; what must come before what; Eq5."""
        steps = self.problem.steps
        if self.free:
            for o in range(self.steps):
                self.program += self.total(self.runs(o, t) for t in range(self.steps)) == 1
            if "single" not in self.without:
                for t in range(self.steps):
                    self.program += self.total(self.runs(o, t) for o in range(self.steps)) == 1
            for o, before in enumerate(self.problem.before):
                for other in before:
                    for t in range(self.when[o][0], self.when[o][1] + 1):
                        self.row(self.ran(o, t), self.ran(other, t - 1))
        for o, step in enumerate(steps):
            for t in range(self.when[o][0], self.when[o][1] + 1):
                for b in step.uses:
                    there = self.preserved(b, t) + self.retrieved(b, t)
                    if b not in step.reads:
                        there += self.created(b, t)
                    self.row(self.runs(o, t), there)

    def _residence(self, b: int) -> None:
        """Eq1 to 3, and that what leaves is away for a step."""
        first, last = self.window[b]
        if b in self.parts:
            self.program += self.total(self.created(b, t) for t in range(first, last + 1)) == 1
            for t in range(first, last + 1):
                made = self.total(self.runs(o, t) for o in self.writers[b])
                self.row(self.created(b, t), made)
        if b in self.brought and "parameters" in self.without:
            self.program += self.total(self.created(b, t) for t in range(first, last + 1)) == 1
        stop = self.steps if "liveness" in self.without else last + 1
        for t in range(first, stop):
            kept = self.preserved(b, t)
            if not (t == 0 and "base" in self.without):
                self.row(kept, self.resident(b, t - 1) if t else 0)
            stored = self.spilled(b, t)
            before = self.created(b, t - 1) + self.preserved(b, t - 1)
            if b in self.rewritten:
                before += self.retrieved(b, t - 1)
            self.row(stored, before)
            self.row(self.resident(b, t) + stored, 1)
            for k in range(1, 4 if self.double else 2):
                if t - k >= first:
                    self.row(self.retrieved(b, t) + self.resident(b, t - k), 1)
        if self.peak and b in self.brought:
            self.row(self.total(self.retrieved(b, t) for t in range(first, last + 1)), 1)

    def _transfers_during_steps(self, b: int) -> None:
        """O: also the step before a retrieval, and the one after content that is needed leaves."""
        first, last = self.window[b]
        for t in range(first, last + 1):
            self.row(self.resident(b, t), self.occupies(b, t))
            if t:
                self.row(self.retrieved(b, t), self.occupies(b, t - 1))
            if t + 1 == self.steps:
                continue
            leaves = self.resident(b, t) - self.resident(b, t + 1)
            for o in self.users[b]:
                # Somebody is to use it yet, or it is delivered.
                done = 0 if self.problem.buffers[b].delivered else self.ran(o, t)
                self.row(leaves - done, self.occupies(b, t + 1))

    def _copies(self, b: int) -> None:
        """Eq4 and Eq8; K[b,t], whether the copy off chip is the newest, of what is overwritten."""
        first, last = self.window[b]
        if not self.copied(b):
            if b in self.creators:
                for t in range(first, last + 1):
                    made = self.total(self.created(b, k) for k in range(first, t))
                    self.row(self.retrieved(b, t), made)
            return
        if b not in self.rewritten:
            stored = self.total(self.spilled(b, t) for t in range(first, last + 1))
            self.row(stored, 1)
            for t in range(first, last + 1):
                stored = self.total(self.spilled(b, k) for k in range(first, t))
                self.row(self.retrieved(b, t), stored)
            return
        load = self.creators[b] if b in self.problem.loads else None
        for t in range(first, last + 1):
            same = self.binary("K", b, t)
            before = int(b in self.brought) if t == first else self.binary("K", b, t - 1)
            loaded = 0 if load is None else self.runs(load, t)
            self.row(same, before + self.spilled(b, t) + loaded)
            for o in self.writers[b]:
                if o != load:
                    self.row(same + self.runs(o, t), 1)
            self.row(self.retrieved(b, t), before)

    def _addresses(self, b: int) -> None:
        """Eq9, Eq11, and banks."""
        bank, size = self.problem.memory.bank // self.unit, self.size[b]
        for t in range(self.steps):
            taken = self.occupies(b, t)
            if isinstance(taken, int) and not taken:
                continue
            here = self.address(b, t)
            if "bounds" in self.without:
                self.row(here + size, self.budget + self.budget * (1 - taken))
            elif size > self.budget:
                self.row(taken, 0)
            if self.problem.memory.banks > 1:
                most = self.problem.memory.banks - -(-size // bank)
                number = self.pulp.LpVariable(f"B_{b}_{t}", 0, max(most, 0), "Integer")
                self.row(number * bank, here)
                if size <= bank:
                    self.row(here + size, number * bank + bank)
                else:
                    self.row(here, number * bank)
            before = self.occupies(b, t - 1) if t else 0
            if isinstance(before, int) and before == 0:
                continue
            same = self.binary("V", b, t)
            if self.double:
                self.row(before + taken - 1, same)
            else:
                self.row(self.preserved(b, t), same)
            there = self.address(b, t - 1)
            most = 2 * self.budget if "bounds" in self.without else self.budget - size
            self.row(here - there, most * (1 - same))
            self.row(there - here, most * (1 - same))

    def _pairs(self) -> None:
        """Eq10."""
        margin = int(self.double)
        far = self.budget * (2 if "bounds" in self.without else 1)
        for a, (one, end) in enumerate(self.window):
            for b in range(a):
                other, stop = self.window[b]
                low = max(one, other) - margin
                for t in range(max(low, 0), min(min(end, stop) + margin + 1, self.steps)):
                    both = self.occupies(a, t) + self.occupies(b, t) - 1
                    if isinstance(both, int) and both <= 0:
                        continue
                    above, below = self.binary("u", a, b, t), self.binary("d", a, b, t)
                    la, lb = self.address(a, t), self.address(b, t)
                    self.row(lb + self.size[b] - far * (1 - above), la)
                    self.row(la + self.size[a] - far * (1 - below), lb)
                    self.row(both, above + below)

    def _capacity(self) -> None:
        """The cut: all that lies there fits, by its bytes."""
        for t in range(self.steps):
            load = self.load(t)
            if "operands" in self.without:
                for o, step in enumerate(self.problem.steps):
                    again = len(step.reads) - len({*step.reads})
                    if again:
                        twice = sum(self.size[b] * (step.reads.count(b) - 1) for b in {*step.reads})
                        load += twice * self.runs(o, t)
            self.row(load, self.budget)

    def load(self, t: int) -> Any:
        """Units in use at step ``t``."""
        return self.total(
            self.size[b] * self.occupies(b, t) for b in range(len(self.problem.buffers))
        )

    def _least_peak(self) -> None:
        """Eq13 to 15."""
        most = self.pulp.LpVariable("M_peak", 0, sum(self.size), "Integer")
        for t in range(self.steps):
            self.row(self.load(t), most)
        self.program.setObjective(most + 0)

    def _objective(self) -> None:
        """Eq12."""
        terms = []
        for b, buffer in enumerate(self.problem.buffers):
            cost = buffer.bytes // self.scale
            first, last = self.window[b]
            for t in range(first, last + 1):
                terms.append(cost * self.retrieved(b, t))
                stored = self.spilled(b, t)
                if isinstance(stored, int):
                    continue
                if buffer.delivered and b not in self.rewritten:
                    continue  # it has to be stored once in any case
                if buffer.delivered:
                    charged = self.binary("Q", b, t)
                    final = 1
                    done = [self.ran(o, t - 1) for o in self.writers[b]]
                    if all(isinstance(x, int) for x in done):
                        final = min(done)
                    else:
                        final = self.binary("F", b, t)
                        for x in done:
                            self.row(final, x)
                    self.row(stored - final, charged)
                    stored = charged
                terms.append(cost * stored)
            if b in self.clean & self.brought:
                terms.append(-cost)  # the first one is compulsory
        self.program.setObjective(self.pulp.lpSum(terms))

    # Solutions

    def positions(self, values: Mapping[str, float]) -> tuple[int, ...]:
        """The order of the steps."""
        if self.order is not None:
            return tuple(self.order)
        times = {
            o: t for (kind, o, t) in (k for k in self.made if k[0] == "x")
            if values[f"{kind}_{o}_{t}"] > 0.5
        }  # fmt: skip
        return tuple(sorted(times, key=times.__getitem__))

    def value(self, expression: Any, values: Mapping[str, float]) -> int:
        """Of an expression of binary variables."""
        if isinstance(expression, int):
            return expression
        terms = self.pulp.LpAffineExpression(expression)
        return round(sum(w * values.get(v.name, 0.0) for v, w in terms.items()) + terms.constant)

    def plan(self, values: Mapping[str, float]) -> Plan:
        """The plan of a solution: stays from their first to their last use, pushed down in the
        order of their L.

        So addresses are whole, and no tolerance of a solver lets two overlap.  Raises
        :class:`.backends.SolverError` where they leave the budget.
        """
        order = self.positions(values)
        found: list[tuple[float, Residence]] = []
        for b in range(len(self.problem.buffers)):
            stays: list[list[int]] = []
            for t, o in enumerate(order):
                if self.value(self.retrieved(b, t), values) or not stays:
                    stays.append([])
                if b in self.problem.steps[o].uses:
                    stays[-1].append(t)
            for stay in filter(None, stays):
                low = values.get(f"L_{b}_{stay[0]}", 0.0)
                found.append((low, Residence(b, stay[0], stay[-1])))
        plan = Plan(self.problem, order, tuple(sorted(r for _, r in found)))
        placed: list[tuple[range, int, Residence]] = []
        for _, stay in sorted(found):
            when = plan.occupied(stay)
            under = [
                end
                for other, end, _ in placed
                if other.start < when.stop and when.start < other.stop
            ]
            address = self._banked(max(under, default=0), self.size[stay.buffer])
            end = address + self.size[stay.buffer]
            if end > self.budget:
                raise SolverError(
                    f"{self.problem.buffers[stay.buffer].name!r} ends at {end * self.unit} of "
                    f"{self.problem.memory.budget} bytes in what the solver calls a solution"
                )
            placed.append((when, end, replace(stay, address=address * self.unit)))
        return Plan(self.problem, order, tuple(sorted(stay for _, _, stay in placed)))

    def _banked(self, address: int, size: int) -> int:
        """The first one from there at which so many units may begin."""
        bank = self.problem.memory.bank // self.unit
        within = address // bank == (address + size - 1) // bank
        if self.problem.memory.banks == 1 or (within if size <= bank else address % bank == 0):
            return address
        return (address // bank + 1) * bank
