"""What multipliers take and give, inside an array."""

from amaranth.hdl import Cat, Const, Mux, ShapeLike, Value, ValueLike, signed
from amaranth.lib import data

from ....models.floating import FORMATS, FP32
from ..arith import find_first
from ..fixed import narrowest


def operand_layout(format: str) -> ShapeLike:
    """A number of ``format`` ("int8", "fp16", "bf16", "fp32") as an operand.

    int8: itself.  Else one bit more than the number has, so that subnormal numbers need no care
    later: a nonzero number is ``(-1)**sign * 1.fraction * 2**(exponent - 2**e)`` with e bits of
    exponent in the format and e + 1 here, of which the highest three are 0 for zeros, 6 for
    infinities and 7 for NaN only.
    """
    if format == "int8":
        return signed(8)
    kind = FORMATS[format]
    return data.StructLayout(
        {"fraction": kind.fraction_bits, "exponent": kind.exponent_bits + 1, "sign": 1}
    )


def unpack(format: str, bits: ValueLike) -> Value | data.View:
    """The operand that ``bits`` of ``format`` are, combinational: a shift, a sum beside it."""
    layout = operand_layout(format)
    bits = Value.cast(bits)
    if not isinstance(layout, data.StructLayout):
        return bits.as_signed()
    kind = FORMATS[format]
    fraction, field = bits[: kind.fraction_bits], bits[kind.fraction_bits : -1]
    first = find_first(fraction[::-1])
    subnormal, special = ~field.any(), field.all()
    # A number 0.fraction with n leading zeros has the exponent of a field of -n.
    zeros = Cat(first.index, Const(0, kind.exponent_bits + 1 - len(first.index)))
    exponent = Mux(subnormal, ~zeros, field) + (1 << kind.exponent_bits - 1) + 1 + subnormal
    top = kind.exponent_bits - 2
    exponent = Mux(
        special,
        Cat(Const(0, top), fraction.any(), Const(3, 2)),
        Mux(subnormal & ~first.valid, 0, exponent[: kind.exponent_bits + 1]),
    )
    shifted = (fraction << first.index)[: kind.fraction_bits - 1]
    fraction = Mux(subnormal, Cat(Const(0, 1), shifted), fraction)
    return data.View(layout, Cat(fraction, exponent, bits[-1]))


def product_layout(format: str) -> ShapeLike:
    """The exact product of two operands of ``format``.

    int8: an integer of 16 bits.  Else ``(-1)**sign * significand * 2**(exponent - 127 + 1)`` with
    the significand read as a fraction of its width, which is at least 1/4 where the product is not
    zero; exponent and significand of a zero are 0.  ``nan`` and ``infinite`` stand above all else.
    """
    if format == "int8":
        return signed(16)
    kind = FORMATS[format]
    low, high = product_exponents(format)
    return data.StructLayout(
        {
            "significand": 2 * kind.fraction_bits + 2,
            "exponent": narrowest(low, high, low < 0),
            "sign": 1,
            "nan": 1,
            "infinite": 1,
        }
    )


def product_exponents(format: str) -> tuple[int, int]:
    """Least and greatest exponent of a product that is neither zero nor special."""
    kind = FORMATS[format]
    least, most = 1 - kind.bias - kind.fraction_bits, kind.bias
    return 2 * least + 1 + FP32.bias, 2 * most + 1 + FP32.bias
