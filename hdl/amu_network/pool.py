"""The largest of pixels, channel by channel."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.amu.layer import Format
from .flow import values


class Largest(Component):
    """``o`` = the largest of each channel among ``count`` pixels, ``latency`` cycles ago."""

    def __init__(self, format: Format, channels: int, count: int):
        self.latency = (count - 1).bit_length()
        pixel = values(format, channels)
        self._channels = channels
        super().__init__({"i": In(data.ArrayLayout(pixel, count)), "o": Out(pixel)})

    def elaborate(self, platform):
        m = Module()
        for channel in range(self._channels):
            found = [pixel[channel] for pixel in self.i]
            for level in range(self.latency):
                pairs = [found[n : n + 2] for n in range(0, len(found), 2)]
                found = []
                for n, pair in enumerate(pairs):
                    largest = Signal.like(
                        pair[0], name=f"largest_{channel}_{level}_{n}", reset_less=True
                    )
                    m.d.sync += largest.eq(Mux(pair[0] < pair[-1], pair[-1], pair[0]))
                    found.append(largest)
            m.d.comb += self.o[channel].eq(found[0])
        return m
