"""Graphs of networks that were found by search: stacks of cells, randomly wired ones.

Their orders are many, and differ much in what they transfer.  Activations take a byte a value;
normalisation and activation functions are fused into what precedes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

from .graph import LOAD, Graph, Op, Tensor

Pair = tuple[tuple[str, int], tuple[str, int]]
"""Two operations and the state that each is applied to; their sum is a new state."""


@dataclass(frozen=True)
class Genotype:
    """What a search found.  States 0 and 1 are the results of the cell before last and of the last
    one, each brought to the cell's channels; each pair gives the next.

    Operations: ``sep`` (separable convolution, twice), ``dil`` (dilated, once), ``conv`` (1 x k,
    then k x 1), each with its kernel behind; ``avg``, ``max`` (pooling over 3 x 3), ``skip``.
    """

    normal: tuple[Pair, ...]
    normal_result: tuple[int, ...]
    """The states whose concatenation is the cell's result."""
    reduce: tuple[Pair, ...]
    reduce_result: tuple[int, ...]


GENOTYPES = {
    # Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", 2018
    "nasnet_a": Genotype(
        (
            (("sep5", 1), ("sep3", 0)), (("sep5", 0), ("sep3", 0)), (("avg", 1), ("skip", 0)),
            (("avg", 0), ("avg", 0)), (("sep3", 1), ("skip", 1)),
        ),
        (2, 3, 4, 5, 6),
        (
            (("sep5", 1), ("sep7", 0)), (("max", 1), ("sep7", 0)), (("avg", 1), ("sep5", 0)),
            (("skip", 3), ("avg", 2)), (("sep3", 2), ("max", 1)),
        ),
        (4, 5, 6),
    ),
    # Real et al., "Regularized Evolution for Image Classifier Architecture Search", 2019
    "amoebanet_a": Genotype(
        (
            (("avg", 0), ("max", 1)), (("sep3", 0), ("sep5", 2)), (("sep3", 0), ("avg", 3)),
            (("sep3", 1), ("skip", 1)), (("skip", 0), ("avg", 1)),
        ),
        (4, 5, 6),
        (
            (("avg", 0), ("sep3", 1)), (("max", 0), ("sep7", 2)), (("sep7", 0), ("avg", 1)),
            (("max", 0), ("max", 1)), (("conv7", 0), ("sep3", 5)),
        ),
        (3, 4, 6),
    ),
    # Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", 2019, second order
    "darts_v2": Genotype(
        (
            (("sep3", 0), ("sep3", 1)), (("sep3", 0), ("sep3", 1)), (("sep3", 1), ("skip", 0)),
            (("skip", 0), ("dil3", 2)),
        ),
        (2, 3, 4, 5),
        (
            (("max", 0), ("max", 1)), (("skip", 2), ("max", 1)), (("max", 0), ("skip", 2)),
            (("skip", 2), ("max", 1)),
        ),
        (2, 3, 4, 5),
    ),
}  # fmt: skip


