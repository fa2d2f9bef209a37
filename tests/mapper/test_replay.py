"""The replay: what it counts, and that each broken rule is named."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from thresher.mapper import baselines
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.plan import Plan, Residence
from thresher.mapper.problem import Memory, lower
from thresher.mapper.random_graphs import problems
from thresher.mapper.replay import ReplayError, replay
from thresher.mapper.schedule import Schedule, Transfer
from thresher.mapper.versions import Ranges


def waiting() -> Graph:
    """x -> a -> b -> c -> d, where a waits for d."""
    ops = [
        Op("x", "load", (), ("x",)),
        Op("a", "f", ("x",), ("a",), 3),
        Op("b", "f", ("a",), ("b",)),
        Op("c", "f", ("b",), ("c",)),
        Op("d", "add", ("c", "a"), ("d",)),
    ]
    return Graph("waiting", [Tensor(n, s) for n, s in zip("xabcd", (2, 4, 4, 4, 2), strict=True)],
                 ops)  # fmt: skip


def schedule(**memory: Any) -> Schedule:
    """Of :func:`waiting`: a leaves after b and comes back for d."""
    fixed = FixedOrder(lower(waiting(), Memory(**{"budget": 10, **memory})))
    found = [i for i, gap in enumerate(fixed.gaps) if gap.buffer == 1]
    return Schedule.of(waiting(), fixed.plan(found, [0, 2, 6, 6, 2, 0]))


def test_bytes_by_hand() -> None:
    # x at 0-2, a at 2-6, b at 6-10; then c at 2-6, a again at 6-10 (b is dead), d at 0-2.
    found = schedule()
    assert [(t.direction, t.buffer, t.address, t.compulsory) for t in found.transfers] == [
        ("store", "a", 2, False),
        ("fetch", "a", 6, False),
        ("store", "d", 0, True),
    ]
    counted = replay(waiting(), found)
    assert (counted.compulsory, counted.non_compulsory) == (2 + 2, 8)
    assert (counted.fetched, counted.stored, counted.total) == (2 + 4, 4 + 2, 12)
    assert counted.live == (2, 6, 8, 8, 10)
    assert counted.traffic == (2, 0, 0, 4, 4 + 2)
    assert counted.peak == 10


def changed(found: Schedule, number: int, **changes: Any) -> Schedule:
    steps = list(found.steps)
    steps[number] = steps[number].model_copy(update=changes)
    return found.model_copy(update={"steps": tuple(steps)})


def transfer(way: str, buffer: str, address: int, compulsory: bool = False) -> Transfer:
    return Transfer(direction=way, buffer=buffer, address=address, bytes=4, compulsory=compulsory)  # type: ignore[arg-type]


BROKEN: list[tuple[Callable[[Schedule], Schedule], str]] = [
    (lambda s: s.model_copy(update={"budget": 9}), r"'b' at 6 to 10 is not within 0 to 9"),
    (lambda s: s.model_copy(update={"alignment": 4}), r"'x' has 2 bytes in 2, not 2 in 4"),
    (lambda s: s.model_copy(update={"banks": 2}), r"'a' at 2 to 6 crosses a bank; these have 5 b"),
    (lambda s: changed(s.model_copy(update={"banks": 5}), 2, placed={"a": 2, "b": 5}),
     "'b' at 5 to 9 does not begin with a bank; these have 2 bytes"),
    (lambda s: s.model_copy(update={"banks": 3}), r"10 bytes are not 3 banks"),
    (lambda s: changed(s, 2, placed={"a": 2, "b": 5}), "'b' at 5 to 9 lies over 'a', which ends"),
    (lambda s: changed(s, 2, placed={"a": 3, "b": 6}), r"step 2 \(b\): 'a' moves from 2 to 3"),
    (lambda s: changed(s, 2, placed={"b": 6}), "'a' is in use and not in the scratchpad"),
    (lambda s: changed(s, 3, transfers=()), "fetches 'a' to 6; its copy off chip is old"),
    (lambda s: changed(s, 4, transfers=()), "'a' at 6 was neither fetched nor made"),
    (lambda s: changed(s, 4, transfers=s.steps[4].transfers * 2), None),
    (lambda s: changed(s, 3, transfers=(transfer("store", "a", 3),)), "'a' from 3; it lies at 2"),
    (lambda s: changed(s, 3, transfers=(transfer("store", "a", 2, True),)), "not compulsory"),
    (lambda s: changed(s, 4, transfers=(transfer("fetch", "a", 6, True),)), "not compulsory"),
    (lambda s: changed(s, 4, transfers=(transfer("fetch", "a", 1),)), "to 1; its place is 6"),
    (lambda s: changed(s, 3, transfers=(transfer("store", "c", 2),)), "it lies nowhere"),
    (lambda s: changed(s, 3, transfers=(transfer("fetch", "q", 2),)), "'q', which is no buffer"),
    (lambda s: changed(s, 3, transfers=(*s.steps[3].transfers, transfer("fetch", "a", 6))),
     "'a' to 6; its place is nowhere"),
    (lambda s: changed(s, 4, transfers=(*s.steps[4].transfers, transfer("store", "c", 2))),
     "fetches before it stores"),
    (lambda s: s.model_copy(update={"epilogue": ()}), "of output 'd' is not its content"),
    (lambda s: s.model_copy(update={"steps": s.steps[:4]}), "'d' never runs"),
    (lambda s: s.model_copy(update={"steps": (*s.steps, s.steps[1])}), "'a' runs 2 times"),
    (lambda s: changed(s, 1, name="q"), "'q' is no operator"),
    (lambda s: changed(s, 1, kind="g"), "is a 'f', not a 'g'"),
    (lambda s: changed(s, 1, place=2), "is number 1 of the graph, not 2"),
    (lambda s: changed(s, 2, name="c", kind="f", place=3), "'c' runs 2 times"),
    (lambda s: s.model_copy(update={"result": {"objective": 4}}), "says 4 non-compulsory bytes"),
    (lambda s: s.model_copy(update={"double_buffered": True}), "'a' at 2 leaves at once, and is"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "text"), BROKEN)
def test_broken_rules_are_named(spoil: Callable[[Schedule], Schedule], text: str | None) -> None:
    spoilt = spoil(schedule())
    if text is None:  # superfluous, and counted
        assert replay(waiting(), spoilt).non_compulsory == 8 + 4
        return
    with pytest.raises(ReplayError, match=text) as caught:
        replay(waiting(), spoilt)
    assert caught.value.violations
    assert str(caught.value).startswith("waiting: ")


def test_operators_that_change_places() -> None:
    # Two readers of x that write different buffers; nobody orders them.
    ops = [Op("x", "load", (), ("x",)), Op("a", "f", ("x",), ("a",)), Op("b", "f", ("x",), ("b",))]
    graph = Graph("two", [Tensor(n, 2) for n in "xab"], ops)
    for order in ((0, 1, 2), (0, 2, 1)):
        plan = FixedOrder(lower(graph, Memory(6)), order).plan([], [0, 2, 4])
        assert replay(graph, Schedule.of(graph, plan)).non_compulsory == 0
    steps = Schedule.of(graph, plan).steps
    spoilt = Schedule.of(graph, plan).model_copy(update={"steps": (steps[0], steps[2], steps[1])})
    with pytest.raises(ReplayError, match="stores 'b' from 4; it lies nowhere"):
        replay(graph, spoilt)


def overwriting() -> Graph:
    tensors = [Tensor("x", 4), Tensor("y", 4, view="x"), Tensor("p", 4), Tensor("q", 4)]
    ops = [
        Op("x", "load", (), ("x",)),
        Op("p", "f", ("x",), ("p",)),
        Op("y", "f_", ("x",), ("y",)),
        Op("q", "f", ("y", "p"), ("q",)),
    ]
    return Graph("overwriting", tensors, ops)


def test_operators_read_the_versions_of_the_default_order() -> None:
    # All lies still; p runs after x was overwritten.
    graph = overwriting()
    plan = FixedOrder(lower(graph, Memory(12))).plan([], [0, 4, 8])
    found = Schedule.of(graph, plan)
    assert replay(graph, found).non_compulsory == 0
    x, p, y, q = found.steps
    p, y = (p.model_copy(update={"placed": {"x": 0, "p": 4}}) for p in (p, y))
    spoilt = found.model_copy(update={"steps": (x, y, p, q)})
    with pytest.raises(ReplayError) as caught:
        replay(graph, spoilt)
    assert any("reads bytes 0 to 4 of 'x' as 'x' left it; at 0 to 4 lies byte 0 of 'x' by 'y'" in t
               for t in caught.value.violations)  # fmt: skip


def test_writes_that_change_places() -> None:
    # Two results over the same bytes; nobody reads the first.
    tensors = [Tensor("z", 4), Tensor("a", 4, view="z"), Tensor("b", 2, view="z")]
    ops = [Op("a", "f", (), ("a",)), Op("b", "f", (), ("b",)), Op("c", "f", ("z",))]
    graph = Graph("over", tensors, ops)
    found = Schedule.of(graph, FixedOrder(lower(graph, Memory(4))).plan([], [0]))
    assert replay(graph, found).peak == 4
    a, b, c = found.steps
    spoilt = found.model_copy(update={"steps": (b, a, c)})
    with pytest.raises(ReplayError, match="overwrites earlier or later"):
        replay(graph, spoilt)


def test_parts_of_a_concatenation_are_kept_apart() -> None:
    tensors = [Tensor("z", 4), Tensor("a", 2, view="z"), Tensor("b", 2, view="z", offset=2)]
    ops = [Op("a", "f", (), ("a",)), Op("b", "f", (), ("b",)), Op("c", "f", ("z",))]
    graph = Graph("parts", tensors, ops)
    problem = lower(graph, Memory(8))
    for order in ((0, 1, 2), (1, 0, 2)):
        plan = Plan(problem, order, (Residence(0, 0, 2),))
        assert replay(graph, Schedule.of(graph, plan)).total == 4
    # It leaves with one part written and comes back, elsewhere, for the other.
    plan = Plan(problem, (0, 1, 2), (Residence(0, 0, 0), Residence(0, 1, 2, 4)))
    found = Schedule.of(graph, plan)
    assert replay(graph, found).non_compulsory == 8
    with pytest.raises(ReplayError, match="'z' moves from 0 to 4"):
        replay(graph, changed(found, 1, transfers=()))


def test_parameters_are_fetched() -> None:
    graph = waiting()
    problem = lower(graph, Memory(17), parameters=True)
    found = Schedule.of(graph, FixedOrder(problem).plan([], [0, 2, 6, 10, 14, 14]))
    counted = replay(graph, found)
    assert counted.compulsory == problem.compulsory == 2 + 3 + 2
    assert counted.traffic[1] == 3
    for wanted, text in ((False, "'a:weights' is no buffer"), (True, None)):
        if text is None:
            assert replay(graph, found, parameters=wanted) == counted
        else:
            with pytest.raises(ReplayError, match=text):
                replay(graph, found, parameters=wanted)
    with pytest.raises(ReplayError, match="'a:weights' is missing"):
        replay(graph, schedule(), parameters=True)
    with pytest.raises(ReplayError, match="'a:weights' at 14 was neither fetched nor made"):
        replay(graph, changed(found, 1, transfers=()))


def doubled() -> tuple[Graph, Schedule]:
    """x is away for one step, with transfers during steps."""
    ops = [Op("x", "load", (), ("x",)), Op("a", "f", ("x",), ("a",)), Op("b", "f", ("a",), ("b",)),
           Op("c", "f", ("b",), ("c",)), Op("d", "f", ("c",), ("d",)),
           Op("e", "f", ("d", "x"), ("e",))]  # fmt: skip
    graph = Graph("doubled", [Tensor(n, 1) for n in "xabcde"], ops)
    fixed = FixedOrder(lower(graph, Memory(4, double_buffered=True)))
    [gap] = [i for i, gap in enumerate(fixed.gaps) if list(gap.freed) == [3]]
    found = Schedule.of(graph, fixed.plan([gap], [0, 3, 1, 2, 0, 1, 0]))
    assert replay(graph, found).non_compulsory == 1  # a load's result is clean
    return graph, found


def test_double_buffering() -> None:
    graph, found = doubled()
    [fetch] = found.steps[4].transfers
    assert (fetch.buffer, found.steps[4].placed[fetch.buffer]) == ("x", 3)
    late = changed(changed(found, 4, transfers=()), 5, transfers=(fetch,))
    with pytest.raises(ReplayError, match=r"'x' at 3 is moved \(fetch\) while it is in use"):
        replay(graph, late)
    without = {b: a for b, a in found.steps[4].placed.items() if b != "x"}
    with pytest.raises(ReplayError, match="to 3; its place is nowhere"):
        replay(graph, changed(found, 4, placed=without))
    without = {b: a for b, a in found.steps[2].placed.items() if b != "x"}
    with pytest.raises(ReplayError, match="'x' at 0 leaves at once, and is needed again"):
        replay(graph, changed(found, 2, placed=without))


@pytest.mark.parametrize("first", [0, 100])
def test_plans_of_baselines(first: int) -> None:
    plans = 0
    for name, graph, problem in problems(100, first):
        try:
            results = [baselines.layer_by_layer(problem), baselines.belady_greedy(problem)]
        except ValueError:
            continue  # the default order needs more
        for result in results:
            if result.plan is not None:
                counted = replay(graph, Schedule.of(graph, result.plan, result.to_json()))
                plans += 1
                assert (counted.non_compulsory, counted.compulsory, counted.peak) == (
                    result.objective, problem.compulsory, result.plan.peak), name  # fmt: skip
    assert plans > 100


def test_schedules_of_files_replay(tmp_path) -> None:
    found = schedule()
    found.write(tmp_path / "s.json")
    assert replay(waiting(), Schedule.read(tmp_path / "s.json")) == replay(waiting(), found)


def test_ranges_against_lists() -> None:
    rng = random.Random(1)
    for _ in range(200):
        ranges: Ranges[int] = Ranges()
        plain: list[int | None] = [None] * 12
        for value in range(6):
            start, stop = sorted(rng.sample(range(13), 2))
            ranges[start:stop] = value // 2
            plain[start:stop] = [value // 2] * (stop - start)
        start, stop = sorted(rng.sample(range(13), 2))
        pieces = list(ranges[start:stop])
        assert [v for a, z, v in pieces for _ in range(a, z)] == plain[start:stop]
        assert all(a[2] != b[2] and a[1] == b[0] for a, b in itertools.pairwise(pieces))
