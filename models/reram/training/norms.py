"""Batch norm folded into the layer before it.

A norm multiplies each output's sum with a factor.  A negative one inverts the signs of a whole
column of weights: its fragments stay polarised, their sign indicators are the other ones.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def fold(module: nn.Module) -> dict[str, Tensor]:
    """Folds every batch norm that alone sees a linear layer's or convolution's outputs, in place.

    The norm becomes an identity, its statistics as they are become weights and biases.  Returns
    what each layer's outputs were multiplied with, [outputs] by the layer's name.  Norms elsewhere
    stay.  Raises :class:`ValueError` where there are norms and ``torch.fx`` cannot follow the
    module, and for one without statistics.
    """
    if not any(isinstance(part, _BatchNorm) for part in module.modules()):
        return {}
    try:
        graph = fx.symbolic_trace(module).graph
    except (TypeError, ValueError, RuntimeError, NameError, TraceError) as error:
        raise ValueError(
            f"torch.fx cannot follow {type(module).__name__} to fold its batch norms: {error}; "
            "leave out what depends on its data, or fold them before"
        ) from error
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    found: dict[str, Tensor] = {}
    for node in graph.nodes:
        pair = _pair(module, node)
        if pair is None or calls.count(str(node.target)) > 1:
            continue
        name = str(node.args[0].target)
        layer, norm = pair
        if calls.count(name) > 1:
            continue
        found[name] = _into(layer, norm, str(node.target))
        parent, _, last = str(node.target).rpartition(".")
        setattr(module.get_submodule(parent), last, nn.Identity())
    return found


def _pair(module: nn.Module, node: fx.Node) -> tuple[nn.Linear | nn.Conv2d, _BatchNorm] | None:
    """The layer and the norm behind it, where ``node`` is such a norm."""
    before: Any = node.args[0] if node.args else None
    if not isinstance(before, fx.Node) or len(before.users) != 1:
        return None
    if node.op != "call_module" or before.op != "call_module":
        return None
    layer, norm = module.get_submodule(str(before.target)), module.get_submodule(str(node.target))
    if isinstance(layer, nn.Linear | nn.Conv2d) and isinstance(norm, _BatchNorm):
        return layer, norm
    return None


def _into(layer: nn.Linear | nn.Conv2d, norm: _BatchNorm, name: str) -> Tensor:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError(
            f"{name} keeps no statistics, so that it is no factor; set track_running_stats"
        )
    scales = (variance + norm.eps).rsqrt()
    if norm.affine:
        scales = scales * norm.weight
    shift = -mean * scales + (norm.bias if norm.affine else 0)
    layer.weight.mul_(scales.view(-1, *[1] * (layer.weight.ndim - 1)))
    if layer.bias is None:
        layer.bias = nn.Parameter(shift)
    else:
        layer.bias.mul_(scales).add_(shift)
    return scales
