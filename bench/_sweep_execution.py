"""What sweeps add to the tools' time, and what a second core takes off."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..fpga import tools
from ..sim import toolchain
from .report import Bar, Progress, Row
from .sweeps.local import Local
from .sweeps.space import Space
from .sweeps.sweep import Outcome, Sweep
from .sweeps.tools import Simulate, Synthesise


@contextmanager
def empty_cache() -> Iterator[None]:
    """Within it, nothing was built before."""
    before = os.environ.get("THRESHER_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["THRESHER_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["THRESHER_CACHE"]
            else:
                os.environ["THRESHER_CACHE"] = before


def _timed(sweep: Sweep, jobs: int, before: Sweep | None = None) -> tuple[Outcome, float]:
    """With an empty cache, or one that another sweep has filled; seconds, workers' start
    included."""
    with empty_cache():
        if before is not None:
            before.run()
        workers = Local(jobs)
        start = time.monotonic()
        try:
            found = sweep.run(executor=workers)
        finally:
            workers.close()
        return found, time.monotonic() - start


def overhead_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Wall time beyond what generation and Yosys took, workers' start included."""
    what = "sweep of syntheses: wall time beyond the tools' own [%]"
    try:
        tools.version("pyosys")
    except ModuleNotFoundError as missing:
        yield Row.skip(what, str(missing), Bar("<=", 5))
        return
    lanes = [4, 8, 12, 16] if quick else list(range(4, 43, 4))
    sweep = Sweep(
        "sparse_lstm",
        Space({"lanes": lanes, "accumulator_bits": [18, 20, 22, 24, 26]}, presets=["small"],
              fixed={"hidden_size": 64}),
        [Synthesise("xc7")], {"lut": "min"},
    )  # fmt: skip
    progress(f"{len(sweep.found.configs)} syntheses with an empty cache")
    found, wall = _timed(sweep, 1)
    spent = sum(r.seconds for trial in found for r in trial.records)
    yield Row(
        what, 100 * (wall - spent) / spent, Bar("<=", 5),
        f"{len(found.trials)} syntheses in {wall:.0f} s, one at once, workers' start included",
    )  # fmt: skip


def cores_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """The same sweep with one worker and with two, each with a cache that has nothing of it but
    what Verilator's simulators share, which a machine compiles once."""
    what = "sweep of simulations: speed with two workers over one"
    try:
        toolchain.verilator()
    except toolchain.ToolMissing as missing:
        yield Row.skip(what, str(missing), Bar(">=", 1.8))
        return

    def simulations(*sizes: int) -> Sweep:
        space = Space({"hidden_size": sizes, "lanes": [4, 8]}, presets=["small"])
        return Sweep("sparse_lstm", space, [Simulate(samples=200)], {"cycles": "min"})

    sweep, times = simulations(*range(32, 56 if quick else 80, 4)), {}
    for jobs in (1, 2):
        progress(f"{len(sweep.found.configs)} simulations by {jobs}")
        found, times[jobs] = _timed(sweep, jobs, simulations(16))
        wrong = [trial.error for trial in found if trial.error]
        if wrong:
            yield Row(what, wrong[0], Bar(">=", 1.8))
            return
    yield Row(
        what,
        times[1] / times[2],
        Bar(">=", 1.8),
        f"{len(sweep.found.configs)} builds and runs: {times[1]:.0f} s and {times[2]:.0f} s, "
        "workers' start included",
    )
