"""Points of error rates as series of a figure, and those of the reference table."""

from collections.abc import Sequence

from ..models import data
from ..models.codes.montecarlo import wilson
from ..models.error_rates import Point
from ._curves import Series

_TABLE = "decoder_monte_carlo.csv"

Published = dict[str, str]
"""A row of the reference table."""


def rates(label: str, points: Sequence[Point]) -> Series:
    """The error rates that are above 0, with their intervals."""
    points = [p for p in points if p.fer > 0]
    bars = [p.low for p in points], [p.high for p in points]
    return Series(label, [p.ebn0 for p in points], [p.fer for p in points], *bars)


def costs(label: str, points: Sequence[Point], name: str) -> Series:
    """Average costs called ``name``, those that are above 0."""
    means = {p.ebn0: p.costs[name]["average"] for p in points}
    means = {ebn0: mean for ebn0, mean in means.items() if mean > 0}
    return Series(label, list(means), list(means.values()))


def published(decoder: str, code: str) -> list[Published]:
    """The table's rows with errors of the ``decoder``, whose code's text holds ``code``.

    None without the table.
    """
    try:
        head, *rows = data.table(_TABLE)
    except data.MissingData:
        return []
    rows = [dict(zip(head, row, strict=True)) for row in rows]
    return [
        row
        for row in rows
        if row["decoder"] == decoder and code in row["code"] and int(row["frame_errs"])
    ]


def published_rates(label: str, rows: Sequence[Published], like: str = "") -> Series:
    """The error rates of rows of the table, with their intervals; see :class:`Series`."""
    counts = [(int(row["frame_errs"]), int(row["frames"])) for row in rows]
    low, high = zip(*(wilson(*count) for count in counts), strict=True) if counts else ((), ())
    y = [errors / frames for errors, frames in counts]
    return Series(label, _ebn0(rows), y, low, high, reference=True, like=like)


def published_costs(label: str, rows: Sequence[Published], column: str, like: str = "") -> Series:
    """What rows of the table say in that ``column``, where that is above 0."""
    rows = [row for row in rows if row[column] and float(row[column]) > 0]
    y = [float(row[column]) for row in rows]
    return Series(label, _ebn0(rows), y, reference=True, like=like)


def _ebn0(rows: Sequence[Published]) -> list[float]:
    return [float(row["ebn0_dB"]) for row in rows]
