"""The joint program run by CP-SAT (OR-Tools)."""

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from ..backends import Outcome
from .program import Program


def solver() -> Any:
    """The module ``cp_model``; raises :class:`ModuleNotFoundError` that names the extra."""
    try:
        from ortools.sat.python import cp_model
    except ImportError as missing:
        raise ModuleNotFoundError(
            'OR-Tools is not installed: pip install "thresher[ortools]", or take another backend'
        ) from missing
    return cp_model


def run(
    program: Program,
    *,
    limit: float,
    workers: int,
    seed: int,
    upper: int | None = None,
    hint: tuple[int, ...] = (),
    watch: Callable[[int, int | None], None],
) -> Outcome:
    """The least; ``values`` are named ``v_0`` … as the program's variables are numbered.

    ``upper``: only what is below it counts.  ``hint``: an order.  Returns what it has on
    :class:`KeyboardInterrupt`.
    """
    cp_model, began, scale = solver(), time.monotonic(), program.scale
    model = cp_model.CpModel()
    variables = [model.new_bool_var(f"v_{i}") for i in range(len(program.names))]

    def linear(terms: dict[int, int], divisor: int = 1) -> Any:
        places = list(terms)
        return cp_model.LinearExpr.weighted_sum(
            [variables[v] for v in places], [terms[v] // divisor for v in places]
        )

    for row, equal in program.rows:
        left = linear(row.terms)
        model.add(left == -row.constant) if equal else model.add(left >= -row.constant)
    objective = linear(program.objective.terms, scale)
    if upper is not None:
        model.add(objective <= (upper - 1) // scale)
    model.minimize(objective)
    position = {step: p for p, step in enumerate(hint)}
    if hint:
        for (step, t), done in program.done.items():
            model.add_hint(variables[next(iter(done.terms))], position[step] <= t)

    known: list[tuple[int, int | None]] = []
    statuses: list[Any] = []
    done = threading.Event()

    class Progress(cp_model.CpSolverSolutionCallback):  # pyright: ignore
        def on_solution_callback(self) -> None:
            bound = math.ceil(self.best_objective_bound - 1e-6) * scale
            known.append((bound, round(self.objective_value) * scale))

    run = cp_model.CpSolver()
    run.parameters.max_time_in_seconds = max(limit, 0.01)
    run.parameters.num_workers = workers
    run.parameters.random_seed = seed
    # Its own handler of the signal aborts where another thread than the solver's hears it.
    run.parameters.catch_sigint_signal = False
    run.best_bound_callback = lambda bound: known.append((math.ceil(bound - 1e-6) * scale, None))

    def work() -> None:
        try:
            statuses.append(run.solve(model, Progress()))
        finally:
            done.set()

    # Not in this thread: it answers to Ctrl-C.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    interrupted = False
    try:
        while not done.wait(0.1):
            while known:
                watch(*known.pop(0))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        while not done.wait(0.1):
            run.stop_search()  # again: it may not have begun
        worker.join()
    for told in known:
        watch(*told)
    (status,) = statuses
    seconds = time.monotonic() - began
    if status == cp_model.INFEASIBLE:
        return Outcome("infeasible", None, math.inf, {}, seconds, interrupted)
    bound = math.ceil(run.best_objective_bound - 1e-6) * scale
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Outcome("unknown", None, bound, {}, seconds, interrupted)
    values = {f"v_{i}": float(run.value(v)) for i, v in enumerate(variables)}
    proved = status == cp_model.OPTIMAL
    value = round(run.objective_value) * scale
    return Outcome("optimal" if proved else "feasible", value, value if proved else bound,
                   values, seconds, interrupted)  # fmt: skip
