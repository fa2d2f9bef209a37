"""Leaves out of a network what no later tree looks at; what comes out stays the same, bit by bit.

A tree reads a few of its layer's inputs and no others, so the layer before need not compute the
others: their tables and adders go (Zhu et al., LUT-MU).  What a node must give is the union over
its consumers: the inputs of a lookup's or convolution's trees, those with a weight of a dense
layer, and all that is needed of an addition, in *both* of its branches.  Pooling and flattening
pass on what is asked of them, channel by channel, and the last node gives everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .convolution import Convolution, MaxPool, Patches
from .encoder import Encoder
from .network import Network, Node, Operation
from .operations import Add, Concat, Dense, Flatten, Input, Lookup, Select

Weighted = Lookup | Convolution | Dense
"""Has outputs that can be left out."""


@dataclass(frozen=True)
class Kept:
    """What is left of a node."""

    name: str
    kept: int
    """Channels that it still computes."""
    total: int
    """Channels that it computed before."""

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.kept / self.total


@dataclass(frozen=True)
class Streamlined:
    """The result of :func:`streamline`."""

    network: Network
    nodes: tuple[Kept, ...]
    """Of each lookup, convolution and dense layer, in order."""

    def __str__(self) -> str:
        return "\n".join(f"{n.name}: {n.kept} of {n.total} outputs kept" for n in self.nodes)


def streamline(network: Network) -> Streamlined:
    """``network`` without the outputs that nothing reads; its results are the same.

    The input stays as it is.  Where a branch of an addition gives more than is needed of the
    sum, a :class:`.operations.Select` named ``branch 0 for <addition>`` comes between.
    """
    required = needed(network)
    nodes: list[Node] = []
    places: list[int] = []  # of each old node among the new ones
    kept: list[np.ndarray] = []  # the old channels that each old node's successor gives
    report = []

    def put(node: Node) -> int:
        nodes.append(node)
        return len(nodes) - 1

    for place, node in enumerate(network.nodes):
        operation, sources = node.operation, [places[s] for s in node.sources]
        held = [kept[s] for s in node.sources]
        wanted, total = np.flatnonzero(required[place]), network.kinds[place].channels
        match operation:
            case Input():
                wanted = np.arange(total)
            case Lookup() | Convolution() | Dense():
                operation = _prune(operation, held[0], wanted)
                report.append(Kept(node.name, len(wanted), total))
            case Add():
                for branch, channels in enumerate(held):
                    if not np.array_equal(channels, wanted):
                        name, select = f"branch {branch} for {node.name}", _select(channels, wanted)
                        sources[branch] = put(Node(name, select, (sources[branch],)))
            case Select():
                operation = _select(held[0], np.array(operation.channels)[wanted])
            case Concat():
                starts = np.cumsum([0, *(network.kinds[s].channels for s in node.sources)])
                wanted = np.concatenate([start + h for start, h in zip(starts, held, strict=False)])
            case MaxPool() | Flatten() | Patches():
                before = network.kinds[node.sources[0]].channels
                wanted = (np.arange(0, total, before)[:, None] + held[0]).ravel()
        kept.append(wanted)
        places.append(put(Node(node.name, operation, tuple(sources))))
    return Streamlined(Network(tuple(nodes)), tuple(report))


def _select(held: np.ndarray, wanted: np.ndarray) -> Select:
    """The ``wanted`` old channels of a source that gives the ``held`` ones."""
    return Select(tuple(np.searchsorted(held, wanted).tolist()))


def needed(network: Network) -> list[np.ndarray]:
    """bool [channels] of each node: whether a later node, or who reads the result, needs it.

    One channel of a node is always needed, so that there is a node.
    """
    required = [np.zeros(kind.channels, bool) for kind in network.kinds]
    required[-1][:] = True
    for place in range(len(network.nodes) - 1, 0, -1):
        node, wanted = network.nodes[place], required[place]
        wanted[0] |= not wanted.any()
        asked = _asks(node.operation, wanted, [len(required[s]) for s in node.sources])
        for source, channels in zip(node.sources, asked, strict=True):
            required[source] |= channels
    return required


def _asks(operation: Operation, wanted: np.ndarray, totals: Sequence[int]) -> Sequence[np.ndarray]:
    """What is needed of each source, bool [its total], for the ``wanted`` of the result."""
    match operation:
        case Lookup():
            return [np.isin(np.arange(totals[0]), operation.layer.encoder.dims)]
        case Convolution():
            return [np.isin(np.arange(totals[0]), operation.encoder.dims)]
        case Dense():
            return [np.asarray(operation.weights[:, wanted].any(axis=1))]
        case Add():
            return [wanted, wanted]
        case Concat():
            return np.split(wanted, np.cumsum(totals)[:-1])
        case Select():
            return [np.isin(np.arange(totals[0]), np.array(operation.channels)[wanted])]
        case MaxPool() | Flatten() | Patches():
            return [np.asarray(wanted.reshape(-1, totals[0]).any(axis=0))]
        case Input():
            return []


def _prune(operation: Weighted, held: np.ndarray, wanted: np.ndarray) -> Weighted:
    """Its ``wanted`` outputs alone, of a source that gives its old channels ``held`` alone."""
    match operation:
        case Lookup(layer):
            kept = layer.keep(wanted)
            return Lookup(replace(kept, encoder=_renumber(layer.encoder, held)))
        case Convolution():
            kept = operation.keep(wanted)
            return replace(kept, encoder=_renumber(operation.encoder, held))
        case Dense(weights):
            return replace(operation, weights=weights[held][:, wanted], bias=operation.bias[wanted])


def _renumber(encoder: Encoder, held: np.ndarray) -> Encoder:
    return replace(encoder, dims=np.searchsorted(held, encoder.dims))
