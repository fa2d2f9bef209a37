"""A queue over any payload shape."""

from amaranth.hdl import Const, Module, Mux, ShapeLike, Signal
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from .memory import NEVER_COLLIDES

BLOCK_DEPTH = 32
"""Deepest queue that is kept in registers or LUT RAM unless asked otherwise."""


class Fifo(Component):
    """Holds up to ``depth`` payloads and delivers them in order; one a cycle, either side.

    The first word falls through: ``o`` is valid as soon as there is something to
    take.  Latency (from the transfer in to the first cycle in which it can be
    transferred out): 1, or 2 from block RAM.  ``i.ready`` depends on registers alone,
    except at ``depth = 1``, which is a pipeline register that ``o.ready`` passes
    through.

    ``block`` chooses block RAM with a registered output (``depth >= 3``) or LUT RAM,
    which becomes registers where the target has none; by default block RAM for more
    than :data:`BLOCK_DEPTH` payloads.
    """

    def __init__(self, shape: ShapeLike, depth: int, block: bool | None = None):
        if depth < 1:
            raise ValueError(f"depth = {depth}; a Fifo holds at least 1")
        self.block = depth > BLOCK_DEPTH if block is None else block
        if self.block and depth < 3:
            raise ValueError(f"depth = {depth} is too small for block RAM; at least 3")
        self.depth = depth
        self._shape = shape
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        enter, leave = Signal(), Signal()
        m.d.comb += enter.eq(self.i.valid & self.i.ready)
        m.d.comb += leave.eq(self.o.valid & self.o.ready)
        with m.If(enter != leave):
            m.d.sync += self.level.eq(self.level + Mux(enter, 1, -1))
        if self.depth == 1:
            self._register(m, enter)
        else:
            self._queue(m, enter, leave)
        return m

    def _register(self, m: Module, enter: Signal) -> None:
        payload = Signal(self._shape, reset_less=True)
        with m.If(enter):
            m.d.sync += payload.eq(self.i.payload)
        m.d.comb += [
            self.i.ready.eq(~self.level | self.o.ready),
            self.o.valid.eq(self.level),
            self.o.payload.eq(payload),
        ]

    def _queue(self, m: Module, enter: Signal, leave: Signal) -> None:
        # The register behind a block RAM holds one payload of the depth, so that a row less
        # would do; but addresses of a power of two wrap round by themselves.
        rows = self.depth - (self.block and not _is_power(self.depth))
        # A row is never written and read at once: it would have to be free and filled.
        m.submodules.memory = memory = Memory(
            shape=self._shape, depth=rows, init=[], attrs=NEVER_COLLIDES
        )
        write = memory.write_port()
        m.d.comb += [write.en.eq(enter), write.data.eq(self.i.payload)]
        self._advance(m, write.addr, enter, rows)
        if not self.block:
            read = memory.read_port(domain="comb")
            self._advance(m, read.addr, leave, rows)
            m.d.comb += [
                self.i.ready.eq(self.level != rows),
                self.o.valid.eq(self.level != 0),
                self.o.payload.eq(read.data),
            ]
            return
        read = memory.read_port()
        stored = Signal()  # a row is filled: there is more than what stands in the register
        m.d.comb += stored.eq(self.level[1:].any() | (self.level[0] & ~self.o.valid))
        m.d.comb += read.en.eq(stored & (~self.o.valid | self.o.ready))
        self._advance(m, read.addr, read.en, rows)
        # Where a row is left out, all others are filled only when the register has long been.
        m.d.comb += [self.i.ready.eq(self.level != self.depth), self.o.payload.eq(read.data)]
        with m.If(read.en):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(leave):
            m.d.sync += self.o.valid.eq(0)

    @staticmethod
    def _advance(m: Module, address: Signal, enable: Signal, rows: int) -> None:
        """Steps ``address`` round a memory of ``rows`` rows whenever ``enable``."""
        counter = Signal(range(rows))
        m.d.comb += address.eq(counter)
        last = Const(0) if _is_power(rows) else counter == rows - 1
        with m.If(enable):
            m.d.sync += counter.eq(Mux(last, 0, counter + 1))


def _is_power(number: int) -> bool:
    return number & (number - 1) == 0
