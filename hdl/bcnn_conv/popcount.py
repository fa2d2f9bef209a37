"""How many bits of a word are set, or agree with weights: a pipeline of additions."""

from typing import Literal

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from ...models.bcnn.latency import count_latency

Style = Literal["generic", "ecp5", "xilinx"]
"""What the hardware is made of: any device's logic, or the cells of one family."""


class Popcount(Component):
    """``o`` = how many bits of ``i``, or with ``weighted`` of ``i == w``, are set.

    A new word every cycle, ``latency`` = :func:`~...models.bcnn.latency.count_latency` cycles to
    the result.  With ``outside``, ``o`` is that number where ``inside`` of the word's cycle is 0.
    """

    def __init__(
        self,
        bits: int,
        *,
        weighted: bool = False,
        gates: bool = False,
        outside: int | None = None,
        style: Style = "generic",
    ):
        """``gates``: other logic in front is as long as an addition."""
        if bits < 1:
            raise ValueError(f"bits = {bits}; there is nothing to count, give at least 1")
        self._bits, self._weighted, self._gates = bits, weighted, gates
        self._outside, self._style = outside, style
        self.latency = count_latency(bits, gates)
        ports = {"i": In(bits), "inside": In(1, init=1), "o": Out(range(bits + 1))}
        super().__init__({**ports, "w": In(bits)} if weighted else ports)

    def elaborate(self, platform) -> Module:
        m = Module()
        bits = list(~(self.i ^ self.w)) if self._weighted else list(self.i)
        levels = generic_levels(self._bits)
        numbers: list[Value] = []
        done = 0
        for stage in range(self.latency):
            last = (stage + 1) * levels // self.latency
            for level in range(done, last):
                numbers = _sums(numbers) if level else _triples(bits)
            done = last
            if stage + 1 < self.latency:
                numbers = [_register(m, number) for number in numbers]
        inside = self.inside
        for _ in range(self.latency - 1):
            inside = _register(m, inside)
        m.d.sync += self.o.eq(numbers[0])
        if self._outside is not None:
            with m.If(~inside):
                m.d.sync += self.o.eq(self._outside)
        return m


def generic_levels(bits: int) -> int:
    """Full adders of three bits, then a tree of sums."""
    return 1 + (-(-bits // 3) - 1).bit_length()


def _triples(bits: list[Value]) -> list[Value]:
    found = []
    for k in range(0, len(bits), 3):
        a, *rest = bits[k : k + 3]
        b, c = (*rest, None, None)[:2]
        if b is None:
            found.append(a)
        elif c is None:
            found.append(Cat(a ^ b, a & b))
        else:
            found.append(Cat(a ^ b ^ c, (a & b) | (c & (a | b))))
    return found


def _sums(numbers: list[Value]) -> list[Value]:
    pairs = zip(numbers[::2], numbers[1::2], strict=False)
    return [a + b for a, b in pairs] + numbers[len(numbers) & ~1 :]


def _register(m: Module, value: Value) -> Signal:
    register = Signal(value.shape(), reset_less=True)
    m.d.sync += register.eq(value)
    return register
