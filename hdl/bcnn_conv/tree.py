"""How many bits are set, as a tree of additions of two numbers and one bit more."""

from collections.abc import Callable, Sequence

from amaranth.hdl import Cat, Module, Value

from .cells import Bit

Addition = Callable[[Bit, Sequence[tuple[Bit, ...]]], list[Bit]]
"""The sum of a bit, and of one or two bits of each weight, as a bit more than weights."""


def count(m: Module, lanes: Sequence[Bit], cycles: int, add: Addition) -> Value:
    """How many ``lanes`` are set; registers make it that of ``cycles - 1`` cycles ago.

    Half of the bits but one are counted, and so is the other half, in the cycle before; the last
    bit is the carry that comes in.
    """
    return Cat(bit.value for bit in _Tree(m, add).count(lanes, cycles - 1))


class _Tree:
    def __init__(self, m: Module, add: Addition):
        self._m, self._add = m, add

    def count(self, lanes: Sequence[Bit], cycle: int) -> list[Bit]:
        """The number of ``lanes`` as it is in a ``cycle``."""
        n = len(lanes)
        if n < 2:
            return [lane.later(self._m, cycle) for lane in lanes]
        carry, rest = lanes[0].later(self._m, cycle), lanes[1:]
        left, right = (self._before(half, cycle) for half in (rest[: n // 2], rest[n // 2 :]))
        return self._add(carry, [(a, *right[k : k + 1]) for k, a in enumerate(left)])

    def _before(self, lanes: Sequence[Bit], cycle: int) -> list[Bit]:
        """The number in a register that is full in a ``cycle``."""
        if len(lanes) < 2:
            return self.count(lanes, cycle)
        return [bit.later(self._m, 1) for bit in self.count(lanes, cycle - 1)]
