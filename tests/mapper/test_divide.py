"""Annealed orders, bounds for all orders, divide and conquer."""

import math
import random

import pytest
from thresher.mapper import bound, divide, exact, orders, parts
from thresher.mapper.anneal import anneal
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.free import states
from thresher.mapper.graph_json import read
from thresher.mapper.problem import BudgetError, Memory, Problem, lower
from thresher.models import data

from .test_orders import drawn, drawn_graph, every_order


def scarce(seed: int, steps: int = 8) -> Problem:
    rng = random.Random(seed)
    floor = drawn(random.Random(seed), steps).floor
    return drawn(rng, steps, floor + seed % 3)


def reference(name: str) -> Problem:
    try:
        graph = read(data.path(f"graphs/{name}.json"))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    return lower(graph, Memory(lower(graph, Memory(1 << 40)).floor))


def capacity_only(problem: Problem, order) -> int:
    """The least bytes where addresses do not matter, by enumeration."""
    fixed = FixedOrder(problem, order)
    least = math.inf
    for bits in range(1 << len(fixed.gaps)):
        left = [i for i in range(len(fixed.gaps)) if bits >> i & 1]
        load = list(fixed.required)
        for i, gap in enumerate(fixed.gaps):
            if i not in left:
                for position in gap.freed:
                    load[position] += problem.buffers[gap.buffer].size
        if max(load) <= problem.memory.budget:
            least = min(least, fixed.cost(left))
    return least


@pytest.mark.parametrize("seed", range(10))
def test_annealing_and_bounds_against_all_orders(seed) -> None:
    problem = scarce(seed)
    least = min(capacity_only(problem, order) for order in every_order(problem))
    assert bound.any_order(problem) <= least
    found = anneal(problem, orders.default(problem), moves=4000, seed=seed)
    problem.check_order(found.order)
    assert found.cost >= capacity_only(problem, found.order) >= least
    # Eviction by a rule is an upper bound; over all orders it is near the least.
    assert found.cost <= 1.5 * least + 6
    assert anneal(problem, orders.default(problem), moves=4000, seed=seed) == found


@pytest.mark.parametrize("seed", range(12))
def test_parts_cost_no_more_than_the_whole(seed) -> None:
    problem, rng = scarce(seed), random.Random(seed)
    least = min(capacity_only(problem, order) for order in every_order(problem))
    steps = list(range(len(problem.steps)))
    for _ in range(4):
        chosen = rng.sample(steps, rng.randint(3, 7))
        owned = set(rng.sample(range(len(problem.buffers)), len(problem.buffers) // 2))
        others = sorted(set(range(len(problem.buffers))) - owned)
        both = [(chosen, owned), ([s for s in steps if s not in chosen], others)]
        assert least_of(parts.part(problem, chosen)) <= least
        assert sum(least_of(parts.part(problem, *one)) for one in both if one[0]) <= least
    assert least_of(parts.part(problem, steps)) == least
    found = parts.any_order(problem, orders.default(problem), limit=10, enough=1 << 60)
    assert found in (0, least)  # one part is all; none where the default order costs nothing


def test_ctrl_c_while_bounds_are_sought_gives_the_plan(monkeypatch) -> None:
    problem = reference("tv_densenet121")  # where :mod:`.bound` alone proves nothing

    def interrupted(*_, **__) -> states.Found:
        return states.Found("unknown", (), frozenset(), 7, 0, 0, interrupted=True)

    monkeypatch.setattr(states, "search", interrupted)
    found = divide.solve(problem, limit=30)
    assert found.objective == 1_204_224
    assert found.status == "feasible"
    assert found.notes["interrupted"]


def least_of(problem: Problem) -> int | float:
    return min(capacity_only(problem, order) for order in every_order(problem))


@pytest.mark.parametrize("seed", range(20))
def test_annealed_orders_keep_alignment_and_double_buffering(seed) -> None:
    rng = random.Random(seed)
    graph = drawn_graph(rng, 30)
    floor = lower(graph, Memory(1 << 30, alignment=4)).floor
    memory = Memory(floor * 2 // 8 * 8, alignment=4, double_buffered=True)
    problem = lower(graph, memory)
    start = orders.default(problem)
    try:
        fixed = FixedOrder(problem, start)
    except BudgetError:
        with pytest.raises(BudgetError, match="take a larger one"):
            anneal(problem, start, moves=0)
        return
    assert anneal(problem, start, moves=0).cost >= exact.solve(problem, start).bound
    found = anneal(problem, start, moves=3000, seed=seed)
    assert max(FixedOrder(problem, found.order).required) <= memory.budget
    assert exact.solve(problem, found.order, limit=20).bound <= found.cost
    assert (
        anneal(problem, found.order, moves=0).cost
        == found.cost
        <= fixed.cost(range(len(fixed.gaps)))
    )


@pytest.mark.parametrize("seed", range(4))
def test_costs_that_were_pieced_together_are_those_of_plans(seed) -> None:
    problem = scarce(seed, 60)
    found = anneal(problem, orders.default(problem), moves=3000, seed=seed)
    assert exact.solve(problem, found.order, limit=3).bound <= found.cost
    assert anneal(problem, found.order, moves=0).cost <= 1.05 * found.cost
    low, high = 15, 45
    part = anneal(problem, found.order, moves=3000, within=(low, high), seed=seed)
    assert part.order[:low] == found.order[:low]
    assert part.order[high:] == found.order[high:]
    assert exact.solve(problem, part.order, limit=3).bound <= part.cost


def test_pieces_cover_all_steps() -> None:
    problem = drawn(random.Random(1), 400)
    found = parts.pieces(problem, orders.default(problem), 120)
    assert [a for a, _ in found] == [0, *(b for _, b in found[:-1])]
    assert found[-1][1] == 400
    assert all(60 <= b - a <= 180 for a, b in found)


@pytest.mark.parametrize(
    ("name", "least", "bounded"),
    [
        ("light_shufflenet", 37_632, 37_632),
        ("tv_vit_b_16", 3_631_104, 3_631_104),
        ("tv_r2plus1d_18", 51_380_224, 51_380_224),
        ("tv_transformer", 2_031_616, 2_031_616),
        ("tv_densenet121", 1_204_224, 1_204_224),
    ],
)
def test_reference_graphs(name, least, bounded) -> None:
    problem, told = reference(name), []
    found = divide.solve(problem, limit=30, watch=lambda *said: told.append(said[:2]))
    assert found.objective == least
    assert least >= found.bound >= bounded
    assert found.status == ("optimal" if found.bound == least else "feasible")
    assert told[-1][1] == least
    assert exact.solve(problem, found.plan.order).objective == least


@pytest.mark.slow
def test_a_network_of_searched_cells() -> None:
    found = divide.solve(reference("tv_pnasnet5large"), limit=120)
    assert found.objective <= 17_000_000
    assert found.bound >= 15_000_000


def test_time_that_is_up_still_gives_a_plan() -> None:
    problem = scarce(2, 200)
    found = divide.solve(problem, limit=1.0)
    assert found.plan is not None
    assert found.bound <= found.objective
