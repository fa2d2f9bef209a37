"""Rectangles, time × bytes, the check of a packing, and the files that minimalloc reads."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path


@dataclass(frozen=True)
class Rectangle:
    """What occupies ``size`` bytes at one offset from ``start`` until before ``stop``."""

    start: int
    stop: int
    size: int
    """Bytes; nothing overlaps with 0 bytes."""
    name: str = ""
    alignment: int = 1
    """The offset is a multiple of it."""
    fixed: int | None = None
    """An offset that is given."""

    def __post_init__(self) -> None:
        if self.stop <= self.start:
            raise ValueError(
                f"{self} lives from {self.start} until {self.stop}; it must live for a step at "
                "least (stop is not included)"
            )
        if self.size < 0:
            raise ValueError(f"{self} has {self.size} bytes; take 0 at least")
        if self.alignment < 1:
            raise ValueError(f"{self} has an alignment of {self.alignment}; take 1 at least")
        if self.fixed is not None and (self.fixed < 0 or self.fixed % self.alignment):
            raise ValueError(
                f"{self} is fixed at {self.fixed}, which is no multiple of its alignment "
                f"{self.alignment} from 0 on"
            )

    def __str__(self) -> str:
        return self.name or f"[{self.start}, {self.stop}) × {self.size} bytes"


def in_bank(rectangle: Rectangle, offset: int, bank: int | None) -> bool:
    """Whether banks of ``bank`` bytes allow the offset.

    What fits one bank lies within one; what does not begins with one.
    """
    if not bank or not rectangle.size:
        return True
    within = offset % bank
    return within == 0 if rectangle.size > bank else within + rectangle.size <= bank


def checked_bank(bank: int | None) -> int | None:
    """``bank``; raises :class:`ValueError` below 1."""
    if bank is not None and bank < 1:
        raise ValueError(f"banks of {bank} bytes; take 1 at least, or None for no banks")
    return bank


def validate(
    rectangles: Sequence[Rectangle],
    offsets: Sequence[int],
    capacity: int,
    bank: int | None = None,
) -> None:
    """Raises :class:`ValueError` that names what is out of place, or overlaps, if anything does."""
    checked_bank(bank)
    if len(offsets) != len(rectangles):
        raise ValueError(f"{len(offsets)} offsets for {len(rectangles)} rectangles")
    for place, (r, offset) in enumerate(zip(rectangles, offsets, strict=True)):
        said = f"rectangle {place} ({r}) at {offset}"
        if not 0 <= offset <= capacity - r.size:
            raise ValueError(f"{said} does not lie in 0 … {capacity}: it ends at {offset + r.size}")
        if offset % r.alignment:
            raise ValueError(f"{said} is not at a multiple of {r.alignment}")
        if r.fixed is not None and offset != r.fixed:
            raise ValueError(f"{said} must be at {r.fixed}")
        if not in_bank(r, offset, bank):
            raise ValueError(f"{said} crosses from a bank of {bank} bytes to the next")
    alive: list[int] = []
    for place in sorted(range(len(rectangles)), key=lambda i: rectangles[i].start):
        r, offset = rectangles[place], offsets[place]
        if not r.size:
            continue
        alive = [other for other in alive if rectangles[other].stop > r.start]
        for other in alive:
            least, size = offsets[other], rectangles[other].size
            if offset < least + size and least < offset + r.size:
                raise ValueError(
                    f"rectangle {place} ({r}) at {offset} and rectangle {other} "
                    f"({rectangles[other]}) at {least} overlap"
                )
        alive.append(place)


def loads(rectangles: Sequence[Rectangle]) -> dict[int, int]:
    """Bytes that live from each step, at which anything starts or stops, until the next such."""
    changes: dict[int, int] = {}
    for r in rectangles:
        changes[r.start] = changes.get(r.start, 0) + r.size
        changes[r.stop] = changes.get(r.stop, 0) - r.size
    steps = sorted(changes)
    return dict(zip(steps, accumulate(changes[step] for step in steps), strict=True))


def lower_bound(rectangles: Sequence[Rectangle]) -> int:
    """Bytes: what lives at one time, at most; no smaller capacity holds the rectangles.

    What is fixed must end within the capacity too.
    """
    ends = (r.fixed + r.size for r in rectangles if r.fixed is not None)
    return max([0, *ends, *loads(rectangles).values()])


def read_csv(path: Path | str) -> tuple[list[Rectangle], int]:
    """The rectangles of ``NAME.CAPACITY.csv``, and the capacity.

    Columns ``id``, ``lower``, ``upper`` (not included) and ``size``, with or without
    ``alignment``.  Raises :class:`ValueError` where it is something else.
    """
    path = Path(path)
    capacity = re.search(r"\.(\d+)\.csv$", path.name)
    if not capacity:
        raise ValueError(f"{path.name} does not tell the capacity: name it NAME.BYTES.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        missing = {"id", "lower", "upper", "size"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path.name} has no column {', '.join(sorted(missing))}")
        found = []
        for number, row in enumerate(rows, 2):
            try:
                found.append(
                    Rectangle(
                        int(row["lower"]),
                        int(row["upper"]),
                        int(row["size"]),
                        row["id"],
                        int(row.get("alignment") or 1),
                    )
                )
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path.name}, line {number}: {error}") from None
            if row.get("gaps"):
                raise ValueError(f"{path.name}, line {number}: gaps in lifetimes are not supported")
    return found, int(capacity[1])
