"""The walk of a stage over its taps: a word every cycle, by a program, for every output pixel.

Three cycles long: the program's row of a tap; where its word lies, and whether that is a pixel of
the image; the memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.bcnn.latency import WINDOW
from ...models.bcnn.stages import Reader, Stage, Tap
from ..lib.memory import Rom
from .flow import Entry, Words
from .ring import Ring, following, rows


class Walker(Component):
    """Words of ``stage`` for a frame, from the cycle of ``start`` on, :data:`WINDOW` cycles later.

    ``feed0``, ``feed1``, ... are what enters the memories of :attr:`Stage.feeds`, of which each
    holds as many words as ``depths`` says at least.  Frames follow each other without a break,
    or later: ``start`` comes no earlier than behind the last tap of the frame before.
    """

    def __init__(self, stage: Stage, depths: Sequence[int]):
        self._stage = stage
        self._rows = [
            rows(depth, feed.word_bits) for depth, feed in zip(depths, stage.feeds, strict=True)
        ]
        feeds = {f"feed{n}": In(Entry(feed.word_bits)) for n, feed in enumerate(stage.feeds)}
        super().__init__({"start": In(1), **feeds, "o": Out(Words(stage))})

    def elaborate(self, platform) -> Module:
        assert WINDOW == 3
        m = Module()
        stage, program = self._stage, _Program(self._stage, self._rows)
        issue, tap, place = self._issue(m, len(program))

        # A cycle later: the tap's row of the program, and the pixel.
        valid, tap_then = Signal(), Signal.like(tap, reset_less=True)
        m.d.sync += [valid.eq(issue), tap_then.eq(tap)]
        row = program.row(m, place)
        first = Signal(init=1)
        group, last_pixel = Signal(range(len(stage.groups))), Signal()
        end = Const(1) if len(stage.groups) == 1 else group == len(stage.groups) - 1
        pixel_ends = valid & row.last & end
        with m.If(valid):
            m.d.sync += first.eq(row.last)
            with m.If(row.last):
                m.d.sync += group.eq(Mux(end, 0, group + 1))
        down, across, row_ends = self._place(m, pixel_ends)
        m.d.comb += last_pixel.eq(row_ends & (down == stage.grid[0] - 1))

        # Another one: the memories' addresses.
        outside = Signal(reset_less=True)
        null = Signal(reset_less=True)
        chosen = Signal(reset_less=True)
        insides = []
        rings: list[Ring] = []
        for n, feed in enumerate(stage.feeds):
            m.submodules[f"ring{n}"] = ring = Ring(feed.word_bits, self._rows[n])
            connect(m, ring.write, flipped(getattr(self, f"feed{n}")))
            rings.append(ring)
            if n < len(stage.readers):
                base = self._base(m, n, pixel_ends, row_ends, last_pixel)
                m.d.sync += ring.address.eq(_behind(base, row.offset, self._rows[n]))
                insides.append(program.inside(m, n, row, down, across))
        m.d.sync += [
            null.eq(row.null),
            chosen.eq(row.reader),
            outside.eq(~Mux(row.reader, insides[-1], insides[0])),
        ]
        for n in range(len(stage.readers), len(stage.feeds)):
            # A shortcut's words are read in the order in which they came.
            place = Signal(range(self._rows[n]), name=f"place{n}")
            with m.If(valid & first):
                m.d.sync += place.eq(following(place, 1, self._rows[n]))
            m.d.sync += rings[n].address.eq(place)

        # And the words.
        then = {"valid": valid, "first": first, "last": row.last, "final": last_pixel}
        for name, value in then.items():
            before = Signal(name=f"{name}_then", reset_less=name != "valid")
            m.d.sync += [before.eq(value), getattr(self.o, name).eq(before)]
        m.d.sync += [self.o.tap.eq(tap_then), self.o.group.eq(group)]
        outside_then, null_then = Signal(reset_less=True), Signal(reset_less=True)
        chosen_then = Signal(reset_less=True)
        m.d.sync += [outside_then.eq(outside), null_then.eq(null), chosen_then.eq(chosen)]
        word = rings[0].word
        fills = [reader.fill == "one" for reader in stage.readers]
        if len(stage.readers) == 2:
            word = Mux(chosen_then, rings[1].word, rings[0].word)
        ones = outside_then & (Mux(chosen_then, fills[-1], fills[0]) if any(fills) else Const(0))
        nothing = null_then | (outside_then & ~ones)
        if any(fills):
            word = word | ones.replicate(len(word))
        if stage.unit == "pool":
            word = word & (~nothing).replicate(len(word))
        m.d.comb += [self.o.word.eq(word), self.o.inside.eq(~nothing)]
        for n, ring in enumerate(rings[len(stage.readers) :]):
            m.d.comb += self.o.shortcut[n].eq(ring.word)
        return m

    def _issue(self, m: Module, period: int) -> tuple[Value, Signal, Signal]:
        """Whether a tap is issued, which one of a pixel's, and its place in the program."""
        stage = self._stage
        running, issue = Signal(), Signal()
        tap, pixel = Signal(range(stage.taps)), Signal(range(stage.pixels))
        last, final = tap == stage.taps - 1, pixel == stage.pixels - 1
        m.d.comb += issue.eq(self.start | running)
        with m.If(issue):
            m.d.sync += [running.eq(1), tap.eq(Mux(last, 0, tap + 1))]
            with m.If(last):
                m.d.sync += pixel.eq(Mux(final, 0, pixel + 1))
                with m.If(final):
                    m.d.sync += running.eq(0)
        if period == stage.taps:
            return issue, tap, tap
        place = Signal(range(period))
        with m.If(issue):
            m.d.sync += place.eq(Mux(place == period - 1, 0, place + 1))
        return issue, tap, place

    def _place(self, m: Module, pixel_ends: Value) -> tuple[Signal, Signal, Value]:
        """Row and column of the output pixel, and whether it is a row's last."""
        height, width = self._stage.grid
        down, across = Signal(range(height)), Signal(range(width))
        row_ends = across == width - 1
        with m.If(pixel_ends):
            m.d.sync += across.eq(Mux(row_ends, 0, across + 1))
            with m.If(row_ends):
                m.d.sync += down.eq(Mux(down == height - 1, 0, down + 1))
        return down, across, row_ends

    def _base(
        self, m: Module, n: int, pixel_ends: Value, row_ends: Value, last_pixel: Value
    ) -> Signal:
        """The address of the first word of the source's pixel that the output pixel is above."""
        feed, count = self._stage.readers[n], self._rows[n]
        height, width = feed.kind.shape[:2]
        down, across = feed.windows.stride
        base, row, frame = (
            Signal(range(count), name=f"{name}_base{n}") for name in ("pixel", "row", "frame")
        )
        next_row = Signal(range(count), name=f"next_row{n}")
        next_frame = following(frame, height * width * feed.words, count)
        m.d.comb += next_row.eq(
            Mux(last_pixel, next_frame, following(row, down * width * feed.words, count))
        )
        with m.If(pixel_ends):
            m.d.sync += base.eq(
                Mux(row_ends, next_row, following(base, across * feed.words, count))
            )
            with m.If(row_ends):
                m.d.sync += row.eq(next_row)
            with m.If(last_pixel):
                m.d.sync += frame.eq(next_frame)
        return base


