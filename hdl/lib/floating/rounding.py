"""The end of every operation: a sum or product of any size becomes an FP32, rounded once.

It starts from these values:

* ``frame``: the magnitude.  Bits below it are copies of ``inverted``.
* ``inverted``: whether the magnitude is ``frame`` plus one in its last place, as after a
  subtraction that went below zero: there ``-x = ~x + 1``, and rounding adds the 1 at no cost.
* ``exponent``: the field of a number whose leading 1 is the frame's highest bit, at least 1.
* ``sign``, and ``positive``: whether a zero is +0 whatever the sign.
* ``nan`` and ``infinite``, which stand above the magnitude.
"""

from amaranth.hdl import Cat, Module, Mux, Value

from ....models.floating import FP32
from .pipeline import Step, Values, leading_zeros, shift_left, wire

FRACTION, FIELD = FP32.fraction_bits, FP32.exponent_bits


def round_steps(width: int, most: int) -> list[Step]:
    """The steps from a frame of ``width`` bits, and exponents up to ``most``, to ``o``."""
    bits = range((width - 1).bit_length() - 1, -1, -1)
    split = len(bits) // 2

    def count(m: Module, x: Values) -> Values:
        """Leading zeros."""
        zeros, some = leading_zeros(m, x["frame"])
        sign = x["sign"] & ~(x["positive"] & ~some)
        return _without(x, "positive") | {"zeros": zeros, "sign": sign}

    def limit(m: Module, x: Values) -> Values:
        """The field; a subnormal number is shifted to the least one, and no further."""
        size = most.bit_length() + 1
        field = wire(m, (x["exponent"] - x["zeros"]).as_signed()[:size], "field")
        low = field[-1] | ~field.any()
        by = Mux(low, (x["exponent"] - 1)[: len(bits)], x["zeros"])
        beyond = ~low & (field >= (1 << FIELD) - 1)
        return _without(x, "exponent", "zeros") | {
            "field": field[:FIELD], "by": by, "infinite": x["infinite"] | beyond
        }  # fmt: skip

    def coarse(m: Module, x: Values) -> Values:
        return _shifted(m, x, bits[:split])

    def fine(m: Module, x: Values) -> Values:
        return _without(_shifted(m, x, bits[split:]), "by")

    def prepare(m: Module, x: Values) -> Values:
        """Where to round, and whether upwards; what is special takes the number's place."""
        frame, inverted = x["frame"], x["inverted"]
        fraction, rest = frame[-FRACTION - 1 : -1], frame[: -FRACTION - 2]
        guard, odd = frame[-FRACTION - 2], fraction[0]
        up = Mux(inverted, guard | odd & rest.all(), guard & (odd | rest.any()))
        special = wire(m, x["nan"] | x["infinite"], "special")
        field = x["field"] & frame[-1].replicate(FIELD) | special.replicate(FIELD)
        number = Cat(fraction & (~special).replicate(FRACTION), field)
        return {
            "number": number | x["nan"] << FRACTION - 1,
            "up": up & ~special,
            "sign": x["sign"] & ~x["nan"],
        }

    def increment(m: Module, x: Values) -> Values:
        """A carry out of the fraction makes the next power of two, and infinity of the last."""
        return {"o": Cat((x["number"] + x["up"])[: FRACTION + FIELD], x["sign"])}

    return [
        Step(count, 3.5),
        Step(limit, 2.5),
        Step(coarse, 1.8),
        Step(fine, 2.2),
        Step(prepare, 1.8),
        Step(increment, 2.6),
    ]


def _shifted(m: Module, x: Values, bits: range) -> Values:
    return x | {"frame": shift_left(m, x["frame"], x["by"], bits, x["inverted"])}


def _without(x: Values, *names: str) -> Values:
    return {name: value for name, value in x.items() if name not in names}


class Parts:
    """The parts of an FP32: of a subnormal number ``exponent`` is 1 as that of the least normal
    ones, whose significand alone has bit 23."""

    def __init__(self, bits: Value):
        self.fraction, field, self.sign = bits[:FRACTION], bits[FRACTION:-1], bits[-1]
        normal = field.any()
        self.exponent = Cat(field[0] | ~normal, field[1:])
        self.significand = Cat(self.fraction, normal)
        self.nan = field.all() & self.fraction.any()
        self.infinite = field.all() & ~self.fraction.any()
