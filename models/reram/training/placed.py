"""A converted network whose layers run on crossbars: integer inputs, and what their ADCs read.

A layer's inputs are scaled by the largest magnitude that calibration images bring there: with
``input_bits`` = b an input a becomes ``round(a / largest * (2**b - 1))``, saturated, or where some
are negative, an integer of b bits in two's complement, which takes an offset.
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..array import Chip
from ..crossbar import Crossbar, How
from ..devices import Devices, draw
from ..mapping import Layout
from .convert import Converted, Laid


class Placed(nn.Module):
    """A linear layer or a convolution on a crossbar."""

    def __init__(
        self, layer: nn.Linear | nn.Conv2d, laid: Laid, layout: Layout, crossbar: Crossbar
    ) -> None:
        super().__init__()
        self.layer, self.laid, self.layout, self.crossbar = layer, laid, layout, crossbar
        self.largest, self.signed = 0.0, False
        self.calibrating = True

    @property
    def step(self) -> float:
        """What an integer input of 1 is worth."""
        return self.largest / self._top or 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Sums with their bias, as floating point."""
        if self.calibrating:
            self.largest = max(self.largest, float(x.abs().max()))
            self.signed |= bool((x < 0).any())
            return self.layer(x)
        whole = (x / self.step).round().clamp(-self._top if self.signed else 0, self._top)
        if isinstance(self.layer, nn.Linear):
            return self._sums(whole.flatten(0, -2)).view(*x.shape[:-1], -1)
        rows, (height, width) = self._windows(self.layer, whole)
        sums = self._sums(rows.transpose(1, 2).flatten(0, 1))
        return sums.view(len(x), height, width, -1).permute(0, 3, 1, 2)

    @property
    def _top(self) -> int:
        return (1 << self.laid.config.input_bits - self.signed) - 1

    def _sums(self, rows: Tensor) -> Tensor:
        """float32 [batch, outputs] of integers [batch, inputs]."""
        kept = rows.cpu().numpy()[:, self.laid.inputs].astype(np.int64)
        found = self.crossbar.signed(kept) if self.signed else self.crossbar(kept)
        sums = rows.new_zeros(len(rows), self.laid.shape[1])
        columns = torch.as_tensor(self.laid.outputs, device=rows.device)
        sums[:, columns] = torch.as_tensor(found).to(sums) * (self.laid.step * self.step)
        return sums if self.layer.bias is None else sums + self.layer.bias

    def _windows(self, layer: nn.Conv2d, whole: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """What each window sees [batch, inputs, windows], in the layout's order."""
        size = (layer.kernel_size[0], layer.kernel_size[1])
        stride = (layer.stride[0], layer.stride[1])
        if layer.padding == "same":
            around = [
                (side - 1) // 2 + (side - 1) % 2 * end for side in size[::-1] for end in (0, 1)
            ]
        else:
            both = (0, 0) if isinstance(layer.padding, str) else layer.padding
            around = [both[1], both[1], both[0], both[0]]
        whole = functional.pad(whole, around)
        rows = functional.unfold(whole, size, stride=stride)
        if self.layout == "position":
            rows = rows.unflatten(1, (layer.in_channels, -1)).transpose(1, 2).flatten(1, 2)
        height, width = (
            (side - window) // step + 1
            for side, window, step in zip(whole.shape[2:], size, stride, strict=True)
        )
        return rows, (height, width)


@torch.no_grad()
def placed(
    found: Converted,
    calibration: Tensor,
    layout: Layout = "channel",
    *,
    how: How = "auto",
    devices: Devices | None = None,
    seed: int = 0,
) -> nn.Module:
    """A copy of the converted network on crossbars; ``layout`` is that of its conversion.

    Every layer is a chip of its own, drawn from ``devices``; without, they are ideal.
    """
    module = copy.deepcopy(found.module).eval()
    layers: list[Placed] = []
    for number, (name, laid) in enumerate(found.layers.items()):
        layer = module.get_submodule(name)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        mapping = laid.mapping()
        chip = draw(mapping, devices, (seed, number)) if devices else Chip.ideal(mapping)
        layers.append(Placed(layer, laid, layout, Crossbar(chip, how)))
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, layers[-1])
    module(calibration)
    for layer in layers:
        layer.calibrating = False
    return module.requires_grad_(False)
