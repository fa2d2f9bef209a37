"""Which operator wrote what lies where: ranges of bytes, and what a graph's default order finds."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from .graph import Graph

OUTSIDE = "off chip"
"""The version of what no operator of the graph wrote."""

T = TypeVar("T")


class Ranges(Generic[T]):
    """Values of ranges of integers."""

    def __init__(self, *pieces: tuple[int, int, T]) -> None:
        """``pieces``: first, last + 1 and value of ranges that do not overlap, in order."""
        self.pieces = list(pieces)

    def __setitem__(self, key: slice, value: T) -> None:
        self._cut(key.start)
        self._cut(key.stop)
        self.pieces[self._place(key.start) : self._place(key.stop)] = [(key.start, key.stop, value)]

    def __getitem__(self, key: slice) -> Iterator[tuple[int, int, T | None]]:
        """The pieces of a range, with None for what has no value; neighbours differ."""
        at, same = key.start, key.start
        value: T | None = None
        for start, stop, other in self._within(key):
            if start > at and value is not None:
                yield same, at, value
                same, value = at, None
            if other != value:
                if start > same:
                    yield same, start, value
                same, value = start, other
            at = stop
        if at < key.stop and value is not None:
            yield same, at, value
            same, value = at, None
        if key.stop > same:
            yield same, key.stop, value

    def _within(self, key: slice) -> Iterator[tuple[int, int, T]]:
        for place in range(max(self._place(key.start) - 1, 0), len(self.pieces)):
            start, stop, value = self.pieces[place]
            if start >= key.stop:
                return
            if stop > key.start:
                yield max(start, key.start), min(stop, key.stop), value

    def _place(self, at: int) -> int:
        """Of the first piece that begins there or later."""
        return bisect_right(self.pieces, at - 1, key=lambda piece: piece[0])

    def _cut(self, at: int) -> None:
        place = self._place(at) - 1
        if place >= 0:
            start, stop, value = self.pieces[place]
            if start < at < stop:
                self.pieces[place : place + 1] = [(start, at, value), (at, stop, value)]

    def holds(self, wanted: "Ranges[T]") -> bool:
        """Whether it has all that ``wanted`` has, and the same."""
        return all(
            value == there
            for start, stop, value in wanted.pieces
            for _, _, there in self[start:stop]
        )


Content = dict[str, Ranges[str]]
"""Of buffers: versions, that is operators, of their bytes."""
Part = tuple[str, int, int, str]
"""A buffer, the first and the last + 1 of its bytes, and their version."""


def started(graph: Graph) -> Content:
    """Of every tensor that is no view, before anything runs."""
    return {
        t.name: Ranges((0, t.bytes, OUTSIDE)) if t.name in graph.inputs else Ranges()
        for t in graph.tensors.values()
        if t.view is None
    }


def spans(graph: Graph, tensors: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    """Their buffers, first and last + 1 bytes."""
    for tensor in tensors:
        root, start = graph.root(tensor)
        yield root, start, start + graph.tensors[tensor].bytes


def parts(graph: Graph, tensors: Iterable[str], content: Content) -> list[Part]:
    """All of these tensors that has been written."""
    return [
        (root, first, last, version)
        for root, start, stop in spans(graph, tensors)
        for first, last, version in content[root][start:stop]
        if version is not None
    ]


class DefaultOrder:
    """What operators find in the default order."""

    def __init__(self, graph: Graph) -> None:
        self.reads: dict[str, list[Part]] = {}
        """By operator: what it reads."""
        self.over: dict[str, list[Part]] = {}
        """By operator: what it writes over."""
        self.last = started(graph)
        """What there is at the end."""
        for op in graph.ops:
            self.reads[op.name] = parts(graph, op.inputs, self.last)
            self.over[op.name] = parts(graph, op.outputs, self.last)
            for root, start, stop in spans(graph, op.outputs):
                self.last[root][start:stop] = op.name
