"""IP-XACT as Vivado reads it (IEEE 1685-2009), with AMD's interfaces for AXI."""

import xml.etree.ElementTree as ET
from typing import Any

from ...hdl.generate import Top
from ...hdl.verilog import ports
from .memory import Word, words

SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
XILINX = "http://www.xilinx.com"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"

_ACCESS = {"ro": "read-only", "rw": "read-write", "wo": "write-only"}
_VIEWS = {
    "xilinx_anylanguagesynthesis": ("Synthesis", ":vivado.xilinx.com:synthesis"),
    "xilinx_anylanguagebehavioralsimulation": ("Simulation", ":vivado.xilinx.com:simulation"),
}
_FAMILIES = (
    "spartan7", "artix7", "kintex7", "virtex7", "zynq",
    "kintexu", "virtexu", "artixuplus", "kintexuplus", "virtexuplus", "zynquplus", "versal",
)  # fmt: skip


def component(top: Top) -> str:
    """Of a top level on AXI: its interfaces, address map, ports and files."""
    about = top.description
    prefix = about["registers"]["prefix"]
    streams = [stream for stream in about["streams"] if "tdata_bits" in stream]
    buses = [*map(_stream, streams), _lite(top, prefix)]
    clock, reset = about["clock"], about["reset"]["name"]
    root = _e(
        "component",
        _e("vendor", "thresher"),
        _e("library", "engines"),
        _e("name", top.name),
        _e("version", ".".join(about["generator"]["version"].split(".")[:2])),
        _e(
            "busInterfaces",
            *buses,
            _clock(clock, reset, [bus.findtext(f"{{{SPIRIT}}}name", "") for bus in buses]),
            _reset(reset),
        ),
        _e("memoryMaps", _map(top, prefix)),
        _e("model", _e("views", *(_view(view, top) for view in _VIEWS)), _ports(top)),
        _e("fileSets", *(_files(view, top) for view in _VIEWS)),
        _e("description", about["summary"]),
        _e(
            "parameters",
            _parameter("Component_Name", f"{top.name}_v1_0", "PARAM_VALUE", resolve="user"),
        ),
        _e("vendorExtensions", _extensions(top)),
    )
    root.set(f"{{{_XSI}}}schemaLocation", f"{SPIRIT} {SPIRIT}/index.xsd")
    for short, space in (("spirit", SPIRIT), ("xilinx", XILINX), ("xsi", _XSI)):
        ET.register_namespace(short, space)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _e(tag: str, *content: ET.Element | str, space: str = SPIRIT, **attributes: str) -> ET.Element:
    """An element with its children, or its text; attributes are of the same namespace."""
    made = ET.Element(f"{{{space}}}{tag}", {f"{{{space}}}{k}": v for k, v in attributes.items()})
    for part in content:
        if isinstance(part, str):
            made.text = part
        else:
            made.append(part)
    return made


def _parameter(name: str, value: str, group: str, **attributes: str) -> ET.Element:
    return _e("parameter", _e("name", name), _e("value", value, id=f"{group}.{name}", **attributes))


def _interface(
    name: str,
    kind: tuple[str, str],
    mode: ET.Element,
    signals: dict[str, str],
    *parameters: ET.Element,
) -> ET.Element:
    """``signals``: logical to physical."""
    library, bus = kind
    common = {"vendor": "xilinx.com", "library": library, "version": "1.0"}
    return _e(
        "busInterface",
        _e("name", name),
        _e("busType", name=bus, **common),
        _e("abstractionType", name=f"{bus}_rtl", **common),
        mode,
        _e(
            "portMaps",
            *(
                _e(
                    "portMap",
                    _e("logicalPort", _e("name", logical)),
                    _e("physicalPort", _e("name", physical)),
                )
                for logical, physical in signals.items()
            ),
        ),
        *([_e("parameters", *parameters)] if parameters else []),
    )


def _stream(stream: dict[str, Any]) -> ET.Element:
    signals = {part.upper(): signal for part, signal in stream["signals"].items()}
    mode = _e("slave" if stream["direction"] == "in" else "master")
    name = stream["signals"]["tdata"].removesuffix("_tdata")
    return _interface(name, ("interface", "axis"), mode, signals)


