"""Payloads of some cycles ago."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib.wiring import Component, In, Out

from .memory import Ram

SHIFTED = 2
"""Longest delay that is made of registers."""


class Delay(Component):
    """``o`` = ``i`` of ``count`` cycles with ``en`` ago; anything before there were so many."""

    def __init__(self, shape: ShapeLike, count: int):
        if count < 1:
            raise ValueError(f"count = {count}; a delay is of at least 1 cycle")
        self._shape, self._count = shape, count
        super().__init__({"en": In(1, init=1), "i": In(shape), "o": Out(shape)})

    def elaborate(self, platform) -> Module:
        m = Module()
        if self._count <= SHIFTED:
            value = self.i
            for n in range(self._count):
                value, before = Signal(self._shape, name=f"past_{n + 1}", reset_less=True), value
                with m.If(self.en):
                    m.d.sync += value.eq(before)
            m.d.comb += self.o.eq(value)
            return m
        # A ring: the row that is read is written next time.
        m.submodules.memory = memory = Ram(self._shape, self._count, collides=False)
        row, following = Signal(range(self._count)), Signal(range(self._count))
        m.d.comb += [
            following.eq(Mux(row == self._count - 1, 0, row + 1)),
            memory.write_en.eq(self.en),
            memory.write_addr.eq(row),
            memory.write_data.eq(self.i),
            memory.read_en.eq(self.en),
            memory.read_addr.eq(following),
            self.o.eq(memory.read_data),
        ]
        with m.If(self.en):
            m.d.sync += row.eq(following)
        return m