def cells(
    genotype: str | Genotype,
    count: int,
    channels: int = 32,
    side: int = 32,
    reductions: Sequence[int] | None = None,
) -> Graph:
    """A convolution of an image of ``side`` x ``side`` and ``count`` cells on it.

    Cells in ``reductions`` (None: a third and two thirds of the way) halve the sides and double
    the ``channels``.  Raises :class:`ValueError` for an unknown genotype, no cells, and sides that
    cannot be halved so often.
    """
    if isinstance(genotype, str) and genotype not in GENOTYPES:
        raise ValueError(f"{genotype!r} is no genotype; take one of {', '.join(GENOTYPES)}")
    name = genotype if isinstance(genotype, str) else "cells"
    found = GENOTYPES[genotype] if isinstance(genotype, str) else genotype
    if count < 1:
        raise ValueError(f"{count} cells; take 1 or more")
    halved = {count // 3, 2 * count // 3} - {0} if reductions is None else {*reductions}
    halved = {i for i in halved if 0 <= i < count}
    if side < 1 or side % (1 << len(halved)):
        raise ValueError(
            f"a side of {side} cannot be halved {len(halved)} times; take a multiple of "
            f"{1 << len(halved)}, or fewer reductions"
        )
    build = _Builder()
    image = build.op("x", LOAD, (), 3, side)
    before = last = build.op("stem", "conv2d", (image,), channels, side, 27 * channels)
    for i in range(count):
        stride = 2 if i in halved else 1
        channels *= stride
        result = build.cell(f"cell{i}", found, (before, last), channels, stride)
        before, last = last, result
    return Graph(f"{name}_{count}", build.tensors, build.ops)


def random_wired(
    nodes: int,
    neighbours: int = 4,
    rewired: float = 0.75,
    channels: int = 78,
    side: int = 28,
    seed: int = 0,
) -> Graph:
    """A stage of a randomly wired network (Xie et al., "Exploring Randomly Wired Neural Networks
    for Image Recognition", 2019): a connected graph of Watts and Strogatz with edges from lower to
    higher nodes.

    A node is one operator: it sums what it reads and convolves.  Those that read no other read the
    image's convolution; a last operator takes the mean of those that no other reads.  Raises
    :class:`ValueError` unless ``2 <= neighbours < nodes``.
    """
    if not 2 <= neighbours < nodes:
        raise ValueError(f"{neighbours} neighbours; take 2 to {nodes - 1} for {nodes} nodes")
    wires = nx.connected_watts_strogatz_graph(nodes, neighbours, rewired, seed=seed)
    build = _Builder()
    image = build.op("x", LOAD, (), 3, side)
    first = build.op("stem", "conv2d", (image,), channels, side, 27 * channels)
    made: list[str] = []
    for node in range(nodes):
        read = tuple(made[other] for other in sorted(wires[node]) if other < node) or (first,)
        made.append(
            build.op(f"node{node}", "conv2d", read, channels, side, channels * (channels + 9))
        )
    ends = tuple(made[n] for n in range(nodes) if all(other < n for other in wires[n]))
    build.op("mean", "mean", ends, channels, side)
    return Graph(f"random_wired_{nodes}", build.tensors, build.ops)


class _Builder:
    """Operators with one result each, that bears their name."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.shapes: dict[str, tuple[int, int]] = {}
        """Channels and side of each result."""

    def op(
        self, name: str, kind: str, read: Sequence[str], channels: int, side: int, weights: int = 0
    ) -> str:
        self.tensors.append(Tensor(name, channels * side * side, (1, channels, side, side)))
        self.ops.append(Op(name, kind, tuple(dict.fromkeys(read)), (name,), weights))
        self.shapes[name] = channels, side
        return name

    def cell(
        self, name: str, genotype: Genotype, inputs: tuple[str, str], channels: int, stride: int
    ) -> str:
        pairs = genotype.normal if stride == 1 else genotype.reduce
        chosen = genotype.normal_result if stride == 1 else genotype.reduce_result
        side = self.shapes[inputs[1]][1]
        states = []
        for i, read in enumerate(inputs):  # 1 x 1, with a stride where a reduction lies between
            weights = self.shapes[read][0] * channels
            states.append(self.op(f"{name}.in{i}", "conv2d", (read,), channels, side, weights))
        for i, pair in enumerate(pairs):
            ends = []
            for j, (kind, state) in enumerate(pair):
                # Only what is applied to the cell's inputs can have a stride.
                step = stride if state < 2 else 1
                ends.append(self.applied(f"{name}.{i}.{j}", kind, states[state], step))
            shape = self.shapes[ends[0]]
            states.append(self.op(f"{name}.{i}", "add", ends, *shape))
        parts = [states[i] for i in chosen]
        side = self.shapes[parts[0]][1]
        return self.op(f"{name}.result", "concat", parts, len(parts) * channels, side)

    def applied(self, name: str, kind: str, read: str, stride: int) -> str:
        channels, side = self.shapes[read]
        kernel = int(kind.lstrip("abcdefghijklmnopqrstuvwxyz") or 3)
        shape = channels, side // stride
        square = channels * channels
        if kind == "skip":
            return read if stride == 1 else self.op(name, "conv2d", (read,), *shape, square)
        if kind in ("avg", "max"):
            return self.op(name, f"{kind}_pool2d", (read,), *shape)
        depthwise = channels * kernel * kernel
        weights = {
            "sep": (depthwise, square, depthwise, square),
            "dil": (depthwise, square),
            "conv": (kernel * square, kernel * square),
        }[kind.rstrip("0123456789")]
        for i, some in enumerate(weights):
            read = self.op(f"{name}.{i}", "conv2d", (read,), *shape, some)
        return read
