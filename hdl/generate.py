"""Files that a board designer takes away: Verilog, its description, a C header."""

import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from amaranth.hdl import Shape, ShapeCastable, ShapeLike
from amaranth.lib import data
from amaranth.lib.wiring import Component

from ..models.config import EngineConfig
from .engine import Engine
from .lib.axi import AxiStream, AxiWrapper
from .registers import register_table
from .verilog import Ports, StreamPort, check_name, emit, ports

C = TypeVar("C", bound=EngineConfig)
Bus = Literal["axi", "stream"]


def generate(
    engine: Engine[C],
    config: C,
    directory: str | Path,
    bus: Bus = "axi",
    name: str | None = None,
) -> list[Path]:
    """Write ``NAME.v`` and ``NAME.json`` (and ``NAME.h`` for ``axi``) into ``directory``.

    ``bus``: ``axi`` is :class:`~thresher.hdl.lib.axi.AxiWrapper`, ``stream`` the bare
    component with ports ``x__payload``, ``x__valid``, ``x__ready``.  ``name``, the engine's
    where left out, names module and files.  The same configuration gives the same
    bytes.  All files appear complete, or none changes.  Returns their paths.

    Raises :class:`ValueError` for a name that Verilog does not allow or an unknown bus,
    :class:`OSError` where the files cannot be written.
    """
    if bus not in get_args(Bus):
        raise ValueError(f"bus {bus!r} is not one of {', '.join(get_args(Bus))}")
    name = engine.name if name is None else name
    check_name(name)
    component = engine.component(config)
    described = ports(component)
    configuration = config.model_dump(mode="json")
    table = register_table(name, described, engine.registers, json.dumps(configuration))
    top: Component = AxiWrapper(component, table) if bus == "axi" else component
    files = {f"{name}.v": emit(top, name)}
    description = {
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
    if isinstance(top, AxiWrapper):
        description["streams"] = [_axi_stream(axis) for axis in top.streams.values()]
        description["registers"] = {
            "prefix": "s_axil",
            "address_bits": table.address_bits,
            "bytes": table.bytes,
            "header": f"{name}.h",
            "map": table.json(),
        }
        files[f"{name}.h"] = table.header()
    else:
        description["streams"] = [_stream(port) for port in described.streams.values()]
        description["registers"] = {"signals": _registers(described, engine.registers)}
    files[f"{name}.json"] = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
    return _write(Path(directory), files)


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


def _write(directory: Path, files: dict[str, str]) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    targets = [directory / name for name in files]
    for target in targets:
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder; remove it or choose another name")
    with tempfile.TemporaryDirectory(dir=directory, prefix=".thresher-") as scratch:
        for name, text in files.items():
            (Path(scratch) / name).write_text(text, encoding="utf-8", newline="\n")
        for target in targets:
            (Path(scratch) / target.name).replace(target)
    return targets
