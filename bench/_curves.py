"""Curves as a static picture (SVG) and as a page to look closer at (HTML)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's: told apart by any eye; without their yellow, too light for lines."""


@dataclass(frozen=True)
class Series:
    """Points of one curve; equal labels in several panels have one colour."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    """With ``high``: the confidence interval of each y."""
    high: Sequence[float] | None = None
    reference: bool = False
    """Somebody else's: markers without a line."""
    like: str = ""
    """The label of another series, whose colour this one has, too."""

    def errors(self) -> tuple[list[float], list[float]] | None:
        """What error bars reach below and above y."""
        if self.low is None or self.high is None:
            return None
        below = [max(y - low, 0) for y, low in zip(self.y, self.low, strict=True)]
        above = [max(high - y, 0) for y, high in zip(self.y, self.high, strict=True)]
        return below, above


@dataclass(frozen=True)
class Panel:
    """One pair of axes; y is logarithmic."""

    y_title: str
    series: Sequence[Series]


@dataclass(frozen=True)
class Figure:
    """Panels side by side over one kind of x."""

    title: str
    x_title: str
    panels: Sequence[Panel]
    x_unit: str = " dB"
    """Behind a point's x where it is shown."""
    x_log: bool = False

    def colours(self) -> dict[str, str]:
        """That of each label."""
        series = [s for panel in self.panels for s in panel.series]
        labels = dict.fromkeys(s.like or s.label for s in series)
        own = {label: COLOURS[n % len(COLOURS)] for n, label in enumerate(labels)}
        return {s.label: own[s.like or s.label] for s in series}


def draw(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Writes ``stem.svg`` and ``stem.html``, which needs no network; returns both.

    Raises as :func:`libraries`.
    """
    mpl, canvas_of, go, make_subplots = libraries()
    folder.mkdir(parents=True, exist_ok=True)
    # The same figure gives the same bytes.
    with mpl.rc_context({"svg.hashsalt": stem, "font.size": 9}):
        canvas = canvas_of(figsize=(5.2 * len(figure.panels), 4.8), layout="constrained")
        _static(figure, canvas)
        static = folder / f"{stem}.svg"
        canvas.savefig(static, metadata={"Date": None})
    page = make_subplots(cols=len(figure.panels), horizontal_spacing=0.1)
    _interactive(figure, page, go)
    interactive = folder / f"{stem}.html"
    page.write_html(interactive, include_plotlyjs=True, div_id=stem)
    return [static, interactive]


def libraries() -> tuple[Any, Any, Any, Any]:
    """matplotlib, its ``Figure``, plotly's ``graph_objects`` and its ``make_subplots``.

    Raises :class:`ModuleNotFoundError` that says how to get what is missing.
    """
    try:
        import matplotlib as mpl
        import plotly.graph_objects as go
        from matplotlib.figure import Figure as Canvas
        from plotly.subplots import make_subplots
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"pictures need {missing.name}: pip install 'thresher[pictures]'", name=missing.name
        ) from None
    return mpl, Canvas, go, make_subplots


def _static(figure: Figure, canvas: Any) -> None:
    colours, shown = figure.colours(), {}
    canvas.suptitle(figure.title)
    for axes, panel in zip(
        canvas.subplots(ncols=len(figure.panels), squeeze=False)[0], figure.panels, strict=True
    ):
        for series in panel.series:
            shown[series.label] = axes.errorbar(
                series.x, series.y, series.errors(), color=colours[series.label],
                label=series.label, marker="s" if series.reference else "o", markersize=4,
                linestyle="none" if series.reference else "-", linewidth=1.2, capsize=2,
                markerfacecolor="none" if series.reference else None,
            )  # fmt: skip
        x_scale = "log" if figure.x_log else "linear"
        axes.set(xlabel=figure.x_title, ylabel=panel.y_title, yscale="log", xscale=x_scale)
        axes.grid(True, which="major", linewidth=0.5, alpha=0.6)
        axes.grid(True, which="minor", linewidth=0.3, alpha=0.3)
    canvas.legend(
        shown.values(), shown, loc="outside lower center", ncols=2 * len(figure.panels), fontsize=8
    )


def _interactive(figure: Figure, page: Any, go: Any) -> None:
    colours, shown = figure.colours(), set()
    for column, panel in enumerate(figure.panels, 1):
        for series in panel.series:
            errors = series.errors()
            bars = None
            if errors is not None:
                bars = {"type": "data", "array": errors[1], "arrayminus": errors[0], "width": 3}
            page.add_trace(
                go.Scatter(
                    x=series.x, y=series.y, error_y=bars, name=series.label,
                    mode="markers" if series.reference else "lines+markers",
                    marker={"symbol": "square-open" if series.reference else "circle", "size": 7},
                    line={"color": colours[series.label]}, legendgroup=series.label,
                    showlegend=series.label not in shown,
                    hovertemplate=f"%{{x:.4~g}}{figure.x_unit}: %{{y:.4~g}}",
                ),
                row=1, col=column,
            )  # fmt: skip
            shown.add(series.label)
        page.update_xaxes(
            title_text=figure.x_title, type="log" if figure.x_log else "linear", row=1, col=column
        )
        page.update_yaxes(
            title_text=panel.y_title, type="log", exponentformat="power", dtick=1, row=1, col=column
        )
    page.update_layout(
        title=figure.title, template="plotly_white", legend={"orientation": "h", "y": -0.2}
    )
