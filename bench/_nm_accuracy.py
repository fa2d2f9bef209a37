"""What training with N:M weights costs in accuracy: BDWP beside its controls."""

from collections.abc import Iterator

from ..models import data
from ..models.nm.examples import EXAMPLES, Example, Split, train
from ..models.nm.pruning import Pruning
from .report import Bar, Progress, Row

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


def accuracy_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Accuracies, each the mean of three seeds; quick: the MLP alone, BDWP at 2:8 beside dense."""
    for key, example in list(EXAMPLES.items())[: 1 if quick else None]:
        try:
            split = example.split()
        except data.MissingData as missing:
            yield Row.skip(NAMES[key], str(missing))
            continue
        yield from _rows(key, example, split, quick, progress)


def _rows(
    key: str, example: Example, split: Split, quick: bool, progress: Progress
) -> Iterator[Row]:
    what = f"{NAMES[key]}; {example.recipe.epochs} epochs"
    methods = {"dense": Pruning("dense")} | (METHODS if not quick else {"BDWP": METHODS["BDWP"]})
    dense = 0.0
    for method, pruning in methods.items():
        found = []
        for seed in SEEDS:
            progress(f"{key}, {method}, seed {seed}")
            found.append(100 * train(example, pruning, seed, split=split).accuracy)
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
