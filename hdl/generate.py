"""Files that a board designer takes away: Verilog, its description, a C header."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from amaranth.hdl import Shape, ShapeCastable, ShapeLike
from amaranth.lib import data
from amaranth.lib.wiring import Component

from ..models.config import EngineConfig
from .engine import Engine
from .lib.axi import AxiLiteWrapper, AxiStream, AxiWrapper
from .lib.mailbox import DEPTH, Window, windows
from .lib.uart import Line, UartWrapper
from .registers import RegisterTable, register_table
from .verilog import Ports, StreamPort, check_name, emit, ports

C = TypeVar("C", bound=EngineConfig)
Bus = Literal["axi", "lite", "uart", "stream"]


def generate(
    engine: Engine[C],
    config: C,
    directory: str | Path,
    bus: Bus = "axi",
    name: str | None = None,
    *,
    depth: int = DEPTH,
    line: Line | None = None,
) -> list[Path]:
    """Write ``NAME.v`` and ``NAME.json`` (and ``NAME.h`` where there is a register map)
    into ``directory``, as :func:`describe_top` makes them.

    All files appear complete, or none changes.  Returns their paths.

    Raises :class:`ValueError` for what :func:`describe_top` refuses, :class:`OSError`
    where the files cannot be written.
    """
    top = describe_top(engine, config, bus, name, depth=depth, line=line)
    return write_files(Path(directory), top.files())


@dataclass(frozen=True)
class Top:
    """An engine as a top level, described."""

    name: str
    component: Component
    description: dict[str, Any]
    table: RegisterTable
    has_map: bool
    """The registers are behind a bus."""

    def files(self, **more: Any) -> dict[str, str]:
        """The text of each file, by name; ``more`` is added to the description."""
        files = {f"{self.name}.v": emit(self.component, self.name)}
        if self.has_map:
            streams = self.description["streams"]
            boxes = {s["name"]: s["mailbox"] for s in streams if "mailbox" in s}
            files[f"{self.name}.h"] = self.table.header(boxes)
        description = {**self.description, **more}
        files[f"{self.name}.json"] = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        return files


def describe_top(
    engine: Engine[C],
    config: C,
    bus: Bus = "axi",
    name: str | None = None,
    *,
    depth: int = DEPTH,
    line: Line | None = None,
) -> Top:
    """``engine`` behind ``bus``; the same arguments give the same bytes.

    ========== ==========================================================================
    axi        registers on AXI4-Lite, streams on AXI4-Stream
               (:class:`~thresher.hdl.lib.axi.AxiWrapper`)
    lite       both on AXI4-Lite, streams as words of the address map, behind queues of
               ``depth`` words (:class:`~thresher.hdl.lib.axi.AxiLiteWrapper`)
    uart       the same address map at the end of a serial ``line``
               (:class:`~thresher.hdl.lib.uart.UartWrapper`)
    stream     the bare component with ports ``x__payload``, ``x__valid``, ``x__ready``
    ========== ==========================================================================

    ``name``, the engine's where left out, names module and files.  Raises
    :class:`ValueError` for a name that Verilog does not allow, an unknown bus, or a depth
    or line that is out of bounds.
    """
    if bus not in get_args(Bus):
        raise ValueError(f"bus {bus!r} is not one of {', '.join(get_args(Bus))}")
    name = engine.name if name is None else name
    check_name(name)
    component = engine.component(config)
    described = ports(component)
    configuration = config.model_dump(mode="json")
    table = register_table(name, described, engine.registers, json.dumps(configuration))
    description: dict[str, Any] = {
        "name": name,
        "engine": engine.name,
        "summary": engine.summary,
        "paper": engine.paper,
        "headline": engine.headline,
        "generator": {"name": "thresher", "version": version("thresher")},
        "configuration": configuration,
        "cycles": engine.cycles,
        "clock": "clk",
        "reset": {"name": "rst", "active": "high", "synchronous": True},
        "bus": bus,
    }
    if bus in ("lite", "uart"):
        placed = windows(described, table.address_bits, depth).values()
        description["streams"] = [_mailbox(window) for window in placed]
    registers = {"bytes": table.bytes, "header": f"{name}.h", "map": table.json()}
    if bus == "stream":
        description["streams"] = [_stream(port) for port in described.streams.values()]
        description["registers"] = {"signals": _registers(described, engine.registers)}
        return Top(name, component, description, table, has_map=False)
    if bus == "axi":
        top = AxiWrapper(component, table)
        description["streams"] = [_axi_stream(axis) for axis in top.streams.values()]
        registers = {"prefix": "s_axil", "address_bits": table.address_bits, **registers}
    elif bus == "lite":
        top = AxiLiteWrapper(component, table, depth)
        registers = {"prefix": "s_axil", "address_bits": table.address_bits + 1, **registers}
    else:
        line = line or Line()
        top = UartWrapper(component, table, line, depth)
        description["uart"] = {"divisor": line.divisor, "timeout_cycles": line.timeout}
        registers = {"address_bits": table.address_bits + 1, **registers}
    description["registers"] = registers
    return Top(name, top, description, table, has_map=True)


def layout(shape: ShapeLike) -> dict[str, Any]:
    """A shape as plain data: ``bits`` and ``signed``, ``length`` and ``element``, or ``fields``."""
    plain: Any = shape
    while isinstance(plain, ShapeCastable) and not isinstance(plain, data.Layout):
        plain = plain.as_shape()  # a data.Struct class, an enumeration
    if isinstance(plain, data.ArrayLayout):
        return {"bits": plain.size, "length": plain.length, "element": layout(plain.elem_shape)}
    if isinstance(plain, data.Layout):
        fields = [
            {"name": str(key), "offset": field.offset, **layout(field.shape)}
            for key, field in plain
        ]
        return {"bits": plain.size, "fields": fields}
    number = Shape.cast(plain)
    return {"bits": number.width, "signed": number.signed}


def _stream(port: StreamPort) -> dict[str, Any]:
    parts = ("payload", "valid", "ready") if port.width else ("valid", "ready")
    return {
        "name": port.name,
        "direction": port.direction,
        "signals": {part: f"{port.name}__{part}" for part in parts},
        "layout": layout(port.shape),
    }


def _mailbox(window: Window) -> dict[str, Any]:
    return {
        "name": window.stream.name,
        "direction": window.stream.direction,
        "mailbox": window.json(),
        "layout": layout(window.stream.shape),
    }


def _axi_stream(axis: AxiStream) -> dict[str, Any]:
    """The layout is that of ``tdata``: without ``last`` where that is ``tlast``."""
    content = layout(axis.stream.shape)
    parts = ["tdata", "tvalid", "tready"]
    if axis.last is not None:
        parts.append("tlast")
        content["bits"] -= 1
        content["fields"] = [
            {**field, "offset": field["offset"] - (field["offset"] > axis.last)}
            for field in content["fields"]
            if field["name"] != "last"
        ]
    return {
        "name": axis.stream.name,
        "direction": axis.stream.direction,
        "signals": {part: f"{axis.name}_{part}" for part in parts},
        "tdata_bits": axis.width,
        "layout": content,
    }


def _registers(described: Ports, texts: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": port.name,
            "direction": port.direction,
            "bits": port.width,
            "signed": port.signed,
            "init": port.init,
            "text": texts[port.name],
        }
        for port in described.registers.values()
    ]


def write_files(directory: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    """Write contents under their names, all of them or none; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    targets = [directory / name for name in files]
    for target in targets:
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder; remove it or choose another name")
    with tempfile.TemporaryDirectory(dir=directory, prefix=".thresher-") as scratch:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            (Path(scratch) / name).write_bytes(data)
        for target in targets:
            (Path(scratch) / target.name).replace(target)
    return targets
