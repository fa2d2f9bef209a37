"""Packing of long schedules: as a whole where that is quick, else stretch by stretch.

The search of :mod:`.pack` decides small instances at once and may lose its way in long ones, though
little lies across most of their steps.  So: stretches of the schedule, cut where the least lies
across; each is packed with what came from the one before at its place.  That finds placements, or
nothing; only the whole search proves that there is none.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from . import pack

_FIRST = 0.3
"""Seconds for the whole at first."""
_STRETCH = 1.0
"""Seconds for one stretch."""
_LENGTHS = (256, 180, 360, 128, 512, 220, 96, 300, 64)
"""Steps of a stretch, in the order in which they are tried."""


def place(
    rectangles: Sequence[pack.Rectangle],
    capacity: int,
    *,
    bank: int | None = None,
    limit: float = 60.0,
    seed: int = 0,
) -> pack.Packing:
    """As :func:`.pack.pack`: packed, proved infeasible with a conflict, or unknown after ``limit``
    seconds."""
    start = time.monotonic()

    def left() -> float:
        return limit - (time.monotonic() - start)

    found = pack.pack(rectangles, capacity, bank=bank, limit=min(_FIRST, limit), seed=seed)
    if found.status != "unknown":
        return found
    last = max(r.stop for r in rectangles)
    for length in _LENGTHS:
        if length >= last or left() <= 0:
            continue
        offsets = stretches(
            rectangles, capacity, length, bank=bank, limit=min(_STRETCH, left()), seed=seed
        )
        if offsets is not None:
            seconds = time.monotonic() - start
            return pack.Packing("packed", offsets, (), False, seconds, found.nodes)
    if left() <= 0:
        return found
    return pack.pack(rectangles, capacity, bank=bank, limit=left(), seed=seed)


def stretches(
    rectangles: Sequence[pack.Rectangle],
    capacity: int,
    length: int,
    *,
    bank: int | None = None,
    limit: float = _STRETCH,
    seed: int = 0,
) -> tuple[int, ...] | None:
    """Offsets, found in stretches of at most ``length`` steps; ``limit`` seconds for each; None
    where one of them is not packed around what came before."""
    offsets: list[int | None] = [r.fixed for r in rectangles]
    bounds = _bounds(rectangles, length)
    for begin, end in pairwise(bounds):
        inside = [i for i, r in enumerate(rectangles) if r.start < end and begin < r.stop]
        cut = [
            replace(
                rectangles[i],
                start=max(rectangles[i].start, begin),
                stop=min(rectangles[i].stop, end),
                fixed=offsets[i],
            )
            for i in inside
        ]
        found = pack.pack(cut, capacity, bank=bank, limit=limit, explain=False, seed=seed)
        if found.status != "packed":
            return None
        for i, offset in zip(inside, found.offsets, strict=True):
            offsets[i] = offset
    return tuple(offset for offset in offsets if offset is not None)


def _bounds(rectangles: Sequence[pack.Rectangle], length: int) -> list[int]:
    """Where stretches begin and end: across each, in the second half of its reach, lies least."""
    first, last = min(r.start for r in rectangles), max(r.stop for r in rectangles)
    change = [0] * (last + 2)
    for r in rectangles:
        if r.stop > r.start + 1:
            change[r.start + 1] += r.size
            change[r.stop] -= r.size
    across = [0] * (last + 2)
    for t in range(1, last + 2):
        across[t] = across[t - 1] + change[t]
    bounds = [first]
    while bounds[-1] + length < last:
        reach = range(bounds[-1] + length // 2, bounds[-1] + length + 1)
        bounds.append(min(reach, key=lambda t: (across[t], -t)))
    return [*bounds, last]
