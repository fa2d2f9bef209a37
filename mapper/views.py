"""Tensors that share bytes: reshapes, parts of a concatenation, results that overwrite operands.

A tensor lies in the scratchpad row by row (its last dimension first), whatever layout it had in
the network that it comes of.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from .graph import LOAD, Graph, Op
from .importers import kinds

IN_PLACE = (
    kinds.ACTIVATIONS
    | kinds.ARITHMETIC
    | {"batch_norm", "layer_norm", "softmax", "log_softmax", "identity", "masked_fill"}
)
"""Kinds that may write their result over an operand: element by element, or row by row."""


@dataclass(frozen=True)
class Views:
    """What shares bytes."""

    reshape: bool = True
    """A reshape's result is its operand."""
    in_place: bool = False
    """Results overwrite operands that nobody needs any more."""
    concatenate: bool = False
    """Parts are written where the concatenation needs them, and read where a split leaves them.
    The whole takes its room from its first part's write to its last part's read: this saves copies
    and may cost room."""

    def __call__(self, graph: Graph) -> Graph:
        """:func:`apply` with these."""
        return apply(graph, self.reshape, self.in_place, self.concatenate)


def apply(
    graph: Graph, reshape: bool = True, in_place: bool = False, concatenate: bool = False
) -> Graph:
    """``graph`` with tensors that are views of others; operators that then do nothing are gone,
    and their readers read the views.

    * Reshapes: always, except one that makes an output out of what lies off chip already.
    * Concatenations and splits: where all dimensions before that one are 1, so that the parts are
      contiguous.  A concatenation stays a copy where a part is an input, a ``load``'s result, an
      output, a view already (of another concatenation, say), or there twice; larger ones come
      first.  A split or slice stays where a part is an output or its steps are not 1.
    * In place: an operator of :data:`IN_PLACE` and its first operand of the same shape that no
      operator after it in the default order touches, that is no input, ``load``'s result or
      output.

    Operators whose attributes and shapes are not known, as in graphs of sizes alone, stay.
    """
    work = _Work(graph)
    if reshape:
        for op in graph.ops:
            if op.kind == "reshape":
                work.reshape(op)
    if concatenate:
        for op in graph.ops:
            if op.kind in ("split", "slice"):
                work.split(op)
        whole = [op for op in graph.ops if op.kind == "cat"]
        for op in sorted(whole, key=lambda op: -graph.tensors[op.outputs[0]].bytes):
            work.concatenate(op)
    if in_place:
        for place, op in enumerate(graph.ops):
            if op.kind in IN_PLACE:
                work.overwrite(place, op)
    return work.graph()


