"""Fixed-point rounding and saturation, as combinational functions of Amaranth values.

The hardware twin of :mod:`thresher.models.fixed`.  Results are exactly as wide as
their range needs, so they can be added, compared and extended without surprises.
An operand is used several times: pass a ``Signal`` where the expression behind it
is large.
"""

from amaranth.hdl import Cat, Const, Mux, Shape, Value, ValueLike

from ...models import fixed as model
from ...models.fixed import Rounding


def bounds(shape: Shape) -> tuple[int, int]:
    """Least and greatest integer that ``shape`` represents."""
    return model.limits(shape.width, shape.signed) if shape.width else (0, 0)


def narrowest(low: int, high: int, signed: bool) -> Shape:
    """The narrowest shape, at least a bit wide, that holds ``low`` to ``high``."""
    magnitude = max(high.bit_length(), (~low).bit_length() if low < 0 else 0)
    return Shape(magnitude + 1, True) if signed else Shape(max(magnitude, 1), False)


def fit(value: ValueLike, shape: Shape) -> Value:
    """``value``, known to lie within ``shape``, cut or extended to exactly that shape."""
    value = Value.cast(value)
    missing = shape.width - len(value)
    if missing > 0:
        sign = value[-1] if value.shape().signed else Const(0, 1)
        value = Cat(value, sign.replicate(missing))
    bits = value[: shape.width]
    return bits.as_signed() if shape.signed else bits


def round_shift(value: ValueLike, n: int, mode: Rounding = "half_up") -> Value:
    """``value / 2**n`` rounded to an integer; for ``n <= 0`` the exact ``value << -n``.

    Signed as ``value`` is.  Costs one incrementer as wide as the result.
    """
    if mode not in model.ROUNDINGS:
        raise ValueError(f"rounding {mode!r} is not one of {', '.join(model.ROUNDINGS)}")
    value = Value.cast(value)
    if n <= 0:
        return value.shift_left(-n)
    shape = value.shape()
    if n >= len(value):  # beyond the operand's bits lies its sign
        value = fit(value, Shape(n + 1, shape.signed))
    if mode == "half_up":
        carry = value[n - 1]
    elif mode == "nearest_even":
        carry = value[n - 1] & (value[n] | value[: n - 1].any())
    else:
        carry = value[-1] & value[:n].any() if shape.signed else Const(0, 1)
    low, high = (model.round_shift(bound, n, mode) for bound in bounds(shape))
    return fit(value.shift_right(n) + carry, narrowest(low, high, shape.signed))


def saturate(value: ValueLike, bits: int, signed: bool | None = None) -> Value:
    """``value`` clamped to ``bits`` bits; the result is exactly that wide.

    The result is signed as ``signed`` says, or else as ``value`` is.
    """
    if bits < 1:
        raise ValueError(f"cannot saturate to {bits} bits; ask for at least 1")
    value = Value.cast(value)
    shape = value.shape()
    target = Shape(bits, shape.signed if signed is None else signed)
    (low, high), (least, most) = bounds(shape), bounds(target)
    negative = value[-1] if shape.signed else Const(0, 1)
    result = value
    if high > most:
        overflow = value[bits - target.signed : len(value) - shape.signed].any() & ~negative
        result = Mux(overflow, most, result)
    if low < least:
        underflow = negative & ~value[bits - 1 : -1].all() if target.signed else negative
        result = Mux(underflow, least, result)
    return fit(result, target)
