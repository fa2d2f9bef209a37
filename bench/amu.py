"""AMU: learning, networks, streamlining, area and cycles, beside peers' and at equal error."""

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from ._amu_equal import equal_rows
from .report import Progress, Row

_PARTS = ("learning", "networks", "area", "rtl", "pipeline")
"""Modules ``_amu_<part>``, each with ``<part>_rows(quick, progress)``."""


def rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Every figure, each measured now; area over error as pictures in that folder."""
    for part in _PARTS:
        name = f"{__package__}._amu_{part}"
        if importlib.util.find_spec(name) is not None:
            yield from getattr(importlib.import_module(name), f"{part}_rows")(quick, progress)
    yield from equal_rows(quick, progress, pictures)
