"""FP32 to narrower formats, and integers to FP32."""

from amaranth.hdl import Cat, Const, Module, Mux
from amaranth.lib.wiring import Component, In, Out

from ....models.floating import FORMATS, FP32
from .pipeline import Step, Values, pipeline, shift_right, wire
from .rounding import FRACTION, Parts, round_steps


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
        steps = [Step(self._align, 4.0), Step(self._round, 4.0)]
        m.d.comb += self.o.eq(pipeline(m, steps, self.latency, {"i": self.i})["o"])
        return m

    def _align(self, m: Module, x: Values) -> Values:
        """Subnormal numbers of the format are brought to its least normal one's exponent."""
        number = Parts(x["i"])
        offset = FP32.bias - self.format.bias
        field, significand, sticky = number.exponent, number.significand, Const(0, 1)
        if offset:
            below = wire(m, (offset + 1 - field).as_signed(), "below")
            low = wire(m, ~below[-1], "low")
            far = low & below[5:].any()
            by = below[:5] & low.replicate(5)
            significand, sticky = shift_right(m, significand, sticky, by, range(4, -1, -1))
            significand &= (~far).replicate(len(significand))
            field = Mux(low, 1, field - offset)[: len(field)]
        return {
            "significand": Cat(sticky, significand), "field": field, "sign": number.sign,
            "nan": number.nan, "infinite": number.infinite,
        }  # fmt: skip

    def _round(self, m: Module, x: Values) -> Values:
        kind = self.format
        cut = 1 + FRACTION - kind.fraction_bits  # the sticky bit below
        significand, field = x["significand"], x["field"]
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
        steps = round_steps(33, FP32.bias + 30)
        m.d.comb += self.o.eq(pipeline(m, steps, self.latency, values)["o"])
        return m
