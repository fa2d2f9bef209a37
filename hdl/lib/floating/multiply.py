"""Exact products of operands, and products of FP32 rounded to FP32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from ....models.floating import FP32
from .operands import operand_layout, product_layout
from .pipeline import Step, Values, pipeline, shift_right, wire
from .rounding import FRACTION, Parts, round_steps


class Multiply(Component):
    """``product`` = ``a * b``, exactly, ``latency`` = 2 cycles later.

    ``a`` and ``b`` are operands of ``format`` (:func:`~.operands.operand_layout`).  The registers
    are those of a DSP: operands and product.
    """

    latency = 2

    def __init__(self, format: str):
        self.format = format
        operand = operand_layout(format)
        super().__init__(
            {"a": In(operand), "b": In(operand), "product": Out(product_layout(format))}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        if self.format == "int8":
            a, b = Signal.like(self.a, reset_less=True), Signal.like(self.b, reset_less=True)
            product = Signal.like(self.product, reset_less=True)
            m.d.sync += [a.eq(self.a), b.eq(self.b), product.eq(a * b)]
            m.d.comb += self.product.eq(product)
        else:
            self._multiply(m)
        return m

    def _multiply(self, m: Module) -> None:
        beside = self.product.shape().members.keys() - {"significand"}
        x, y = self.a, self.b
        a, b = (Signal(len(number.fraction) + 1, reset_less=True) for number in (x, y))
        held = Signal.like(self.product, reset_less=True)
        product = Signal.like(self.product, reset_less=True)
        zero, infinite = _zero(x) | _zero(y), _infinite(x) | _infinite(y)
        # The exponent of an operand is too high by 2**e, half of what its field holds.
        offset = FP32.bias + 1 - (1 << len(x.exponent))
        m.d.sync += [
            a.eq(_significand(x)),
            b.eq(_significand(y)),
            held.exponent.eq(Mux(zero, 0, x.exponent + y.exponent + offset)),
            held.sign.eq(x.sign ^ y.sign),
            held.nan.eq(_nan(x) | _nan(y) | zero & infinite),
            held.infinite.eq(infinite),
            product.significand.eq(a * b),
            *(getattr(product, name).eq(getattr(held, name)) for name in sorted(beside)),
        ]
        m.d.comb += self.product.eq(product)


class Fp32Multiply(Component):
    """``o`` = ``a * b`` of FP32, ``latency`` = ``stages`` cycles later.

    Raises :class:`ValueError` for less than one stage.
    """

    def __init__(self, stages: int = 4):
        if stages < 1:
            raise ValueError(f"stages = {stages}; a product takes at least 1")
        self.latency = stages
        super().__init__({"a": In(32), "b": In(32), "o": Out(32)})

    def elaborate(self, platform) -> Module:
        m = Module()
        steps = [
            Step(_unpack, 3.0), Step(_product, 6.0), Step(_low, 2.0),
            *(shift_right(bit) for bit in reversed(range(6))), Step(_frame, 0.0),
            *round_steps(2 * FRACTION + 3),
        ]  # fmt: skip
        values: Values = {"a": self.a, "b": self.b}
        m.d.comb += self.o.eq(pipeline(m, steps, self.latency, values)["o"])
        return m


def _unpack(m: Module, x: Values) -> Values:
    a, b = Parts(x["a"]), Parts(x["b"])
    zero = ~a.significand.any() | ~b.significand.any()
    infinite = a.infinite | b.infinite
    return {
        "a": a.significand, "b": b.significand, "sign": a.sign ^ b.sign, "infinite": infinite,
        "nan": a.nan | b.nan | zero & infinite,
        "exponent": a.exponent + b.exponent - FP32.bias,
    }  # fmt: skip


def _product(m: Module, x: Values) -> Values:
    return x | {"smaller": x.pop("a") * x.pop("b")}


def _low(m: Module, x: Values) -> Values:
    """Products below the least normal number are brought to its exponent."""
    exponent = x["exponent"]
    low = wire(m, exponent[-1], "low")
    missing = wire(m, -exponent, "missing")
    by = (missing[:6] | missing[6:].any().replicate(6)) & low.replicate(6)
    return x | {"by": by, "exponent": exponent[:-1] & (~low).replicate(len(exponent) - 1)}


def _frame(m: Module, x: Values) -> Values:
    del x["by"]
    frame = Cat(x.pop("sticky"), x.pop("smaller"))
    return x | {"frame": frame, "inverted": Const(0, 1), "positive": Const(0, 1)}


def _significand(operand) -> Value:
    """1.fraction, or 0 of a zero."""
    return Cat(operand.fraction, ~_zero(operand))


def _zero(operand) -> Value:
    return ~operand.exponent[-3:].any()


def _infinite(operand) -> Value:
    return operand.exponent[-2:].all() & ~operand.exponent[-3]


def _nan(operand) -> Value:
    return operand.exponent[-3:].all()
