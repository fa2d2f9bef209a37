"""ReRAM crossbars: models, RTL, simulated chips, training, faults, the chip model, and areas."""

from collections.abc import Iterator
from pathlib import Path

from . import _curves
from ._reram_adcs import adc_rows
from ._reram_area import area_rows
from ._reram_array import array_rows
from ._reram_chip import chip_rows
from ._reram_cosim import cosim_rows
from ._reram_faults import Curves, fault_figures, fault_rows
from ._reram_flaws import flaw_rows
from ._reram_rtl import rtl_rows
from ._reram_training import training_rows
from .report import Progress, Row


def rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Every figure, each measured now; pictures of cycles, ADCs, factors and faults likewise."""
    yield from array_rows(quick, progress, pictures)
    yield from adc_rows(quick, progress, pictures)
    yield from rtl_rows(quick, progress)
    yield from cosim_rows(quick, progress)
    yield from training_rows(quick, progress)
    yield from chip_rows(quick, progress, pictures)
    yield from flaw_rows(quick, progress)
    curves: Curves = {}
    yield from fault_rows(quick, progress, curves)
    if pictures is not None:
        for stem, figure in fault_figures(curves).items():
            _curves.draw(figure, pictures, stem)
    yield from area_rows(quick, progress)