def _behind(address: Value, step: Value, count: int) -> Value:
    """The address ``step`` rows, less than ``count``, after ``address`` in a ring of ``count``."""
    total = address + step
    if count & (count - 1) == 0:
        return total[: len(address)]
    return Mux(total >= count, total - count, total)[: len(address)]


@dataclass(frozen=True)
class _Row:
    """What the program says of a tap."""

    last: Value
    null: Value
    reader: Value
    offset: Value
    down: Value
    """The number of the window's row, among those of all taps of the reader."""
    across: Value


class _Program:
    """What the taps are, in a table: of one group where all are alike."""

    def __init__(self, stage: Stage, counts: Sequence[int]):
        self._stage = stage
        alike = len(set(stage.groups)) == 1
        self._groups = stage.groups[:1] if alike else stage.groups
        taps = [tap for group in self._groups for tap in group]
        self._rows = [sorted({t.row for t in taps if t.reader == n}) for n in (0, 1)]
        self._columns = [sorted({t.column for t in taps if t.reader == n}) for n in (0, 1)]
        offsets = [self._offset(tap, counts[tap.reader]) for tap in taps]
        self._layout = data.StructLayout(
            {
                "last": 1,
                "null": int(any(tap.null for tap in taps)),
                "reader": len(stage.readers) - 1,
                "offset": max(offsets).bit_length(),
                "down": max(len(found) - 1 for found in self._rows).bit_length(),
                "across": max(len(found) - 1 for found in self._columns).bit_length(),
            }
        )
        lasts = [k == len(group) - 1 for group in self._groups for k in range(len(group))]
        self._table = [
            self._layout.const(
                {
                    "last": last,
                    "null": tap.null,
                    "reader": tap.reader,
                    "offset": offset,
                    "down": self._rows[tap.reader].index(tap.row),
                    "across": self._columns[tap.reader].index(tap.column),
                }
            )
            .as_value()
            .value
            for tap, last, offset in zip(taps, lasts, offsets, strict=True)
        ]

    def _offset(self, tap: Tap, count: int) -> int:
        reader = self._stage.readers[tap.reader]
        pixel = tap.row * reader.kind.shape[1] + tap.column
        return (pixel * reader.words + tap.word) % count

    def __len__(self) -> int:
        return len(self._table)

    def row(self, m: Module, place: Value) -> _Row:
        """That of the place in the table of a cycle ago."""
        width = self._layout.size
        if len(self._table) == 1:
            value: Value = Const(self._table[0], width)
        else:
            m.submodules.program = program = Rom(width, self._table)
            m.d.comb += program.addr.eq(place)
            value = program.data
        fields = {}
        for name, field in self._layout:
            part = value[field.offset : field.offset + field.width]
            fields[name] = part if field.width else Const(0, 1)
        return _Row(**fields)

    def inside(self, m: Module, n: int, row: _Row, down: Signal, across: Signal) -> Value:
        """Whether the tap's word is of a pixel of the image, of reader ``n``."""
        reader = self._stage.readers[n]
        rows = _ranges(down, self._rows[n], reader, 0, self._stage.grid[0])
        columns = _ranges(across, self._columns[n], reader, 1, self._stage.grid[1])
        return _select(rows, row.down) & _select(columns, row.across)


def _ranges(
    place: Signal, offsets: Sequence[int], reader: Reader, axis: int, places: int
) -> list[Value]:
    """For each offset, whether ``place`` times the stride and that are within the image."""
    size, stride = reader.kind.shape[axis], reader.windows.stride[axis]
    found: list[Value] = []
    for offset in offsets:
        least, most = -(offset // stride), (size - 1 - offset) // stride
        after = place >= least if least > 0 else Const(1)
        before = place <= most if most < places - 1 else Const(1)
        found.append(after & before)
    return found


def _select(flags: Sequence[Value], number: Value) -> Value:
    if not flags:
        return Const(0)
    return Array(flags)[number] if len(flags) > 1 else flags[0]
