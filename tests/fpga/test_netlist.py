"""Mapped netlists simulate as the RTL that they were made from, and as the golden model."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from thresher.fpga.devices import device
from thresher.fpga.netlist import simulation_verilog
from thresher.fpga.yosys import synthesise
from thresher.hdl.engine import ENGINES, WorkloadSource, engine
from thresher.hdl.lib.arith import packed_products
from thresher.hdl.lib.fifo import Fifo
from thresher.sim import beats, simulate, verilator
from thresher.sim.stalls import pattern

pytest.importorskip("pyosys", reason="needs the extra [fpga]")

DEVICES = ["ecp5-25k", "ice40-up5k", "gowin-9k"]
SMALL = [name for name in ENGINES if "small" in engine(name).config.presets]


LIGHT = ("amu", "sore")
"""Seconds each; others take up to minutes."""

FIRST = ("amu", "ice40-up5k")


def by_default():
    """Every engine on every device; by default some on one of them, and the first on another."""
    for name in SMALL:
        for where in DEVICES:
            quick = name in LIGHT if where == DEVICES[0] else (name, where) == FIRST
            yield pytest.param(name, where, marks=[] if quick else pytest.mark.slow)


@cache
def mapped(name, where):
    """The small preset of an engine as a netlist for a device."""
    chosen = engine(name)
    component = chosen.component(chosen.config.preset("small"))
    return simulation_verilog(synthesise(component, device(where)))


@pytest.mark.parametrize(("name", "where"), list(by_default()))
def test_engines(name, where):
    """Every workload that takes any configuration: bit-exact, in the cycles of the RTL."""
    chosen = engine(name)
    config = chosen.config.preset("small")
    for workload, source in chosen.workloads.items():
        if source.configure is not WorkloadSource.configure:
            continue
        for how in ({}, {"stall": "random", "reset_at": 77}, {"stall": "alternate"}):
            how = {"workload": workload, "samples": 2, "seed": 3, **how}
            report = simulate(chosen, config, verilog=mapped(name, where), **how)
            assert report.holds, f"{report.failures()} {how}"
            assert_same(report.run, simulate(chosen, config, **how).run)


class Blocks(wiring.Component):
    """Memories of every shape that block RAM takes, and multipliers of every signedness."""

    MEMORIES = (
        (36, 512, 4, False), (18, 1024, 2, True), (9, 2048, 1, False), (4, 2048, 1, True),
        (1, 16384, 1, False), (72, 64, 1, False), (24, 64, 3, True), (8, 16, 1, False),
    )  # fmt: skip
    """Width, depth, lanes that are written apart, whether it starts with random contents."""
    I = data.StructLayout({"read": 14, "write": 14, "lanes": 4, "data": 72, "a": 18, "b": 18})

    def __init__(self):
        reads = {f"m{k}": width for k, (width, *_) in enumerate(self.MEMORIES)}
        products = {"ss": signed(36), "uu": 36, "su": signed(36), "low": signed(16)}
        layout = data.StructLayout({**reads, "one": 9, **products, "high": signed(16)})
        super().__init__({"i": In(stream.Signature(self.I)), "o": Out(stream.Signature(layout))})

    def elaborate(self, platform):
        m = Module()
        x, y = self.i.payload, self.o.payload
        take = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            take.eq(self.i.valid & self.i.ready),
        ]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
        random = np.random.default_rng(5)
        for k, (width, depth, lanes, filled) in enumerate(self.MEMORIES):
            init = random.integers(0, 1 << width, depth).tolist() if filled else []
            m.submodules[f"memory{k}"] = memory = Memory(shape=width, depth=depth, init=init)
            read, write = memory.read_port(), memory.write_port(granularity=width // lanes)
            m.d.comb += [
                read.en.eq(take),
                read.addr.eq(x.read),
                write.addr.eq(x.write),
                write.data.eq(x.data),
                write.en.eq(x.lanes & take.replicate(lanes)),
                y[f"m{k}"].eq(read.data),
            ]
        m.submodules.one = one = Memory(shape=9, depth=2048, init=[])  # one address for both
        read, write = one.read_port(), one.write_port()
        m.d.comb += [
            read.en.eq(take),
            read.addr.eq(x.read),
            write.addr.eq(x.read),
            write.data.eq(x.data),
            write.en.eq(take & x.lanes[0]),
            y.one.eq(read.data),
        ]
        a, b = x.a.as_signed(), x.b.as_signed()
        low, high = packed_products(a[:8].as_signed(), a[8:16].as_signed(), b[:8].as_signed())
        with m.If(take):
            m.d.sync += [
                y.ss.eq(a * b),
                y.uu.eq(x.a * x.b),
                y.su.eq(a * x.b),
                y.low.eq(low),
                y.high.eq(high),
            ]
        return m


def same(component, verilog, words):
    """Whether RTL and netlist do the same, with stalls and a reset in mid-stream too."""
    stalls = {"i": pattern("random", "i", 1), "o": pattern("random", "o", 2)}
    for how in ({}, {"stalls": stalls, "reset_at": 500}):
        run, other = (
            verilator.run(component, {"i": words}, {"o": len(words)}, verilog=text, **how)
            for text in (None, verilog)
        )
        try:
            assert_same(run, other)
        except AssertionError:
            return False
    return True


def assert_same(run, other):
    """Beat for beat and cycle for cycle."""
    assert run.registers == other.registers
    for kind in ("outputs", "input_cycles", "output_cycles"):
        for port, values in getattr(run, kind).items():
            np.testing.assert_array_equal(values, getattr(other, kind)[port], err_msg=port)


@pytest.mark.slow
@pytest.mark.parametrize("where", DEVICES)
def test_blocks(where):
    component = Blocks()
    synthesis = synthesise(component, device(where))
    assert synthesis.resources.bram >= 7
    assert synthesis.resources.dsp >= 3
    random = np.random.default_rng(1)
    near = random.integers(0, 1 << 4, (2, 3000)) * 0x201  # addresses that meet, low and high
    fields = {"read": near[0], "write": near[1]}
    for name, bits in (("lanes", 4), ("data", 60), ("a", 18), ("b", 18)):
        fields[name] = random.integers(0, 1 << bits, 3000)
    words = beats.pack(Blocks.I, {**fields, "data": fields["data"].astype(object) << 12})
    assert same(component, simulation_verilog(synthesis), words)


@pytest.fixture(scope="module")
def fifo():
    component = Fifo(9, 300)
    words = np.random.default_rng(1).integers(0, 512, (1000, 1), dtype=np.uint32)
    return component, synthesise(component, device("ecp5-25k")), words


def test_one_wrong_table_is_found(fifo):
    component, synthesis, words = fifo
    assert same(component, simulation_verilog(synthesis), words)
    wrong = spoiled(synthesis, "LUT4", "INIT", lambda bits: bits.translate(INVERT))
    assert not same(component, simulation_verilog(wrong), words)


INVERT = str.maketrans("01", "10")


def spoiled(synthesis, kind, parameter, change):
    """With another value for a parameter of the first cell of a type."""
    design = json.loads(synthesis.netlist)
    cells = design["modules"][synthesis.top]["cells"].values()
    parameters = next(cell["parameters"] for cell in cells if cell["type"] == kind)
    parameters[parameter] = change(parameters[parameter])
    return replace(synthesis, netlist=json.dumps(design))


def test_what_a_model_does_not_know_is_refused(fifo):
    component, synthesis, words = fifo
    other = simulation_verilog(spoiled(synthesis, "DP16KD", "REGMODE_B", lambda _: "OUTREG"))
    with pytest.raises(RuntimeError, match="DP16KD: no output registers here"):
        same(component, other, words)
    unknown = replace(synthesis, netlist=synthesis.netlist.replace("DP16KD", "DP99"))
    with pytest.raises(ValueError, match=r"no simulation model of DP99 \(ecp5\).*cells/ecp5\.v"):
        simulation_verilog(unknown)
