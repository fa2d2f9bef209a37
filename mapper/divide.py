"""Divide and conquer: orders of graphs that are too large to prove one the best.

*Divide*: an order is cut where the least lies across, and each piece is annealed (:mod:`.anneal`)
with the others as they are.  *Conquer*: the whole is annealed, at first as hot.  Several begin
side by side, from the default order, greedy ones and that of least peak; the best orders get their
exact residences and addresses (:mod:`.exact`).  Bounds hold for all orders: :mod:`.bound`'s, and
that of parts that are solved exactly (:mod:`.parts`).
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import bound, exact, orders, parts
from .anneal import Annealed, anneal
from .backends import Backend
from .fixed import FixedOrder
from .parts import pieces
from .plan import Plan, Result, Watch, unwatched
from .problem import BudgetError, Problem

PIECE = 120
"""Steps of a piece, about."""
MOVES = 2_000
"""Of a step, in each of both phases: a quarter of them for its piece."""
STARTS = 6
"""Orders that are annealed at first, unless time is up; more where the best are not packed."""


def solve(
    problem: Problem,
    *,
    limit: float = 120.0,
    seed: int = 0,
    workers: int = 2,
    start: Sequence[Sequence[int]] = (),
    backend: Backend = "cbc",
    watch: Watch = unwatched,
) -> Result:
    """A plan of few non-compulsory bytes over all orders, and a bound for them.

    ``workers`` orders at once; ``start``: more orders to begin with.  The same for the same seed,
    as long as ``limit`` seconds suffice.  ``optimal`` where the bound is reached.  Raises
    :class:`.problem.BudgetError` where no order keeps the budget.
    """
    begun = time.monotonic()
    search = _Search(problem, begun, limit, seed, backend, watch)
    try:
        search.run(workers, start)
    except KeyboardInterrupt:
        search.interrupted = True
    search.notes["interrupted"] = search.interrupted
    return search.result()


@dataclass
class _Search:
    problem: Problem
    begun: float
    limit: float
    seed: int
    backend: Backend
    watch: Watch

    def __post_init__(self) -> None:
        self.bound = 0
        self.best: Plan | None = None
        self.least: int | None = None
        self.notes: dict[str, object] = {}
        self.interrupted = False
        self.found: list[Annealed] = []
        self.tried: set[orders.Order] = set()

    def run(self, workers: int, start: Sequence[Sequence[int]]) -> None:
        self.bound = bound.any_order(self.problem, min(self.limit / 10, 10.0), self.backend)
        given = [tuple(order) for order in start if _keeps(self.problem, order)]
        first = list(dict.fromkeys([*given, *self.beginnings()]))
        followed = [Annealed(order, _followed(self.problem, order)) for order in first]
        begin = 0
        for count in (STARTS, *[max(workers, 1)] * STARTS):
            spent = time.monotonic() - self.begun
            if begin and (self.interrupted or self.placed or spent > 0.5 * self.limit):
                break
            jobs = [(first[i % len(first)], i) for i in range(begin, begin + count)]
            self.place([*self.together(jobs, workers), *followed])
            begin += count
        self.notes |= {"orders": begin, "annealed": self.cheapest.cost, "placed": len(self.tried)}
        if not self.interrupted:
            self.tighten(self.cheapest.order)

    @property
    def placed(self) -> bool:
        """Whether addresses were found for the cheapest order."""
        return self.best is not None and self.best.objective <= self.cheapest.cost

    @property
    def cheapest(self) -> Annealed:
        """Of all orders so far."""
        return min(self.found, key=_merit)

    def together(self, jobs: Sequence[tuple[orders.Order, int]], workers: int) -> list[Annealed]:
        """Orders to begin with, and their numbers, annealed side by side."""
        # Exact residences, addresses and the bound come after.
        deadline = self.begun + 0.6 * self.limit
        with ThreadPoolExecutor(max(workers, 1)) as pool:
            futures = [
                pool.submit(self.annealed, order, 1000 * self.seed + 2 * i, deadline)
                for order, i in jobs
            ]
            try:
                return [future.result() for future in futures]
            except KeyboardInterrupt:  # what there is gets its addresses
                self.interrupted = True
                return [future.result() for future in futures if not future.cancel()]

    def beginnings(self) -> list[orders.Order]:
        """Orders that keep the budget; raises where none does."""
        problem = self.problem
        peak = orders.min_peak(problem, min(self.limit / 10, 10.0))
        found = [orders.depth_first(problem), peak.order, orders.greedy(problem)]
        found = [order for order in [*found, orders.default(problem)] if _keeps(problem, order)]
        if not found:
            FixedOrder(problem, peak.order)  # says what is wrong
        return list(dict.fromkeys(found))

    def annealed(self, order: orders.Order, seed: int, deadline: float) -> Annealed:
        """Pieces, then the whole."""
        steps = len(self.problem.steps)
        found = Annealed(order, _followed(self.problem, order))
        for piece in pieces(self.problem, order, PIECE):
            length = piece[1] - piece[0]
            found = anneal(
                self.problem, found.order, within=piece, moves=MOVES * length // 4, seed=seed,
                deadline=deadline, told=self.told(), stopped=lambda: self.interrupted,
            )  # fmt: skip
        return anneal(
            self.problem, found.order, moves=MOVES * steps, seed=seed + 1, deadline=deadline,
            told=self.told(), stopped=lambda: self.interrupted,
        )  # fmt: skip

    def told(self) -> Callable[[int], None]:
        """Passes on what falls below all before; addresses are still to be found."""

        def hear(cost: int) -> None:
            if self.least is None or cost < self.least:
                self.least = cost
                self.watch(self.bound, cost, time.monotonic() - self.begun)

        return hear

    def place(self, more: Sequence[Annealed]) -> None:
        """Exact plans of the best orders, until none that is left may be better."""
        self.found += more
        for order in sorted(self.found, key=_merit):
            left = self.limit - (time.monotonic() - self.begun)
            if self.best is not None and (order.cost >= self.best.objective or left <= 0):
                break
            if order.order in self.tried:
                continue
            self.tried.add(order.order)
            result = exact.solve(
                self.problem, order.order, backend=self.backend, limit=max(left / 8, 2.0),
                seed=self.seed,
            )  # fmt: skip
            if result.plan is None:
                continue
            if self.best is None or result.plan.objective < self.best.objective:
                self.best = result.plan
                self.watch(self.bound, self.best.objective, time.monotonic() - self.begun)

    def tighten(self, order: Sequence[int]) -> None:
        """The bound, in a share of the time that is left."""
        spent = time.monotonic() - self.begun
        left = min(0.95 * self.limit - spent, 0.3 * self.limit)
        enough = self.best.objective if self.best is not None else 1 << 62
        if self.bound >= enough or left <= 0:
            return

        def told(found: int) -> None:
            self.bound = max(self.bound, found)
            known = None if self.best is None else self.best.objective
            self.watch(self.bound, known, time.monotonic() - self.begun)

        parts.any_order(self.problem, order, limit=left, enough=enough, told=told)

    def result(self) -> Result:
        seconds = time.monotonic() - self.begun
        if self.best is None:
            return Result(
                self.problem, "unknown", None, self.bound, "divide", seconds, self.seed, self.notes
            )
        status = "optimal" if self.best.objective == self.bound else "feasible"
        return Result(
            self.problem, status, self.best, self.bound, "divide (anneal, pack)", seconds,
            self.seed, self.notes,
        )  # fmt: skip


def _merit(found: Annealed) -> tuple[int, orders.Order]:
    return found.cost, found.order


def _keeps(problem: Problem, order: Sequence[int]) -> bool:
    try:
        FixedOrder(problem, order)
    except BudgetError:
        return False
    return True


def _followed(problem: Problem, order: Sequence[int]) -> int:
    return anneal(problem, order, moves=0).cost
