"""Joint free order: enumeration of small problems, published optima, conflicts, limits, Ctrl-C."""

import gc
import itertools
import os
import random
import signal
import threading
from collections.abc import Iterator

import pytest
from thresher.mapper import exact, free, pack
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.graph_json import read
from thresher.mapper.pack.search import Packing
from thresher.mapper.plan import Plan
from thresher.mapper.problem import BudgetError, Memory, Problem, lower
from thresher.models import data

PROVED = {
    "light_shufflenet": 37_632,
    "light_densenet121": 1_404_928,
    "tv_densenet121": 1_204_224,
    "tv_vit_b_16": 3_631_104,
    "tv_r2plus1d_18": 51_380_224,
    "tv_transformer": 2_031_616,
}
"""Bytes at M_R."""


def needs(backend: str) -> None:
    if backend in ("cp-sat", "highs"):
        pytest.importorskip(
            "ortools" if backend == "cp-sat" else "highspy", reason="needs the extra [ortools]"
        )


def at_floor(name: str) -> Problem:
    try:
        graph = read(data.path(f"graphs/{name}.json"))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    return lower(graph, Memory(lower(graph, Memory(1 << 40)).floor))


def valid(plan: Plan) -> None:
    memory = plan.problem.memory
    plan.problem.check_order(plan.order)
    pack.validate(
        exact.rectangles(plan), [r.address for r in plan.residences], memory.budget,
        memory.bank if memory.banks > 1 else None,
    )  # fmt: skip


