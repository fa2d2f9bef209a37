"""The placement that peers use: the largest first, where it fits."""

from bisect import insort
from collections.abc import Sequence
from typing import Literal

from .rectangle import Rectangle, checked_bank, in_bank

Gap = Literal["first", "best"]


def greedy_by_size(
    rectangles: Sequence[Rectangle], bank: int | None = None, gap: Gap = "first"
) -> tuple[int, ...]:
    """Offsets, the largest rectangle first, each in a gap between those it lives with.

    ``gap="first"``: the lowest that it fits, as TFLite Micro's ``GreedyMemoryPlanner`` does; of
    equal sizes the one given last comes first.  ``gap="best"``: the narrowest that it fits, above
    all others if none does, as TFLite's ``SimpleMemoryArena`` does in the order of its
    ``ArenaPlanner``: what lives throughout comes first as it is given, of equal sizes what starts
    first.  Both place what is fixed before all else.

    Raises :class:`ValueError` where what is fixed overlaps or crosses a bank.
    """
    checked_bank(bank)
    places = [i for i, r in enumerate(rectangles) if r.size]
    start = min((rectangles[i].start for i in places), default=0)
    stop = max((rectangles[i].stop for i in places), default=0)

    def order(i: int) -> tuple[int, ...]:
        r = rectangles[i]
        if r.fixed is not None:
            return (0, i)
        if gap == "first":
            return (1, 0, -r.size, -i)
        whole = r.start == start and r.stop == stop
        return (1, 0, i) if whole else (1, 1, -r.size, r.start, i)

    offsets = [r.fixed or 0 for r in rectangles]
    placed: list[tuple[int, int]] = []  # offset, place
    for i in sorted(places, key=order):
        r = rectangles[i]
        met = [
            (at, at + rectangles[j].size)
            for at, j in placed
            if rectangles[j].start < r.stop and r.start < rectangles[j].stop
        ]
        if r.fixed is not None:
            clear = all(r.fixed + r.size <= at or top <= r.fixed for at, top in met)
            if not clear or not in_bank(r, r.fixed, bank):
                raise ValueError(f"{r} is fixed at {r.fixed}, where it overlaps or crosses a bank")
        else:
            offsets[i] = _place(r, met, bank, gap)
        insort(placed, (offsets[i], i))
    return tuple(offsets)


def height(rectangles: Sequence[Rectangle], offsets: Sequence[int]) -> int:
    """The capacity that a packing needs: where its highest rectangle ends."""
    return max((o + r.size for r, o in zip(rectangles, offsets, strict=True)), default=0)


def _place(r: Rectangle, met: list[tuple[int, int]], bank: int | None, gap: Gap) -> int:
    best: tuple[int, int] | None = None  # bytes of the gap, offset
    end = 0
    for at, top in met:
        offset = _legal(r, end, bank)
        if offset + r.size <= at:
            if gap == "first":
                return offset
            # TFLite compares what alignment leaves of a gap with whole gaps.
            if best is None or at - offset < best[0]:
                best = (at - end, offset)
        end = max(end, top)
    return _legal(r, end, bank) if best is None else best[1]


def _legal(r: Rectangle, least: int, bank: int | None) -> int:
    """The least offset from ``least`` on that alignment and banks allow."""
    while True:
        least += -least % r.alignment
        if in_bank(r, least, bank):
            return least
        assert bank
        least += -least % bank or bank
