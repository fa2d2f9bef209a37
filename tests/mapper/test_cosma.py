"""COSMA's program: equal to trying everything, to known optima, and each correction at work."""

import random

import pytest
from thresher.mapper import brute, cosma, orders, random_graphs, solve
from thresher.mapper.backends import available
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.graph_json import read
from thresher.mapper.problem import Memory, Problem, lower
from thresher.models import data

from .test_contract import diamond


def drawn(seed: int, count: int, operators: int) -> list[tuple[Graph, Problem]]:
    """Random problems: banks, double buffering and overwritten buffers among them."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        graph = random_graphs.draw(rng, operators)
        problem = random_graphs.problem(rng, graph)
        if brute.brute_fixed(problem, range(len(problem.steps)), addresses=False) is not None:
            found.append((graph, problem))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_small_problems_against_trying_everything(seed) -> None:
    ((graph, problem),) = drawn(seed, 1, 6)
    given = tuple(range(len(problem.steps)))
    for free, least in ((False, brute.brute_fixed(problem, given)), (True, brute.brute(problem))):
        found = cosma.solve(problem, free=free, limit=60)
        assert found.status == ("infeasible" if least is None else "optimal")
        assert found.objective == least
        if least is not None:
            assert found.bound == least
            solve.schedule(graph, found)  # replayed: nothing overlaps, all is there


@pytest.mark.parametrize("seed", range(3))
def test_least_peaks(seed) -> None:
    problem = next(
        p for _, p in drawn(seed + 20, 20, 7) if not p.memory.double_buffered
    )  # transfers take no room beside what is in use
    found = cosma.min_peak(problem)
    assert found.peak == orders.min_peak(problem).peak


@pytest.mark.parametrize(
    ("name", "least"), [("light_shufflenet", 150_528), ("tv_r2plus1d_18", 51_380_224)]
)
@pytest.mark.slow
def test_reference_graphs(name, least) -> None:
    if "highs" not in available():
        pytest.skip("needs the extra [ortools], which brings highspy")
    try:
        graph = read(data.path(f"graphs/{name}.json"))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    problem = lower(graph, Memory(lower(graph, Memory(1 << 40)).floor))
    found = cosma.solve(problem, backend="highs", limit=300)
    assert (found.status, found.objective) == ("optimal", least)


def test_the_cut_changes_no_optimum() -> None:
    for _, problem in drawn(11, 3, 5):
        cut, none = (cosma.solve(problem, capacity_cut=c, limit=60) for c in (True, False))
        assert (cut.status, cut.objective) == (none.status, none.objective)


def test_parameters_are_fetched_not_created() -> None:
    graph = diamond()
    found = cosma.solve(lower(graph, Memory(24), True))
    assert found.status == "optimal"
    schedule = solve.schedule(graph, found)
    fetched = [t.buffer for t in schedule.transfers if t.direction == "fetch" and t.compulsory]
    assert sorted(fetched) == ["a:weights", "b:weights", "c:weights"]


def test_an_operand_that_is_read_twice_counts_once() -> None:
    graph = Graph("square", [Tensor("x", 4), Tensor("y", 4)],
                  [Op("x", "load", (), ("x",)), Op("y", "mul", ("x", "x"), ("y",))])  # fmt: skip
    assert cosma.solve(lower(graph, Memory(8))).objective == 0


def test_one_operator_a_step() -> None:
    found = cosma.solve(lower(diamond(), Memory(14)), free=True)
    assert sorted(found.plan.order) == list(range(6))
    assert found.objective == 4
