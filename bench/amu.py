"""AMU: learning, networks, streamlining, area and cycles, beside peers' and at equal error."""

from collections.abc import Iterator
from pathlib import Path

from ._amu_area import area_rows
from ._amu_equal import equal_rows
from ._amu_learning import learning_rows
from ._amu_networks import networks_rows
from ._amu_pipeline import pipeline_rows
from ._amu_rtl import rtl_rows
from .report import Progress, Row


def rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Every figure, each measured now; area over error as pictures in that folder."""
    for part in (learning_rows, networks_rows, rtl_rows, pipeline_rows, area_rows):
        yield from part(quick, progress)
    yield from equal_rows(quick, progress, pictures)
