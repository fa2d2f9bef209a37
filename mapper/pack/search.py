"""Exact packing, and why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from .kernel import Status, search
from .rectangle import Rectangle, checked_bank, in_bank, loads

_PROOF = 10.0
"""A proof for a subset may take so many times as long as the first one, and a second at least."""


@dataclass(frozen=True)
class Packing:
    """What a search found."""

    status: Status
    offsets: tuple[int, ...]
    """Bytes; of every rectangle where packed, else none."""
    conflict: tuple[int, ...]
    """Where infeasible: places of rectangles that have no packing."""
    irreducible: bool
    """Whether the conflict has a packing without any one of its rectangles."""
    seconds: float
    nodes: int
    """Choices that were made."""


def pack(
    rectangles: Sequence[Rectangle],
    capacity: int,
    *,
    bank: int | None = None,
    limit: float = 60.0,
    explain: bool = True,
    seed: int = 0,
    threads: int = 1,
) -> Packing:
    """Offsets below ``capacity`` bytes at which no two rectangles overlap, or why there are none.

    ``bank``: bytes; what fits one bank lies within one, what does not begins with one.
    ``limit``: seconds in all; what is not decided by then is ``"unknown"``.  ``explain``: where
    there is no packing, looks for an irreducible subset that has none; a conflict is otherwise all
    rectangles.  One thread does the same for a seed on every machine, but for the limit.

    Raises :class:`ValueError` for a capacity, a bank or threads below 1, and
    :class:`~...models.native.KernelMissing` without a C++ compiler.
    """
    began = monotonic()
    for name, value in (("capacity", capacity + 1), ("threads", threads)):
        if value < 1:
            raise ValueError(f"{name} is {value - (name == 'capacity')}; it cannot be that small")
    checked_bank(bank)
    wanted = [i for i, r in enumerate(rectangles) if r.size]
    nodes = 0

    def said(status: Status, **more: tuple[int, ...] | bool) -> Packing:
        values = {"offsets": (), "conflict": (), "irreducible": False} | more
        return Packing(status, **values, seconds=monotonic() - began, nodes=nodes)  # pyright: ignore

    for i in wanted:  # one alone
        r = rectangles[i]
        fixed = r.fixed or 0
        if fixed + r.size > capacity or not in_bank(r, fixed, bank):
            return said("infeasible", conflict=(i,), irreducible=True)

    def attempt(places: list[int], seconds: float) -> tuple[Status, tuple[int, ...]]:
        nonlocal nodes
        chosen = [rectangles[i] for i in places]
        found = search(chosen, capacity, bank, seconds, seed, threads)
        nodes += found.nodes
        return found.status, found.offsets

    status, packed = attempt(wanted, limit)
    if status == "packed":
        offsets = [r.fixed or 0 for r in rectangles]
        for i, offset in zip(wanted, packed, strict=True):
            offsets[i] = offset
        return said("packed", offsets=tuple(offsets))
    if status == "unknown":
        return said("unknown")
    if not explain:
        return said("infeasible", conflict=tuple(wanted))

    once = max(_PROOF * (monotonic() - began), 1.0)
    sure = True

    def infeasible(places: list[int]) -> bool | None:
        seconds = min(once, began + limit - monotonic())
        status = attempt(places, seconds)[0] if seconds > 0 else "unknown"
        return None if status == "unknown" else status == "infeasible"

    loaded = loads([rectangles[i] for i in wanted])
    centre = max(loaded, key=lambda step: loaded[step])

    def distance(i: int) -> int:
        return max(rectangles[i].start - centre, centre + 1 - rectangles[i].stop, 0)

    # The farthest from the fullest step go first; of those that live then, the smallest.
    left = sorted(wanted, key=lambda i: (-distance(i), rectangles[i].size))
    alive = [i for i in left if not distance(i)]
    if loaded[centre] > capacity:
        left = alive
    size = max(len(left) // 2, 1)
    while True:
        at = 0
        while at < len(left):
            fewer = left[:at] + left[at + size :]
            answer = infeasible(fewer) if fewer else False
            if answer:
                left = fewer
                continue
            if answer is None and size == 1:
                sure = False
            at += size
        if size == 1:
            break
        size = max(size // 2, 1)
    return said("infeasible", conflict=tuple(sorted(left)), irreducible=sure)
