"""COSMA's integer program: known optima, small problems, and what each correction is for."""

from dataclasses import replace
from typing import Any

import pytest
from thresher.mapper import cosma
from thresher.mapper.agreement import random_agreement
from thresher.mapper.backends import SolverError, available, run
from thresher.mapper.brute import brute, brute_fixed, orders
from thresher.mapper.cosma import CORRECTIONS, Model
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.graph_json import read
from thresher.mapper.plan import Result
from thresher.mapper.problem import Memory, Problem, lower
from thresher.mapper.random_graphs import problems
from thresher.mapper.replay import replay
from thresher.mapper.schedule import Schedule
from thresher.models import data

BACKENDS = [
    pytest.param(b, marks=pytest.mark.skipif(b not in available(), reason=f"{b} is not installed"))
    for b in ("cbc", "highs")
]
FASTER = "highs" if "highs" in available() else "cbc"


def waiting(*sizes: int, budget: int, shared: bool = False) -> Problem:
    """t0 (loaded) -> t1 -> t2 -> t3 -> t4, where t1 waits for t4; t3 reads what is off chip."""
    names = [f"t{i}" for i in range(5)]
    tensors = [Tensor(n, s) for n, s in zip(names, sizes, strict=True)]
    reads = [(), ("t0",), ("t1",), ("t2",), ("t3", "t1")]
    if shared:
        tensors.append(Tensor("w", 2))
        reads[3] = ("t2", "w")
    ops = [Op(n, "load" if n == "t0" else "f", r, (n,)) for n, r in zip(names, reads, strict=True)]
    graph = Graph("waiting", tensors, ops, ["w"] if shared else [])
    return lower(graph, Memory(budget))


def branches() -> Problem:
    """Two branches, better one after the other than in turn, as they are in the default order."""
    sizes = {"x": 1, "a": 4, "b": 4, "c": 1, "d": 1, "e": 1}
    reads = {"x": (), "a": ("x",), "b": ("x",), "c": ("a",), "d": ("b",), "e": ("c", "d")}
    ops = [Op(n, "load" if n == "x" else "f", r, (n,)) for n, r in reads.items()]
    return lower(Graph("branches", [Tensor(n, s) for n, s in sizes.items()], ops), Memory(7))


def reference(name: str, parameters: bool = False) -> tuple[Graph, Problem]:
    """At the least budget."""
    try:
        graph = read(data.path(f"graphs/{name}.json"))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    floor = lower(graph, Memory(1 << 50), parameters).floor
    return graph, lower(graph, Memory(floor), parameters)


def proved(found: Result, graph: Graph, least: int) -> None:
    assert (found.status, found.objective, found.bound) == ("optimal", least, least)
    assert found.plan is not None
    assert replay(graph, Schedule.of(graph, found.plan)).non_compulsory == least


@pytest.mark.parametrize("backend", BACKENDS)
def test_known_optimum(backend: Any) -> None:
    graph, problem = reference("light_shufflenet")
    seen: list[tuple[int, int | None]] = []
    found = cosma.solve(problem, backend=backend, watch=lambda b, i, _: seen.append((b, i)))
    proved(found, graph, 150_528)
    assert found.solver == f"COSMA's ILP ({backend})"
    assert found.notes["unit"] == 8
    assert found.notes["rows"] > found.notes["columns"] > 500
    assert seen[-1] == (150_528, 150_528)
    assert all(bound <= 150_528 for bound, _ in seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "least"),
    [
        ("tv_vit_b_16", False, 3_631_104),
        ("tv_r2plus1d_18", False, 51_380_224),
        ("light_densenet121", False, 1_404_928),
        ("tv_densenet121", False, 1_204_224),
        ("tv_resnet50", True, 1_003_520),
    ],
)
def test_other_known_optima(name: str, parameters: bool, least: int) -> None:
    graph, problem = reference(name, parameters)
    proved(cosma.solve(problem, backend=FASTER, limit=300), graph, least)


@pytest.mark.slow
def test_known_optimum_of_all_orders() -> None:
    graph, problem = reference("tv_r2plus1d_18")
    found = cosma.solve(problem, free=True, backend=FASTER, limit=300)
    proved(found, graph, 51_380_224)


