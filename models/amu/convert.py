"""From a trained ``torch.nn.Module`` to a network of integer layers, layer by layer.

Every layer learns its trees and tables on what the layers before it really give, in integers,
and its tables are fitted to what the *exact* layer gives on exact inputs: so a layer makes good
some of the errors before it.  A convolution learns one encoder of all pixels, and its tables are
then fitted for all of the kernel's offsets at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import log2
from typing import Any

import numpy as np
import torch
from torch import nn

from ..graph import in_blocks
from .convolution import Convolution, MaxPool, Patches
from .layer import Layer
from .layers import Choice, Place, by_lookup, exactly
from .modules import Affine, Flat, Given, Join, Pool, Step, Sum, evaluate, steps
from .network import Network, Node, Operation
from .operations import Add, Concat, Dense, Flatten, Input, Lookup
from .scales import Scale, choose
from .streamline import streamline

__all__ = ["Choice", "Conversion", "Converted", "Report", "centred_error", "convert"]


@dataclass(frozen=True)
class Converted:
    """What became of a layer."""

    name: str
    codebooks: int
    """0 where it is exact."""
    prototypes: int
    error: float
    """Of the sums, before rounding: |y - t|**2 / |t - mean of t|**2, with t the trained
    module's; all errors of the layers before are in it."""
    bits: int
    """Of all tables, or weights, together."""
    kept: int
    """Outputs that streamlining leaves."""
    outputs: int

    def __str__(self) -> str:
        what = f"{self.codebooks} codebooks of {self.prototypes}" if self.codebooks else "exact"
        return (
            f"{self.name}: {what}, error {self.error:.4f}, {self.bits / 8192:.1f} KiB, "
            f"{self.kept} of {self.outputs} outputs needed"
        )


@dataclass(frozen=True)
class Report:
    """What a conversion cost, measured on the validation rows where there are any."""

    layers: tuple[Converted, ...]
    rows: int
    """Measured on so many."""
    accuracy: float | None
    """Of the integers; None without labels."""
    float_accuracy: float | None
    """Of the trained module."""

    def __str__(self) -> str:
        lines = [str(layer) for layer in self.layers]
        if self.accuracy is not None:
            lines.append(
                f"accuracy {self.accuracy:.2%} on {self.rows} rows, {self.float_accuracy:.2%} "
                "before"
            )
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Conversion:
    """The result of :func:`convert`."""

    network: Network
    input_step: float
    """What 1 at the network's input stands for."""
    output_step: float
    """What 1 at its output stands for."""
    report: Report

    def quantise(self, rows: Any) -> np.ndarray:
        """The network's integers for ``rows`` as the module takes them (channels first)."""
        scale = Scale(self.input_step, self.network.input.format)
        return scale.whole(_channels_last(rows).numpy())

    def __call__(self, rows: Any) -> np.ndarray:
        """What the module would give for ``rows``, nearly; channels come last."""
        return self.network(self.quantise(rows)) * self.output_step


def convert(
    module: nn.Module,
    calibration: Any,
    choice: Choice | None = None,
    *,
    layers: Mapping[str, Choice] | None = None,
    input_bits: int = 8,
    bits: int = 8,
    validation: Any = None,
    labels: Any = None,
    samples: int = 20_000,
    seed: int = 0,
    progress: Callable[[str], None] = lambda what: None,
) -> Conversion:
    """Converts ``module`` for inputs like ``calibration`` [rows, ...], which it learns from.

    ``choice`` is how each layer is converted, but for those that ``layers`` names (as the module
    does).  Activations have ``bits`` bits.  Errors are measured on the ``validation`` rows, and
    the accuracy with their ``labels``; without either, on the calibration rows and not at all.
    A layer learns from at most ``samples`` pixels of its input, drawn with ``seed``.

    Raises :class:`ValueError` where the module has a part that cannot be converted, a name in
    ``layers`` is none of its layers, rows do not fit it or hold NaN or infinity.
    """
    rows = _channels_last(calibration)
    graph = steps(module, tuple(np.shape(calibration)[1:]))
    names = [step.name for step in graph if isinstance(step.operation, Affine)]
    if unknown := set(layers or {}) - set(names):
        raise ValueError(
            f"the module has no layer {', '.join(sorted(unknown))}; it has {', '.join(names)}"
        )
    exact = evaluate(graph, rows)
    scales = choose(graph, exact, input_bits, bits)
    builder = _Builder(graph, exact, scales, samples, np.random.default_rng(seed))
    for place, step in enumerate(graph[1:], 1):
        progress(f"converting {step.name}")
        builder.follow(place, step, (layers or {}).get(step.name, choice or Choice()))
    network = Network(tuple(builder.nodes))
    checked = rows if validation is None else _channels_last(validation)
    if labels is not None and np.shape(labels) != (len(checked),):
        raise ValueError(f"{len(checked)} rows need as many labels, not {np.shape(labels)}")
    report = _report(network, builder, checked, labels)
    return Conversion(network, scales[0].step, builder.last_step, report)


