"""Synthesis: a component mapped to the cells of a device, and what these amount to."""

import gzip
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib.wiring import Component

from ..hdl import cache
from ..hdl.verilog import Rtlil, netlist, write
from . import tools
from .devices import Device
from .resources import Resources, count


@dataclass(frozen=True)
class Synthesis:
    """A design mapped to the cells of a device."""

    device: Device
    top: str
    resources: Resources
    cells: Mapping[str, int]
    """How many of each cell type."""
    netlist: str
    """Yosys' JSON of the flat module ``top``, which nextpnr and Yosys' ``read_json`` read."""
    seconds: float
    """That Yosys took when it ran."""
    cached: bool
    """Whether it ran earlier."""


def synthesise(
    design: Component | str,
    device: Device,
    top: str = "top",
    *,
    timeout: float = 1800,
    apart: bool = False,
) -> Synthesis:
    """Maps a component, or its :class:`Rtlil`, or Verilog, whose top module is ``top``, to a
    device's cells.

    ``apart``: every module is mapped by itself and once, however often it is there, before the
    design is made flat: minutes instead of hours for arrays of hundreds, but nothing is shared or
    simplified across modules.

    All devices of one Yosys command share a result, which is kept in the cache under the
    design's text.  Raises :class:`ModuleNotFoundError` without ``pyosys``,
    :class:`~thresher.fpga.tools.ToolFailed` with Yosys' error, :class:`ValueError` for
    cells that cannot be counted, :class:`TimeoutError` after ``timeout`` seconds.
    """
    text = design if isinstance(design, str) else netlist(design, top)
    commands = [
        "read_verilog design.v",
        *(
            [f"{device.synthesis_apart} -top {top}", "flatten"]
            if apart
            else [f"{device.synthesis} -top {top}"]
        ),
        "tee -q -o stat.json stat -json",
        f"select {top}",
        "write_json -selected netlist.json",  # without the library's modules
    ]
    ran = False

    def make(entry: Path) -> None:
        nonlocal ran
        ran, start = True, time.monotonic()
        verilog = write(text, top) if isinstance(text, Rtlil) else text
        (entry / "design.v").write_text(verilog, encoding="utf-8")
        tools.yosys(entry, commands, timeout)
        cells = json.loads((entry / "stat.json").read_text())["design"]["num_cells_by_type"]
        netlist_file = entry / "netlist.json"
        packed = gzip.compress(netlist_file.read_bytes(), mtime=0)
        (entry / "netlist.json.gz").write_bytes(packed)
        netlist_file.unlink()
        found = {"cells": cells, "seconds": time.monotonic() - start}
        (entry / "stat.json").write_text(json.dumps(found))
        (entry / "design.v").unlink()

    name = cache.key("netlist", text, *commands, tools.version("pyosys"))
    entry = cache.get(name, make)
    found = json.loads((entry / "stat.json").read_text())
    return Synthesis(
        device=device,
        top=top,
        resources=count(device.family, found["cells"]),
        cells=found["cells"],
        netlist=gzip.decompress((entry / "netlist.json.gz").read_bytes()).decode(),
        seconds=found["seconds"],
        cached=not ran,
    )
