"""From a trained torch module to a network of integers that gives the same, bit for bit.

:func:`convert` follows a module of :mod:`.layers` with ``torch.fx``.  Batch norm and sign become a
threshold (:mod:`.folding`); pooling of sums moves behind the sign, where it is the same; a dense
layer behind a flattened image becomes a convolution of all of it; a real layer that reads complex
bits reads their parts.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx, nn

from . import layers
from . import operations as op
from .folding import Norm, fold, identity
from .network import Network, Node

Form = Literal["image", "vector", "parts last", "any"]
"""Of a tensor: [rows, channels, height, width]; that flattened as it is, or with both parts of a
complex pixel side by side; one pixel, as either."""


def convert(module: nn.Module, given: op.Input) -> Network:
    """The network that computes what ``module`` does in evaluation mode, on rows of ``given``.

    Where the module ends with :class:`.layers.Scores`, its logits are the network's integers times
    their scale; else both give the same numbers.  Tensors and rows are each other's
    :func:`to_tensor` and :func:`to_rows`.

    Raises :class:`ValueError` that names what cannot be converted and says what to do instead.
    """
    alone = nn.Sequential(module) if type(module) in _HANDLERS else module
    try:
        graph = _Tracer().trace(alone)
    except Exception as error:  # whatever the module's own code raises when it is traced
        raise ValueError(
            f"torch.fx cannot follow the module: {error}; leave out what depends on its data"
        ) from error
    with torch.no_grad():
        return _Builder(alone, given).build(graph)


def to_tensor(rows: np.ndarray, kind: op.Kind) -> Tensor:
    """float32 [rows, channels, height, width], or [rows, 2 * channels, ...], for a module."""
    x = torch.from_numpy(np.ascontiguousarray(rows)).float()
    return x.flatten(3).movedim(3, 1).contiguous() if kind.complex else x.movedim(3, 1).contiguous()


def to_rows(x: Tensor, kind: op.Kind) -> np.ndarray:
    """int64 [rows, height, width, channels], or [..., 2], of a module's images or vectors.

    Raises :class:`ValueError` where numbers are no integers.
    """
    height, width, channels = kind.shape
    parts = (channels, 2) if kind.complex else (channels,)
    x = x.detach().cpu().double().reshape(len(x), *parts, height, width)
    if not torch.equal(x, x.round()):
        raise ValueError("these are no integers; divide logits by the scale of layers.Scores")
    return x.movedim((-2, -1), (1, 2)).long().contiguous().numpy()


@dataclass(frozen=True)
class _Value:
    """What a module's node gives: that of a network's node, and what waits for a sign."""

    place: int
    form: Form = "image"
    norm: Norm | None = None
    pools: tuple[tuple[str, op.MaxPool], ...] = ()
    """Names and windows."""

    @property
    def waits(self) -> bool:
        """Whether there is more than the network's node gives."""
        return self.norm is not None or bool(self.pools)


class _Tracer(fx.Tracer):
    """Layers are nodes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Those of this package too."""
        return type(m) in _HANDLERS or super().is_leaf_module(m, module_qualified_name)


