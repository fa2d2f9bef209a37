"""Fits an engine's estimate of area to Yosys: ``python -m thresher.bench.sweeps.fit ENGINE``.

The module of the engine's estimate has ``features(config)``, what look-up tables and flip-flops may
grow with, by name; ``samples(random, count)``, configurations as they are in use; and ``LUT`` and
``FF``, the :class:`~thresher.hdl.estimates.Fit` whose weights this module prints.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from ...hdl.engine import engine
from .local import Local
from .task import Limits, Lost, Task
from .tools import Synthesise

DEVICE = "xc7"
FIGURES = ("lut", "ff", "dsp")


@dataclass(frozen=True)
class Error:
    """How well an estimate tells a figure."""

    median: float
    """Of the relative errors' magnitudes."""
    worst: float
    rank: float
    """Spearman's correlation with what was measured."""

    def __str__(self) -> str:
        return f"median {self.median:.1%}, worst {self.worst:.1%}, rank {self.rank:.3f}"


def fit(features: Sequence[Mapping[str, float]], measured: Sequence[float]) -> dict[str, float]:
    """Weights by name: least squares of relative errors over weights that are not negative."""
    from scipy.optimize import nnls

    names = list(features[0])
    matrix = np.array([[f[name] for name in names] for f in features], float)
    target = np.maximum(np.array(measured, float), 1.0)
    weights, _ = nnls(matrix / target[:, None], np.ones(len(target)))
    return dict(zip(names, weights.tolist(), strict=True))


def error(estimated: Sequence[float], measured: Sequence[float]) -> Error:
    """How near ``estimated`` is to ``measured``."""
    from scipy.stats import spearmanr

    off = np.abs(np.asarray(estimated, float) / np.maximum(np.asarray(measured, float), 1.0) - 1)
    rank = float(np.asarray(spearmanr(estimated, measured).statistic))
    return Error(float(np.median(off)), float(off.max()), rank)


def measure(
    name: str, configs: Sequence[Any], jobs: int = 2, seconds: float = 300.0
) -> list[Mapping[str, Any] | None]:
    """Yosys' counts of each, from the cache where they lie there; None where it takes longer, or
    fails."""
    stage: Any = Synthesise(DEVICE)
    tasks = [Task(stage, name, config, Limits(seconds)) for config in configs]
    found: list[Mapping[str, Any] | None] = [None] * len(tasks)
    workers = Local(jobs)
    try:
        for count, (place, result) in enumerate(workers.map(tasks), 1):
            said = result.error if isinstance(result, Lost) else f"{result.values['lut']} LUT6"
            print(f"{count} of {len(tasks)}: {said}", flush=True)
            if not isinstance(result, Lost):
                found[place] = result.values
    finally:
        workers.close()
    return found


def main() -> None:
    """Prints weights, and the errors of them and of what the module has now."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("--configs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=300.0, help="for one at most")
    given = parser.parse_args()
    chosen = engine(given.engine)
    if chosen.estimate is None:
        raise SystemExit(f"{given.engine} has no estimate, which may have empty weights at first")
    module: Any = import_module(chosen.estimate.__module__)
    configs = module.samples(np.random.default_rng(given.seed), given.configs)
    counts = measure(given.engine, configs, given.jobs, given.seconds)
    known = [(config, c) for config, c in zip(configs, counts, strict=True) if c is not None]
    features = [module.features(config) for config, _ in known]
    for figure in ("lut", "ff"):
        measured = [float(c[figure]) for _, c in known]
        weights = fit(features, measured)
        fitted = [sum(weights[name] * f[name] for name in weights) for f in features]
        print(f"{figure}: {error(fitted, measured)}")
        for name, weight in weights.items():
            if weight:
                print(f'    "{name}": {weight:.4g},')
    for figure in FIGURES:
        told = [chosen.estimate(config)[figure] for config, _ in known]
        print(f"{figure} now: {error(told, [float(c[figure]) for _, c in known])}")


if __name__ == "__main__":
    main()
