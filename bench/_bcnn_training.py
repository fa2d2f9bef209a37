"""What arithmetic and pruning cost: one network, trained in floating point, binary and complex."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
import torch
from torch import nn

from ..models import data
from ..models.bcnn import nets, pruning, training
from ..models.bcnn.convert import convert
from ..models.bcnn.layers import Binary, Scores
from ..models.bcnn.operations import Input
from ..models.threads import one_thread
from .report import Bar, Progress, Row

RATIO = 20
BLOCK = (8, 8)
"""Outputs and channels that are pruned together."""
_SEEDS = 3


@dataclass(frozen=True)
class Task:
    """Images and a network for them."""

    name: str
    load: Callable[[int], tuple[training.Images, training.Images]]
    """Images to train and to test with, drawn by a seed."""
    widths: tuple[int, ...]
    pools: tuple[int, ...]
    epochs: int
    batch: int
    points: float | None = None
    """That the pruned complex network may lose; None where it is too small, or trained too
    shortly, to be judged."""

    def make(self, sort: nets.Sort, side: int) -> nn.Module:
        """The network, not trained."""
        return nets.plain(sort, (side, side, 1), self.widths, self.pools)


@dataclass(frozen=True)
class Result:
    """Of one sort and one seed."""

    dense: float
    pruned: float
    ratio: float
    """Weights, dense over kept."""
    wrong: int
    """Scores of converted networks that differ."""
    scores: int


QUICK = Task("digits", training.digits, (64, 128, 128), (1, 2), 8, 32)
FULL = (
    Task("digits", training.digits, (128, 256, 256), (1, 2), 40, 32, 1.0),
    Task("MNIST", lambda seed: training.mnist(seed, 4000), (32, 128, 128), (1, 2, 3), 6, 50),
)


def training_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Accuracies beside each other, dense and pruned; converted networks' scores."""
    for task in (QUICK,) if quick else FULL:
        try:
            yield from _task(task, range(1, 2 if quick else 1 + _SEEDS), progress)
        except data.MissingData as missing:
            yield Row.skip(f"{task.name}: accuracy of binary complex networks", str(missing))


def _task(task: Task, seeds: Sequence[int], progress: Progress) -> Iterator[Row]:
    widths = ", ".join(map(str, task.widths))
    count = f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    what = f"{task.name}, {widths} channels, {task.epochs} epochs, {count}"
    found: dict[nets.Sort, list[Result]] = {}
    for sort in nets.SORTS:
        progress(f"{what}: {sort}")
        with one_thread():
            found[sort] = [_result(task, sort, seed) for seed in seeds]
        dense = [result.dense for result in found[sort]]
        yield Row(f"{what}: accuracy, {sort}, dense", mean(dense), None, _spread(dense))
    binary, complex = found["binary"], found["complex"]
    for state in ("dense", "pruned"):
        gain = mean(getattr(r, state) for r in complex) - mean(getattr(r, state) for r in binary)
        yield Row(
            f"{what}: points that complex is better than binary, {state}", 100 * gain,
            Bar(">", 0), "the paper's claim: better than real binary networks",
        )  # fmt: skip
    for sort in ("binary", "complex"):
        of = f"{what}: {sort}, pruned in blocks of {BLOCK[0]} x {BLOCK[1]}"
        results = found[sort]
        yield Row(f"{of}: weights, dense over kept", min(r.ratio for r in results),
                  Bar(">=", RATIO), "20x (Peng et al.)")  # fmt: skip
        yield Row(f"{of}: accuracy", mean(r.pruned for r in results), None,
                  _spread([r.pruned for r in results]))  # fmt: skip
        judged = sort == "complex" and task.points is not None
        yield Row(
            f"{of}: points lost", 100 * mean(r.dense - r.pruned for r in results),
            Bar("<=", task.points) if judged else None, "negligible (Peng et al., complex)",
        )  # fmt: skip
    every = [*binary, *complex]
    yield Row(
        f"{what}: scores of converted networks, dense and pruned, that differ from the modules'",
        sum(r.wrong for r in every), Bar("==", 0), f"{sum(r.scores for r in every):,} compared",
    )  # fmt: skip


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.4f} to {max(values):.4f}"


def _result(task: Task, sort: nets.Sort, seed: int) -> Result:
    train, test = task.load(seed)
    side = train.images.shape[-1]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = training.Recipe(task.epochs, task.batch, 2e-3 if sort == "real" else 1e-2)

    def trained(prune: Callable[[nn.Module], pruning.Pruner] | None = None) -> nn.Module:
        return training.train(
            lambda: task.make(sort, side), train, recipe, seed=seed, prune=prune, device=device
        )

    dense = trained()
    accuracy = training.accuracy(dense, test)
    if sort == "real":
        return Result(accuracy, accuracy, 1.0, 0, 0)
    pruned = trained(pruner)
    kept, every = training.weights(pruned)
    wrong = [differing(module, test) for module in (dense, pruned)]
    return Result(
        accuracy, training.accuracy(pruned, test), every / kept, sum(wrong), 2 * 10 * len(test)
    )


def pruner(module: nn.Module) -> pruning.Pruner:
    """From the start to the middle of the training; the first and the last layer, which are small,
    keep all."""
    first, *_, last = (name for name, layer in module.named_modules() if isinstance(layer, Binary))
    return pruning.Pruner(module, pruning.evenly(module, RATIO, BLOCK, (first, last)), 0.0, 0.5)


@torch.no_grad()
def differing(module: nn.Module, images: training.Images) -> int:
    """Scores in which the converted module differs."""
    count, channels, height, width = images.images.shape
    network = convert(module, Input((height, width, channels), 8))
    rows = images.images.movedim(1, 3).numpy().astype(np.int64)
    scale = next(layer.scale for layer in module.modules() if isinstance(layer, Scores))
    logits = torch.cat([module(part) for part in images.images.split(500)]) / scale
    got = np.concatenate([network(part) for part in np.array_split(rows, -(-count // 500))])
    return int((got.reshape(logits.shape) != logits.numpy()).sum())
