"""How many bits are set, counted by carry chains of Lattice's ECP5 alone."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Value

from .cells import Bit, Ccu2cChain


def count(m: Module, lanes: Sequence[Bit], cycles: int) -> Value:
    """How many ``lanes`` are set; registers make it that of ``cycles - 1`` cycles ago.

    Half of the bits, less one, are counted, and so is the other half; the two numbers and the last
    bit are added up, as the carry that comes in.  Additions share chains, whatever their cycle: the
    longest path through a chain is one of carries that are never used.
    """
    return Cat(bit.value for bit in _Tree(m).count(lanes, cycles - 1))


class _Tree:
    def __init__(self, m: Module):
        self._m = m
        self._chain: Ccu2cChain | None = None

    def count(self, lanes: Sequence[Bit], cycle: int) -> list[Bit]:
        """The number of ``lanes`` as it is in a ``cycle``."""
        n = len(lanes)
        if n < 2:
            return [lane.later(self._m, cycle) for lane in lanes]
        carry, rest = lanes[0].later(self._m, cycle), lanes[1:]
        left, right = (self._before(half, cycle) for half in (rest[: n // 2], rest[n // 2 :]))
        pairs = [(a, *right[k : k + 1]) for k, a in enumerate(left)]
        if self._chain is None or self._chain.full:
            self._m.submodules += (chain := Ccu2cChain())
            self._chain = chain
        return self._chain.add(carry, pairs)

    def _before(self, lanes: Sequence[Bit], cycle: int) -> list[Bit]:
        """The number in a register that is full in a ``cycle``."""
        if len(lanes) < 2:
            return self.count(lanes, cycle)
        return [bit.later(self._m, 1) for bit in self.count(lanes, cycle - 1)]
