"""Activations that do not let through what only a fault can make.

A bound is one for a layer, or one for each neuron: whatever broadcasts against [batch, ...].
"""

import copy
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..layer import register_bits
from ..layer_config import ReramLayerConfig

Beyond = Literal["zero", "saturate"]


class ClippedReLU(nn.Module):
    """x where ``0 <= x <= threshold``; beyond the threshold 0 (FT-ClipAct) or the threshold.

    What is no number counts as beyond: a comparator that finds it neither small nor large enough.

    Source: Hoang, Hanif and Shafique, FT-ClipAct, DATE 2020.
    """

    threshold: Tensor

    def __init__(self, threshold: float | Tensor, beyond: Beyond = "zero") -> None:
        """Raises :class:`ValueError` for a threshold that is negative or no number."""
        super().__init__()
        threshold = torch.as_tensor(threshold, dtype=torch.float32)
        if not bool((threshold >= 0).all()):
            raise ValueError(
                f"threshold = {float(threshold.min())} lets nothing through; 0 or more"
            )
        self.register_buffer("threshold", threshold)
        self.beyond: Beyond = beyond

    def forward(self, x: Tensor) -> Tensor:
        """Of x's shape."""
        if self.beyond == "saturate":
            bounded = torch.minimum(x.relu(), self.threshold)
            return torch.where(x.isnan(), self.threshold, bounded)
        return torch.where((x >= 0) & (x <= self.threshold), x, 0.0)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"{_shown(self.threshold)}, beyond={self.beyond!r}"


class HyReLU(nn.Module):
    """``max(0, x - x * sigmoid(k * (x - limit)))``: a clip to 0 whose limit has a gradient.

    ``limit = largest * share``: the largest activation that there was, and the parameter that is
    trained, 1 at first, so that one rate of learning suits layers of all scales.  What is beyond
    every number, or none, gives 0.

    Source: Mousavi et al., ProAct, arXiv 2406.06313.
    """

    largest: Tensor

    def __init__(self, largest: float | Tensor, k: float = 20.0) -> None:
        """One limit for each value of ``largest``."""
        super().__init__()
        largest = torch.as_tensor(largest, dtype=torch.float32)
        self.register_buffer("largest", largest)
        self.share = nn.Parameter(torch.ones_like(largest))
        self.k = k

    @property
    def limit(self) -> Tensor:
        """Lambda, in the activation's unit."""
        return self.largest * self.share

    def forward(self, x: Tensor) -> Tensor:
        """Of x's shape."""
        finite = torch.where(x.isfinite(), x, 0.0)
        return (finite * torch.sigmoid(self.k * (self.limit - finite))).relu()

    def hard(self) -> ClippedReLU:
        """What a comparator makes of it: a clip to 0 beyond the limit."""
        return ClippedReLU(self.limit.detach().clamp(min=0))

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"{_shown(self.limit)}, k={self.k:g}"


def relus(module: nn.Module) -> dict[str, nn.Module]:
    """All ReLUs by name, clipped ones too, in the order of registration; shared ones once.

    Raises :class:`ValueError` where there is none.
    """
    found: dict[str, nn.Module] = {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, nn.ReLU | ClippedReLU | HyReLU)
    }
    if not found:
        raise ValueError(
            f"{type(module).__name__} has no torch.nn.ReLU; make modules of the calls of relu()"
        )
    return found


def replaced(module: nn.Module, make: Callable[[str, nn.Module], nn.Module]) -> nn.Module:
    """A copy whose ReLUs are what ``make`` gives for their name and themselves.

    One that several places share is replaced in all of them by one.  Weights have the same names
    in the copy.  Raises as :func:`relus`.
    """
    whole = nn.ModuleDict({"copy": copy.deepcopy(module)})
    made = {part: make(name, part) for name, part in relus(whole["copy"]).items()}
    for name, part in list(whole.named_modules(remove_duplicate=False)):
        if part in made:
            parent, _, last = name.rpartition(".")
            setattr(whole.get_submodule(parent), last, made[part])
    return whole["copy"]


def clipped(
    module: nn.Module, thresholds: dict[str, float] | dict[str, Tensor], beyond: Beyond = "zero"
) -> nn.Module:
    """A copy with a :class:`ClippedReLU` for every ReLU."""
    return replaced(module, lambda name, _: ClippedReLU(thresholds[name], beyond))


@torch.no_grad()
def largest(module: nn.Module, images: Tensor, batch: int = 128) -> dict[str, Tensor]:
    """The largest that each neuron of each ReLU gives on these images, without the batch's axis.

    In the order in which the network first comes to them.  A ReLU that is called for several shapes
    has one for all.  Raises as :func:`relus`.
    """
    found: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def seen(_: nn.Module, __: Any, result: Tensor) -> None:
            most = result.amax(dim=0)
            before = found.get(name, most)
            if before.shape != most.shape:
                before, most = before.max(), most.max()
            found[name] = torch.maximum(before, most)

        return seen

    hooks = [part.register_forward_hook(watch(name)) for name, part in relus(module).items()]
    training = module.training
    try:
        module.eval()
        for part in images.split(batch):
            module(part)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    return found


def register(config: ReramLayerConfig, threshold: float, step: float) -> int:
    """The register ``threshold`` of the crossbar engine that clips where ``threshold`` does.

    ``step`` is what 1 in the engine's results is worth, in the activation's unit: the scale that
    ``multiplier`` and ``shift`` realise is ``weight_step * input_step / step``.  A result y passes
    where ``y * step <= threshold``.  Thresholds beyond the results' format clip nothing that the
    format does not; the register is then its largest number.

    Raises :class:`ValueError` for a step that is not above 0 and for a negative threshold.
    """
    if not (step > 0 and threshold >= 0):
        raise ValueError(
            f"threshold = {threshold} of steps of {step} is no register; a threshold from 0, a "
            "step above 0"
        )
    top = (1 << register_bits(config)["threshold"]) - 1
    if threshold >= top * step:
        return top
    near = int(threshold / step)  # rounded: the quotient may be an integer's neighbour
    return next(y for y in (near + 1, near, near - 1) if y * step <= threshold)


def _shown(bound: Tensor) -> str:
    if bound.numel() == 1:
        return f"{float(bound):.4g}"
    return f"{bound.numel()} from {float(bound.min()):.4g} to {float(bound.max()):.4g}"
