"""A page that shows a schedule: one HTML file that needs no network, made of its file alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from .pictures import KINDS, MANY, SPILLED, TRAFFIC, Stay, moved, stays, traffic, unit
from .plan import Result
from .schedule import Schedule, Transfer


@dataclass(frozen=True)
class Cost:
    """What an operator takes, in one unit of time for both."""

    operator: str
    engine: str
    compute: float
    transfer: float


def page(
    schedule: Schedule,
    result: Result | Mapping[str, Any] | None = None,
    coverage: Sequence[Mapping[str, Any]] = (),
    costs: Sequence[Cost] = (),
    unit_of_time: str = "cycles",
) -> str:
    """The whole file.

    ``result``: figures of the search; None: those in the schedule's file.  ``coverage``: rows of a
    table, alike in their keys, such as operators and the engines that run them.  ``costs``: for
    the picture of compute against transfer time.  Both are left out where there are none.  Raises
    :class:`ModuleNotFoundError`, which says how to get it, without plotly.
    """
    go, make_subplots, script = _library()
    figures = result.to_json() if isinstance(result, Result) else dict(result or schedule.result)
    parts = [
        _section("Result", _tiles(schedule, figures) + _more(figures)),
        _section(
            "Memory and transfers",
            "<p>Each rectangle is a buffer at one address; those with an edge and hatching leave "
            "and come back. Drag to zoom in, double-click to zoom out; one axis of time for both."
            "</p>" + _html(_map(schedule, go, make_subplots), "memory"),
        ),
    ]
    places = [step.place for step in schedule.steps]
    if places == list(range(len(places))):
        parts.append(_section("Order", "<p>The default one.</p>"))
    elif None not in places:
        parts.append(_section("Order", _html(_order(schedule, go), "order")))
    if costs:
        text = (
            "<p>Each point is an operator: above the line the transfers take longer than the "
            "engine.</p>"
        )
        parts.append(
            _section(
                "Compute against transfer", text + _html(_roof(costs, unit_of_time, go), "roof")
            )
        )
    if coverage:
        parts.append(
            _section("Coverage", _table(list(coverage[0]), (r.values() for r in coverage)))
        )
    spilled = _spilled(schedule)
    if spilled:
        head = ("buffer", "bytes", "stores", "fetches", "non-compulsory bytes")
        parts.append(_section("What leaves and comes back", _table(head, spilled)))
    head = ("position", "operator", "kind", "by default", "bytes in use", "transfers before it")
    steps = _table(head, _steps(schedule))
    parts.append(f"<details><summary>All {len(schedule.steps)} steps</summary>{steps}</details>")
    name = escape(schedule.name)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}: schedule'
        f'</title><link rel="icon" href="data:,"><style>{_STYLE}</style>'
        f"<script>{script}</script></head>\n<body><h1>{name}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; margin: 1.5rem auto;
  max-width: 1280px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1.5rem 0 .5rem; }
p { margin: .3rem 0; color: #555; }
dl { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0; }
dl div { border: 1px solid #ddd; border-radius: 6px; padding: .35rem .7rem; }
dt { color: #666; font-size: .8rem; }
dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
.table { max-height: 32rem; overflow: auto; border: 1px solid #ddd; border-radius: 6px;
  width: fit-content; max-width: 100%; }
table { border-collapse: collapse; font-size: .85rem; }
th { position: sticky; top: 0; background: #f4f4f4; text-align: left; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #eee; vertical-align: top;
  overflow-wrap: anywhere; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
summary { cursor: pointer; font-weight: 600; margin: 1.5rem 0 .5rem; }
"""


def _library() -> tuple[Any, Any, str]:
    try:
        import plotly.graph_objects as go
        from plotly.offline import get_plotlyjs
        from plotly.subplots import make_subplots
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"pages need {missing.name}: pip install 'thresher[pictures]'", name=missing.name
        ) from None
    return go, make_subplots, get_plotlyjs()


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _html(figure: Any, name: str) -> str:
    return figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=name,
        config={"responsive": True, "displaylogo": False},
    )  # fmt: skip


def _show(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_show, value))
    return escape(str(value))


