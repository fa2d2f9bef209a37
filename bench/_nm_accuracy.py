"""What training with N:M weights costs in accuracy: BDWP beside its controls."""

import statistics
from collections.abc import Iterator
from pathlib import Path

from ..models import data
from ..models.nm.examples import EXAMPLES, Example, Split, train
from ..models.nm.pruning import Pruning
from ._bars import Bars, draw
from .report import Bar, Progress, Row

Accuracies = dict[str, dict[str, list[float]]]
"""In %, of each seed, by example and method."""

SEEDS = (0, 1, 2)
LOSS = 0.56
"""Points that BDWP at 2:8 may lose against dense training: the paper's average."""
DECAY = 2e-4
"""SR-STE's, as its authors take it."""

NAMES = {
    "mlp": "MLP 784-256-256-10, MNIST's test set, 8,000 images to learn and 2,000 to judge",
    "cnn": "CNN of three convolutions, scikit-learn's digits, 1,198 images and 599",
}
METHODS = {
    "BDWP": Pruning("bdwp"),  # as the hardware trains, which has no decay of SR-STE's
    "BDWP and SR-STE's decay": Pruning("bdwp", decay=DECAY),
    "BDWP, FP16 operands": Pruning("bdwp", format="fp16"),
    "BDWP, BF16 operands": Pruning("bdwp", format="bf16"),
    "SR-STE (forward only)": Pruning("srste", decay=DECAY),
    "SDWP (backward only)": Pruning("backward"),
    "BDWP 2:4": Pruning("bdwp", 2, 4),
    "BDWP 2:16": Pruning("bdwp", 2, 16),
}
"""At 2:8 where nothing else is said."""


def accuracy_rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Accuracies, each the mean of three seeds; quick: the MLP alone, BDWP at 2:8 beside dense."""
    found: Accuracies = {}
    for key, example in list(EXAMPLES.items())[: 1 if quick else None]:
        try:
            split = example.split()
        except data.MissingData as missing:
            yield Row.skip(NAMES[key], str(missing))
            continue
        found[key] = {}
        yield from _rows(key, example, split, quick, progress, found[key])
    if pictures is not None and found:
        _draw(found, pictures)


def _draw(found: Accuracies, pictures: Path) -> None:
    """Points lost, with the range of the seeds."""
    lost, ranges = {}, {}
    for key, ways in found.items():
        name = NAMES[key].split(",")[0]
        dense = statistics.fmean(ways["dense"])
        losses = [[dense - x for x in ways[method]] for method in ways if method != "dense"]
        lost[name] = [statistics.fmean(points) for points in losses]
        ranges[name] = [(min(points), max(points)) for points in losses]
    methods = [method for method in next(iter(found.values())) if method != "dense"]
    names = [method.replace(" (", "\n(").replace(" and ", "\nand ") for method in methods]
    title = "Accuracy lost against dense training; range of seeds"
    draw(Bars(title, "points", names, lost, False, ranges), pictures, "nm_accuracy")


def _rows(
    key: str,
    example: Example,
    split: Split,
    quick: bool,
    progress: Progress,
    accuracies: dict[str, list[float]],
) -> Iterator[Row]:
    what = f"{NAMES[key]}; {example.recipe.epochs} epochs"
    methods = {"dense": Pruning("dense")} | (METHODS if not quick else {"BDWP": METHODS["BDWP"]})
    dense = 0.0
    for method, pruning in methods.items():
        found = []
        for seed in SEEDS:
            progress(f"{key}, {method}, seed {seed}")
            found.append(100 * train(example, pruning, seed, split=split).accuracy)
        accuracies[method] = found
        mean, named = sum(found) / len(found), ", ".join(f"{x:.2f}" for x in found)
        yield Row(
            f"{what}: {method}, accuracy in %, mean of {len(found)} seeds", mean, None,
            f"seeds: {named}",
        )  # fmt: skip
        if method == "dense":
            dense = mean
        elif method == "BDWP":
            yield Row(
                f"{what}: points that {method} 2:8 loses against dense",
                dense - mean, Bar("<=", LOSS), f"{LOSS} on average (paper, larger networks)",
            )  # fmt: skip
