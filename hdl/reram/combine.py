"""Behind an ADC: codes decoded, and those of an output's slices combined."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal
from amaranth.lib.wiring import Component, In, Out

from ...models.reram.layer_config import ReramLayerConfig
from ..lib.fixed import narrowest


class Combine(Component):
    """``value`` = sum over slices s of ``read(s) << s*cell_bits``, inverted where ``negative``.

    ``read(s) = code``, or ``top*ones - code`` with ``flip``.  An output's codes come one after the
    other, the lowest slice first.  ``value`` is there two cycles after the last of them, in the
    cycle that ``more`` is low; high, that cycle, says that the next code is of the same output.
    ``ones``, given times ``top``, and ``negative`` come with the codes.

    The lower slices' sum is shifted right, which needs no shifter.
    """

    def __init__(self, config: ReramLayerConfig):
        self.config = c = config
        self._low, high = (-c.adc_top if c.flip else 0), c.adc_top
        if c.flip:
            high = max(high, c.top * c.fragment_rows)
        self._decoded = narrowest(self._low, high, c.flip)
        least = most = 0
        for _ in range(c.slices):
            least, most = (least >> c.cell_bits) + self._low, (most >> c.cell_bits) + high
        self._total = narrowest(least, most, c.flip)
        self._below = c.cell_bits * (c.slices - 1)
        super().__init__(
            {
                "code": In(c.adc_bits),
                "flip": In(1),
                "ones": In(range(c.fragment_rows * c.top + 1)),
                "negative": In(1),
                "more": In(1),
                "value": Out(Shape(self._below + narrowest(least, most, True).width, True)),
                "inverted": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        code, decoded = Signal(c.adc_bits, reset_less=True), Signal(self._decoded, reset_less=True)
        negative = Signal(2, reset_less=True)
        m.d.sync += negative.eq(Cat(self.negative, negative))
        if c.flip:
            base, flipped = Signal.like(self.ones, reset_less=True), Signal(reset_less=True)
            m.d.sync += [
                base.eq(Mux(self.flip, self.ones, 0)),
                code.eq(self.code ^ self.flip.replicate(c.adc_bits)),
                flipped.eq(self.flip),
                # base - code or code, by one adder with the carry from a bit below.
                decoded.eq((Cat(flipped, base) + Cat(flipped, code, flipped).as_signed()) >> 1),
            ]
        else:
            m.d.sync += [code.eq(self.code), decoded.eq(code)]
        total, before = Signal(self._total), Signal(self._total, reset_less=True)
        below = Signal(self._below, reset_less=True)
        m.d.comb += total.eq(before + decoded)
        m.d.sync += [
            before.eq(Mux(self.more, total >> c.cell_bits, 0)),
            below.eq(Cat(below, total)[c.cell_bits :]),
        ]
        value = Cat(below, total) if c.flip else Cat(below, total, Const(0, 1))
        m.d.comb += [
            self.inverted.eq(negative[1]),
            self.value.eq(value ^ self.inverted.replicate(len(value))),
        ]
        return m
