"""Bytes that no order of a problem can do without transferring.

A buffer *crosses* a step that does not use it where another of its users must come before the step
and another one after it, in every order.  While the step runs, buffers that cross it lie in the
scratchpad or are away; what is away was brought away and will be fetched again.  So with
``away[b]`` = 1 for buffers that ever leave and come back::

    least   sum away[b] (fetch[b] + store[b])
    where   sum size[b] away[b] >= uses[s] + sum size[b] - budget       over b that cross s, each s

is a bound for all orders.  Its optimum is found, or bounded, by an integer program.
"""

import math
from collections.abc import Sequence
from functools import reduce

from .backends import Backend, run
from .problem import Problem


def any_order(problem: Problem, limit: float = 10.0, backend: Backend = "cbc") -> int:
    """The bound; whatever time it takes, it is one."""
    import pulp

    rows = deficits(problem)
    if not rows:
        return 0
    price = prices(problem)
    scale = reduce(math.gcd, (price[b] for _, across in rows for b in across))
    model = pulp.LpProblem("bound", pulp.LpMinimize)
    away = {
        b: model.add_variable(f"away_{b}", cat="Binary")
        for b in sorted({b for _, across in rows for b in across})
    }
    model.setObjective(pulp.LpAffineExpression([(v, price[b] // scale) for b, v in away.items()]))
    for need, across in rows:
        sizes = [problem.buffers[b].size for b in across]
        step = reduce(math.gcd, sizes)
        whole = -(-need // step)
        terms = [(away[b], min(s // step, whole)) for b, s in zip(across, sizes, strict=True)]
        model += pulp.LpAffineExpression(terms) >= whole
    found = run(model, backend, limit=limit)
    bound = found.objective if found.status == "optimal" else found.bound
    if bound is None or not math.isfinite(bound):
        return 0
    return max(math.ceil(bound - 1e-6), 0) * scale


def prices(problem: Problem) -> list[int]:
    """Of each buffer: the least bytes that it costs to leave and come back once."""
    written = [0] * len(problem.buffers)
    for step in problem.steps:
        for b in step.writes:
            written[b] += 1
    found = []
    for b, buffer in enumerate(problem.buffers):
        # One that is written again may leave while it is clean, or for the last time.
        stored = not buffer.clean and not buffer.delivered and written[b] == 1
        found.append(buffer.bytes * (2 if stored else 1))
    return found


def deficits(problem: Problem) -> list[tuple[int, tuple[int, ...]]]:
    """Of each step for which there is not room for all: bytes that must be away, and the buffers
    among which these are."""
    earlier, later = reach(problem.before)
    users = [0] * len(problem.buffers)
    for s, step in enumerate(problem.steps):
        for b in step.uses:
            users[b] |= 1 << s
    found: dict[tuple[int, ...], int] = {}
    for s, step in enumerate(problem.steps):
        used = sum(problem.buffers[b].size for b in step.uses)
        across = tuple(
            b
            for b, mask in enumerate(users)
            if not mask >> s & 1 and mask & earlier[s] and mask & later[s]
        )
        need = used + sum(problem.buffers[b].size for b in across) - problem.memory.budget
        if need > 0:
            found[across] = max(need, found.get(across, 0))
    return [(need, across) for across, need in found.items()]


def reach(before: Sequence[frozenset[int]]) -> tuple[list[int], list[int]]:
    """Of each step, as bits: all that must come before it, and all that must come after it."""
    earlier = [0] * len(before)
    later = [0] * len(before)
    for s, direct in enumerate(before):  # the default order is a topological one
        for other in direct:
            earlier[s] |= earlier[other] | 1 << other
    for s in reversed(range(len(before))):
        for other in before[s]:
            later[other] |= later[s] | 1 << s
    return earlier, later