@pytest.mark.parametrize(
    ("backend", "count", "seed"), [(FASTER, 25, 0), ("cbc", 4, 100)], ids=["faster", "cbc"]
)
def test_small_problems_in_the_default_order(backend: Any, count: int, seed: int) -> None:
    found = random_agreement(
        count, seed, {"cosma": lambda problem: cosma.solve(problem, backend=backend)}
    )
    assert not found.mismatches
    assert found.moved > count // 4


def free(problem: Problem) -> Result:
    return cosma.solve(problem, free=True, backend=FASTER)


def test_small_problems_in_all_orders() -> None:
    found = random_agreement(10, 1000, free={"cosma": free})
    assert not found.mismatches
    assert found.moved > 2


@pytest.mark.slow
def test_more_small_problems() -> None:
    found = random_agreement(
        150, 2000, {"cosma": lambda problem: cosma.solve(problem, backend=FASTER)}, {"cosma": free}
    )
    assert not found.mismatches
    assert found.impossible


def test_without_the_cut_the_optimum_is_the_same() -> None:
    for _, _, problem in problems(8, 60):
        with_cut, without = (
            cosma.solve(problem, capacity_cut=cut, backend=FASTER) for cut in (True, False)
        )
        assert with_cut.status == without.status
        assert with_cut.objective == without.objective == brute_fixed(problem)


def test_the_cut_raises_the_relaxation() -> None:
    problem = waiting(2, 3, 4, 4, 1, budget=10)
    assert relaxed(Model(problem, range(5), capacity_cut=False)) == 0
    assert relaxed(Model(problem, range(5))) > 0


def relaxed(model: Model) -> float:
    """The objective without whole numbers."""
    for variable in model.program.variables():
        if variable.cat != "Continuous":
            variable.bounds(0, 1)
            variable.cat = "Continuous"
    found = run(model.program, FASTER, limit=20)
    assert found.objective is not None
    return round(found.objective * model.scale, 6)


def test_orders_that_are_given() -> None:
    problem = branches()
    for order in orders(problem):
        found = cosma.solve(problem, order, backend=FASTER)
        assert found.objective == brute_fixed(problem, order)
        assert found.plan is None or found.plan.order == order
    with pytest.raises(ValueError, match="take one or free=True"):
        cosma.solve(problem, range(6), free=True)
    with pytest.raises(ValueError, match="whose result it needs"):
        cosma.solve(problem, [1, 0, 2, 3, 4, 5])
    found = cosma.solve(problem, limit=0)
    assert (found.status, found.plan, found.bound) == ("unknown", None, 0)


@pytest.mark.parametrize("double_buffered", [False, True])
def test_least_peaks(double_buffered: bool) -> None:
    checked = 0
    for _, _, problem in problems(25, 40, operators=6):
        if problem.memory.double_buffered != double_buffered:
            continue
        checked += 1
        peaks = {order: peak(problem, order) for order in orders(problem)}
        found = cosma.min_peak(problem, backend=FASTER)
        assert found.status == "optimal"
        assert found.peak == found.bound == min(peaks.values())
        assert found.order is not None
        assert peaks[found.order] == found.peak
        default = tuple(range(len(problem.steps)))
        assert cosma.min_peak(problem, free=False, backend=FASTER).peak == peaks[default]
    assert checked > 3


def peak(problem: Problem, order: tuple[int, ...]) -> int:
    """Bytes at once, if nothing leaves between uses."""
    loads, margin = [0] * len(order), int(problem.memory.double_buffered)
    for b, buffer in enumerate(problem.buffers):
        uses = [t for t, o in enumerate(order) if b in problem.steps[o].uses]
        fetched = buffer.clean and b not in problem.loads
        first, last = uses[0] - margin * fetched, uses[-1] + margin * buffer.delivered
        for t in range(max(first, 0), min(last + 1, len(order))):
            loads[t] += buffer.size
    return max(loads)


def test_least_peak_of_a_network() -> None:
    _, problem = reference("light_shufflenet")
    assert cosma.min_peak(problem, free=False, backend=FASTER).peak == 777_728


# What is published, and wrong.


def objective(model: Model) -> float | None:
    found = run(model.program, FASTER, limit=20)
    assert found.status in ("optimal", "infeasible")
    return None if found.objective is None else found.objective * model.scale


