"""Which candidates a sweep tries: all, some by chance, or those that a study asks for."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from ...models.config import EngineConfig
from .pareto import Objectives
from .space import Candidates
from .trial import Trial


class Search(Protocol):
    """Which candidates are tried, batch by batch; the same for the same seed."""

    def batches(
        self, found: Candidates, objectives: Objectives, seen: Sequence[Trial]
    ) -> Iterator[list[EngineConfig]]:
        """Each is asked for when all trials of the ones before are in ``seen``."""
        ...


@dataclass(frozen=True)
class Exhaustive:
    """Every candidate, in one batch."""

    def batches(
        self, found: Candidates, objectives: Objectives, seen: Sequence[Trial]
    ) -> Iterator[list[EngineConfig]]:
        """See :class:`Search`."""
        yield list(found.configs)


@dataclass(frozen=True)
class Random:
    """So many candidates, drawn without repetition, in batches."""

    trials: int
    seed: int = 0
    batch: int | None = None
    """None is all at once."""

    def __post_init__(self) -> None:
        _positive(self.trials, self.batch)

    def batches(
        self, found: Candidates, objectives: Objectives, seen: Sequence[Trial]
    ) -> Iterator[list[EngineConfig]]:
        """See :class:`Search`."""
        order = np.random.default_rng(self.seed).permutation(len(found.configs))[: self.trials]
        size = self.batch or len(order)
        for start in range(0, len(order), size):
            yield [found.configs[i] for i in order[start : start + size]]


@dataclass(frozen=True)
class Study:
    """Candidates that Optuna's NSGA-II or TPE asks for, until so many were tried.

    Fields that vary are what the sampler sees: places in the sorted values where these are numbers,
    else choices.  A combination
    that is no candidate, or was tried before, costs nothing; it is told as the worst seen, or as
    what it was.  Trials that were dropped on the way are told by the figures that they have, those
    that failed as the worst.  Batches are as large as :attr:`batch` whatever executes them, so that
    results do not depend on that.
    """

    trials: int
    kind: Literal["nsga2", "tpe"] = "nsga2"
    seed: int = 0
    batch: int = 16
    """Of NSGA-II, the population."""

    def __post_init__(self) -> None:
        _positive(self.trials, self.batch)
        if self.kind not in ("nsga2", "tpe"):
            raise ValueError(f"search {self.kind!r} is neither 'nsga2' nor 'tpe'")

    def batches(
        self, found: Candidates, objectives: Objectives, seen: Sequence[Trial]
    ) -> Iterator[list[EngineConfig]]:
        """See :class:`Search`.  Raises :class:`ModuleNotFoundError` without Optuna."""
        optuna = _optuna()
        study = optuna.create_study(
            directions=["minimize"] * len(objectives.directions), sampler=self._sampler(optuna)
        )
        dumped = [config.model_dump() for config in found.configs]
        axes = _axes(dumped)
        place = {_key(values, axes): i for i, values in enumerate(dumped)}
        told: dict[int, np.ndarray | None] = {}
        """Costs of candidates by their places; None where there are none."""
        asked: list[tuple[Any, int]] = []
        tried = 0
        for _ in range(50 * self.trials):  # a bound where the space is nearly used up
            if tried >= min(self.trials, len(place)):
                return
            trial = study.ask()
            chosen = tuple(values[_suggest(trial, name, values)] for name, values in axes.items())
            i = place.get(chosen)
            if i is None:
                study.tell(trial, _worst(told, objectives))
            elif i in told:
                study.tell(trial, _told(told[i], told, objectives))
            elif all(i != other for _, other in asked):
                asked.append((trial, i))
                tried += 1
            else:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            if len(asked) == self.batch or (asked and tried >= min(self.trials, len(place))):
                before = len(seen)
                yield [found.configs[i] for _, i in asked]
                for (trial, i), result in zip(asked, seen[before:], strict=True):
                    told[i] = objectives.costs(result.values) if result.state != "failed" else None
                    study.tell(trial, _told(told[i], told, objectives))
                asked.clear()

    def _sampler(self, optuna: Any) -> Any:
        if self.kind == "nsga2":
            return optuna.samplers.NSGAIISampler(population_size=self.batch, seed=self.seed)
        return optuna.samplers.TPESampler(
            seed=self.seed, n_startup_trials=self.batch, multivariate=True, constant_liar=True
        )


def _positive(trials: int, batch: int | None) -> None:
    if trials < 1:
        raise ValueError(f"trials = {trials} is not at least 1")
    if batch is not None and batch < 1:
        raise ValueError(f"batch = {batch} is not at least 1")


def _optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'NSGA-II and TPE need Optuna: pip install "thresher[sweep]", or search "exhaustive" or '
            '"random"'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    import warnings

    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _axes(dumped: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Fields that vary and their values, in the order of their first appearance."""
    axes: dict[str, dict[Any, None]] = {}
    for values in dumped:
        for name, value in values.items():
            axes.setdefault(name, {})[_hashable(value)] = None
    found = {name: list(values) for name, values in axes.items() if len(values) > 1}
    return {name: sorted(values) if _numbers(values) else values for name, values in found.items()}


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _suggest(trial: Any, name: str, values: Sequence[Any]) -> int:
    if _numbers(values):
        return trial.suggest_int(name, 0, len(values) - 1)
    return trial.suggest_categorical(name, list(range(len(values))))


def _key(values: Mapping[str, Any], axes: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(_hashable(values[name]) for name in axes)


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _told(
    costs: np.ndarray | None, told: Mapping[int, np.ndarray | None], objectives: Objectives
) -> list[float]:
    return _worst(told, objectives) if costs is None else costs.tolist()


def _worst(told: Mapping[int, np.ndarray | None], objectives: Objectives) -> list[float]:
    known = [costs for costs in told.values() if costs is not None]
    if not known:
        return [1e30] * len(objectives.directions)
    return np.stack(known).max(0).tolist()
