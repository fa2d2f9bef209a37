"""What the mapper knows of an engine: which operators it runs, in how many cycles."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

from ..graph import Graph, Op


@dataclass(frozen=True)
class Cost:
    """What an operator takes on an engine."""

    cycles: int
    """Of the engine's closed form, nothing stalled."""
    macs: int
    weight_bytes: int
    """That are loaded for it."""
    read_bytes: int
    """Of its operands."""
    written_bytes: int
    note: str = ""
    """How the engine runs it."""

    @property
    def bytes(self) -> int:
        """All that is moved."""
        return self.weight_bytes + self.read_bytes + self.written_bytes


class Target(Protocol):
    """An engine in one configuration, or the host."""

    @property
    def name(self) -> str:
        """As reports call it."""
        ...

    def supports(self, graph: Graph, op: Op) -> str | None:
        """None where it runs ``op`` with all that is fused into it, otherwise the reason why it
        does not, as a sentence for people."""
        ...

    def cost(self, graph: Graph, op: Op) -> Cost:
        """What it takes; raises :class:`ValueError` where it is not supported."""
        ...


@dataclass(frozen=True)
class Product:
    """A convolution of square windows, or a linear layer: one of one pixel."""

    batch: int
    channels: int
    height: int
    width: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0

    @property
    def pixels(self) -> int:
        """Windows of an image."""
        return prod(
            (n + 2 * self.padding - self.kernel) // self.stride + 1
            for n in (self.height, self.width)
        )

    @property
    def rows(self) -> int:
        """Windows of all images."""
        return self.batch * self.pixels

    @property
    def inputs(self) -> int:
        """Values of a window."""
        return self.channels * self.kernel**2

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.rows * self.inputs * self.outputs


def product(graph: Graph, op: Op) -> Product | str:
    """The product that ``op`` is, or why it is none that engines know."""
    shape = graph.tensors[op.inputs[0]].shape if op.inputs else ()
    a = op.attributes
    if op.kind == "linear" and "in_features" in a:
        rows = int(a.get("rows", prod(shape[:-1])))
        return Product(rows, int(a["in_features"]), 1, 1, int(a["out_features"]))
    if op.kind != "conv2d":
        return f"{op.kind} is no convolution of images and no linear layer"
    if len(shape) != 4 or "kernel" not in a:
        return "its shape is not known"
    kernel, stride = _square(a["kernel"]), _square(a.get("stride", (1, 1)))
    padding, dilation = _square(a.get("padding", (0, 0))), _square(a.get("dilation", (1, 1)))
    if None in (kernel, stride, padding, dilation):
        return f"its windows are not square: kernel {a['kernel']}, padding {a.get('padding')}"
    assert kernel is not None
    assert stride is not None
    assert padding is not None
    if dilation != 1 or int(a.get("groups", 1)) != 1:
        return f"groups {a.get('groups', 1)}, dilation {dilation}: only 1 and 1 are built"
    batch, channels, height, width = shape
    return Product(batch, channels, height, width, int(a["out_channels"]), kernel, stride, padding)


def unfused(op: Op, known: Sequence[str]) -> str | None:
    """Why ``op`` is refused for what is fused into it."""
    for kind in op.fused:
        if kind not in known:
            also = f"; it also does {', '.join(known)}" if known else ""
            return f"{kind} is fused into it, which the engine does not do{also}"
    return None


def moved(graph: Graph, op: Op) -> tuple[int, int]:
    """Bytes that it reads and writes."""
    read = sum(graph.tensors[t].bytes for t in dict.fromkeys(op.inputs))
    return read, sum(graph.tensors[t].bytes for t in op.outputs)


def costed(graph: Graph, op: Op, cycles: int, macs: int, note: str) -> Cost:
    """With the bytes of the graph."""
    read, written = moved(graph, op)
    return Cost(cycles, macs, op.weight_bytes, read, written, note)


def refused(target: Target, graph: Graph, op: Op) -> ValueError:
    """What :meth:`Target.cost` raises."""
    return ValueError(f"{target.name} does not run {op.name!r}: {target.supports(graph, op)}")


def _square(values: Any) -> int | None:
    found = {int(v) for v in (values if isinstance(values, list | tuple) else [values])}
    return found.pop() if len(found) == 1 else None