def _lite(top: Top, prefix: str) -> ET.Element:
    names = [name for name in ports(top.component).registers if name.startswith(f"{prefix}_")]
    signals = {name.removeprefix(f"{prefix}_").upper(): name for name in names}
    mode = _e("slave", _e("memoryMapRef", memoryMapRef=prefix))
    return _interface(prefix, ("interface", "aximm"), mode, signals)


def _clock(name: str, reset: str, buses: list[str]) -> ET.Element:
    group = f"BUSIFPARAM_VALUE.{name.upper()}"
    return _interface(
        name,
        ("signal", "clock"),
        _e("slave"),
        {"CLK": name},
        _parameter("ASSOCIATED_BUSIF", ":".join(buses), group),
        _parameter("ASSOCIATED_RESET", reset, group),
    )


def _reset(name: str) -> ET.Element:
    polarity = _parameter("POLARITY", "ACTIVE_HIGH", f"BUSIFPARAM_VALUE.{name.upper()}")
    return _interface(name, ("signal", "reset"), _e("slave"), {"RST": name}, polarity)


def _map(top: Top, name: str) -> ET.Element:
    return _e(
        "memoryMap",
        _e("name", name),
        _e(
            "addressBlock",
            _e("name", "reg0"),
            _e("baseAddress", "0", format="long"),
            _e("range", str(1 << top.description["registers"]["address_bits"]), format="long"),
            _e("width", "32", format="long"),
            _e("usage", "register"),
            *map(_register, words(top)),
        ),
    )


def _register(word: Word) -> ET.Element:
    return _e(
        "register",
        _e("name", word.name),
        _e("description", word.text),
        _e("addressOffset", f"{word.offset:#x}"),
        _e("size", "32", format="long"),
        _e("volatile", str(word.access == "ro" and not word.constant).lower()),
        _e("access", _ACCESS[word.access]),
        _e("reset", _e("value", f"{word.reset:#x}", format="long")),
        _e(
            "field",
            _e("name", "value"),
            _e("bitOffset", "0"),
            _e("bitWidth", str(word.bits), format="long"),
            _e("access", _ACCESS[word.access]),
            *_effect(word),
        ),
    )


def _effect(word: Word) -> list[ET.Element]:
    if not word.moves:
        return []
    return [_e("readAction" if word.access == "ro" else "modifiedWriteValue", "modify")]


def _view(name: str, top: Top) -> ET.Element:
    shown, environment = _VIEWS[name]
    return _e(
        "view",
        _e("name", name),
        _e("displayName", shown),
        _e("envIdentifier", environment),
        _e("language", "Verilog"),
        _e("modelName", top.name),
        _e("fileSetRef", _e("localName", f"{name}_view_fileset")),
    )


def _files(view: str, top: Top) -> ET.Element:
    verilog = _e("file", _e("name", f"{top.name}.v"), _e("fileType", "verilogSource"))
    return _e("fileSet", _e("name", f"{view}_view_fileset"), verilog)


def _ports(top: Top) -> ET.Element:
    about = top.description
    pins = {about["clock"]: ("in", 1), about["reset"]["name"]: ("in", 1)}
    pins |= {p.name: (p.direction, p.width) for p in ports(top.component).registers.values()}
    return _e("ports", *(_port(name, *pin) for name, pin in pins.items()))


def _port(name: str, direction: str, width: int) -> ET.Element:
    vector = _e(
        "vector", _e("left", str(width - 1), format="long"), _e("right", "0", format="long")
    )
    kind = _e("wireTypeDef", _e("typeName", "wire"), *(_e("viewNameRef", view) for view in _VIEWS))
    wire = _e(
        "wire",
        _e("direction", direction),
        *([vector] if width > 1 else []),
        _e("wireTypeDefs", kind),
    )
    return _e("port", _e("name", name), wire)


def _extensions(top: Top) -> ET.Element:
    def x(tag: str, *content: ET.Element | str, **attributes: str) -> ET.Element:
        return _e(tag, *content, space=XILINX, **attributes)

    return x(
        "coreExtensions",
        x("supportedFamilies", *(x("family", f, lifeCycle="Production") for f in _FAMILIES)),
        x("taxonomies", x("taxonomy", "/UserIP")),
        x("displayName", top.name),
        x("coreRevision", "1"),
    )
