"""How many bits of a word are set, or agree with weights: a pipeline of additions."""

from collections.abc import Callable, Sequence
from typing import Literal

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from ...models.bcnn.latency import count_levels
from . import ecp5, generic, xilinx
from .cells import Bit, later

Style = Literal["generic", "ecp5", "xilinx"]
"""What the hardware is made of: any device's logic, or the cells of one vendor's family."""

_COUNTS: dict[str, Callable[[Module, Sequence[Bit], int], Value]] = {
    "generic": generic.count,
    "ecp5": ecp5.count,
    "xilinx": xilinx.count,
}


class Popcount(Component):
    """``o`` = how many bits of ``i``, or with ``weighted`` of ``i == w``, are set.

    A new word every cycle, :attr:`latency` cycles to the result.  With ``outside``, ``o`` is that
    number where ``inside`` of the word's cycle is 0.
    """

    def __init__(
        self,
        bits: int,
        *,
        weighted: bool = False,
        outside: int | None = None,
        style: Style = "generic",
    ):
        if bits < 1:
            raise ValueError(f"bits = {bits}; there is nothing to count, give at least 1")
        if style not in _COUNTS:
            raise ValueError(f"style = {style!r} is none of {', '.join(_COUNTS)}")
        self._weighted, self._outside, self._count = weighted, outside, _COUNTS[style]
        self.key = bits, weighted, outside, style
        """Equal ones are equal hardware."""
        self.latency = count_levels(bits)
        ports = {"i": In(bits), "inside": In(1, init=1), "o": Out(range(bits + 1))}
        super().__init__({**ports, "w": In(bits)} if weighted else ports)

    def elaborate(self, platform) -> Module:
        m = Module()
        if self._weighted:
            lanes = [Bit((i, w), inverted=True) for i, w in zip(self.i, self.w, strict=True)]
        else:
            lanes = [Bit((i,)) for i in self.i]
        # Without a reset, so that a word outside is one.
        total = Signal.like(self.o, reset_less=True)
        m.d.sync += total.eq(self._count(m, lanes, self.latency))
        if self._outside is not None:
            with m.If(~later(m, self.inside, self.latency - 1)):
                m.d.sync += total.eq(self._outside)
        m.d.comb += self.o.eq(total)
        return m
