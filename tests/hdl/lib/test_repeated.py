# amaranth: UnusedElaboratable=no
"""A design of repeated components: one module of each kind, the same behaviour."""

import re

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out
from thresher.hdl.lib.repeated import Repeated
from thresher.hdl.verilog import emit, netlist
from thresher.sim import amaranth, verilator


class Scale(Component):
    """``o`` = ``factor * i``, a cycle later."""

    def __init__(self, factor: int):
        self.factor = factor
        super().__init__({"i": In(8), "nothing": In(0), "o": Out(16)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.i * self.factor)
        return m


class Twice(Component):
    """``o`` = ``factor**2 * i``, by two of :class:`Scale`."""

    def __init__(self, factor: int):
        self.factor = factor
        super().__init__({"i": In(data.ArrayLayout(4, 2)), "o": Out(16)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.one = Repeated(one := Scale(self.factor), self.factor)
        m.submodules.other = Repeated(other := Scale(self.factor), self.factor)
        m.d.comb += [one.i.eq(self.i), other.i.eq(one.o), self.o.eq(other.o)]
        return m


class Row(Component):
    """Squares of 3, 3 and 5 times the input, two cycles later."""

    def __init__(self):
        payload = data.ArrayLayout(16, 3)
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(payload))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.i.ready.eq(1), self.o.valid.eq(self.i.valid)]
        for k, factor in enumerate((3, 3, 5)):
            m.submodules[f"part{k}"] = Repeated(part := Twice(factor), factor)
            m.d.comb += [part.i.eq(self.i.payload), self.o.payload[k].eq(part.o)]
        return m


def test_each_kind_is_one_module():
    modules = re.findall(r"^module (\w+)", emit(Row(), "row"), re.M)
    assert len(modules) == len(set(modules)) == 5  # two kinds of two components, in one


def test_text_depends_on_the_design_alone():
    assert netlist(Row()) == netlist(Row())


@pytest.mark.parametrize("simulator", [amaranth, verilator])
def test_instances_do_what_the_components_do(simulator):
    given = np.random.default_rng(0).integers(16, size=(20, 1))
    got = simulator.run(Row(), {"i": given.astype(np.uint32)}, {"o": 20}).outputs["o"]
    want = given[:-2] * np.array([9, 9, 25])
    words = np.ascontiguousarray(got[2:]).view(np.uint16)[:, :3]
    np.testing.assert_array_equal(words, want)
