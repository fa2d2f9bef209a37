"""Sweeps: estimates a second and their errors, overhead, cores, resumption, clusters, searches."""

from collections.abc import Iterator
from pathlib import Path

from ._sweep_estimates import error_rows, speed_rows
from ._sweep_examples import example_rows
from ._sweep_execution import cores_rows, overhead_rows
from ._sweep_same import executor_rows, resume_rows
from ._sweep_search import search_rows
from .report import Progress, Row


def rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Every figure, each measured now; the shipped sweeps' reports in that folder."""
    yield from speed_rows(quick, progress)
    yield from search_rows(quick, progress)
    yield from resume_rows(progress)
    yield from executor_rows(progress)
    yield from overhead_rows(quick, progress)
    yield from cores_rows(quick, progress)
    yield from error_rows(quick, progress)
    yield from example_rows(quick, progress, pictures)
