"""Everything that a sweep leaves in its folder."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from . import table
from .report import page
from .sweep import Outcome

_COLOURS = {"dominated": "#b6c2cf", "constrained": "#d8b26a", "done": "#4b6a88"}


def write(found: Outcome, folder: Path, title: str, summary: str = "") -> list[Path]:
    """Tables (CSV, lines of JSON, Parquet), the page, the front as SVG and PNG; returns the files.

    What needs a library that is not installed is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = found.rows()

    def text() -> list[Path]:
        path = folder / "report.html"
        part = path.with_suffix(".part")
        part.write_text(page(found, title, summary), encoding="utf-8")
        part.replace(path)
        return [path]

    makers: list[Callable[[], list[Path]]] = [
        lambda: [table.write(rows, folder / "trials.csv")],
        lambda: [table.write(rows, folder / "trials.jsonl")],
        lambda: [table.write(rows, folder / "trials.parquet")],
        text,
        lambda: draw(found, folder / "front", title),
    ]
    written = []
    for make in makers:
        try:
            written += make()
        except ModuleNotFoundError:  # an extra's
            continue
    return written


def draw(found: Outcome, stem: Path, title: str) -> list[Path]:
    """The front in each pair of the first three objectives, as ``.svg`` and ``.png``.

    Raises :class:`ModuleNotFoundError`, which says how to get it, without matplotlib.
    """
    try:
        matplotlib: Any = import_module("matplotlib")
        figures: Any = import_module("matplotlib.figure")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'pictures need matplotlib: pip install "thresher[pictures]"'
        ) from None
    names = list(found.sweep.objectives)[:3]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]] or [(names[0], names[0])]
    figure = figures.Figure(figsize=(5.2 * len(pairs), 4.2), layout="constrained")
    front = {trial.number for trial in found.front}
    for axes, (x, y) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        for state, colour in _COLOURS.items():
            points = _points(found, x, y, lambda t, s=state: t.state == s and t.number not in front)
            if len(points):
                axes.plot(*points.T, "o", ms=4, color=colour, label=state)
        points = _points(found, x, y, lambda t: t.number in front)
        if len(points):
            points = points[np.argsort(points[:, 0])]
            line = ":" if len(names) <= 2 else ""
            axes.plot(*points.T, f"D{line}", ms=6, color="#c2410c", label="front")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.locator_params(axis="x", nbins=6)  # numbers of six digits lie side by side
        for along, values in ((axes.set_xscale, x), (axes.set_yscale, y)):
            _spread(along, [t.values.get(values) for t in found])
        axes.grid(alpha=0.3)
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles.update(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    figure.suptitle(title)
    written = []
    for suffix in (".svg", ".png"):
        path = stem.with_suffix(suffix)
        # Without the day and the program's version the same figures are the same bytes.
        metadata = {"Date": None, "Creator": None} if suffix == ".svg" else {"Software": None}
        with matplotlib.rc_context({"svg.hashsalt": "thresher"}):
            figure.savefig(path, metadata=metadata, dpi=150)
        written.append(path)
    return written


def _spread(scale: Callable[[str], None], values: list[Any]) -> None:
    """Logarithms where the largest is 30 times the least, as of error rates."""
    known = [v for v in values if v is not None]
    if known and min(known) > 0 and max(known) > 30 * min(known):
        scale("log")


def _points(found: Outcome, x: str, y: str, chosen: Callable[[Any], bool]) -> np.ndarray:
    """float [trials, 2] of those that have both figures."""
    pairs = [(t.values.get(x), t.values.get(y)) for t in found if chosen(t)]
    return np.array([p for p in pairs if None not in p], float).reshape(-1, 2)