class _Work:
    def __init__(self, graph: Graph) -> None:
        self.source = graph
        self.tensors = dict(graph.tensors)
        self.gone: set[str] = set()
        """Operators that do nothing any more."""
        loaded = {t for op in graph.ops if op.kind == LOAD for t in op.outputs}
        self.outside = {*graph.inputs, *loaded}
        self.outputs = set(graph.outputs)
        self.family = {t.name: {t.name} for t in graph.tensors.values()}
        """Of every tensor that owns bytes, those that lie in them."""
        for t in graph.tensors.values():
            if t.view is not None:
                self.family[graph.root(t.name)[0]] |= self.family.pop(t.name)
        self.touches: dict[str, list[int]] = {t: [] for t in graph.tensors}
        """Places of the operators that read or write each."""
        for place, op in enumerate(graph.ops):
            for t in (*op.inputs, *op.outputs):
                self.touches[t].append(place)

    def graph(self) -> Graph:
        source = self.source
        ops = [op for op in source.ops if op.name not in self.gone]
        return Graph(source.name, self.tensors.values(), ops, source.inputs, source.outputs)

    def root(self, tensor: str) -> tuple[str, int]:
        """The tensor whose bytes they are, and where they begin."""
        offset = 0
        while (found := self.tensors[tensor]).view is not None:
            offset += found.offset
            tensor = found.view
        return tensor, offset

    def _view(self, tensor: str, of: str, offset: int = 0) -> None:
        self.tensors[tensor] = replace(self.tensors[tensor], view=of, offset=offset)
        self.family[self.root(of)[0]] |= self.family.pop(tensor)

    def _pure(self, op: Op) -> bool:
        """Whether it moves bytes and computes nothing."""
        return all(kind == "reshape" for kind in op.fused)

    def _delivered(self, parts: Sequence[str]) -> bool:
        """Whether an output lies in one of them: with it, all would be delivered."""
        return any(self.root(t)[0] in parts for t in self.outputs)

    def reshape(self, op: Op) -> None:
        result = op.outputs[0]
        if len(op.inputs) != 1 or not self._pure(op) or self.tensors[result].view:
            return
        if self.tensors[result].bytes != self.tensors[op.inputs[0]].bytes:
            return
        if result in self.outputs and self.root(op.inputs[0])[0] in self.outside | self.outputs:
            return
        self._view(result, op.inputs[0])
        self.gone.add(op.name)

    def split(self, op: Op) -> None:
        whole = self.tensors[op.inputs[0]] if op.inputs else None
        dim = op.attributes.get("dim")
        if whole is None or dim is None or not self._pure(op) or len(op.inputs) != 1:
            return
        if not whole.shape or prod(whole.shape[:dim]) != 1 or op.attributes.get("step", 1) != 1:
            return
        if self._delivered(op.outputs) or any(self.tensors[t].view for t in op.outputs):
            return
        starts = op.attributes.get("starts")
        if op.kind == "slice":
            starts = [op.attributes.get("start")]
        if starts is None or len(starts) != len(op.outputs) or None in starts:
            return
        step = whole.bytes // whole.shape[dim]
        for tensor, start in zip(op.outputs, starts, strict=True):
            self._view(tensor, whole.name, start * step)
        self.gone.add(op.name)

    def concatenate(self, op: Op) -> None:
        result, dim = self.tensors[op.outputs[0]], op.attributes.get("dim")
        if dim is None or not self._pure(op) or self._delivered(op.inputs):
            return
        parts = [self.tensors[t] for t in op.inputs]
        if not all(t.shape and prod(t.shape[:dim]) == 1 and not t.view for t in parts):
            return
        # Fewer bytes where a part is there twice or is a constant.
        if self.outside & set(op.inputs) or sum(t.bytes for t in parts) != result.bytes:
            return
        offset = 0
        for tensor in parts:
            self._view(tensor.name, result.name, offset)
            offset += tensor.bytes
        self.gone.add(op.name)

    def overwrite(self, place: int, op: Op) -> None:
        """The first operand that may be, by the result."""
        result = self.tensors[op.outputs[0]]
        if result.view or not result.shape or len(op.outputs) > 1 or op.name in self.gone:
            return
        if any(kind not in IN_PLACE | {"reshape"} for kind in op.fused):
            return
        for name in op.inputs:
            operand = self.tensors[name]
            root = self.root(name)[0]
            if operand.bytes != result.bytes or not operand.shape or root in self.outside:
                continue
            others = {
                t
                for t in self.family[root]
                if t in self.outputs
                or any(self._runs(p) and p > place for p in self.touches[t])
                or (t in op.inputs and t != name)
            }
            if any(self._overlap(name, t) for t in others):
                continue
            delivered = any(self.root(t)[0] == result.name for t in self.outputs)
            if delivered and self.tensors[root].bytes != result.bytes:
                continue
            self._view(result.name, name)
            return

    def _runs(self, place: int) -> bool:
        return self.source.ops[place].name not in self.gone

    def _overlap(self, one: str, other: str) -> bool:
        (a, start), (b, begin) = self.root(one), self.root(other)
        return (
            a == b
            and start < begin + self.tensors[other].bytes
            and begin < start + self.tensors[one].bytes
        )
