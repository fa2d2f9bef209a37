"""A crossbar with its converters, in plain digital logic: what an analogue macro stands in for."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.reram.layer_config import ReramLayerConfig
from ..lib.arith import tree_sum
from ..lib.memory import Ram


class Array(Component):
    """Cells, word-line drivers, sample-and-hold, and ``config.adcs`` ADCs that share a scan.

    A code is ``min(sum over rows of line & level, adc_top)``.

    * ``sample`` in cycle t takes ``fragment`` and ``lines``: which rows are driven, with which
      bit of each.  ``column`` in t + 1 to t + ``scan`` reads them, still those before in t; the
      next sample comes in t + ``scan`` or later.
    * ``codes`` come :attr:`LATENCY` cycles after their ``column``, of which every ADC has one.
    * ``write`` sets the levels of the cells of a column's fragment: column j of fragment f of an
      ADC lies at ``f*scan + j``.  Nothing reads meanwhile.

    ``bit``, of the inputs that drive the lines, and ``vector``, how many vectors came before,
    belong to the sample; ``number`` is constant, ``(plane*down + d)*across + a``.  They are for
    models of an analogue array, which behind the same ports knows its cells' flaws; here nobody
    reads them.  Ports of one value have no bits.
    """

    LATENCY = 4

    def __init__(self, config: ReramLayerConfig):
        self.config = c = config
        self.levels_shape = data.ArrayLayout(c.cell_bits, c.fragment_rows)
        super().__init__(
            {
                "write": In(1),
                "write_adc": In(range(c.adcs)),
                "write_address": In(range(c.fragments * c.scan)),
                "levels": In(self.levels_shape),
                "sample": In(1),
                "fragment": In(range(c.fragments)),
                "lines": In(c.fragment_rows),
                "bit": In(range(c.input_bits)),
                "vector": In(32),
                "number": In(range(c.planes * c.down * c.across)),
                "column": In(range(c.scan)),
                "codes": Out(data.ArrayLayout(c.adc_bits, c.adcs)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        depth = c.fragments * c.scan
        base, address = Signal(range(depth), reset_less=True), Signal(range(depth))
        held = Signal(c.fragment_rows, reset_less=True)
        driven = Signal(c.fragment_rows, reset_less=True)  # those of the levels that are read
        if c.scan & c.scan - 1:
            m.d.comb += address.eq(base + self.column)
        else:
            place = len(self.column)
            m.d.comb += address.eq(Cat(self.column, base[place:]))
        m.d.sync += driven.eq(held)
        with m.If(self.sample):
            m.d.sync += held.eq(self.lines)
            # No multiplier, which tools would take for so little.
            places = (n for n in range(c.scan.bit_length()) if c.scan >> n & 1)
            m.d.sync += base.eq(tree_sum(self.fragment.shift_left(n) for n in places))
        for q in range(c.adcs):
            m.submodules[f"cells_{q}"] = cells = Ram(
                self.levels_shape, max(depth, 2), collides=False
            )
            m.d.comb += [
                cells.write_en.eq(self.write & (self.write_adc == q)),
                cells.write_addr.eq(self.write_address),
                cells.write_data.eq(self.levels),
                cells.read_addr.eq(address),
            ]
            # Nothing but this behind a block RAM, which is slow.
            read = Signal(self.levels_shape, name=f"read_{q}", reset_less=True)
            m.d.sync += [
                to.eq(Mux(line, level, 0))
                for to, line, level in zip(read, driven, cells.read_data, strict=True)
            ]
            m.d.sync += self.codes[q].eq(self._convert(m, list(read)))
        return m

    def _convert(self, m: Module, levels: list[Value]) -> Value:
        """The saturated sum, in two cycles: that of neighbours is kept in between."""
        c = self.config
        near = 2 if c.fragment_rows <= 16 else 8
        sums = []
        for first in range(0, c.fragment_rows, near):
            part = tree_sum(levels[first : first + near])
            kept = Signal(part.shape(), reset_less=True)
            m.d.sync += kept.eq(part)
            sums.append(kept)
        total = Signal(range(c.fragment_rows * c.top + 1))
        m.d.comb += total.eq(tree_sum(sums))
        return Mux(total[c.adc_bits :].any(), c.adc_top, total)
