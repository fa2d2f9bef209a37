"""What other schedulers do, as strong as it can be made: layer by layer, and Belady's rule with
two sorts of placement.

Each takes an order of the steps (:mod:`.orders`) and gives a full plan, so that it is replayed
and counted like any other.
"""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import pack
from .fixed import FixedOrder
from .plan import Plan, Residence, Result
from .problem import Problem

STEP = 0.005
"""By what share of the budget, at least, the capacity falls from one attempt to the next."""


def belady(
    fixed: FixedOrder, capacity: int | None = None, cost_aware: bool = False
) -> frozenset[int]:
    """Places in ``fixed.gaps`` of those that are left so that no position holds more than
    ``capacity`` bytes (None: the budget); addresses are not looked at.

    Position by position, while there is too much, the buffer whose next use is furthest leaves,
    among equals one that need not be stored first, then the largest.  With ``cost_aware`` the one
    that frees the most bytes × positions for each byte of transfer leaves instead, and at the end
    what fits after all stays, the dearest first.  Raises :class:`ValueError` where what is in use
    alone exceeds the capacity.
    """
    if capacity is None:
        capacity = fixed.problem.memory.budget
    if capacity < max(fixed.required):
        raise ValueError(
            f"a capacity of {capacity} bytes is less than the {max(fixed.required)} in use at one "
            "position; take that or more"
        )
    sizes = [fixed.problem.buffers[gap.buffer].size for gap in fixed.gaps]
    opens: dict[int, list[int]] = {}
    for i, gap in enumerate(fixed.gaps):
        opens.setdefault(gap.freed.start, []).append(i)
    stored: dict[tuple[int, int], int] = {}
    """How many gaps each stored version pays for."""
    kept: set[int] = set()
    left: set[int] = set()

    def cost(i: int) -> int:
        gap = fixed.gaps[i]
        return gap.fetch + (0 if stored.get((gap.buffer, gap.version)) else gap.store)

    for position, load in enumerate(fixed.required):
        kept = {i for i in kept if position < fixed.gaps[i].freed.stop}
        kept.update(opens.get(position, ()))
        load += sum(sizes[i] for i in kept)

        def merit(i: int, here: int = position) -> tuple[float, ...]:
            away = fixed.gaps[i].last - here
            if cost_aware:
                return away * sizes[i] / cost(i), sizes[i], -i
            return away, fixed.gaps[i].fetch - cost(i), sizes[i], -i

        while load > capacity:
            worst = max(kept, key=merit)
            kept.remove(worst)
            left.add(worst)
            gap = fixed.gaps[worst]
            stored[gap.buffer, gap.version] = stored.get((gap.buffer, gap.version), 0) + 1
            load -= sizes[worst]
    if cost_aware:
        _keep_what_fits(fixed, left, stored, capacity)
    return frozenset(left)


def _keep_what_fits(
    fixed: FixedOrder, left: set[int], stored: dict[tuple[int, int], int], capacity: int
) -> None:
    """Takes from ``left`` what there is room for at all its positions."""
    free = [capacity - load for load in _loads(fixed, left)]

    def saved(i: int) -> int:
        gap = fixed.gaps[i]
        return gap.fetch + (gap.store if stored[gap.buffer, gap.version] == 1 else 0)

    for i in sorted(left, key=lambda i: (-saved(i), i)):
        gap = fixed.gaps[i]
        size = fixed.problem.buffers[gap.buffer].size
        if all(free[p] >= size for p in gap.freed):
            left.remove(i)
            stored[gap.buffer, gap.version] -= 1
            for p in gap.freed:
                free[p] -= size


def _loads(fixed: FixedOrder, left: set[int] | frozenset[int]) -> list[int]:
    """Bytes in the scratchpad at each position."""
    loads = list(fixed.required)
    for i, gap in enumerate(fixed.gaps):
        if i not in left:
            for p in gap.freed:
                loads[p] += fixed.problem.buffers[gap.buffer].size
    return loads


def layer_by_layer(problem: Problem) -> Result:
    """Nothing stays on chip between operators, as in simulators that treat each layer alone.

    Steps run in the default order, except that what a ``load`` brings is brought when it is first
    used.  With double buffering, what the next operators use stays: there is no time for it to
    leave and come back.
    """
    began = time.perf_counter()
    order = _late_loads(problem)
    if problem.memory.double_buffered:
        fixed = FixedOrder(problem, order)
        residences = fixed.residences(range(len(fixed.gaps)))
    else:
        residences = _apart(problem, order)
    plan = Plan(problem, order, residences)
    placed = _greedy(plan).plan or _packed(plan, 10, 0).plan
    return _result("layer by layer", placed, problem, began)


def belady_greedy(
    problem: Problem, order: Sequence[int] | None = None, cost_aware: bool = False
) -> Result:
    """Belady's rule, and buffers placed greedily: by size, the largest first, each as low as it
    goes, as TFLite does; as :func:`_fitted` says."""
    return _fitted("greedy by size", _greedy, problem, order, cost_aware)


