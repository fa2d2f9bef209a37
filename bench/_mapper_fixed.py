"""Default orders: proofs with CBC as the only solver, their seconds, known optima."""

import time
from collections.abc import Iterator

from ..mapper.plan import Result
from ._mapper_cases import BUDGETS, GRAPHS, OPTIMA, Case, Replays, case
from .report import Bar, Progress, Row

Solved = dict[tuple[str, str, bool], tuple[Case, Result]]
"""By name, budget and whether parameters take room."""

SECONDS = 2.0

ATTEMPTS = 3
"""The least of so many times counts where the first ones are above the bar: a machine that is
shared is at times busy with other things."""


def fixed_rows(progress: Progress, replays: Replays, solved: Solved) -> Iterator[Row]:
    """Fills ``solved`` with all cases."""
    from ..mapper import exact

    exact.solve(case("light_zfnet512", "M_R").problem)  # what is imported late
    proved, degenerate = 0, 0
    for name in GRAPHS:
        seconds, open_ = {}, []
        for budget in BUDGETS:
            for parameters in (False, True):
                one = case(name, budget, parameters)
                progress(f"default order: {one}")
                result, taken = _timed(one)
                seconds[budget, parameters] = taken
                replays(f"{one}, default order", one.graph, result)
                solved[one.key] = one, result
                proved += result.status == "optimal"
                degenerate += result.objective == 0
                if result.status != "optimal":
                    open_.append(f"{budget}: {result.status}, bound {result.bound:,}")
        steps = len(case(name, "M_R").problem.steps)
        yield Row(
            f"{name}, default order: seconds to a proof, worst of 6 [s]", max(seconds.values()),
            Bar("<=", SECONDS), "; ".join(open_) or f"{steps} operators; CBC as the master",
        )  # fmt: skip
    yield Row("default orders: proved optimal, addresses included", proved, Bar("==", len(solved)),
              f"of {len(solved)}; the optimum is 0 in {degenerate}; the paper's solver was "
              "Gurobi, with 24 hours")  # fmt: skip
    for key, optimum in OPTIMA.items():
        one, result = solved[key]
        yield Row(f"{one}, default order [non-compulsory bytes]", result.objective,
                  Bar("==", optimum), "proved before, by other models and solvers")  # fmt: skip


def _timed(case: Case) -> tuple[Result, float]:
    """And its seconds, of the wall clock."""
    from ..mapper import exact

    found: list[tuple[float, Result]] = []
    while len(found) < ATTEMPTS and (not found or found[-1][0] > SECONDS):
        began = time.perf_counter()
        result = exact.solve(case.problem, backend="cbc", limit=60)
        found.append((time.perf_counter() - began, result))
    seconds, result = min(found, key=lambda pair: pair[0])
    return result, seconds
