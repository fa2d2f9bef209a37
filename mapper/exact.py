"""The exact decomposition at a given order: what stays, by an integer program; where, by search.

*Master*: of every gap between uses of a buffer (:class:`.fixed.Gap`), ``left`` or kept; of every
version that is not off chip, ``stored`` if one of its gaps is left::

    least   sum fetch[g] left[g] + sum store[v] stored[v]
    where   stored[v] >= left[g]                                        g a gap of v
            sum size[g] (1 - left[g] over gaps that cover p) <= budget - required[p]   each p

It knows capacity, not addresses, so its least is a bound.  *Packing* (:mod:`.pack`) then looks for
addresses of what stays.  Where there are none, a conflict among residences comes back, and a cut:
of the gaps kept inside those residences at least one must be left.  The cut takes no solution:
whatever keeps all these gaps has residences that begin no later and end no earlier, at one
address each, so that cutting them down would pack the conflict.  Then again, until it packs.
"""

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from . import pack, rolling
from .backends import Backend, Outcome, run
from .fixed import FixedOrder
from .plan import Plan, Residence, Result, Watch, unwatched
from .problem import Problem

_PACKING = 0.3
"""Share of the time left that one attempt at packing may take while there are others."""
_RESERVE = 0.3
"""Share of the limit that is kept for plans that leave more, where packings are undecided."""


def solve(
    problem: Problem,
    order: Sequence[int] | None = None,
    *,
    backend: Backend = "cbc",
    limit: float = 60.0,
    seed: int = 0,
    watch: Watch = unwatched,
) -> Result:
    """The least non-compulsory bytes of any plan in this order (None: the default one).

    ``optimal`` is proved, addresses included.  Where packing is not decided within its share of
    ``limit`` seconds, other optima of the master are tried, then plans that leave more; what is
    found then is ``feasible``, with the bound.  ``infeasible`` where not even what is in use can
    be packed, with the buffers in conflict.  Raises :class:`.problem.BudgetError` where that
    exceeds the budget.
    """
    fixed = FixedOrder(problem, order)
    search = _Search(fixed, backend, limit, seed, watch)
    try:
        return search.run()
    except KeyboardInterrupt:
        return search.result("feasible" if search.best else "unknown")


def rectangles(plan: Plan) -> list[pack.Rectangle]:
    """What the packer is asked for a plan's residences, in their order; addresses are not used."""
    memory, buffers = plan.problem.memory, plan.problem.buffers
    found = []
    for residence in plan.residences:
        when, buffer = plan.occupied(residence), buffers[residence.buffer]
        found.append(
            pack.Rectangle(when.start, when.stop, buffer.size, buffer.name, memory.alignment)
        )
    return found


@dataclass
class _Search:
    fixed: FixedOrder
    backend: Backend
    limit: float
    seed: int
    watch: Watch
    begun: float = field(default_factory=time.monotonic)
    best: Plan | None = None
    bound: int = 0
    cuts: list[tuple[int, ...]] = field(default_factory=list)
    """Gaps of which one at least must be left."""
    seen: list[frozenset[int]] = field(default_factory=list)
    """Sets of left gaps whose packing is undecided."""
    conflict: tuple[str, ...] = ()
    rounds: int = 0
    packing: float = 0.0

    def left(self) -> float:
        return self.limit - (time.monotonic() - self.begun)

    def run(self) -> Result:
        while self.left() > (self.limit * _RESERVE if self.seen else 0):
            self.rounds += 1
            found = self.master()
            if found.status == "infeasible":
                if not self.seen:
                    return self.result("infeasible")
                break
            if found.status == "optimal" and not self.seen:
                self.bound = round(found.objective or 0)
            elif found.status == "feasible" and not self.seen and math.isfinite(found.bound):
                self.bound = max(self.bound, math.ceil(found.bound - 1e-6))
            if found.status == "unknown":
                break
            left = self.chosen(found)
            if self.best is not None and self.fixed.cost(left) >= self.best.objective:
                break
            if self.place(left):
                break
            if self.cuts and not self.cuts[-1]:  # what is in use cannot be packed
                return self.result("infeasible")
        if self.best is None:
            self.fallback()
        if self.best is None:
            return self.result("unknown")
        return self.result("optimal" if self.best.objective == self.bound else "feasible")

    def fallback(self) -> None:
        """Some plan, where the least could not be placed: as if there were ever less memory."""
        budget = self.fixed.problem.memory.budget
        patience = max(self.limit * _RESERVE / 10, 0.2)
        for share in (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2, 0.35):
            # Where more is in use than that, what is in use is the capacity.
            outcome = self.master(int(budget * (1 - share)), patient=False)
            if outcome.status in ("optimal", "feasible") and self.place(
                self.chosen(outcome), patience
            ):
                return
        self.place(frozenset(range(len(self.fixed.gaps))), patience)

    def place(self, left: frozenset[int], patience: float | None = None) -> bool:
        """Looks for addresses, ``patience`` seconds; keeps the plan, or a cut, or that it is
        undecided."""
        plan = self.fixed.plan(left, [0] * len(self.fixed.residences(left)))
        memory = self.fixed.problem.memory
        wanted, start = rectangles(plan), time.monotonic()
        limit = patience if patience is not None else max(self.left() * _PACKING, 0.05)
        found = rolling.place(
            wanted, memory.budget, bank=memory.bank if memory.banks > 1 else None,
            limit=limit, seed=self.seed,
        )  # fmt: skip
        self.packing += time.monotonic() - start
        if found.status == "packed":
            plan = self.fixed.plan(left, found.offsets)
            if self.best is None or plan.objective < self.best.objective:
                self.best = plan
                self.watch(self.bound, plan.objective, time.monotonic() - self.begun)
            return True
        if found.status == "infeasible":
            residences = [plan.residences[i] for i in found.conflict]
            self.conflict = tuple(self.fixed.problem.buffers[r.buffer].name for r in residences)
            self.cuts.append(self.inside(residences, left))
        else:
            self.seen.append(left)
        return False

    def inside(self, residences: Sequence[Residence], left: Collection[int]) -> tuple[int, ...]:
        """The kept gaps that make these residences as long as they are."""
        spans = {(r.buffer, r.first, r.last) for r in residences}
        return tuple(
            i
            for i, gap in enumerate(self.fixed.gaps)
            if i not in left
            and any(b == gap.buffer and a <= gap.first and gap.last <= z for b, a, z in spans)
        )

    def chosen(self, found: Outcome) -> frozenset[int]:
        names = {f"left_{i}": i for i in range(len(self.fixed.gaps))}
        return frozenset(i for name, i in names.items() if found.values.get(name, 0.0) > 0.5)

    def master(self, capacity: int | None = None, patient: bool = True) -> Outcome:
        budget = self.fixed.problem.memory.budget if capacity is None else capacity
        model = master(self.fixed, budget, self.cuts, self.seen if patient else ())
        if model is None:
            return Outcome("optimal", 0.0, 0.0, {}, 0.0)
        scale = model.scale
        found = run(model, self.backend, limit=max(self.left(), 0.5), seed=self.seed)
        values = found.objective
        return Outcome(
            found.status, None if values is None else values * scale, found.bound * scale,
            found.values, found.seconds,
        )  # fmt: skip

    def result(self, status: Any) -> Result:
        seconds = time.monotonic() - self.begun
        notes = {
            "gaps": len(self.fixed.gaps), "rounds": self.rounds, "cuts": len(self.cuts),
            "undecided": len(self.seen), "packing_seconds": round(self.packing, 3),
        }  # fmt: skip
        conflict = self.conflict if status == "infeasible" else ()
        return Result(
            self.fixed.problem, status, self.best, self.bound, f"exact ({self.backend}, pack)",
            seconds, self.seed, notes, conflict,
        )  # fmt: skip


