"""Integer programs in PuLP, run by CBC or HiGHS, and what may be believed of what they say.

Two answers of CBC through PuLP are not what they seem: after a time limit "optimal" may mean
feasible, and "infeasible" may mean that nothing was found.  Here a status is the solver's own, a
bound is the one in its log, and every solution is put into the rows again, rounded.
"""

import importlib
import math
import re
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .plan import Status, Watch, unwatched

Backend = Literal["cbc", "highs"]
_SLACK = 1e-6
"""Of a row, relative to its largest term: integers times integers are exact in float64."""


@dataclass(frozen=True)
class Outcome:
    """What a solver found."""

    status: Status
    objective: float | None
    bound: float
    """No solution has less; ``-inf`` where none is known."""
    values: Mapping[str, float]
    """Of the variables, by name; empty where there is no solution."""
    seconds: float


def available() -> list[str]:
    """Backends that can run here."""
    found = ["cbc"]
    try:
        importlib.import_module("highspy")
    except ImportError:
        return found
    return [*found, "highs"]


def run(
    model: Any,
    backend: Backend = "cbc",
    *,
    limit: float,
    threads: int = 1,
    seed: int = 0,
    gap: float = 0.0,
    watch: Watch = unwatched,
) -> Outcome:
    """Minimises a ``pulp.LpProblem``.

    ``limit`` seconds; ``gap``: the relative one at which a solution counts as the least.  Raises
    :class:`ModuleNotFoundError` without HiGHS, :class:`RuntimeError` where a solver returns what
    does not fulfil the rows.
    """
    start = time.monotonic()
    if limit <= 0:
        return Outcome("unknown", None, -math.inf, {}, 0.0)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # PuLP 3 warns of what PuLP 4 will change, its bundled CBC among it.
        warnings.simplefilter("ignore", DeprecationWarning)
        log = Path(folder) / "log"
        found, bound = (_cbc if backend == "cbc" else _highs)(model, limit, threads, seed, gap, log)
    seconds = time.monotonic() - start
    if found == "infeasible":
        return Outcome("infeasible", None, math.inf, {}, seconds)
    values = {v.name: v.varValue for v in model.variables() if v.varValue is not None}
    if found == "unknown" or len(values) < len(model.variables()):
        return Outcome("unknown", None, bound, {}, seconds)
    objective = _checked(model, values)
    bound = objective if found == "optimal" and gap == 0 else min(bound, objective)
    watch(_whole(bound), round(objective), seconds)
    return Outcome(found, objective, bound, values, seconds)


def _cbc(
    model: Any, limit: float, threads: int, seed: int, gap: float, log: Path
) -> tuple[Status, float]:
    import pulp

    # CBC 2.10's preprocessing drops solutions: optima it proves may not be any.
    options = ["preprocess off", *([f"randomSeed {seed + 1}"] if seed else [])]
    solver = pulp.PULP_CBC_CMD(
        msg=False, timeLimit=max(limit, 0.1), threads=threads, gapRel=gap, options=options,
        logPath=str(log),
    )  # fmt: skip
    model.solve(solver)
    text = log.read_text(errors="replace") if log.exists() else ""
    timely = "Stopped on" not in text and "Partial search" not in text
    if model.sol_status == pulp.LpSolutionOptimal and timely:
        return "optimal", -math.inf
    lower = re.findall(r"^Lower bound:\s+(\S+)", text, re.M)
    bound = float(lower[-1]) if lower else -math.inf
    if model.sol_status in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        return "feasible", bound
    if timely and re.search(r"infeasible", text):
        return "infeasible", math.inf
    return "unknown", bound


def _highs(
    model: Any, limit: float, threads: int, seed: int, gap: float, log: Path
) -> tuple[Status, float]:
    import pulp

    if "highs" not in available():
        raise ModuleNotFoundError(
            'HiGHS is not installed: pip install "thresher[ortools]", or take backend "cbc"'
        )
    solver = pulp.HiGHS(msg=False, timeLimit=limit, threads=threads, gapRel=gap, random_seed=seed)
    model.solve(solver)
    info = model.solverModel.getInfo()
    status = str(model.solverModel.getModelStatus())
    if "kInfeasible" in status:
        return "infeasible", math.inf
    if "kOptimal" in status:
        return "optimal", -math.inf
    some = info.primal_solution_status == 2
    return ("feasible" if some else "unknown"), float(info.mip_dual_bound)


def _checked(model: Any, values: dict[str, float]) -> float:
    """Rounds integers in ``values`` and returns the objective; raises where a row is violated."""
    for variable in model.variables():
        if variable.cat != "Continuous":
            values[variable.name] = float(round(values[variable.name]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as above
        rows = list(model.constraints.items())
    for name, row in rows:
        terms = [weight * values[v.name] for v, weight in row.items()]
        total = math.fsum([*terms, row.constant])
        slack = _SLACK * max([1.0, *map(abs, terms)])
        if not (
            (row.sense <= 0 and total <= slack and (row.sense or total >= -slack))
            or (row.sense >= 0 and total >= -slack and (row.sense or total <= slack))
        ):
            raise RuntimeError(f"the solver's integers violate {name} by {abs(total):g}")
    objective = model.objective
    if objective is None:
        return 0.0
    return math.fsum([w * values[v.name] for v, w in objective.items()]) + objective.constant


def _whole(bound: float) -> int:
    return math.ceil(bound - 1e-6) if math.isfinite(bound) else 0
