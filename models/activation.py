"""Integer tables of sigmoid and tanh, the same on every machine.

A table of N entries (a power of two) covers ``[-span/2, span/2)``.  Entry ``a``, for
``-N/2 <= a < N/2``, is ``round_half_up(fn(a * span / N) * 2**bits)``, clamped: sigmoid
to ``[0, 2**bits - 1]``, tanh to ``+-(2**bits - 1)``.  Entry ``a`` stands at address
``a mod N``: ``table[a]`` works for negative ``a`` too, and the array is what a memory
addressed with the two's-complement bits of ``a`` holds.
"""

from collections.abc import Callable
from decimal import ROUND_FLOOR, Context, Decimal, localcontext
from functools import cache

import numpy as np

from .fixed import V, round_shift, saturate

SIGMOID_SPAN = 16
"""The sigmoid's table covers [-8, 8)."""
TANH_SPAN = 8
"""The tanh's table covers [-4, 4)."""


@cache
def sigmoid_table(entries: int, bits: int) -> np.ndarray:
    """``sigmoid`` over [-8, 8), int64, read-only; values have ``bits`` fractional bits."""
    return _table(lambda x: 1 / (1 + (-x).exp()), entries, SIGMOID_SPAN, bits, 0)


@cache
def tanh_table(entries: int, bits: int) -> np.ndarray:
    """``tanh`` over [-4, 4), int64, read-only; values have ``bits`` fractional bits."""
    return _table(lambda x: 1 - 2 / (1 + (2 * x).exp()), entries, TANH_SPAN, bits, 1 - 2**bits)


def table_index(z: V, frac: int, entries: int, span: int) -> V:
    """The entry, ``-entries/2 <= a < entries/2``, for a ``z`` with ``frac`` fractional bits.

    ``S(R(z, frac - log2(entries) + log2(span)), log2(entries))``: half-up rounding
    to the table's grid, saturation at its ends.
    """
    bits = entries.bit_length() - 1
    shift = frac - bits + span.bit_length() - 1
    if shift < 0:  # saturates afterwards all the same, and the left shift cannot overflow
        z = saturate(z, bits + 1)
    return saturate(round_shift(z, shift), bits)


def _table(
    fn: Callable[[Decimal], Decimal], entries: int, span: int, bits: int, low: int
) -> np.ndarray:
    if entries < 2 or entries & (entries - 1):
        raise ValueError(f"entries = {entries} is not a power of two; take 256, say")
    table = np.empty(entries, np.int64)
    # Decimal's exp is correctly rounded everywhere, unlike libm's.  An exact tie cannot
    # occur (exp of a rational is irrational except at 0, where both are exact), and
    # 40 digits lie far nearer than any value does to a tie.
    with localcontext(Context(prec=40)):
        for a in range(-entries // 2, entries // 2):
            scaled = fn(Decimal(a * span) / entries) * 2**bits
            value = (scaled + Decimal("0.5")).to_integral_value(ROUND_FLOOR)
            table[a] = min(max(int(value), low), 2**bits - 1)
    table.flags.writeable = False
    return table
