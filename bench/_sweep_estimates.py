"""Closed forms: how many a second, and how near they come to Yosys."""

import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from ..hdl.engine import engine
from .report import Bar, Progress, Row
from .sweeps.estimate import Estimate, estimated
from .sweeps.fit import error, measure
from .sweeps.space import Linear, Space
from .sweeps.sweep import Sweep

LARGE = {"bcnn_conv": Space({"lanes": Linear(10, 8_009)}, fixed={"network": "residual"})}
"""Spaces of engines whose samples are of different kinds, as those of one sweep are not: every
network's stages are laid out once."""
SEED = 2_000
"""Of configurations that were not fitted to."""


def _estimates() -> list[str]:
    """One engine of each estimate: ORBGRAND and step-GRAND share one, which samples the latter."""
    return list({engine(name).estimate: name for name in estimated()}.values())


def samples(name: str, count: int, seed: int = SEED) -> list[Any]:
    """Configurations as they are in use."""
    module = import_module(engine(name).estimate.__module__)
    return module.samples(np.random.default_rng(seed), count)


def speed_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Whole sweeps of the estimate alone: configurations checked, estimated, compared."""
    count = 1_000 if quick else 10_000
    for name in _estimates():
        space = LARGE.get(name) or Space(points=[c.model_dump() for c in samples(name, count)])
        progress(f"{count:,} estimates of {name}")
        Estimate().run(engine(name), engine(name).config())  # what it compiles, it compiles once
        start = time.process_time()
        sweep = Sweep(name, space, [Estimate()], {"cycles": "min", "lut": "min"})
        found = sweep.run()
        seconds = time.process_time() - start
        yield Row(
            f"{name}: points of a sweep of estimates a second a core [1/s]",
            len(found.trials) / seconds, Bar(">=", 1_000),
            f"{len(found.trials):,} trials, checked and compared, {len(found.front)} in front",
        )  # fmt: skip


def error_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Against Yosys, on configurations that no weight was fitted to."""
    count = 4 if quick else 12
    for name in _estimates():
        progress(f"Yosys' counts of {count} configurations of {name}")
        configs = samples(name, count)
        measured = measure(name, configs)
        known = [(c, m) for c, m in zip(configs, measured, strict=True) if m is not None]
        estimate = engine(name).estimate
        assert estimate is not None
        told = [estimate(config) for config, _ in known]
        for figure in ("lut", "ff"):
            off = error([t[figure] for t in told], [float(m[figure]) for _, m in known])
            yield Row(
                f"{name}: median error of the estimated {figure} [%]", 100 * off.median,
                Bar("<=", 25) if figure == "lut" else None,
                f"{len(known)} of {count} configurations; worst {100 * off.worst:.0f} %, rank "
                f"correlation {off.rank:.2f}",
            )  # fmt: skip
        same = sum(t["dsp"] == m["dsp"] for t, (_, m) in zip(told, known, strict=True))
        yield Row(f"{name}: configurations whose estimated DSP blocks are Yosys'", same, None,
                  f"of {len(known)}")  # fmt: skip
