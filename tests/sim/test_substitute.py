"""Other models in place of modules: both backends, arguments, stalls, what is refused."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from thresher.hdl.lib.repeated import Repeated
from thresher.sim import beats, cocotb, stalls, verilator
from thresher.sim.substitute import Substitute, substituted


class Twice(wiring.Component):
    """Doubles 40 bits, a cycle later."""

    en: In(1)
    i: In(40)
    o: Out(40)
    nothing: In(0)

    def elaborate(self, platform):
        m = Module()
        with m.If(self.en):
            m.d.sync += self.o.eq(self.i << 1)
        return m


class Pair(wiring.Component):
    """Two of them, side by side."""

    x: In(stream.Signature(data.ArrayLayout(40, 2)))
    y: Out(stream.Signature(data.ArrayLayout(40, 2)))

    def elaborate(self, platform):
        m = Module()
        full = self.y.valid
        for k in range(2):
            m.submodules[f"twice_{k}"] = Repeated(twice := Twice(), None)
            m.d.comb += [
                twice.en.eq(self.x.valid & self.x.ready),
                twice.i.eq(self.x.payload[k]),
                self.y.payload[k].eq(twice.o),
            ]
        m.d.comb += self.x.ready.eq(~full)
        with m.If(self.y.ready | ~full):
            m.d.sync += full.eq(self.x.valid & self.x.ready)
        return m


BODY = r"""
  import "DPI-C" function longint unsigned added(input bit [39:0] value, input int more);
  int more;
  initial if (!$value$plusargs("more=%d", more)) more = 0;
  bit [39:0] sum;
  always @(posedge clk) if (en) sum <= 40'(added(i, more));
  assign o = sum;
"""
SOURCE = """
#include "svdpi.h"
#include <stdexcept>
#include "step.h"
extern "C" unsigned long long added(const svBitVecVal* value, int more) {
    if (more < 0) throw std::runtime_error("adds nothing negative");
    return (value[0] | (unsigned long long)value[1] << 32) + more + STEP;
}
"""


@pytest.fixture
def adding(tmp_path):
    """Makes a substitute that adds a constant, which C++ does."""
    (tmp_path / "step.h").write_text("#define STEP 1000\n")
    source = tmp_path / "added.cpp"
    source.write_text(SOURCE)

    def make(*arguments):
        return Substitute("Twice", BODY, (source,), (tmp_path / "step.h",), arguments)

    make.header = tmp_path / "step.h"
    return make


X = np.random.default_rng(0).integers(0, 1 << 39, (20, 2))


def run(backend, substitutes, **options):
    inputs = {"x": beats.pack(data.ArrayLayout(40, 2), X)}
    result = backend.run(Pair(), inputs, {"y": len(X)}, substitutes=substitutes, **options)
    return beats.unpack(data.ArrayLayout(40, 2), result.outputs["y"])


@pytest.mark.parametrize("backend", [verilator, cocotb])
def test_cxx_in_place_of_a_module(backend, adding):
    np.testing.assert_array_equal(run(backend, []), 2 * X)
    patterns = {name: stalls.pattern("random", name) for name in ("x", "y")}
    for more in (0, 7):
        got = run(backend, [adding(f"+more={more}")], stalls=patterns, reset_at=9)
        np.testing.assert_array_equal(got, X + more + 1000)


def test_what_sources_include_is_compiled_anew(adding):
    np.testing.assert_array_equal(run(verilator, [adding()]), X + 1000)
    adding.header.write_text("#define STEP 3\n")
    np.testing.assert_array_equal(run(verilator, [adding()]), X + 3)


def test_exceptions_have_words(adding):
    with pytest.raises(RuntimeError, match="adds nothing negative"):
        run(verilator, [adding("+more=-1")])


def test_what_is_refused(adding):
    with pytest.raises(ValueError, match=r"no module of a 'Thrice' among top, top__Twice0;"):
        run(verilator, [Substitute("Thrice", "")])
    with pytest.raises(RuntimeError, match="nowhere"):
        run(verilator, [Substitute("Twice", "  assign o = i + nowhere;")])


def test_text():
    text = (
        "module top__Twice0(i, o, clk);\n  wire _0_;\n  input [3:0] i;\n  wire [3:0] i;\n"
        "  input clk;\n  wire clk;\n  output \\bit ;\n  reg \\bit ;\n  assign o = i;\nendmodule\n"
    )
    rest = "module top__Twice0__part(a);\n  input a;\nendmodule\n"
    found = substituted(text + rest, [Substitute("Twice", "  assign o = ~i;")])
    assert found == (
        "`default_nettype none\nmodule top__Twice0(i, o, clk);\n  input wire [3:0] i;\n"
        "  input wire clk;\n  output wire \\bit ;\n  assign o = ~i;\nendmodule\n"
        "`default_nettype wire\n" + rest
    )
