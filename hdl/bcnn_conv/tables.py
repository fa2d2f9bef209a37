"""Tables: the same rows for ever, one of which is read every cycle."""

from collections.abc import Callable, Sequence

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib.wiring import Component, In, Out

from ..lib.memory import Rom
from .cells import Lut6x2
from .popcount import Style

SHALLOW: dict[Style, int] = {"generic": 64, "ecp5": 32, "xilinx": 64}
"""Rows that look-up tables hold for less than block RAM is worth: a column takes one of six
inputs, or two of four."""


def fills_block(width: int, rows: int, style: Style = "generic") -> bool:
    """Whether block RAM, of 512 rows of 36 columns each, is filled as far as with :data:`SHALLOW`
    rows."""
    return width * rows > 36 * SHALLOW[style] * -(-width // 36) * -(-rows // 512)


class Table(Component):
    """``data`` is the row of ``addr`` a cycle ago; ``rows`` are integers of ``width`` bits.

    A constant where all are alike; block RAM where it :func:`fills_block`; of Xilinx' look-up
    tables one for two columns of up to 32 rows.
    """

    def __init__(self, width: int, rows: Sequence[int], style: Style = "generic"):
        self._width, self._rows = width, rows
        self._style: Style = style
        super().__init__({"addr": In(range(len(rows))), "data": Out(width)})

    def elaborate(self, platform) -> Module:
        m = Module()
        rows, width = self._rows, self._width
        if len(set(rows)) == 1:
            m.d.comb += self.data.eq(Const(rows[0], width))
            return m
        if self._style == "xilinx" and len(rows) <= 32:
            self._pairs(m)
            return m
        block = fills_block(width, len(rows), self._style)
        m.submodules.rom = rom = Rom(width, rows, block=block)
        m.d.comb += [rom.addr.eq(self.addr), self.data.eq(rom.data)]
        return m

    def _pairs(self, m: Module) -> None:
        """Columns that are alike once, two in a look-up table."""
        columns = [tuple(row >> n & 1 for row in self._rows) for n in range(self._width)]
        # Those without a look-up table are constants.
        found = {(bit,) * len(self._rows): Const(bit, 1) for bit in (0, 1)}
        fresh = [column for column in dict.fromkeys(columns) if column not in found]
        for low, high in zip(fresh[::2], [*fresh[1::2], fresh[-1]], strict=False):
            m.submodules += (lut := Lut6x2(list(self.addr), _row(low), _row(high)))
            for column, bit in ((low, lut.low), (high, lut.high)):
                then = Signal(reset_less=True)
                m.d.sync += then.eq(bit)
                found[column] = then
        m.d.comb += self.data.eq(Cat(found[column] for column in columns))


def _row(column: Sequence[int]) -> Callable[..., int]:
    """The bit of ``column`` in the row that bits address, the lowest first; 0 beyond the last."""

    def bit(*address: int) -> int:
        row = sum(b << n for n, b in enumerate(address))
        return column[row] if row < len(column) else 0

    return bit
