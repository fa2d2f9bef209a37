"""From what an importer finds in a file or a trace to a graph: what is constant, what is shared."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from ..graph import LOAD, Graph, Op, Tensor

LAYOUT = frozenset({"reshape", "transpose", "identity"})
"""Kinds that leave a parameter what it is."""
RANDOM = frozenset(
    {
        "rand", "randn", "randint", "bernoulli", "rand_like", "randn_like", "multinomial",
        "randomnormal", "randomuniform", "randomnormallike", "randomuniformlike",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A tensor in a trace."""

    shape: tuple[int, ...]
    dtype: str
    bits: int
    """Of an element, in its own type."""

    @property
    def size(self) -> int:
        """Elements."""
        return prod(self.shape)

    def bytes(self, element: int | None) -> int:
        """With elements of so many bytes, or None: of its own type."""
        return -(-self.size * self.bits // 8) if element is None else self.size * element


@dataclass(frozen=True)
class Node:
    """An operator in a trace."""

    name: str
    kind: str
    operands: tuple[str, ...]
    """Values that it reads; one may be there twice."""
    results: tuple[str, ...]
    """Values that it gives, if any is read."""
    attributes: Callable[["Trace"], dict[str, Any]] = field(default=lambda trace: {})
    """Made when it is known what is constant.  ``starts`` by result become a list, of those
    results that are read."""
    settings: frozenset[str] = frozenset()
    """Operands that say what to do, such as a shape: constants among them are no parameters."""


@dataclass
class Trace:
    """A network as an importer finds it, in an order in which values are written before they are
    read."""

    name: str
    values: dict[str, Value]
    nodes: list[Node]
    inputs: list[str]
    outputs: list[str]
    constants: set[str]
    """Parameters, buffers, literal tensors; :func:`assemble` adds what is computed of these
    alone."""
    same: dict[str, str] = field(default_factory=dict)
    """Constants that are others in another layout."""
    copies: dict[str, str] = field(default_factory=dict)
    """Copies of inputs and constants that :func:`assemble` adds, so that they can be outputs."""

    def root(self, value: str) -> str:
        """The constant that ``value`` is, perhaps in another layout."""
        while value in self.same:
            value = self.same[value]
        return value


def starts(trace: Trace, node: Node, dim: int) -> dict[str, int]:
    """Where along ``dim`` of its operand each result of a split begins."""
    found: dict[str, int] = {}
    place, rank = 0, len(trace.values[node.operands[0]].shape)
    for result in node.results:
        found[result] = place
        shape = trace.values[result].shape
        place += shape[dim] if len(shape) == rank else 1
    return found


def element_dtype(element_bytes: int | None, own: str) -> str:
    """What a tensor's elements are said to be: integers of so many bytes, or their own type."""
    return own if element_bytes is None else f"int{8 * element_bytes}"


def assemble(trace: Trace, element_bytes: int | None) -> Graph:
    """The graph of a trace.

    Inputs that are read get a ``load`` each; identities are left out, also operators without use.
    What is computed of constants alone counts as a parameter of the operator that reads it; where
    several read it and it has more than one element, it is a tensor in ``Graph.inputs`` of its
    own.  ``element_bytes``: of every element; None: its own type's.
    """
    if element_bytes is not None and element_bytes < 1:
        raise ValueError(f"element_bytes is {element_bytes}; give 1 or more, or None")
    nodes = _recognise(_alive(_fold(trace), trace.outputs), trace)
    _single_names(nodes, trace)
    readers = Counter(
        c
        for node in nodes
        for c in {trace.root(v) for v in node.operands if v not in node.settings}
        if c in trace.constants
    )
    shared = {c for c, count in readers.items() if count > 1 and trace.values[c].size > 1}
    tensors: dict[str, Tensor] = {}

    def tensor(name: str) -> str:
        value = trace.values[name]
        if not value.size:
            raise ValueError(
                f"{trace.name}: tensor {name!r} has shape {list(value.shape)}, no elements; take "
                "inputs of another shape"
            )
        tensors.setdefault(
            name,
            Tensor(
                name, value.bytes(element_bytes), value.shape,
                element_dtype(element_bytes, value.dtype),
            ),
        )  # fmt: skip
        return name

    read = {v for node in nodes for v in node.operands}
    taken = {node.name for node in nodes}
    ops = [
        Op(_free(f"load_{name}", taken), LOAD, (), (tensor(name),))
        for name in trace.inputs
        if name in read
    ]
    for node in nodes:
        operands = [
            trace.root(v) if v in trace.constants else v
            for v in dict.fromkeys(node.operands)
            if v not in node.settings or v not in trace.constants
        ]
        operands = list(dict.fromkeys(operands))
        own = [v for v in operands if v in trace.constants and v not in shared]
        attributes = node.attributes(trace)
        if "starts" in attributes:
            attributes["starts"] = [attributes["starts"][v] for v in node.results]
        ops.append(
            Op(
                node.name,
                node.kind,
                tuple(tensor(v) for v in operands if v not in own),
                tuple(tensor(v) for v in node.results),
                sum(trace.values[v].bytes(element_bytes) for v in own),
                attributes,
            )
        )
    if not ops:
        raise ValueError(f"{trace.name}: nothing is computed of any input")
    inputs = [v for v in tensors if v in shared]
    outputs = dict.fromkeys(trace.outputs)
    return Graph(trace.name, tensors.values(), ops, inputs, tuple(outputs))


def _fold(trace: Trace) -> list[Node]:
    """Without identities and what is constant; names of values are made to follow.

    An output that would be an input or a constant keeps an ``identity`` that copies it.
    """
    alias: dict[str, str] = {}
    kept: list[Node] = []
    for node in trace.nodes:
        operands = tuple(alias.get(v, v) for v in node.operands)
        if all(v in trace.constants for v in operands) and node.kind not in RANDOM:
            trace.constants.update(node.results)
            if node.kind in LAYOUT and operands and len(node.results) == 1:
                result, operand = node.results[0], operands[0]
                if trace.values[result].size == trace.values[operand].size:
                    trace.same[result] = operand
        elif node.kind == "identity":
            alias[node.results[0]] = operands[0]
        else:
            settings = frozenset(alias.get(v, v) for v in node.settings)
            kept.append(replace(node, operands=operands, settings=settings))
    outside = {*trace.inputs, *trace.constants}
    for place, output in enumerate(trace.outputs):
        found = alias.get(output, output)
        if found in outside:
            copy = _free(f"{output}_copy", trace.values)
            trace.values[copy] = trace.values[found]
            trace.copies[copy] = found
            kept.append(Node(copy, "identity", (found,), (copy,)))
            found = copy
        trace.outputs[place] = found
    return kept


def _alive(nodes: Sequence[Node], outputs: Iterable[str]) -> list[Node]:
    """Those that outputs depend on, with those results only that somebody reads."""
    needed = set(outputs)
    found: list[Node] = []
    for node in reversed(nodes):
        results = tuple(r for r in node.results if r in needed)
        if results:
            needed.update(node.operands)
            found.append(replace(node, results=results))
    return found[::-1]


def _recognise(nodes: Sequence[Node], trace: Trace) -> list[Node]:
    """A product with itself is ``pow``; one with its own ``sigmoid``, which nobody else reads,
    ``silu``."""
    gates = {node.results[0]: node for node in nodes if node.kind == "sigmoid"}
    readers = Counter(v for node in nodes for v in set(node.operands))
    readers.update(trace.outputs)
    found: list[Node] = []
    gone: set[str] = set()
    for node in nodes:
        if node.kind == "mul" and len(node.operands) == 2:
            one, other = node.operands
            if one == other:
                node = replace(node, kind="pow", attributes=lambda _: {"macs": 0, "exponent": 2})
            for value, gate in ((one, other), (other, one)):
                if gate in gates and gates[gate].operands == (value,) and readers[gate] == 1:
                    gone.add(gate)
                    node = replace(node, kind="silu", operands=(value,))
        found.append(node)
    return [node for node in found if node.results[0] not in gone]


def _single_names(nodes: list[Node], trace: Trace) -> None:
    names: set[str] = set()
    for place, node in enumerate(nodes):
        name = _free(node.name, names)
        names.add(name)
        if name != node.name:
            nodes[place] = replace(node, name=name)


def _free(name: str, taken: Iterable[str] | Mapping[str, Any]) -> str:
    """``name`` or, where that is taken, one like it."""
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    return found