def belady_packed(
    problem: Problem,
    order: Sequence[int] | None = None,
    cost_aware: bool = False,
    limit: float = 10,
    seed: int = 0,
) -> Result:
    """Belady's rule, and buffers placed by search, ``limit`` seconds in all, a quarter of them for
    one attempt at most, and greedily after that; as :func:`_fitted` says."""
    until = time.perf_counter() + limit

    def packed(plan: Plan) -> _Placed:
        return _packed(plan, min(until - time.perf_counter(), limit / 4), seed)

    return _fitted("packed", packed, problem, order, cost_aware, seed)


def baselines(
    problem: Problem, orders: Mapping[str, Sequence[int]], limit: float = 10, seed: int = 0
) -> dict[str, Result]:
    """Every baseline under every of these orders, by name."""
    found = {"layer by layer": layer_by_layer(problem)}
    for name, order in orders.items():
        for aware in (False, True):
            for made in (
                belady_greedy(problem, order, aware),
                belady_packed(problem, order, aware, limit, seed),
            ):
                found[f"{made.solver}, {name} order"] = made
    return found


Place = Callable[[Plan], "_Placed"]
"""Gives a plan addresses."""


@dataclass(frozen=True)
class _Placed:
    plan: Plan | None
    """None where the addresses exceed the budget, or none were found."""
    height: int | None = None
    """Bytes that the placement takes, if known."""
    culprits: tuple[int, ...] = ()
    """Where there is no plan: residences that are in one another's way."""


def _fitted(
    placement: str,
    place: Place,
    problem: Problem,
    order: Sequence[int] | None,
    cost_aware: bool,
    seed: int = 0,
) -> Result:
    """What Belady's rule leaves, and more until ``place`` gets it into the budget.

    More leaves in two ways, of which the one with fewer bytes counts: the capacity for Belady's
    rule falls; or, one after the other, what is in the way of what was not placed leaves.

    Notes: ``height``, the bytes that were taken when the capacity was the whole budget, where
    known, and ``share``, its part of the budget (above 1: it did not fit); ``capacity``, the
    one that fitted, None where none did; ``cuts``, how often something left the second way.
    """
    began = time.perf_counter()
    fixed = FixedOrder(problem, order)
    budget = problem.memory.budget
    plan = Plan(problem, fixed.order, fixed.residences(belady(fixed, budget, cost_aware)))
    placed = place(plan)
    notes: dict[str, Any] = {"height": placed.height, "share": None}
    if placed.height is not None:
        notes["share"] = placed.height / budget
    if placed.plan is not None:
        notes |= {"capacity": budget, "cuts": 0}
    else:
        lowered, capacity = _lowered(fixed, place, cost_aware)
        cut, cuts = _cut(plan, placed, place, cost_aware)
        found = [p for p in (lowered, cut) if p is not None]
        placed = _Placed(min(found, key=lambda p: p.objective, default=None))
        notes |= {"capacity": capacity, "cuts": cuts}
    rule = "cost-aware Belady" if cost_aware else "Belady"
    return _result(f"{rule}, {placement}", placed.plan, problem, began, seed, notes)


def _lowered(fixed: FixedOrder, place: Place, cost_aware: bool) -> tuple[Plan | None, int | None]:
    """The plan of the highest capacity below the budget with which there is one."""
    problem, least = fixed.problem, max(fixed.required)
    capacity, seen = problem.memory.budget, set[frozenset[int]]()
    while True:
        left = belady(fixed, capacity, cost_aware)
        if seen and left not in seen:
            placed = place(Plan(problem, fixed.order, fixed.residences(left))).plan
            if placed is not None:
                return placed, capacity
        seen.add(left)
        if capacity == least:
            return None, None
        lower = min(max(_loads(fixed, left)) - 1, capacity - int(STEP * problem.memory.budget))
        capacity = max(lower, least)


def _cut(plan: Plan, placed: _Placed, place: Place, cost_aware: bool) -> tuple[Plan | None, int]:
    """The plan in which residences that are in the way were cut in two until all fit, and how
    often; uses of neighbours in the order may be cut apart, too."""
    problem = plan.problem
    nearest = 3 if problem.memory.double_buffered else 1
    uses = _uses(problem, plan.order)
    for cuts in itertools.count():
        if placed.plan is not None:
            return placed.plan, cuts
        stored = {r.buffer for r in plan.residences if plan.by_buffer[r.buffer][-1] != r}
        best: tuple[tuple[float, ...], int, int, int] | None = None
        low = min((plan.residences[i].first for i in placed.culprits[:1]), default=0)
        high = max((plan.residences[i].last for i in placed.culprits[:1]), default=len(plan.order))
        for i in placed.culprits:
            r = plan.residences[i]
            buffer = problem.buffers[r.buffer]
            inside = [u for u in uses[r.buffer] if r.first <= u <= r.last]
            for a, b in itertools.pairwise(inside):
                if b - a < nearest or b <= low or a >= high + (low == high):
                    continue
                dirty = not (buffer.clean or buffer.delivered or r.buffer in stored)
                cost = buffer.bytes * (1 + dirty)
                merit: tuple[float, ...] = (b - a, -dirty, buffer.size)
                if cost_aware:
                    merit = ((b - a) * buffer.size / cost, buffer.size)
                if best is None or (merit, -i) > best[:2]:
                    best = (merit, -i, a, b)
        if best is None:
            return None, cuts
        _, i, a, b = best
        r = plan.residences[-i]
        parts = (replace(r, last=a), replace(r, first=b))
        others = (other for other in plan.residences if other != r)
        plan = Plan(problem, plan.order, tuple(sorted((*others, *parts))))
        placed = place(plan)
    raise AssertionError


