"""Pictures and the page of a schedule."""

import json
import re

import pytest
from thresher.mapper import page as pages
from thresher.mapper import pictures
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.plan import Result
from thresher.mapper.problem import Memory, lower
from thresher.mapper.schedule import Schedule

pytest.importorskip("matplotlib", reason="needs the extra [pictures]")
pytest.importorskip("plotly", reason="needs the extra [pictures]")


def spilling(order: tuple[int, ...] | None = None, parameters: bool = False) -> Schedule:
    """a leaves while b becomes b2, and comes back for c, at another address."""
    sizes = {"x": 4, "a<": 8, "b": 6, "b2": 6, "c": 2, "d": 4}
    ops = [
        Op("x", "load", (), ("x",)),
        Op("a<", "conv2d", ("x",), ("a<",), 3),
        Op("b", "conv2d", ("a<",), ("b",)),
        Op("b2", "relu", ("b",), ("b2",)),
        Op("c", "conv2d", ("a<",), ("c",)),
        Op("d", "add", ("b2", "c"), ("d",)),
    ]
    graph = Graph("a & b", [Tensor(n, s) for n, s in sizes.items()], ops)
    problem = lower(graph, Memory(20), parameters)
    fixed = FixedOrder(problem, order)
    left = [i for i, gap in enumerate(fixed.gaps) if problem.buffers[gap.buffer].name == "a<"]
    if parameters:
        plan = fixed.plan([], [0, 4, 12, 6, 18, 0, 0, 16])
    else:
        plan = fixed.plan(left, [8, 0, 10, 8, 0, 18, 8][: len(fixed.residences(left))])
    result = Result(problem, "feasible", plan, 0, "by hand", 0.5, notes={"nodes": 7})
    return Schedule.of(graph, plan, result.to_json())


def test_stays_are_the_residences() -> None:
    found = {(s.buffer, s.first, s.last): s for s in pictures.stays(spilling())}
    assert set(found) == {
        ("x", 0, 1), ("a<", 1, 2), ("b", 2, 3), ("b2", 3, 5), ("a<", 4, 4), ("c", 4, 5),
        ("d", 5, 5),
    }  # fmt: skip
    assert [found[key].kind for key in (("x", 0, 1), ("b", 2, 3), ("d", 5, 5))] == [
        "input", "activation", "output",
    ]  # fmt: skip
    assert {s.buffer for s in found.values() if s.spilled} == {"a<"}
    assert found["a<", 1, 2].size == 8


def test_parameters_are_told_apart() -> None:
    schedule = spilling(parameters=True)
    kinds = {s.buffer: s.kind for s in pictures.stays(schedule)}
    assert kinds["a<:weights"] == "parameters"
    assert pictures.traffic(schedule)["compulsory fetches"][1:3] == [4, 3]


def test_traffic_counts_every_byte_once() -> None:
    found = pictures.traffic(spilling())
    assert {sort: sum(bytes) for sort, bytes in found.items()} == {
        "compulsory fetches": 4, "compulsory stores": 4,
        "non-compulsory fetches": 8, "non-compulsory stores": 8,
    }  # fmt: skip
    # Place 0 is before the first step: a is stored before b2 is made, at the fourth step.
    assert found["non-compulsory stores"].index(8) == 4
    assert found["non-compulsory fetches"].index(8) == 5
    assert found["compulsory stores"][-1] == 4


def test_moves_in_the_order() -> None:
    assert pictures.moved([0, 2, 1, 3]) == {
        "earlier": [1], "as by default": [0, 3], "later": [2],
    }  # fmt: skip


def test_units() -> None:
    assert pictures.unit(1999) == (1, "bytes")
    assert pictures.unit(2_000_000) == (10**6, "MB")


def test_pictures_are_the_same_each_time(tmp_path) -> None:
    schedule = spilling()
    paths = pictures.draw(schedule, tmp_path / "new")
    assert [p.name for p in paths] == ["memory.svg", "traffic.svg", "order.svg"]
    first = [p.read_bytes() for p in paths]
    assert [p.read_bytes() for p in pictures.draw(schedule, tmp_path / "new")] == first
    assert b"leaves and comes back" in first[0]
    unknown = schedule.model_copy(
        update={"steps": tuple(s.model_copy(update={"place": None}) for s in schedule.steps)}
    )
    assert len(pictures.draw(unknown, tmp_path)) == 2
    assert "<h2>Order" not in pages.page(unknown)


def traces(page: str, name: str) -> list[dict]:
    found = re.search(rf'Plotly\.newPlot\(\s*"{name}",\s*(\[.*?\]),\s*\{{"', page, re.S)
    assert found
    return json.loads(found[1])


def test_page_holds_the_schedule() -> None:
    page = pages.page(
        spilling(),
        coverage=[{"operator": "b", "engine": "amu"}, {"operator": "d", "engine": "host <1>"}],
        costs=[pages.Cost("b", "amu", 10, 20.0), pages.Cost("d", "host", 0, 5)],
    )
    text = page[page.index("</script></head>") :]
    assert "a &amp; b" in text
    assert "a<" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert "host &lt;1&gt;" in text
    assert not re.search(r"(src|href)=.http", text)
    bars = {t["name"]: t for t in traces(text, "memory")}
    assert sorted(bars["activation, comes back"]["customdata"])[0].startswith("<b>a&lt;</b>")
    assert {name for name in bars if "compulsory" in name} == {
        "compulsory fetches: 4 bytes", "compulsory stores: 4 bytes",
        "non-compulsory fetches: 8 bytes", "non-compulsory stores: 8 bytes",
    }  # fmt: skip
    assert len(traces(text, "roof")) == 3
    for tile in ("feasible", "by hand", "100.00%"):
        assert f"<dd>{tile}</dd>" in text


def test_page_without_more() -> None:
    schedule = spilling().model_copy(update={"result": {}})
    text = pages.page(schedule).partition("</script></head>")[2]
    assert "<h2>Coverage" not in text
    assert "<h2>Compute" not in text
    assert "solver</dt>" not in text
    assert "<dt>non-compulsory bytes</dt><dd>16</dd>" in text
