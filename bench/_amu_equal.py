"""Products by table lookup and by integer multipliers at equal error, as rows."""

from collections.abc import Iterator
from pathlib import Path

from .report import Progress, Row


def equal_rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Area over error of both."""
    yield from ()
