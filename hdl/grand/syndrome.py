"""Syndromes of a beat a cycle, by tables that are loaded with the columns of H.

The lanes are split into groups, each with a table in block RAM: for every row of a word and
every pattern of the group's bits the XOR of their columns, and the patterns' parity.  The
syndrome is the XOR of what the groups' tables show, accumulated over the rows.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from operator import xor

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from ...models.grand.config import GrandConfig
from ..lib.memory import Ram
from .layout import column_layout

LATENCY = 3
"""Cycles from the last beat of a word to its syndrome."""

TABLE_ROWS_LOG2 = 9
"""Tables are about as deep as block RAM is at its widest: 512 rows of 36 bits."""


def groups(config: GrandConfig) -> list[range]:
    """The lanes of each table; all groups are equally large or, towards the end, one smaller."""
    rows = (config.beats - 1).bit_length()
    count = -(-config.lanes // max(1, TABLE_ROWS_LOG2 - rows))
    size, larger = divmod(config.lanes, count)
    starts = [size * k + min(k, larger) for k in range(count + 1)]
    return [range(*ends) for ends in pairwise(starts)]


def load_cycles(config: GrandConfig, n: int) -> int:
    """Cycles from the transfer of a code's first column to its first LLR beat, at the earliest.

    A column whose group has b lanes before its own takes ``2**b + 1``; two more end it all::

        sum over columns of (2**b + 1)  +  2
    """
    rows, lanes = divmod(n, config.lanes)
    table = groups(config)

    def load(lanes: int) -> int:
        sizes = (min(max(lanes - group.start, 0), len(group)) for group in table)
        return sum((1 << size) - 1 + size for size in sizes)

    return rows * load(config.lanes) + load(lanes) + 2


class Syndrome(Component):
    """H times the hard decision, and the parity of its bits; a beat a cycle.

    A beat is in ``bits``, with the number of its ``row``, while ``valid``.  :data:`LATENCY`
    cycles after a word's ``last`` beat ``done`` is high and ``syndrome`` and ``odd`` are there.

    ``columns`` loads a code, its columns in order, as soon as it is ``idle``.  From the first
    column on it is not ``loaded`` until all tables are complete, :func:`load_cycles` later.
    ``column_write``, ``column_address`` and ``column`` tell the columns one by one to others
    that want them, a cycle after they were taken; ``length`` is their number and ``last_row``
    the row of the last one.

    What a longer code left behind is not seen: every pattern of bits below n is written anew,
    those above are sent as 0, and rows beyond the last one are not sent.
    """

    def __init__(self, config: GrandConfig):
        self.config = config
        row, length = range(config.beats), config.length
        super().__init__(
            {
                "columns": In(stream.Signature(column_layout(config))),
                "idle": In(1),
                "loaded": Out(1),
                "length": Out(range(length + 1)),
                "last_row": Out(row),
                "column_write": Out(1),
                "column_address": Out(range(length)),
                "column": Out(config.checks),
                "valid": In(1),
                "row": In(row),
                "bits": In(config.lanes),
                "last": In(1),
                "done": Out(1),
                "syndrome": Out(config.checks),
                "odd": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        tables = []
        for number, lanes in enumerate(groups(self.config)):
            depth = 1 << (len(lanes) + len(self.row))
            # While a table is written nobody looks at what is read.
            table = Ram(self.config.checks + 1, depth, collides=False)
            m.submodules[f"table_{number}"] = table
            m.d.comb += table.read_addr.eq(Cat(self.bits[lanes.start : lanes.stop], self.row))
            tables.append(table)
        self._sum(m, [table.read_data for table in tables])
        self._load(m, tables)
        return m

    def _sum(self, m: Module, shown: Sequence[Value]) -> None:
        """Shown at stage 1, held at stage 2, added up at stage 3."""
        valid, last = self.valid, self.last
        for stage in (1, 2):
            delayed = Signal(2, name=f"stage{stage}")
            m.d.sync += delayed.eq(Cat(valid, valid & last))
            valid, last = delayed
        m.d.sync += self.done.eq(last)
        terms = [
            Signal.like(entry, name=f"held_{k}", reset_less=True) for k, entry in enumerate(shown)
        ]
        m.d.sync += [held.eq(entry) for held, entry in zip(terms, shown, strict=True)]
        total = Signal(self.config.checks + 1)
        if self.config.beats > 1:
            before = Signal.like(total)
            terms.append(before)
            with m.If(valid):
                m.d.sync += before.eq(Mux(last, 0, total))
        m.d.comb += total.eq(_xor_tree(terms))
        m.d.sync += Cat(self.syndrome, self.odd).eq(total)

    def _load(self, m: Module, tables: Sequence[Ram]) -> None:
        """A column, of bit b of its group, gives ``entry[2**b + a] = entry[a] ^ column``.

        So ``number = 2**b + a`` counts up from 1 over a group's columns, and ``bit = 2**b``
        shifts: a column is at work while number has that bit.  The entries of the group are
        read from a copy, whose address needs no multiplexer.
        """
        table = groups(self.config)
        size = len(table[0])
        number, bit = Signal(size), Signal(size)
        group = Signal(len(table))  # one-hot; the table that is written
        row = self.last_row
        new = Signal(init=1)  # the next column is the first one of a code
        work, reading, writing, take = Signal(), Signal(), Signal(), Signal()
        following = Signal(size)
        row_over, group_over = Signal(), Signal()
        smaller = Cat(k for k, lanes in zip(group, table, strict=True) if len(lanes) < size)
        m.d.comb += [
            self.columns.ready.eq(self.idle & ~work & ~(new & (reading | writing))),
            take.eq(self.columns.valid & self.columns.ready),
            # The last column's bit was the group's last one; of a smaller group, the one before.
            group_over.eq(bit[-1] | (smaller.any() & bit[-2:][0]) | new),
            row_over.eq(group[-1] & group_over),
            following.eq(number + 1),
        ]
        m.d.sync += self.column_write.eq(take)
        with m.If(work):
            m.d.sync += [number.eq(following), work.eq((following & bit).any())]
        with m.If(take):
            m.d.sync += [
                self.column.eq(self.columns.p.column),
                self.column_address.eq(self.length),
                self.length.eq(self.length + 1),
                new.eq(self.columns.p.last),
                self.loaded.eq(0),
                bit.eq(bit << 1),
                work.eq(1),
            ]
        with m.If(take & group_over):
            m.d.sync += [
                number.eq(1),
                bit.eq(1),
                group.eq(Cat(row_over | new, group)[: len(group)]),
            ]
        with m.If(take & row_over):
            m.d.sync += row.eq(row + 1)
        with m.If(take & new):
            m.d.sync += [row.eq(0), self.column_address.eq(0), self.length.eq(1)]

        # Read, XOR, write; then entry 0 is written, which is 0, until the next column.
        m.submodules.copy = copy = Ram(self.config.checks + 1, 1 << size, collides=False)
        m.d.sync += [reading.eq(work), writing.eq(reading)]
        number_read = Signal.like(number)
        address, written_row = Signal.like(number), Signal.like(row)
        entry, chosen = Signal(self.config.checks + 1), Signal.like(group)
        before = copy.read_data
        m.d.sync += [
            number_read.eq(number),
            address.eq(Mux(reading, number_read, 0)),
            entry.eq(Mux(reading, Cat(before[:-1] ^ self.column, ~before[-1]), 0)),
            written_row.eq(row),
            chosen.eq(group),
        ]
        m.d.comb += [
            copy.read_addr.eq(number & ~bit),
            copy.write_en.eq(writing),
            copy.write_addr.eq(address),
            copy.write_data.eq(entry),
        ]
        for lanes, ram, write in zip(table, tables, chosen, strict=True):
            m.d.comb += [
                ram.write_en.eq(write),
                ram.write_addr.eq(Cat(address[: len(lanes)], written_row)),
                ram.write_data.eq(entry),
            ]
        with m.If(new & ~work & reading):
            m.d.sync += group.eq(0)
        with m.If(new & ~work & ~reading & writing):
            m.d.sync += self.loaded.eq(1)


def _xor_tree(terms: Sequence[Value]) -> Value:
    """The XOR of all terms, by four."""
    while len(terms) > 1:
        terms = [reduce(xor, terms[k : k + 4]) for k in range(0, len(terms), 4)]
    return terms[0]
