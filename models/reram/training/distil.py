"""A stored network polarised without the images that it was trained with.

The trained network is the teacher; labels are not used.  Its copy is held to its scores and to what
leaves each of its blocks, on the images that there are, moved, coloured, and two of them cut
together or blended.  What that gives is judged on images that it has not seen: those there are lie
in folds, each judged by a network that was trained on the others.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import ReramConfig
from ..mapping import Layout
from ..residual import Residual
from ..resnet import ResNet
from .admm import Batches, Loss, Schedule
from .convert import Converted, convert
from .parts import Stage
from .sets import Rule
from .stored import arrays_of, cached, converted

BATCH = 32
EPOCH = 3200
"""Images of an epoch, each made anew."""
SCHEDULES: dict[Stage, Schedule] = {
    "polarise": Schedule(rounds=2, retrain=9, rate=3e-3),
    "quantise": Schedule(rounds=1, retrain=1, rate=1e-4),
}
TEMPERATURE = 2.0
"""That both networks' scores are divided by before they are compared."""


class Outlined(nn.Module):
    """A :class:`Residual` that gives its blocks' outputs before its scores: [batch, values]."""

    def __init__(self, network: Residual) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """What leaves each block, one after the other, the scores last."""
        blocks = self.network.blocks(pixels)
        scores = self.network.classifier(blocks[-1])
        return torch.cat([block.flatten(1) for block in blocks] + [scores], 1)


@dataclass(frozen=True)
class Outline:
    """The loss between two outlines: scores by divergence, blocks by their relative error.

    ``T**2 * KL(softmax(goal/T), softmax(score/T)) + sum over blocks of |x - goal|**2 / |goal|**2``,
    the last from the images that it was made with.
    """

    sizes: list[int]
    powers: list[float]

    @classmethod
    def of(cls, network: Residual, pixels: Tensor) -> "Outline":
        """Sizes and mean squares of the blocks' outputs."""
        with torch.no_grad():
            blocks = network.blocks(pixels)
        powers = [float(block.square().mean()) for block in blocks]
        return cls([block[0].numel() for block in blocks], powers)

    def __call__(self, outputs: Tensor, goals: Tensor) -> Tensor:
        """Of outlines [batch, values]; a mean over the batch."""
        sizes = [*self.sizes, outputs.shape[1] - sum(self.sizes)]
        *blocks, scores = outputs.split(sizes, 1)
        *expected, goal = goals.split(sizes, 1)
        divergence = functional.kl_div(
            (scores / TEMPERATURE).log_softmax(1), (goal / TEMPERATURE).softmax(1),
            reduction="batchmean",
        )  # fmt: skip
        errors = [
            functional.mse_loss(block, other) / power
            for block, other, power in zip(blocks, expected, self.powers, strict=True)
        ]
        return torch.stack([TEMPERATURE**2 * divergence, *errors]).sum()


def lessons(teacher: nn.Module, pixels: Tensor, seed: int = 0) -> Batches:
    """Epochs of :data:`EPOCH` images made of ``pixels``, with what the teacher says of them."""
    generator = torch.Generator().manual_seed(seed)

    def epoch() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(EPOCH // BATCH):
            images = mixed(pixels, BATCH, generator)
            with torch.no_grad():
                goals = teacher(images.to(next(teacher.parameters()).device))
            yield images, goals

    return epoch


def mixed(pixels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """New images out of ``pixels`` [images, channels, height, width], scaled to a deviation of 1.

    Four in ten are one image, three have a rectangle of another, three blend two; all of them
    moved, and with other contrasts and colours.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    one, other = (moved(pixels, count, generator) for _ in range(2))
    channels, height, width = pixels.shape[1:]
    inside = torch.ones(count, height, width, dtype=torch.bool)
    for axis, side in ((1, height), (2, width)):
        centre, reach = uniform(count, 1) * side, side * (0.125 + 0.3 * uniform(count, 1))
        near = (torch.arange(side) - centre).abs() < reach
        inside &= near.unsqueeze(3 - axis)
    share, kind = uniform(count, 1, 1, 1), uniform(count, 1, 1, 1)
    blend = one * share + other * (1 - share)
    found = torch.where(kind < 0.7, torch.where(inside[:, None] & (kind > 0.4), other, one), blend)
    colours = torch.eye(channels) + 0.15 * normal(count, channels, channels)
    found = (colours @ found.flatten(2)).view_as(found)
    return found * (1 + 0.2 * normal(count, 1, 1, 1)) + 0.1 * normal(count, channels, 1, 1)


def moved(pixels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Images at random, half of them flipped, turned, stretched and shifted.

    By up to 15 degrees, a quarter of the size and an eighth of it; what is beyond the edge mirrors
    what is within.
    """

    def between(reach: float) -> Tensor:
        return (2 * torch.rand(count, generator=generator) - 1) * reach

    images = pixels[torch.randint(len(pixels), (count,), generator=generator)]
    flip = torch.where(between(1) < 0, -1.0, 1.0)
    angle, down, across = between(torch.pi / 12), 1 + between(0.25), 1 + between(0.25)
    rows = [
        torch.stack([flip * across * angle.cos(), -down * angle.sin(), between(0.25)], 1),
        torch.stack([flip * across * angle.sin(), down * angle.cos(), between(0.25)], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def folds(labels: np.ndarray, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices to train with and to judge with, ``count`` times; labels are spread evenly."""
    place = np.empty(len(labels), np.int64)
    place[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % count
    return [(np.flatnonzero(place != k), np.flatnonzero(place == k)) for k in range(count)]


def polarised_resnet(
    state: Mapping[str, np.ndarray],
    config: ReramConfig,
    images: np.ndarray,
    *,
    layout: Layout = "channel",
    rule: Rule = "energy",
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> tuple[Converted, float]:
    """The stored network in crossbars, taught with ``images`` uint8 [count, 32, 32, 3].

    Its module gives scores.  And the seconds of the processor that it took when it was trained,
    on first use (minutes).
    """
    pixels = ResNet.pixels(images)
    names = "".join(f"{name} {value.dtype} {value.shape}" for name, value in state.items())
    held = b"".join(np.ascontiguousarray(value).tobytes() for value in (*state.values(), images))

    def train() -> dict[str, np.ndarray]:
        started = time.process_time()
        network = Residual(state)
        teacher = Outlined(network).to(device).eval()
        loss: Loss = Outline.of(network, pixels[:100].to(device))
        found = convert(
            teacher, config, lessons(teacher, pixels, seed), loss=loss, layout=layout, rule=rule,
            schedules=SCHEDULES, device=device,
        )  # fmt: skip
        return arrays_of(found, time.process_time() - started)

    what = f"{names} {config.model_dump_json()} {layout} {rule} {seed} {device} "
    whole, seconds = converted(Outlined(Residual(state)), config, layout, cached(what, train, held))
    assert isinstance(whole.module, Outlined)
    layers = {name.removeprefix("network."): layer for name, layer in whole.layers.items()}
    return Converted(whole.module.network, layers), seconds
