"""What a trained ``torch.nn.Module`` computes, as the few steps that a network can have.

:func:`steps` follows the module with ``torch.fx`` and folds what does not survive: a batch norm
goes into the layer before it, a ReLU becomes part of the layer or addition before it, dropout
vanishes.  Values are vectors ``(channels,)`` or images ``(height, width, channels)``: channels
come last, as in a :class:`.network.Network`, and a layer behind a flattened image has its weights
in that order.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

Pair = tuple[int, int]


@dataclass(frozen=True)
class Given:
    """The module's input."""

    relu = False

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` itself."""
        return x


@dataclass(frozen=True, eq=False)
class Affine:
    """A ``Linear``, on the channels of vectors, or a ``Conv2d``."""

    weight: torch.Tensor
    """[outputs, inputs], or [outputs, inputs, kernel height, kernel width]"""
    bias: torch.Tensor
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    relu: bool = False

    @property
    def is_convolution(self) -> bool:
        """Whether it reads images."""
        return self.weight.ndim == 4

    def sums(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, ..., outputs], before the ReLU."""
        if not self.is_convolution:
            return functional.linear(x, self.weight, self.bias)
        y = functional.conv2d(x.movedim(-1, 1), self.weight, self.bias, self.stride, self.padding)
        return y.movedim(1, -1)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, ..., outputs]"""
        return self.sums(x).relu() if self.relu else self.sums(x)


@dataclass(frozen=True)
class Pool:
    """A ``MaxPool2d``."""

    size: Pair
    stride: Pair
    padding: Pair
    relu = False

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, height, width, channels]"""
        return functional.max_pool2d(
            x.movedim(-1, 1), self.size, self.stride, self.padding
        ).movedim(1, -1)


@dataclass(frozen=True)
class Flat:
    """Flattens."""

    relu = False

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, height * width * channels]"""
        return x.reshape(len(x), -1)


@dataclass(frozen=True)
class Sum:
    """Adds two values."""

    relu: bool = False

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """[rows, ...]"""
        return (a + b).relu() if self.relu else a + b


@dataclass(frozen=True)
class Join:
    """Puts channels behind one another."""

    relu = False

    def __call__(self, *values: torch.Tensor) -> torch.Tensor:
        """[rows, ..., sum of channels]"""
        return torch.cat(values, -1)


Operation = Given | Affine | Pool | Flat | Sum | Join


@dataclass(frozen=True, eq=False)
class Step:
    """One operation on what earlier steps give."""

    name: str
    """As in the module: ``features.0``."""
    operation: Operation
    sources: tuple[int, ...] = ()


def steps(module: nn.Module, shape: tuple[int, ...]) -> tuple[Step, ...]:
    """The steps of ``module`` in evaluation mode, for rows of ``shape`` as it takes them:
    (channels,) or (channels, height, width).

    Raises :class:`ValueError` that names what cannot be converted and says what to do instead.
    """
    try:
        # A layer on its own is to be one node, not what it is made of.
        alone = type(module) in _HANDLERS
        graph = fx.symbolic_trace(nn.Sequential(module) if alone else module)
    except Exception as error:  # whatever the module's own code raises when it is traced
        raise ValueError(
            f"torch.fx cannot follow the module: {error}; leave out what depends on its data"
        ) from error
    return _Builder(graph, shape).build()


def evaluate(steps: tuple[Step, ...], rows: torch.Tensor) -> list[torch.Tensor]:
    """What each step gives for ``rows`` [rows, ...], channels last."""
    values: list[torch.Tensor] = []
    with torch.no_grad():
        for step in steps:
            sources = [values[s] for s in step.sources]
            values.append(step.operation(*sources) if sources else rows)
    return values


class _Builder:
    """Turns the nodes of a traced module into steps, one after the other."""

    def __init__(self, graph: fx.GraphModule, shape: tuple[int, ...]):
        self.graph = graph
        self.row = torch.zeros(1, *shape)
        self.steps: list[Step] = []
        self.values: list[torch.Tensor] = []
        """What each step gives for a row of zeros."""
        self.orders: list[np.ndarray | None] = []
        """Of a flattened image: for each value its place in PyTorch's order."""
        self.places: dict[fx.Node, int] = {}
        """The step that gives what a node gives."""

    def build(self) -> tuple[Step, ...]:
        """All steps."""
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                if self.steps:
                    raise ValueError("the module has two inputs; wrap it in one that has one")
                row = self.row.movedim(1, -1) if self.row.ndim == 4 else self.row
                self._put(node, Given(), (), row)
            elif node.op == "output":
                self._end(node.args[0])
            else:
                self._follow(node)
        return tuple(self.steps)

    def _end(self, result: Any) -> None:
        if not isinstance(result, fx.Node):
            raise ValueError("the module gives several values; wrap it in one that gives one")
        if self.places[result] != len(self.steps) - 1:
            raise ValueError("the module computes more than it gives; leave the rest out")
        if self.orders[-1] is not None:
            raise ValueError("the module gives a flattened image; let it give the image")

    def _follow(self, node: fx.Node) -> None:
        module = None
        if node.op == "call_module":
            module = self.graph.get_submodule(str(node.target))
        key = node.target if module is None else type(module)
        handler = _HANDLERS.get(key)
        if handler is None:
            name = node.name if module is None else node.target
            raise ValueError(
                f"{name}: {_label(key)} cannot be converted, only "
                f"{', '.join(sorted({_label(k) for k in _HANDLERS}))}; replace it, or convert what "
                "is before and behind it on its own"
            )
        try:
            handler(self, node, node.args if module is None else (*node.args, module))
        except ValueError as error:
            raise ValueError(f"{node.name if module is None else node.target}: {error}") from error

    def affine(self, node: fx.Node, arguments: Any) -> None:
        """A ``Linear`` or ``Conv2d``."""
        source, layer = arguments
        weight, place = layer.weight.detach(), self.places[source]
        bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach()
        if isinstance(layer, nn.Linear):
            if (order := self.orders[place]) is not None:
                weight = weight[:, torch.from_numpy(order)]
            return self._put(node, Affine(weight, bias), (place,))
        height, width = layer.kernel_size
        padding = {"valid": (0, 0), "same": (height // 2, width // 2)}.get(
            str(layer.padding), layer.padding
        )
        if layer.groups > 1 or max(layer.dilation) > 1 or layer.padding_mode != "zeros":
            raise ValueError("a convolution has one group, no dilation and zeros for padding")
        if layer.padding == "same" and not height % 2 == width % 2 == 1:
            raise ValueError("padding 'same' of an even kernel is not the same on both sides")
        return self._put(node, Affine(weight, bias, layer.stride, padding), (place,))

    def norm(self, node: fx.Node, arguments: Any) -> None:
        """A batch norm, folded into the layer before it."""
        source, layer = arguments
        step = self.steps[self.places[source]]
        before = step.operation
        if not isinstance(before, Affine) or before.relu or not self._sole(source):
            raise ValueError(
                "a batch norm is folded into a Linear or Conv2d right before it that nothing else "
                "reads; there is none"
            )
        if layer.running_var is None:
            raise ValueError("a batch norm without running statistics depends on the other rows")
        scale = (layer.running_var + layer.eps).rsqrt().detach()
        if layer.weight is not None:
            scale = scale * layer.weight.detach()
        shift = 0 if layer.bias is None else layer.bias.detach()
        weight = before.weight * scale.reshape(-1, *[1] * (before.weight.ndim - 1))
        bias = (before.bias - layer.running_mean) * scale + shift
        self._replace(node, source, replace(before, weight=weight, bias=bias))

    def relu(self, node: fx.Node, arguments: Any) -> None:
        """Part of the layer or addition before it; pooling and flattening let it through."""
        source = arguments[0]
        place = self.places[source]
        while isinstance(self.steps[place].operation, Pool | Flat) and self._sole(source):
            (place,) = self.steps[place].sources
            source = next(n for n, p in self.places.items() if p == place)
        before = self.steps[place].operation
        if not isinstance(before, Affine | Sum) or not self._sole(source):
            raise ValueError(
                "a ReLU is part of a Linear, a Conv2d or an addition before it that nothing else "
                "reads; there is none"
            )
        step = self.steps[place]
        self.steps[place] = replace(step, operation=replace(before, relu=True))
        self.places[node] = self.places[arguments[0]]

    def pool(self, node: fx.Node, arguments: Any) -> None:
        """A ``MaxPool2d``."""
        source, layer = arguments
        if layer.ceil_mode or layer.return_indices or layer.dilation not in (1, (1, 1)):
            raise ValueError("pooling has no dilation, no indices and rounds sizes down")
        shape = (_pair(v) for v in (layer.kernel_size, layer.stride, layer.padding))
        self._put(node, Pool(*shape), (self.places[source],))

    def flatten(self, node: fx.Node, arguments: Any) -> None:
        """``Flatten`` of all but the rows."""
        source, *rest = arguments
        if rest and isinstance(rest[-1], nn.Flatten):
            start, end = rest[-1].start_dim, rest[-1].end_dim
        else:
            start = rest[0] if rest else node.kwargs.get("start_dim", 0)
            end = rest[1] if len(rest) > 1 else node.kwargs.get("end_dim", -1)
        value = self.values[self.places[source]]
        if start != 1 or end not in (-1, value.ndim - 1):
            raise ValueError("flattens from dimension 1 to the last")
        if value.ndim == 2:
            return self.same(node, arguments)
        height, width, channels = value.shape[1:]
        order = np.arange(value[0].numel()).reshape(channels, height, width)
        places = (self.places[source],)
        return self._put(node, Flat(), places, order=order.transpose(1, 2, 0).ravel())

    def add(self, node: fx.Node, arguments: Any) -> None:
        """``+``"""
        if len(arguments) != 2 or not all(isinstance(a, fx.Node) for a in arguments) or node.kwargs:
            raise ValueError("adds two computed values, without a factor")
        first, second = (self.places[a] for a in arguments)
        if self.values[first].shape != self.values[second].shape:
            raise ValueError("adds values of one shape")
        size = self.values[first].shape[-1]
        orders = [_order(self.orders[p], size) for p in (first, second)]
        if (orders[0] != orders[1]).any():
            raise ValueError("adds flattened images with as many channels")
        self._put(node, Sum(), (first, second), order=self.orders[first])

    def join(self, node: fx.Node, arguments: Any) -> None:
        """``torch.cat`` of channels."""
        parts, *rest = arguments
        places = tuple(self.places[p] for p in parts)
        dimension = rest[0] if rest else node.kwargs.get("dim", 0)
        if dimension not in (1, (1 if self.values[places[0]].ndim == 4 else -1)):
            raise ValueError("joins values along dimension 1, their channels")
        order = None
        if any(self.orders[p] is not None for p in places):
            sizes = [self.values[p].shape[-1] for p in places]
            starts = np.cumsum([0, *sizes[:-1]])
            orders = [_order(self.orders[p], s) for p, s in zip(places, sizes, strict=True)]
            order = np.concatenate([s + o for s, o in zip(starts, orders, strict=True)])
        self._put(node, Join(), places, order=order)

    def same(self, node: fx.Node, arguments: Any) -> None:
        """What does nothing outside of training."""
        self.places[node] = self.places[arguments[0]]

    def _sole(self, node: fx.Node) -> bool:
        """Whether what ``node`` gives has one reader, also under other names (dropout's)."""
        place = self.places[node]
        readers = {
            user
            for alias, where in self.places.items() if where == place
            for user in alias.users if self.places.get(user) != place
        }  # fmt: skip
        return len(readers) == 1

    def _replace(self, node: fx.Node, source: fx.Node, operation: Operation) -> None:
        """``source``'s step becomes ``operation``, and gives what ``node`` gives."""
        place = self.places[node] = self.places[source]
        self.steps[place] = replace(self.steps[place], operation=operation)

    def _put(
        self,
        node: fx.Node,
        operation: Operation,
        sources: tuple[int, ...],
        value: torch.Tensor | None = None,
        order: np.ndarray | None = None,
    ) -> None:
        name = str(node.target) if node.op == "call_module" else node.name
        while any(step.name == name for step in self.steps):  # a module that is called twice
            name += "'"
        if value is None:
            try:
                value = operation(*(self.values[s] for s in sources))
            except (RuntimeError, IndexError) as error:  # PyTorch's, of shapes
                raise ValueError(f"{name} does not fit what it reads: {error}") from error
        self.steps.append(Step(name, operation, sources))
        self.values.append(value.detach())
        self.orders.append(order)
        self.places[node] = len(self.steps) - 1


_HANDLERS: dict[Any, Callable[[_Builder, fx.Node, Any], None]] = {
    nn.Linear: _Builder.affine,
    nn.Conv2d: _Builder.affine,
    nn.BatchNorm1d: _Builder.norm,
    nn.BatchNorm2d: _Builder.norm,
    nn.ReLU: _Builder.relu,
    functional.relu: _Builder.relu,
    torch.relu: _Builder.relu,
    "relu": _Builder.relu,
    nn.MaxPool2d: _Builder.pool,
    nn.Flatten: _Builder.flatten,
    torch.flatten: _Builder.flatten,
    "flatten": _Builder.flatten,
    operator.add: _Builder.add,
    operator.iadd: _Builder.add,
    torch.add: _Builder.add,
    torch.cat: _Builder.join,
    nn.Dropout: _Builder.same,
    nn.Dropout2d: _Builder.same,
    nn.Identity: _Builder.same,
}


def _order(order: np.ndarray | None, size: int) -> np.ndarray:
    """``order``, or that of ``size`` channels that never were an image."""
    return np.arange(size) if order is None else order


def _label(key: Any) -> str:
    return key if isinstance(key, str) else key.__name__


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value
