"""What packing teaches the master: gaps that cannot all be kept, as few as can be shown.

*Claim*: if the residences that arise where exactly the gaps K are kept have no placement, or some
of them have none, or none at some positions, every plan leaves a gap of K.  *Proof*: let a plan
keep all of K; its addresses place them.  Each of them lies within one of the plan's residences, of
the same buffer, since gaps of K join its uses.  It takes its place at no more positions: those from
its first use to its last both have; the position before, to be fetched, the plan's residence takes
too, either since it begins with the same use, and then is fetched as well, or since it begins
earlier; the position after, to be stored, likewise.  Two that lie within the same residence of
the plan are parted by a gap that is left and frees a position at least, so that they do not meet;
two within different ones do not overlap as these do not.  Alignment and banks ask for the address
and the size alone.

*Lifting*: if all gaps of K free all the positions in question, any other gap that does, of a buffer
at least as large as all of K's, takes the place of any of them: what would place it there would
place the smaller one.  So of K and those gaps together, fewer than K's number are kept.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from . import pack
from .fixed import FixedOrder
from .master import size
from .plan import Plan, Residence

_ONCE = 0.05
"""Seconds for one proof while a cut is shortened, at least."""
LENGTHS = (1, 2, 4, 8, 12, 16, 20, 24, 32, 48, 64)
"""Positions of a stretch that is searched for a conflict."""


def rectangles(plan: Plan, residences: Iterable[Residence] | None = None) -> list[pack.Rectangle]:
    """What the packer is asked for a plan's residences (None: all), in their order.

    Addresses are not used.
    """
    memory, buffers = plan.problem.memory, plan.problem.buffers
    found = []
    for residence in plan.residences if residences is None else residences:
        when, buffer = plan.occupied(residence), buffers[residence.buffer]
        found.append(
            pack.Rectangle(when.start, when.stop, buffer.size, buffer.name, memory.alignment)
        )
    return found


def unplaced(fixed: FixedOrder, left: Collection[int]) -> Plan:
    """The plan that leaves these gaps, all addresses 0."""
    return fixed.plan(left, [0] * len(fixed.residences(left)))


@dataclass(frozen=True)
class Conflict:
    """Residences that have no placement, and positions at which that shows."""

    residences: tuple[Residence, ...]
    window: range


@dataclass(frozen=True)
class Cut:
    """Of ``gaps``, ``need`` at least must be left: so many that fewer than remain conflict."""

    gaps: tuple[int, ...]
    """Sorted."""
    need: int
    window: range
    """Positions at which that shows."""


def lifted(fixed: FixedOrder, gaps: tuple[int, ...], window: range) -> Cut:
    """The cut of gaps that cannot all be kept, with those that may stand for any of them."""
    if not gaps or not all(covers(fixed, i, window) for i in gaps):
        return Cut(gaps, 1, window)
    largest = max(size(fixed, i) for i in gaps)
    more = {
        i for i in range(len(fixed.gaps)) if size(fixed, i) >= largest and covers(fixed, i, window)
    }
    found = tuple(sorted({*gaps, *more}))
    return Cut(found, len(found) - len(gaps) + 1, window)


def covers(fixed: FixedOrder, gap: int, window: range) -> bool:
    """Whether leaving it frees all these positions."""
    freed = fixed.gaps[gap].freed
    return freed.start <= window.start and window.stop <= freed.stop


def searched(
    fixed: FixedOrder,
    left: Collection[int],
    seconds: float,
    limit: float,
    lengths: Sequence[int] = LENGTHS,
) -> list[Conflict]:
    """Conflicts at few positions if ``left`` is left, apart from each other.

    Of single positions, then of ever longer stretches, until there are any or ``limit`` seconds
    pass; ``seconds`` for each stretch, those that hold the most bytes first.  What is hard to see
    in a whole schedule, such as sizes that do not add up to banks, is quickly seen there.
    """
    begun = time.monotonic()
    plan = unplaced(fixed, left)
    everything = rectangles(plan)
    load = [0] * len(plan.order)
    for r in everything:
        for position in range(r.start, r.stop):
            load[position] += r.size
    for length in lengths:
        if length > len(load):
            break
        found: list[Conflict] = []
        starts = range(0, len(load) - length + 1, max(length // 8, 1))
        for start in sorted(starts, key=lambda s: -sum(load[s : s + length])):
            rest = limit - (time.monotonic() - begun)
            if rest <= 0:
                return found
            window = range(start, start + length)
            if any(c.window.start < window.stop and start < c.window.stop for c in found):
                continue
            conflict = _clash(fixed, plan, everything, window, min(seconds, rest))
            if conflict:
                found.append(conflict)
        if found:
            return found
    return []


def clash(fixed: FixedOrder, left: Collection[int], window: range, limit: float) -> Conflict | None:
    """Residences that have no placement in ``window``, none of them to spare if time allows."""
    plan = unplaced(fixed, left)
    return _clash(fixed, plan, rectangles(plan), window, limit)


def _clash(
    fixed: FixedOrder, plan: Plan, everything: list[pack.Rectangle], window: range, limit: float
) -> Conflict | None:
    here = [i for i, r in enumerate(everything) if r.start < window.stop and window.start < r.stop]
    found = _packed(fixed, _clipped([everything[i] for i in here], window), limit, explain=True)
    if found.status != "infeasible":
        return None
    return Conflict(tuple(plan.residences[here[i]] for i in found.conflict), window)


def _clipped(wanted: Iterable[pack.Rectangle], window: range) -> list[pack.Rectangle]:
    return [
        replace(r, start=max(r.start, window.start), stop=min(r.stop, window.stop))
        for r in wanted
        if r.start < window.stop and window.start < r.stop
    ]


def _packed(
    fixed: FixedOrder, wanted: list[pack.Rectangle], limit: float, explain: bool = False
) -> pack.Packing:
    memory = fixed.problem.memory
    return pack.pack(
        wanted, memory.budget, bank=memory.bank if memory.banks > 1 else None, limit=limit,
        explain=explain,
    )  # fmt: skip


def hull(plan: Plan, residences: Collection[Residence]) -> range:
    """The positions from the first to the last that any of them takes."""
    when = [plan.occupied(r) for r in residences]
    return range(min(w.start for w in when), max(w.stop for w in when))


def inside(fixed: FixedOrder, conflict: Conflict, left: Collection[int]) -> tuple[int, ...]:
    """The kept gaps that hold the residences of a conflict where it shows."""
    spans: dict[int, list[tuple[int, int]]] = {}
    for r in conflict.residences:
        spans.setdefault(r.buffer, []).append((r.first, r.last))
    return tuple(
        i
        for i, gap in enumerate(fixed.gaps)
        if i not in left
        and gap.freed.start < conflict.window.stop
        and conflict.window.start < gap.freed.stop
        and any(a <= gap.first and gap.last <= z for a, z in spans.get(gap.buffer, ()))
    )


def shortened(
    fixed: FixedOrder, window: range, cut: tuple[int, ...], limit: float
) -> tuple[int, ...]:
    """A subset of ``cut`` that cannot be kept either, small; ``limit`` seconds.

    That there is no placement in ``window`` where ``cut`` is kept is proved again without one gap
    after the other, with all else that is in use there.  The cheapest go first: what remains is
    dear to leave.
    """
    begun = time.monotonic()
    every = frozenset(range(len(fixed.gaps)))

    def impossible(kept: Collection[int], seconds: float) -> bool:
        wanted = _clipped(rectangles(unplaced(fixed, every - set(kept))), window)
        return _packed(fixed, wanted, seconds).status == "infeasible"

    def cost(i: int) -> int:
        return fixed.gaps[i].fetch + fixed.gaps[i].store

    remaining = sorted(cut, key=lambda i: (cost(i), i))
    chunk = max(len(remaining) // 2, 1)
    while remaining:
        at = 0
        while at < len(remaining):
            rest = limit - (time.monotonic() - begun)
            if rest <= 0:
                return tuple(sorted(remaining))
            fewer = remaining[:at] + remaining[at + chunk :]
            if impossible(fewer, min(rest, max(_ONCE, limit / 20))):
                remaining = fewer
            else:
                at += chunk
        if chunk == 1:
            break
        chunk = max(chunk // 2, 1)
    return tuple(sorted(remaining))
