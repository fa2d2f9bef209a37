"""Vendors' cells that designs instantiate, as Verilator is to simulate them."""

import re

_LATTICE = """\
module CCU2C #(
  parameter [15:0] INIT0 = 16'd0, INIT1 = 16'd0,
  parameter INJECT1_0 = "NO", INJECT1_1 = "NO"
) (input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, COUT);
  wire f0 = INIT0[{D0, C0, B0, A0}], f1 = INIT1[{D1, C1, B1, A1}];
  wire middle = f0 ? CIN : INIT0[{2'd0, B0, A0}];
  assign S0 = f0 ^ CIN;
  assign S1 = f1 ^ middle;
  assign COUT = f1 ? middle : INIT1[{2'd0, B1, A1}];
endmodule
"""
"""Of which both halves see the carry: INJECT1_0 = INJECT1_1 = NO."""

_LUT = """\
module LUT6_2 #(parameter [63:0] INIT = 64'd0) (input I0, I1, I2, I3, I4, I5, output O5, O6);
  assign O5 = INIT[{1'd0, I4, I3, I2, I1, I0}];
  assign O6 = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule
"""

_CARRY = """\
module CARRY4 (input CI, CYINIT, input [3:0] DI, S, output [3:0] O, CO);
  wire [4:0] carry = {CO, CI | CYINIT};
  assign O = S ^ carry[3:0];
  for (genvar k = 0; k < 4; k = k + 1) assign CO[k] = S[k] ? carry[k] : DI[k];
endmodule
"""

_CELLS = {"CCU2C": _LATTICE, "LUT6_2": _LUT, "CARRY4": _CARRY}


def models(text: str) -> str:
    """Verilog modules for the vendors' cells in ``text``, which Verilator alone sees."""
    found = [model for cell, model in _CELLS.items() if re.search(rf"^ *{cell} ", text, re.M)]
    return "\n`ifdef VERILATOR\n" + "\n".join(found) + "`endif\n" if found else ""
