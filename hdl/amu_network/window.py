"""Windows of an image that comes pixel by pixel."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.windows import Windows
from ..lib.delay import Delay
from .flow import Flow
from .schedule import Frame, Raster, Slots, at, reach


class Window(Component):
    """Pixels in, windows out: ``o.payload[k]`` is the pixel in row ``k // width``, column
    ``k % width`` of the window, or ``outside``, a constant (by default all bits 0), where that is
    not of the image.

    The rows above wait in a memory.  A window comes :attr:`latency` cycles after its last pixel,
    which is :attr:`pixels` pixels after the one that it is counted by.
    """

    latency = 2

    def __init__(
        self,
        shape: ShapeLike,
        windows: Windows,
        raster: Raster,
        frame: Frame,
        outside: Any = None,
    ):
        self._shape, self._windows, self._outside = shape, windows, outside
        self._size, self._columns = raster.size, frame.columns_of(raster)
        (below, beside), (down, across) = reach(windows), raster.step
        self.pixels = below * self._columns + beside
        self._apart = down * frame.columns, across  # slots from a row, or a pixel, to the next
        height, width = windows.size
        super().__init__(
            {"i": In(Flow(shape)), "o": Out(Flow(data.ArrayLayout(shape, height * width)))}
        )

    def behind(self, slots: Slots) -> Slots:
        """The slots that windows wait for, by the column of the pixel that they are counted by."""
        found = []
        for column in range(0, self._columns, self._windows.stride[1]):
            rows, last = divmod(column + self.pixels, self._columns)
            ahead = rows * self._apart[0] + (last - column) * self._apart[1]
            found.append(ahead + at(slots, last))
        return tuple(found) if len(set(found)) > 1 else (found[0],)

    def elaborate(self, platform):
        m = Module()
        start, (y, x), counted = self._places(m)
        # A cycle for the place, and one for what it means.
        valid, first, out = Signal(), Signal(reset_less=True), Signal()
        row, column = Signal.like(y, reset_less=True), Signal.like(x, reset_less=True)
        present = Signal(len(Value.cast(self.i.payload)), reset_less=True)
        m.d.sync += [
            valid.eq(self.i.valid),
            first.eq(start),
            out.eq(counted),
            row.eq(y),
            column.eq(x),
            present.eq(Value.cast(self.i.payload)),
        ]
        rows, columns = self._inside(m, row, 0), self._inside(m, column, 1)
        outside = Const(0, len(present))
        if self._outside is not None:
            outside = Value.cast(Signal(self._shape, init=self._outside))
        width = self._windows.size[1]
        for k, pixel in enumerate(self._pixels(m, valid, present)):
            inside = rows[k // width] & columns[k % width]
            m.d.sync += self.o.payload[k].as_value().eq(Mux(inside, pixel, outside))
        m.d.sync += [self.o.valid.eq(out), self.o.first.eq(first)]
        return m

    def _pixels(self, m: Module, valid: Signal, present: Signal) -> list[Value]:
        """All of the window that is completed by the present one."""
        height, width = self._windows.size
        bits, newest = len(present), [present]
        if height > 1:
            # One memory for all rows: what is read from it goes back a row older.
            m.submodules.rows = rows = Delay((height - 1) * bits, self._columns)
            m.d.comb += [rows.en.eq(valid), rows.i.eq(Cat(present, rows.o)[: len(rows.o)])]
            newest += [rows.o.word_select(n, bits) for n in range(height - 1)]
        found = []
        for n, pixel in enumerate(reversed(newest)):
            row = [pixel]
            for k in range(width - 1):
                past = Signal(bits, name=f"row_{n}_past_{k + 1}", reset_less=True)
                with m.If(valid):
                    m.d.sync += past.eq(row[-1])
                row.append(past)
            found += reversed(row)
        return found

    def _places(self, m: Module) -> tuple[Signal, tuple[Signal, Signal], Signal]:
        """Whether the window that is completed is the frame's first; the place in the image of the
        pixel that it is counted by; and whether a window is counted by that one."""
        start = Signal()
        if self.pixels:
            left = Signal(range(self.pixels + 1))  # pixels until the first window
            m.d.comb += start.eq(self.i.valid & ~self.i.first & (left == 1))
            with m.If(self.i.valid):
                m.d.sync += left.eq(Mux(self.i.first, self.pixels, left - (left != 0)))
        else:
            m.d.comb += start.eq(self.i.valid & self.i.first)
        begun, going = Signal(), Signal()
        m.d.comb += going.eq(begun | start)
        m.d.sync += begun.eq(going)
        # The rows never end early, so columns begin at 0 by themselves.
        # No window is counted by a row so far down.
        below = self._size[0] + self._windows.padding[0]
        y, x = Signal(range(below + 1)), Signal(range(self._columns))
        row = Signal.like(y)
        down, across = self._windows.stride
        phase, phase_row, phase_x = Signal(range(down)), Signal(range(down)), Signal(range(across))
        end = Signal()
        m.d.comb += [
            y.eq(Mux(start, 0, row)),
            phase.eq(Mux(start, 0, phase_row)),
            end.eq(x == self._columns - 1),
        ]
        with m.If(self.i.valid & going):
            m.d.sync += [x.eq(Mux(end, 0, x + 1)), row.eq(y), phase_row.eq(phase)]
            m.d.sync += phase_x.eq(Mux(phase_x == across - 1, 0, phase_x + 1))
            with m.If(end):
                m.d.sync += [
                    row.eq(Mux(y == below, y, y + 1)),
                    phase_row.eq(Mux(phase == down - 1, 0, phase + 1)),
                ]
        counted = Signal()
        m.d.comb += counted.eq(self.i.valid & going & (phase == 0) & (phase_x == 0))
        return start, (y, x), counted

    def _inside(self, m: Module, place: Signal, axis: int) -> Signal:
        """Which rows, or columns, of the window at ``place`` are of the image."""
        width, padding = self._windows.size[axis], self._windows.padding[axis]
        size = self._size[axis]
        furthest = size + 2 * padding - width  # place that a window is counted by
        flags = Signal(width, name=("rows", "columns")[axis] + "_inside")
        for k in range(width):
            offset = k - padding
            after = place >= -offset if offset < 0 else Const(1)
            if offset >= size:
                before = Const(0)
            else:
                before = place < size - offset if furthest + offset >= size else Const(1)
            m.d.comb += flags[k].eq(after & before)
        return flags
