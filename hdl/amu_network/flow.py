"""Flows: streams that nothing can stop.

A pipeline moves on by itself.  Only at its ends are streams with ``ready``: what may enter is
decided at its beginning, by the room at its end (:mod:`.pipeline`).  So nothing inside needs an
enable, a skid buffer or a path from one layer to the next.
"""

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out, Signature

from ...models.amu.layer import Format
from .schedule import Pair


def values(format: Format, count: int) -> data.ArrayLayout:
    """So many integers: the channels of a pixel, for instance."""
    return data.ArrayLayout(Shape(format.bits, format.signed), count)


class Flow(Signature):
    """Pixels, also those beside the image and those of idle slots.

    ``first`` marks a frame's pixel (0, 0).  Nothing is ``valid`` after reset before the first one.
    """

    def __init__(self, shape: ShapeLike):
        super().__init__({"valid": Out(1), "first": Out(1), "payload": Out(shape)})


class Tags(Component):
    """``valid`` and ``first`` as they were ``latency`` cycles ago."""

    def __init__(self, latency: int):
        self.latency = latency
        super().__init__({"i": In(Flow(0)), "o": Out(Flow(0))})

    def elaborate(self, platform):
        m = Module()
        valid, first = self.i.valid, self.i.first
        for n in range(self.latency):
            later = Signal(name=f"valid_{n + 1}"), Signal(name=f"first_{n + 1}", reset_less=True)
            m.d.sync += [later[0].eq(valid), later[1].eq(first)]
            valid, first = later
        m.d.comb += [self.o.valid.eq(valid), self.o.first.eq(first)]
        return m


def inside(m: Module, flow, columns: int, size: Pair) -> Signal:
    """Whether the flow's pixel lies in its image, of a grid of ``columns``."""
    place = Scan(size[0], columns)
    m.submodules += place
    m.d.comb += [place.valid.eq(flow.valid), place.first.eq(flow.first)]
    found = Signal()
    m.d.comb += found.eq(flow.valid & (place.y < size[0]) & (place.x < size[1]))
    return found


class Scan(Component):
    """Where a flow's pixel lies: ``x`` in a grid of ``columns``, ``y`` from 0 to ``rows``, where
    it stays.

    Rows are never cut off, so ``x`` needs no ``first``.
    """

    def __init__(self, rows: int, columns: int):
        self._rows, self._columns = rows, columns
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "x": Out(range(columns)),
                "y": Out(range(rows + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        y = Signal(range(self._rows + 1), init=self._rows)
        last = Signal()
        m.d.comb += [
            last.eq(self.x == self._columns - 1),
            self.y.eq(Mux(self.first, 0, y)),
        ]
        with m.If(self.valid):
            m.d.sync += [
                self.x.eq(Mux(last, 0, self.x + 1)),
                y.eq(Mux(last & (self.y != self._rows), self.y + 1, self.y)),
            ]
        return m
