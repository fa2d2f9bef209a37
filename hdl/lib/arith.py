"""Sums, priority encoders and packed products.

Functions are combinational and take and give Amaranth values, exactly as wide as
their range needs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Shape, ShapeLike, Signal, Value, ValueLike
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from .fixed import bounds, fit, narrowest


class _Term(NamedTuple):
    """A summand and its range, which a shape alone would overstate."""

    value: Value
    low: int
    high: int


def _term(value: ValueLike) -> _Term:
    value = Value.cast(value)
    return _Term(value, *bounds(value.shape()))


def _tree_level(terms: list[_Term]) -> list[_Term]:
    """Neighbours added; an odd one out passes."""
    sums = []
    for a, b in zip(terms[::2], terms[1::2], strict=False):
        low, high = a.low + b.low, a.high + b.high
        sums.append(_Term(fit(a.value + b.value, narrowest(low, high, low < 0)), low, high))
    return sums + terms[2 * len(sums) :]


def tree_sum(values: Iterable[ValueLike]) -> Value:
    """The exact sum of ``values``, as a balanced tree of adders; 0 of none."""
    terms = [_term(value) for value in values]
    while len(terms) > 1:
        terms = _tree_level(terms)
    return terms[0].value if terms else Const(0, 1)


def count_ones(mask: ValueLike) -> Value:
    """How many bits of ``mask`` are set."""
    return tree_sum(Value.cast(mask))


class AdderTree(Component):
    """``o`` = the exact sum of ``i``'s elements, ``latency`` enabled cycles later.

    A balanced tree with a register after every ``levels`` levels of adders and
    after the last; a new vector every cycle.  While ``en`` is low it stands still.
    """

    def __init__(self, element: ShapeLike, count: int, levels: int = 1):
        if count < 1 or levels < 1:
            raise ValueError(f"count = {count} and levels = {levels} must both be at least 1")
        self._element = Shape.cast(element)
        self._levels = levels
        depth = (count - 1).bit_length()
        self.latency = max(-(-depth // levels), 1)
        low, high = (count * bound for bound in bounds(self._element))
        super().__init__(
            {
                "i": In(data.ArrayLayout(self._element, count)),
                "en": In(1, init=1),
                "o": Out(narrowest(low, high, self._element.signed)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        terms = [_term(element) for element in self.i]
        for _ in range(self.latency):
            for _ in range(self._levels):
                terms = _tree_level(terms)
            registers = [Signal(term.value.shape(), reset_less=True) for term in terms]
            with m.If(self.en):
                m.d.sync += [r.eq(term.value) for r, term in zip(registers, terms, strict=True)]
            terms = [
                term._replace(value=register)
                for register, term in zip(registers, terms, strict=True)
            ]
        m.d.comb += self.o.eq(terms[0].value)
        return m


@dataclass(frozen=True)
class FirstSet:
    """The lowest set bit of a mask."""

    valid: Value
    """Whether any bit is set."""
    index: Value
    """Its position; the mask's last position where none is set."""
    one_hot: Value
    """The mask with every other bit cleared."""


def find_first(mask: ValueLike) -> FirstSet:
    """The lowest set bit of ``mask``, in ``ceil(log2(len(mask)))`` levels of logic."""
    mask = Value.cast(mask)
    if len(mask) < 1:
        raise ValueError("find_first needs a mask of at least 1 bit")
    if len(mask) == 1:
        return FirstSet(valid=mask[0], index=Const(0, 0), one_hot=mask[0])
    half = 1 << ((len(mask) - 1).bit_length() - 1)
    low, high = find_first(mask[:half]), find_first(mask[half:])
    return FirstSet(
        valid=low.valid | high.valid,
        index=Cat(Mux(low.valid, low.index, high.index), ~low.valid),
        one_hot=Cat(low.one_hot, Mux(low.valid, 0, high.one_hot)),
    )


def packed_products(
    w0: ValueLike,
    w1: ValueLike,
    x: ValueLike,
    register: Callable[[Value], Value] = lambda product: product,
) -> tuple[Value, Value]:
    """``(w0 * x, w1 * x)``, all signed, by one multiplication.

    Fits one DSP48's 25 x 18 bits where ``len(w0) + len(w1) + len(x) <= 24`` (two
    int8 products), pre-adder, offset and all, and saves nothing where multipliers are
    narrower (ECP5, iCE40)::

        p  = ((w1 << n) + w0) * x + (1 << n - 1)        n = len(w0) + len(x)

    The offset keeps the low product from borrowing from the high one, so the high
    one needs no correction and the low one an inverted sign bit.  ``register`` may give
    ``p`` a cycle later, which puts it into the DSP's own output register.
    """
    w0, w1, x = Value.cast(w0), Value.cast(w1), Value.cast(x)
    n = len(w0) + len(x)
    if not all(value.shape().signed for value in (w0, w1, x)):
        raise TypeError(
            f"packed_products needs signed operands, not {w0.shape()}, {w1.shape()}, {x.shape()}"
        )
    if n + len(w1) > 24 or len(x) > 18:
        raise ValueError(
            f"operands of {len(w0)}, {len(w1)} and {len(x)} bits do not fit a 25 x 18 "
            "multiplier; at most 24 bits together, x at most 18"
        )
    pair = fit(w1.shift_left(n) + w0, Shape(n + len(w1) + 1, signed=True))
    p = register(fit(pair * x + (1 << (n - 1)), Shape(n + len(w1) + len(x), signed=True)))
    low = Cat(p[: n - 1], ~p[n - 1]).as_signed()
    return low, p[n:].as_signed()
