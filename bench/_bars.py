"""Bars as a static picture (SVG) and as a page to look closer at (HTML)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._curves import COLOURS, libraries


@dataclass(frozen=True)
class Bars:
    """Bars over ``names``, each of the ``parts``, one on top of the other or side by side."""

    title: str
    y_title: str
    names: Sequence[str]
    parts: Mapping[str, Sequence[float]]
    """For each part its height in each bar."""
    stacked: bool = True
    ranges: Mapping[str, Sequence[tuple[float, float]]] | None = None
    """For each part the least and greatest value that its height is a mean of."""


def draw(bars: Bars, folder: Path, stem: str) -> list[Path]:
    """Writes ``stem.svg`` and ``stem.html``, which needs no network; returns both.

    Raises as :func:`._curves.libraries`.
    """
    mpl, canvas_of, go, _ = libraries()
    folder.mkdir(parents=True, exist_ok=True)
    static, page = folder / f"{stem}.svg", folder / f"{stem}.html"
    colours = dict(zip(bars.parts, COLOURS, strict=False))
    with mpl.rc_context({"svg.hashsalt": stem, "font.size": 9}):
        canvas = canvas_of(figsize=(max(5.2, 1.3 * len(bars.names)), 4.8), layout="constrained")
        axes = canvas.subplots()
        base = [0.0] * len(bars.names)
        width = 0.6 if bars.stacked else 0.8 / len(bars.parts)
        for n, (part, heights) in enumerate(bars.parts.items()):
            shift = 0 if bars.stacked else (n - (len(bars.parts) - 1) / 2) * width
            x = [place + shift for place in range(len(bars.names))]
            axes.bar(
                x, heights, width, bottom=base if bars.stacked else None, label=part,
                color=colours[part], yerr=_reach(bars, part), capsize=2,
            )  # fmt: skip
            base = [a + b for a, b in zip(base, heights, strict=True)]
        axes.set_xticks(range(len(bars.names)), bars.names)
        axes.set(ylabel=bars.y_title, title=bars.title)
        axes.grid(True, axis="y", linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
        canvas.legend(loc="outside lower center", ncols=3, fontsize=8)
        canvas.savefig(static, metadata={"Date": None})
    figure = go.Figure()
    for part, heights in bars.parts.items():
        reach = _reach(bars, part)
        errors = None
        if reach is not None:
            errors = {"type": "data", "arrayminus": reach[0], "array": reach[1]}
        figure.add_bar(
            x=list(bars.names), y=list(heights), name=part, marker_color=colours[part],
            error_y=errors,
        )  # fmt: skip
    figure.update_layout(
        title=bars.title, yaxis_title=bars.y_title, template="plotly_white",
        barmode="stack" if bars.stacked else "group", legend={"orientation": "h", "y": -0.2},
    )  # fmt: skip
    figure.write_html(page, include_plotlyjs=True, div_id=stem)
    return [static, page]


def _reach(bars: Bars, part: str) -> tuple[list[float], list[float]] | None:
    """What error bars reach below and above the heights."""
    if bars.ranges is None:
        return None
    pairs = list(zip(bars.parts[part], bars.ranges[part], strict=True))
    return [mean - low for mean, (low, _) in pairs], [high - mean for mean, (_, high) in pairs]
