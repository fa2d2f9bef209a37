"""Residual networks for CIFAR-10 as crossbars see them: integer weights and integer activations.

The networks are those of He et al. (2016) with 3x3 convolutions of 16, 32 and 64 channels, batch
norm folded into weights and biases.  Weights are scaled by their layer's largest magnitude.  So are
activations, by the largest that calibration images give: with ``input_bits`` = b an activation
a becomes ``round(a / largest * (2**b - 1))``; the first layer's signed pixels become integers from
``-(2**(b-1) - 1)`` to ``2**(b-1) - 1``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch.nn import functional

from .array import Chip
from .config import ReramConfig
from .crossbar import Crossbar, Gemm, How, Passes
from .devices import Devices, draw
from .mapping import Layout, map_weights, matrix, patches
from .skipping import effective_cycles

_MEAN, _DEVIATION = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
"""Of CIFAR-10's channels; of the usual scalings the one that the stored networks do best with."""

Convolve = Callable[["Convolution", torch.Tensor], torch.Tensor]
"""A layer and its input [batch, channels, height, width] to its sums, without the bias."""


@dataclass(frozen=True)
class Convolution:
    """A convolution with what its batch norm makes of it."""

    name: str
    weight: torch.Tensor
    """float32 [outputs, channels, size, size]."""
    bias: torch.Tensor
    """float32 [outputs]."""
    stride: int

    @property
    def size(self) -> int:
        """Of the window; it is padded to keep the image's size."""
        return self.weight.shape[2]

    @property
    def first(self) -> bool:
        """Whether it sees pixels, which are signed; others see what a ReLU leaves."""
        return self.name == "conv1"

    @property
    def shortcut(self) -> bool:
        """Whether it is a 1x1 convolution beside a block."""
        return "downsample" in self.name

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The sums in floating point."""
        return functional.conv2d(x, self.weight, None, self.stride, self.size // 2)


class ResNet:
    """A trained network; ``convolve`` replaces the arithmetic of its convolutions."""

    def __init__(self, state: Mapping[str, np.ndarray]) -> None:
        """From the arrays of a state dict."""
        self._state = {name: torch.as_tensor(value) for name, value in state.items()}
        names = [name.removesuffix(".weight") for name in state if self._state[name].ndim == 4]
        self.convolutions = {name: self._folded(name) for name in names}

    @staticmethod
    def pixels(images: np.ndarray) -> torch.Tensor:
        """float32 [batch, 3, 32, 32] of uint8 [batch, 32, 32, 3]."""
        normal = (images / 255 - np.array(_MEAN)) / np.array(_DEVIATION)
        return torch.as_tensor(normal.transpose(0, 3, 1, 2).astype(np.float32)).contiguous()

    @torch.no_grad()
    def __call__(
        self, pixels: torch.Tensor, convolve: Convolve = lambda layer, x: layer(x)
    ) -> torch.Tensor:
        """Scores [batch, 10] of :meth:`pixels`."""

        def layer(name: str, x: torch.Tensor) -> torch.Tensor:
            found = self.convolutions[name]
            return convolve(found, x) + found.bias[:, None, None]

        x = layer("conv1", pixels).relu()
        blocks = [
            name.removesuffix("conv1") for name in self.convolutions if name.endswith(".conv1")
        ]
        for block in blocks:
            shortcut = f"{block}downsample.0"
            beside = layer(shortcut, x) if shortcut in self.convolutions else x
            x = layer(f"{block}conv1", x).relu()
            x = (layer(f"{block}conv2", x) + beside).relu()
        weight, bias = self.classifier
        return x.mean((2, 3)) @ weight.T + bias

    @property
    def classifier(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight [10, features] and bias of the layer behind the convolutions."""
        return self._state["classifier.2.weight"], self._state["classifier.2.bias"]

    def largest(self, pixels: torch.Tensor) -> dict[str, float]:
        """The largest magnitude that enters each convolution."""
        found: dict[str, float] = {}

        def convolve(layer: Convolution, x: torch.Tensor) -> torch.Tensor:
            found[layer.name] = float(x.abs().max())
            return layer(x)

        self(pixels, convolve)
        return found

    def weight(self, name: str) -> torch.Tensor:
        """Of a convolution, as it was trained: float32 [outputs, channels, size, size]."""
        return self._state[f"{name}.weight"]

    def norm(self, name: str) -> dict[str, torch.Tensor]:
        """The state of the batch norm behind a convolution."""
        if name.endswith("downsample.0"):
            norm = name.removesuffix("0") + "1"
        else:
            head, _, last = name.rpartition("conv")
            norm = f"{head}bn{last}"
        parts = ("weight", "bias", "running_mean", "running_var")
        return {part: self._state[f"{norm}.{part}"] for part in parts}

    def _folded(self, name: str) -> Convolution:
        norm, weight = self.norm(name), self.weight(name)
        scale = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
        halved = weight.shape[0] == 2 * weight.shape[1]  # where channels double
        return Convolution(
            name,
            weight * scale[:, None, None, None],
            norm["bias"] - norm["running_mean"] * scale,
            2 if halved else 1,
        )


