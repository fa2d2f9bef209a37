"""From a trained ``torch.nn.Module`` to a network of integer layers, layer by layer.

Every layer learns its trees and tables on what the layers before it really give, in integers,
and its tables are fitted to what the *exact* layer gives on exact inputs: so a layer makes good
some of the errors before it.  A convolution learns one encoder of all pixels, and its tables are
then fitted for all of the kernel's offsets at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, floor, log2
from typing import Any

import numpy as np
import torch
from torch import nn

from .convolution import Convolution, MaxPool, Patches
from .encoder import Encoder
from .layer import Format, Layer
from .learn import learn
from .modules import Affine, Flat, Given, Join, Pool, Step, Sum, evaluate, steps
from .network import Network, Node, Operation
from .operations import Add, Concat, Dense, Flatten, Input, Lookup
from .ridge import Normal
from .scales import Scale, choose
from .streamline import streamline


@dataclass(frozen=True)
class Choice:
    """How a ``Linear`` or ``Conv2d`` is converted."""

    length: float = 8
    """Inputs (channels, in a convolution) for each codebook."""
    codebooks: int | None = None
    """Where ``length`` shall not say how many."""
    levels: int = 4
    table_bits: int = 8
    """Of an entry, from the least of its column; of a signed weight where ``exact``."""
    exact: bool = False
    """Multiplies by integer weights instead."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """More arguments for :func:`.learn.learn`."""


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
    builder = _Builder(graph, scales, samples, np.random.default_rng(seed))
    trained = [value.numpy() for value in exact]
    builder.begin(rows.numpy())
    for place, step in enumerate(graph[1:], 1):
        progress(f"converting {step.name}")
        how = (layers or {}).get(step.name, choice or Choice())
        builder.follow(place, step, how, trained)
    network = Network(tuple(builder.nodes))
    conversion = Conversion(network, scales[0].step, builder.last_step, Report((), 0, None, None))
    checked = rows if validation is None else _channels_last(validation)
    return replace(conversion, report=_report(conversion, builder, graph, checked, labels))


class _Builder:
    """Nodes for steps, and what they give for the calibration rows."""

    def __init__(
        self, graph: tuple[Step, ...], scales: list[Scale], samples: int, rng: np.random.Generator
    ):
        self.graph, self.scales, self.samples, self.rng = graph, scales, samples, rng
        self.nodes: list[Node] = []
        self.values: list[np.ndarray] = []
        """What each node gives."""
        self.places: list[int] = []
        """The node that gives what a step gives."""
        self.steps: dict[int, float] = {}
        """What 1 stands for in the sums of a layer's node, before they are rounded."""
        self.last_step = scales[-1].step

    def begin(self, rows: np.ndarray) -> None:
        """The input."""
        scale = self.scales[0]
        self._put(Node(self.graph[0].name, Input(rows.shape[1:], scale.format)), scale.whole(rows))
        self.places.append(0)

    def follow(self, place: int, step: Step, choice: Choice, exact: list[np.ndarray]) -> None:
        """The node, or nodes, of a step, where steps' ``exact`` values are these."""
        sources = tuple(self.places[s] for s in step.sources)
        operation = step.operation
        if isinstance(operation, Affine):
            with torch.no_grad():
                target = operation.sums(torch.from_numpy(exact[step.sources[0]])).numpy()
            operation, sources, sum_step = self._layer(place, step, choice, target)
            self.steps[len(self.nodes)] = sum_step
            if place == len(self.graph) - 1:
                self.last_step = sum_step
        else:
            operation = self._plain(place, step)
        node = Node(step.name, operation, sources)
        self._put(node, operation(*(self.values[s] for s in sources)))
        self.places.append(len(self.nodes) - 1)

    def _put(self, node: Node, value: np.ndarray) -> None:
        self.nodes.append(node)
        self.values.append(value)

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

    def _layer(
        self, place: int, step: Step, choice: Choice, target: np.ndarray
    ) -> tuple[Operation, tuple[int, ...], float]:
        """A layer's operation, its sources, and what 1 stands for in its sums."""
        affine, (source,) = step.operation, step.sources
        assert isinstance(affine, Affine)
        before, node = self.scales[source], self.places[source]
        after = None if place == len(self.graph) - 1 else self.scales[place]
        if choice.exact:
            if affine.is_convolution:
                height, width = affine.weight.shape[2:]
                patches = Patches((height, width), affine.stride, affine.padding)
                self._put(
                    Node(f"{step.name} patches", patches, (node,)), patches(self.values[node])
                )
                node = len(self.nodes) - 1
            operation, sum_step = _dense(affine, before, after, choice.table_bits)
            return operation, (node,), sum_step
        rows = self.values[node]
        if affine.is_convolution:
            encoder, tables, bias = self._learn_convolution(affine, rows, target, choice)
        else:
            weight = affine.weight.T.double().numpy() * before.step
            encoder, tables, bias = self._learn_vectors(rows, weight, target, choice)
        encoder = _whole(encoder, before.format)
        tables, bias, shift, sum_step = _quantise(tables, bias, choice.table_bits, after)
        last = (before.format, shift, after and after.format)
        if affine.is_convolution:
            shape = (affine.stride, affine.padding)
            return Convolution(encoder, tables, bias, *shape, *last), (node,), sum_step
        return Lookup(Layer(encoder, tables, bias, *last)), (node,), sum_step

    def _learn_vectors(
        self, rows: np.ndarray, weight: np.ndarray, target: np.ndarray, choice: Choice
    ) -> tuple[Encoder, np.ndarray, np.ndarray]:
        rows, target = rows.reshape(-1, rows.shape[-1]), target.reshape(-1, target.shape[-1])
        chosen = self._sample(len(rows))
        learned = learn(
            rows[chosen], weight, targets=target[chosen],
            codebooks=_codebooks(choice, rows.shape[-1]), levels=choice.levels, **choice.options,
        )  # fmt: skip
        return learned.encoder, learned.tables, learned.bias

    def _learn_convolution(
        self, affine: Affine, images: np.ndarray, target: np.ndarray, choice: Choice
    ) -> tuple[Encoder, np.ndarray, np.ndarray]:
        """An encoder of the pixels, and tables [height, width, codebooks, prototypes, outputs]."""
        outputs, channels, height, width = affine.weight.shape
        py, px = affine.padding
        padded = np.pad(images, ((0, 0), (py, py), (px, px), (0, 0)))
        pixels = padded.reshape(-1, channels)
        weight = affine.weight.permute(1, 2, 3, 0).reshape(channels, -1).double().numpy()
        learned = learn(
            pixels[self._sample(len(pixels))], weight,
            codebooks=_codebooks(choice, channels), levels=choice.levels, **choice.options,
        )  # fmt: skip
        codes = learned.encoder(pixels).reshape(*padded.shape[:3], -1)
        window = Patches((height, width), affine.stride)(codes).reshape(
            len(target[..., 0].ravel()), -1
        )
        chosen = self._sample(len(window))
        fitted = target.reshape(-1, outputs)[chosen].astype(np.float64)
        prototypes = learned.encoder.prototypes
        tables, bias = Normal(window[chosen], fitted, prototypes).solve()
        return learned.encoder, tables.reshape(height, width, -1, prototypes, outputs), bias

    def _sample(self, rows: int) -> np.ndarray:
        if rows <= self.samples:
            return np.arange(rows)
        return np.sort(self.rng.choice(rows, self.samples, replace=False))


