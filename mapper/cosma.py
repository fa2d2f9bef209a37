"""COSMA's integer program, corrected, as the documented reference.

Li, Gupta, Malik, *COSMA* (arXiv 2311.18246).  Step t runs one operator; of every tensor a at every
step t, binary::

    C created   P preserved   R retrieved   S spilled          L address (in units, below)
    u, d        of two tensors that are there at once: a lies above b, or below

    x[o,t] = 1 where operator o runs at step t; r = C + P + R: a lies in the scratchpad
    (1)  C + P + S + R <= 1
    (2)  P[a,t] <= r[a,t-1]                              P[a,0] = 0
    (3)  S[a,t] <= C[a,t-1] + P[a,t-1]                   S[a,0] = 0
    (4)  R[a,t] <= sum S[a,k], k <= t                    clean tensors need no S
    (5)  x[o,t] <= P[a,t] + R[a,t]                       a an operand of o
    (6)  C[a,t] = x[writer of a, t]                      siblings are created together
    (7)  sum_t x[o,t] = 1,  sum_o x[o,t] = 1
    (8)  sum_t S[a,t] <= 1                               the copy off chip stays valid
    (9)  L[a,t] + size[a] <= budget
    (10) L[a,t] >= L[b,t] + size[b] - M (1 - u), L[b,t] >= L[a,t] + size[a] - M (1 - d),
         u + d >= r[a,t] + r[b,t] - 1
    (11) |L[a,t] - L[a,t-1]| <= M (1 - P[a,t])
    (12) least sum (S + R) size                          less what is compulsory
    cut: sum size[a] r[a,t] <= budget                    implied, but not by the relaxation

As published (1) to (12) let tensors be preserved before they exist (2, 3 lack the first step), let
several operators share a step (7), are contradictory for parameters, which no operator creates (5,
6), and are unsound if pairs are left out of (10) by lifetimes while P may go on after the last
use: here P ends with the last use.  (9) holds whether a is there or not, else the relaxation is
worth nothing; an operand that is read twice counts once; steps are not operators.  Sizes and
addresses are in units of the sizes' greatest common divisor, so that no tolerance of a solver hides
an overlap; statuses are :mod:`.backends`'.

Equations 13 to 15, the least peak, are :func:`min_peak`.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from .backends import Backend, Outcome, run
from .bound import reach
from .plan import Plan, Residence, Result, Watch, unwatched
from .problem import Problem


def solve(
    problem: Problem,
    order: Sequence[int] | None = None,
    *,
    free: bool = False,
    capacity_cut: bool = True,
    backend: Backend = "cbc",
    limit: float = 60.0,
    seed: int = 0,
    watch: Watch = unwatched,
) -> Result:
    """The least non-compulsory bytes in ``order`` (None: the default one) or, ``free``, in any.

    Raises :class:`ValueError` for what the program cannot say: double buffering, banks, and
    buffers that are written more than once.
    """
    program = _Program(problem, None if free else tuple(order or range(len(problem.steps))))
    program.transfers()
    program.addresses()
    if capacity_cut:
        program.capacity(program.budget)
    start = time.monotonic()
    found = run(program.model, backend, limit=limit, seed=seed)
    plan = program.plan(found) if found.values else None
    seconds = time.monotonic() - start
    bound = 0
    if math.isfinite(found.bound):
        bound = max(math.ceil(found.bound - 1e-6) * program.unit, 0)
    if plan is not None:
        bound = min(bound, plan.objective) if found.status != "optimal" else plan.objective
        watch(bound, plan.objective, seconds)
    notes = {"variables": len(program.model.variables()), "rows": program.rows}
    return Result(problem, found.status, plan, bound, f"COSMA ({backend})", seconds, seed, notes)


def min_peak(
    problem: Problem, *, backend: Backend = "cbc", limit: float = 60.0, seed: int = 0
) -> tuple[tuple[int, ...], int] | None:
    """The order of least peak and that peak, bytes, if nothing leaves (equations 13 to 15: S = R =
    0 but for what begins off chip, no addresses); None where none was proved in ``limit``
    seconds."""
    import pulp

    program = _Program(problem, None)
    program.transfers(spills=False)
    peak = program.model.add_variable("peak", 0)
    program.model.setObjective(pulp.LpAffineExpression([(peak, 1)]))
    program.capacity(peak)
    found = run(program.model, backend, limit=limit, seed=seed)
    if found.status != "optimal":
        return None
    return program.order_of(found), round(found.objective or 0) * program.unit


@dataclass
class _Program:
    problem: Problem
    order: tuple[int, ...] | None
    """None: any."""
    rows: int = 0
    created: dict[tuple[int, int], Any] = field(default_factory=dict)
    preserved: dict[tuple[int, int], Any] = field(default_factory=dict)
    spilled: dict[tuple[int, int], Any] = field(default_factory=dict)
    retrieved: dict[tuple[int, int], Any] = field(default_factory=dict)
    runs: dict[tuple[int, int], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import pulp

        problem = self.problem
        self.pulp = pulp
        self.model = pulp.LpProblem("cosma", pulp.LpMinimize)
        writes = [b for step in problem.steps for b in step.writes]
        if problem.memory.double_buffered or problem.memory.banks > 1:
            raise ValueError(
                "COSMA's program knows neither double buffering nor banks; take method 'exact'"
            )
        for b in set(writes):
            begins = problem.buffers[b].clean and b not in problem.loads
            if writes.count(b) > 1 or begins:
                raise ValueError(
                    f"{problem.buffers[b].name!r} is overwritten, which COSMA's program does not "
                    "know; take method 'exact', or a graph without views"
                )
        if self.order is not None:
            problem.check_order(self.order)
        self.steps = len(problem.steps)
        self.unit = reduce(math.gcd, (b.size for b in problem.buffers))
        self.size = [b.size // self.unit for b in problem.buffers]
        self.budget = problem.memory.budget // self.unit
        self.users = [
            [s for s, step in enumerate(problem.steps) if b in step.uses]
            for b in range(len(problem.buffers))
        ]
        self._windows()

    def _windows(self) -> None:
        """When each operator may run, and each tensor may be there."""
        self.when: list[range] = []
        if self.order is not None:
            place = {s: t for t, s in enumerate(self.order)}
            self.when = [range(place[s], place[s] + 1) for s in range(self.steps)]
        else:
            earlier, later = reach(self.problem.before)
            self.when = [
                range(a.bit_count(), self.steps - z.bit_count())
                for a, z in zip(earlier, later, strict=True)
            ]
        for s, window in enumerate(self.when):
            for t in window:
                self.runs[s, t] = 1 if self.order is not None else self.variable(f"x_{s}_{t}")
        self.there = [
            range(min(self.when[s].start for s in users), max(self.when[s].stop for s in users))
            for users in self.users
        ]

    def variable(self, name: str) -> Any:
        return self.model.add_variable(name, cat="Binary")

    def add(self, row: Any) -> None:
        if row is True:
            return
        self.rows += 1
        self.model += row

    def sum(self, parts: Any) -> Any:
        return self.pulp.lpSum(list(parts))

    def run(self, s: int, t: int) -> Any:
        return self.runs.get((s, t), 0)

    def resident(self, b: int, t: int) -> Any:
        parts = (self.created, self.preserved, self.retrieved)
        return self.sum(part.get((b, t), 0) for part in parts)

    def transfers(self, spills: bool = True) -> None:
        """(1) to (8), and (12)."""
        problem = self.problem
        if self.order is None:
            for s, window in enumerate(self.when):
                self.add(self.sum(self.run(s, t) for t in window) == 1)
                for before in problem.before[s]:
                    self.add(
                        self.sum(t * self.run(s, t) for t in window)
                        >= self.sum(t * self.run(before, t) for t in self.when[before]) + 1
                    )
            for t in range(self.steps):
                self.add(self.sum(self.run(s, t) for s in range(self.steps)) == 1)
        cost = []
        for b, buffer in enumerate(problem.buffers):
            writer = next((s for s in self.users[b] if b in problem.steps[s].writes), None)
            outside = writer is None
            price = buffer.bytes / self.unit
            for t in self.there[b]:
                if writer is not None and t in self.when[writer]:
                    self.created[b, t] = self.run(writer, t)
                if t > self.there[b].start:
                    self.preserved[b, t] = self.variable(f"P_{b}_{t}")
                if outside or (spills and t > self.there[b].start):
                    self.retrieved[b, t] = self.variable(f"R_{b}_{t}")
                    cost.append((self.retrieved[b, t], price))
                if spills and not buffer.clean and t > self.there[b].start:
                    self.spilled[b, t] = self.variable(f"S_{b}_{t}")
                    if not buffer.delivered:
                        cost.append((self.spilled[b, t], price))
            self._rules(b, buffer.clean, outside, spills)
        compulsory = sum(
            b.bytes / self.unit for i, b in enumerate(problem.buffers)
            if b.clean and i not in problem.loads
        )  # fmt: skip
        self.model.setObjective(self.pulp.LpAffineExpression(cost) - compulsory)

    def _rules(self, b: int, clean: bool, outside: bool, spills: bool) -> None:
        last = self.there[b].stop
        for t in self.there[b]:
            here, before = self.resident(b, t), self.resident(b, t - 1)
            self.add(here + self.spilled.get((b, t), 0) <= 1)
            if (b, t) in self.preserved:
                self.add(self.preserved[b, t] <= before)
                later = self.sum(self.run(s, k) for s in self.users[b] for k in range(t, last))
                self.add(self.preserved[b, t] <= later)
            if (b, t) in self.spilled:
                old = self.created.get((b, t - 1), 0) + self.preserved.get((b, t - 1), 0)
                self.add(self.spilled[b, t] <= old)
            if (b, t) in self.retrieved and not outside:
                if clean:  # once it has been loaded
                    had = self.sum(self.created.get((b, k), 0) for k in range(t))
                else:
                    had = self.sum(self.spilled.get((b, k), 0) for k in range(t + 1))
                self.add(self.retrieved[b, t] <= had)
            for s in self.users[b]:
                if b in self.problem.steps[s].reads and t in self.when[s]:
                    ready = self.preserved.get((b, t), 0) + self.retrieved.get((b, t), 0)
                    self.add(self.run(s, t) <= ready)
        self.add(self.sum(self.spilled.get((b, t), 0) for t in self.there[b]) <= 1)
        if outside and not spills:
            self.add(self.sum(self.retrieved.get((b, t), 0) for t in self.there[b]) <= 1)

    def capacity(self, budget: Any) -> None:
        """The cut."""
        for t in range(self.steps):
            here = [b for b, window in enumerate(self.there) if t in window]
            self.add(self.sum(self.size[b] * self.resident(b, t) for b in here) <= budget)

    def addresses(self) -> None:
        """(9) to (11)."""
        most = self.budget
        self.address = {
            (b, t): self.model.add_variable(f"L_{b}_{t}", 0, most - self.size[b], cat="Integer")
            for b, window in enumerate(self.there)
            for t in window
        }
        for (b, t), here in self.address.items():
            kept = self.preserved.get((b, t))
            if kept is not None:
                before = self.address[b, t - 1]
                self.add(here - before <= most * (1 - kept))
                self.add(before - here <= most * (1 - kept))
        for t in range(self.steps):
            here = [b for b, window in enumerate(self.there) if t in window]
            for i, a in enumerate(here):
                for b in here[i + 1 :]:
                    above, below = self.variable(f"u_{a}_{b}_{t}"), self.variable(f"d_{a}_{b}_{t}")
                    x, y = self.address[a, t], self.address[b, t]
                    self.add(x >= y + self.size[b] - 2 * most * (1 - above))
                    self.add(y >= x + self.size[a] - 2 * most * (1 - below))
                    self.add(above + below >= self.resident(a, t) + self.resident(b, t) - 1)

    def order_of(self, found: Outcome) -> tuple[int, ...]:
        """Steps by their places."""
        if self.order is not None:
            return self.order
        place = {t: s for (s, t), v in self.runs.items() if found.values[v.name] > 0.5}
        return tuple(place[t] for t in range(self.steps))

    def plan(self, found: Outcome) -> Plan:
        """Residences from C or R on, as long as P goes on; cut to their uses."""
        order = self.order_of(found)

        def on(table: dict[tuple[int, int], Any], b: int, t: int) -> bool:
            v = table.get((b, t), 0)
            return bool(v if isinstance(v, int) else found.values.get(v.name, 0) > 0.5)

        residences = []
        for b, window in enumerate(self.there):
            uses = [t for t, s in enumerate(order) if s in self.users[b]]
            groups: list[tuple[int, list[int]]] = []
            for t in window:
                if on(self.created, b, t) or on(self.retrieved, b, t):
                    groups.append((round(found.values.get(self.address[b, t].name, 0)), []))
                if t in uses and groups:
                    groups[-1][1].append(t)
            residences += [
                Residence(b, held[0], held[-1], address * self.unit)
                for address, held in groups
                if held
            ]
        return Plan(self.problem, order, tuple(sorted(residences)))
