"""Sums of an FP32 and an exact product, or of two FP32, rounded once."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from .operands import product_exponents, product_layout
from .pipeline import Step, Values, pipeline, shift_right, wire
from .rounding import FRACTION, Parts, round_steps

FP32_MOST = 254
"""Greatest exponent of a number that is finite."""


class Accumulate(Component):
    """``o`` = ``sum + product``, ``stages`` cycles later.

    ``product`` is what :class:`~.multiply.Multiply` gives of ``format``; ``sum`` and ``o`` are
    FP32, or, of int8, integers of 32 bits, which wrap.

    Raises :class:`ValueError` for less than one stage.
    """

    def __init__(self, format: str, stages: int = 1):
        _check(stages)
        self.format, self.stages = format, stages
        super().__init__({"sum": In(32), "product": In(product_layout(format)), "o": Out(32)})

    @property
    def latency(self) -> int:
        """Cycles from operands to their result."""
        return self.stages

    def elaborate(self, platform) -> Module:
        m = Module()
        if self.format == "int8":
            total: Value = (self.sum.as_signed() + self.product)[:32]
            for _ in range(self.stages):
                held = Signal(32, reset_less=True)
                m.d.sync += held.eq(total)
                total = held
            m.d.comb += self.o.eq(total)
            return m
        product = self.product
        missing = FRACTION + 1 - len(product.significand)
        addend = {name: getattr(product, name) for name, _ in product.shape()}
        addend["significand"] = Cat(Const(0, missing), product.significand)
        _, most = product_exponents(self.format)
        # Products that are small enough cannot change the greatest sum.
        overflows = most >= FP32_MOST - FRACTION - 1
        m.d.comb += self.o.eq(_add(m, self.sum, addend, self.stages, overflows))
        return m


class Fp32Add(Component):
    """``o`` = ``a + b`` of FP32, ``latency`` = ``stages`` cycles later.

    Raises :class:`ValueError` for less than one stage.
    """

    def __init__(self, stages: int = 4):
        _check(stages)
        self.latency = stages
        super().__init__({"a": In(32), "b": In(32), "o": Out(32)})

    def elaborate(self, platform) -> Module:
        m = Module()
        addend = vars(Parts(self.b))
        del addend["fraction"]
        m.d.comb += self.o.eq(_add(m, self.a, addend, self.latency))
        return m


def _add(m: Module, sum: Value, addend: Values, stages: int, overflows: bool = True) -> Value:
    """``sum`` and a number of 24 bits; whether a finite sum of these may be infinite.

    The significand of the addend is 0 or at least a quarter of its range, but for subnormal
    numbers.  One path for all: the number with the smaller exponent is shifted right, next to three
    bits more than a result has and one that says whether a 1 was lost; that is enough for the two
    bits by which the difference from the larger one can be short of 24.
    """
    values = {"sum": sum} | addend
    steps = [
        Step(_compare, 7.0),  # and the choice of a sum before it
        shift_right(4, room=2),
        *(shift_right(bit) for bit in reversed(range(4))),
        Step(_invert, 0.4),
        Step(_sum, 2.5),
        Step(_absolute, 0.9),
        *round_steps(FRACTION + 6, overflows),
    ]
    return pipeline(m, steps, stages, values)["o"]


def _compare(m: Module, x: Values) -> Values:
    """Orders the two by exponent."""
    own, significand, exponent = Parts(x["sum"]), x["significand"], x["exponent"]
    difference = wire(m, own.exponent - exponent, "difference")
    below = wire(m, difference[-1], "below")
    # ~d = -d - 1: the sum is shifted by one where it is taken.
    by = difference[:-1] ^ below.replicate(len(difference) - 1)
    far = by[5:].any().replicate(5)
    smaller = Mux(below, own.significand, significand << 1)
    unsigned = exponent[:-1] if exponent.shape().signed else exponent
    infinite = wire(m, own.infinite | x["infinite"], "infinite")
    opposed = wire(m, own.sign ^ x["sign"], "opposed")
    return {
        "larger": Mux(below, significand, own.significand),
        "smaller": smaller,
        "by": by[:5] | far,  # a shift of 31 leaves nothing but the sticky bit
        "exponent": Mux(below, unsigned, own.exponent),
        "subtract": opposed & ~infinite,
        "sign": Mux(x["infinite"] | below & ~own.infinite, x["sign"], own.sign),
        "nan": own.nan | x["nan"] | own.infinite & x["infinite"] & opposed,
        "infinite": infinite,
    }


def _invert(m: Module, x: Values) -> Values:
    smaller = Cat(x.pop("sticky"), x.pop("smaller"))
    del x["by"]
    return x | {"smaller": smaller ^ x["subtract"].replicate(len(smaller))}


def _sum(m: Module, x: Values) -> Values:
    """``larger - smaller = larger + ~smaller + 1``; the 1 takes the place of a 0."""
    larger = Cat(x["subtract"], Const(0, 3), x.pop("larger"))
    return x | {"total": larger + x.pop("smaller")}


def _absolute(m: Module, x: Values) -> Values:
    total, subtract = x.pop("total"), x.pop("subtract")
    inverted = wire(m, subtract & ~total[-1], "inverted")
    frame = Cat(total[:-1] ^ inverted.replicate(len(total) - 1), total[-1] & ~subtract)
    return x | {
        "frame": frame, "inverted": inverted,
        "sign": x["sign"] ^ inverted, "positive": subtract & ~inverted,
    }  # fmt: skip


def _check(stages: int) -> None:
    if stages < 1:
        raise ValueError(f"stages = {stages}; a sum takes at least 1")
