"""Proofs that a design keeps its assertions in every reachable state, however long it runs.

Needs the ``pyosys`` package, which brings ``yosys-abc``: the design becomes an
and-inverter graph, on which property-directed reachability either finds an inductive
invariant (a proof without a bound) or a shortest run that breaks an assertion.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from amaranth.asserts import AnySeq
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Elaboratable, Module, Mux, Signal, Value

_PASSES = """
read_rtlil design.il
prep -flatten -top top
async2sync
formalff -clk2ff -ff2anyinit
memory_map -formal
techmap
opt -fast
setundef -undriven -anyseq
dffunmap
aigmap
opt_clean
write_aiger -zinit -I -B -no-startoffset design.aig
"""
_YOSYS = "from pyosys import libyosys as ys; ys.run_pass('script passes.ys', ys.Design())"


class RefutedError(AssertionError):
    """An assertion does not hold; ``cycle`` is the first in which it can fail."""

    def __init__(self, cycle: int):
        super().__init__(f"an assertion can fail in cycle {cycle} after power-up")
        self.cycle = cycle


def prove(spec: Elaboratable, timeout: float = 60) -> None:
    """Proves every ``Assert`` in ``spec`` under its ``Assume``s, from power-up on.

    What :func:`anything` drives, and ``rst``, take any value in any cycle.  Raises
    :class:`RefutedError`, or :class:`TimeoutError` after ``timeout`` seconds of search.
    """
    pyosys = find_spec("pyosys")
    if pyosys is None or pyosys.origin is None:
        raise ModuleNotFoundError("proofs need yosys and abc; run `pip install pyosys`")
    abc = Path(pyosys.origin).with_name("yosys-abc")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "design.il").write_text(rtlil.convert(spec, ports=[]))
        Path(folder, "passes.ys").write_text(_PASSES)
        _run([sys.executable, "-c", _YOSYS], folder)
        script = f"read_aiger design.aig; fold; strash; pdr -T {timeout:.0f}"
        verdict = _run([str(abc), "-c", script], folder)
    if "Property proved" in verdict:
        return
    _, asserted, frame = verdict.partition("asserted in frame ")
    if asserted:
        raise RefutedError(int(frame.split(".")[0]))
    raise TimeoutError(f"neither proved nor refuted in {timeout} s: {verdict.strip()[-500:]}")


def _run(command: list[str], folder: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def anything(m: Module, signal: Any) -> None:
    """Drives ``signal`` with a value chosen anew, by the adversary, in every cycle."""
    raw = Value.cast(signal)
    m.d.comb += raw.eq(AnySeq(len(raw)))


def stream_rule(m: Module, port: Any, claim: Callable[[Value], Any]) -> None:
    """Claims (``Assert`` or ``Assume``) that a stalled payload stays, and stays valid."""
    payload = Value.cast(port.payload)
    stalled, before = Signal(), Signal(len(payload))
    m.d.sync += [stalled.eq(port.valid & ~port.ready), before.eq(payload)]
    m.d.comb += claim(~stalled | (port.valid & (payload == before)))


def source(m: Module, port: Any) -> None:
    """Drives a stream input with any payloads at any time, within the rule."""
    anything(m, port.payload)
    anything(m, port.valid)
    stream_rule(m, port, Assume)


def sink(m: Module, port: Any) -> None:
    """Takes from a stream output at any time, and holds it to the rule."""
    anything(m, port.ready)
    stream_rule(m, port, Assert)


class QueueSpec(Elaboratable):
    """What every block from a stream ``i`` to a stream ``o`` that only delays owes.

    * An element that the adversary marks when it enters leaves in its turn, after as
      many others as were then inside: nothing is lost, invented, doubled or reordered.
    * No more than ``capacity`` elements are ever inside, and an empty block accepts.
    * Once a payload's worth is inside, ``o.valid`` follows: ``latency`` cycles after
      the transfer that completed it.
    * Offered and asked for without a pause for ``warm_up`` cycles, the narrower
      side transfers in every cycle.
    * The rule of streams holds at ``o``; ``level``, where there is one, is right.

    A payload of ``i`` is ``i_width`` elements, one of ``o`` is ``o_width``.
    """

    def __init__(
        self,
        block: Any,
        *,
        capacity: int,
        latency: int = 1,
        warm_up: int = 2,
        i_width: int = 1,
        o_width: int = 1,
    ):
        self.block = block
        self.capacity, self.latency, self.warm_up = capacity, latency, warm_up
        self.widths = i_width, o_width

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.block = block = self.block
        i, o = block.i, block.o
        source(m, i)
        sink(m, o)
        enter, leave = Signal(), Signal()
        m.d.comb += [enter.eq(i.valid & i.ready), leave.eq(o.valid & o.ready)]
        self._order(m, enter, leave)
        self._pace(m, enter, leave)
        return m

    def _order(self, m: Module, enter: Signal, leave: Signal) -> None:
        i, o = Value.cast(self.block.i.payload), Value.cast(self.block.o.payload)
        i_width, o_width = self.widths
        element = len(i) // i_width

        self.inside = inside = Signal(range(self.capacity + i_width + 1))
        arrived, left = Mux(enter, i_width, 0), Mux(leave, o_width, 0)
        m.d.sync += inside.eq(inside + arrived - left)
        m.d.comb += Assert(inside + arrived - left <= self.capacity)
        m.d.comb += Assert(inside + arrived >= left)
        m.d.comb += Assert((inside != 0) | self.block.i.ready)
        if hasattr(self.block, "level"):
            m.d.comb += Assert(self.block.level == inside)

        marked, done = Signal(), Signal()
        mark, position = Signal(), Signal(range(i_width))
        anything(m, mark)
        anything(m, position)
        value = Signal(element)  # of the marked element
        ahead = Signal.like(inside)  # elements that must leave before it
        turn = ahead[: (o_width - 1).bit_length()]  # its place in the payload that takes it
        with m.If(enter & mark & ~marked & (position < i_width)):
            m.d.sync += [
                marked.eq(1),
                value.eq(i.word_select(position, element)),
                ahead.eq(inside - left + position),
            ]
        with m.Elif(marked & ~done & leave):
            with m.If(ahead < o_width):
                m.d.comb += Assert(o.word_select(turn, element) == value)
                m.d.sync += done.eq(1)
            with m.Else():
                m.d.sync += ahead.eq(ahead - o_width)

    def _pace(self, m: Module, enter: Signal, leave: Signal) -> None:
        i, o = self.block.i, self.block.o
        i_width, o_width = self.widths

        waiting = Signal(range(self.latency + 1))
        owed = (self.inside >= o_width) & ~o.valid
        m.d.comb += Assert(~owed | (waiting != self.latency - 1))
        m.d.sync += waiting.eq(Mux(owed, waiting + 1, 0))

        eager = Signal(range(self.warm_up + 1))
        with m.If(~(i.valid & o.ready)):
            m.d.sync += eager.eq(0)
        with m.Elif(eager != self.warm_up):
            m.d.sync += eager.eq(eager + 1)
        flowing = (eager == self.warm_up) & i.valid & o.ready
        if i_width <= o_width:
            m.d.comb += Assert(~flowing | enter)
        if o_width <= i_width:
            m.d.comb += Assert(~flowing | leave)
