"""Networks and recipes that show what training with N:M weights costs in accuracy."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import data
from ..threads import one_thread
from .optimise import LossScale, Momentum
from .pruning import Pruning, convert


@dataclass(frozen=True)
class Split:
    """Images (FP32, 0 to 1) and labels to learn from and, others, to be judged by."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    def to(self, device: str) -> "Split":
        """The same on ``device``."""
        train, test = ((x.to(device), y.to(device)) for x, y in (self.train, self.test))
        return Split(train, test)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: momentum SGD, its rate falling to 0 along a cosine."""

    epochs: int = 20
    batch: int = 128
    rate: float = 0.1
    momentum: float = 0.9
    decay: float = 5e-4
    """Of all parameters (SR-STE's is a :class:`.Pruning`'s)."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is not at least 1")


@dataclass(frozen=True)
class Example:
    """A network, its data and its recipe."""

    build: Callable[[], nn.Module]
    """With weights drawn from PyTorch's generator."""
    split: Callable[[], Split]
    """Raises :class:`.data.MissingData`."""
    recipe: Recipe
    keep_dense: tuple[str, ...] | None = None
    """For :func:`.convert`."""


@dataclass(frozen=True)
class Trained:
    """The result of :func:`train`."""

    module: nn.Module
    accuracy: float
    """Share of the test images whose label is found."""
    losses: tuple[float, ...]
    """Of each epoch, on average."""


def mlp(widths: tuple[int, ...] = (784, 256, 256, 10)) -> nn.Sequential:
    """Linear layers, ReLU between them."""
    layers = [part for sizes in pairwise(widths) for part in (nn.Linear(*sizes), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def cnn(
    channels: tuple[int, ...] = (32, 64, 64), size: int = 8, classes: int = 10
) -> nn.Sequential:
    """3x3 convolutions of grey images, all but the first with stride 2, ReLU, a linear layer."""
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise((1, *channels))):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2 if i else 1, padding=1), nn.ReLU()]
        size = -(-size // 2) if i else size
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * size**2, classes))


def mnist(train: int = 8000) -> Split:
    """MNIST's test set [n, 784]: the first ``train`` images to learn from, the others to judge."""
    images, labels = data.mnist()
    if not 0 < train < len(images):
        raise ValueError(f"train = {train} is not from 1 to {len(images) - 1}")
    pixels, found = torch.from_numpy(images.copy()).float() / 255, torch.from_numpy(labels)
    return Split((pixels[:train], found[:train]), (pixels[train:], found[train:]))


def digits() -> Split:
    """scikit-learn's digits [n, 1, 8, 8]: every third judges, as writers come one after another."""
    images, labels = data.digits()
    pixels = torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16
    found = torch.from_numpy(labels)
    judges = torch.arange(len(found)) % 3 == 2
    return Split((pixels[~judges], found[~judges]), (pixels[judges], found[judges]))


# Recipes are chosen by what the dense networks reach.
EXAMPLES = {
    # The first layer is pruned too; the last, of ten outputs, is not.
    "mlp": Example(mlp, mnist, Recipe(), keep_dense=("4",)),
    "cnn": Example(cnn, digits, Recipe(epochs=30, batch=64)),
}


def train(
    example: Example,
    pruning: Pruning,
    seed: int = 0,
    *,
    split: Split | None = None,
    device: str | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Trained:
    """Trains the example's network from new weights, with N:M weights as ``pruning`` says.

    The seed decides the weights and the order of the images; the same seed starts every method
    from the same weights.  ``split`` replaces the example's; ``device`` is CUDA's where there is
    one.  The update is :class:`.Momentum`; FP16 operands get a :class:`.LossScale`.

    Raises :class:`ValueError` where the loss is no number.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    split = (split or example.split()).to(device)
    recipe = example.recipe
    images, labels = split.train
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = convert(example.build(), pruning, example.keep_dense).module.to(device)
        optimiser = Momentum(module.parameters(), recipe.rate, recipe.momentum, recipe.decay)
        scale = 2.0**10 if pruning.format == "fp16" else 1.0
        scaled = LossScale(module, optimiser, scale, patience=None)
        batches = -(-len(images) // recipe.batch)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs * batches)
        losses = []
        for epoch in range(recipe.epochs):
            total = 0.0
            for chosen in torch.randperm(len(images)).to(device).split(recipe.batch):
                loss = functional.cross_entropy(module(images[chosen]), labels[chosen])
                if not loss.isfinite():
                    raise ValueError(f"the loss is {loss.item()}; lower the rate of learning")
                scaled.step(loss)
                cosine.step()
                total += loss.item() * len(chosen)
            losses.append(total / len(images))
            progress(f"epoch {epoch + 1} of {recipe.epochs}: loss {losses[-1]:.4g}")
        return Trained(module, accuracy(module, *split.test), tuple(losses))


@torch.no_grad()
def accuracy(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of ``images`` whose largest output is that of their label."""
    training = module.training
    found = module.eval()(images).argmax(dim=1)
    module.train(training)
    return float((found == labels).double().mean())