def critical(fixed: FixedOrder, budget: int) -> list[tuple[int, tuple[int, ...]]]:
    """Positions at which not every gap can be kept: free bytes, and the gaps that cover it.

    None is free where what is in use takes more than ``budget``.

    Those that another one implies, with as many gaps and no more room, are left out.
    """
    covering: list[list[int]] = [[] for _ in fixed.required]
    for i, gap in enumerate(fixed.gaps):
        for position in gap.freed:
            covering[position].append(i)
    rows: dict[tuple[int, ...], int] = {}
    for position, gaps in enumerate(covering):
        free = max(budget - fixed.required[position], 0)
        sizes = sum(fixed.problem.buffers[fixed.gaps[i].buffer].size for i in gaps)
        if sizes > free:
            key = tuple(gaps)
            rows[key] = min(free, rows.get(key, free))
    sets = {key: frozenset(key) for key in rows}
    return [
        (free, key)
        for key, free in rows.items()
        if not any(
            other != key and sets[key] < sets[other] and rows[other] <= free for other in rows
        )
    ]


def master(
    fixed: FixedOrder,
    budget: int,
    cuts: Sequence[tuple[int, ...]] = (),
    seen: Collection[frozenset[int]] = (),
) -> Any:
    """The master as a ``pulp.LpProblem``, its objective divided by its attribute ``scale``; None
    where all can be kept and nothing forbids it."""
    import pulp

    rows = critical(fixed, budget)
    if not rows and not cuts and not seen:
        return None
    matter = {i for _, gaps in rows for i in gaps} | {i for cut in cuts for i in cut}
    if seen:
        matter = set(range(len(fixed.gaps)))
    gaps = fixed.gaps
    model = pulp.LpProblem("master", pulp.LpMinimize)
    left = {i: model.add_variable(f"left_{i}", cat="Binary") for i in sorted(matter)}
    stored: dict[tuple[int, int], Any] = {}
    terms = []
    costs = [c for i in left for c in (gaps[i].fetch, gaps[i].store) if c]
    scale = reduce(math.gcd, costs) if costs else 1
    for i, variable in left.items():
        gap = gaps[i]
        terms.append((variable, gap.fetch // scale))
        if gap.store:
            name = gap.buffer, gap.version
            if name not in stored:
                stored[name] = model.add_variable(f"stored_{gap.buffer}_{gap.version}", 0, 1)
                terms.append((stored[name], gap.store // scale))
            model += stored[name] >= variable
    model.setObjective(pulp.LpAffineExpression(terms))
    for free, covering in rows:
        sizes = [fixed.problem.buffers[gaps[i].buffer].size for i in covering]
        # Kept sizes fit into what is free: left sizes make up for the rest.
        step = reduce(math.gcd, sizes)
        need = sum(sizes) // step - free // step
        terms = [(left[i], min(s // step, need)) for i, s in zip(covering, sizes, strict=True)]
        model += pulp.LpAffineExpression(terms) >= need
    for cut in cuts:
        model += pulp.lpSum(left[i] for i in cut) >= 1
    for solution in seen:
        model += pulp.lpSum(1 - v if i in solution else v for i, v in left.items()) >= 1
    model.scale = scale
    return model