def _tiles(schedule: Schedule, figures: Mapping[str, Any]) -> str:
    moved_bytes = sum(map(sum, traffic(schedule).values()))
    spilled = sum(t.bytes for t in schedule.transfers if not t.compulsory)
    peak = max(s.address + s.size for s in stays(schedule))
    shown = {
        "status": figures.get("status"),
        "non-compulsory bytes": spilled,
        "proved bound": figures.get("bound"),
        "gap": None if figures.get("gap") is None else f"{figures['gap']:.2%}",
        "compulsory bytes": moved_bytes - spilled,
        "all bytes": moved_bytes,
        "scratchpad, bytes": schedule.budget,
        "highest byte in use": peak,
        "operators": len(schedule.steps),
        "solver": figures.get("solver"),
        "seed": figures.get("seed"),
        "seconds": figures.get("seconds"),
        "alignment": schedule.alignment,
        "banks": schedule.banks,
        "double buffered": schedule.double_buffered,
    }
    known = {name: value for name, value in shown.items() if value is not None}
    tiles = (f"<div><dt>{n}</dt><dd>{_show(v)}</dd></div>" for n, v in known.items())
    return f"<dl>{''.join(tiles)}</dl>"


def _more(figures: Mapping[str, Any]) -> str:
    """What the solver noted."""
    notes = figures.get("notes") or {}
    if not notes:
        return ""
    body = "".join(f"<div><dt>{escape(k)}</dt><dd>{_show(v)}</dd></div>" for k, v in notes.items())
    return f"<details><summary>Notes of the search</summary><dl>{body}</dl></details>"


def _map(schedule: Schedule, go: Any, make_subplots: Any) -> Any:
    """Address over position, and transfers below."""
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.04)
    found = stays(schedule)
    divisor, name = unit(schedule.budget)
    names = [escape(step.name) for step in schedule.steps]
    thin = 0.5 if len(names) < MANY else 0.25
    for kind, colour in KINDS.items():
        for spilled in (False, True):
            some = [s for s in found if s.kind == kind and s.spilled == spilled]
            if not some:
                continue
            edge = {"color": SPILLED, "width": 1} if spilled else {"color": "#0005", "width": thin}
            pattern = {"shape": "/", "fgcolor": SPILLED, "size": 6, "solidity": 0.2}
            figure.add_bar(
                x=[s.first for s in some], width=[s.last - s.first + 1 for s in some], offset=0,
                base=[s.address / divisor for s in some], y=[s.size / divisor for s in some],
                customdata=[_hover(schedule, s, names) for s in some],
                hovertemplate="%{customdata}<extra></extra>",
                marker={"color": colour, "line": edge, "pattern": pattern if spilled else None},
                name=f"{kind}, comes back" if spilled else kind, row=1, col=1,
            )  # fmt: skip
    figure.add_hline(schedule.budget / divisor, line={"dash": "dash", "width": 1}, row=1, col=1)
    _transfers(schedule, figure, names)
    figure.update_layout(
        template="plotly_white", barmode="overlay", hovermode="closest", height=760, bargap=0,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        margin={"l": 70, "r": 40, "t": 30, "b": 50}, modebar={"orientation": "v"},
    )  # fmt: skip
    figure.update_yaxes(title_text=f"address [{name}]", row=1, col=1, rangemode="tozero")
    end = len(schedule.steps) + 1
    figure.update_xaxes(range=[-1, end], zeroline=False)
    figure.update_xaxes(title_text="position in the schedule", row=2, col=1)
    return figure


def _hover(schedule: Schedule, stay: Stay, names: Sequence[str]) -> str:
    where = f"{stay.first} ({names[stay.first]})"
    if stay.last > stay.first:
        where += f" to {stay.last} ({names[stay.last]})"
    inside = [n for n, p in schedule.tensors.items() if p.buffer == stay.buffer != n]
    views = f"<br>holds {escape(', '.join(inside[:5]))}" if inside else ""
    return (
        f"<b>{escape(stay.buffer)}</b>: {stay.kind}{views}<br>"
        f"{schedule.buffers[stay.buffer].bytes:,} bytes at {stay.address:,} to "
        f"{stay.address + stay.size:,}<br>positions {where}"
        + ("<br>leaves and comes back" if stay.spilled else "")
    )


def _transfers(schedule: Schedule, figure: Any, names: Sequence[str]) -> None:
    found = traffic(schedule)
    divisor, name = unit(max(map(max, found.values())))
    moments = ["before the first operator", *(f"{p} ({n})" for p, n in enumerate(names)),
               "after the last operator"]  # fmt: skip
    wide = 0 if len(names) < MANY else 1
    base = {"fetches": [0.0] * len(moments), "stores": [0.0] * len(moments)}
    for sort, bytes in found.items():
        way = sort.split()[1]
        sign = 1 if way == "fetches" else -1
        some = [i for i, b in enumerate(bytes) if b]
        figure.add_bar(
            x=[i - 1 for i in some], width=1, offset=0, base=[base[way][i] for i in some],
            y=[sign * bytes[i] / divisor for i in some],
            marker={"color": TRAFFIC[sort], "line": {"color": TRAFFIC[sort], "width": wide}},
            customdata=[f"{moments[i]}: {sort}, {bytes[i]:,} bytes" for i in some],
            hovertemplate="%{customdata}<extra></extra>", name=f"{sort}: {sum(bytes):,} bytes",
            row=2, col=1,
        )  # fmt: skip
        for i in some:
            base[way][i] += sign * bytes[i] / divisor
    figure.update_yaxes(title_text=f"stored ↓ fetched ↑ [{name}]", row=2, col=1)


