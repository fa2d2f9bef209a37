"""Integer programs in PuLP, run by CBC or HiGHS, and what may be believed of what they say.

CBC through PuLP is not what it seems: after a time limit "optimal" may mean feasible and
"infeasible" that nothing was found, and its preprocessing (2.10) loses optima without a limit.
Here CBC runs without preprocessing, a status is the solver's own, a bound is the one that it
says, rounded down as far as it may have been rounded up, and every solution is put into the rows
again, its integers rounded.
"""

import importlib
import math
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from . import _process
from .plan import Status, Watch, unwatched

Backend = Literal["cbc", "highs"]
_SLACK = 1e-6
"""Of a row with continuous variables, relative to its largest term."""
_WHOLE = 1e-4
"""How far from whole an integer may be."""
_DIGITS = 1e-5
"""What CBC's progress leaves of a number: six digits."""
_OVERTIME = 2.0
"""Seconds for which a solver may run on after its limit before it is interrupted."""


class SolverError(RuntimeError):
    """A solver called an optimum what does not fulfil the rows, or broke down."""


@dataclass(frozen=True)
class Outcome:
    """What a solver found."""

    status: Status
    objective: float | None
    bound: float
    """No solution has less; ``-inf`` where none is known, ``inf`` where there is no solution."""
    values: Mapping[str, float]
    """Of the variables, by name; empty where there is no solution."""
    seconds: float
    interrupted: bool = False
    """By Ctrl-C, which is not raised again."""


@dataclass(frozen=True)
class _Call:
    limit: float
    threads: int
    seed: int
    gap: float
    start: Mapping[str, float]
    told: Callable[[float, float | None], None]
    """Of a bound and an incumbent's objective, both without the objective's constant."""


