"""Where results leave as a stream."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ..lib.fifo import BLOCK_DEPTH, Fifo
from .flow import Beats


class Sink(Component):
    """Queues results, ``beats`` of a frame, of which at most ``frames`` are on their way or here.

    There is ``room`` for one more frame, or there is not; ``start`` takes it.  ``leaves``: a
    frame's last result is taken.  A result is on ``y`` :attr:`latency` cycles after it came.
    """

    def __init__(self, shape: ShapeLike, beats: int, frames: int):
        self._shape, self._beats = shape, beats
        self.depth = max(beats * frames, 2)
        self.latency = 2 if self.depth > BLOCK_DEPTH else 1
        super().__init__(
            {
                "i": In(Beats(shape)),
                "start": In(1),
                "room": Out(1),
                "leaves": Out(1),
                "y": Out(stream.Signature(shape)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.queue = queue = Fifo(self._shape, self.depth)
        m.d.comb += [
            queue.i.valid.eq(self.i.valid),
            Value.cast(queue.i.payload).eq(self.i.payload),
        ]
        connect(m, queue.o, flipped(self.y))
        taken = Signal()
        free, left = Signal(range(self.depth + 1), init=self.depth), Signal(range(self._beats))
        last = left == self._beats - 1
        m.d.comb += [
            taken.eq(self.y.valid & self.y.ready),
            self.room.eq(free >= self._beats),
            self.leaves.eq(taken & last),
        ]
        m.d.sync += free.eq(free + taken - Mux(self.start, self._beats, 0))
        with m.If(taken):
            m.d.sync += left.eq(Mux(last, 0, left + 1))
        return m
