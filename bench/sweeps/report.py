"""The page of a sweep: one HTML file that needs no network."""

import json
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

from .sweep import Outcome
from .tools import RESOURCES

_HERE = Path(__file__).parent


def page(found: Outcome, title: str, summary: str = "") -> str:
    """The whole file: scatter with a choice of axes, parallel coordinates, table with filters,
    every trial with its figures in groups, side by side where several stages give one, its records
    and logs, and what all this was made with.

    Raises :class:`ModuleNotFoundError`, which says how to get it, without plotly.
    """
    try:
        script: str = import_module("plotly.offline").get_plotlyjs()
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'the page needs plotly: pip install "thresher[pictures]"'
        ) from None
    rows = found.rows()
    data = {
        "rows": rows,
        "columns": _columns(rows),
        "objectives": list(found.sweep.objectives),
        "varied": _varied(rows),
        "trials": [trial.to_json() for trial in found],
        "groups": _groups({name for trial in found for name in trial.values}),
    }
    # "</" would end the element that the data lie in.
    text = json.dumps(data, default=str).replace("</", "<\\/")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{_read("report.css")}</style><script>{script}</script></head><body>
<h1>{escape(title)}</h1><p class="quiet">{escape(summary)}</p>
<section class="tiles">{_tiles(found)}</section>
<h2>Front</h2><section><div class="axes">
<label>across <select id="x"></select></label> <label><input type="checkbox" id="logx"> log</label>
<label>up <select id="y"></select></label> <label><input type="checkbox" id="logy"> log</label>
<span class="quiet">Click a point for its trial.</span></div><div id="scatter"></div></section>
<h2>Fields and objectives</h2><section><div id="parallel"></div></section>
<h2>Trials</h2><section><p id="count" class="quiet"></p><div class="scroll"><table>
<thead><tr id="head"></tr></thead><tbody><tr id="filters"></tr></tbody><tbody id="body"></tbody>
</table></div></section>
<h2>One trial</h2><section id="trial"></section>
{_skipped(found)}
<h2>Made with</h2><section><pre>{escape(json.dumps(dict(found.provenance), indent=1))}</pre>
</section>
<script type="application/json" id="data">{text}</script>
<script>{_read("report.js")}</script></body></html>
"""


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _tiles(found: Outcome) -> str:
    states = [trial.state for trial in found]
    seconds = sum(record.seconds for trial in found for record in trial.records)
    tiles = {
        "trials": len(states),
        "on the front": len(found.front),
        **{state: states.count(state) for state in ("dominated", "constrained", "failed")},
        "combinations skipped": sum(found.skipped.values()),
        "seconds of tools": round(seconds, 1),
    }
    return "".join(f"<div><b>{value:,}</b>{name}</div>" for name, value in tiles.items())


def _skipped(found: Outcome) -> str:
    if not found.skipped:
        return ""
    lines = "".join(
        f"<tr><td>{escape(reason)}</td><td>{count:,}</td></tr>"
        for reason, count in sorted(found.skipped.items(), key=lambda item: -item[1])
    )
    return f'<h2>Skipped</h2><section><table class="reasons">{lines}</table></section>'


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """Those that differ among trials, and those that tell trials apart."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    always = ("trial", "state", "front")
    return [*always, *(n for n in names if n not in always and _differs(rows, n))]


def _varied(rows: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("config."))
    return [name for name in names if _differs(rows, name)]


def _groups(figures: set[str]) -> dict[str, list[str]]:
    """Figures by what they are about, in the order in which a trial shows them."""
    found = {
        name: [] for name in ("speed", "stalls and counters", "resources", "toggles", "others")
    }
    for figure in sorted(figures):
        found[_group(figure)].append(figure)
    found["resources"].sort(key=lambda name: [*RESOURCES, name].index(name))
    return found


def _group(figure: str) -> str:
    if figure.startswith("register."):
        return "stalls and counters"
    if figure.startswith("toggles"):
        return "toggles"
    if figure in (*RESOURCES, "memory_bits"):
        return "resources"
    speed = any(word in figure for word in ("cycles", "utilisation", "fmax"))
    return "speed" if speed else "others"


def _differs(rows: list[dict[str, Any]], name: str) -> bool:
    return len({json.dumps(row.get(name), default=str) for row in rows}) > 1
