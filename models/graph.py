"""Networks as graphs: nodes with operations, each on what earlier nodes give."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import numpy as np

O = TypeVar("O")
K = TypeVar("K")


@dataclass(frozen=True, eq=False)
class Node(Generic[O]):
    """An operation on what earlier nodes give."""

    name: str
    operation: O
    """Has ``result(*kinds)``, the kind of what comes of sources of these kinds, which raises
    :class:`ValueError` where they do not fit, and computes: ``operation(*values)``, rows first."""
    sources: tuple[int, ...] = ()
    """The nodes' places in :attr:`Graph.nodes`, in the order of the operation's operands."""


@dataclass(frozen=True, eq=False)
class Graph(Generic[O, K]):
    """Nodes of which each reads earlier ones; the first is the input, the last the result.

    Raises :class:`ValueError`, naming the node, where one's sources do not fit, where one but
    the last is read by none, and where names are not unique.
    """

    nodes: tuple[Node[O], ...]
    kinds: tuple[K, ...] = field(init=False, repr=False)
    """What each node gives."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        kinds: list[K] = []
        for place, node in enumerate(self.nodes):
            if place and not node.sources:
                raise ValueError(
                    f"node {node.name!r} reads none; the first node, and no other, is an Input"
                )
            if any(not 0 <= s < place for s in node.sources):
                raise ValueError(
                    f"node {node.name!r} is number {place} and reads {node.sources}; a node reads "
                    "nodes before it"
                )
            try:
                kinds.append(cast(Any, node.operation).result(*(kinds[s] for s in node.sources)))
            except TypeError as error:
                if place == 0:
                    raise ValueError(
                        f"node {node.name!r}: the first node, and no other, is an Input"
                    ) from error
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
    def input(self) -> K:
        """What rows are."""
        return self.kinds[0]

    @property
    def output(self) -> K:
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
        """Integers [rows, ...] of every node.

        Raises :class:`ValueError` where ``rows`` are not what the input takes.
        """
        values: list[np.ndarray] = [cast(Any, self.nodes[0].operation)(rows)]
        for node in self.nodes[1:]:
            operation = cast("Callable[..., np.ndarray]", node.operation)
            values.append(in_blocks(operation, *(values[s] for s in node.sources)))
        return values

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Integers [rows, ...] of the last node; needs less memory than :meth:`trace`."""
        first = cast(Any, self.nodes[0].operation)(rows)
        return in_blocks(lambda block: self.trace(block)[-1], first)


def in_blocks(
    compute: Callable[..., np.ndarray], *values: np.ndarray, block: int = 256
) -> np.ndarray:
    """``compute(*values)``, so many rows at a time: windows of images take much memory."""
    starts = range(0, max(len(values[0]), 1), block)
    return np.concatenate([compute(*(v[i : i + block] for v in values)) for i in starts])
