"""Joint free order: enumeration of small problems, published optima, conflicts, limits, Ctrl-C."""

import itertools
import random
from collections.abc import Iterator

import pytest
from thresher.mapper import exact, free, pack
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.graph_json import read
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
    least = -(-whole.floor // step) * step
    most = max(least, fixed.peak - 1 if double_buffered else (least + fixed.peak) // 2)
    budget = rng.randrange(least, most + 1, step)
    return lower(graph, Memory(budget, alignment, banks, double_buffered), parameters)


@pytest.mark.parametrize("double_buffered", [False, True])
@pytest.mark.parametrize(
    ("backend", "number"), [("auto", 150), ("cp-sat", 20), ("cbc", 20), ("highs", 10)]
)
def test_small_problems_against_enumeration(backend, number, double_buffered) -> None:
    needs(backend)
    rng, seen = random.Random(3), set()
    for _ in range(number):
        problem = drawn(rng, double_buffered, 6 if backend == "auto" else 5)
        least = enumerated(problem)
        found = free.solve(problem, backend=backend, workers=1)
        assert found.objective == least
        assert found.status == ("infeasible" if least is None else "optimal")
        if least is not None:
            assert found.bound == least
            valid(found.plan)
        seen.add((found.status, bool(least)))
    assert {("optimal", False), ("optimal", True)} <= seen


