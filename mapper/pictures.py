"""Pictures of a schedule (SVG), made of its file alone: memory map, traffic, order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .graph import LOAD
from .schedule import Schedule

KINDS = {
    "activation": "#A9D3EE",
    "input": "#009E73",
    "output": "#CC79A7",
    "parameters": "#BBBBBB",
}
"""What a buffer is, and its colour, told apart by any eye (after Okabe and Ito)."""

TRAFFIC = {
    "compulsory fetches": "#0072B2",
    "compulsory stores": "#56B4E9",
    "non-compulsory fetches": "#D55E00",
    "non-compulsory stores": "#E69F00",
}
"""Sorts of transfers, and their colours."""

SPILLED = "#B03A00"
"""The colour of edges and hatching of what leaves and comes back."""

MANY = 300
"""Steps from which on what is one step wide gets edges that make it wider rather than narrower."""


@dataclass(frozen=True)
class Stay:
    """A buffer at one address from position ``first`` to ``last``, both included."""

    buffer: str
    kind: str
    """One of :data:`KINDS`."""
    first: int
    last: int
    address: int
    size: int
    spilled: bool
    """Whether the buffer leaves and comes back: this is one of several stays."""


def stays(schedule: Schedule) -> list[Stay]:
    """Every rectangle of the memory map, the earliest first."""
    found: list[tuple[str, int, int, int]] = []
    open_: dict[str, tuple[int, int]] = {}
    """First position and address of what is there."""
    for position, step in enumerate(schedule.steps):
        fetched = {t.buffer for t in step.transfers if t.direction == "fetch"}
        for buffer, (first, address) in list(open_.items()):
            if step.placed.get(buffer) != address or buffer in fetched:
                found.append((buffer, first, position - 1, address))
                del open_[buffer]
        for buffer, address in step.placed.items():
            open_.setdefault(buffer, (position, address))
    end = len(schedule.steps) - 1
    found += [(buffer, first, end, address) for buffer, (first, address) in open_.items()]
    kinds = _kinds(schedule)
    times: dict[str, int] = {}
    for buffer, *_ in found:
        times[buffer] = times.get(buffer, 0) + 1
    made = [
        Stay(b, kinds[b], first, last, address, schedule.buffers[b].size, times[b] > 1)
        for b, first, last, address in found
    ]
    return sorted(made, key=lambda s: (s.first, s.address))


def _kinds(schedule: Schedule) -> dict[str, str]:
    """Of every buffer one of :data:`KINDS`; what is brought and delivered is an output."""
    compulsory = [t for t in schedule.transfers if t.compulsory]
    outputs = {t.buffer for t in compulsory if t.direction == "store"}
    inputs = {t.buffer for t in compulsory if t.direction == "fetch"} | set(_loaded(schedule))

    def kind(buffer: str) -> str:
        if buffer.endswith(":weights"):
            return "parameters"
        if buffer in outputs:
            return "output"
        return "input" if buffer in inputs else "activation"

    return {buffer: kind(buffer) for buffer in schedule.buffers}


def _loaded(schedule: Schedule) -> dict[str, int]:
    """Position of the operator that brings each buffer which one brings."""
    seen: set[str] = set()
    found = {}
    for position, step in enumerate(schedule.steps):
        fetched = {t.buffer for t in schedule.prologue if t.direction == "fetch"}
        fetched |= {t.buffer for t in step.transfers if t.direction == "fetch"}
        if step.kind == LOAD:
            found |= {b: position for b in step.placed if b not in seen and b not in fetched}
        seen |= step.placed.keys()
    return found


def traffic(schedule: Schedule) -> dict[str, list[int]]:
    """Bytes before the first step, at each step and after the last one, by :data:`TRAFFIC`.

    What an operator loads counts as a compulsory fetch at its step.
    """
    moments = [schedule.prologue, *(s.transfers for s in schedule.steps), schedule.epilogue]
    found = {sort: [0] * len(moments) for sort in TRAFFIC}
    for moment, transfers in enumerate(moments):
        for t in transfers:
            sort = "compulsory" if t.compulsory else "non-compulsory"
            plural = "fetches" if t.direction == "fetch" else "stores"
            found[f"{sort} {plural}"][moment] += t.bytes
    for buffer, position in _loaded(schedule).items():
        found["compulsory fetches"][position + 1] += schedule.buffers[buffer].bytes
    return found


def unit(most: float) -> tuple[float, str]:
    """What to divide bytes by, of which there are ``most``, and its name (of powers of 1,000)."""
    for divisor, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if most >= 2 * divisor:
            return divisor, name
    return 1, "bytes"


def draw(schedule: Schedule, folder: Path) -> list[Path]:
    """Writes ``memory.svg``, ``traffic.svg`` and, where the places in the default order are
    known, ``order.svg``; returns their paths.  The same schedule gives the same bytes.

    Raises :class:`ModuleNotFoundError`, which says how to get it, without matplotlib.
    """
    mpl, canvas_of = _library()
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"memory": _memory, "traffic": _traffic}
    if all(step.place is not None for step in schedule.steps):
        parts["order"] = _order
    written = []
    for stem, part in parts.items():
        with mpl.rc_context({"svg.hashsalt": stem, "font.size": 9, "hatch.linewidth": 0.6}):
            size = (5.2, 4.8) if stem == "order" else (10.4, 4.8)
            canvas = canvas_of(figsize=size, layout="constrained")
            axes = canvas.subplots()
            part(schedule, axes)
            canvas.legend(loc="outside lower center", ncols=6, fontsize=8)
            path = folder / f"{stem}.svg"
            canvas.savefig(path, metadata={"Date": None})
        written.append(path)
    return written


def _library() -> tuple[Any, Any]:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"pictures need {missing.name}: pip install 'thresher[pictures]'", name=missing.name
        ) from None
    return mpl, Figure


def _memory(schedule: Schedule, axes: Any) -> None:
    """Address over position, a rectangle a stay."""
    found = stays(schedule)
    divisor, name = unit(schedule.budget)
    thin = 0.3 if len(schedule.steps) < MANY else 0.15
    for kind, colour in KINDS.items():
        for spilled in (False, True):
            some = [s for s in found if s.kind == kind and s.spilled == spilled]
            if not some:
                continue
            axes.bar(
                [s.first for s in some], [s.size / divisor for s in some],
                [s.last - s.first + 1 for s in some], [s.address / divisor for s in some],
                align="edge", color=colour, edgecolor=SPILLED if spilled else (0, 0, 0, 0.3),
                linewidth=0.8 if spilled else thin, hatch="////" if spilled else None,
                label=f"{kind}, leaves and comes back" if spilled else kind,
            )  # fmt: skip
    axes.axhline(schedule.budget / divisor, color="black", linewidth=0.8, linestyle="--")
    axes.set(
        xlabel="position in the schedule", ylabel=f"address [{name}]",
        title=f"{schedule.name}: scratchpad of {schedule.budget:,} bytes over time",
        xlim=(0, len(schedule.steps)), ylim=(0, 1.02 * schedule.budget / divisor),
    )  # fmt: skip


def _traffic(schedule: Schedule, axes: Any) -> None:
    """Fetches up, stores down."""
    found = traffic(schedule)
    divisor, name = unit(max(map(max, found.values())))
    edges = np.arange(-1, len(schedule.steps) + 2)
    top = {"fetches": np.zeros(len(edges) - 1), "stores": np.zeros(len(edges) - 1)}
    for sort, bytes in found.items():
        way = sort.split()[1]
        heights = np.array(bytes) / divisor * (1 if way == "fetches" else -1)
        axes.bar(
            edges[:-1], heights, 1, top[way], align="edge", color=TRAFFIC[sort],
            edgecolor=TRAFFIC[sort], linewidth=0 if len(bytes) < MANY else 0.6,
            label=f"{sort}: {sum(bytes):,} bytes",
        )  # fmt: skip
        top[way] += heights
    axes.axhline(0, color="black", linewidth=0.5)
    axes.yaxis.set_major_formatter(lambda y, _: f"{abs(y):g}")
    axes.grid(True, axis="y", linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    axes.set(
        xlabel="position in the schedule", ylabel=f"stored ↓ fetched ↑ [{name}]",
        title=f"{schedule.name}: transfers", xlim=(edges[0], edges[-1]),
    )  # fmt: skip


def moved(places: Sequence[int]) -> dict[str, list[int]]:
    """Positions of what runs earlier than, at, and later than its place in the default order."""
    sorts: dict[str, list[int]] = {"earlier": [], "as by default": [], "later": []}
    for position, place in enumerate(places):
        sign = (position > place) - (position < place)
        sorts[tuple(sorts)[sign + 1]].append(position)
    return sorts


def _order(schedule: Schedule, axes: Any) -> None:
    """Position by default over position in this schedule."""
    places = [step.place or 0 for step in schedule.steps]
    colours = ("#0072B2", "#999999", "#D55E00")
    for (label, some), colour in zip(moved(places).items(), colours, strict=True):
        axes.scatter(
            some, [places[p] for p in some], s=max(2, 200 / (8 + len(places))) * 2, color=colour,
            label=f"{label}: {len(some)}",
        )  # fmt: skip
    axes.plot([0, len(places) - 1], [0, len(places) - 1], color="#999999", linewidth=0.5)
    axes.set(
        xlabel="position in the schedule", ylabel="position by default",
        title=f"{schedule.name}: order", aspect="equal",
    )  # fmt: skip
