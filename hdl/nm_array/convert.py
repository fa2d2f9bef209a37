"""Sums as operands: FP32 to FP16 or BF16, int32 to int8."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from ..lib.floating import Fp32Narrow


class ShiftNarrow(Component):
    """``o`` (int8) = ``i`` (int32) times ``2**-shift``, to nearest even, saturating.

    ``latency`` cycles later; ``shift`` belongs to ``i``.
    """

    latency = 2

    def __init__(self):
        super().__init__({"i": In(32), "shift": In(5), "o": Out(8)})

    def elaborate(self, platform) -> Module:
        m = Module()
        # A bit below the integer: after the shift the first one that is lost.
        shifted = Signal(33)
        rest = Signal()
        below = Const((1 << 31) - 1, 31)
        lost = ~(Const(-1, 32).as_unsigned() << self.shift)[:32]
        m.d.sync += [
            shifted.eq(Cat(0, self.i).as_signed() >> self.shift),
            rest.eq((self.i[:31] & below & lost[1:32]).any()),
        ]
        up = shifted[0] & (shifted[1] | rest)
        kept, sign = shifted[1:9], shifted[-1]
        outside = shifted[8:] != sign.replicate(25)
        most = kept == 0x7F
        m.d.sync += self.o.eq(Mux(outside, Cat((~sign).replicate(7), sign), kept + (up & ~most)))
        return m


def narrow(format: str) -> Fp32Narrow | ShiftNarrow:
    """What makes operands of ``format``."""
    return ShiftNarrow() if format == "int8" else Fp32Narrow(format)


NARROW_LATENCY = Fp32Narrow.latency
