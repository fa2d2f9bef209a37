"""What guided searches find with as many trials as chance has."""

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from .report import Bar, Progress, Row
from .sweeps.estimate import Estimate
from .sweeps.pareto import hypervolume
from .sweeps.search import Exhaustive, Random, Search, Study
from .sweeps.space import Linear, Space
from .sweeps.sweep import Sweep

TRIALS = 200


def search_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Hypervolume below the worst of all candidates, as a share of what the exhaustive front has;
    time and area by their logarithms."""
    space = Space(
        {
            "lanes": Linear(4, 256, 4), "batch": [1, 2, 4], "banks": [1, 2, 4],
            "elements": [1, 2, 4, 8], "accumulator_bits": Linear(16, 26, 2),
            "cell_bits": [12, 14, 16], "gate_bits": [6, 8, 10],
        }
    )  # fmt: skip
    sweep = Sweep(
        "sparse_lstm", space, [Estimate()], {"time": "min", "area": "min", "precision": "max"},
        derived={"time": "log2(cycles / batch)", "area": "log2(lut + 80 * dsp)",
                 "precision": "accumulator_bits + cell_bits + gate_bits"},
    )  # fmt: skip
    progress(f"all {len(sweep.found.configs):,} estimates")

    def costs(search: Search) -> np.ndarray:
        found = sweep.run(search)
        values = [sweep.goals.costs(trial.values) for trial in found]
        return np.stack([v for v in values if v is not None])

    every = costs(Exhaustive())
    low, high = every.min(0), every.max(0)

    def volume(found: np.ndarray) -> float:
        return hypervolume((found - low) / (high - low), [1.0] * found.shape[1])

    whole = volume(every)
    seeds = range(3 if quick else 10)
    progress(f"{TRIALS} trials by chance, by NSGA-II and by TPE, {len(seeds)} times")
    chance = [volume(costs(Random(TRIALS, seed))) / whole for seed in seeds]
    yield Row(
        f"random search: share of the exhaustive hypervolume in {TRIALS} trials",
        float(np.mean(chance)), None, f"{len(every):,} candidates, mean of {len(seeds)} seeds",
    )  # fmt: skip
    kinds: Mapping[str, Literal["nsga2", "tpe"]] = {"NSGA-II": "nsga2", "TPE": "tpe"}
    for name, kind in kinds.items():
        try:
            found = [volume(costs(Study(TRIALS, kind, s, batch=10))) / whole for s in seeds]
        except ModuleNotFoundError as missing:
            yield Row.skip(f"{name}: hypervolume", str(missing), Bar(">", 1))
            continue
        yield Row(
            f"{name}: hypervolume over random search's with as many trials",
            float(np.mean(found) / np.mean(chance)), Bar(">", 1),
            f"share of the exhaustive one {np.mean(found):.3f}",
        )  # fmt: skip
