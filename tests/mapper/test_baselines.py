"""Baselines: Belady's rule, layer by layer, and plans that fit."""

import itertools
import random

import pytest
from thresher.mapper import baselines
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.graph_json import read
from thresher.mapper.plan import Plan
from thresher.mapper.problem import Memory, Problem, lower
from thresher.models import data


def drawn(seed: int, ops: int, sizes: range = range(1, 9), clean: bool = False) -> Graph:
    """At random; ``clean``: what operators share comes from off chip."""
    rng = random.Random(seed)
    tensors = [Tensor(f"i{n}", rng.choice(sizes)) for n in range(5)]
    tensors += [Tensor(f"t{n}", rng.choice(sizes)) for n in range(ops)]
    made = []
    for n in range(ops):
        known = [f"i{i}" for i in range(5)] + ([] if clean else [f"t{i}" for i in range(n)])
        inputs = rng.sample(known, min(len(known), rng.choice((1, 1, 2))))
        made.append(Op(f"t{n}", "op", tuple(inputs), (f"t{n}",), rng.randrange(3)))
    used = {t for op in made for t in op.inputs} | {op.name for op in made}
    inputs = [f"i{n}" for n in range(5) if f"i{n}" in used]
    return Graph(f"drawn{seed}", [t for t in tensors if t.name in used], made, inputs)


