"""One front door to all schedulers; every plan that goes out was replayed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from . import baselines, cosma, divide, exact, free, orders
from .fixed import FixedOrder
from .graph import Graph
from .plan import Result, Watch, unwatched
from .problem import Memory, Problem, lower
from .replay import replay
from .schedule import Schedule

LARGE = 300
"""Steps from which on ``auto`` divides."""

ORDERS: Mapping[str, Callable[[Problem], Sequence[int]]] = {
    "default": orders.default,
    "min-peak": lambda problem: orders.min_peak(problem).order,
    "greedy": orders.greedy,
    "depth-first": orders.depth_first,
}
"""By name: for those methods that are given an order."""

METHODS: Mapping[str, str] = {
    "auto": "free up to 300 operators, divide beyond",
    "free": "the least over all orders, proved",
    "divide": "annealed orders of large graphs, and a bound",
    "exact": "the least in the given order, proved",
    "cosma": "COSMA's integer program in the given order, the reference",
    "cosma-free": "COSMA's integer program over all orders: for small graphs",
    "belady": "furthest next use leaves; placed by search",
    "belady-greedy": "furthest next use leaves; placed by size, as TFLite does",
    "layer-by-layer": "nothing stays from one operator to the next",
}
"""Names and what they do."""

Budget = int | Literal["M_R", "M_H", "M_P"]


def budget(graph: Graph, wanted: Budget, memory: Memory, parameters: bool = False) -> int:
    """Bytes: those given, or by name, rounded up to whole units of alignment and banks.

    ``M_R``: the most that one operator needs (with double buffering: that a step of the default
    order needs).  ``M_P``: the least peak of any order if nothing ever leaves.  ``M_H``: half way.
    """
    if isinstance(wanted, int):
        return wanted
    unit = memory.alignment * memory.banks
    problem = lower(graph, replace(memory, budget=unit << 60), parameters)
    least = max(problem.floor, max(FixedOrder(problem).required))
    peak = max(orders.min_peak(problem).peak, least)
    bytes = {"M_R": least, "M_H": (least + peak) // 2, "M_P": peak}[wanted]
    return -(-bytes // unit) * unit


def solve(
    problem: Problem,
    method: str = "auto",
    order: str | Sequence[int] = "default",
    *,
    limit: float = 60.0,
    seed: int = 0,
    watch: Watch = unwatched,
) -> Result:
    """A plan by one of :data:`METHODS`, in ``order`` (a name of :data:`ORDERS`, or steps) where the
    method does not choose it.

    Raises :class:`ValueError` for other names, and as the methods do.
    """
    from ..models.config import unknown

    if method not in METHODS:
        raise ValueError(unknown("method", method, METHODS))
    if method == "auto":
        method = "free" if len(problem.steps) <= LARGE else "divide"
    if method == "free":
        return free.solve(problem, limit=limit, seed=seed, watch=watch)
    if method == "divide":
        return divide.solve(problem, limit=limit, seed=seed, watch=watch)
    if method == "cosma-free":
        return cosma.solve(problem, free=True, limit=limit, seed=seed, watch=watch)
    if isinstance(order, str):
        if order not in ORDERS:
            raise ValueError(unknown("order", order, ORDERS))
        order = ORDERS[order](problem)
    if method == "exact":
        return exact.solve(problem, order, limit=limit, seed=seed, watch=watch)
    if method == "cosma":
        return cosma.solve(problem, order, limit=limit, seed=seed, watch=watch)
    if method == "layer-by-layer":
        return baselines.layer_by_layer(problem)
    if method == "belady-greedy":
        return baselines.belady_greedy(problem, order)
    return baselines.belady_packed(problem, order, limit=limit, seed=seed)


def schedule(graph: Graph, result: Result) -> Schedule:
    """The schedule's file of a result, replayed: its bytes are what the replay counts.

    Raises :class:`ValueError` where there is no plan, :class:`.replay.ReplayError` where a rule is
    broken, and :class:`RuntimeError` where bytes differ: both would be a bug of ours.
    """
    if result.plan is None:
        raise ValueError(
            f"{result.problem.name}: no plan ({result.status}); raise the limit or the budget"
        )
    found = Schedule.of(graph, result.plan, result.to_json())
    counted = replay(graph, found, parameters=result.problem.parameters)
    told = result.objective, result.problem.compulsory
    if (counted.non_compulsory, counted.compulsory) != told:
        raise RuntimeError(
            f"replay counts {counted.non_compulsory} and {counted.compulsory} bytes, not {told}"
        )
    return found
