"""Graphs, problems, orders, plans and schedule files."""

import json
import random

import pytest
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.graph_json import from_json, read, to_json
from thresher.mapper.plan import Plan
from thresher.mapper.problem import BudgetError, Memory, lower
from thresher.mapper.schedule import Schedule
from thresher.models import data


def diamond(**changes: int) -> Graph:
    """x -> a -> (b, c) -> d, with c long after a."""
    sizes = {"x": 4, "a": 8, "b": 6, "c": 2, "d": 4, **changes}
    ops = [
        Op("x", "load", (), ("x",)),
        Op("a", "conv2d", ("x",), ("a",), 10),
        Op("b", "conv2d", ("a",), ("b",), 3),
        Op("b2", "relu", ("b",), ("b2",)),
        Op("c", "conv2d", ("a",), ("c",), 5),
        Op("d", "add", ("b2", "c"), ("d",)),
    ]
    return Graph("diamond", [Tensor(n, s) for n, s in {**sizes, "b2": 6}.items()], ops)


def test_gaps_and_costs_by_hand() -> None:
    fixed = FixedOrder(lower(diamond(), Memory(14)))
    a, b2 = fixed.gaps
    assert (a.first, a.last, list(a.freed), a.fetch, a.store) == (2, 4, [3], 8, 8)
    assert list(b2.freed) == [4]
    assert fixed.problem.floor == 14
    assert fixed.problem.compulsory == 4 + 4
    assert fixed.peak == 20
    assert fixed.cost([]) == 0
    assert fixed.cost([0, 1]) == 16 + 12
    plan = fixed.plan([0], [0] * 7)
    assert plan.objective == 16


def test_double_buffering_holds_what_is_moved() -> None:
    graph = diamond()
    fixed = FixedOrder(lower(graph, Memory(40, double_buffered=True)))
    assert not fixed.gaps  # nothing lies still for long enough
    assert max(fixed.required) == 20
    plan = fixed.plan([], [0] * 6)
    d = plan.by_buffer[[b.name for b in plan.problem.buffers].index("d")][0]
    assert plan.occupied(d) == range(5, 6)


def test_parameters_are_buffers_of_one_use() -> None:
    problem = lower(diamond(), Memory(64), parameters=True)
    assert [b.name for b in problem.buffers][-3:] == ["a:weights", "b:weights", "c:weights"]
    assert problem.floor == 4 + 8 + 10
    assert problem.compulsory == 8 + 18
    plan = FixedOrder(problem).plan([], [0] * 9)
    assert sum(direction == "fetch" for direction, _, _ in plan.transfers()) == 3


def test_what_is_overwritten_is_dirty_again() -> None:
    ops = [
        Op("x", "load", (), ("x",)),
        Op("y", "relu", ("x",), ("y",)),
        Op("p", "conv2d", ("y",), ("p",)),
        Op("q", "relu", ("p",), ("q",)),
        Op("y2", "relu_", ("y",), ("y2",)),
        Op("r", "relu", ("q",), ("r",)),
        Op("s", "add", ("y2", "r"), ("s",)),
    ]
    sizes = [Tensor(n, 4) for n in "xypqrs"] + [Tensor("y2", 4, view="y")]
    problem = lower(Graph("overwritten", sizes, ops), Memory(16))
    fixed = FixedOrder(problem)
    assert [(g.version, g.fetch, g.store) for g in fixed.gaps] == [(1, 4, 4), (2, 4, 4), (1, 4, 4)]
    plan = fixed.plan([0, 1], [0] * 8)
    assert plan.objective == 16 == fixed.cost([0, 1])
    with pytest.raises(ValueError, match="whose result it needs"):
        FixedOrder(problem, [0, 1, 4, 2, 3, 5, 6])  # y2 overwrites what p reads


def test_concatenation_in_place_commutes() -> None:
    tensors = [Tensor("x", 2), Tensor("z", 8), Tensor("a", 4, view="z"),
               Tensor("b", 4, view="z", offset=4), Tensor("o", 1)]  # fmt: skip
    ops = [
        Op("x", "load", (), ("x",)),
        Op("a", "conv2d", ("x",), ("a",)),
        Op("b", "conv2d", ("x",), ("b",)),
        Op("o", "conv2d", ("z",), ("o",)),
    ]
    graph = Graph("concatenated", tensors, ops)
    assert graph.predecessors == (frozenset(), {0}, {0}, {1, 2})
    problem = lower(graph, Memory(16))
    FixedOrder(problem, [0, 2, 1, 3])
    assert [b.name for b in problem.buffers] == ["x", "z", "o"]