def test_nothing_is_preserved_at_the_first_step() -> None:
    problem = waiting(2, 3, 4, 4, 1, budget=10, shared=True)
    assert objective(Model(problem, range(5))) == brute_fixed(problem) == 6
    # What was never fetched is there.
    assert objective(Model(problem, range(5), without=["base"])) == 6 - 2


def test_operators_do_not_share_steps() -> None:
    for without, status in ((["single"], "optimal"), ([], "infeasible")):
        model = Model(replace(branches(), memory=Memory(20)), None, without=without)
        a, b = model.runs(1, 1), model.runs(2, 1)
        model.program += a + b == 2
        assert run(model.program, FASTER, limit=20).status == status


def test_nothing_is_preserved_after_its_last_use() -> None:
    problem = waiting(2, 3, 4, 4, 1, budget=8)
    model = Model(problem, range(5), without=["liveness"], capacity_cut=False)
    model.program += model.preserved(2, 4) == 1  # t2, which t3 was the last to read
    found = run(model.program, FASTER, limit=20)
    assert found.status == "optimal"
    # t1, t3 and t4 fill all 8 bytes then, and so it lies over one of them.
    lies = [(found.values[f"L_{b}_4"], problem.buffers[b].size) for b in (1, 2, 3, 4)]
    assert sum(size for _, size in lies) > 8
    assert all(0 <= low <= 8 - size for low, size in lies)
    assert Model(problem, range(5)).preserved(2, 4) == 0


def test_parameters_are_not_created() -> None:
    ops = [Op("x", "f", ("w",), ("x",)), Op("y", "f", ("x",), ("y",), 2)]
    graph = Graph("weights", [Tensor(n, 2) for n in "wxy"], ops, ["w"])
    problem = lower(graph, Memory(6), parameters=True)
    assert objective(Model(problem, range(2))) == brute(problem) == 0
    assert objective(Model(problem, range(2), without=["parameters"])) is None


def test_addresses_are_bounded_everywhere() -> None:
    sizes, reads = (1, 6, 1, 6, 1, 1), ((), (0,), (1,), (2,), (3,), (4, 1))  # 1 and 3 exclude
    ops = [
        Op(f"t{i}", "f" if i else "load", tuple(f"t{j}" for j in r), (f"t{i}",))
        for i, r in enumerate(reads)
    ]
    graph = Graph("large", [Tensor(f"t{i}", s) for i, s in enumerate(sizes)], ops)
    problem = lower(graph, Memory(10))
    published = Model(problem, range(6), capacity_cut=False, without=["bounds"])
    assert relaxed(published) == 0
    assert relaxed(Model(problem, range(6), capacity_cut=False)) > 0


def test_operands_count_once() -> None:
    ops = [Op("x", "load", (), ("x",)), Op("y", "multiply", ("x", "x"), ("y",))]
    problem = lower(Graph("square", [Tensor("x", 3), Tensor("y", 3)], ops), Memory(6))
    assert problem.steps[1].reads == (0,)
    twice = replace(problem, steps=(problem.steps[0], replace(problem.steps[1], reads=(0, 0))))
    assert objective(Model(twice, range(2))) == 0
    assert objective(Model(twice, range(2), without=["operands"])) is None


def test_windows_are_of_steps() -> None:
    problem = branches()
    model = Model(problem, None)
    assert objective(model) == brute(problem) == 0
    wrong = Model(problem, None, without=["times"])
    found = run(wrong.program, FASTER, limit=20)
    assert found.objective != 0


def test_what_solvers_round_does_not_matter() -> None:
    problem = waiting(2, 3, 4, 4, 1, budget=10)
    model = Model(problem, range(5))
    values = dict(run(model.program, FASTER, limit=20).values)
    plan = model.plan(values)
    off = {n: v + 0.4 * (hash(n) % 3 - 1) if n.startswith("L_") else v for n, v in values.items()}
    assert model.plan(off).objective == plan.objective == 6
    # What does not fit is no solution, whatever is said.
    for name in values:
        if name.startswith("R_1"):
            values[name] = 0.0
    with pytest.raises(SolverError, match="of 10 bytes in what the solver calls a solution"):
        model.plan(values)


def test_unknown_corrections() -> None:
    assert len(CORRECTIONS) == 7
    with pytest.raises(ValueError, match=r"\['this'\] are none of \['base', "):
        Model(branches(), None, without=["this"])
