"""Trained binary networks whose answers FPGA boards gave: golden model, folds, generated RTL."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..hdl.bcnn_conv.workloads import workload
from ..models import data
from ..models.bcnn.config import BcnnConfig
from ..models.bcnn.files import save
from ..models.bcnn.folds import choose
from ..models.bcnn.lowering import lower
from ..models.bcnn.stages import Stage
from ..models.bcnn.stored import Stored, stored
from ..models.bcnn.timing import Timeline
from ..sim.simulate import simulate
from .report import Bar, Progress, Row

NAME = "bcnn_conv"


@dataclass(frozen=True)
class _Case:
    """A network, beside what FINN makes of it (BNN-PYNQ's W1A1 builds)."""

    name: Literal["cnv", "lfc"]
    title: str
    answers: str
    interval: int
    """Asked for, in cycles."""
    lanes_in: int
    finn_interval: int
    finn_utilisation: float
    finn_lanes: int
    quick: tuple[int, int]
    """Images through RTL, and the interval of that: fewer lanes are compiled sooner."""
    full: int
    """Images, all at :attr:`interval`."""


_CASES = (
    _Case("cnv", "CNV, 6 convolutions and 3 dense layers on 32 x 32 colours", "class scores",
          28_800, 3, 32_768, 0.799, 2_272, (2, 28_800), 2),
    _Case("lfc", "LFC, 784-1024-1024-1024-10 on digits", "predictions",
          512, 49, 512, 0.939, 6_272, (20, 4096), 1000),
)  # fmt: skip


def silicon_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Answers of the golden model and of RTL beside upstream's; intervals beside FINN's."""
    for case in _CASES:
        try:
            yield from _rows(case, stored(case.name), quick, progress)
        except data.MissingData as missing:
            yield Row.skip(f"{case.title}: {case.answers} that differ from upstream's",
                           str(missing), Bar("==", 0))  # fmt: skip


def _rows(case: _Case, found: Stored, quick: bool, progress: Progress) -> Iterator[Row]:
    progress(f"{case.title}: golden model and folds")
    count = len(found.answers)
    wrong = int((found.read(found.network(found.inputs)) != found.answers).sum())
    yield Row(f"{case.title}: {case.answers} of {count:,} images in the golden model that differ "
              "from upstream's", wrong, Bar("==", 0),
              f"{found.answers.size:,} compared; Xilinx/BNN-PYNQ")  # fmt: skip
    folds = choose(found.network, interval=case.interval, lanes_in=case.lanes_in)
    stages = lower(found.network, folds, case.lanes_in)
    lanes = sum(stage.lanes for stage in stages if isinstance(stage, Stage))
    time = Timeline(stages)
    yield Row(f"{case.title}: cycles from a frame to the next", time.interval,
              Bar("<=", case.finn_interval),
              f"{case.finn_interval:,} with {case.finn_lanes:,} lanes (FINN); "
              f"{lanes:,} lanes here")  # fmt: skip
    yield Row(f"{case.title}: share of all lanes that is at work, mean", time.utilisation,
              Bar(">", case.finn_utilisation), f"{case.finn_utilisation} (FINN)")  # fmt: skip
    images, interval = case.quick if quick else (case.full, case.interval)
    yield _simulated(case, found, images, interval, progress)


def _simulated(case: _Case, found: Stored, images: int, interval: int, progress: Progress) -> Row:
    progress(f"{case.title}: {images} images through RTL")
    answers = found.answers[:images]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.npz"
        save(found.network, file)
        config = BcnnConfig(file=str(file), interval=interval, lanes_in=case.lanes_in)
        task = workload(
            case.name, config, found.inputs[:images],
            lambda results: {"wrong": int((found.read(results) != answers).sum())},
        )  # fmt: skip
        report = simulate(NAME, config, task)
    failures = "; ".join(report.failures())
    return Row(f"{case.title}: {case.answers} of {images:,} images through RTL that differ from "
               "upstream's", failures or report.metrics.get("wrong"), Bar("==", 0),
               f"{answers.size:,} compared; {report.cycles:,} cycles, as foreseen, frames "
               f"{interval:,} apart")  # fmt: skip
