"""Where frames come from a stream, and when they start."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from ..lib.memory import Ram
from .flow import Beats


class Source(Component):
    """Keeps up to two frames of ``words`` words and gives them out evenly.

    A frame starts the cycle after its last word was taken, or as soon as the last one has started
    ``interval`` cycles ago and there is ``room`` for its results.  Its word w is on ``o`` in cycle
    ``w * (interval // words) + 1`` after ``start``.  ``waits``: a frame could start, were there
    room.
    """

    def __init__(self, shape: ShapeLike, words: int, interval: int):
        if not 1 <= words <= interval:
            raise ValueError(f"{words} words of a frame in {interval} cycles; from 1 to that many")
        self._shape, self._words, self._interval = shape, words, interval
        super().__init__(
            {
                "x": In(stream.Signature(shape)),
                "room": In(1),
                "start": Out(1),
                "waits": Out(1),
                "o": Out(Beats(shape)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        words, rows = self._words, 2 * self._words
        m.submodules.memory = memory = Ram(self._shape, rows, collides=False)
        write, read = Signal(range(rows)), Signal(range(rows))
        level, whole = Signal(range(rows + 1)), Signal(range(3))
        take, give, complete = Signal(), Signal(), Signal()
        m.d.comb += [
            self.x.ready.eq(level != rows),
            take.eq(self.x.valid & self.x.ready),
            complete.eq(take & ((write == words - 1) | (write == rows - 1))),
            memory.write_en.eq(take),
            memory.write_addr.eq(write),
            Value.cast(memory.write_data).eq(self.x.payload),
            memory.read_addr.eq(read),
            Value.cast(self.o.payload).eq(memory.read_data),
        ]
        m.d.sync += [self.o.valid.eq(give), whole.eq(whole + complete - self.start)]
        with m.If(take != give):
            m.d.sync += level.eq(Mux(take, level + 1, level - 1))
        for place, step in ((write, take), (read, give)):
            with m.If(step):
                m.d.sync += place.eq(Mux(place == rows - 1, 0, place + 1))

        wait = Signal(range(self._interval))  # cycles until the next frame may start
        may = (whole != 0) & (wait == 0)
        m.d.comb += [self.start.eq(may & self.room), self.waits.eq(may & ~self.room)]
        with m.If(self.start):
            m.d.sync += wait.eq(self._interval - 1)
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        self._pace(m, give)
        return m

    def _pace(self, m: Module, give: Signal) -> None:
        """Words at ``start`` and every so many cycles behind it."""
        words, pace = self._words, self._interval // self._words
        if words == 1:
            m.d.comb += give.eq(self.start)
            return
        left, phase = Signal(range(words)), Signal(range(pace))
        m.d.comb += give.eq(self.start | ((left != 0) & (phase == 0)))
        with m.If(give):
            m.d.sync += [phase.eq(pace - 1), left.eq(Mux(self.start, words, left) - 1)]
        with m.Elif(phase != 0):
            m.d.sync += phase.eq(phase - 1)
