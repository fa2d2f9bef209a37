"""Layers of PyTorch that train with N:M weights, and the conversion of a module to them.

A layer keeps dense weights ``w``, the *masters*, and multiplies with pruned copies of them::

    forward    y  = x * f(w)      f(w): w where the forward mask keeps it, else 0
    backward   dx = dy * b(w)     b(w): w where the backward mask keeps it, else 0
    weights    dw = x * dy + decay * (w where the forward mask drops it)

Both masks are made anew, from the dense masters, whenever the layer runs (:mod:`.masks`).  The
gradient of the weights is dense, so that a weight that was dropped may come back.

=============  ====================  ======================  =========================
method         forward               backward                after
=============  ====================  ======================  =========================
``bdwp``       pruned along inputs   pruned along outputs    Fang et al., TCAD 2023
``srste``      pruned along inputs   as forward              Zhou et al., ICLR 2021
``backward``   dense                 pruned along outputs    SDWP of the first
``dense``      dense                 dense
=============  ====================  ======================  =========================

``srste`` prunes its backward product along an axis that this one does not add up over: it skips no
multiplication there.

With a ``format``, operands (inputs, weights, and gradients of outputs) are rounded to it, as the
array's are; products and sums are FP32.  Masters, biases and gradients of weights stay FP32, and
masks are those of the masters.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from .. import floating
from .masks import backward_mask, check, forward_mask, padding

Method = Literal["bdwp", "srste", "backward", "dense"]


@dataclass(frozen=True)
class Pruning:
    """What a layer's products leave out, and their number format."""

    method: Method = "bdwp"
    kept: int = 2
    """N: weights kept of every group."""
    group: int = 8
    """M: consecutive weights along the axis that a product adds up over."""
    decay: float = 0.0
    """SR-STE's pull to 0 on the weights that the forward mask drops; its authors take 2e-4."""
    format: Literal["fp16", "bf16"] | None = None
    """Of the operands; None: that of the tensors, not rounded."""

    def __post_init__(self) -> None:
        check(self.kept, self.group)
        if self.method not in get_args(Method):
            raise ValueError(f"method = {self.method!r} is none of {', '.join(get_args(Method))}")
        if not self.decay >= 0:
            raise ValueError(f"decay = {self.decay} is below 0")
        if self.format not in (None, "fp16", "bf16"):
            raise ValueError(f"format = {self.format!r} is none of fp16, bf16, None")

    @property
    def forward(self) -> bool:
        """Whether the forward product is pruned."""
        return self.method in ("bdwp", "srste")

    @property
    def backward(self) -> bool:
        """Whether the backward product is pruned."""
        return self.method != "dense"

    def operand(self, values: Tensor) -> Tensor:
        """``values`` as a product takes them."""
        if self.format is None:
            return values
        return floating.narrow(values, floating.FORMATS[self.format])

    def forward_mask(self, weight: Tensor) -> Tensor | None:
        """Of the right operand of the forward product; None where it is dense."""
        return forward_mask(weight, self.kept, self.group) if self.forward else None

    def backward_mask(self, weight: Tensor, parts: int = 1) -> Tensor | None:
        """Of that of the backward product; ``parts``: a convolution's groups."""
        if self.method == "srste":
            return self.forward_mask(weight)
        return backward_mask(weight, self.kept, self.group, parts) if self.backward else None

    def right(self, weight: Tensor, mask: Tensor | None) -> Tensor:
        """The right operand of a product."""
        operand = self.operand(weight)
        return operand if mask is None else operand.where(mask, 0)


class PrunedLinear(nn.Linear):
    """A linear layer whose products take N:M weights."""

    loss_scale: float = 1.0
    """What the loss is multiplied by, so that the decay is as well (:mod:`.optimise`)."""

    def __init__(self, *args: Any, pruning: Pruning | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pruning = pruning or Pruning()

    def forward(self, input: Tensor) -> Tensor:
        input, weight, bias = _autocast(input, self.weight, self.bias)
        y = _product(input, weight, _Linear(), self)
        return y if bias is None else y + bias

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.pruning}"


