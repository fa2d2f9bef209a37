"""A small convolutional network for scikit-learn's written digits, dense and in crossbars.

Three convolutions of 3x3 with batch norm and ReLU (16, 32 and 32 channels, halved in size after the
second and the third) and a linear layer.  1,297 of the 1,797 digits train, always the same; nothing
is done to them but the scaling to 0..1.

What was trained is kept (:mod:`.stored`).
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ... import data
from ..config import ReramConfig
from ..mapping import Layout
from .admm import Batches, Schedule, one_cycle
from .convert import Converted, convert
from .sets import Rule
from .stored import arrays_of, cached, converted, load_state, state_of

EPOCHS, BATCH, RATE = 20, 32, 4e-3
"""Of the dense network."""
SCHEDULE = Schedule(rounds=6, retrain=12, rate=4e-3)
"""Of polarisation."""
_TEST = 500


@dataclass(frozen=True)
class Split:
    """Images float32 [count, 1, 8, 8] from 0 to 1, in steps of 1/16, and labels int64 [count]."""

    images: Tensor
    labels: Tensor

    def accuracy(self, module: nn.Module) -> float:
        """Share of the images whose label the module in evaluation mode finds."""
        with torch.no_grad():
            return float((module(self.images).argmax(dim=1) == self.labels).float().mean())


@dataclass(frozen=True)
class Trained(Converted):
    """A network in crossbars, with what it comes from."""

    dense: nn.Module
    """As it was before, in floating point with batch norms; in evaluation mode."""
    seconds: float
    """Of the processor, one thread, from the dense network to this one; as it was measured when it
    was trained."""


def splits() -> tuple[Split, Split]:
    """Images to train with and 500 to test with.  Raises :class:`..data.MissingData`."""
    pixels, labels = data.digits()
    images = torch.from_numpy(pixels.reshape(-1, 1, 8, 8) / np.float32(16))
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(images)))
    test, train = order[:_TEST], order[_TEST:]
    found = torch.from_numpy(labels)
    return Split(images[train], found[train]), Split(images[test], found[test])


def network(seed: int = 0) -> nn.Sequential:
    """Not trained yet."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            *block(1, 16), *block(16, 32), nn.MaxPool2d(2), *block(32, 32), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(128, 10),
        )  # fmt: skip


def batches(split: Split, seed: int, size: int = BATCH) -> Batches:
    """Epochs in random order."""
    generator = torch.Generator().manual_seed(seed)

    def epoch() -> list[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(split.images), generator=generator)
        return [(split.images[some], split.labels[some]) for some in order.split(size)]

    return epoch


def fit(module: nn.Module, batches: Batches, epochs: int, rate: float) -> None:
    """Trains a classifier by Adam, with rates of one cycle of which ``rate`` is the highest."""
    module.train()
    optimiser = torch.optim.Adam(module.parameters())
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = rate * one_cycle((epoch + 0.5) / epochs)
        for images, labels in batches():
            optimiser.zero_grad()
            functional.cross_entropy(module(images), labels).backward()
            optimiser.step()


def dense_digits(seed: int = 0) -> nn.Sequential:
    """The trained network in floating point; in evaluation mode."""
    module = network(seed)

    def train() -> dict[str, np.ndarray]:
        fit(module, batches(splits()[0], seed), EPOCHS, RATE)
        return state_of(module)

    load_state(module, cached(f"digits {seed}", train))
    return module.eval()


def polarised_digits(
    config: ReramConfig, seed: int = 0, layout: Layout = "channel", rule: Rule = "energy"
) -> Trained:
    """The network with the weights that ``config``'s crossbars hold.

    A mapping other than ``polarised`` leaves quantisation alone.  Trained on first use (seconds).
    Raises :class:`..data.MissingData` where scikit-learn is not installed.
    """
    dense = dense_digits(seed)

    def train() -> dict[str, np.ndarray]:
        started = time.process_time()
        found = convert(
            dense, config, batches(splits()[0], seed + 1), layout=layout, rule=rule,
            schedules={"polarise": SCHEDULE},
        )  # fmt: skip
        return arrays_of(found, time.process_time() - started)

    arrays = cached(f"digits {config.model_dump_json()} {seed} {layout} {rule}", train)
    found, seconds = converted(network(seed), config, layout, arrays)
    return Trained(found.module, found.layers, dense, seconds)
