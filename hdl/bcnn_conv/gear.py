"""From P channels at once to S at once."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.bcnn.gears import collected
from ..lib.fifo import Fifo
from .flow import Beats, Entry


class Gear(Component):
    """Regroups channels of ``bits`` each, ``outputs`` in, ``channels`` out, the first ones first.

    Words leave in the cycles of :func:`thresher.models.bcnn.gears.times`; ``depth`` is that of
    :func:`thresher.models.bcnn.gears.depth` for the same beats.
    """

    def __init__(self, bits: int, outputs: int, channels: int, depth: int = 1):
        self._bits, self._outputs, self._channels = bits, outputs, channels
        self._depth = depth
        super().__init__({"i": In(Beats(bits * outputs)), "o": Out(Entry(bits * channels))})

    def elaborate(self, platform) -> Module:
        m = Module()
        beat, word = self._bits * self._outputs, self._bits * self._channels
        whole = self._bits * collected(self._outputs, self._channels)
        complete, gathered = self._gather(m, whole // beat)
        if whole == word:
            m.d.comb += [self.o.en.eq(complete), self.o.word.eq(gathered)]
            return m
        parts = whole // word
        m.submodules.queue = queue = Fifo(data.ArrayLayout(word, parts), max(self._depth, 1))
        part = Signal(range(parts))
        m.d.comb += [
            queue.i.valid.eq(complete),
            queue.i.payload.as_value().eq(gathered),
            self.o.en.eq(queue.o.valid),
            self.o.word.eq(queue.o.payload[part]),
            queue.o.ready.eq(part == parts - 1),
        ]
        with m.If(queue.o.valid):
            m.d.sync += part.eq(0)
            with m.If(~queue.o.ready):
                m.d.sync += part.eq(part + 1)
        return m

    def _gather(self, m: Module, beats: int):
        """Whether so many beats are there, the present one included, and all of them."""
        if beats == 1:
            return self.i.valid, self.i.payload
        held = Signal((beats - 1) * len(self.i.payload), reset_less=True)
        count = Signal(range(beats))
        last = count == beats - 1
        with m.If(self.i.valid):
            m.d.sync += [
                held.eq(Cat(held, self.i.payload)[len(self.i.payload) :]),
                count.eq(count + 1),
            ]
            with m.If(last):
                m.d.sync += count.eq(0)
        return self.i.valid & last, Cat(held, self.i.payload)
