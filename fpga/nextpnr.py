"""Place and route: how fast a mapped design runs, and along which path it runs no faster."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..hdl import cache
from . import tools
from .devices import Device
from .fit import DoesNotFit, check_fit, overfull, way_out
from .yosys import Synthesis

TARGET_MHZ = 200.0
"""What nextpnr strives for unless it is told otherwise."""


@dataclass(frozen=True)
class Delay:
    """One delay along a path, in the names of nextpnr."""

    kind: str
    """``clk-to-q``, ``logic``, ``routing`` or ``setup``."""
    nanoseconds: float
    start: tuple[str, str]
    """Cell and port where it begins."""
    stop: tuple[str, str]
    """Cell and port where it ends."""
    net: str
    """What is routed; empty for the other kinds."""


@dataclass(frozen=True)
class Layout:
    """A design placed and routed, its ports left open."""

    device: Device
    seed: int
    fmax_mhz: float | None
    """Of the clock, between flip-flops and memories; None where there is no such path."""
    utilisation: Mapping[str, tuple[int, int]]
    """Sites used and there, by nextpnr's name, by those that are used."""
    path: tuple[Delay, ...]
    """The slowest path from clock to clock."""
    seconds: float
    """That nextpnr took when it ran."""
    cached: bool
    """Whether it ran earlier."""


def place_and_route(
    synthesis: Synthesis, *, seed: int = 1, mhz: float = TARGET_MHZ, timeout: float = 1800
) -> Layout:
    """Lays a design out on its device, out of context: no port has a pin.

    ``mhz`` is what nextpnr strives for; missing it is no error.  The same netlist, seed
    and target give the same layout, which is kept in the cache.

    Raises :class:`~thresher.fpga.fit.DoesNotFit` before nextpnr starts where the
    count tells, and after where nextpnr finds out; :class:`ValueError` for a device that
    nothing lays out; otherwise as :func:`~thresher.fpga.yosys.synthesise`.
    """
    device = synthesis.device
    program = device.nextpnr
    if program is None:
        raise ValueError(f"{device.name} has resources only: no free tool lays it out")
    check_fit(synthesis.resources, device, synthesis.top)
    arguments = [*device.arguments, "--freq", str(float(mhz)), "--seed", str(seed)]
    arguments += ["--json", "netlist.json", "--report", "report.json", "--timing-allow-fail"]
    ran = False

    def make(entry: Path) -> None:
        nonlocal ran
        ran, start = True, time.monotonic()
        netlist, file = entry / "netlist.json", entry / "report.json"
        netlist.write_text(_without_ports(synthesis), encoding="utf-8")
        try:
            tools.nextpnr(program, entry, arguments, timeout)
        except tools.ToolFailed as failure:
            raise _translated(failure, synthesis) from failure
        netlist.unlink()
        report = json.loads(file.read_text())
        file.write_text(json.dumps({**report, "seconds": time.monotonic() - start}))

    version = tools.version(f"yowasp-nextpnr-{program}")
    name = cache.key("layout, ports open", synthesis.netlist, *arguments, program, version)
    entry = cache.get(name, make)
    report = json.loads((entry / "report.json").read_text())
    return Layout(
        device=device,
        seed=seed,
        fmax_mhz=min((c["achieved"] for c in report["fmax"].values()), default=None),
        utilisation={
            name: (site["used"], site["available"])
            for name, site in report["utilization"].items()
            if site["used"] and site["available"]
        },
        path=_slowest(report["critical_paths"]),
        seconds=report["seconds"],
        cached=not ran,
    )


def _without_ports(synthesis: Synthesis) -> str:
    """The netlist with its ports left open, as if it lay inside a larger design: no pins to run
    out of and no pads on any path."""
    design = json.loads(synthesis.netlist)
    design["modules"][synthesis.top]["ports"] = {}
    return json.dumps(design)


def _slowest(paths: list[dict[str, Any]]) -> tuple[Delay, ...]:
    clocked = [p["path"] for p in paths if p["from"] == p["to"]]
    worst = max(clocked, key=lambda path: sum(step["delay"] for step in path), default=[])
    return tuple(
        Delay(
            step["type"],
            step["delay"],
            (step["from"]["cell"], step["from"]["port"]),
            (step["to"]["cell"], step["to"]["port"]),
            step.get("net", ""),
        )
        for step in worst
    )


def _translated(failure: tools.ToolFailed, synthesis: Synthesis) -> RuntimeError:
    """What nextpnr says where a design does not fit, in the words of :func:`check_fit`."""
    device = synthesis.device
    over = overfull(failure.log)
    if not over and not re.search(r"no Bels? remaining|legal placement", str(failure), re.I):
        return failure
    what = f"it needs {', '.join(over)}" if over else str(failure)
    way = way_out(synthesis.resources, device)
    return DoesNotFit(f"{synthesis.top} does not fit {device.name}: {what}; {way}")
