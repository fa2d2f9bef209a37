"""The smallest capacity that holds rectangles."""

from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

from ..plan import Watch, unwatched
from .greedy import greedy_by_size, height
from .kernel import unit
from .rectangle import Rectangle, lower_bound
from .search import pack

_FIRST_SLICE = 0.5
"""Seconds for a capacity in the first round; each round takes :data:`_GROWTH` times as long."""
_GROWTH = 2


class Minimum(NamedTuple):
    """A capacity, a packing that needs it, and what no packing can do without."""

    capacity: int
    offsets: tuple[int, ...]
    bound: int
    """Bytes, proved; equal to the capacity where that is proved to be least."""


def minimise(
    rectangles: Sequence[Rectangle],
    *,
    limit: float,
    bank: int | None = None,
    watch: Watch = unwatched,
    seed: int = 0,
    threads: int = 1,
) -> Minimum:
    """The smallest capacity that is found within ``limit`` seconds, and a bound.

    A round tries the bound, then halves what lies between it and the best so far.  A capacity that
    is not decided within a slice of time counts as too small for the round; the next round has
    longer slices.  Ctrl-C ends it as the limit does.  Raises :class:`ValueError` where what is
    fixed overlaps.
    """
    began = monotonic()
    kept = [r for r in rectangles if r.size]
    step = max(unit(kept, bank), 1)
    offsets = min(
        (greedy_by_size(rectangles, bank, "first"), greedy_by_size(rectangles, bank, "best")),
        key=lambda found: height(rectangles, found),
    )
    best = height(rectangles, offsets)
    bound = -(-lower_bound(rectangles) // step) * step
    span, target, soft = _FIRST_SLICE, bound, bound
    try:
        while bound < best:
            watch(bound, best, monotonic() - began)
            seconds = min(span, began + limit - monotonic())
            if seconds <= 0:
                break
            found = pack(
                rectangles, target, bank=bank, limit=seconds, explain=False,
                seed=seed, threads=threads,
            )  # fmt: skip
            if found.status == "packed":
                offsets, best = found.offsets, height(rectangles, found.offsets)
            else:
                soft = target + step
                if found.status == "infeasible":
                    bound = soft
            seed += threads
            if soft >= best:
                span, target, soft = span * _GROWTH, bound, bound
            else:
                target = soft + (best - step - soft) // step // 2 * step
    except KeyboardInterrupt:
        pass
    watch(bound, best, monotonic() - began)
    return Minimum(best, offsets, bound)
