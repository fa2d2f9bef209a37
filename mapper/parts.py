"""A bound for all orders from parts of a problem that are solved exactly.

Of any plan, what concerns some of the steps is a plan of these steps alone: in the same order,
with less beside it, and no dearer.  So the least of a *part* (:func:`part`) is a bound.  Parts
with no step in common add up where each buffer costs in one of them only.  The least of a
part is found, or bounded, by the search over sets of executed steps (:mod:`.free.states`).
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from .anneal import anneal
from .bound import reach
from .problem import Problem

LENGTHS = (24, 40, 64, 80, 100, 130)
"""Steps of a part, about, the shortest first; what takes too long gives what it has."""
STATES = 100_000_000
"""Of a search, at most, as :mod:`.free.states` counts them; sets of steps weigh more than they take
here: about a gigabyte."""


def part(
    problem: Problem, steps: Collection[int], priced: Collection[int] | None = None
) -> Problem:
    """These steps alone, in the default order, with the buffers that they use.

    ``priced``: those buffers of ``problem`` that cost anything; None is all.  Steps wait for one
    another only.  A buffer that another step may have written before counts as clean.  There is no
    double buffering: what is fetched early might lie beside steps that are not in the part.
    """
    chosen = sorted(set(steps))
    place = {step: i for i, step in enumerate(chosen)}
    earlier, later = reach(problem.before)
    users: dict[int, list[int]] = {}
    for step in chosen:
        for b in problem.steps[step].uses:
            users.setdefault(b, []).append(step)
    renamed = {b: i for i, b in enumerate(sorted(users))}
    written = {
        b
        for s, step in enumerate(problem.steps)
        if s not in place
        for b in step.writes
        if b in users and any(not later[user] >> s & 1 for user in users[b])
    }
    buffers = tuple(
        replace(
            problem.buffers[b],
            clean=problem.buffers[b].clean or b in written,
            bytes=problem.buffers[b].bytes if priced is None or b in priced else 0,
        )
        for b in renamed
    )
    taken = tuple(
        replace(
            problem.steps[s],
            reads=tuple(renamed[b] for b in problem.steps[s].reads),
            writes=tuple(renamed[b] for b in problem.steps[s].writes),
        )
        for s in chosen
    )
    before = tuple(frozenset(place[o] for o in chosen if earlier[s] >> o & 1) for s in chosen)
    memory = replace(problem.memory, double_buffered=False)
    return Problem(problem.name, memory, buffers, taken, before, problem.parameters)


def any_order(
    problem: Problem,
    order: Sequence[int],
    *,
    limit: float,
    enough: int,
    told: Callable[[int], None] = lambda bound: None,
) -> int:
    """The best bound of several divisions of the default order within ``limit`` seconds.

    ``order``: a good one; parts that cost nothing in it are left out.  Ends
    at ``enough``; ``told`` hears of every better bound.
    """
    from .free import states

    deadline = time.monotonic() + limit
    best, known = 0, dict[tuple[int, int, frozenset[int]], int]()
    default = range(len(problem.steps))
    for length in LENGTHS:
        ranges = pieces(problem, default, length)
        home = _homes(problem, ranges)
        jobs = []
        for k, (start, stop) in enumerate(ranges):
            priced = frozenset(b for b, where in enumerate(home) if where == k)
            some = part(problem, range(start, stop), priced)
            own = [s - start for s in order if start <= s < stop]
            if anneal(some, own, moves=0).cost:
                jobs.append(((start, stop, priced), some))
        total = 0
        for i, (key, some) in enumerate(jobs):
            rest = deadline - time.monotonic()
            if key not in known and rest > 0:
                found = states.search(some, limit=rest / (len(jobs) - i), most=STATES)
                if found.interrupted:
                    raise KeyboardInterrupt
                known[key] = found.bound
            total += known.get(key, 0)
        if total > best:
            best = total
            told(best)
        if best >= enough or time.monotonic() > deadline or len(ranges) == 1:
            break
    return best


def pieces(problem: Problem, order: Sequence[int], length: int) -> list[tuple[int, int]]:
    """Ranges of positions of about ``length`` steps; across their bounds lies little."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, step in enumerate(order):
        for b in problem.steps[step].uses:
            first.setdefault(b, position)
            last[b] = position
    across = [0] * (len(order) + 1)
    for b in first:
        for position in range(first[b] + 1, last[b] + 1):
            across[position] += problem.buffers[b].size
    bounds = [0]
    while bounds[-1] + 3 * length // 2 < len(order):
        reach = range(bounds[-1] + length // 2, bounds[-1] + 3 * length // 2)
        bounds.append(min(reach, key=lambda t: (across[t], abs(t - bounds[-1] - length))))
    return list(zip(bounds, [*bounds[1:], len(order)], strict=True))


def _homes(problem: Problem, ranges: Sequence[tuple[int, int]]) -> list[int]:
    """For each buffer, the range that has most of its users; the first of these."""
    count = [[0] * len(ranges) for _ in problem.buffers]
    for k, (start, stop) in enumerate(ranges):
        for step in problem.steps[start:stop]:
            for b in step.uses:
                count[b][k] += 1
    return [row.index(max(row)) for row in count]
