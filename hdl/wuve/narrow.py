"""FP32 to int8."""

from amaranth.hdl import Cat, Const, Module, Mux
from amaranth.lib.wiring import Component, In, Out

from ..lib.floating.pipeline import Step, Values, pipeline, shift_right, wire
from ..lib.floating.rounding import FRACTION, Parts

BITS = 8
_LARGEST = BITS - 1
"""Exponent of the largest numbers that are not cut off."""


class Fp32ToInt8(Component):
    """``o`` (int8) = FP32 ``i`` times ``2**shift``, to nearest even, saturating; 127 of a NaN.

    ``latency`` cycles later.  ``shift`` stands still.
    """

    latency = 2

    def __init__(self):
        super().__init__({"i": In(32), "shift": In(5), "o": Out(BITS)})

    def elaborate(self, platform) -> Module:
        m = Module()
        shifts = (shift_right(bit) for bit in reversed(range(4)))
        steps = [Step(self._low, 3.5), *shifts, Step(self._round, 4.0)]
        m.d.comb += self.o.eq(pipeline(m, steps, self.latency, {"i": self.i})["o"])
        return m

    def _low(self, m: Module, x: Values) -> Values:
        """How far its significand is above an integer of 8 bits."""
        number = Parts(x["i"])
        # The exponent of a field is field - 127.
        by = wire(m, (_LARGEST + 127 - number.exponent - self.shift).as_signed(), "by")
        return {
            "smaller": number.significand,
            "by": by[:4],
            "far": ~by[-1] & by[4:].any(),  # below a half
            "beyond": by[-1],
            "negative": number.sign & ~number.nan,
        }

    def _round(self, m: Module, x: Values) -> Values:
        size = Cat(x["sticky"], x["smaller"])
        size &= (~x["far"]).replicate(len(size))
        point = FRACTION + 1 - BITS + 1
        up = size[point - 1] & (size[point] | size[: point - 1].any())
        whole = wire(m, size[point:] + up, "whole")
        most = 127 + x["negative"]
        return {
            "o": Mux(
                x["negative"],
                Mux(x["beyond"] | (whole > most), Const(-128, 8), -whole),
                Mux(x["beyond"] | (whole > most), 127, whole),
            )[:BITS]
        }
