"""Sweeps: configurations through stages, the cheapest first, as far as each is worth it."""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ...hdl.engine import Engine, engine
from ...models.config import EngineConfig, unknown
from . import stages as _stages
from . import table
from .depends import sources, versions
from .formula import Formula
from .journal import Journal
from .pareto import Direction, Objectives, dominated
from .search import Exhaustive, Search
from .space import Candidates, Space, candidates
from .stages import Stage
from .task import Executor, Here, Limits, Lost, Task, quick
from .trial import Constraint, StageRecord, State, Trial, constraints

Seen = Callable[["Trial", StageRecord], None]
"""Told of every record as it comes: the trial without it, and it."""


@dataclass(frozen=True)
class Outcome:
    """What a sweep found."""

    sweep: "Sweep"
    trials: tuple[Trial, ...]
    skipped: Mapping[str, int]
    """Combinations that were never tried, by the reason."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    @cached_property
    def front(self) -> tuple[Trial, ...]:
        """Trials through all stages, in bounds, that no other dominates."""
        objectives = self.sweep.goals
        done = [t for t in self.trials if t.state == "done"]
        costs = [(t, c) for t in done if (c := objectives.costs(t.values)) is not None]
        if not costs:
            return ()
        worse = dominated(np.stack([c for _, c in costs]))
        return tuple(t for (t, _), bad in zip(costs, worse, strict=True) if not bad)

    def write(self, path: Path | str) -> Path:
        """The rows as a table, as :func:`.table.write` does."""
        return table.write(self.rows(), path)

    def rows(self) -> list[dict[str, Any]]:
        """A flat mapping a trial, for a table; with ``front``."""
        front = {trial.number for trial in self.front}
        return [{**t.row(), "front": t.number in front} for t in self.trials]


@dataclass(frozen=True)
class Sweep:
    """Configurations of an engine, what is to be found out of each, and what is good.

    After each stage those out of bounds are dropped, and, before a further stage, those that
    another one dominates, by what is known of both after the same stage; where an objective is not
    known yet, nothing is dominated.  Before the last stage figures may be inexact: ``slack`` is the
    share of a bound, and of a dominated figure, by which they must miss it.  The result does not
    depend on the executor, nor on the order in which results come.

    Raises :class:`ValueError` before anything runs: for unknown engines, fields, presets and
    figures, with the nearest that exist; for empty spaces; for constraints that exclude each
    other; for stages that the engine does not have.
    """

    engine: str
    space: Space
    stages: Sequence[Stage]
    objectives: Mapping[str, Direction]
    constraints: Sequence[str | Constraint] = ()
    derived: Mapping[str, str | Formula] = field(default_factory=dict)
    """Figures made of others and of fields, by :class:`.Formula`."""
    slack: float = 0.0
    limits: Limits = field(default_factory=Limits)
    found: Candidates = field(init=False, repr=False, compare=False)
    goals: Objectives = field(init=False, repr=False, compare=False)
    bounds: tuple[Constraint, ...] = field(init=False, repr=False, compare=False)
    formulas: Mapping[str, Formula] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            chosen = engine(self.engine)
        except KeyError as error:
            raise ValueError(error.args[0]) from None
        figures = _stages.check(self.stages, chosen)
        formulas = {n: Formula(f) if isinstance(f, str) else f for n, f in self.derived.items()}
        fields = (*figures, *chosen.config.model_fields)
        for formula in formulas.values():
            for name in formula.names:
                if name not in fields:
                    raise ValueError(f"formula {formula.text!r}: {unknown('name', name, fields)}")
        object.__setattr__(self, "formulas", formulas)
        figures = (*figures, *formulas)
        goals = Objectives(dict(self.objectives))
        constraints([Constraint(name, "<=", 0.0) for name in goals.directions], figures)
        object.__setattr__(self, "goals", goals)
        object.__setattr__(self, "bounds", constraints(self.constraints, figures))
        object.__setattr__(self, "found", candidates(chosen, self.space))

    @property
    def chosen(self) -> Engine[Any]:
        """The engine."""
        return engine(self.engine)

    def run(
        self,
        search: Search | None = None,
        executor: Executor | None = None,
        *,
        folder: Path | str | None = None,
        resume: bool = False,
        seen: Seen = lambda trial, record: None,
    ) -> Outcome:
        """Runs all, by default exhaustively and in this process.

        ``folder`` gets the journal as it goes; ``resume`` goes on from one.  Raises
        :class:`ValueError` as :meth:`.Journal.open`.
        """
        search, executor = search or Exhaustive(), executor or Here()
        header = self._header()
        journal = Journal.open(None if folder is None else Path(folder), header, resume)
        trials: list[Trial] = []
        try:
            for batch in search.batches(self.found, self.goals, trials):
                self._batch(batch, trials, executor, journal, seen)
        finally:
            journal.close()
        made = {**header, "search": repr(search), "python": platform.python_version(),
                "system": platform.platform()}  # fmt: skip
        return Outcome(self, tuple(trials), self.found.skipped, made)

    def _header(self) -> dict[str, Any]:
        """What must be the same for figures to go together."""
        return {
            "engine": self.engine,
            "version": metadata.version("thresher"),
            "code": sources("models", "hdl", "sim", "mapper"),
            "tools": versions(),
            "stages": [repr(stage) for stage in self.stages],
            "objectives": dict(self.objectives),
            "derived": {name: formula.text for name, formula in self.formulas.items()},
            "constraints": [str(bound) for bound in self.bounds],
            "slack": self.slack,
            "candidates": len(self.found.configs),
        }

    def _batch(
        self, configs: Sequence[EngineConfig], trials: list[Trial], executor: Executor,
        journal: Journal, seen: Seen,
    ) -> None:  # fmt: skip
        """Appends the trials of ``configs`` to ``trials``."""
        before = len(trials)
        trials += [Trial(before + i, config) for i, config in enumerate(configs)]
        alive = list(range(before, len(trials)))
        for depth, stage in enumerate(self.stages):
            if depth:
                alive = self._worth(trials, alive, depth)
            slack = self.slack if stage is not self.stages[-1] else 0.0
            for i, record in self._records(stage, trials, alive, executor, journal):
                seen(trials[i], record)
                trials[i] = self._with(trials[i], record)
            for i in alive:
                state: State = "done"
                if trials[i].error:
                    state = "failed"
                elif any(bound.met(trials[i].values, slack) is False for bound in self.bounds):
                    state = "constrained"
                trials[i] = replace(trials[i], state=state)
            alive = [i for i in alive if trials[i].state == "done"]

    def _with(self, trial: Trial, record: StageRecord) -> Trial:
        """The trial with one more record, and what is derived of it in that."""
        values = {**trial.config.model_dump(), **trial.values, **record.values}
        more = {name: formula(values) for name, formula in self.formulas.items()}
        found = {**record.values, **{k: v for k, v in more.items() if v is not None}}
        return replace(trial, records=(*trial.records, replace(record, values=found)))

    def _worth(self, trials: list[Trial], alive: list[int], depth: int) -> list[int]:
        """Those of ``alive`` that go on; the others' state says why not."""
        known: list[tuple[int, np.ndarray]] = []
        for i, trial in enumerate(trials):
            if trial.state in ("failed", "constrained") or len(trial.records) < depth:
                continue
            cut = replace(trial, records=trial.records[:depth])
            costs = self.goals.costs(cut.values)
            if costs is not None:
                known.append((i, costs))
        if not known:
            return alive
        worse = dominated(np.stack([costs for _, costs in known]), self.slack)
        out = {i for (i, _), bad in zip(known, worse, strict=True) if bad}
        for i in alive:
            if i in out:
                trials[i] = replace(trials[i], state="dominated")
        return [i for i in alive if i not in out]

    def _records(
        self, stage: Stage, trials: list[Trial], alive: Sequence[int], executor: Executor,
        journal: Journal,
    ) -> Iterator[tuple[int, StageRecord]]:  # fmt: skip
        """Of every trial in ``alive``: from the journal, or by the executor, at the second attempt
        where the first is lost."""
        if stage.cheap:
            for i in alive:
                yield i, quick(stage, self.chosen, trials[i].config)
            return
        left = []
        for i in alive:
            record = journal.get(trials[i].config, stage.name)
            if record is None:
                left.append(i)
            else:
                yield i, record
        for attempt in (1, 2):
            failed = []
            tasks = [Task(stage, self.engine, trials[i].config, self.limits) for i in left]
            for place, result in executor.map(tasks):
                i = left[place]
                if isinstance(result, Lost):
                    if attempt == 1:
                        failed.append(i)
                        continue
                    result = StageRecord(
                        stage.name, "", {}, result.seconds, False, attempt, result.error, result.log
                    )
                record = replace(result, attempts=attempt)
                journal.put(trials[i].config, record)
                yield i, record
            left = sorted(failed)
            if not left:
                return