def orders(problem: Problem) -> Iterator[tuple[int, ...]]:
    """All."""

    def extend(done: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(done) == len(problem.steps):
            yield done
        for step, before in enumerate(problem.before):
            if step not in done and before <= set(done):
                yield from extend((*done, step))

    return extend(())


def load(fixed: FixedOrder, left: frozenset[int]) -> int:
    """The most bytes at one position."""
    loads = list(fixed.required)
    for i, gap in enumerate(fixed.gaps):
        if i not in left:
            for p in gap.freed:
                loads[p] += fixed.problem.buffers[gap.buffer].size
    return max(loads)


def has_places(plan: Plan, known: dict[object, bool]) -> bool:
    """Tries every multiple of the alignment, the largest first; ``known`` by what meets what."""
    memory = plan.problem.memory
    rectangles = sorted(exact.rectangles(plan), key=lambda r: (-r.size, r.start, r.stop))
    bank = memory.bank if memory.banks > 1 else None
    meets = [
        [j for j in range(i) if rectangles[j].start < r.stop and r.start < rectangles[j].stop]
        for i, r in enumerate(rectangles)
    ]
    placed: list[int] = []

    def fits() -> bool:
        if len(placed) == len(rectangles):
            return True
        place, size = len(placed), rectangles[len(placed)].size
        for start in range(0, memory.budget - size + 1, memory.alignment):
            if bank and (start % bank if size > bank else start % bank + size > bank):
                continue
            if all(
                placed[j] + rectangles[j].size <= start or start + size <= placed[j]
                for j in meets[place]
            ):
                placed.append(start)
                if fits():
                    return True
                placed.pop()
        return False

    key = tuple((r.size, tuple(m)) for r, m in zip(rectangles, meets, strict=True))
    if key not in known:
        known[key] = fits()
    return known[key]


def enumerated(problem: Problem, places: bool = True) -> int | None:
    """The least bytes over all orders and all sets of gaps; with ``places``, that have some."""
    found: list[tuple[int, tuple[int, ...], frozenset[int]]] = []
    for order in orders(problem):
        try:
            fixed = FixedOrder(problem, order)
        except BudgetError:
            continue
        for n in range(len(fixed.gaps) + 1):
            for chosen in itertools.combinations(range(len(fixed.gaps)), n):
                left = frozenset(chosen)
                if load(fixed, left) <= problem.memory.budget:
                    found.append((fixed.cost(left), order, left))
    known: dict[object, bool] = {}
    for cost, order, left in sorted(found, key=lambda f: f[0]):
        fixed = FixedOrder(problem, order)
        plan = fixed.plan(left, [0] * len(fixed.residences(left)))
        if not places or has_places(plan, known):
            return cost
    return None


def drawn(rng: random.Random, double_buffered: bool = False, steps: int = 6) -> Problem:
    """Random, with branches, several results, results in place and parts of one buffer."""
    tensors, ops = [Tensor("x", rng.randint(1, 5))], [Op("x", "load", (), ("x",))]
    inputs = ()
    if rng.random() < 0.4:
        tensors.append(Tensor("shared", rng.randint(1, 4)))
        inputs = ("shared",)
    overwritten: set[str] = set()
    for i in range(rng.randint(3, steps)):
        readable = [t.name for t in tensors]
        read = sorted(rng.sample(readable, min(rng.choice([1, 1, 2, 3]), len(readable))))
        results, style = [f"t{i}"], rng.random()
        if style < 0.2:
            results.append(f"t{i}b")
        size = rng.randint(1, 5)
        if 0.2 <= style < 0.4 and read[0] not in overwritten:
            # In place: over an operand, as graphs allow it.
            overwritten.add(read[0])
            old = next(t for t in tensors if t.name == read[0])
            tensors.append(Tensor(f"t{i}", old.bytes, view=old.name))
        else:
            tensors += [Tensor(name, size) for name in results]
        ops.append(Op(f"o{i}", "f", tuple(read), tuple(results), rng.choice([0, 0, 2])))
    graph = Graph("drawn", tensors, ops, inputs)
    alignment, banks = rng.choice([(1, 1), (1, 1), (2, 1), (1, 2)])
    step, parameters = alignment * banks, rng.random() < 0.5
    whole = lower(graph, Memory(1 << 20, alignment, banks, double_buffered), parameters)
    fixed = FixedOrder(whole)
    need = whole.floor if rng.random() < 0.2 else max(fixed.required)
    least = -(-need // step) * step
    most = max(least, fixed.peak - 1 if double_buffered else (least + fixed.peak) // 2)
    budget = rng.randrange(least, most + 1, step)
    return lower(graph, Memory(budget, alignment, banks, double_buffered), parameters)


@pytest.mark.parametrize(
    ("backend", "number", "double_buffered"),
    [
        ("auto", 60, False), ("cp-sat", 6, False), ("cbc", 6, False), ("highs", 6, False),
        ("auto", 4, True), ("cp-sat", 1, True), ("cbc", 1, True), ("highs", 1, True),
    ],
)  # fmt: skip
def test_small_problems_against_enumeration(backend, number, double_buffered) -> None:
    needs(backend)
    rng, others, seen = random.Random(3), 0, set()
    while others < number:
        problem = drawn(rng, double_buffered)
        quick = free.solve(problem, backend="states")
        if not quick.objective and problem.memory.budget in seen:
            continue  # nothing is less than 0
        seen.add(problem.memory.budget)
        found = free.solve(problem, backend=backend, workers=1)
        least = enumerated(problem)
        assert found.objective == least
        assert found.status == ("infeasible" if least is None else "optimal")
        if least is not None:
            assert found.bound == least
            valid(found.plan)
        others += bool(least)


def lies(rectangles, chain: tuple[str, ...]) -> list[int]:
    """Places of rectangles of these names of which each meets the next; empty if there are none."""

    def extend(found: list[int]) -> list[int]:
        if len(found) == len(chain):
            return found
        for i, r in enumerate(rectangles):
            if r.name != chain[len(found)] or i in found:
                continue
            last = rectangles[found[-1]] if found else r
            if last.start < r.stop and r.start < last.stop and (longer := extend([*found, i])):
                return longer
        return []

    return extend([])


def chained(rng: random.Random, problem: Problem) -> list[tuple[str, ...]]:
    """Names of buffers, of which no step uses two that follow each other."""
    together = {(a, b) for step in problem.steps for a in step.uses for b in step.uses}
    drawn = [
        rng.sample(range(len(problem.buffers)), min(rng.choice([2, 3]), len(problem.buffers)))
        for _ in range(20)
    ]
    apart = [c for c in drawn if not together & {*itertools.pairwise(c)}]
    return [tuple(problem.buffers[b].name for b in c) for c in apart[: rng.randint(1, 3)]]


@pytest.mark.parametrize("double_buffered", [False, True])
@pytest.mark.parametrize(("backend", "number"), [("states", 60), ("cp-sat", 12), ("cbc", 12)])
def test_what_packing_refuses_is_not_tried_again(
    monkeypatch, backend, number, double_buffered
) -> None:
    """A packer that refuses chains of residences, at random, and places all else anywhere."""
    needs(backend)
    rng, seen, refused = random.Random(5), set(), []

    def refusing(rectangles, capacity, **options):
        for chain in chains:
            if conflict := lies(rectangles, chain):
                refused.append(chain)
                return Packing("infeasible", (), tuple(sorted(conflict)), True, 0.0, 0)
        return Packing("packed", (0,) * len(rectangles), (), False, 0.0, 0)

    monkeypatch.setattr(pack, "pack", refusing)
    for _ in range(number):
        problem = drawn(rng, double_buffered, 6 if backend == "states" else 5)
        chains = chained(rng, problem)
        least = None
        for order in orders(problem):
            try:
                fixed = FixedOrder(problem, order)
            except BudgetError:
                continue
            for n in range(len(fixed.gaps) + 1):
                for chosen in itertools.combinations(range(len(fixed.gaps)), n):
                    left = frozenset(chosen)
                    plan = fixed.plan(left, [0] * len(fixed.residences(left)))
                    wanted = exact.rectangles(plan)
                    if load(fixed, left) <= problem.memory.budget and not any(
                        lies(wanted, chain) for chain in chains
                    ):
                        least = min(fixed.cost(left), fixed.cost(left) if least is None else least)
        refused.clear()
        found = free.solve(problem, backend=backend, workers=1)
        assert found.objective == least
        assert found.status == ("infeasible" if least is None else "optimal")
        seen.add((found.status, bool(refused)))
    assert ("optimal", True) in seen


@pytest.mark.parametrize("name", PROVED)
def test_reference_graphs_are_proved(name) -> None:
    found = free.solve(at_floor(name), limit=30, workers=2)
    assert (found.status, found.objective) == ("optimal", PROVED[name])
    valid(found.plan)


@pytest.mark.parametrize("name", ["light_shufflenet", "light_densenet121", "tv_vit_b_16"])
@pytest.mark.parametrize("backend", ["cp-sat", "cbc", "highs"])
def test_programs_prove_reference_graphs(name, backend) -> None:
    needs(backend)
    found = free.solve(at_floor(name), limit=60, workers=2, backend=backend)
    assert (found.status, found.objective) == ("optimal", PROVED[name])
    valid(found.plan)


def wired(size: int, seed: int) -> Problem:
    """Each operator reads some of the last eight results, at the least budget."""
    rng = random.Random(seed)
    tensors, ops = [Tensor("x", 8)], [Op("x", "load", (), ("x",))]
    for i in range(size):
        recent = [t.name for t in tensors[-8:]]
        read = rng.sample(recent, min(rng.choice([1, 2, 2, 3]), len(recent)))
        tensors.append(Tensor(f"t{i}", rng.randint(4, 12)))
        ops.append(Op(f"t{i}", "f", tuple(read), (f"t{i}",)))
    graph = Graph("wired", tensors, ops)
    return lower(graph, Memory(lower(graph, Memory(1 << 40)).floor))


def test_limits_leave_a_plan_and_a_bound() -> None:
    problem, said = wired(120, 1), []
    found = free.solve(problem, limit=2.0, backend="states", watch=lambda *told: said.append(told))
    assert found.seconds < 6
    assert found.status == "feasible"
    assert 0 < found.bound < found.objective
    valid(found.plan)
    bounds = [bound for bound, _, _ in said]
    assert bounds == sorted(bounds)
    assert bounds[-1] > 0
    assert said[-1][1] == found.objective


@pytest.mark.parametrize("backend", ["states", "cp-sat"])
def test_interrupts_leave_a_plan(backend) -> None:
    needs(backend)
    problem = wired(120, 1)
    order = range(len(problem.steps))
    gc.collect()
    gc.disable()  # an interrupt that falls into the clearing up of a weak reference is lost
    try:
        timer = threading.Timer(2.0, os.kill, [os.getpid(), signal.SIGINT])
        timer.start()
        found = free.solve(problem, limit=60.0, backend=backend, start=[order])
        timer.join()
    finally:
        gc.enable()
    assert found.seconds < 20
    assert found.status == "feasible"
    valid(found.plan)


def test_no_time_at_all() -> None:
    found = free.solve(wired(30, 2), limit=0.0)
    assert found.status in ("unknown", "feasible")
    assert found.bound == 0


def test_given_orders_count() -> None:
    problem = wired(60, 3)
    order = tuple(range(len(problem.steps)))
    by_order = exact.solve(problem, order).objective
    found = free.solve(problem, limit=1.0, start=[order], backend="states")
    assert found.objective <= by_order
    with pytest.raises(ValueError, match="each of the 61 steps once"):
        free.solve(problem, start=[[0, 0]])
    with pytest.raises(ValueError, match="backend 'gurobi' is none of"):
        free.solve(problem, backend="gurobi")


def test_what_no_placement_holds_is_explained() -> None:
    sizes = [3, 3, 3, 1]
    tensors = [Tensor(f"t{i}", size) for i, size in enumerate(sizes)]
    ops = [Op(f"o{i}", "load", (), (f"t{i}",)) for i in range(len(sizes))]
    ops.append(Op("last", "f", tuple(t.name for t in tensors), ()))
    found = free.solve(lower(Graph("shuffled", tensors, ops), Memory(10, 1, 2)))
    assert (found.status, found.plan) == ("infeasible", None)
    assert set(found.conflict) == {"t0", "t1", "t2"}


def test_undecided_packings_are_no_proof(monkeypatch) -> None:
    problem, real, calls = at_floor("light_shufflenet"), pack.pack, []

    def unsure(rectangles, capacity, **options):
        calls.append(1)
        if len(calls) < 4:
            return Packing("unknown", (), (), False, 0.0, 0)
        return real(rectangles, capacity, **options)

    monkeypatch.setattr(pack, "pack", unsure)
    found = free.solve(problem, limit=20, backend="states")
    assert found.bound <= PROVED["light_shufflenet"] <= found.objective
    assert found.status == ("optimal" if found.bound == found.objective else "feasible")
    valid(found.plan)
