"""How many bits are set, counted by carry chains of Lattice's ECP5 alone."""

from collections.abc import Sequence

from amaranth.hdl import Module, Value

from . import tree
from .cells import Bit, Ccu2cChain


def count(m: Module, lanes: Sequence[Bit], cycles: int) -> Value:
    """How many ``lanes`` are set; registers make it that of ``cycles - 1`` cycles ago.

    Additions share chains, whatever their cycle: what is longest is a path of carries that are
    never used.
    """
    chains: list[Ccu2cChain] = []

    def add(carry: Bit, pairs: Sequence[tuple[Bit, ...]]) -> list[Bit]:
        if not chains or chains[-1].full:
            chains.append(Ccu2cChain())
            m.submodules[f"chain_{len(chains)}"] = chains[-1]
        return chains[-1].add(carry, pairs)

    return tree.count(m, lanes, cycles, add)