@pytest.mark.parametrize(
    ("tensors", "ops", "text"),
    [
        ([("a", 1), ("a", 2)], [], "two tensors are called 'a'"),
        ([("a", 0)], [], "'a' has 0 bytes"),
        ([("a", 1)], [Op("f", "f", (), ("a",)), Op("f", "f", ("a",))], "operators are called 'f'"),
        ([("a", 1)], [Op("f", "f", ("b",), ("a",))], "uses 'b', whose size is unknown"),
        ([("a", 1), ("b", 1)], [Op("f", "f", ("b",), ("a",))], "which nothing writes"),
        ([("a", 1)], [Op("f", "f", (), ("a",)), Op("g", "g", (), ("a",))], "is written by 'f'"),
        (
            [("a", 1), ("b", 1)],
            [Op("f", "f", ("b",), ("a",)), Op("g", "g", ("a",), ("b",))],
            "f -> g -> … form a cycle",
        ),
    ],
)
def test_bad_graphs(tensors: list[tuple[str, int]], ops: list[Op], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Graph("bad", [Tensor(*t) for t in tensors], ops)


def test_operators_out_of_order_are_sorted() -> None:
    graph = diamond()
    mixed = list(graph.ops)
    random.Random(3).shuffle(mixed)
    again = Graph("mixed", graph.tensors.values(), mixed)
    place = {op.name: i for i, op in enumerate(again.ops)}
    assert place["x"] < place["a"] < place["b"] < place["b2"] < place["d"]


def test_budgets() -> None:
    with pytest.raises(BudgetError, match=r"'[ab]2?' needs 14 bytes at once, the budget is 13"):
        lower(diamond(), Memory(13))
    with pytest.raises(ValueError, match="take a multiple of 16"):
        Memory(40, alignment=8, banks=2)


def test_graphs_and_schedules_as_json(tmp_path) -> None:
    graph = diamond()
    assert to_json(from_json(json.loads(json.dumps(to_json(graph))))) == to_json(graph)
    problem = lower(graph, Memory(20))
    fixed = FixedOrder(problem)
    plan: Plan = fixed.plan([0], [0, 0, 8, 0, 8, 14, 16])
    schedule = Schedule.of(graph, plan)
    schedule.write(tmp_path / "s.json")
    assert Schedule.read(tmp_path / "s.json") == schedule
    assert [step.place for step in schedule.steps] == [0, 1, 2, 3, 4, 5]
    assert [(t.direction, t.buffer, t.compulsory) for t in schedule.transfers] == [
        ("store", "a", False), ("fetch", "a", False), ("store", "d", True),
    ]  # fmt: skip
    (tmp_path / "bad.json").write_text('{"name": "x", "tensors": {"a": 1, "a": 2}, "ops": []}')
    with pytest.raises(ValueError, match="'a' stands there twice"):
        read(tmp_path / "bad.json")


def test_reference_graphs() -> None:
    try:
        graph = read(data.path("graphs/tv_pnasnet5large.json"))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    problem = lower(graph, Memory(5_355_456))
    assert problem.floor == 5_355_456
    assert FixedOrder(problem).peak == 10_862_718
    assert FixedOrder(problem).problem.loads


def test_inputs_that_are_overwritten_are_fetched_first() -> None:
    ops = [
        Op("y", "relu_", ("x",), ("y",)),
        Op("z", "conv2d", ("y",), ("z",)),
        Op("w", "conv2d", ("z",), ("w",)),
        Op("v", "add", ("w", "y"), ("v",)),
    ]
    tensors = [Tensor(n, 4) for n in "xzwv"] + [Tensor("y", 4, view="x")]
    problem = lower(Graph("overwritten input", tensors, ops, ["x"]), Memory(16))
    assert not problem.loads
    fixed = FixedOrder(problem)
    assert [(g.version, g.store) for g in fixed.gaps] == [(1, 4)]
    moves = [(way, r.buffer, free) for way, r, free in fixed.plan([], [0] * 4).transfers()]
    assert moves[0] == ("fetch", 0, True)
    # What writes a part of it alone needs the rest of its content.
    tensors[-1] = Tensor("y", 2, view="x")
    part = lower(Graph("part", tensors, [Op("y", "fill", (), ("y",)), *ops[1:]], ["x"]), Memory(16))
    assert part.steps[0].reads == (0,)
    assert not part.loads


def test_outputs_that_lie_off_chip_already_are_not_stored() -> None:
    ops = [Op("x", "load", (), ("x",)), Op("y", "f", ("x", "w"), ("y",))]
    graph = Graph("passed on", [Tensor(n, 4) for n in "xwy"], ops, ["w"], ["x", "w", "y"])
    problem = lower(graph, Memory(12))
    plan = FixedOrder(problem).plan([], [0, 4, 8])
    moved = sum(problem.buffers[r.buffer].bytes for _, r, _ in plan.transfers())
    assert problem.compulsory == 12 == moved + 4  # and the load
