"""Memories that become block RAM on ECP5, iCE40 and Xilinx.

Reading takes a cycle: the output shows the row that was addressed in the last cycle
with ``en``, and holds it.  One write and one read port of that kind is what every
family's block RAM has; anything richer costs fabric.
"""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, ShapeLike
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

NEVER_COLLIDES = {"no_rw_check": 1}
"""Attributes of an Amaranth ``Memory`` of which no row is read while it is written.

Simulation and Vivado give the old contents then; the block RAMs of ECP5 and iCE40
give anything, so without this promise Yosys adds a bypass: per bit of the row about
one register on iCE40 and two on ECP5, and a multiplexer.
"""


class Ram(Component):
    """``depth`` rows of ``shape``, all 0 at first; one write port, one read port.

    A row that is read while it is written gives its old contents; ``collides=False``
    promises that it never happens and saves fabric (:data:`NEVER_COLLIDES`).  With
    ``parts > 1``, ``shape`` is an ``ArrayLayout`` and each bit of ``write_en`` writes one
    of that many equal parts of the row.
    """

    def __init__(self, shape: ShapeLike, depth: int, parts: int = 1, collides: bool = True):
        if depth < 2:
            raise ValueError(f"depth = {depth}; a Ram has at least 2 rows (else use a register)")
        if parts != 1:
            if not isinstance(shape, data.ArrayLayout):
                raise TypeError(f"parts = {parts} needs rows of an ArrayLayout, not {shape!r}")
            if parts < 1 or shape.length % parts:
                raise ValueError(f"parts = {parts} does not divide {shape.length} elements")
        self._shape, self._depth, self._parts = shape, depth, parts
        self._attrs = {} if collides else NEVER_COLLIDES
        super().__init__(
            {
                "write_en": In(parts),
                "write_addr": In(range(depth)),
                "write_data": In(shape),
                "read_en": In(1, init=1),
                "read_addr": In(range(depth)),
                "read_data": Out(shape),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self._shape, depth=self._depth, init=[], attrs=self._attrs
        )
        part = self._shape.length // self._parts if self._parts > 1 else None
        write, read = memory.write_port(granularity=part), memory.read_port()
        m.d.comb += [
            write.en.eq(self.write_en),
            write.addr.eq(self.write_addr),
            write.data.eq(self.write_data),
            read.en.eq(self.read_en),
            read.addr.eq(self.read_addr),
            self.read_data.eq(read.data),
        ]
        return m


class Rom(Component):
    """A table: ``data`` is ``rows[addr]`` of the last cycle in which ``en`` was high.

    Addresses are unsigned; beyond the last row they give any value.
    """

    def __init__(self, shape: ShapeLike, rows: Sequence[Any]):
        if len(rows) < 2:
            raise ValueError(f"{len(rows)} rows; a Rom has at least 2 (else use a constant)")
        self._shape, self._rows = shape, rows
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
            shape=self._shape, depth=len(self._rows), init=self._rows
        )
        read = memory.read_port()
        m.d.comb += [read.en.eq(self.en), read.addr.eq(self.addr), self.data.eq(read.data)]
        return m