class _Builder:
    """Nodes for steps, and what they give for the calibration rows."""

    def __init__(
        self,
        graph: tuple[Step, ...],
        exact: list[torch.Tensor],
        scales: list[Scale],
        samples: int,
        rng: np.random.Generator,
    ):
        self.graph, self.exact, self.scales = graph, exact, scales
        self.samples, self.rng = samples, rng
        rows = scales[0].whole(exact[0].numpy())
        self.nodes = [Node(graph[0].name, Input(rows.shape[1:], scales[0].format))]
        self.values = [rows]
        """What each node gives."""
        self.places = [0]
        """The node that gives what a step gives."""
        self.steps: dict[int, float] = {}
        """What 1 stands for in the sums of a layer's node, before they are rounded."""
        self.last_step = scales[-1].step

    def follow(self, place: int, step: Step, choice: Choice) -> None:
        """The node, or nodes, of a step."""
        if isinstance(step.operation, Affine):
            self._layer(place, step, choice)
        else:
            sources = tuple(self.places[s] for s in step.sources)
            self._put(step.name, self._plain(place, step), sources)
        self.places.append(len(self.nodes) - 1)

    def _plain(self, place: int, step: Step) -> Operation:
        match step.operation:
            case Pool(size, stride, padding):
                return MaxPool(size, stride, padding)
            case Flat():
                return Flatten()
            case Join():
                return Concat()
            case Sum():
                result = self.scales[place]
                powers = [round(log2(self.scales[s].step / result.step)) for s in step.sources]
                least = min(0, *powers)
                a, b = (power - least for power in powers)
                return Add(result.format, (a, b), -least)
            case Given() | Affine():
                raise AssertionError("is converted elsewhere")

    def _layer(self, place: int, step: Step, choice: Choice) -> None:
        affine, (source,) = step.operation, step.sources
        assert isinstance(affine, Affine)
        node = self.places[source]
        with torch.no_grad():
            targets = affine.sums(self.exact[source]).numpy()
        last = place == len(self.graph) - 1 and not affine.relu
        scales = (self.scales[source], None if last else self.scales[place])
        where = Place(self.values[node], targets, *scales)
        if choice.exact:
            operation, sum_step = exactly(affine, where, choice)
            if affine.is_convolution:
                height, width = affine.weight.shape[2:]
                patches = Patches((height, width), affine.stride, affine.padding)
                self._put(f"{step.name} patches", patches, (node,))
                node = len(self.nodes) - 1
        else:
            operation, sum_step = by_lookup(affine, where, choice, self.samples, self.rng)
        if last:
            self.last_step = sum_step
        self.steps[len(self.nodes)] = sum_step
        self._put(step.name, operation, (node,))

    def _put(self, name: str, operation: Operation, sources: tuple[int, ...]) -> None:
        self.nodes.append(Node(name, operation, sources))
        self.values.append(in_blocks(operation, *(self.values[s] for s in sources)))


def _report(network: Network, builder: _Builder, rows: torch.Tensor, labels: Any) -> Report:
    exact = evaluate(builder.graph, rows)
    values = network.trace(builder.scales[0].whole(rows.numpy()))
    kept = {node.name: node.kept for node in streamline(network).nodes}
    layers = []
    for step, place in zip(builder.graph, builder.places, strict=True):
        if not isinstance(step.operation, Affine):
            continue
        node = network.nodes[place]
        with torch.no_grad():
            target = step.operation.sums(exact[step.sources[0]]).numpy()
        sums = in_blocks(_without_rounding(node.operation), values[node.sources[0]])
        sums = sums * builder.steps[place]
        layers.append(_converted(node, centred_error(sums, target), kept[node.name]))
    accuracy = before = None
    if labels is not None:
        wanted = np.asarray(labels)
        accuracy, before = (
            float((np.asarray(v).argmax(axis=-1) == wanted).mean()) for v in (values[-1], exact[-1])
        )
    return Report(tuple(layers), len(rows), accuracy, before)


def centred_error(values: np.ndarray, target: np.ndarray) -> float:
    """|values - target|**2 / |target - its mean over rows|**2, with channels last."""
    values, target = (np.asarray(v, np.float64).reshape(-1, v.shape[-1]) for v in (values, target))
    spread = np.square(target - target.mean(axis=0)).sum()
    return float(np.square(values - target).sum() / spread) if spread else float("nan")


def _without_rounding(operation: Operation) -> Lookup | Convolution | Dense:
    if isinstance(operation, Lookup):
        return Lookup(replace(operation.layer, output=None))
    assert isinstance(operation, Convolution | Dense)
    return replace(operation, output=None)


def _converted(node: Node, error: float, kept: int) -> Converted:
    operation = node.operation
    if isinstance(operation, Dense):
        bits = int(np.abs(operation.weights).max()).bit_length() + 1
        outputs = operation.weights.shape[1]
        return Converted(node.name, 0, 0, error, operation.weights.size * bits, kept, outputs)
    of = operation.layer if isinstance(operation, Lookup) else operation
    assert isinstance(of, Layer | Convolution)
    bits, outputs = int(of.tables.max()).bit_length(), of.tables.shape[-1]
    books, prototypes = of.encoder.codebooks, of.encoder.prototypes
    return Converted(node.name, books, prototypes, error, of.tables.size * bits, kept, outputs)


def _channels_last(rows: Any) -> torch.Tensor:
    """Float rows [rows, ...], images with their channels last."""
    values = torch.as_tensor(rows).detach().cpu().float()
    if values.ndim not in (2, 4) or not len(values):
        raise ValueError(
            "rows are [rows, channels] or [rows, channels, height, width], at least one, not "
            f"{tuple(values.shape)}"
        )
    if not values.isfinite().all():
        raise ValueError("a row holds NaN or infinity; mend the values before they are converted")
    return values.movedim(1, -1).contiguous() if values.ndim == 4 else values