class _Builder:
    """Turns the nodes of a traced module into a network's, one after the other."""

    def __init__(self, module: nn.Module, given: op.Input) -> None:
        self.module, self.given = module, given
        self.nodes: list[Node] = []
        self.kinds: list[op.Kind] = []
        self.values: dict[fx.Node, _Value] = {}
        self.parts: dict[int, int] = {}
        """Of complex bits' places, those of their parts."""
        kind = next((p.dtype for p in module.parameters()), torch.float32)
        self.limit = int(2 / torch.finfo(kind).eps)
        """Integers up to it are exact in the module."""

    def build(self, graph: fx.Graph) -> Network:
        """All of it."""
        for node in graph.nodes:
            if node.op == "placeholder":
                if self.nodes:
                    raise ValueError("the module has two inputs; wrap it in one that has one")
                form: Form = "any" if self.given.shape[:2] == (1, 1) else "image"
                self.values[node] = _Value(self._put("input", self.given), form)
            elif node.op == "output":
                self._end(node.args[0])
            else:
                self._follow(node)
        return Network(tuple(self.nodes))

    def _end(self, result: Any) -> None:
        if not isinstance(result, fx.Node):
            raise ValueError("the module gives several values; wrap it in one that gives one")
        value = self.values[result]
        if value.waits:
            raise ValueError(
                "the module ends with a batch norm or a pool of sums, which gives no integers an "
                "engine has; end it with layers.Sign, layers.Scores or a convolution"
            )
        if value.place != len(self.nodes) - 1:
            raise ValueError("the module computes more than it gives; leave the rest out")
        if value.form in ("vector", "parts last") and self.kinds[value.place].pixels > 1:
            raise ValueError("the module gives a flattened image; let it give the image")

    def _follow(self, node: fx.Node) -> None:
        module = self.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        key = node.target if module is None else type(module)
        name = str(node.name if module is None else node.target)
        handler = _HANDLERS.get(key)
        if handler is None:
            hint = _INSTEAD.get(key, "replace it, or convert what is before and behind it alone")
            raise ValueError(f"{name}: {_label(key)} cannot be converted; {hint}")
        if not node.args or (node.kwargs and handler is not _Builder.flatten):
            raise ValueError(f"{name}: is called with names of arguments; call it without")
        names = {n.name for n in self.nodes}
        while name in names:  # a module that is called twice
            name += "'"
        try:
            self.values[node] = handler(self, name, node, module)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def _put(self, name: str, operation: op.Operation, *sources: int) -> int:
        """Adds a node and returns its place."""
        result: Any = operation.result(*(self.kinds[s] for s in sources))  # type: ignore[call-arg]
        most = max(-result.low, result.high)
        if most > self.limit:
            raise ValueError(
                f"sums up to {most} are not exact in the module, whose numbers hold integers up to "
                f"{self.limit}; convert module.double(), or take fewer bits"
            )
        self.nodes.append(Node(name, operation, sources))
        self.kinds.append(result)
        return len(self.nodes) - 1

    def _read(self, node: Any) -> _Value:
        """A value from which nothing waits for a sign."""
        value = self._any(node)
        if value.waits:
            raise ValueError(
                "reads what has gone through a batch norm or a pool of sums; put layers.Sign "
                "behind those, and additions in front"
            )
        return value

    def _any(self, node: Any) -> _Value:
        if not isinstance(node, fx.Node):
            raise ValueError(f"reads {node!r}, which is not computed")
        return self.values[node]

    def convolution(self, name: str, node: fx.Node, layer: layers.BinaryConv2d) -> _Value:
        """A ``BinaryConv2d``."""
        value = self._read(node.args[0])
        if value.form not in ("image", "any"):
            raise ValueError("reads a vector; a dense layer is layers.BinaryLinear")
        place = self._source(name, value.place, layer)
        weights = _weights(layer.binary().movedim(1, 3))
        block = None if layer.kept.all() else layer.block
        made = op.Convolution(weights, layer.stride, layer.padding, layer.fill, block)
        return _Value(self._put(name, made, place))

    def linear(self, name: str, node: fx.Node, layer: layers.BinaryLinear) -> _Value:
        """A ``BinaryLinear``: a convolution of all of the image."""
        value = self._read(node.args[0])
        complex = self.kinds[value.place].complex
        height, width, _ = self.kinds[value.place].shape
        if value.form == "image" or (value.form == "parts last" and not complex):
            raise ValueError("reads vectors; put layers.Flatten in front")
        place = self._source(name, value.place, layer, height * width)
        weight = layer.binary().flatten(1, 3)
        if value.form == "parts last" and not layer.complex:
            weight = weight.unflatten(1, (-1, height, width, 2)).movedim(4, 2).flatten(1, 2)
        elif value.form == "vector" and layer.complex and complex and height * width > 1:
            raise ValueError(
                "reads parts that lie apart; flatten with layers.Flatten(complex=True)"
            )
        else:
            weight = weight.unflatten(1, (-1, height, width))
        weights = _weights(weight.movedim(1, 3))
        made = _whole(weights, layer)
        return _Value(self._put(name, made, place), "vector")

    def _source(self, name: str, place: int, layer: layers.Binary, pixels: int = 1) -> int:
        """The place that the layer reads: parts of what is at ``place`` where it must."""
        kind = self.kinds[place]
        if layer.complex and layer.real_input == kind.complex:
            raise ValueError(
                f"reads {kind}, with real_input = {layer.real_input}; that is for complex layers "
                "that read real integers"
            )
        view = kind.complex and not layer.complex
        channels = kind.channels * pixels * (2 if view else 1)
        if channels != layer.channels:
            raise ValueError(f"reads {layer.channels} channels, but there are {channels} in {kind}")
        if not view:
            return place
        if place not in self.parts:
            self.parts[place] = self._put(f"{name}.parts", op.Parts(), place)
        return self.parts[place]

    def norm(self, name: str, node: fx.Node, layer: layers.BatchNorm) -> _Value:
        """A ``BatchNorm``: waits for the sign."""
        value = self._any(node.args[0])
        kind = self.kinds[value.place]
        if value.norm is not None:
            raise ValueError("a batch norm behind another; leave one out")
        if kind.format != "accumulators":
            raise ValueError(f"normalises {kind}; put a convolution between")
        if (layer.complex, layer.channels) != (kind.complex, kind.channels):
            sort = "complex" if layer.complex else "real"
            raise ValueError(f"normalises {layer.channels} {sort} channels, not {kind}")
        norm = _norm(layer)
        if value.pools and (norm.scale < 0).any():
            channel = int(np.argwhere(norm.scale < 0)[0, 0])
            raise ValueError(
                f"the scale of channel {channel} is negative behind a pool of sums, of which the "
                "largest then becomes the smallest; pool behind the batch norm or the sign"
            )
        return replace(value, norm=norm)

    def sign(self, name: str, node: fx.Node, layer: nn.Module) -> _Value:
        """A ``Sign``: the threshold, then the pools that waited for it."""
        value = self._any(node.args[0])
        kind = self.kinds[value.place]
        if kind.format != "accumulators":
            raise ValueError(f"reads {kind}; bits come of sums")
        norm = identity(kind) if value.norm is None else value.norm
        place = self._put(name, fold(norm, kind), value.place)
        for pool_name, pool in value.pools:
            place = self._put(pool_name, pool, place)
        return _Value(place, value.form)

    def pool(self, name: str, node: fx.Node, layer: nn.MaxPool2d) -> _Value:
        """A ``MaxPool2d`` of bits, or of sums before their sign."""
        value = self._any(node.args[0])
        if layer.ceil_mode or layer.return_indices or layer.dilation not in (1, (1, 1)):
            raise ValueError("pooling has no dilation, no indices and rounds sizes down")
        if value.form not in ("image", "any"):
            raise ValueError("pools a vector; flatten behind it")
        size, stride = layers.pair(layer.kernel_size), layers.pair(layer.stride)
        pool = op.MaxPool(size, stride, layers.pair(layer.padding))
        if self.kinds[value.place].format == "accumulators":
            return replace(value, pools=(*value.pools, (name, pool)))
        return replace(value, place=self._put(name, pool, value.place))

    def add(self, name: str, node: fx.Node, layer: layers.Add | None) -> _Value:
        """``Add``, or ``+``."""
        values = [self._read(argument) for argument in node.args]
        if len({value.form for value in values}) > 1:
            raise ValueError("adds images and vectors")
        places = [value.place for value in values]
        if layer is None and self.kinds[places[0]].format == "bits":
            places.reverse()
        factors = (1,) if layer is None else layer.factors
        return replace(values[0], place=self._put(name, op.Add(factors), *places))

    def total(self, name: str, node: fx.Node, layer: nn.Module) -> _Value:
        """A ``PixelSum``."""
        value = self._read(node.args[0])
        if value.form != "image":
            raise ValueError("adds up the pixels of images")
        return _Value(self._put(name, op.Sum(), value.place), "vector")

    def scores(self, name: str, node: fx.Node, layer: layers.Scores) -> _Value:
        """``Scores``: their biases."""
        value = self._read(node.args[0])
        kind, biases = self.kinds[value.place], layer.biases.cpu().double().numpy()
        if len(node.users) != 1 or next(iter(node.users)).op != "output":
            raise ValueError("logits are read by another layer; they are to be the last")
        biases = np.rint(biases).astype(np.int64)
        biases = biases.reshape(-1, 2) if kind.complex else biases
        return replace(value, place=self._put(name, op.Bias(biases), value.place))

    def flatten(self, name: str, node: fx.Node, layer: nn.Module | None) -> _Value:
        """``Flatten`` of all but the rows, torch's or the one of layers."""
        value = self._read(node.args[0])
        if isinstance(layer, layers.Flatten):
            if layer.complex and not self.kinds[value.place].complex:
                raise ValueError("there are no parts; take layers.Flatten()")
            form: Form = "parts last" if layer.complex else "vector"
        else:
            if isinstance(layer, nn.Flatten):
                start, end = layer.start_dim, layer.end_dim
            else:
                given = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False))
                given = {"start_dim": 0, "end_dim": -1, **given, **node.kwargs}
                start, end = given["start_dim"], given["end_dim"]
            if start != 1 or end not in (-1, 3):
                raise ValueError("flattens from dimension 1 to the last")
            form = "vector"
        return value if value.form in ("vector", "parts last") else replace(value, form=form)

    def same(self, name: str, node: fx.Node, layer: nn.Module) -> _Value:
        """What does nothing outside of training."""
        return self._any(node.args[0])