@dataclass(frozen=True)
class Quantiser:
    """The integers of one layer: ``real = integer * step``."""

    weights: np.ndarray
    """int64 [inputs, outputs]."""
    weight_step: float
    input_step: float
    bits: int
    signed: bool

    @classmethod
    def of(cls, layer: Convolution, config: ReramConfig, largest: float, layout: Layout) -> Self:
        """For ``layer``, whose input does not exceed ``largest``."""
        step = float(layer.weight.abs().max()) / config.weight_limits[1]
        weights = np.rint(layer.weight.double().numpy() / step).astype(np.int64)
        levels = (1 << config.input_bits - layer.first) - 1
        return cls(matrix(weights, layout), step, largest / levels, config.input_bits, layer.first)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` as integers of its own type, rounded and saturated."""
        high = (1 << self.bits - self.signed) - 1
        return (x / self.input_step).round_().clamp_(-high if self.signed else 0, high)


def polarise(weights: np.ndarray, rows: int) -> np.ndarray:
    """Integer weights [inputs, outputs] with one sign in every fragment of ``rows``.

    The nearest such weights: of each fragment the sign with the larger sum of squares stays, and
    0 replaces the other.
    """
    inputs, outputs = weights.shape
    whole = np.pad(weights, ((0, -inputs % rows), (0, 0))).reshape(-1, rows, outputs)
    positive, negative = np.maximum(whole, 0), np.minimum(whole, 0)
    keep = (positive**2).sum(axis=1) >= (negative**2).sum(axis=1)
    return np.where(keep[:, None], positive, negative).reshape(-1, outputs)[:inputs]


class CrossbarNetwork:
    """A network whose convolutions all run on crossbars of one configuration."""

    def __init__(
        self,
        network: ResNet,
        config: ReramConfig,
        calibration: torch.Tensor,
        how: How = "auto",
        layout: Layout = "channel",
        passes: Passes = "offset",
        devices: Devices | None = None,
        seed: int = 0,
    ) -> None:
        """Activations are scaled by what the images ``calibration`` give.

        Every layer is a chip of its own, drawn from ``devices``; without, they are ideal.

        A polarised mapping takes the network's nearest polarised weights, which are no substitute
        for training them so.
        """
        self.network = network
        self.layout: Layout = layout
        self.passes: Passes = passes
        largest = network.largest(calibration)
        self.quantisers: dict[str, Quantiser] = {}
        self.crossbars: dict[str, Crossbar] = {}
        for number, (name, layer) in enumerate(network.convolutions.items()):
            quantiser = Quantiser.of(layer, config, largest[name], layout)
            weights = quantiser.weights
            if config.mapping == "polarised":
                weights = polarise(weights, config.fragment_rows)
            self.quantisers[name] = quantiser
            mapping = map_weights(config, weights)
            chip = draw(mapping, devices, (seed, number)) if devices else Chip.ideal(mapping)
            self.crossbars[name] = Crossbar(chip, how)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scores [batch, 10]."""
        return self.network(pixels, self.convolve)

    def rows(self, layer: Convolution, x: torch.Tensor) -> np.ndarray:
        """The integers that enter a layer's crossbars, [batch, height, width, inputs]."""
        whole = (
            self.quantisers[layer.name](x).numpy().astype(np.int32 if layer.first else np.uint16)
        )
        return patches(whole, layer.size, layer.stride, layer.size // 2, self.layout)

    def convolve(self, layer: Convolution, x: torch.Tensor) -> torch.Tensor:
        """A convolution's sums, from its crossbars."""
        crossbar, quantiser = self.crossbars[layer.name], self.quantisers[layer.name]
        if crossbar.gemm:
            sums = self._multiplied(crossbar.gemm, layer, quantiser(x))
            if layer.first and self.passes == "offset":
                sums = sums + torch.as_tensor(crossbar.drift())[:, None, None]
        else:
            rows = self.rows(layer, x)
            flat = rows.reshape(-1, rows.shape[-1])
            sums = crossbar.signed(flat, self.passes) if layer.first else crossbar(flat)
            sums = torch.as_tensor(sums.reshape(*rows.shape[:3], -1)).permute(0, 3, 1, 2)
        return sums.float() * (quantiser.weight_step * quantiser.input_step)

    def _multiplied(self, gemm: Gemm, layer: Convolution, whole: torch.Tensor) -> torch.Tensor:
        """The same integers [batch, outputs, height, width]: a product a tap of the window.

        Every partial sum is an integer that the products' type holds, so their order is free.
        """
        size, stride, (channels, outputs) = layer.size, layer.stride, layer.weight.shape[1::-1]
        whole = (
            functional.pad(whole.to(gemm.dtype), (size // 2,) * 4).permute(0, 2, 3, 1).contiguous()
        )
        height, width = ((side - size) // stride + 1 for side in whole.shape[1:3])
        if self.layout == "channel":
            taps = gemm.weights.view(channels, size * size, outputs).transpose(0, 1)
        else:
            taps = gemm.weights.view(size * size, channels, outputs)
        sums = whole.new_zeros(len(whole) * height * width, outputs)
        for tap, weights in enumerate(taps):
            y, x = divmod(tap, size)
            seen = whole[:, y : y + stride * height : stride, x : x + stride * width : stride]
            sums.addmm_(seen.reshape(-1, channels), weights)
        return sums.view(-1, height, width, outputs).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class LayerCycles:
    """Input cycles of a layer."""

    name: str
    mean: float
    """Effective cycles of a fragment, over all windows of all images."""
    weight: int
    """Windows times fragments times outputs: conversions of a cycle, in columns of a slice."""


def layer_cycles(
    network: ResNet, config: ReramConfig, pixels: torch.Tensor, layout: Layout = "channel"
) -> list[LayerCycles]:
    """Of every layer but the first and the shortcuts, on these images.

    The network computes in floating point; each layer's input is scaled by its largest value on
    these images.
    """
    found: list[LayerCycles] = []

    def convolve(layer: Convolution, x: torch.Tensor) -> torch.Tensor:
        if not layer.first and not layer.shortcut:
            quantiser = Quantiser.of(layer, config, float(x.max()), layout)
            whole = quantiser(x).numpy().astype(np.uint16)
            rows = patches(whole, layer.size, layer.stride, layer.size // 2, layout)
            cycles = effective_cycles(config, rows)
            weight = cycles.size * layer.weight.shape[0]
            found.append(LayerCycles(layer.name, float(cycles.mean()), weight))
        return layer(x)

    network(pixels, convolve)
    return found


def mean_cycles(layers: list[LayerCycles]) -> float:
    """Cycles of a conversion's fragment, over all conversions."""
    return sum(layer.mean * layer.weight for layer in layers) / sum(
        layer.weight for layer in layers
    )
