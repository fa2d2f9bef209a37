"""What holds a network's weights, and what faults make of them.

A memory stores a weight tensor once and gives it back with faults at a rate, as tensors that any
forward pass takes.  Faults are drawn on the processor: they do not depend on the device.  Faults
at a rate are among those of the same seed at a higher rate.  Biases are not stored.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from scipy.stats import poisson
from torch import Tensor, nn
from torch.func import functional_call

from ..config import ReramConfig
from ..devices import Devices, draw
from ..mapping import Layout, Mapping, map_weights, matrix
from ..resnet import polarise

Flaws = Literal["off", "on", "mixed", "signs"]
"""Cells stuck at the lowest level, at the highest, half of each; or sign indicators inverted."""


class Held(Protocol):
    """A weight tensor in a memory."""

    def __call__(self, rate: float, seed: tuple[int, ...]) -> np.ndarray:
        """float32 of the weights' shape: as read, with faults at ``rate``."""
        ...


class Memory(Protocol):
    """Holds weights; see :meth:`store`."""

    def store(self, weights: np.ndarray) -> Held:
        """``weights`` float32 [outputs, ...]."""
        ...


class Float32:
    """FP32; a share ``rate`` of the bits is flipped.  Infinities and NaN are possible."""

    def store(self, weights: np.ndarray) -> Held:
        """See :class:`Memory`."""
        return lambda rate, seed: flipped(weights.view(np.uint32), rate, seed).view(np.float32)


@dataclass(frozen=True)
class Int8:
    """Two's complement of 8 bits, the largest magnitude being 127; bits are flipped."""

    def store(self, weights: np.ndarray) -> Held:
        """See :class:`Memory`."""
        step = _step(weights, 127)
        whole = np.rint(weights / step).astype(np.int8).view(np.uint8)
        return lambda rate, seed: flipped(whole, rate, seed).view(np.int8).astype(np.float32) * step


@dataclass(frozen=True)
class Cells:
    """Crossbars, a share ``rate`` of whose cells (or sign indicators) has a flaw.

    Weights are scaled to ``config.weight_limits``; a polarised mapping takes the nearest polarised
    ones, which polarised weights are themselves.  The array computes the product with what the
    cells stand for: ADCs must resolve all that stuck cells add up.
    """

    config: ReramConfig
    flaws: Flaws
    layout: Layout = "channel"

    def __post_init__(self) -> None:
        c = self.config
        most = c.fragment_rows * c.top
        if most > c.adc_top:
            raise ValueError(
                f"adc_bits = {c.adc_bits} do not resolve the {most} levels of {c.fragment_rows} "
                f"cells that are stuck; set {most.bit_length()}"
            )

    def store(self, weights: np.ndarray) -> Held:
        """See :class:`Memory`."""
        return _Mapped(self, weights)

    def devices(self, rate: float) -> Devices:
        """The flaws as statistics."""
        off, on = {"off": (1, 0), "on": (0, 1), "mixed": (0.5, 0.5), "signs": (0, 0)}[self.flaws]
        signs = rate if self.flaws == "signs" else 0.0
        return Devices(stuck_off=off * rate, stuck_on=on * rate, sign_faults=signs)


@dataclass(frozen=True)
class _Mapped:
    memory: Cells
    weights: np.ndarray

    def __call__(self, rate: float, seed: tuple[int, ...]) -> np.ndarray:
        if rate == 0:
            found = self.mapping.weights()
        else:
            found = draw(self.mapping, self.memory.devices(rate), seed).weights()
        return self.shaped(found.T.astype(np.float32) * self.step)

    @cached_property
    def step(self) -> np.float32:
        """What 1 in a mapping's weights is worth."""
        return _step(self.weights, self.memory.config.weight_limits[1])

    @cached_property
    def mapping(self) -> Mapping:
        """Of the weights as integers."""
        config = self.memory.config
        whole = np.rint(self.weights / self.step).astype(np.int64)
        whole = matrix(whole, self.memory.layout) if whole.ndim == 4 else whole.T
        if config.mapping == "polarised":
            whole = polarise(whole, config.fragment_rows)
        return map_weights(config, whole)

    def shaped(self, rows: np.ndarray) -> np.ndarray:
        """Weights [outputs, inputs] of a mapping in the shape that was stored."""
        shape = self.weights.shape
        if len(shape) == 4 and self.memory.layout == "position":
            outputs, channels, height, width = shape
            rows = rows.reshape(outputs, height, width, channels).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(rows.reshape(shape))


class Stored:
    """The weights of a module's linear layers and convolutions in a memory."""

    def __init__(self, module: nn.Module, memory: Memory) -> None:
        """Raises :class:`ValueError` where there is no such layer."""
        self._held = {
            f"{name}.weight": memory.store(part.weight.detach().cpu().numpy())
            for name, part in module.named_modules()
            if isinstance(part, nn.Linear | nn.Conv2d)
        }
        if not self._held:
            raise ValueError(f"{type(module).__name__} has no torch.nn.Linear or torch.nn.Conv2d")

    def __call__(
        self, rate: float = 0.0, seed: int = 0, device: str | torch.device = "cpu"
    ) -> dict[str, Tensor]:
        """By their names as parameters: as read from the memory of this ``seed``.

        A rate of 0 gives what rounding alone makes of them.  Raises :class:`ValueError` for a rate
        that is no share.
        """
        if not 0 <= rate < 1:
            raise ValueError(f"rate = {rate} is no share of faults from 0 to below 1")
        return {
            name: torch.from_numpy(held(rate, (seed, number))).to(device)
            for number, (name, held) in enumerate(self._held.items())
        }


@torch.no_grad()
def accuracy(
    module: nn.Module,
    weights: dict[str, Tensor],
    images: Tensor,
    labels: Tensor,
    batch: int = 128,
) -> float:
    """Share of images whose label the module finds with these weights.

    Scores that are no numbers find nothing.  The module must be in evaluation mode.
    """
    right = 0
    for some, expected in zip(images.split(batch), labels.split(batch), strict=True):
        scores = functional_call(module, weights, (some,))
        found = scores.argmax(dim=1) == expected
        right += int((found & scores.isfinite().all(dim=1)).sum())
    return right / len(images)


def flipped(words: np.ndarray, rate: float, seed: tuple[int, ...]) -> np.ndarray:
    """Unsigned ``words`` of any width, each bit inverted with the probability ``rate``, alone.

    Bits are hit as in a Poisson process, once or more often: with ``-log(1 - rate)`` hits a bit on
    average, a share ``rate`` of them is hit at all.  More of the same hits make a higher rate.
    """
    rng = np.random.default_rng(seed)
    width = 8 * words.itemsize
    bits = words.size * width
    count = int(poisson.ppf(rng.random(), -np.log1p(-rate) * bits)) if rate else 0
    hit = np.unique(rng.integers(bits, size=count))
    found = words.flatten()
    np.bitwise_xor.at(found, hit // width, np.left_shift(1, hit % width).astype(words.dtype))
    return found.reshape(words.shape)


def _step(weights: np.ndarray, top: int) -> np.float32:
    """What 1 is worth where ``top`` is the largest magnitude; 1 where all weights are 0."""
    return np.float32(np.abs(weights).max() / top) or np.float32(1)
