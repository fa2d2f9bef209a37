# amaranth: UnusedElaboratable=no
"""Vectors of what comes one after the other, of which only what is read is kept."""

import numpy as np
from amaranth.hdl import Const, Module, Signal
from amaranth.lib.wiring import Component, In, Out

from ...models.amu.layer import Format
from .flow import Flow, inside, values
from .schedule import Frame, Raster, Slots, at


class Gather(Component):
    """A vector of ``places`` times ``lanes`` values, of which those that are ``wanted`` appear.

    ``i`` is taken with ``en``, and ``place`` counts from 0.  The vector is there in the cycle
    after its last values came, and the next one's first values may come in that cycle.  What
    is wanted of a lane moves along registers, so that none has an enable, or a multiplexer, of its
    own.
    """

    def __init__(self, format: Format, lanes: int, wanted: np.ndarray):
        """``wanted``: bool [places * lanes]"""
        if wanted.size % lanes:
            raise ValueError(f"{wanted.size} values are no multiple of {lanes} lanes")
        self._lanes, self._wanted = lanes, wanted.reshape(-1, lanes)
        super().__init__(
            {
                "en": In(1),
                "place": In(range(max(len(self._wanted), 2))),
                "i": In(values(format, lanes)),
                "o": Out(values(format, wanted.size)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        places = len(self._wanted)
        for lane in range(self._lanes):
            kept = np.flatnonzero(self._wanted[:, lane])
            mask = sum(1 << int(place) for place in kept)
            take = Signal(name=f"take_{lane}")
            wanted = 1 if len(kept) == places else Const(mask, places).bit_select(self.place, 1)
            m.d.comb += take.eq(self.en & wanted)
            newer = self.i[lane]
            for place in kept[::-1]:
                value = Signal(newer.shape(), name=f"value_{place}_{lane}", reset_less=True)
                with m.If(take):
                    m.d.sync += value.eq(newer)
                m.d.comb += self.o[int(place) * self._lanes + lane].eq(value)
                newer = value
        return m


class Flatten(Component):
    """An image as one vector, once a frame: row by row, pixel by pixel, channel by channel.

    Only what is ``wanted``, bool [values], appears.
    """

    latency = 1

    def __init__(
        self, format: Format, channels: int, raster: Raster, frame: Frame, wanted: np.ndarray
    ):
        self._channels, self._raster, self._frame = channels, raster, frame
        self._gather = Gather(format, channels, wanted)
        super().__init__(
            {"i": In(Flow(values(format, channels))), "o": Out(Flow(values(format, wanted.size)))}
        )

    def behind(self, slots: Slots) -> Slots:
        """The slots that a vector, which is counted by a frame's first slot, waits for."""
        return (self._frame.last(self._raster) + at(slots, self._raster.size[1] - 1),)

    def elaborate(self, platform):
        m = Module()
        m.submodules.gather = gather = self._gather
        columns, size = self._frame.columns_of(self._raster), self._raster.size
        pixels = size[0] * size[1]
        taken, end = Signal(), Signal()
        m.d.comb += [
            taken.eq(inside(m, self.i, columns, size)),
            end.eq(taken & (gather.place == pixels - 1)),
            gather.en.eq(taken),
            gather.i.eq(self.i.payload),
            self.o.payload.eq(gather.o),
        ]
        place = Signal.like(gather.place)
        m.d.comb += gather.place.eq(place)
        with m.If(taken):
            m.d.sync += place.eq(place + 1)
        with m.If(end):
            m.d.sync += place.eq(0)
        m.d.sync += [self.o.valid.eq(end), self.o.first.eq(end)]
        return m