@dataclass(frozen=True)
class _Answer:
    """``bound`` without the objective's constant."""

    status: Status
    bound: float
    values: dict[str, float]
    interrupted: bool


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
    start: Mapping[str, float] | None = None,
    gap: float = 0.0,
    watch: Watch = unwatched,
) -> Outcome:
    """Minimises a ``pulp.LpProblem``.

    ``limit`` seconds; ``gap``: the relative one at which a solution counts as the least; ``start``:
    values by name, of all variables (then it is the incumbent from the beginning) or of some.
    ``watch`` is told while the solver runs; a bound that is not known is 0 there.  Ctrl-C
    stops the solver and gives the incumbent.

    Raises :class:`ValueError` for an unknown backend, a model that is maximised and a start that
    violates a row, :class:`ModuleNotFoundError` without HiGHS, :class:`SolverError`.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"{backend!r} is no backend; take one of {', '.join(available())}")
    if model.sense < 0:
        raise ValueError(f"{model.name} is maximised; minimise the negative objective")
    begun = time.monotonic()
    variables = model.variables()
    constant = model.objective.constant if model.objective is not None else 0.0
    given = {v.name: float((start or {})[v.name]) for v in variables if v.name in (start or {})}
    incumbent, best = {}, math.inf
    if start is not None and len(given) == len(variables):
        incumbent = dict(given)
        try:
            best = _checked(model, incumbent)
        except SolverError as wrong:
            raise ValueError(f"the start is no solution of {model.name}: {wrong}") from None

    def told(bound: float, objective: float | None) -> None:
        found = best if objective is None else min(objective + constant, best)
        known = round(found) if math.isfinite(found) else None
        watch(_whole(bound + constant), known, time.monotonic() - begun)

    def outcome(
        status: Status, objective: float | None, bound: float, values: Mapping[str, float]
    ) -> Outcome:
        seconds = time.monotonic() - begun
        if objective is not None:
            watch(_whole(bound), round(objective), seconds)
        return Outcome(status, objective, bound, values, seconds, interrupted)

    interrupted = False
    answer = _Answer("unknown", -math.inf, {}, False)
    if not variables:
        try:
            _checked(model, {})
        except SolverError:
            return outcome("infeasible", None, math.inf, {})
        return outcome("optimal", constant, constant, {})
    if limit > 0:
        call = _Call(limit, threads, seed, gap, given, told)
        answer = (_cbc if backend == "cbc" else _highs)(model, call)
        interrupted = answer.interrupted
    if answer.status == "infeasible":
        if incumbent:
            raise SolverError(f"{backend} says that {model.name} has no solution; its start is one")
        return outcome("infeasible", None, math.inf, {})
    bound, values = answer.bound + constant, answer.values
    if values:
        try:
            objective = _checked(model, values)
        except SolverError:
            if answer.status == "optimal":
                raise
        else:
            if objective <= best:
                incumbent, best = values, objective
            if answer.status == "optimal":
                bound = best if gap == 0 else min(bound, best)
                return outcome("optimal", best, bound, incumbent)
    if not incumbent:
        return outcome("unknown", None, bound, {})
    return outcome("feasible", best, min(bound, best), incumbent)


def _cbc(model: Any, call: _Call) -> _Answer:
    import pulp

    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # PuLP 3 warns of what PuLP 4 will change, its bundled CBC among it.
        warnings.simplefilter("ignore", DeprecationWarning)
        path = pulp.PULP_CBC_CMD(msg=False).path
        mps, solution, begin = (Path(folder) / n for n in ("model.mps", "solution", "start"))
        _, names, _, _ = model.writeMPS(str(mps), rename=1)
        command = [path, str(mps), "-timeMode", "elapsed", "-sec", f"{max(call.limit, 0.1):.3f}"]
        command += ["-preprocess", "off", "-ratioGap", str(call.gap)]
        if call.threads > 1:
            command += ["-threads", str(call.threads)]
        if call.seed:
            command += ["-randomSeed", str(call.seed), "-randomCbcSeed", str(call.seed)]
        if call.start:
            rows = [f"{i} {names[n]} {v!r} 0" for i, (n, v) in enumerate(call.start.items())]
            begin.write_text("\n".join(["Stopped - objective value 0", *rows]) + "\n")
            command += ["-mips", str(begin)]
        command += ["-branch", "-printingOptions", "all", "-solution", str(solution)]
        log = _Log(call.told)
        ended = _process.run(command, log.line, call.limit + _OVERTIME)
        said = solution.read_text() if solution.exists() else ""
    if ended.status and not ended.stopped:
        if log.infeasible:  # writing what there is not, it may crash
            return _Answer("infeasible", math.inf, {}, ended.interrupted)
        raise SolverError(f"CBC ended with {ended.status}: {' | '.join(log.last) or 'no word'}")
    head, _, rest = said.partition("\n")
    bound = log.bound
    if head.startswith("Optimal") and not log.stopped:
        status: Status = "optimal"
    elif "nfeasible" in head and not log.stopped and not ended.stopped:
        return _Answer("infeasible", math.inf, {}, ended.interrupted)
    elif head.startswith(("Optimal", "Stopped")) and "no integer" not in head:
        status = "feasible"
    else:
        return _Answer("unknown", bound, {}, ended.interrupted)
    found = {row[1]: float(row[2]) for line in rest.splitlines() if (row := _row(line))}
    values = {name: found.get(renamed, 0.0) for name, renamed in names.items()}
    return _Answer(status, bound, values, ended.interrupted)


def _row(line: str) -> list[str]:
    """Place, name, value and reduced cost; ``**`` marks what is infeasible."""
    row = line.replace("**", " ").split()
    return row if len(row) == 4 else []


class _Log:
    """What CBC prints: bounds, incumbents, whether it was stopped."""

    _NUMBER = r"(-?[\d.]+(?:e[+-]?\d+)?)"
    _PROGRESS = re.compile(rf"best (?:solution|objective) {_NUMBER},? \(?best possible {_NUMBER}")
    _BETTER = re.compile(rf"Integer solution of {_NUMBER} found")
    _RELAXED = re.compile(rf"Continuous objective value is {_NUMBER}")
    _FINAL = re.compile(rf"^Lower bound:\s+{_NUMBER}")
    _INFEASIBLE = re.compile("^Problem is infeasible")
    _STOPPED = re.compile("Stopped on|Partial search|Exiting on|ctrl-c")

    def __init__(self, told: Callable[[float, float | None], None]) -> None:
        self.told = told
        self.bound = -math.inf
        self.stopped = False
        self.infeasible = False
        """As bounds of rows say, before anything was solved."""
        self.last: list[str] = []
        self._best = math.inf

    def line(self, text: str) -> None:
        self.last = [*self.last[-2:], text] if text else self.last
        self.stopped |= bool(self._STOPPED.search(text))
        self.infeasible |= bool(self._INFEASIBLE.search(text))
        before = self.bound, self._best
        if found := self._PROGRESS.search(text):
            best, bound = map(float, found.groups())
            self._best = min(self._best, best)
            self._raise(bound, abs(bound) * _DIGITS)
        elif found := self._BETTER.search(text):
            self._best = min(self._best, float(found[1]))
        elif found := self._RELAXED.search(text):
            self._raise(float(found[1]), abs(float(found[1])) * _DIGITS)
        elif found := self._FINAL.search(text):
            self._raise(float(found[1]), 5e-4)  # three decimals
        if before != (self.bound, self._best):
            self.told(self.bound, self._best if self._best < 1e49 else None)

    def _raise(self, bound: float, rounded: float) -> None:
        if abs(bound) < 1e49:
            self.bound = max(self.bound, bound - rounded)


def _highs(model: Any, call: _Call) -> _Answer:
    if "highs" not in available():
        raise ModuleNotFoundError(
            'HiGHS is not installed: pip install "thresher[ortools]", or take backend "cbc"'
        )
    import pulp

    wrapper: Any = pulp.HiGHS(
        msg=False, timeLimit=call.limit, threads=call.threads, gapRel=call.gap,
        random_seed=call.seed,
    )  # fmt: skip
    highspy = importlib.import_module("highspy")
    highspy.Highs.resetGlobalScheduler(True)  # else the first run's threads are those of all
    wrapper.createAndConfigureSolver(model)
    wrapper.buildSolverModel(model)
    solver = model.solverModel
    if call.start:
        places = [(v.index, call.start[v.name]) for v in model.variables() if v.name in call.start]
        solver.setSolution(len(places), [i for i, _ in places], [x for _, x in places])
    kind = highspy.cb.HighsCallbackType
    known: list[tuple[float, float]] = []
    stop, done = threading.Event(), threading.Event()

    def heard(which: Any, message: str, out: Any, back: Any, user: Any) -> None:
        if which in (kind.kCallbackMipInterrupt, kind.kCallbackSimplexInterrupt):
            back.user_interrupt = stop.is_set()
        else:
            known.append((out.mip_dual_bound, out.mip_primal_bound))

    solver.setCallback(heard, None)
    for which in (
        kind.kCallbackMipInterrupt, kind.kCallbackSimplexInterrupt, kind.kCallbackMipLogging,
        kind.kCallbackMipImprovingSolution,
    ):  # fmt: skip
        solver.startCallback(which)

    def work() -> None:
        try:
            solver.run()
        finally:
            done.set()

    # Not in this thread: it answers to Ctrl-C.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    interrupted = False
    try:
        while not done.wait(0.1):
            if known:
                bound, best = known[-1]
                known.clear()
                call.told(bound, best if math.isfinite(best) else None)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        stop.set()
        worker.join()
    status, info = solver.getModelStatus(), solver.getInfo()
    states = highspy.HighsModelStatus
    bounded = all(v.lowBound is not None and v.upBound is not None for v in model.variables())
    if status == states.kInfeasible or (status == states.kUnboundedOrInfeasible and bounded):
        return _Answer("infeasible", math.inf, {}, interrupted)
    whole = any(v.cat != "Continuous" for v in model.variables())
    bound = float(info.mip_dual_bound) if whole else -math.inf
    if status == states.kOptimal or info.primal_solution_status == 2:
        found = solver.getSolution().col_value
        values = {v.name: found[v.index] for v in model.variables()}
        if not whole and status == states.kOptimal:
            bound = float(info.objective_function_value)
        return _Answer(
            "optimal" if status == states.kOptimal else "feasible", bound, values, interrupted
        )
    return _Answer("unknown", bound, {}, interrupted)


def _checked(model: Any, values: dict[str, float]) -> float:
    """Rounds integers in ``values`` and returns the objective; raises where a row is violated."""
    continuous: set[str] = set()
    for variable in model.variables():
        name, value = variable.name, values[variable.name]
        if variable.cat == "Continuous":
            continuous.add(name)
            slack = _SLACK * max(1.0, abs(value))
        else:
            values[name] = float(round(value))
            slack = _WHOLE
            if abs(values[name] - value) > slack:
                raise SolverError(f"{name} is {value:g}, which is not whole")
        least, most = variable.lowBound, variable.upBound
        if (least is not None and value < least - slack) or (
            most is not None and value > most + slack
        ):
            raise SolverError(f"{name} is {value:g}, beyond its bounds {least} and {most}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as above
        rows = list(model.constraints.items())
    for name, row in rows:
        weights = [(weight, v.name) for v, weight in row.items()]
        terms = [weight * values[n] for weight, n in weights]
        exact = not any(n in continuous for _, n in weights) and all(
            float(w).is_integer() for w, _ in [*weights, (row.constant, "")]
        )
        total = math.fsum([*terms, row.constant])
        slack = 0.0 if exact else _SLACK * max([1.0, *map(abs, terms)])
        if (row.sense <= 0 and total > slack) or (row.sense >= 0 and total < -slack):
            raise SolverError(f"the solver's integers violate {name} by {abs(total):g}")
    if model.objective is None:
        return 0.0
    terms = [w * values[v.name] for v, w in model.objective.items()]
    return math.fsum([*terms, model.objective.constant])


def _whole(bound: float) -> int:
    return math.ceil(bound - 1e-6) if math.isfinite(bound) else 0
