"""The mapper: proofs, packing, baselines, replays and execution of schedules."""

from collections.abc import Iterator
from pathlib import Path

from ..models.data import MissingData
from ..models.native import KernelMissing
from ._mapper_baselines import baseline_rows
from ._mapper_cases import Replays
from ._mapper_fixed import Solved, fixed_rows
from ._mapper_free import Freed, free_rows
from ._mapper_imports import import_rows
from ._mapper_packing import packing_rows
from ._mapper_replay import agreement_rows, execution_rows, replay_rows
from .report import Bar, Progress, Row


def rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Every figure, each measured now; traffic and schedules as pictures in that folder."""
    replays, solved, freed = Replays(), Solved(), Freed()
    try:
        yield from fixed_rows(progress, replays, solved)
        yield from free_rows(progress, replays, freed)
        yield from packing_rows(quick, progress)
        yield from baseline_rows(quick, progress, replays, solved, freed, pictures)
        yield from replay_rows(quick, progress, replays, solved)
    except (MissingData, KernelMissing) as missing:
        yield Row.skip("graphs and packings", str(missing), Bar("==", "measured"))
    try:
        yield from agreement_rows(quick, progress)
        yield from execution_rows(progress)
    except KernelMissing as missing:
        yield Row.skip("agreement and execution", str(missing), Bar("==", "measured"))
    yield from import_rows(progress)
