"""Generated pipelines of binary networks in simulation, beside the golden model, as rows."""

from collections.abc import Iterator

import numpy as np

from ..hdl.bcnn_conv.workloads import pipeline
from ..hdl.engine import engine
from ..models.bcnn.stages import Stage
from ..sim.simulate import simulate
from ..sim.stalls import Kind
from .report import Bar, Progress, Row

NAME = "bcnn_conv"
_STALLS: tuple[Kind, ...] = ("none", "random", "alternate")


def rtl_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Networks whose operations, shapes, strides, padding, pruning and folds are all random."""
    count = 4 if quick else 60
    rng, wrong, late, runs, results = np.random.default_rng(0), 0, 0, 0, 0
    kinds: set[str] = set()
    for number in range(count):
        config = engine(NAME).random_config(rng)
        progress(f"random networks, {number + 1} of {count}")
        for stage in pipeline(config).stages[1:]:
            assert isinstance(stage, Stage)
            kinds.add("pools" if stage.unit == "pool" else f"{stage.arithmetic} products")
        for stall in _STALLS:
            for reset_at in (None, int(rng.integers(1, 400))):
                report = simulate(NAME, config, "random" if runs % 2 else "corners",
                                  samples=4, seed=runs, stall=stall, reset_at=reset_at)  # fmt: skip
                runs += 1
                results += sum(len(beats) for beats in report.run.outputs.values())
                wrong += not report.bit_exact or bool(report.counters_wrong)
                late += stall == "none" and report.cycles != report.cycles_formula
    text = f"{count} networks, {runs} runs with stalls and resets, {results:,} beats; "
    yield Row("random networks: runs of which a result differs from the golden model",
              wrong, Bar("==", 0), text + ", ".join(sorted(kinds)))  # fmt: skip
    yield Row("random networks: runs, nothing stalled, that take other cycles than foreseen",
              late, Bar("==", 0), f"{2 * count} runs")  # fmt: skip
