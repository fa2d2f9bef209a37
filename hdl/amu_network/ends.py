"""The ends of a pipeline: where frames come from a stream, and where results leave as one."""

import numpy as np
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.amu.layer import Format
from ..lib.fifo import BLOCK_DEPTH, Fifo
from ..lib.stream import WidthConverter
from .flow import Flow, inside, values
from .gather import Gather
from .schedule import Frame, Raster

SPARE = 3
"""Results for which there is room beside those that are still on their way."""


class Source(Component):
    """Takes the values of pixels, ``lanes`` a beat, while there is ``room``.

    A frame begins whenever its first beat is there, or else after the idle block of rows that
    has begun.  Those follow a frame until its last result has left, which takes so many
    ``idle`` blocks.  Only the channels of a pixel that are ``wanted`` appear.
    """

    latency = 1

    def __init__(
        self, format: Format, lanes: int, wanted: np.ndarray, size: tuple[int, int], frame: Frame,
        idle: int,
    ):  # fmt: skip
        self._format, self._lanes, self._wanted = format, lanes, wanted
        self._size, self._frame, self._idle = size, frame, idle
        super().__init__(
            {
                "x": In(stream.Signature(values(format, lanes))),
                "o": Out(Flow(values(format, wanted.size))),
                "room": In(1),
                "waits": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        frame, (height, width) = self._frame, self._size
        padded = np.zeros(frame.beats * self._lanes, bool)
        padded[: self._wanted.size] = self._wanted
        m.submodules.gather = gather = Gather(self._format, self._lanes, padded)
        beat = Signal(range(frame.beats))
        column, row = Signal(range(frame.columns)), Signal(range(frame.rows))
        idle, left = Signal(), Signal(range(self._idle + 1))

        start, idles, pixel, take, step = Signal(), Signal(), Signal(), Signal(), Signal()
        slot, end, last = Signal(), Signal(), Signal()
        m.d.comb += [
            start.eq((column == 0) & (row == 0) & (beat == 0)),
            pixel.eq((start | ~idle) & (row < height) & (column < width)),
            self.x.ready.eq(self.room & pixel),
            self.waits.eq(self.x.valid & ~self.room),
            take.eq(self.x.valid & self.x.ready),
            # Before a frame's first beat it is open whether a frame or an idle block begins.
            idles.eq(Mux(start, ~take, idle)),
            step.eq(take | (self.room & Mux(start, ~self.x.valid & (left != 0), ~pixel))),
            slot.eq(step & (beat == frame.beats - 1)),
            end.eq(slot & (column == frame.columns - 1)),
            last.eq(end & (row == Mux(idles, frame.block, frame.rows) - 1)),
            gather.en.eq(take),
            gather.place.eq(beat),
            gather.i.eq(self.x.payload),
            self.o.payload.as_value().eq(gather.o.as_value()),
        ]
        m.d.sync += [
            self.o.valid.eq(slot),
            self.o.first.eq(~idles & (column == 0) & (row == 0)),
        ]
        with m.If(step):
            m.d.sync += [beat.eq(Mux(slot, 0, beat + 1)), idle.eq(idles)]
        with m.If(slot):
            m.d.sync += column.eq(Mux(end, 0, column + 1))
        with m.If(end):
            m.d.sync += row.eq(Mux(last, 0, row + 1))
        with m.If(take):
            m.d.sync += left.eq(self._idle)
        with m.Elif(last & idles):
            m.d.sync += left.eq(left - 1)
        return m


class Sink(Component):
    """Queues results and sends each in at most ``beats`` beats, the last filled with anything.

    There is ``room`` as long as the queue holds all that is on its way, which are at most
    ``flying`` results.
    """

    def __init__(
        self, format: Format, channels: int, beats: int, flying: int,
        raster: Raster, frame: Frame,
    ):  # fmt: skip
        self._format, self._raster, self._frame = format, raster, frame
        self.lanes = -(-channels // beats)
        self.beats = -(-channels // self.lanes)
        self.depth = flying + SPARE
        self.latency = (2 if self.depth > BLOCK_DEPTH else 1) + (self.beats > 1)
        super().__init__(
            {
                "i": In(Flow(values(format, channels))),
                "y": Out(stream.Signature(values(format, self.lanes))),
                "room": Out(1),
                "leaves": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        whole = values(self._format, self.beats * self.lanes)
        m.submodules.queue = queue = Fifo(whole, self.depth)
        columns = self._frame.columns_of(self._raster)
        m.d.comb += [
            queue.i.valid.eq(inside(m, self.i, columns, self._raster.size)),
            queue.i.payload.as_value().eq(self.i.payload.as_value()),
            self.room.eq(queue.level < SPARE),
            self.leaves.eq(queue.o.valid & queue.o.ready),
        ]
        if self.beats > 1:
            shape = whole.elem_shape
            m.submodules.parts = parts = WidthConverter(shape, whole.length, self.lanes)
            connect(m, queue.o, parts.i)
            connect(m, parts.o, flipped(self.y))
        else:
            connect(m, queue.o, flipped(self.y))
        return m
