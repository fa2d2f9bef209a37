"""DNN graphs: operators in a default order, tensors with sizes, views of one another's bytes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx

LOAD = "load"
"""The kind of an operator that brings an input: it reads nothing, and what it writes lies off
chip as well."""


@dataclass(frozen=True)
class Tensor:
    """What one operator writes and others read."""

    name: str
    bytes: int
    """As it lies in the scratchpad; at least 1."""
    shape: tuple[int, ...] = ()
    """Empty where it is not known."""
    dtype: str = "int8"
    view: str | None = None
    """The tensor in whose bytes this one lies: a reshape's operand, the result of the
    concatenation that this is a part of, the operand that an operator overwrites."""
    offset: int = 0
    """Bytes from the start of :attr:`view`."""


@dataclass(frozen=True)
class Op:
    """An operator: atomic, with all that it reads and writes in the scratchpad at once."""

    name: str
    kind: str
    """What it computes, in lower case: ``load``, ``conv2d``, ``linear``, ``add`` …"""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    weight_bytes: int = 0
    """Of its parameters, which are nobody else's."""
    attributes: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What a cost model needs: sizes, strides, groups."""
    fused: tuple[str, ...] = ()
    """Kinds of the operators that were fused into it, in order."""


class Graph:
    """Operators and tensors; every tensor is written by one operator or is an input.

    The order of ``ops`` is the default schedule; where it is not a topological one, the operators
    are sorted, as near to it as may be.  Operators that touch the same bytes through views depend
    on each other as in that order.

    Raises :class:`ValueError`, with the names, for duplicate names, sizes that are not positive
    integers, tensors that nothing writes or two operators write, views that leave their tensor,
    and cycles.
    """

    def __init__(
        self,
        name: str,
        tensors: Iterable[Tensor],
        ops: Iterable[Op],
        inputs: Sequence[str] = (),
        outputs: Sequence[str] | None = None,
    ) -> None:
        """``inputs``: tensors that no operator writes and that lie off chip from the start, such
        as parameters that are shared (an input that a ``load`` writes is none of these).
        ``outputs``: what must be off chip at the end; None: all that no operator reads."""
        self.name = name
        self.tensors: dict[str, Tensor] = {}
        for tensor in tensors:
            if tensor.name in self.tensors:
                raise ValueError(f"{name}: two tensors are called {tensor.name!r}; rename one")
            self.tensors[tensor.name] = tensor
        self.inputs = tuple(inputs)
        found = tuple(ops)
        self._check_tensors()
        self._check_ops(found)
        self.ops = _sorted(name, found)
        if outputs is None:
            read = {t for op in self.ops for t in op.inputs}
            read |= {t.view for t in self.tensors.values() if t.view}
            outputs = [t for op in self.ops for t in op.outputs if t not in read]
        for output in outputs:
            if output not in self.tensors:
                raise ValueError(f"{name}: output {output!r} is no tensor of the graph")
        self.outputs = tuple(outputs)

    def _check_tensors(self) -> None:
        for t in self.tensors.values():
            if not isinstance(t.bytes, int) or t.bytes < 1:
                raise ValueError(
                    f"{self.name}: tensor {t.name!r} has {t.bytes!r} bytes; a size is a positive "
                    "integer: give the model fixed input shapes"
                )
            if t.view is None:
                continue
            if t.view not in self.tensors:
                raise ValueError(f"{self.name}: {t.name!r} is a view of {t.view!r}, which is none")
            most = self.tensors[t.view].bytes
            if t.offset < 0 or t.offset + t.bytes > most:
                raise ValueError(
                    f"{self.name}: {t.name!r} lies at bytes {t.offset} to {t.offset + t.bytes} of "
                    f"{t.view!r}, which has {most}"
                )
        for t in self.tensors.values():
            seen = {t.name}
            while t.view is not None:
                t = self.tensors[t.view]
                if t.name in seen:
                    raise ValueError(f"{self.name}: {t.name!r} is, through others, its own view")
                seen.add(t.name)

    def _check_ops(self, ops: Sequence[Op]) -> None:
        names: set[str] = set()
        writers: dict[str, str] = {}
        for op in ops:
            if op.name in names:
                raise ValueError(f"{self.name}: two operators are called {op.name!r}; rename one")
            names.add(op.name)
            if op.weight_bytes < 0:
                raise ValueError(f"{self.name}: {op.name!r} has {op.weight_bytes} weight bytes")
            for tensor in (*op.inputs, *op.outputs):
                if tensor not in self.tensors:
                    raise ValueError(
                        f"{self.name}: operator {op.name!r} uses {tensor!r}, whose size is unknown"
                    )
            for tensor in op.outputs:
                if tensor in writers:
                    raise ValueError(
                        f"{self.name}: {tensor!r} is written by {writers[tensor]!r} and by "
                        f"{op.name!r}; give each result a name"
                    )
                writers[tensor] = op.name
        for tensor in self.inputs:
            if tensor not in self.tensors or tensor in writers:
                raise ValueError(f"{self.name}: input {tensor!r} is no tensor that nothing writes")
        given = {*writers, *self.inputs}
        for op in ops:
            for tensor in op.inputs:
                if not self._written(tensor, given):
                    raise ValueError(
                        f"{self.name}: operator {op.name!r} reads {tensor!r}, which nothing "
                        "writes; make it an input or remove it"
                    )

    def _written(self, tensor: str, given: set[str]) -> bool:
        """Whether it is written, or lies in what is, or has a part that is."""
        root = self.tensors[tensor]
        while root.name not in given:
            if root.view is None:
                return any(self.root(other)[0] == root.name for other in given)
            root = self.tensors[root.view]
        return True

    def root(self, tensor: str) -> tuple[str, int]:
        """The tensor that owns the bytes of ``tensor``, and where in it these begin."""
        found, offset = self.tensors[tensor], 0
        while found.view is not None:
            offset += found.offset
            found = self.tensors[found.view]
        return found.name, offset

    @cached_property
    def predecessors(self) -> tuple[frozenset[int], ...]:
        """For each operator the places of those that must come before it.

        One must where both touch the same byte and at least one of them writes it; implied
        pairs may be missing.
        """
        touched: dict[str, list[tuple[int, int, int, bool]]] = {}
        before: list[set[int]] = [set() for _ in self.ops]
        for place, op in enumerate(self.ops):
            for tensors, writes in ((op.inputs, False), (op.outputs, True)):
                for tensor in tensors:
                    root, start = self.root(tensor)
                    stop = start + self.tensors[tensor].bytes
                    for other, begin, end, wrote in touched.get(root, ()):
                        if other < place and begin < stop and start < end and (writes or wrote):
                            before[place].add(other)
                    touched.setdefault(root, []).append((place, start, stop, writes))
        return tuple(map(frozenset, before))

    def network(self) -> nx.DiGraph:
        """Operators by name (attribute ``op``) and which must come before which."""
        found = nx.DiGraph(name=self.name)
        for op in self.ops:
            found.add_node(op.name, op=op)
        for place, before in enumerate(self.predecessors):
            found.add_edges_from((self.ops[i].name, self.ops[place].name) for i in before)
        return found

    def __repr__(self) -> str:
        return f"Graph({self.name!r}, {len(self.ops)} operators, {len(self.tensors)} tensors)"


def _sorted(name: str, ops: Sequence[Op]) -> tuple[Op, ...]:
    """In an order in which every tensor is written before it is read."""
    writer = {tensor: place for place, op in enumerate(ops) for tensor in op.outputs}
    edges = [
        (writer[tensor], place)
        for place, op in enumerate(ops)
        for tensor in op.inputs
        if tensor in writer
    ]
    if all(a < b for a, b in edges):
        return tuple(ops)
    network = nx.DiGraph()
    network.add_nodes_from(range(len(ops)))
    network.add_edges_from(edges)
    try:
        return tuple(ops[i] for i in nx.lexicographical_topological_sort(network))
    except nx.NetworkXUnfeasible:
        cycle = " -> ".join(ops[a].name for a, _ in nx.find_cycle(network))
        raise ValueError(
            f"{name}: the operators {cycle} -> … form a cycle; unroll it or cut it"
        ) from None
