"""Pooling of bits."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from ...models.bcnn.latency import pool_latency
from ...models.bcnn.stages import Stage
from .flow import Beats, Words


class Pool(Component):
    """The OR of each group's words, :attr:`latency` cycles after the last of them."""

    def __init__(self, stage: Stage):
        self.latency = pool_latency(stage)
        self._bits = stage.readers[0].word_bits
        super().__init__({"i": In(Words(stage)), "o": Out(Beats(self._bits))})

    def elaborate(self, platform) -> Module:
        m = Module()
        some = Signal(self._bits, reset_less=True)
        m.d.comb += self.o.payload.eq(some)
        m.d.sync += self.o.valid.eq(self.i.valid & self.i.last)
        with m.If(self.i.valid):
            m.d.sync += some.eq(Mux(self.i.first, 0, some) | Mux(self.i.inside, self.i.word, 0))
        return m
