"""What an engine costs on a device and how fast it runs there, as one report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..hdl.engine import Engine
from ..hdl.generate import Bus, describe_top
from ..hdl.sources import sources
from ..models.config import EngineConfig
from . import tools
from .critical_path import CriticalPath, critical_path
from .devices import Device
from .nextpnr import TARGET_MHZ, Layout, place_and_route
from .resources import UNITS, Resources
from .yosys import synthesise

C = TypeVar("C", bound=EngineConfig)


@dataclass(frozen=True)
class Report:
    """An engine on a device, out of context."""

    engine: str
    config: EngineConfig
    bus: Bus
    device: Device
    resources: Resources
    """As synthesis counts them."""
    layout: Layout | None
    """None where nothing was placed and routed."""
    critical_path: CriticalPath | None
    seconds: float
    """That the tools took when they ran."""
    cached: bool
    """Whether all of them ran earlier."""
    tools: Mapping[str, str]
    """Versions by package."""

    @property
    def fmax_mhz(self) -> float | None:
        """Of the clock; None where nothing was placed and routed, or no path limits it."""
        return self.layout.fmax_mhz if self.layout else None

    @property
    def utilisation(self) -> dict[str, float]:
        """Share of the device's sites by resource; empty where no part was chosen."""
        if self.device.capacity is None:
            return {}
        there = self.device.capacity.to_json()
        used = self.resources.to_json()
        return {name: round(used[name] / there[name], 4) for name in used if there[name]}

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """For people: each resource, how much is used and there, what share, and its unit."""
        there = self.device.capacity.to_json() if self.device.capacity else {}
        shares, units = self.utilisation, UNITS[self.device.family]
        return [
            (
                name,
                f"{used:,}",
                f"{there[name]:,}" if there else "",
                f"{shares[name]:.1%}" if name in shares else "",
                units.get(name, "flip-flops"),
            )
            for name, used in self.resources.to_json().items()
            if used or there.get(name)
        ]

    def to_json(self) -> dict[str, Any]:
        """The report in JSON's types."""
        layout = self.layout
        return {
            "engine": self.engine,
            "config": self.config.model_dump(mode="json"),
            "bus": self.bus,
            "device": self.device.name,
            "part": self.device.part,
            "resources": self.resources.to_json(),
            "units": dict(UNITS[self.device.family]),
            "utilisation": self.utilisation,
            "sites": layout and {name: list(both) for name, both in layout.utilisation.items()},
            "fmax_mhz": self.fmax_mhz and round(self.fmax_mhz, 2),
            "seed": layout and layout.seed,
            "critical_path": self.critical_path and self.critical_path.to_json(),
            "seconds": round(self.seconds, 2),
            "cached": self.cached,
            "tools": dict(self.tools),
        }


def synth(
    engine: Engine[C],
    config: C,
    device: Device,
    *,
    bus: Bus = "stream",
    seed: int = 1,
    seeds: int = 1,
    mhz: float = TARGET_MHZ,
    timeout: float = 1800,
    progress: Callable[[str], None] = lambda stage: None,
) -> Report:
    """Synthesises an engine, and places and routes it where a free tool can.

    ``bus``: what is around the engine (:func:`~thresher.hdl.generate.describe_top`), by
    default nothing.  Of ``seeds`` layouts from ``seed`` on the fastest counts.  ``mhz`` is
    what nextpnr strives for, ``timeout`` bounds each run of a tool in seconds, ``progress``
    hears what comes next.

    Raises :class:`ValueError` for an unknown bus or no seed, and as
    :func:`~thresher.fpga.yosys.synthesise` and :func:`~thresher.fpga.nextpnr.place_and_route`.
    """
    if seeds < 1:
        raise ValueError(f"seeds = {seeds} is not at least 1")
    top = describe_top(engine, config, bus).component
    progress("synthesis")
    mapped = synthesise(top, device, engine.name, timeout=timeout)
    layouts: list[Layout] = []
    for number in range(seed, seed + seeds) if device.nextpnr else ():
        progress("place and route" + (f", seed {number}" if seeds > 1 else ""))
        layouts.append(place_and_route(mapped, seed=number, mhz=mhz, timeout=timeout))
    best = max(layouts, key=lambda layout: layout.fmax_mhz or 0, default=None)
    used = ["pyosys"] + ([f"yowasp-nextpnr-{device.nextpnr}"] if device.nextpnr else [])
    return Report(
        engine=engine.name,
        config=config,
        bus=bus,
        device=device,
        resources=mapped.resources,
        layout=best,
        critical_path=best and critical_path(best, mapped, sources(top)),
        seconds=mapped.seconds + sum(layout.seconds for layout in layouts),
        cached=mapped.cached and all(layout.cached for layout in layouts),
        tools={package: tools.version(package) for package in used},
    )
