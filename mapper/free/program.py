"""The joint problem as rows over 0/1 variables, for CP-SAT, CBC and HiGHS alike.

Step o is *done* at position t, ``d[o,t]``, if it ran there or before; the increments say when.
Buffer b lies in the scratchpad at t, ``r[b,t]``; it is *begun* and *over* at t if its first, or
last, use was there or before::

    sum over o of d[o,t]  =  t + 1                       one step a position
    d[o,t]  >=  d[o,t-1];    d[o,t]  <=  d[a,t-1]        a before o
    used[b,t]  =  sum over users o of d[o,t] - d[o,t-1]  <=  r[b,t]
    f[b,t]  >=  r[b,t] - r[b,t-1] - (begun[b,t] - begun[b,t-1])     fetched again
    sum size[b] r[b,t]  <=  budget
    least  sum bytes[b] f[b,t]  +  stores

A buffer that one step writes is stored once if it is fetched again at all.  One that several
write has a copy off chip that is good (``c[b,t]``) from a store, a ``load`` or, if it is
delivered, its last write until the next write; it must be good where the buffer is away between
uses.  Double buffering: what occupies the scratchpad at t is, besides, what is fetched for t + 1
and what left after t - 1.  Positions that a step cannot have are no variables.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from ..fixed import FixedOrder
from ..problem import Problem
from .structure import Structure, members, twins


@dataclass
class Linear:
    """A sum of variables, by number, and a constant."""

    terms: dict[int, int] = field(default_factory=dict)
    constant: int = 0

    def plus(self, other: "Linear", times: int = 1) -> "Linear":
        """This and ``times`` the other."""
        terms = dict(self.terms)
        for variable, weight in other.terms.items():
            terms[variable] = terms.get(variable, 0) + times * weight
        return Linear({v: w for v, w in terms.items() if w}, self.constant + times * other.constant)


ONE = Linear(constant=1)

Stay = tuple[int, range]
"""A buffer and the positions at which it is in the scratchpad."""


class Program:
    """Variables, rows and objective of a problem."""

    def __init__(self, problem: Problem, conflicts: Sequence[Sequence[Stay]] = ()) -> None:
        """``conflicts``: no plan has all of the stays of one."""
        self.problem = problem
        plain = Structure.of(problem)
        self.structure = Structure.of(problem, twins(plain))
        self.names: list[str] = []
        self.rows: list[tuple[Linear, bool]] = []
        """Each at least 0, or, where marked, just 0."""
        self.objective = Linear()
        self.count = len(problem.steps)
        self.done = {
            (step, t): self._variable(f"d_{step}_{t}")
            for step, window in enumerate(self.structure.windows)
            for t in window[:-1]
        }
        self._orders()
        self.users = [[s for s, step in enumerate(problem.steps) if b in step.uses]
                      for b in range(len(problem.buffers))]  # fmt: skip
        self.writers = [[s for s, step in enumerate(problem.steps) if b in step.writes]
                        for b in range(len(problem.buffers))]  # fmt: skip
        self.here: dict[tuple[int, int], Linear] = {}
        self.occupied: dict[tuple[int, int], Linear] = {}
        for b in range(len(problem.buffers)):
            self._buffer(b)
        self._capacity()
        for conflict in conflicts:
            row = Linear(constant=-1)
            for b, positions in conflict:
                for t in positions:
                    row = row.plus(ONE).plus(self.occupied.get((b, t), Linear()), -1)
            self.rows.append((row, False))

    def _variable(self, name: str) -> Linear:
        self.names.append(name)
        return Linear({len(self.names) - 1: 1})

    def _at_least(self, more: Linear, less: Linear) -> None:
        row = more.plus(less, -1)
        if row.terms or row.constant < 0:
            self.rows.append((row, False))

    def _d(self, step: int, t: int) -> Linear:
        window = self.structure.windows[step]
        if t < window.start:
            return Linear()
        return self.done.get((step, t), ONE)

    def _orders(self) -> None:
        before = self.structure.before
        for t in range(self.count):
            row = Linear(constant=-(t + 1))
            for step in range(self.count):
                row = row.plus(self._d(step, t))
            self.rows.append((row, True))
        for step, window in enumerate(self.structure.windows):
            implied = reduce(int.__or__, (before[o] for o in members(before[step])), 0)
            for t in window:
                self._at_least(self._d(step, t), self._d(step, t - 1))
                for other in members(before[step] & ~implied):
                    self._at_least(self._d(other, t - 1), self._d(step, t))

    def _any(self, steps: Sequence[int], t: int, name: str) -> Linear:
        """Whether one of these is done at t."""
        for step in steps:
            if all(o == step or self.structure.before[o] >> step & 1 for o in steps):
                return self._d(step, t)
        parts = [self._d(step, t) for step in steps]
        if any(not p.terms and p.constant for p in parts):
            return ONE
        parts = [p for p in parts if p.terms]
        if len(parts) < 2:
            return parts[0] if parts else Linear()
        found = self._variable(f"{name}_{t}")
        for part in parts:
            self._at_least(found, part)
        self._at_least(reduce(Linear.plus, parts), found)
        return found

    def _all(self, steps: Sequence[int], t: int, name: str) -> Linear:
        """Whether all of these are done at t."""
        for step in steps:
            if all(o == step or self.structure.after[o] >> step & 1 for o in steps):
                return self._d(step, t)
        parts = [self._d(step, t) for step in steps]
        if any(not p.terms and not p.constant for p in parts):
            return Linear()
        parts = [p for p in parts if p.terms]
        if len(parts) < 2:
            return parts[0] if parts else ONE
        found = self._variable(f"{name}_{t}")
        total = found
        for part in parts:
            self._at_least(part, found)
            total = total.plus(part, -1)
        self._at_least(total.plus(ONE, len(parts) - 1), Linear())
        return found

    def _buffer(self, b: int) -> None:
        buffer, users = self.problem.buffers[b], self.users[b]
        windows = [self.structure.windows[s] for s in users]
        span = range(min(w.start for w in windows), max(w.stop for w in windows))
        begun = {t: self._any(users, t, f"b_{b}") for t in span}
        over = {t: self._all(users, t, f"o_{b}") for t in span}
        begun[span.start - 1] = over[span.start - 1] = Linear()
        here: dict[int, Linear] = {span.start - 1: Linear(), span.stop: Linear()}
        fetched: dict[int, Linear] = {}
        for t in span:
            used = Linear()
            for step in users:
                used = used.plus(self._d(step, t)).plus(self._d(step, t - 1), -1)
            here[t] = ONE if not used.terms and used.constant else self._variable(f"r_{b}_{t}")
            self.here[b, t] = here[t]
            self._at_least(here[t], used)
            self._at_least(begun[t], here[t])
            self._at_least(ONE.plus(over[t - 1], -1), here[t])
            new = begun[t].plus(begun[t - 1], -1)
            need = here[t].plus(here[t - 1], -1).plus(new, -1)
            if sum(max(w, 0) for w in need.terms.values()) + need.constant > 0:
                fetched[t] = self._variable(f"f_{b}_{t}")
                self._at_least(fetched[t], need)
                self.objective = self.objective.plus(fetched[t], buffer.bytes)
        self._stores(b, span, here, begun, over, fetched)
        self._occupied(b, span, here, begun, over, fetched)

    def _stores(
        self, b: int, span: range, here: Mapping[int, Linear], begun: Mapping[int, Linear],
        over: Mapping[int, Linear], fetched: Mapping[int, Linear],
    ) -> None:  # fmt: skip
        buffer, writers = self.problem.buffers[b], self.writers[b]
        load = b in self.problem.loads
        if (buffer.clean and len(writers) <= load) or not fetched:
            return
        if len(writers) == 1 and not buffer.clean:
            if not buffer.delivered:
                stored = self._variable(f"s_{b}")
                self.objective = self.objective.plus(stored, buffer.bytes)
                for again in fetched.values():
                    self._at_least(stored, again)
            return
        good = Linear(constant=int(buffer.clean))
        for t in span:
            now, stored = self._variable(f"c_{b}_{t}"), self._variable(f"s_{b}_{t}")
            self.objective = self.objective.plus(stored, buffer.bytes)
            self._at_least(now, begun[t].plus(over[t], -1).plus(here[t], -1))
            free, written = Linear(), Linear()
            if buffer.delivered:
                free = free.plus(self._all(writers, t, f"e_{b}"))
            if buffer.clean:
                first = self._variable(f"i_{b}_{t}")
                free = free.plus(first)
                for i, one in enumerate(writers):
                    if not load:
                        self._at_least(ONE.plus(self._d(one, t), -1), first)
                    for other in writers[:i]:
                        both = self._d(one, t).plus(self._d(other, t))
                        self._at_least(Linear(constant=2).plus(both, -1), first)
            for step in writers:
                written = written.plus(self._d(step, t)).plus(self._d(step, t - 1), -1)
            self._at_least(good.plus(stored).plus(free), now)
            self._at_least(ONE.plus(written, -1).plus(free), now)
            good = now

    def _occupied(
        self, b: int, span: range, here: Mapping[int, Linear], begun: Mapping[int, Linear],
        over: Mapping[int, Linear], fetched: Mapping[int, Linear],
    ) -> None:  # fmt: skip
        if not self.problem.memory.double_buffered:
            self.occupied |= {(b, t): here[t] for t in span}
            return
        buffer = self.problem.buffers[b]
        brought = buffer.clean and b not in self.problem.loads
        for t in range(max(span.start - 1, 0), min(span.stop + 1, self.count)):
            reasons = [here.get(t, Linear()), fetched.get(t + 1, Linear())]
            if brought and t + 1 in span:
                reasons.append(begun[t + 1].plus(begun[t], -1))
            gone = here.get(t - 1, Linear()).plus(here.get(t, Linear()), -1)
            if not buffer.delivered:
                gone = gone.plus(begun.get(t, ONE)).plus(over.get(t, ONE), -1).plus(ONE, -1)
            reasons.append(gone)
            if any(not r.terms and r.constant > 0 for r in reasons):
                self.occupied[b, t] = ONE
                continue
            self.occupied[b, t] = self._variable(f"p_{b}_{t}")
            for reason in reasons:
                self._at_least(self.occupied[b, t], reason)

    def _capacity(self) -> None:
        sizes, budget = [b.size for b in self.problem.buffers], self.problem.memory.budget
        step = reduce(math.gcd, sizes)
        for t in range(self.count):
            row = Linear(constant=budget // step)
            for b, size in enumerate(sizes):
                if (b, t) in self.occupied:
                    row = row.plus(self.occupied[b, t], -(size // step))
            if sum(w for w in row.terms.values()) + row.constant < 0:
                self.rows.append((row, False))

    @property
    def scale(self) -> int:
        """What the objective is a multiple of, at least 1."""
        return reduce(math.gcd, self.objective.terms.values(), 0) or 1

    def read(self, values: Sequence[float]) -> tuple[tuple[int, ...], frozenset[int]]:
        """Order and left gaps of a solution."""

        def value(of: Linear) -> int:
            return round(sum(w * values[v] for v, w in of.terms.items())) + of.constant

        first = [
            next(t for t in window if value(self._d(step, t)))
            for step, window in enumerate(self.structure.windows)
        ]
        order = tuple(sorted(range(self.count), key=lambda s: first[s]))
        fixed = FixedOrder(self.problem, order)
        left = {
            i
            for i, gap in enumerate(fixed.gaps)
            if any(not value(self.here[gap.buffer, t]) for t in gap.freed)
        }
        return order, frozenset(left)

    def pulp(self) -> Any:
        """As a ``pulp.LpProblem``; the objective divided by :attr:`scale`, variables ``v_0`` …"""
        import pulp

        model = pulp.LpProblem("joint", pulp.LpMinimize)
        variables = [model.add_variable(f"v_{i}", cat="Binary") for i in range(len(self.names))]
        scale = self.scale
        model.setObjective(
            pulp.LpAffineExpression(
                [(variables[v], w // scale) for v, w in self.objective.terms.items()]
            )
        )
        for row, equal in self.rows:
            left = pulp.LpAffineExpression([(variables[v], w) for v, w in row.terms.items()])
            model += left == -row.constant if equal else left >= -row.constant
        return model
