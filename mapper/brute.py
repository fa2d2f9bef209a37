"""The least non-compulsory bytes of small problems, by trying everything.

As plain as it can be, and with nothing of what the solvers use: every order; of every buffer every
choice of the gaps between uses in which it is away; every address.  For some eight operators and
budgets of a few dozen addresses.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache

from .problem import Problem

Stay = tuple[int, int]
"""The first position at which a buffer takes its place, and the one after the last."""


def brute(problem: Problem, *, moves: bool = False) -> int | None:
    """Over all orders; None where no plan keeps the budget.  ``moves`` as in
    :func:`brute_fixed`."""
    least: int | None = None
    for order in orders(problem):
        found = brute_fixed(problem, order, least, moves=moves)
        least = least if found is None else found
        if least == 0:
            break
    return least


def brute_fixed(
    problem: Problem,
    order: Sequence[int] | None = None,
    below: int | None = None,
    *,
    addresses: bool = True,
    moves: bool = False,
) -> int | None:
    """In one order (None: the default one); None also where it is not less than ``below``.

    Without ``addresses`` as if buffers could lie in pieces.  With ``moves`` buffers may leave and
    come back with no step between, only to lie elsewhere.
    """
    order = range(len(problem.steps)) if order is None else order
    ways = [list(_ways(problem, order, b, moves)) for b in range(len(problem.buffers))]
    sizes = [buffer.size for buffer in problem.buffers]
    fitting: list[tuple[int, list[tuple[int, Stay]]]] = []

    def choose(cost: int, stays: list[tuple[int, Stay]], load: list[int], b: int) -> None:
        if max(load, default=0) > problem.memory.budget or (below is not None and cost >= below):
            return
        if b == len(ways):
            fitting.append((cost, stays))
            return
        for more, own in ways[b]:
            loaded = list(load)
            for first, stop in own:
                for t in range(first, stop):
                    loaded[t] += sizes[b]
            choose(cost + more, [*stays, *((b, stay) for stay in own)], loaded, b + 1)

    choose(0, [], [0] * len(order), 0)
    for cost, stays in sorted(fitting, key=lambda x: x[0]):
        if not addresses or _placed(problem, stays):
            return cost
    return None


def orders(problem: Problem) -> Iterator[tuple[int, ...]]:
    """Every order that keeps to what must come before what."""

    def longer(done: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(done) == len(problem.steps):
            yield done
        for step in range(len(problem.steps)):
            if step not in done and problem.before[step] <= {*done}:
                yield from longer((*done, step))

    return longer(())


def _ways(
    problem: Problem, order: Sequence[int], b: int, moves: bool
) -> Iterator[tuple[int, tuple[Stay, ...]]]:
    """What a buffer may do: non-compulsory bytes, and when its place is taken."""
    uses = [t for t, step in enumerate(order) if b in problem.steps[step].uses]
    # A transfer takes a step before a use, and one after a use, if it happens during steps.
    shortest = 3 if problem.memory.double_buffered else 1
    apart = [t for t, u in itertools.pairwise(uses) if u - t >= shortest + (not moves)]
    for count in range(len(apart) + 1):
        for away in itertools.combinations(apart, count):
            yield _history(problem, order, b, uses, away)


def _history(
    problem: Problem, order: Sequence[int], b: int, uses: Sequence[int], away: Sequence[int]
) -> tuple[int, tuple[Stay, ...]]:
    """Of a buffer that is away from these uses to the next ones."""
    buffer, margin = problem.buffers[b], int(problem.memory.double_buffered)
    writes = [t for t in uses if b in problem.steps[order[t]].writes]
    loaded = b in problem.loads
    start = uses[0] - margin * (buffer.clean and not loaded)
    dirty, cost = False, 0
    stays: list[Stay] = []
    for t, following in itertools.zip_longest(uses, uses[1:]):
        if t in writes:
            dirty = not (loaded and t == uses[0])
        if t not in away and following is not None:
            continue
        leaves = t in away or buffer.delivered
        if leaves and dirty:
            compulsory = buffer.delivered and t >= writes[-1]
            cost += 0 if compulsory else buffer.bytes
            dirty = False
        stays.append((max(start, 0), min(t + 1 + margin * leaves, len(order))))
        if following is not None:
            cost += buffer.bytes
            start = following - margin
    return cost, tuple(stays)


def _placed(problem: Problem, stays: Sequence[tuple[int, Stay]]) -> bool:
    """Whether all of them fit, at addresses that do not change."""
    unit = problem.memory.alignment
    budget, bank = problem.memory.budget // unit, problem.memory.bank // unit
    boxes = tuple(sorted((*stay, problem.buffers[b].size // unit) for b, stay in stays))
    # What lies there at one position has to fit by itself; that is quickly seen.
    return all(
        _fits(tuple(sorted((0, 1, n) for first, stop, n in boxes if first <= t < stop)),
              budget, bank)
        for t in {first for first, _, _ in boxes}
    ) and _fits(boxes, budget, bank)  # fmt: skip


@lru_cache(1 << 12)
def _fits(boxes: tuple[tuple[int, int, int], ...], budget: int, bank: int) -> bool:
    """Whether boxes (first and last + 1 position, addresses) fit: one by one, every address."""
    # One bit for each position and address; row t of the picture begins at bit t * budget.
    shapes = [sum(((1 << n) - 1) << t * budget for t in range(a, z)) for a, z, n in boxes]
    hopeless: set[tuple[int, int]] = set()

    def fits(place: int, taken: int) -> bool:
        if place == len(boxes):
            return True
        first, _, size = boxes[place]
        taken &= -1 << first * budget  # what is over is no matter
        if (place, taken) in hopeless:
            return False
        for address in range(budget - size + 1):
            within = address // bank == (address + size - 1) // bank
            box = shapes[place] << address
            if (
                (within if size <= bank else address % bank == 0)
                and not box & taken
                and fits(place + 1, taken | box)
            ):
                return True
        hopeless.add((place, taken))
        return False

    return fits(0, 0)