class PrunedConv2d(nn.Conv2d):
    """A convolution whose products take N:M weights, at each place of the kernel."""

    loss_scale: float = 1.0
    """As :attr:`PrunedLinear.loss_scale`."""

    def __init__(self, *args: Any, pruning: Pruning | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pruning = pruning or Pruning()

    def forward(self, input: Tensor) -> Tensor:
        input, weight, bias = _autocast(input, self.weight, self.bias)
        edges: Any = self.padding
        if isinstance(edges, str) or self.padding_mode != "zeros":
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            around = self._reversed_padding_repeated_twice
            input, edges = functional.pad(input, around, mode=mode), 0
        # The gradients' functions want a batch.
        single = input.ndim == 3
        kind = _Convolution(self.stride, edges, self.dilation, self.groups)
        y = _product(input[None] if single else input, weight, kind, self)
        y = y if bias is None else y + bias[:, None, None]
        return y[0] if single else y

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.pruning}"


Pruned = PrunedLinear | PrunedConv2d


@dataclass(frozen=True)
class Layer:
    """What became of a layer, or of a parameter that is no known layer's weight."""

    name: str
    """Of the module, or of the parameter; that of the whole module is empty."""
    kind: str
    shape: tuple[int, ...]
    """Of the weight."""
    pruned: bool
    reason: str = ""
    """Why it stayed dense."""
    forward: float = 1.0
    """Share of the weights that the forward product multiplies."""
    backward: float = 1.0
    """Likewise backward, as far as multiplications can be skipped (:mod:`.pruning`)."""
    padded: tuple[int, int] = (0, 0)
    """Zeros that fill up the last group of the inputs, and of the outputs."""


@dataclass(frozen=True)
class Conversion:
    """The result of :func:`convert`."""

    module: nn.Module
    layers: tuple[Layer, ...]

    def __str__(self) -> str:
        lines = []
        for layer in self.layers:
            shape = "x".join(map(str, layer.shape))
            what = f"dense: {layer.reason}"
            if layer.pruned:
                what = f"forward {layer.forward:.1%}, backward {layer.backward:.1%} of the weights"
                if any(layer.padded):
                    what += "; padded by {} inputs, {} outputs".format(*layer.padded)
            lines.append(f"{layer.name or '(itself)'}: {layer.kind} {shape}, {what}")
        return "\n".join(lines)


def convert(
    module: nn.Module, pruning: Pruning | None = None, keep_dense: Iterable[str] | None = None
) -> Conversion:
    """A copy of ``module`` whose linear layers and 2-d convolutions train as ``pruning`` says.

    The copy's state has the same names and values.  Layers named in ``keep_dense`` stay dense; by
    default the first and the last, in the order of registration.  They take operands of the same
    format.  Whatever else has weights of two or more dimensions stays as it is, and the report
    says why.

    Raises :class:`ValueError` where a name is none of the layers', and where nothing is pruned
    although the method asks for it.
    """
    pruning = pruning or Pruning()
    module = copy.deepcopy(module)
    names = [name for name, part in module.named_modules() if type(part) in _PRUNED]
    if keep_dense is None:
        reasons = dict.fromkeys(names[-1:], "last layer") | dict.fromkeys(names[:1], "first layer")
    else:
        reasons = dict.fromkeys(keep_dense, "as asked for")
    if unknown := sorted(reasons.keys() - set(names)):
        raise ValueError(
            f"keep_dense names {', '.join(unknown)}; the layers are {', '.join(names) or 'none'}"
        )
    if pruning.method != "dense" and not set(names) - reasons.keys():
        raise ValueError(
            f"nothing to prune: {len(names)} linear layers and 2-d convolutions of which "
            f"{len(reasons)} stay dense; name fewer in keep_dense, () prunes all"
        )
    layers, seen = [], set()
    for name, part in module.named_modules():
        if type(part) in _PRUNED:
            reason = reasons.get(name, "" if pruning.method != "dense" else "method dense")
            layers.append(_convert(name, part, pruning, reason))
            seen.add(f"{name}.weight".lstrip("."))
        elif isinstance(part, nn.TransformerEncoderLayer):
            # Its fused path, for inference, would take the weights past its layers.
            part.activation_relu_or_gelu = 0
    for name, parameter in module.named_parameters():
        if parameter.ndim >= 2 and name not in seen:
            owner = module.get_submodule(name.rpartition(".")[0])
            layers.append(
                Layer(
                    name, type(owner).__name__, tuple(parameter.shape), False,
                    "neither nn.Linear nor nn.Conv2d itself, which alone are converted",
                )
            )  # fmt: skip
    return Conversion(module, tuple(layers))