def _codebooks(choice: Choice, inputs: int) -> int:
    return choice.codebooks or ceil(inputs / choice.length)


def _whole(encoder: Encoder, format: Format) -> Encoder:
    """The same encoder of integers, with integer thresholds: x > t is x > floor(t)."""
    low, high = format.limits
    thresholds = np.floor(np.clip(encoder.thresholds, low - 1, high)).astype(np.int64)
    return Encoder(encoder.dims, thresholds)


def _quantise(
    tables: np.ndarray, bias: np.ndarray, bits: int, after: Scale | None
) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Unsigned tables, bias, shift, and what 1 stands for in their sums.

    The widest column takes all of ``bits`` bits, or more than half of them where a shift by a
    power of two must lead to the steps of ``after``.
    """
    least = tables.min(axis=-2, keepdims=True)
    widest = float((tables.max(axis=-2, keepdims=True) - least).max()) or 1.0
    shift, step = 0, widest / (2**bits - 1)
    if after is not None:
        shift = max(floor(log2(after.step / step)), 0)
        step = after.step / 2**shift
    whole = np.rint((tables - least) / step).astype(np.int64)
    total = bias + least.reshape(-1, len(bias)).sum(axis=0)
    return whole, np.rint(total / step).astype(np.int64), shift, step


def _dense(affine: Affine, before: Scale, after: Scale | None, bits: int) -> tuple[Dense, float]:
    """Exact integer weights, of windows where it is a convolution."""
    weight = affine.weight.double().numpy()
    if affine.is_convolution:
        weight = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    largest = float(np.abs(weight).max()) or 1.0
    shift, step = 0, before.step * largest / (2 ** (bits - 1) - 1)
    if after is not None:
        shift = max(floor(log2(after.step / step)), 0)
        step = after.step / 2**shift
    whole = np.rint(weight.T * (before.step / step)).astype(np.int64)
    bias = np.rint(affine.bias.double().numpy() / step).astype(np.int64)
    return Dense(whole, bias, before.format, shift, after and after.format), step


def _report(
    conversion: Conversion,
    builder: _Builder,
    graph: tuple[Step, ...],
    rows: torch.Tensor,
    labels: Any,
) -> Report:
    network = conversion.network
    exact = evaluate(graph, rows)
    values = network.trace(builder.scales[0].whole(rows.numpy()))
    kept = {node.name: node.kept for node in streamline(network).nodes}
    layers = []
    for step, place in zip(graph, builder.places, strict=True):
        if not isinstance(step.operation, Affine):
            continue
        node = network.nodes[place]
        with torch.no_grad():
            target = step.operation.sums(exact[step.sources[0]]).numpy()
        sums = _without_rounding(node.operation)(values[node.sources[0]]) * builder.steps[place]
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