def problem_of(graph: Graph, share: float = 0.0, parameters: bool = False, **memory) -> Problem:
    """With a budget between the floor (0) and the peak of the default order (1)."""
    free = lower(graph, Memory(1 << 40, memory.get("alignment", 1)), parameters)
    low = free.floor
    high = FixedOrder(free).peak
    unit = memory.get("alignment", 1) * memory.get("banks", 1)
    budget = -(-int(low + share * (high - low)) // unit) * unit
    return lower(graph, Memory(budget, **memory), parameters)


def check(plan: Plan) -> None:
    """Places in the scratchpad, none on another; every use held once."""
    problem, memory = plan.problem, plan.problem.memory
    problem.check_order(plan.order)
    for position, step in enumerate(plan.order):
        here = [r for r in plan.residences if position in plan.occupied(r)]
        for a, b in itertools.combinations(here, 2):
            tops = [r.address + problem.buffers[r.buffer].size for r in (a, b)]
            assert a.address >= tops[1] or b.address >= tops[0]
        for b in problem.steps[step].uses:
            assert sum(r.buffer == b and r.first <= position <= r.last for r in here) == 1
    for r in plan.residences:
        size = problem.buffers[r.buffer].size
        assert 0 <= r.address <= memory.budget - size
        assert r.address % memory.alignment == 0
        if size <= memory.bank:
            assert r.address // memory.bank == (r.address + size - 1) // memory.bank
        else:
            assert r.address % memory.bank == 0


def best(fixed: FixedOrder, capacity: int) -> int:
    """The least cost of gaps that may be left, addresses aside, by trying all."""
    count = len(fixed.gaps)
    choices = itertools.product((False, True), repeat=count)
    found = []
    for choice in choices:
        left = {i for i in range(count) if choice[i]}
        load = list(fixed.required)
        for i in set(range(count)) - left:
            for p in fixed.gaps[i].freed:
                load[p] += fixed.problem.buffers[fixed.gaps[i].buffer].size
        if max(load) <= capacity:
            found.append(fixed.cost(left))
    return min(found)


@pytest.mark.parametrize("seed", range(12))
def test_belady_is_optimal_for_equal_pages_that_are_clean(seed: int) -> None:
    problem = problem_of(drawn(seed, 14, range(1, 2), clean=True))
    fixed = FixedOrder(problem)
    if len(fixed.gaps) > 14:
        pytest.skip("too many to try all")
    for capacity in range(max(fixed.required), fixed.peak + 1):
        for aware in (False, True):
            assert fixed.cost(baselines.belady(fixed, capacity, aware)) == best(fixed, capacity)


@pytest.mark.parametrize("seed", range(12))
def test_belady_keeps_the_capacity(seed: int) -> None:
    fixed = FixedOrder(problem_of(drawn(seed, 10), 1))
    if len(fixed.gaps) > 14:
        pytest.skip("too many to try all")
    for capacity in {max(fixed.required), (max(fixed.required) + fixed.peak) // 2}:
        for aware in (False, True):
            left = baselines.belady(fixed, capacity, aware)
            load = list(fixed.required)
            for i in set(range(len(fixed.gaps))) - left:
                for p in fixed.gaps[i].freed:
                    load[p] += fixed.problem.buffers[fixed.gaps[i].buffer].size
            assert max(load) <= capacity
            assert fixed.cost(left) >= best(fixed, capacity)
    assert not baselines.belady(fixed, fixed.peak)
    with pytest.raises(ValueError, match="is less than the"):
        baselines.belady(fixed, max(fixed.required) - 1)


def two_that_may_leave(sizes: dict[str, int]) -> Graph:
    """w comes from off chip, a is made; both are needed again, w first or last."""
    ops = [
        Op("a", "op", ("w",), ("a",)),
        Op("b", "op", ("w",), ("b",)),
        Op("c", "op", ("b",), ("c",)),
        Op("d", "op", ("c", "a", "w"), ("d",)),
    ]
    return Graph("two", [Tensor(n, s) for n, s in sizes.items()], ops, ["w"])


def test_among_equals_the_clean_one_leaves() -> None:
    graph = two_that_may_leave({"w": 4, "a": 4, "b": 6, "c": 6, "d": 1})
    fixed = FixedOrder(lower(graph, Memory(16)))
    assert fixed.peak == 20
    names = [fixed.problem.buffers[fixed.gaps[i].buffer].name for i in baselines.belady(fixed)]
    assert names == ["w"]


def test_layer_by_layer_by_hand() -> None:
    ops = [
        Op("x", "load", (), ("x",)),
        Op("z", "load", (), ("z",)),
        Op("a", "op", ("x",), ("a",)),
        Op("b", "op", ("a",), ("b",)),
        Op("c", "op", ("a", "b", "z"), ("c",)),
        Op("d", "op", ("z", "c"), ("d",)),
    ]
    sizes = {"x": 1, "z": 2, "a": 4, "b": 8, "c": 16, "d": 32}
    graph = Graph("layers", [Tensor(n, s) for n, s in sizes.items()], ops)
    problem = problem_of(graph)
    result = baselines.layer_by_layer(problem)
    assert result.plan is not None
    check(result.plan)
    # a: stored, fetched twice; b, c: stored, fetched; z: fetched for its second use.
    assert result.objective == 3 * 4 + 2 * 8 + 2 * 16 + 2
    assert [problem.steps[s].name for s in result.plan.order] == ["x", "a", "b", "z", "c", "d"]
    assert result.total == result.objective + problem.compulsory
    assert (result.status, result.bound) == ("feasible", 0)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "memory", [{}, {"alignment": 4}, {"double_buffered": True}, {"alignment": 2, "banks": 2}]
)
def test_plans_hold(seed: int, memory: dict) -> None:
    graph = drawn(seed, 16)
    share = 0.3 if not memory.get("double_buffered") and not memory.get("banks") else 1.6
    problem = problem_of(graph, share, parameters=seed % 2 == 1, **memory)
    found = baselines.baselines(problem, {"default": range(len(problem.steps))}, limit=2)
    assert len(found) == 5
    for name, result in found.items():
        if result.plan is None:
            assert memory.get("banks") or memory.get("double_buffered"), name
            assert result.status == "unknown"
            continue
        check(result.plan)
        assert result.objective == sum(
            problem.buffers[r.buffer].bytes for _, r, due in result.plan.transfers() if not due
        )


def test_what_does_not_fit_leaves() -> None:
    """Greedy placement takes more than the budget where the optimum takes all of it."""
    try:
        graph = read(data.path("graphs/tv_densenet121.json"))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    problem = problem_of(graph)
    greedy = baselines.belady_greedy(problem)
    assert greedy.plan is not None
    check(greedy.plan)
    assert greedy.notes["share"] == pytest.approx(1.125)
    assert greedy.notes["cuts"] == 9
    assert greedy.objective == 2_408_448
    packed = baselines.belady_packed(problem)
    assert packed.objective == 1_204_224
    layers = baselines.layer_by_layer(problem)
    assert layers.objective is not None
    assert layers.objective > 10 * greedy.objective
