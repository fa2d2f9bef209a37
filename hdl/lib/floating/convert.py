"""FP32 to narrower formats, and integers to FP32."""

from amaranth.hdl import Cat, Const, Module, Mux
from amaranth.lib.wiring import Component, In, Out

from ....models.floating import BF16, FORMATS, FP32
from .pipeline import Step, Values, pipeline, shift_right, wire
from .rounding import FIELD, FRACTION, Parts, round_steps


class Fp32Narrow(Component):
    """``o`` = FP32 ``i`` rounded to ``format`` ("fp16", "bf16"), ``latency`` cycles later.

    Beyond range: infinity.
    """

    latency = 2

    def __init__(self, format: str):
        self.format = FORMATS[format]
        super().__init__({"i": In(32), "o": Out(self.format.bits)})

    def elaborate(self, platform) -> Module:
        m = Module()
        steps = [Step(self._low, 3.5), Step(self._round, 4.0)]
        if self.format != BF16:
            steps[1:1] = (shift_right(bit) for bit in reversed(range(5)))
        m.d.comb += self.o.eq(pipeline(m, steps, self.latency, {"i": self.i})["o"])
        return m

    def _low(self, m: Module, x: Values) -> Values:
        """Subnormal numbers of the format are brought to its least normal one's exponent."""
        number = Parts(x["i"])
        offset = FP32.bias - self.format.bias
        below = wire(m, offset + 1 - number.exponent, "below")
        low = wire(m, ~below[-1], "low")
        by = (below[:5] | below[5:].any().replicate(5)) & low.replicate(5)
        field = Mux(low, 1, number.exponent - offset) if offset else number.exponent
        return {
            "smaller": number.significand, "by": by, "field": field[:FIELD], "sign": number.sign,
            "nan": number.nan, "infinite": number.infinite,
        }  # fmt: skip

    def _round(self, m: Module, x: Values) -> Values:
        kind = self.format
        cut = 1 + FRACTION - kind.fraction_bits  # the sticky bit below
        significand, field = Cat(x.get("sticky", Const(0, 1)), x["smaller"]), x["field"]
        fraction, guard, rest = significand[cut:-1], significand[cut - 1], significand[: cut - 1]
        up = guard & (fraction[0] | rest.any())
        number = Cat(fraction, field & significand[-1].replicate(len(field))) + up
        beyond = number >= kind.infinity
        size = Mux(beyond | x["infinite"], kind.infinity, number)
        return {"o": Mux(x["nan"], kind.nan, Cat(size[: kind.bits - 1], x["sign"]))}


class Int32ToFp32(Component):
    """``o`` = the FP32 nearest to the integer ``i``, ``latency`` = ``stages`` cycles later.

    Raises :class:`ValueError` for less than one stage.
    """

    def __init__(self, stages: int = 2):
        if stages < 1:
            raise ValueError(f"stages = {stages}; a conversion takes at least 1")
        self.latency = stages
        super().__init__({"i": In(32), "o": Out(32)})

    def elaborate(self, platform) -> Module:
        m = Module()
        sign = self.i[-1]
        values: Values = {
            # A bit below the integer, which keeps the frame of -1 from being 0.
            "frame": Cat(sign, self.i ^ sign.replicate(32)),
            "exponent": Const(FP32.bias + 30, FP32.exponent_bits),
            "inverted": sign, "sign": sign,
            "positive": Const(0, 1), "nan": Const(0, 1), "infinite": Const(0, 1),
        }  # fmt: skip
        steps = round_steps(33, overflows=False)
        m.d.comb += self.o.eq(pipeline(m, steps, self.latency, values)["o"])
        return m