def plain(module: nn.Module) -> nn.Module:
    """A copy with ordinary layers, whose weights are the forward products': to be deployed."""
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part, Pruned):
            with torch.no_grad():
                kept = part.pruning.forward_mask(part.weight)
                part.weight.copy_(part.pruning.right(part.weight, kept))
            del part.pruning
            usual: Any = nn.Linear if isinstance(part, PrunedLinear) else nn.Conv2d
            part.__class__ = usual
    return module


_PRUNED: dict[type, type] = {nn.Linear: PrunedLinear, nn.Conv2d: PrunedConv2d}


def _convert(name: str, layer: Any, pruning: Pruning, reason: str) -> Layer:
    """Makes ``layer`` a pruned one in its place, with its hooks and whatever shares it."""
    kind, shape = type(layer).__name__, tuple(layer.weight.shape)
    if reason:
        pruning = replace(pruning, method="dense", decay=0.0)
    if not reason or pruning.format is not None:
        layer.__class__ = _PRUNED[type(layer)]
        layer.pruning = pruning
    if reason:
        return Layer(name, kind, shape, False, reason)
    parts = getattr(layer, "groups", 1)
    inputs, outputs = shape[1], shape[0] // parts
    forward = _share(inputs, pruning) if pruning.forward else 1.0
    backward = _share(outputs, pruning) if pruning.method in ("bdwp", "backward") else 1.0
    padded = padding(inputs, pruning.group), padding(outputs, pruning.group)
    return Layer(name, kind, shape, True, "", forward, backward, padded)


def _share(size: int, pruning: Pruning) -> float:
    whole, rest = divmod(size, pruning.group)
    return (whole * pruning.kept + min(rest, pruning.kept)) / size


def _autocast(*tensors: Tensor | None) -> tuple[Any, ...]:
    """``tensors`` in the type that autocast, where it is on, takes for products."""
    assert tensors[0] is not None
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(None if tensor is None else tensor.to(dtype) for tensor in tensors)


class _Linear:
    """The products of a linear layer."""

    parts = 1

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(x, weight)

    def to_input(self, dy: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        return (dy @ weight).reshape(shape)

    def to_weight(self, dy: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
        return dy.reshape(-1, shape[0]).T @ x.reshape(-1, shape[1])


@dataclass(frozen=True)
class _Convolution:
    """The products of a convolution."""

    stride: Any
    padding: Any
    dilation: Any
    parts: int

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d(x, weight, None, *self._how)

    def to_input(self, dy: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        return conv2d_input(shape, weight, dy, *self._how)

    def to_weight(self, dy: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
        return conv2d_weight(x, shape, dy, *self._how)

    @property
    def _how(self) -> Any:
        return self.stride, self.padding, self.dilation, self.parts


def _product(x: Tensor, weight: Tensor, kind: _Linear | _Convolution, layer: Pruned) -> Tensor:
    return _Product.apply(x, weight, kind, layer.pruning, layer.loss_scale)  # pyright: ignore


class _Product(torch.autograd.Function):
    """A product with one right operand forwards and another backwards."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        kind: _Linear | _Convolution,
        pruning: Pruning,
        loss_scale: float,
    ) -> Tensor:
        mask = pruning.forward_mask(weight)
        ctx.save_for_backward(x, weight, mask)
        ctx.kind, ctx.pruning, ctx.loss_scale = kind, pruning, loss_scale
        return kind.forward(pruning.operand(x), pruning.right(weight, mask))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, weight, mask = ctx.saved_tensors
        kind, pruning = ctx.kind, ctx.pruning
        dy = pruning.operand(gradients[0])
        dx = dw = None
        if ctx.needs_input_grad[0]:
            other = mask if pruning.method == "srste" else pruning.backward_mask(weight, kind.parts)
            dx = kind.to_input(dy, pruning.right(weight, other), x.shape)
        if ctx.needs_input_grad[1]:
            dw = kind.to_weight(dy, pruning.operand(x), weight.shape)
            if mask is not None and pruning.decay:
                dw = dw + pruning.decay * ctx.loss_scale * weight.masked_fill(mask, 0)
        return dx, dw, None, None, None
