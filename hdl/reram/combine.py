"""Behind an ADC: codes decoded, and those of an output's slices combined."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal
from amaranth.lib.wiring import Component, In, Out

from ...models.reram.layer_config import ReramLayerConfig
from ..lib.fixed import narrowest


class Combine(Component):
    """``value`` = sum over slices s of ``read(s) << s*cell_bits``, inverted where ``negative``.

    ``read(s) = code``, or ``top*ones - code`` with ``flip``.  An output's codes come one after the
    other, the lowest slice first; a cycle later ``flip``, ``negative`` and ``ones``, which is given
    times ``top``.  :attr:`latency` cycles after a code, ``more`` says that the next one is of the
    same output; else ``value`` is complete, in that cycle only.

    The lower slices' sum is shifted right, which needs no shifter.
    """

    latency = 3

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
        code, term = (Signal(c.adc_bits, name=n, reset_less=True) for n in ("held", "term"))
        decoded = Signal(self._decoded, reset_less=True)
        negative = Signal(self.latency - 1, reset_less=True)
        m.d.sync += [code.eq(self.code), negative.eq(Cat(self.negative, negative))]
        if c.flip:
            base, flip = Signal.like(self.ones, reset_less=True), Signal(reset_less=True)
            m.d.sync += [
                flip.eq(self.flip),
                base.eq(Mux(self.flip, self.ones, 0)),
                term.eq(code ^ self.flip.replicate(c.adc_bits)),
                # base - code or code, by one adder with the carry from a bit below.
                decoded.eq((Cat(flip, base) + Cat(flip, term, flip).as_signed()) >> 1),
            ]
        else:
            m.d.sync += [term.eq(code), decoded.eq(term)]
        total, before = Signal(self._total), Signal(self._total, reset_less=True)
        below = Signal(self._below, reset_less=True)
        m.d.comb += total.eq(before + decoded)
        m.d.sync += [
            before.eq(Mux(self.more, total >> c.cell_bits, 0)),
            below.eq(Cat(below, total)[c.cell_bits :]),
        ]
        value = Cat(below, total) if c.flip else Cat(below, total, Const(0, 1))
        m.d.comb += [
            self.inverted.eq(negative[-1]),
            self.value.eq(value ^ self.inverted.replicate(len(value))),
        ]
        return m
