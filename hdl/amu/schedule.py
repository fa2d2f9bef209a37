"""Which table is added when: chains of adders that meet in a tree."""

from typing import NamedTuple


class Schedule(NamedTuple):
    """How terms are summed, an adder and a register a cycle."""

    latency: int
    """From the first term to the sum, in cycles."""
    depths: tuple[int, ...]
    """Of each chain's end in the tree, the deepest chains first."""
    slots: tuple[tuple[int, int], ...]
    """Of each term the cycle, from 1 on, in whose end it is part of a sum, and its chain."""


def schedule(terms: int, latency: int) -> Schedule:
    """The smallest way to add ``terms`` tables within ``latency`` cycles, and then the fastest.

    An adder reads a table for nothing, so what counts is how few chains there are: a chain starts
    with a table alone and adds one a cycle, and all chains meet in a balanced tree.

    Raises :class:`ValueError` where no way is that fast.
    """
    least = 1 + (terms - 1).bit_length()
    if terms < 1 or latency < least:
        raise ValueError(
            f"{terms} tables are not summed in {latency} cycles; allow at least {least}"
        )
    chains = next(n for n in range(1, terms + 1) if _room(n, latency) >= terms)
    latency = next(n for n in range(least, latency + 1) if _room(chains, n) >= terms)
    depths = _depths(chains)
    slots = sorted(
        (cycle, chain)
        for chain, depth in enumerate(depths)
        for cycle in range(1, latency - depth + 1)
    )
    return Schedule(latency, depths, tuple(slots[-terms:]))


def _depths(chains: int) -> tuple[int, ...]:
    depth = (chains - 1).bit_length()
    shallow = (1 << depth) - chains
    return (depth,) * (chains - shallow) + (depth - 1,) * shallow


def _room(chains: int, latency: int) -> int:
    """How many terms so many chains add; 0 where one of them has no time for any."""
    lengths = [latency - depth for depth in _depths(chains)]
    return sum(lengths) if min(lengths) > 0 else 0