def _order(schedule: Schedule, go: Any) -> Any:
    places = [step.place or 0 for step in schedule.steps]
    figure = go.Figure()
    end = len(places) - 1
    figure.add_scatter(
        x=[0, end], y=[0, end], mode="lines", line={"color": "#bbb", "width": 1},
        showlegend=False, hoverinfo="skip",
    )  # fmt: skip
    colours = ("#0072B2", "#999999", "#D55E00")
    for (label, some), colour in zip(moved(places).items(), colours, strict=True):
        figure.add_scatter(
            x=some, y=[places[p] for p in some], mode="markers", name=f"{label}: {len(some)}",
            marker={"color": colour, "size": 8 if len(places) < 60 else 5},
            customdata=[escape(schedule.steps[p].name) for p in some],
            hovertemplate="%{customdata}: position %{x}, by default %{y}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        template="plotly_white", height=460, hovermode="closest",
        xaxis_title="position in the schedule", yaxis_title="position by default",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        margin={"l": 70, "r": 40, "t": 30, "b": 50}, modebar={"orientation": "v"},
    )  # fmt: skip
    return figure


def _roof(costs: Sequence[Cost], unit_of_time: str, go: Any) -> Any:
    figure = go.Figure()
    # A logarithmic axis has no 0; what takes no time lies at its edge.
    shown = [t for c in costs for t in (c.compute, c.transfer) if t > 0]
    low, high = min(shown, default=1) / 2, max(shown, default=1) * 2
    figure.add_scatter(
        x=[low, high], y=[low, high], mode="lines", line={"color": "#bbb"}, showlegend=False,
        hoverinfo="skip",
    )  # fmt: skip
    for engine in dict.fromkeys(c.engine for c in costs):
        some = [c for c in costs if c.engine == engine]
        figure.add_scatter(
            x=[max(c.compute, low) for c in some], y=[max(c.transfer, low) for c in some],
            mode="markers", name=escape(engine), marker={"size": 8, "opacity": 0.7},
            customdata=[
                f"<b>{escape(c.operator)}</b><br>compute {c.compute:,.4g}<br>transfer "
                f"{c.transfer:,.4g} {unit_of_time}" for c in some
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    axis = {"type": "log", "exponentformat": "power"}
    figure.update_layout(
        template="plotly_white", height=460, hovermode="closest", xaxis=axis, yaxis=axis,
        xaxis_title=f"compute [{unit_of_time}]", yaxis_title=f"transfer [{unit_of_time}]",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}, showlegend=True,
        margin={"l": 70, "r": 40, "t": 30, "b": 50}, modebar={"orientation": "v"},
    )  # fmt: skip
    return figure


def _spilled(schedule: Schedule) -> list[tuple[Any, ...]]:
    """Buffers with non-compulsory transfers, the most bytes first."""
    found: dict[str, list[Transfer]] = {}
    for t in schedule.transfers:
        if not t.compulsory:
            found.setdefault(t.buffer, []).append(t)
    rows = [
        (
            buffer, schedule.buffers[buffer].bytes,
            sum(t.direction == "store" for t in some), sum(t.direction == "fetch" for t in some),
            sum(t.bytes for t in some),
        )
        for buffer, some in found.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -row[-1])


def _steps(schedule: Schedule) -> Iterable[tuple[Any, ...]]:
    for position, step in enumerate(schedule.steps):
        used = sum(schedule.buffers[b].size for b in step.placed)
        moves = ", ".join(f"{t.direction} {t.buffer}" for t in step.transfers)
        yield position, step.name, step.kind, step.place, used, moves


def _table(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    def cell(value: Any) -> str:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return f"<td{' class=n' if number else ''}>{_show(value)}</td>"

    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    top = "".join(f"<th>{escape(str(h))}</th>" for h in head)
    return f'<div class="table"><table><tr>{top}</tr>{body}</table></div>'
