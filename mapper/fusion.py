"""Operators that run as one: what follows a convolution element by element, pads before it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .graph import LOAD, Graph, Op, Tensor
from .importers import kinds

IN_PLACE = (
    kinds.ACTIVATIONS
    | kinds.ARITHMETIC
    | {
        "batch_norm", "layer_norm", "rms_norm", "softmax", "log_softmax", "local_response_norm",
        "reshape",
    }
)  # fmt: skip
"""Of one operand besides parameters, as many bytes out as in, done to a result while it lies
there."""


@dataclass(frozen=True)
class Rules:
    """What is fused."""

    bases: frozenset[str] | None = None
    """Kinds that others are fused into; None: every one but ``load``, ``reshape`` and what has
    several results."""
    followers: frozenset[str] = IN_PLACE
    """Kinds that are fused into the operator whose result they read: of one operand besides
    parameters, with a result of as many bytes."""
    residual: bool = False
    """Also sums of a result and another tensor."""
    pads: bool = True
    """Zeros around an image are fused into the convolution that reads it."""
    reads: frozenset[str] = frozenset()
    """Kinds that are fused into all that read their results, however many, which read the whole
    operand in their place: what only picks and orders elements."""


DEFAULT = Rules()
"""Whatever can be done in place to a result."""
COMPUTE = Rules(
    kinds.CONVOLUTIONS | kinds.TRANSPOSED | kinds.PRODUCTS,
    kinds.ACTIVATIONS | {"batch_norm", "add", "mul"},
)
"""Into convolutions and products alone: batch norm, bias, scale and activation."""
STRIDED = Rules(
    followers=IN_PLACE | {"transpose"}, reads=frozenset({"transpose", "slice", "split", "expand"})
)
"""Operators write and read in any order: no transpose or slice is one of its own."""
NONE = Rules(frozenset(), frozenset(), pads=False)
Accept = Callable[[Op, Op], bool]
"""Whether an operator, the first, may become the second by a fusion."""


def fuse(graph: Graph, rules: Rules = DEFAULT, accept: Accept | None = None) -> Graph:
    """``graph`` with operators fused as ``rules`` say, where nobody else reads what lies between
    and it is no output; those that ``accept`` refuses are left.

    The operator keeps its name and attributes, and has the kinds of what was fused into it in
    ``Op.fused``, in the order in which they run (what comes before it first: a pad, whose sizes are
    added to ``padding``, and ``reads``); weight bytes and ``macs`` are added.  What lay between is
    gone; the result keeps the name that it had.
    """
    work = _Work(graph, accept or (lambda base, merged: True))
    for op in graph.ops:
        if rules.pads and op.kind == "pad":
            work.pad(op)
    for op in graph.ops:
        if op.kind in rules.followers or (rules.residual and op.kind == "add"):
            work.follow(op, rules)
    for op in graph.ops:
        if op.name in work.ops and op.kind in rules.reads:
            work.read(work.ops[op.name], rules)
    return work.graph()


class _Work:
    def __init__(self, graph: Graph, accept: Accept) -> None:
        self.source = graph
        self.accept = accept
        self.ops: dict[str, Op] = {op.name: op for op in graph.ops}
        """In the default order; what is fused is gone."""
        self.place = {op.name: place for place, op in enumerate(graph.ops)}
        self.writer = {t: op.name for op in graph.ops for t in op.outputs}
        self.readers: dict[str, list[str]] = {t: [] for t in graph.tensors}
        for op in graph.ops:
            for tensor in dict.fromkeys(op.inputs):
                self.readers[tensor].append(op.name)
        views = {t.name for t in graph.tensors.values() if t.view}
        self.kept = views | {t.view for t in graph.tensors.values() if t.view}
        self.kept |= {*graph.outputs, *graph.inputs}
        """Tensors that must stay."""

    def _between(self, tensor: str) -> bool:
        """Whether only one operator reads it and it may go."""
        return len(self.readers[tensor]) == 1 and tensor not in self.kept

    def pad(self, op: Op) -> None:
        """Into the convolution that reads it."""
        result = op.outputs[0]
        sides = op.attributes.get("padding")
        if not self._between(result) or sides is None or len(op.inputs) != 1:
            return
        reader = self.ops[self.readers[result][0]]
        held = reader.attributes.get("padding")
        if reader.kind not in kinds.CONVOLUTIONS or reader.inputs[0] != result or held is None:
            return
        count = len(reader.attributes["kernel"])
        plain = op.attributes.get("mode") == "constant" and not op.attributes.get("value")
        if not plain or any(a or b for a, b in sides[:-count]):
            return
        if any(a < 0 or b < 0 for a, b in sides):
            return
        before, after = held[:count], held[count:] or held[:count]
        before = [a + b for a, (b, _) in zip(before, sides[-count:], strict=True)]
        after = [a + b for a, (_, b) in zip(after, sides[-count:], strict=True)]
        padding = before if before == after else before + after
        merged = replace(
            reader,
            inputs=tuple(op.inputs[0] if t == result else t for t in reader.inputs),
            attributes={**reader.attributes, "padding": padding},
            fused=(*op.fused, "pad", *reader.fused),
        )
        if self.accept(reader, merged):
            self._replace(op, reader, merged, reader.name)

    def follow(self, op: Op, rules: Rules) -> None:
        """Into the operator that writes what it reads."""
        operands = [t for t in dict.fromkeys(op.inputs) if t not in self.source.inputs]
        if len(op.outputs) != 1:
            return
        if len(operands) == 1:
            allowed = op.kind in rules.followers
        else:
            allowed = rules.residual and op.kind == "add" and len(operands) == 2
        # Of two operands the one that is written later.
        operands.sort(key=lambda t: self.place[self.writer[t]] if t in self.writer else -1)
        for tensor in reversed(operands) if allowed else ():
            if self._fits(tensor, op, rules):
                base = self.ops[self.writer[tensor]]
                merged = replace(
                    base,
                    inputs=tuple(
                        dict.fromkeys((*base.inputs, *(t for t in op.inputs if t != tensor)))
                    ),
                    outputs=op.outputs,
                    weight_bytes=base.weight_bytes + op.weight_bytes,
                    attributes=_added(base.attributes, op.attributes),
                    fused=(*base.fused, op.kind, *op.fused),
                )
                if not self.accept(base, merged):
                    continue
                others = [t for t in operands if t != tensor and t in self.writer]
                late = any(self.place[self.writer[t]] > self.place[base.name] for t in others)
                self._replace(base, op, merged, op.name if late else base.name)
                return

    def read(self, op: Op, rules: Rules) -> None:
        """Into all that read its results."""
        moves = rules.reads | {"reshape"}
        if any(t in self.kept or not self.readers[t] for t in op.outputs):
            return
        if len(op.inputs) != 1 or op.weight_bytes or any(k not in moves for k in op.fused):
            return
        names = dict.fromkeys(name for t in op.outputs for name in self.readers[t])
        merged = [
            replace(
                reader,
                inputs=tuple(
                    dict.fromkeys(op.inputs[0] if t in op.outputs else t for t in reader.inputs)
                ),
                fused=(op.kind, *op.fused, *reader.fused),
            )
            for reader in (self.ops[name] for name in names)
        ]
        if not all(self.accept(self.ops[new.name], new) for new in merged):
            return
        self.readers[op.inputs[0]].remove(op.name)
        del self.ops[op.name]
        for new in merged:
            self.ops[new.name] = new
            if new.name not in self.readers[op.inputs[0]]:
                self.readers[op.inputs[0]].append(new.name)

    def _fits(self, tensor: str, op: Op, rules: Rules) -> bool:
        if tensor not in self.writer or not self._between(tensor):
            return False
        base = self.ops[self.writer[tensor]]
        tensors = self.source.tensors
        if len(base.outputs) > 1 or tensors[tensor].bytes != tensors[op.outputs[0]].bytes:
            return False
        if rules.bases is None:
            return base.kind not in (LOAD, "reshape")
        return base.kind in rules.bases

    def _replace(self, first: Op, second: Op, merged: Op, place: str) -> None:
        """``first`` and ``second``, which reads it, by ``merged`` in the place of one of them."""
        for op in (first, second):
            for tensor in dict.fromkeys(op.inputs):
                self.readers[tensor].remove(op.name)
            del self.ops[op.name]
        self.ops[merged.name] = merged
        self.place[merged.name] = self.place[place]
        for tensor in merged.inputs:
            self.readers[tensor].append(merged.name)
        for tensor in merged.outputs:
            self.writer[tensor] = merged.name

    def graph(self) -> Graph:
        ops = sorted(self.ops.values(), key=lambda op: self.place[op.name])
        used = {t for op in ops for t in (*op.inputs, *op.outputs)} | self.kept
        tensors: list[Tensor] = [t for t in self.source.tensors.values() if t.name in used]
        return Graph(self.source.name, tensors, ops, self.source.inputs, self.source.outputs)


def _added(base: Mapping[str, object], follower: Mapping[str, object]) -> dict[str, object]:
    found = dict(base)
    macs = follower.get("macs")
    if isinstance(macs, int) and macs:
        held = found.get("macs")
        found["macs"] = macs + (held if isinstance(held, int) else 0)
    return found
