"""What a design costs on an FPGA, and how fast it runs: Yosys and nextpnr, no vendor tool.

Both run in processes of their own, under a time limit, so that neither a crash nor a
hang of theirs reaches the caller.  They come with the extra ``fpga``.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from amaranth.lib.wiring import Component

from ..hdl.verilog import emit

Target = Literal["ecp5", "ice40", "xc7"]
Device = Literal["25k", "45k", "85k", "up5k"]

_SYNTH: dict[Target, str] = {
    "ecp5": "synth_ecp5",
    "ice40": "synth_ice40 -device u -dsp -spram",
    "xc7": "synth_xilinx -family xc7 -flatten",
}

# How many of each resource a cell takes, by the beginning of its type.
_CELLS: dict[Target, dict[str, dict[str, int]]] = {
    "ecp5": {
        "LUT4": {"lut": 1},
        "CCU2C": {"lut": 2, "carry": 1},
        "TRELLIS_FF": {"ff": 1},
        "TRELLIS_DPR16X4": {"lutram": 4},
        "DP16KD": {"bram": 1},
        "MULT18X18D": {"dsp": 1},
        "MULT9X9D": {"dsp": 1},
    },
    "ice40": {
        "SB_LUT4": {"lut": 1},
        "SB_CARRY": {"carry": 1},
        "SB_DFF": {"ff": 1},
        "SB_RAM40_4K": {"bram": 1},
        "SB_SPRAM256KA": {"spram": 1},
        "SB_MAC16": {"dsp": 1},
    },
    "xc7": {
        "LUT": {"lut": 1},
        "INV": {"lut": 1},
        "CARRY4": {"carry": 1},
        "FD": {"ff": 1},
        "LD": {"ff": 1},
        "RAM32X1S": {"lutram": 1},
        "RAM64X1S": {"lutram": 1},
        "RAM128X1S": {"lutram": 2},
        "RAM256X1S": {"lutram": 4},
        "RAM32X1D": {"lutram": 2},
        "RAM64X1D": {"lutram": 2},
        "RAM128X1D": {"lutram": 4},
        "RAM32M": {"lutram": 4},
        "RAM64M": {"lutram": 4},
        "SRL": {"lutram": 1},
        "RAMB18": {"bram": 1},
        "RAMB36": {"bram": 2},
        "DSP48E1": {"dsp": 1},
    },
}


@dataclass(frozen=True)
class Resources:
    """Sites that a design occupies."""

    lut: int
    """Look-up tables that compute, the carry logic's included: of 4 inputs, on xc7 of 6."""
    ff: int
    """Flip-flops and latches."""
    carry: int
    """Carry cells (2 bits on ECP5, 1 on iCE40, 4 on xc7)."""
    dsp: int
    """Multiplier blocks: 18x18 on ECP5, 16x16 on iCE40, DSP48 on xc7."""
    bram: int
    """Memory blocks: of 18 Kbit on ECP5 and xc7, of 4 Kbit on iCE40."""
    lutram: int
    """Look-up tables that store."""
    spram: int = 0
    """Blocks of 256 Kbit (iCE40 UltraPlus only)."""


@dataclass(frozen=True)
class Synthesis:
    """A design mapped to the cells of a target."""

    target: Target
    resources: Resources
    cells: Mapping[str, int]
    """How many of each cell type."""
    netlist: str
    """Yosys' JSON, which nextpnr reads."""


@dataclass(frozen=True)
class Step:
    """One delay along a path."""

    kind: str
    """``clk-to-q``, ``logic``, ``routing`` or ``setup``."""
    nanoseconds: float
    cell: str
    """Where it ends: cell and port."""


@dataclass(frozen=True)
class Layout:
    """A design placed and routed."""

    device: Device
    fmax_mhz: float
    """Of ``clk``, between flip-flops."""
    utilisation: Mapping[str, tuple[int, int]]
    """Sites used and available, by nextpnr's name."""
    critical_path: tuple[Step, ...]
    """The slowest path between flip-flops, steps of no delay left out."""


def synthesise(
    design: Component | str,
    target: Target,
    top: str = "top",
    *,
    serial: bool = False,
    timeout: float = 1800,
) -> Synthesis:
    """Maps a component, or Verilog whose top module is ``top``, to a target's cells.

    ``serial`` puts all ports but ``clk`` behind two shift registers (a flip-flop a bit),
    so that a device with few pins can hold the design.  Raises
    :class:`ModuleNotFoundError` without ``pyosys``, :class:`RuntimeError` with Yosys'
    error, :class:`TimeoutError` after ``timeout`` seconds.
    """
    if target not in _SYNTH:
        raise ValueError(f"target {target!r} is not one of {', '.join(_SYNTH)}")
    verilog = design if isinstance(design, str) else emit(design, top)
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        (here / "design.v").write_text(verilog, encoding="utf-8")
        read = ["read_verilog design.v"]
        if serial:
            _yosys(here, [*read, f"hierarchy -top {top}", "proc", "write_json ports.json"], timeout)
            ports = json.loads((here / "ports.json").read_text())["modules"][top]["ports"]
            (here / "serial.v").write_text(_serial(top, ports), encoding="utf-8")
            read, top = [*read, "read_verilog serial.v"], "serial"
        commands = [f"{_SYNTH[target]} -top {top}", "tee -q -o stat.json stat -json"]
        _yosys(here, [*read, *commands, "write_json netlist.json"], timeout)
        stat = json.loads((here / "stat.json").read_text())
        netlist = (here / "netlist.json").read_text()
    cells: dict[str, int] = stat["design"]["num_cells_by_type"]
    return Synthesis(target, _count(target, cells), cells, netlist)