def _weights(weight: Tensor) -> np.ndarray:
    """int8, of weights that are in the network's order already."""
    return weight.detach().to(torch.int8).cpu().contiguous().numpy()


def _whole(weights: np.ndarray, layer: layers.Binary) -> op.Convolution:
    """A dense layer, pruned in blocks of as many channels as lie together in the image."""
    if layer.kept.all() or layer.block is None:
        return op.Convolution(weights)
    channels = weights.shape[3]
    for size in range(channels, 0, -1):
        if channels % size == 0:
            try:
                return op.Convolution(weights, block=(layer.block[0], size))
            except ValueError:
                continue
    raise ValueError("pruned weights do not come in blocks of outputs; prune with `prune`")


def _norm(layer: layers.BatchNorm) -> Norm:
    """Its numbers in double precision."""
    numbers = (layer.mean, layer.variance, layer.scale, layer.shift)
    mean, variance, scale, shift = (n.detach().cpu().numpy() for n in numbers)
    if layer.complex:
        mean, shift = mean.reshape(-1, 2), shift.reshape(-1, 2)
    return Norm(mean, variance, scale, shift, layer.eps)


def _label(key: Any) -> str:
    return key if isinstance(key, str) else key.__name__


_HANDLERS: dict[Any, Callable[..., _Value]] = {
    layers.BinaryConv2d: _Builder.convolution,
    layers.BinaryLinear: _Builder.linear,
    layers.BatchNorm: _Builder.norm,
    layers.Sign: _Builder.sign,
    layers.Add: _Builder.add,
    layers.PixelSum: _Builder.total,
    layers.Scores: _Builder.scores,
    layers.Flatten: _Builder.flatten,
    nn.Flatten: _Builder.flatten,
    torch.flatten: _Builder.flatten,
    "flatten": _Builder.flatten,
    nn.MaxPool2d: _Builder.pool,
    operator.add: _Builder.add,
    operator.iadd: _Builder.add,
    torch.add: _Builder.add,
    nn.Dropout: _Builder.same,
    nn.Dropout2d: _Builder.same,
    nn.Identity: _Builder.same,
}

_INSTEAD: dict[Any, str] = {
    **dict.fromkeys(
        (nn.BatchNorm1d, nn.BatchNorm2d),
        "take layers.BatchNorm, whose rounding in evaluation is known",
    ),
    **dict.fromkeys((nn.Conv2d, nn.Linear), "take layers.BinaryConv2d or layers.BinaryLinear"),
    **dict.fromkeys((nn.ReLU, nn.Hardtanh, nn.Tanh, torch.relu, torch.sign), "take layers.Sign"),
    **dict.fromkeys((nn.AvgPool2d, nn.AdaptiveAvgPool2d), "take layers.PixelSum"),
}
