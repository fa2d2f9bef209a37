"""Networks of integer layers: what a pipeline of engines computes, bit for bit.

::

    Network((
        Node("pixels", Input((28, 28, 1))),
        Node("conv", Convolution(...), (0,)),
        Node("pool", MaxPool((2, 2), (2, 2)), (1,)),
        Node("flat", Flatten(), (2,)),
        Node("classes", Lookup(...), (3,)),
    ))

The operations are those of :mod:`.operations` and :mod:`.convolution`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .convolution import Convolution, MaxPool, Patches
from .operations import Add, Concat, Dense, Flatten, Input, Kind, Lookup, Select

Operation = (
    Input | Lookup | Convolution | Dense | Add | Concat | Select | Flatten | Patches | MaxPool
)


@dataclass(frozen=True, eq=False)
class Node:
    """An operation on what earlier nodes give."""

    name: str
    operation: Operation
    sources: tuple[int, ...] = ()
    """The nodes' places in :attr:`Network.nodes`, in the order of the operation's operands."""


@dataclass(frozen=True, eq=False)
class Network:
    """Nodes of which each reads earlier ones; the first is the input, the last the result.

    Raises :class:`ValueError`, naming the node, where one's sources do not fit, where one but
    the last is read by none, and where names are not unique.
    """

    nodes: tuple[Node, ...]
    kinds: tuple[Kind, ...] = field(init=False, repr=False)
    """What each node gives."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        kinds: list[Kind] = []
        for place, node in enumerate(self.nodes):
            if isinstance(node.operation, Input) != (place == 0):
                raise ValueError(f"node {node.name!r}: the first node, and no other, is an Input")
            if any(not 0 <= s < place for s in node.sources):
                raise ValueError(
                    f"node {node.name!r} is number {place} and reads {node.sources}; a node reads "
                    "nodes before it"
                )
            try:
                kinds.append(node.operation.result(*(kinds[s] for s in node.sources)))
            except TypeError as error:
                raise ValueError(
                    f"node {node.name!r}: {type(node.operation).__name__} does not have "
                    f"{len(node.sources)} sources"
                ) from error
            except ValueError as error:
                raise ValueError(f"node {node.name!r}: {error}") from error
        if not kinds:
            raise ValueError("a network has an Input at least")
        if len({node.name for node in self.nodes}) < len(self.nodes):
            raise ValueError("two nodes have the same name; name each differently")
        for place, readers in enumerate(self.consumers()[:-1]):
            if not readers:
                name = self.nodes[place].name
                raise ValueError(f"node {name!r} is not the last and read by none; leave it out")
        object.__setattr__(self, "kinds", tuple(kinds))

    @property
    def input(self) -> Kind:
        """What rows are."""
        return self.kinds[0]

    @property
    def output(self) -> Kind:
        """What comes of a row."""
        return self.kinds[-1]

    def consumers(self) -> list[list[int]]:
        """For each node, the places of those that read it."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for place, node in enumerate(self.nodes):
            for source in set(node.sources):
                readers[source].append(place)
        return readers

    def trace(self, rows: np.ndarray) -> list[np.ndarray]:
        """int64 [rows, *shape] of every node.

        Raises :class:`ValueError` where ``rows`` are not what the input takes.
        """
        values: list[np.ndarray] = [self._input(rows)]
        for node in self.nodes[1:]:
            values.append(in_blocks(node.operation, *(values[s] for s in node.sources)))
        return values

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """int64 [rows, *shape] of the last node; needs less memory than :meth:`trace`."""
        return in_blocks(lambda block: self.trace(block)[-1], self._input(rows))

    def _input(self, rows: np.ndarray) -> np.ndarray:
        first = self.nodes[0].operation
        assert isinstance(first, Input)
        return first(rows)


def in_blocks(
    compute: Callable[..., np.ndarray], *values: np.ndarray, block: int = 256
) -> np.ndarray:
    """``compute(*values)``, so many rows at a time: windows of images take much memory."""
    starts = range(0, max(len(values[0]), 1), block)
    return np.concatenate([compute(*(v[i : i + block] for v in values)) for i in starts])