def place_and_route(
    synthesis: Synthesis,
    device: Device,
    *,
    mhz: float = 200,
    seed: int = 1,
    timeout: float = 1800,
) -> Layout:
    """Lays a design out on an ECP5 (speed grade 6, ports left unconnected) or an iCE40UP5K.

    ``mhz`` is what nextpnr strives for; missing it is no error.  Raises
    :class:`RuntimeError` with nextpnr's error where the design does not fit,
    :class:`ModuleNotFoundError` without nextpnr, :class:`TimeoutError` after ``timeout``
    seconds.
    """
    target: Target = "ice40" if device == "up5k" else "ecp5"
    if synthesis.target != target:
        raise ValueError(f"{device} takes a netlist for {target}, not for {synthesis.target}")
    if target == "ecp5":
        where = ["--speed", "6", "--package", "CABGA381", "--out-of-context"]
    else:
        where = ["--package", "sg48", "--pcf-allow-unconstrained"]
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        (here / "netlist.json").write_text(synthesis.netlist, encoding="utf-8")
        files = ["--json", "netlist.json", "--report", "report.json", "-q"]
        aim = ["--freq", str(mhz), "--timing-allow-fail", "--seed", str(seed)]
        _run(
            f"yowasp_nextpnr_{target}",
            f"import sys, yowasp_nextpnr_{target} as n; "
            f"sys.exit(n.run_nextpnr_{target}(sys.argv[1:]))",
            [f"--{device}", *where, *files, *aim],
            here,
            timeout,
        )
        report = json.loads((here / "report.json").read_text())
    paths = [p for p in report["critical_paths"] if p["from"] == p["to"]]
    worst = max(paths, key=lambda p: sum(step["delay"] for step in p["path"]), default={"path": []})
    return Layout(
        device=device,
        fmax_mhz=min((c["achieved"] for c in report["fmax"].values()), default=float("inf")),
        utilisation={
            name: (site["used"], site["available"])
            for name, site in report["utilization"].items()
            if site["used"]
        },
        critical_path=tuple(
            Step(s["type"], s["delay"], f"{s['to']['cell']}.{s['to']['port']}")
            for s in worst["path"]
            if s["delay"]
        ),
    )


def _count(target: Target, cells: Mapping[str, int]) -> Resources:
    total: Counter[str] = Counter()
    for cell, number in cells.items():
        kinds = [kind for kind in _CELLS[target] if cell.startswith(kind)]
        for resource, amount in _CELLS[target][max(kinds, key=len)].items() if kinds else ():
            total[resource] += number * amount
    names = Resources.__dataclass_fields__
    return Resources(**{name: total[name] for name in names})


def _serial(top: str, ports: Mapping[str, Any]) -> str:
    """A module ``serial`` of four pins around ``top``."""
    connections: list[str] = []
    count = {"input": 0, "output": 0}
    for name, port in ports.items():
        width, direction = len(port["bits"]), port["direction"]
        low = count[direction]
        if name == "clk":
            connections.append(".clk(clk)")
        else:
            bus = "in" if direction == "input" else "out"
            connections.append(f".\\{name} ({bus}[{low + width - 1}:{low}])")
            count[direction] += width
    return f"""module serial(input clk, input si, input take, output so);
  reg [{max(count["input"], 1) - 1}:0] in;
  wire [{max(count["output"], 1) - 1}:0] out;
  reg [{max(count["output"], 1) - 1}:0] kept;
  always @(posedge clk) begin
    in <= {{in, si}};
    kept <= take ? out : kept >> 1;
  end
  assign so = kept[0];
  {top} dut({", ".join(connections)});
endmodule
"""


def _yosys(here: Path, commands: list[str], timeout: float) -> None:
    program = (
        "import sys; from pyosys import libyosys as y; design = y.Design(); "
        "[y.run_pass(command, design) for command in sys.argv[1:]]"
    )
    _run("pyosys", program, commands, here, timeout)


def _run(module: str, program: str, arguments: list[str], here: Path, timeout: float) -> None:
    package = module.replace("_", "-")
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(
            f"{package} was not found: install it with `pip install {package}`"
        )
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(
            f"{package} did not end within {timeout:g} s; raise timeout or shrink the design"
        ) from None
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        errors = [line for line in lines if "ERROR" in line] or lines[-3:]
        raise RuntimeError(f"{package} failed (status {done.returncode}): {' '.join(errors)}")
