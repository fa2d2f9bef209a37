"""Binary networks: silicon and PyTorch beside them, pruning, RTL, proofs, training and areas."""

from collections.abc import Iterator
from pathlib import Path

from ._bcnn_area import area_rows
from ._bcnn_frames import frame_rows
from ._bcnn_models import model_rows
from ._bcnn_proofs import proofs_rows
from ._bcnn_rtl import rtl_rows
from ._bcnn_silicon import silicon_rows
from ._bcnn_training import training_rows
from .report import Progress, Row


def rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Every figure, each measured now; cycles of stages as pictures in that folder."""
    yield from silicon_rows(quick, progress)
    yield from model_rows(quick, progress)
    yield from frame_rows(quick, progress, pictures)
    yield from rtl_rows(quick, progress)
    yield from proofs_rows(quick, progress)
    yield from training_rows(quick, progress)
    yield from area_rows(quick, progress)
