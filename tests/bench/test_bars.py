"""Bars as pictures and pages."""

import json
import re

import pytest
from thresher.bench._bars import Bars, draw

pytest.importorskip("matplotlib", reason="needs the extra [pictures]")
pytest.importorskip("plotly", reason="needs the extra [pictures]")

HEIGHTS = {"first": [1.0, 2.0], "second": [3.0, -0.5]}
RANGES = {"first": [(0.5, 1.25), (2.0, 2.0)], "second": [(3.0, 4.0), (-1.0, 0.0)]}


def page(path):
    """What is drawn, and how."""
    found = re.search(r'Plotly\.newPlot\(\s*"bars",\s*(\[.*?\]),\s*(\{.*?\}),\s*\{', path, re.S)
    assert found
    return json.loads(found[1]), json.loads(found[2])


@pytest.mark.parametrize("stacked", [True, False])
def test_pictures_hold_what_is_given(tmp_path, stacked):
    bars = Bars("Title", "cycles", ("dense", "2:8"), HEIGHTS, stacked, RANGES)
    static, interactive = draw(bars, tmp_path, "bars")
    first = static.read_bytes()
    draw(bars, tmp_path, "bars")
    assert static.read_bytes() == first
    traces, layout = page(interactive.read_text(encoding="utf-8")[-20000:])
    assert {t["name"]: t["y"] for t in traces} == HEIGHTS
    assert [t["x"] for t in traces] == [["dense", "2:8"]] * 2
    assert traces[0]["error_y"]["arrayminus"] == [0.5, 0.0]
    assert traces[1]["error_y"]["array"] == [1.0, 0.5]
    assert layout["barmode"] == ("stack" if stacked else "group")
