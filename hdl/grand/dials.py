"""The columns of H by rank, as they arrive, and any alignment of them in one read."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...models.grand.config import GrandConfig
from ..lib.memory import Ram
from .shape import Shape
from .tester import dial_layout


class Dials(wiring.Component):
    """Turns positions by rank into operands of tests.

    ``columns`` of H are written first.  ``take`` then brings the ``position`` of each rank of a
    word in turn, at any pace while ``open``; behind rank ``length`` the ranks are void and come by
    themselves, one a cycle.  The column of each is shifted into a dial, and the dial's state, for
    rank r ``h[r], h[r - 1], ...``, becomes row r of a memory: two cycles after it was taken, a
    rank's row can be read, and ``rank`` is the next one to come.

    A cycle after ``read`` there are ``dial``, the row ``total``, and ``offset``, the sum of the
    columns of the ranks in ``prefix`` (rank 0 has column 0).  A cycle after ``take``, ``arrived``
    and ``column`` tell of a rank that is not void, ``first`` of rank 1.

    ``restart`` forgets the word, and a rank that is taken in the same cycle.
    """

    def __init__(self, config: GrandConfig):
        self.config, self.shape = config, Shape(config)
        shape = self.shape
        super().__init__(
            {
                "column_write": In(1),
                "column_address": In(range(config.length)),
                "column_data": In(config.checks),
                "length": In(range(config.length + 1)),
                "restart": In(1),
                "take": In(1),
                "position": In(range(config.length)),
                "open": Out(1),
                "taken": Out(shape.rank, init=1),
                "rank": Out(shape.rank, init=1),
                "read": In(1),
                "total": In(shape.total),
                "prefix": In(data.ArrayLayout(shape.part, shape.prefix)),
                "dial": Out(dial_layout(config)),
                "offset": Out(config.checks),
                "arrived": Out(1),
                "first": Out(1),
                "column": Out(config.checks),
            }
        )

    def elaborate(self, platform):
        m = Module()
        void, arrives = Signal(), Signal()
        self._arrivals(m, void, arrives)
        layout = dial_layout(self.config)
        entries = [
            Signal(layout.elem_shape, name=f"entry_{x}", init={"absent": 1})
            for x in range(layout.length)
        ]
        m.d.comb += [entries[0].column.eq(self.column), entries[0].absent.eq(~self.arrived)]
        for entry, before in zip(entries[1:], entries, strict=False):
            with m.If(arrives):
                m.d.sync += entry.eq(before)
            with m.If(self.restart):
                m.d.sync += entry.absent.eq(1)
        m.submodules.rows = rows = Ram(layout, self.shape.lw_max + 1, collides=False)
        m.d.comb += [
            rows.write_en.eq(arrives),
            rows.write_addr.eq(self.rank),
            rows.write_data.eq(Cat(entries)),
            rows.read_en.eq(self.read),
            rows.read_addr.eq(self.total),
            self.dial.eq(rows.read_data),
        ]
        self._prefix(m)
        return m

    def _arrivals(self, m, void, arrives):
        """Ranks taken, and a cycle later, as their columns are read, arriving."""
        ended = Signal()  # all n ranks were taken
        last = self.shape.lw_max + 1
        push = Signal()
        m.submodules.columns = columns = Ram(self.config.checks, self.config.length, collides=False)
        m.d.comb += [
            self.open.eq((self.taken != last) & ~ended),
            void.eq((self.taken != last) & ended),
            push.eq(self.take | void),
            columns.write_en.eq(self.column_write),
            columns.write_addr.eq(self.column_address),
            columns.write_data.eq(self.column_data),
            columns.read_en.eq(self.take),
            columns.read_addr.eq(self.position),
            self.column.eq(columns.read_data),
        ]
        m.d.sync += [
            arrives.eq(push & ~self.restart),
            self.arrived.eq(self.take & ~self.restart),
            self.first.eq(self.taken == 1),
        ]
        with m.If(push):
            m.d.sync += self.taken.eq(self.taken + 1)
        with m.If(self.take & (self.taken == self.length)):
            m.d.sync += ended.eq(1)
        with m.If(arrives):
            m.d.sync += self.rank.eq(self.rank + 1)
        with m.If(self.restart):
            m.d.sync += [self.taken.eq(1), self.rank.eq(1), ended.eq(0)]

    def _prefix(self, m):
        """Each rank of a prefix is read from a memory of its own; row 0 stays 0."""
        total = 0
        for t, part in enumerate(self.prefix):
            depth = 1 << len(part)
            memory = Ram(self.config.checks, depth, collides=False)
            m.submodules[f"prefix_{t}"] = memory
            m.d.comb += [
                memory.write_en.eq(self.arrived & (self.rank < depth)),
                memory.write_addr.eq(self.rank),
                memory.write_data.eq(self.column),
                memory.read_en.eq(self.read),
                memory.read_addr.eq(part),
            ]
            total = memory.read_data ^ total
        m.d.comb += self.offset.eq(total)
