"""Solvers against trying everything, on random graphs; every plan replayed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .brute import brute, brute_fixed
from .graph import Graph
from .plan import Result
from .problem import BudgetError, Problem
from .random_graphs import problems
from .replay import ReplayError, replay
from .schedule import Schedule

Solver = Callable[[Problem], Result]


@dataclass(frozen=True)
class Agreement:
    """What came of it."""

    problems: int
    mismatches: tuple[str, ...]
    """Each with the seed that draws the problem again."""
    moved: int
    """Problems whose least is more than 0, in the default order (where no solver was held against
    that: over all orders)."""
    impossible: int
    """Problems without a plan, likewise."""
    more_than_capacity: int
    """Problems whose addresses cost more than capacity alone would say, in the default order."""
    plans: int
    """That were replayed."""


def random_agreement(
    count: int,
    seed: int = 0,
    fixed: Mapping[str, Solver] | None = None,
    free: Mapping[str, Solver] | None = None,
) -> Agreement:
    """Draws ``count`` problems, by :func:`.random_graphs.problems`.

    ``fixed``: solvers by name that are held against the least of the default order, ``free`` ones
    against that of all orders.  They must prove it; where there is no plan, they say so or raise
    :class:`.problem.BudgetError`.  Plans must replay to as many bytes as they say.
    """
    wrong: list[str] = []
    moved = impossible = hard = plans = 0
    for name, graph, problem in problems(count, seed):
        least: dict[str, int | None] = {}
        if fixed:
            least["default"] = brute_fixed(problem)
            hard += least["default"] != brute_fixed(problem, addresses=False)
        if free:
            least["free"] = brute(problem)
        first = next(iter(least.values()), None)
        moved += bool(first)
        impossible += first is None
        for order, solvers in (("default", fixed or {}), ("free", free or {})):
            for solver, solve in solvers.items():
                said, replayed = _judged(graph, problem, solve, least[order])
                plans += replayed
                wrong += [f"{name}, {order} order, {solver}: {text}" for text in said]
    return Agreement(count, tuple(wrong), moved, impossible, hard, plans)


def _judged(
    graph: Graph, problem: Problem, solve: Solver, least: int | None
) -> tuple[list[str], bool]:
    """What is wrong, and whether there was a plan."""
    try:
        found = solve(problem)
    except BudgetError:
        return ([] if least is None else [f"refuses the budget; the least is {least}"]), False
    said = []
    if least is None:
        if found.status != "infeasible":
            said.append(f"{found.status}, but there is no plan")
    elif (found.status, found.objective, found.bound) != ("optimal", least, least):
        said.append(f"{found.status}, {found.objective}, bound {found.bound}; the least is {least}")
    if found.plan is None:
        return said, False
    try:
        counted = replay(graph, Schedule.of(graph, found.plan, found.to_json()))
    except ReplayError as error:
        return [*said, str(error)], True
    expected = found.objective, problem.compulsory, found.plan.peak
    if (counted.non_compulsory, counted.compulsory, counted.peak) != expected:
        said.append(
            f"replayed to {counted.non_compulsory} and {counted.compulsory} bytes, peak "
            f"{counted.peak}; it says {expected}"
        )
    return said, True
