"""What packing teaches the master: gaps that cannot all be kept, as few as can be shown.

*Claim*: if of the residences that arise where exactly the gaps K are kept some have no placement,
every plan leaves a gap of K.  *Proof*: let a plan keep all of K; its addresses place them.  Each
of them lies within one of the plan's residences, of the same buffer, since gaps of K join its uses.
It takes its place at no more positions: those of its uses, and from the first to the last, both
have; the position before, to be fetched, the plan's residence takes too, either since it
begins with the same use, and then is fetched as well, or since it begins earlier; the position
after, to be stored, likewise.  Two that lie within the same residence of the plan are parted
by a gap that is left and frees a position at least, so that they do not meet; two within different
ones do not overlap as these do not.  Alignment and banks ask for the address and the size alone.
"""

import time
from collections.abc import Collection, Iterable

from . import pack
from .fixed import FixedOrder
from .plan import Plan, Residence

_ONCE = 0.05
"""Seconds for one proof while a cut is shortened, at least."""


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


def inside(
    fixed: FixedOrder, residences: Iterable[Residence], left: Collection[int]
) -> tuple[int, ...]:
    """The kept gaps that make these residences as long as they are."""
    spans: dict[int, list[tuple[int, int]]] = {}
    for r in residences:
        spans.setdefault(r.buffer, []).append((r.first, r.last))
    return tuple(
        i
        for i, gap in enumerate(fixed.gaps)
        if i not in left
        and any(a <= gap.first and gap.last <= z for a, z in spans.get(gap.buffer, ()))
    )


def shortened(
    fixed: FixedOrder, residences: Collection[Residence], cut: tuple[int, ...], limit: float
) -> tuple[int, ...]:
    """A subset of ``cut`` that cannot be kept either, small; ``limit`` seconds.

    The conflict among ``residences``, which arise where ``cut`` is kept, is proved again without
    one gap after the other, with all else that is in use at the time.  The cheapest go first: what
    remains is dear to leave.
    """
    begun = time.monotonic()
    plan = unplaced(fixed, frozenset(range(len(fixed.gaps))) - set(cut))
    conflict = [plan.occupied(r) for r in residences]
    span = min(w.start for w in conflict), max(w.stop for w in conflict)
    memory = fixed.problem.memory

    def impossible(kept: Collection[int], seconds: float) -> bool:
        plan = unplaced(fixed, frozenset(range(len(fixed.gaps))) - set(kept))
        wanted = [r for r in rectangles(plan) if r.start < span[1] and span[0] < r.stop]
        found = pack.pack(
            wanted, memory.budget, bank=memory.bank if memory.banks > 1 else None,
            limit=seconds, explain=False,
        )  # fmt: skip
        return found.status == "infeasible"

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
