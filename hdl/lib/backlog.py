"""A queue for what can never be too much, with hardly any logic."""

from functools import reduce
from operator import xor

from amaranth.hdl import Cat, Module, ShapeLike, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from .memory import Ram

_TAPS = {
    3: (3, 2),
    4: (4, 3),
    5: (5, 3),
    6: (6, 5),
    7: (7, 6),
    8: (8, 6, 5, 4),
    9: (9, 5),
    10: (10, 7),
    11: (11, 9),
    12: (12, 6, 4, 1),
}
"""By the width of a shift register: its bits, from 1, whose parity makes its sequence longest."""


def following(address: Value) -> Value:
    """The next of ``2**n - 1`` addresses of n bits, in a fixed order; all ones are left out.

    A look-up table where counting takes n: a ring does not mind the order.
    """
    return Cat(~reduce(xor, (address[tap - 1] for tap in _TAPS[len(address)])), address[:-1])


class Backlog(Component):
    """A queue in block RAM that takes a payload whenever ``push``, up to ``depth - 2`` of them.

    ``depth`` is a power of two from 8 to 4096.  Whoever pushes knows that there is room; what
    stands on ``o`` takes none.  Latency 2; one payload a cycle, either side.  ``empty``: nothing
    was pushed that has not left.
    """

    def __init__(self, shape: ShapeLike, depth: int):
        if depth not in (1 << width for width in _TAPS):
            raise ValueError(f"depth = {depth} is not a power of two from 8 to 4096")
        self._shape, self._depth = shape, depth
        super().__init__(
            {
                "push": In(1),
                "i": In(shape),
                "o": Out(stream.Signature(shape)),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A row is never written and read at once: it would have to be free and filled.
        m.submodules.memory = memory = Ram(self._shape, self._depth, collides=False)
        write, read = Signal(range(self._depth)), Signal(range(self._depth))
        stored, step = Signal(), Signal()
        m.d.comb += [
            stored.eq(write != read),
            step.eq(stored & (self.o.ready | ~self.o.valid)),
            self.empty.eq(~stored & ~self.o.valid),
            memory.write_en.eq(self.push),
            memory.write_addr.eq(write),
            memory.write_data.eq(self.i),
            memory.read_en.eq(step),
            memory.read_addr.eq(read),
            self.o.payload.eq(memory.read_data),
        ]
        with m.If(self.push):
            m.d.sync += write.eq(following(write))
        with m.If(step):
            m.d.sync += [read.eq(following(read)), self.o.valid.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
