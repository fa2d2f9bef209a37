"""Training of binary networks, reproducible, with pruning on the way.

Latent weights learn by Adam with a rate that falls as a cosine; they are kept in -1..1, where signs
can still change.  Weight decay would only pull them to where they flip by chance.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import data
from .layers import Binary, clip
from .pruning import Pruner


@dataclass(frozen=True)
class Images:
    """float32 [count, channels, height, width] of integers, and labels int64 [count]."""

    images: Tensor
    labels: Tensor

    def of(self, rows: slice) -> "Images":
        """Some of them."""
        return Images(self.images[rows], self.labels[rows])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    epochs: int = 40
    batch: int = 32
    rate: float = 1e-2
    """Of Adam, at the beginning.  Floating point likes less: a fifth."""
    prunings: int = 4
    """How often in an epoch masks are chosen anew."""


def digits(seed: int = 0) -> tuple[Images, Images]:
    """scikit-learn's digits, 8 x 8 integers from 0 to 16: 1,297 to train with, 500 to test with,
    drawn by the seed.  Raises :class:`..data.MissingData`."""
    return _split(*data.digits(), 1297, seed)


def mnist(seed: int = 0, count: int = 8000) -> tuple[Images, Images]:
    """MNIST's test set, 28 x 28 integers from 0 to 255: ``count`` images to train with, drawn by
    the seed, the others to test with.  Raises :class:`..data.MissingData`."""
    return _split(*data.mnist(), count, seed)


def _split(pixels: np.ndarray, labels: np.ndarray, count: int, seed: int) -> tuple[Images, Images]:
    """``count`` of all images, and the others."""
    side = math.isqrt(pixels.shape[1])
    images = torch.from_numpy(pixels.astype(np.float32)).reshape(-1, 1, side, side)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    every = Images(images[order], torch.from_numpy(labels)[order])
    return every.of(slice(0, count)), every.of(slice(count, None))


def train(
    make: Callable[[], nn.Module],
    images: Images,
    recipe: Recipe = Recipe(),
    *,
    seed: int = 0,
    prune: Callable[[nn.Module], Pruner] | None = None,
    start: nn.Module | None = None,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """A module that ``make`` gives, trained; in evaluation mode, on the CPU.

    The same for the same seed on the same device.  Raises :class:`ValueError` where there are fewer
    images than a batch has.  ``prune`` gives what prunes the module on the way; ``start`` a trained
    module of the same kind whose weights are where this begins.
    """
    if len(images) < recipe.batch:
        raise ValueError(f"{len(images)} images are no batch of {recipe.batch}; take fewer in one")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = make()
        if start is not None:
            module.load_state_dict(start.state_dict())
        module = module.to(device).train()
        pruner = prune(module) if prune else None
        x, labels = images.images.to(device), images.labels.to(device)
        optimiser = torch.optim.Adam(module.parameters(), lr=recipe.rate)
        batches = len(labels) // recipe.batch
        steps, every = recipe.epochs * batches, max(batches // recipe.prunings, 1)
        order = torch.empty(0)
        for step in range(steps):
            progress, batch = step / steps, step % batches
            if batch == 0:
                order = torch.randperm(len(labels)).to(device)
            if pruner and step % every == 0:
                pruner.step(progress)
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate * (1 + math.cos(math.pi * progress)) / 2
            chosen = order[batch * recipe.batch :][: recipe.batch]
            loss = functional.cross_entropy(module(x[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            clip(module)
        if pruner:
            pruner.step(1.0)
        return module.eval().cpu()


@torch.no_grad()
def predictions(module: nn.Module, images: Images, block: int = 500) -> Tensor:
    """int64 [count]: the class of the largest logit of each."""
    return torch.cat([module(part).argmax(1) for part in images.images.split(block)])


def accuracy(module: nn.Module, images: Images) -> float:
    """Share of the images whose label ``module`` finds."""
    return float((predictions(module, images) == images.labels).float().mean())


def weights(module: nn.Module) -> tuple[int, int]:
    """Binary weights that are kept, and all of them; complex ones count once."""
    layers = [m for m in module.modules() if isinstance(m, Binary)]
    return sum(int(m.kept.sum()) for m in layers), sum(m.kept.numel() for m in layers)
