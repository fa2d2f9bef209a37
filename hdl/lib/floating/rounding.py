"""The end of every operation: a sum or product of any size becomes an FP32, rounded once.

It starts from these values:

* ``frame``: the magnitude.  Bits below it are copies of ``inverted``.
* ``inverted``: whether the magnitude is ``frame`` plus one in its last place, as after a
  subtraction that went below zero: there ``-x = ~x + 1``, and rounding adds the 1 at no cost.
* ``exponent``: the field of a number whose leading 1 is the frame's second highest bit, at least 0.
* ``sign``, and ``positive``: whether a zero is +0 whatever the sign.
* ``nan`` and ``infinite``, which stand above the magnitude.
"""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Value

from ....models.floating import FP32
from .pipeline import Step, Values, leading_zeros, wire

FRACTION, FIELD = FP32.fraction_bits, FP32.exponent_bits
SPECIAL = (1 << FIELD) - 1
"""The field of infinities and NaN."""


def round_steps(width: int, overflows: bool = True) -> list[Step]:
    """The steps from a frame of ``width`` bits to ``o``.

    ``overflows``: whether a number may be beyond the greatest before it is rounded.
    """
    bits = range((width - 1).bit_length() - 1, -1, -1)

    def count(m: Module, x: Values) -> Values:
        """Leading zeros."""
        zeros, some = leading_zeros(m, x["frame"])
        sign = x["sign"] & ~(x["positive"] & ~some)
        return _without(x, "positive") | {"zeros": zeros, "some": some, "sign": sign}

    def limit(m: Module, x: Values) -> Values:
        """The field, less the leading 1 to come, and how far to shift: a subnormal number to the
        least exponent and no further; what is special, out of the frame."""
        field = wire(m, x["exponent"] - x["zeros"], "difference")
        low, number = wire(m, field[-1], "low"), field[:-1]
        nan, infinite = x["nan"], x["infinite"]
        if overflows:
            infinite |= ~low & (number >= SPECIAL - 1)
        special = wire(m, nan | infinite, "special")
        by = Mux(low, x["exponent"][: len(bits)], x["zeros"]) | special.replicate(len(bits))
        kept = (~low & x["some"]).replicate(FIELD)
        return {
            "field": number[:FIELD] & kept | special.replicate(FIELD),
            "by": by,
            "frame": x["frame"],
            "inverted": x["inverted"] & ~special,
            "nan": nan,
            "sign": x["sign"] & ~nan,
        }

    def prepare(m: Module, x: Values) -> Values:
        """Where to round, and whether upwards."""
        frame, inverted = x["frame"], x["inverted"]
        number, rest = frame[-FRACTION - 1 :], frame[: -FRACTION - 2]
        guard, odd = frame[-FRACTION - 2], number[0]
        up = Mux(inverted, guard | odd & rest.all(), guard & (odd | rest.any()))
        quiet = number[FRACTION - 1] | x["nan"]
        number = Cat(number[: FRACTION - 1], quiet, number[-1])
        return {"number": number, "field": x["field"], "up": up, "sign": x["sign"]}

    def increment(m: Module, x: Values) -> Values:
        """The leading 1 adds to the field.  A carry out of the fraction makes the next power of
        two, and infinity of the last."""
        number, up = x["number"], x["up"]
        low = Cat(up, number[:FRACTION], x["field"])
        total = low + Cat(up, Const(0, FRACTION), number[FRACTION])
        return {"o": Cat(total[1:][: FRACTION + FIELD], x["sign"])}

    return [
        Step(count, 3.4),
        Step(limit, 5.0 if overflows else 4.0),
        *(Step(_shift(bit), 1.1) for bit in bits),
        Step(prepare, 1.9),
        Step(increment, 2.5),
    ]


def _shift(bit: int) -> Callable[[Module, Values], Values]:
    def normalise(m: Module, x: Values) -> Values:
        frame = x["frame"]
        moved = Cat(x["inverted"].replicate(1 << bit), frame)[: len(frame)]
        return x | {"frame": Mux(x["by"][bit], moved, frame)}

    return normalise


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