def _result(
    name: str,
    plan: Plan | None,
    problem: Problem,
    began: float,
    seed: int = 0,
    notes: dict[str, Any] | None = None,
) -> Result:
    status = "unknown" if plan is None else "feasible"
    return Result(problem, status, plan, 0, name, time.perf_counter() - began, seed, notes or {})


def _late_loads(problem: Problem) -> tuple[int, ...]:
    """The default order, with every ``load`` right before the first step that depends on it."""
    late = {s for s, step in enumerate(problem.steps) if step.writes and not step.reads
            and problem.loads.issuperset(step.writes)}  # fmt: skip
    order: list[int] = []
    done: set[int] = set()

    def emit(s: int) -> None:
        if s in done:
            return
        done.add(s)
        for other in sorted(late & problem.before[s]):
            emit(other)
        order.append(s)

    for s in range(len(problem.steps)):
        if s not in late:
            emit(s)
    for s in sorted(late):
        emit(s)
    return tuple(order)


def _apart(problem: Problem, order: Sequence[int]) -> tuple[Residence, ...]:
    """A residence for each use; what is loaded stays until its first use where only loads for the
    same step come between."""
    found = []
    for b, positions in enumerate(_uses(problem, order)):
        start = positions[0]
        if b in problem.loads and len(positions) > 1:
            needed = set(problem.steps[order[positions[1]]].uses)
            between = order[start : positions[1]]
            if all(needed.issuperset(problem.steps[s].uses) for s in between):
                found.append(Residence(b, start, positions[1]))
                positions = positions[2:]
        found += [Residence(b, p, p) for p in positions]
    return tuple(sorted(found))


def _uses(problem: Problem, order: Sequence[int]) -> list[list[int]]:
    """Of every buffer the positions that use it."""
    uses: list[list[int]] = [[] for _ in problem.buffers]
    for position, s in enumerate(order):
        for b in problem.steps[s].uses:
            uses[b].append(position)
    return uses


def _greedy(plan: Plan) -> _Placed:
    memory = plan.problem.memory
    rectangles, bank = _rectangles(plan), _bank(plan.problem)
    tried = [pack.greedy_by_size(rectangles, bank, gap) for gap in ("first", "best")]
    offsets = min(tried, key=lambda offsets: pack.height(rectangles, offsets))
    height = pack.height(rectangles, offsets)
    if height <= memory.budget:
        return _Placed(_at(plan, offsets), height)
    over = (i for i, r in enumerate(rectangles) if offsets[i] + r.size > memory.budget)
    largest = max(over, key=lambda i: rectangles[i].size)
    others = (i for i, r in enumerate(rectangles) if i != largest and _meet(r, rectangles[largest]))
    return _Placed(None, height, (largest, *others))


def _packed(plan: Plan, limit: float, seed: int) -> _Placed:
    greedy = _greedy(plan)
    if greedy.plan is not None or limit <= 0:
        return greedy
    found = pack.pack(
        _rectangles(plan), plan.problem.memory.budget, bank=_bank(plan.problem), limit=limit,
        seed=seed,
    )  # fmt: skip
    if found.status == "packed":
        placed = _at(plan, found.offsets)
        return _Placed(placed, placed.peak)
    # What was not decided is as good as infeasible, with the greedy placement's culprits.
    return _Placed(None, None, found.conflict or greedy.culprits)


def _bank(problem: Problem) -> int | None:
    return problem.memory.bank if problem.memory.banks > 1 else None


def _meet(a: pack.Rectangle, b: pack.Rectangle) -> bool:
    return a.start < b.stop and b.start < a.stop


def _rectangles(plan: Plan) -> list[pack.Rectangle]:
    found = []
    for residence in plan.residences:
        occupied = plan.occupied(residence)
        size = plan.problem.buffers[residence.buffer].size
        found.append(pack.Rectangle(occupied.start, occupied.stop, size))
    return found


def _at(plan: Plan, offsets: Sequence[int]) -> Plan:
    """With these addresses."""
    residences = zip(plan.residences, offsets, strict=True)
    return replace(plan, residences=tuple(replace(r, address=a) for r, a in residences))
