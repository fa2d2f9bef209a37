"""How many bits are set, for any device: what synthesis makes of sums."""

from collections.abc import Sequence

from amaranth.hdl import C, Cat, Module, Signal, Value

from . import tree
from .cells import Bit


def count(m: Module, lanes: Sequence[Bit], cycles: int) -> Value:
    """How many ``lanes`` are set; registers make it that of ``cycles - 1`` cycles ago."""

    def add(carry: Bit, pairs: Sequence[tuple[Bit, ...]]) -> list[Bit]:
        c, (first, *second) = carry.value, zip(*_filled(pairs), strict=True)
        total = Signal(len(pairs) + 1)
        if len(pairs) > 1:  # an adder one longer takes the carry
            m.d.comb += total.eq((Cat(C(1, 1), first) + Cat(c, *second))[1:])
        else:
            a, b = first[0], second[0][0]
            m.d.comb += total.eq(Cat(a ^ b ^ c, (a & b) | (c & (a | b))))
        return [Bit((bit,)) for bit in total]

    return tree.count(m, lanes, cycles, add)


def _filled(pairs: Sequence[tuple[Bit, ...]]) -> list[tuple[Value, Value]]:
    return [(a.value, b[0].value if b else C(0, 1)) for a, *b in pairs]
