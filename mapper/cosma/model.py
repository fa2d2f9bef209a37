"""The rows of COSMA's integer program; :mod:`thresher.mapper.cosma` says what they mean."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..backends import SolverError
from ..plan import Plan, Residence
from ..problem import Problem
from .variables import Variables


class Model(Variables):
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
        and addresses.  ``without``: some of :data:`.variables.CORRECTIONS`."""
        with warnings.catch_warnings():
            # PuLP 3 warns of what PuLP 4 will change.
            warnings.simplefilter("ignore", DeprecationWarning)
            super().__init__(problem, order, peak, without)
            self._rows(capacity_cut)

    def _rows(self, capacity_cut: bool) -> None:
        self._operators()
        for b in range(len(self.problem.buffers)):
            self._residence(b)
            if self.double:
                self._transfers_during_steps(b)
            if not self.peak:
                self._copies(b)
                self._addresses(b)
        if self.peak:
            self._least_peak()
            return
        self._pairs()
        if capacity_cut:
            self._capacity()
        self._objective()

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
