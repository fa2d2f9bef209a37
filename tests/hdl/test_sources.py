"""Signals and the lines that they come from."""

from pathlib import Path

from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from thresher.hdl.engine import ENGINES, engine
from thresher.hdl.sources import Origin, sources

HERE = Path(__file__)


def line(mark: str) -> str:
    """Where ``mark`` stands in this file."""
    lines = HERE.read_text(encoding="utf-8").splitlines()
    (found,) = (n for n, text in enumerate(lines, 1) if text.endswith(f"# {mark}"))
    return f"tests/hdl/{HERE.name}:{found}"


class Child(Elaboratable):
    """A counter, a memory and a state machine."""

    def __init__(self):
        self.total = Signal(8)

    def elaborate(self, platform):
        m = Module()
        pair = Signal(data.StructLayout({"low": 4, "high": 4}))  # pair
        m.submodules.table = table = Memory(shape=8, depth=4, init=[1, 2])  # table
        read = table.read_port()
        m.d.comb += [pair.eq(self.total ^ 5), read.addr.eq(pair.low)]
        m.d.sync += self.total.eq(self.total + read.data)
        with m.FSM():
            with m.State("A"), m.If(pair.high[0]):
                m.next = "B"
            with m.State("B"):
                m.next = "A"
        return m


class Top(wiring.Component):  # top
    i: In(8)
    o: Out(8)  # o

    def elaborate(self, platform):
        m = Module()
        m.submodules.child = child = Child()  # child
        m.submodules += (second := Child())  # unnamed
        held = Signal(8)  # held
        m.d.sync += held.eq(child.total + second.total + self.i)
        m.d.comb += self.o.eq(held)
        return m


def test_every_signal_has_its_stage_and_line():
    found = sources(Top())
    assert found["held"] == Origin("", "held", True, line("held"))
    assert found["child.pair"] == Origin("child", "pair", True, line("pair"))
    assert not found["child.total"].made or not found["total"].made
    assert found["U$1.pair"] == Origin("U$1", "pair", True, line("pair"))
    assert not found["child.clk"].made
    assert found["clk"].source == line("top")
    assert found["o"] == Origin("", "o", True, line("o"))


def test_what_a_library_makes_comes_from_the_line_that_asked_for_it():
    found = sources(Top())
    assert found["child.table"] == Origin("child", "table", True, line("table"))
    assert found["child.read__data"].source == line("child")
    states = [origin for name, origin in found.items() if name.endswith("fsm_state")]
    assert {state.source for state in states} == {line("child"), line("unnamed")}


def test_no_engine_has_a_signal_without_a_line_or_one_that_depends_on_the_machine():
    for name in ENGINES:
        described = engine(name)
        found = sources(described.component(described.config.preset("small")))
        assert len(found) > 10
        files = {origin.source.rpartition(":")[0] for origin in found.values()}
        assert all(file.startswith("hdl/") and file.endswith(".py") for file in files), files
