"""Memories that become block RAM on ECP5, iCE40 and Xilinx.

Reading takes a cycle: the output shows the row that was addressed in the last cycle
with ``en``, and holds it.  One write and one read port of that kind is what every
family's block RAM has; anything richer costs fabric.
"""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

NEVER_COLLIDES = {"no_rw_check": 1}
"""Attributes of an Amaranth ``Memory`` of which no row is read while it is written.

Simulation and Vivado give the old contents then; the block RAMs of ECP5 and iCE40
give anything, so without this promise Yosys adds a bypass: per bit of the row about
one register on iCE40 and two on ECP5, and a multiplexer.
"""


BLOCK = {"ram_style": "block"}
"""Attributes of an Amaranth ``Memory`` that is to be block RAM, however little it fills it."""


BLOCK_ROWS = 1024
"""Rows, at least, of a memory that :class:`Ram` may divide."""

BLOCK_BITS = 36
"""Bits of a row, at least, of a memory that :class:`Ram` may divide."""


class Ram(Component):
    """``depth`` rows of ``shape``, all 0 at first; one write port, one read port.

    A row that is read while it is written gives its old contents; ``collides=False``
    promises that it never happens and saves fabric (:data:`NEVER_COLLIDES`).  With
    ``parts > 1``, ``shape`` is an ``ArrayLayout`` and each bit of ``write_en`` writes one
    of that many equal parts of the row.  With ``clear=True`` there is ``read_clear``: high
    together with ``read_en``, it makes the output 0, by the reset of the memory's own output
    register where there is one (ECP5, Xilinx, LUT RAM).  ``block=True`` insists on block RAM
    where tools would take LUTs for so few bits.

    A wide memory a little deeper than a power of two of rows is made of two, which takes less
    block RAM than the next power of two (:data:`BLOCK_ROWS`, :data:`BLOCK_BITS`).
    """

    def __init__(
        self,
        shape: ShapeLike,
        depth: int,
        parts: int = 1,
        collides: bool = True,
        clear: bool = False,
        block: bool = False,
    ):
        if depth < 2:
            raise ValueError(f"depth = {depth}; a Ram has at least 2 rows (else use a register)")
        if parts != 1:
            if not isinstance(shape, data.ArrayLayout):
                raise TypeError(f"parts = {parts} needs rows of an ArrayLayout, not {shape!r}")
            if parts < 1 or shape.length % parts:
                raise ValueError(f"parts = {parts} does not divide {shape.length} elements")
        self._shape, self._depth, self._parts = shape, depth, parts
        self._collides, self._clear, self._block = collides, clear, block
        members = {
            "write_en": In(parts),
            "write_addr": In(range(depth)),
            "write_data": In(shape),
            "read_en": In(1, init=1),
            "read_addr": In(range(depth)),
            "read_data": Out(shape),
        }
        super().__init__(members | ({"read_clear": In(1)} if clear else {}))

    def elaborate(self, platform) -> Module:
        m = Module()
        below = 1 << ((self._depth - 1).bit_length() - 1)
        wide = Shape.cast(self._shape).width >= BLOCK_BITS
        if wide and below >= BLOCK_ROWS and self._depth - below <= below // 4:
            self._divide(m, below)
        else:
            self._whole(m)
        return m

    def _divide(self, m: Module, below: int) -> None:
        """Two memories, of the first ``below`` rows and of the rest."""
        shown = Signal()  # whether the row on the output is one of the rest
        write, read = self.write_addr[-1], self.read_addr[-1]
        halves = []
        for name, depth, is_rest in (("first", below, 0), ("rest", self._depth - below, 1)):
            half = Ram(
                self._shape, max(2, depth), self._parts, self._collides, self._clear, self._block
            )
            m.submodules[name] = half
            halves.append(half)
            m.d.comb += [
                half.write_en.eq(Mux(write == is_rest, self.write_en, 0)),
                half.write_addr.eq(self.write_addr),
                half.write_data.eq(self.write_data),
                half.read_en.eq(self.read_en & (read == is_rest)),
                half.read_addr.eq(self.read_addr),
            ]
            if self._clear:
                m.d.comb += half.read_clear.eq(self.read_clear)
        with m.If(self.read_en):
            m.d.sync += shown.eq(read)
        first, rest = (Value.cast(half.read_data) for half in halves)
        m.d.comb += Value.cast(self.read_data).eq(Mux(shown, rest, first))

    def _whole(self, m: Module) -> None:
        m.submodules.memory = memory = Memory(
            shape=self._shape,
            depth=self._depth,
            init=[],
            attrs=({} if self._collides else NEVER_COLLIDES) | (BLOCK if self._block else {}),
        )
        part = self._shape.length // self._parts if self._parts > 1 else None
        write = memory.write_port(granularity=part)
        m.d.comb += [
            write.en.eq(self.write_en),
            write.addr.eq(self.write_addr),
            write.data.eq(self.write_data),
        ]
        if not self._clear:
            read = memory.read_port()
            m.d.comb += [
                read.en.eq(self.read_en),
                read.addr.eq(self.read_addr),
                self.read_data.eq(read.data),
            ]
            return
        # Tools merge this register into the memory, as the output register that it has anyway.
        read = memory.read_port(domain="comb")
        held = Signal(Shape.cast(self._shape), reset_less=True)
        m.d.comb += [read.addr.eq(self.read_addr), Value.cast(self.read_data).eq(held)]
        with m.If(self.read_en):
            m.d.sync += held.eq(Mux(self.read_clear, 0, read.data))


class Rom(Component):
    """A table: ``data`` is ``rows[addr]`` of the last cycle in which ``en`` was high.

    Addresses are unsigned; beyond the last row they give any value.  ``block`` as of :class:`Ram`.
    """

    def __init__(self, shape: ShapeLike, rows: Sequence[Any], block: bool = False):
        if len(rows) < 2:
            raise ValueError(f"{len(rows)} rows; a Rom has at least 2 (else use a constant)")
        self._shape, self._rows, self._block = shape, rows, block
        super().__init__(
            {
                "en": In(1, init=1),
                "addr": In(range(len(rows))),
                "data": Out(shape),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self._shape,
            depth=len(self._rows),
            init=self._rows,
            attrs=BLOCK if self._block else {},
        )
        read = memory.read_port()
        m.d.comb += [read.en.eq(self.en), read.addr.eq(self.addr), self.data.eq(read.data)]
        return m
