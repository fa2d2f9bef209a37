"""The way out: sums to external memory, as sums or as operands of the next product."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.config import NmConfig
from ...models.nm.port_cycles import STORE_AHEAD, STORE_FORMATS, STORE_LATENCY, Slab
from ...models.nm.program import ADDRESS_BITS, COUNT_BITS, LOOPS, WIDTHS
from ..lib.fifo import Fifo
from .addresses import Addresses, pattern_layout
from .banks import sums_members
from .convert import narrow
from .load import beat_layout

STORE = data.StructLayout(WIDTHS["store"])


def write_layout(config: NmConfig) -> data.StructLayout:
    """A beat and where to."""
    return data.StructLayout({"address": ADDRESS_BITS, "data": beat_layout(config)})


class Store(Component):
    """Runs :class:`thresher.models.nm.program.Store`, one after the other.

    ``sums_...``
        Reads of all columns; data a cycle after ``sums_en``.
    ``write``
        Beats, in the order of the instruction's pattern.
    ``finished``
        High for a cycle for each instruction, when its last beat is taken.

    A *slab* is the rows that beats are made of at once (:class:`thresher.models.nm.port_cycles.
    Slab`).  One is read while the beats of the one before leave, so that whichever takes more
    cycles, a row or a beat a cycle, is never idle; from one instruction to the next too.
    Cycles: :class:`thresher.models.nm.port_cycles.StoreCycles`.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(STORE)),
                **sums_members(config),
                "write": Out(stream.Signature(write_layout(config))),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.rows = rows = _Rows(config)
        m.submodules.slabs = slabs = _Slabs(config)
        m.submodules.addresses = addresses = Addresses(LOOPS, ADDRESS_BITS, COUNT_BITS)
        pattern = pattern_layout(LOOPS, ADDRESS_BITS, COUNT_BITS)
        m.submodules.patterns = patterns = Fifo(pattern, 2)
        m.submodules.formats = formats = Fifo(STORE.members["format"], 2)
        targets = (rows.i, patterns.i, formats.i)
        ready = Cat(target.ready for target in targets)
        m.d.comb += [
            self.i.ready.eq(ready.all()),
            *(target.valid.eq(self.i.valid & ready.all()) for target in targets),
            rows.i.payload.eq(self.i.payload),
            formats.i.payload.eq(self.i.p.format),
            *(patterns.i.p[name].eq(self.i.p[name]) for name in pattern.members),
            addresses.i.payload.eq(patterns.o.payload),
            addresses.i.valid.eq(patterns.o.valid),
            patterns.o.ready.eq(addresses.i.ready),
            self.sums_en.eq(rows.sums_en),
            self.sums_half.eq(rows.sums_half),
            self.sums_address.eq(rows.sums_address),
            rows.sums_data.eq(self.sums_data),
            slabs.rows.valid.eq(rows.o.valid),
            slabs.rows.payload.eq(rows.o.payload),
            rows.o.ready.eq(slabs.rows.ready),
            slabs.format.valid.eq(formats.o.valid),
            slabs.format.payload.eq(formats.o.payload),
            formats.o.ready.eq(slabs.format.ready),
            # A pattern's first address is there long before the first beat.
            self.write.valid.eq(slabs.o.valid & addresses.o.valid),
            self.write.p.address.eq(addresses.o.p.address),
            self.write.p.data.eq(slabs.o.payload),
            slabs.o.ready.eq(self.write.ready & addresses.o.valid),
            addresses.o.ready.eq(self.write.ready & slabs.o.valid),
            self.finished.eq(self.write.valid & self.write.ready & addresses.o.p.last),
        ]
        return m


def _row_layout(config: NmConfig) -> data.StructLayout:
    """Sums of all columns or, in their low bits, operands; their index within a group; whether
    they are the instruction's last ones."""
    return data.StructLayout(
        {
            "values": data.ArrayLayout(32, config.columns),
            "index": config.index_bits,
            "last": 1,
        }
    )


