"""N:M training: masks, compute cycles, whole steps, accuracy, area, and the RTL in the loop."""

from collections.abc import Iterator
from pathlib import Path

from ._nm_accuracy import accuracy_rows
from ._nm_area import area_rows
from ._nm_compute import compute_rows
from ._nm_loop import loop_rows
from ._nm_masks import mask_rows
from ._nm_step import step_rows
from .report import Progress, Row


def rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Every figure, each measured now; gains, breakdown and losses as pictures in that folder."""
    yield from mask_rows(quick, progress)
    yield from compute_rows(quick, progress)
    yield from step_rows(quick, progress, pictures)
    yield from accuracy_rows(quick, progress, pictures)
    yield from area_rows(quick, progress)
    yield from loop_rows(quick, progress)
