"""COSMA's integer program (Li, Gupta, Malik, arXiv 2311.18246), complete and corrected, in PuLP.

The documented reference: :mod:`thresher.mapper.exact` and :mod:`thresher.mapper.free` find the
same sooner.  A step t is an operator's; for every buffer a (the paper's tensor: with its views one
piece of memory) and step there are

==============  =============================================================================
C[a,t]          created: the operator of step t is the first to write it
P[a,t]          preserved: it lay in the scratchpad in step t - 1 already
S[a,t]          spilled: it lay there until step t - 1 and is stored now
R[a,t]          retrieved: fetched for step t
L[a,t], V[a,t]  its address; whether that is the one of step t - 1
u[a,b,t], d     whether a lies above b, or below
==============  =============================================================================

The rows, with what was published and what is done about it:

* Eq1 ``C + P + S + R <= 1``.
* Eq2 ``P[t] <= C[t-1] + P[t-1] + R[t-1]``, Eq3 ``S[t] <= C[t-1] + P[t-1]``.  *Defect*: nothing was
  said of the first step, where P is then free; here P begins after a buffer's first step.
* Eq4 ``R[t] <= sum(S[k], k < t)``.  Clean buffers need no S: what is off chip at the start, what a
  ``load`` made.  What is overwritten: K[a,t], whether the copy off chip is the newest, which falls
  with each write and rises with S, and ``R[t] <= K[t-1]``.
* Eq5 ``x[o,t] <= P[b,t] + R[b,t]`` for the operands b of operator o.  *Defect*: of parameters,
  which nobody creates, P and R were impossible; here their first R needs no S and is free.
  *Defect*: an operand that is read twice counted twice.
* Eq6, results of an operator are created together: their C are one variable, x[o,t].  *Defect*:
  operators could share a step; here ``sum(x[o,t], o) == 1``.  Eq7 ``sum(x[o,t], t) == 1``.  What
  overwrites comes after all that reads what was there: ``before`` of the problem.
* Eq8 ``sum(S) <= 1``: one copy, any number of retrievals (of each version that is spilled).
* Eq9 ``L + size <= budget``, whether it is there or not.  *Defect*: only where it is there, with a
  big constant, the linear relaxation says nothing.
* Eq10 ``L[a] >= L[b] + size[b] - budget (1 - u)``, likewise d, ``u + d >= there[a] + there[b] - 1``
  for pairs that may be there together.  *Defect*: with these left out by liveness, P after the
  last use gave collisions; here P ends there.  *Defect*: liveness was in numbers of operators,
  which are no steps once the order changes; here in windows of steps, from the numbers of all
  that must run before and after.
* Eq11 ``|L[t] - L[t-1]| <= budget (1 - V[t])``, ``V[t] >= P[t]``.
* Eq12: the least of the sum of ``bytes (S + R)``, without the first R of what begins off chip and
  without S of the final content of what is delivered: these are compulsory.
* Eq13 to 15: the least M_peak with ``S = R = 0`` and ``sum(size (C + P)) <= M_peak``, without
  addresses: :func:`min_peak`.

Besides: the *capacity cut*, ``sum(size there[t]) <= budget``, which follows from Eq9 and Eq10 and
which their relaxation lacks; what leaves is away for a step at least; banks, as a number of each
buffer's bank; double buffering, as O[a,t], which is true where a is there, in the step before a
retrieval and in the one after content leaves that is needed.  Sizes are divided by the greatest
common divisor.  L is not declared whole, with which HiGHS is many times slower; what the solver
finds is pushed down to whole addresses.  The other two published *defects* are the solvers': a
tolerance on integers that let buffers overlap, which does not matter to what is pushed down, and
statuses that are wrong after time limits; see :mod:`..backends`.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..backends import Backend, run
from ..plan import Result, Status, Watch, unwatched
from ..problem import Problem
from .model import Model
from .variables import CORRECTIONS

__all__ = ["CORRECTIONS", "Model", "Peak", "min_peak", "solve"]


def _order(problem: Problem, order: Sequence[int] | None, free: bool) -> tuple[int, ...] | None:
    if free:
        if order is not None:
            raise ValueError("an order is given and to be found; take one or free=True")
        return None
    order = tuple(range(len(problem.steps)) if order is None else order)
    problem.check_order(order)
    return order


def solve(
    problem: Problem,
    order: Sequence[int] | None = None,
    *,
    free: bool = False,
    capacity_cut: bool = True,
    backend: Backend = "cbc",
    limit: float = 60.0,
    watch: Watch = unwatched,
    seed: int = 0,
) -> Result:
    """The least non-compulsory bytes, addresses included: in an order (None: the default one), or,
    with ``free``, over all.

    Ends after ``limit`` seconds, or at Ctrl-C, with the best that is known.  Notes: ``rows``,
    ``columns``, ``unit`` (bytes of an address's step).  Raises :class:`ValueError` for orders that
    are none.
    """
    began = time.monotonic()
    model = Model(problem, _order(problem, order, free), capacity_cut=capacity_cut)

    def told(bound: int, incumbent: int | None, seconds: float) -> None:
        best = None if incumbent is None else incumbent * model.scale
        watch(max(bound, 0) * model.scale, best, time.monotonic() - began)

    rest = max(limit - (time.monotonic() - began), 0.0)
    found = run(model.program, backend, limit=rest, seed=seed, watch=told)
    plan = model.plan(found.values) if found.values else None
    bound = _whole(found.bound) * model.scale
    if plan is not None:
        bound = min(bound, plan.objective)
    notes = {**_figures(model), "unit": model.unit}
    return Result(
        problem, found.status, plan, bound, f"COSMA's ILP ({backend})",
        time.monotonic() - began, seed, notes,
    )  # fmt: skip


@dataclass(frozen=True)
class Peak:
    """What :func:`min_peak` found."""

    status: Status
    peak: int | None
    """Bytes in use at once, at most, if nothing leaves between its uses."""
    bound: int
    order: tuple[int, ...] | None
    seconds: float
    notes: dict[str, Any]


def min_peak(
    problem: Problem,
    order: Sequence[int] | None = None,
    *,
    free: bool = True,
    backend: Backend = "cbc",
    limit: float = 60.0,
    watch: Watch = unwatched,
    seed: int = 0,
) -> Peak:
    """The least peak of any order, or that of one (``free=False``; None: the default one).

    The problem's budget does not matter.
    """
    began = time.monotonic()
    model = Model(problem, _order(problem, order, free), peak=True)

    def told(bound: int, incumbent: int | None, seconds: float) -> None:
        best = None if incumbent is None else incumbent * model.scale
        watch(max(bound, 0) * model.scale, best, time.monotonic() - began)

    rest = max(limit - (time.monotonic() - began), 0.0)
    found = run(model.program, backend, limit=rest, seed=seed, watch=told)
    peak = None if found.objective is None else round(found.objective) * model.scale
    return Peak(
        found.status, peak, _whole(found.bound) * model.scale,
        model.positions(found.values) if found.values else None, time.monotonic() - began,
        _figures(model),
    )  # fmt: skip


def _figures(model: Model) -> dict[str, Any]:
    return {"rows": model.program.numConstraints(), "columns": len(model.program.variables())}


def _whole(bound: float) -> int:
    """No objective is below 0, and all are whole."""
    return max(math.ceil(bound - 1e-6), 0) if math.isfinite(bound) else 0