class _Rows(Component):
    """Reads rows of sums in the order of the format, and converts them.

    A row read in cycle t is on ``o`` in ``t + STORE_LATENCY`` or later; as many are read ahead as
    it has room for.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(STORE)),
                **sums_members(config),
                "o": Out(stream.Signature(_row_layout(config))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, i = self.config, self.i.p
        m.submodules.addresses = addresses = Addresses(3, COUNT_BITS, COUNT_BITS)
        m.submodules.rows = rows = Fifo(_row_layout(config), STORE_AHEAD, block=False)
        now = {
            name: Signal(STORE.members[name], name=name, reset_less=True)
            for name in ("format", "half", "relu", "shift")
        }
        o = addresses.o
        room = Signal(range(STORE_AHEAD + 1), init=STORE_AHEAD)  # rows that may be read
        read, leave = Signal(), Signal()
        index = Signal(config.index_bits)
        m.d.comb += [
            addresses.i.valid.eq(self.i.valid),
            self.i.ready.eq(addresses.i.ready),
            o.ready.eq(room != 0),
            read.eq(o.valid & o.ready),
            leave.eq(rows.o.valid & rows.o.ready),
            self.sums_en.eq(read),
            self.sums_half.eq(now["half"]),
            self.sums_address.eq(o.p.address),
            self.o.valid.eq(rows.o.valid),
            self.o.payload.eq(rows.o.payload),
            rows.o.ready.eq(self.o.ready),
        ]
        m.d.sync += room.eq(room + leave - read)
        with m.If(read):
            m.d.sync += index.eq(Mux(o.p.wraps, 0, index + 1))
        with m.If(self.i.ready):
            m.d.sync += [value.eq(i[name]) for name, value in now.items()]
        self._nest(m, addresses.i.p)
        valid, beside = self._convert(m, read, Cat(index, o.p.last), now, rows.i.p["values"])
        m.d.comb += [
            rows.i.valid.eq(valid),
            rows.i.p.index.eq(beside[:-1]),
            rows.i.p.last.eq(beside[-1]),
        ]
        return m

    def _nest(self, m, loops):
        """Three loops, the last one fastest."""
        i, group = self.i.p, self.config.group
        blocks, rows = (i.blocks, i.stride), (i.rows, 1)
        orders: Mapping[str, Any] = {
            "rows": ((1, 0), rows, blocks),
            "columns": ((i.rows >> group.bit_length() - 1, group), blocks, (group, 1)),
        }
        m.d.comb += loops.address.eq(i.sums)
        with m.Switch(i.format):
            for number, name in enumerate(STORE_FORMATS):
                with m.Case(number):
                    for x, (count, stride) in enumerate(orders.get(name, ((1, 0), blocks, rows))):
                        m.d.comb += [loops[f"count{x}"].eq(count), loops[f"stride{x}"].eq(stride)]

    def _convert(self, m, read, beside, now, values):
        """Puts what ``sums_data`` becomes into ``values``; whether there is anything, and
        ``beside``, delayed alike."""
        read = _later(m, read, STORE_LATENCY - 1, "read", reset=True)
        beside = _later(m, beside, STORE_LATENCY - 1, "beside")
        relu = _later(m, now["relu"], 1, "relu")
        shift = _later(m, now["shift"], 2, "shift")
        plain = now["format"] == STORE_FORMATS.index("sums")
        plain = _later(m, plain, STORE_LATENCY - 1, "plain")
        for c, sum in enumerate(self.sums_data):
            kept = _later(m, Mux(relu & sum[-1], 0, sum), 1, f"sum{c}")
            m.submodules[f"narrow{c}"] = lane = narrow(self.config.format)
            m.d.comb += lane.i.eq(kept)
            if self.config.format == "int8":
                m.d.comb += lane.shift.eq(shift)
            whole = _later(m, kept, lane.latency, f"whole{c}")
            m.d.comb += values[c].eq(Mux(plain, whole, lane.o))
        return read, beside


def _later(m, value, cycles, name, reset=False):
    """``value`` of so many cycles ago."""
    for k in range(cycles):
        former, value = value, Signal(len(value), name=f"{name}_{k}", reset_less=not reset)
        m.d.sync += value.eq(former)
    return value


class _Slabs(Component):
    """Gathers rows and makes beats of them.

    ``format`` of the rows that come, taken with the last of them.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "rows": In(stream.Signature(_row_layout(config))),
                "format": In(stream.Signature(STORE.members["format"])),
                "o": Out(stream.Signature(beat_layout(config))),
            }
        )

    @cached_property
    def _kinds(self) -> dict[str, Slab]:
        return {name: Slab.of(self.config, name) for name in STORE_FORMATS}

    def elaborate(self, platform) -> Module:
        m = Module()
        kinds = self._kinds
        # What there is of a whole slab beside its values; the index is that of its last row.
        format = Signal(STORE.members["format"], reset_less=True)
        index = Signal(self.config.index_bits, reset_less=True)
        whole, filled, over = Signal(), Signal(), Signal()
        last_piece = Signal(range(max(kind.pieces for kind in kinds.values())))
        last_part = Signal(range(max(kind.parts for kind in kinds.values())))
        slab = self._gather(m, filled, ~whole | over)
        pieces = self._of(m, lambda kind: kind.pieces - 1, "next_last_piece")
        parts = self._of(m, lambda kind: kind.parts - 1, "next_last_part")
        with m.If(~whole | over):
            m.d.sync += [
                whole.eq(filled),
                format.eq(self.format.payload),
                index.eq(self.rows.p.index),
                last_piece.eq(pieces),
                last_part.eq(parts),
            ]
        piece, part, step = Signal.like(last_piece), Signal.like(last_part), Signal()
        m.d.comb += [
            step.eq(whole & (~self.o.valid | self.o.ready)),
            over.eq(step & (piece == last_piece)),
        ]
        with m.If(step):
            m.d.sync += piece.eq(Mux(over, 0, piece + 1))
        with m.If(step | self.o.ready):
            m.d.sync += self.o.valid.eq(step & (part == last_part))
        with m.If(step):
            m.d.sync += part.eq(Mux(part == last_part, 0, part + 1))
            self._form(m, format, slab, index, piece, part)
        return m

    def _of(self, m, number, name):
        """What ``number`` says of the format of the rows that come."""
        numbers = [number(kind) for kind in self._kinds.values()]
        found = Signal(range(max(numbers) + 1), name=name)
        with m.Switch(self.format.payload):
            for k, each in enumerate(numbers):
                with m.Case(k):
                    m.d.comb += found.eq(each)
        return found

    def _gather(self, m, filled, free):
        """Collects rows until a slab is ``filled``, which is copied when the copy is ``free``.

        Returns the copy: elements [row][column], or sums [column].
        """
        config, rows = self.config, self.rows
        columns, bits, group = config.columns, config.element_bits, config.group
        row = Signal(range(group))
        last_row = self._of(m, lambda kind: kind.rows - 1, "last_row")
        take, completes = Signal(), Signal()
        m.d.comb += [
            completes.eq(row == last_row),
            rows.ready.eq(self.format.valid & (~completes | free)),
            take.eq(rows.valid & rows.ready),
            filled.eq(take & completes),
            self.format.ready.eq(filled & rows.p.last),
        ]
        with m.If(take):
            m.d.sync += row.eq(Mux(completes, 0, row + 1))
        new = Cat(value[:bits] for value in rows.p["values"])
        width = columns * bits
        slab = Signal(max(group * width, 32 * columns), reset_less=True)
        for k in range(group):
            place = slab[k * width : (k + 1) * width]
            with m.If(filled):
                m.d.sync += place.eq(new)
            if k == group - 1:  # it is never waited for
                break
            gathered = Signal(width, name=f"row{k}", reset_less=True)
            with m.If(row == k):
                m.d.sync += gathered.eq(new)
            with m.If(filled & (row != k)):
                m.d.sync += place.eq(gathered)
        with m.If(filled & (self.format.payload == STORE_FORMATS.index("sums"))):
            m.d.sync += slab[: 32 * columns].eq(rows.p["values"])
        return slab

    def _form(self, m, format, slab, index, piece, part):
        """Makes a beat, or a part of one, of a piece of the slab."""
        beat = Value.cast(self.o.payload)
        for number, (name, kind) in enumerate(self._kinds.items()):
            with m.If(format == number):
                made = self._arranged(name, slab, index)
                width = len(made) // kind.pieces
                chosen = made.word_select(piece, width) if kind.pieces > 1 else made
                if kind.parts == 1:
                    m.d.sync += beat.eq(chosen)
                for k in range(kind.parts if kind.parts > 1 else 0):
                    with m.If(part == k):
                        m.d.sync += beat[k * width : (k + 1) * width].eq(chosen)

    def _arranged(self, name, slab, index) -> Value:
        """The slab in the order of a format's beats."""
        config = self.config
        columns, bits, kept = config.columns, config.element_bits, config.kept

        def element(row, column):
            return slab.word_select(row * columns + column, bits)

        if name == "sums":
            return slab[: 32 * columns]
        if name == "rows":
            return slab[: columns * bits]
        if name == "columns":
            return Cat(element(r, c) for c in range(columns) for r in range(config.group))
        if name == "entries":
            return Cat(Cat(element(0, c), index) for c in range(columns))
        low = kept.bit_length() - 1
        return Cat(
            Cat(element(r, c), Const(r, low), index[low:])
            for c in range(columns)
            for r in range(kept)
        )
