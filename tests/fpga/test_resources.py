"""Counting cells: tables against hand-made counts, and against small designs that Yosys maps."""

import pytest
from thresher.fpga.devices import DEVICES, device
from thresher.fpga.resources import UNITS, Resources, count
from thresher.fpga.yosys import synthesise

DESIGN = """
module top(
  input clk, input we, input [3:0] a, input [7:0] d, output [7:0] q,
  input [9:0] from, input [9:0] to, input [15:0] w, output reg [15:0] r,
  input signed [11:0] x, input signed [11:0] y, output signed [23:0] p,
  output reg [15:0] count
);
  reg [7:0] small [0:15];
  (* no_rw_check *) reg [15:0] large [0:1023];
  always @(posedge clk) begin
    if (we) small[a] <= d;
    if (we) large[to] <= w;
    r <= large[from];
    count <= count + a;
  end
  assign q = small[a];
  assign p = x * y;
endmodule
"""
"""A memory of 16x8 read at once, one of 16 Kbit read in steps, a product, a sum of 16 bits."""


@pytest.mark.parametrize(
    ("name", "blocks", "lut"),
    [
        ("ecp5-25k", Resources(ff=16, carry=8, dsp=1, bram=1, lutram=8), range(16, 20)),
        ("gowin-9k", Resources(ff=16, carry=16, dsp=1, bram=1, lutram=8), range(16, 36)),
        # Its memories all read in steps: the small one becomes flip-flops.
        ("ice40-up5k", Resources(ff=16 + 128, carry=15, dsp=1, bram=4), range(16, 160)),
        ("xc7", Resources(ff=16, carry=4, dsp=1, bram=1, lutram=4), range(3, 17)),
        pytest.param(
            *("xcup", Resources(ff=16, carry=4, dsp=1, bram=1, lutram=8), range(3, 17)),
            marks=pytest.mark.slow,  # as xc7, by the same code
        ),
    ],
)
def test_a_known_design(name, blocks, lut):
    pytest.importorskip("pyosys", reason="needs the extra [fpga]")
    got = synthesise(DESIGN, device(name)).resources
    assert got.lut in lut
    assert got.to_json() == blocks.to_json() | {"lut": got.lut}


@pytest.mark.parametrize(
    ("family", "cells", "want"),
    [
        ("ecp5", {"LUT4": 3, "CCU2C": 2, "PFUMX": 9}, Resources(lut=7, carry=2)),
        ("ecp5", {"TRELLIS_DPR16X4": 2, "MULT18X18D": 1}, Resources(lutram=8, dsp=1)),
        ("ice40", {"SB_DFF": 1, "SB_DFFNESS": 2, "SB_DFFER": 4}, Resources(ff=7)),
        ("ice40", {"SB_RAM40_4K": 1, "SB_RAM40_4KNRNW": 2}, Resources(bram=3)),
        ("ice40", {"SB_SPRAM256KA": 4, "SB_MAC16": 5}, Resources(spram=4, dsp=5)),
        ("gowin", {"MULT9X9": 3, "MULT18X18": 1, "MULT36X36": 1}, Resources(dsp=7)),
        ("gowin", {"ALU": 4, "LUT1": 1, "MUX2_LUT8": 1}, Resources(lut=5, carry=4)),
        ("gowin", {"DPX9B": 1, "SDPB": 1, "SPX9": 1, "pROM": 1, "DPB": 1}, Resources(bram=5)),
        ("gowin", {"DFF": 1, "DFFNPE": 1, "DFFSE": 1, "DLNCE": 1}, Resources(ff=4)),
        ("xc7", {"RAMB36E1": 2, "RAMB18E1": 1}, Resources(bram=5)),
        ("xc7", {"RAM32M": 1, "SRLC32E": 1, "RAM64X1D": 1}, Resources(lutram=7)),
        ("xc7", {"LUT6": 1, "INV": 1, "MUXF8": 1, "LDCE": 1, "FDSE": 1}, Resources(lut=2, ff=2)),
        ("xcup", {"URAM288": 1, "DSP48E2": 2, "CARRY8": 1}, Resources(spram=1, dsp=2, carry=2)),
        ("xcup", {"$scopeinfo": 5, "RAM32M16": 1, "RAMB36E2": 1}, Resources(lutram=8, bram=2)),
    ],
)
def test_cells_and_what_they_take(family, cells, want):
    assert count(family, cells) == want


@pytest.mark.parametrize("cell", ["LUT7", "XLUT4", "$add", "DP16KDX"])
def test_a_cell_that_is_not_known_does_not_count_as_nothing(cell):
    with pytest.raises(ValueError, match=r"cells of unknown cost: .*\(3\); the table in"):
        count("ecp5", {"LUT4": 1, cell: 3})


def test_every_resource_of_every_family_has_a_unit():
    named = set(Resources().to_json()) - {"ff"}
    assert all(set(UNITS[device.family]) == named for device in DEVICES.values())
