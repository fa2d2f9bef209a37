"""Curves as pictures and pages."""

import sys

import pytest
from thresher.bench._curves import Figure, Panel, Series, draw

FIGURE = Figure(
    "Rates [and] cycles",
    "Eb/N0, dB",
    [
        Panel(
            "error rate",
            [
                Series("ours", [4, 5], [1e-2, 1e-3], [9e-3, 8e-4], [1.2e-2, 1.3e-3]),
                Series("theirs", [4], [2e-2], reference=True),
            ],
        ),
        Panel("cycles", [Series("theirs", [4, 5], [300, 30], reference=True)]),
    ],
)


def test_error_bars_reach_the_interval():
    ours, theirs = FIGURE.panels[0].series
    below, above = ours.errors()
    assert below == pytest.approx([1e-3, 2e-4])
    assert above == pytest.approx([2e-3, 3e-4])
    assert theirs.errors() is None


def test_a_label_has_one_colour():
    colours = FIGURE.colours()
    assert set(colours) == {"ours", "theirs"}
    assert colours["ours"] != colours["theirs"]


def test_pictures_are_written_and_reproducible(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra [pictures]")
    pytest.importorskip("plotly", reason="needs the extra [pictures]")
    first, again = (draw(FIGURE, tmp_path / name, "rates") for name in ("a/b", "c"))
    assert [file.name for file in first] == ["rates.svg", "rates.html"]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    picture, page = (file.read_text(encoding="utf-8") for file in first)
    assert picture.count("<svg") == 1
    for text in ("Rates [and] cycles", "error rate", "theirs"):
        assert text in page
    assert "cdn.plot.ly" not in page.partition("plotly.js v")[0]
    for colour in FIGURE.colours().values():
        assert colour.lower() in picture
        assert colour in page


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ModuleNotFoundError, match=r"plotly.*thresher\[pictures\]"):
        draw(FIGURE, tmp_path, "rates")
