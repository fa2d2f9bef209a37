"""ReRAM crossbars: equality, wires, speed, input cycles, ADCs and flaws of the analogue array."""

from collections.abc import Iterator

from ._reram_array import array_rows
from ._reram_flaws import flaw_rows
from .report import Progress, Row


def rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Every figure, each measured now."""
    for part in (array_rows, flaw_rows):
        yield from part(quick, progress)
