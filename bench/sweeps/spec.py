"""Sweeps as TOML files."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .estimate import Estimate
from .formula import Condition
from .mapped import Map
from .pareto import Direction
from .search import Exhaustive, Random, Search, Study
from .space import Linear, Powers, Space
from .stages import Measure, Stage
from .sweep import Sweep
from .task import Limits
from .tools import Layout, Simulate, Synthesise

STAGES: Mapping[str, type[Any]] = {
    "estimate": Estimate,
    "map": Map,
    "simulate": Simulate,
    "synthesise": Synthesise,
    "layout": Layout,
    "measure": Measure,
}
"""By the kind that a file says."""

_EXAMPLES = Path(__file__).parents[1] / "examples"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class _Range(_Part):
    range: tuple[int, int] | tuple[int, int, int]
    """First, last, step."""


class _Powers(_Part):
    powers: tuple[int, int] | tuple[int, int, int]
    """First, last, base."""


class _Space(_Part):
    axes: dict[str, list[Any] | _Range | _Powers] = Field(default_factory=dict)
    points: list[dict[str, Any]] = Field(default_factory=list)
    presets: list[str] = Field(default_factory=lambda: ["default"])
    fixed: dict[str, Any] = Field(default_factory=dict)
    when: list[str] = Field(default_factory=list)
    """Conditions, such as ``lanes * batch <= 64``."""

    def made(self) -> Space:
        """The space."""
        axes: dict[str, Any] = {}
        for name, axis in self.axes.items():
            if isinstance(axis, _Range):
                axes[name] = Linear(*axis.range)
            elif isinstance(axis, _Powers):
                axes[name] = Powers(*axis.powers)
            else:
                axes[name] = [tuple(v) if isinstance(v, list) else v for v in axis]
        conditions = {text: Condition(text) for text in self.when}
        return Space(axes, self.points, self.presets, self.fixed, conditions)


class _Search(_Part):
    kind: Literal["exhaustive", "random", "nsga2", "tpe"] = "exhaustive"
    trials: Annotated[int, Field(ge=1)] = 100
    seed: int = 0
    batch: Annotated[int, Field(ge=1)] | None = None
    """None: all at once by chance, 16 of a study."""

    @model_validator(mode="after")
    def _all(self) -> Self:
        if self.kind == "exhaustive" and self.model_fields_set - {"kind"}:
            raise ValueError("an exhaustive search has no settings; take random, nsga2 or tpe")
        return self

    def made(self) -> Search:
        """The search."""
        if self.kind == "exhaustive":
            return Exhaustive()
        if self.kind == "random":
            return Random(self.trials, self.seed, self.batch)
        return Study(self.trials, self.kind, self.seed, self.batch or 16)


class _Limits(_Part):
    seconds: Annotated[float, Field(gt=0)] | None = 1800.0
    bytes: Annotated[int, Field(ge=1)] | None = None


class Spec(_Part):
    """What a file says."""

    engine: str
    summary: str = ""
    """What is asked, for people."""
    space: _Space
    stages: list[dict[str, Any]]
    """Each with its ``kind`` and the fields of its class."""
    objectives: dict[str, Direction]
    constraints: list[str] = Field(default_factory=list)
    derived: dict[str, str] = Field(default_factory=dict)
    slack: Annotated[float, Field(ge=0)] = 0.0
    search: _Search = Field(default_factory=_Search)
    limits: _Limits = Field(default_factory=_Limits)

    def sweep(self) -> Sweep:
        """The sweep; raises :class:`ValueError` as that does."""
        return Sweep(
            self.engine, self.space.made(), [stage(given) for given in self.stages],
            self.objectives, self.constraints, self.derived, self.slack,
            Limits(self.limits.seconds, self.limits.bytes),
        )  # fmt: skip


def stage(given: Mapping[str, Any]) -> Stage:
    """The stage that a table of a file describes; raises :class:`ValueError`."""
    from ...models.config import unknown

    values = dict(given)
    kind = values.pop("kind", None)
    if kind not in STAGES:
        raise ValueError(unknown("stage", str(kind), STAGES))
    chosen = STAGES[kind]
    known = [n for n in chosen.__dataclass_fields__ if not n.startswith("_")]
    for name in values:
        if name not in known:
            raise ValueError(unknown(f"setting of stage {kind!r}", name, known))
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    try:
        return chosen(**values)
    except TypeError as error:
        raise ValueError(f"stage {kind!r}: {error}") from None


def shipped() -> dict[str, Path]:
    """The files that come with thresher, by name."""
    return {path.stem: path for path in sorted(_EXAMPLES.glob("*.toml"))}


def read(path: str | Path) -> Spec:
    """A file's, or by its name that of one of :func:`shipped`; raises :class:`ValueError`, naming
    the place, where it is none."""
    path = Path(path)
    if not path.exists():
        path = shipped().get(str(path), path)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    except FileNotFoundError:
        known = ", ".join(shipped())
        raise ValueError(f"there is no file {path}; those that are shipped: {known}") from None
    try:
        return Spec.model_validate(found)
    except ValidationError as error:
        said = [f"{'.'.join(map(str, e['loc']))}: {_plain(e)}" for e in error.errors()]
        raise ValueError(f"{path}: {'; '.join(said)}") from error


def _plain(error: Mapping[str, Any]) -> str:
    from ...models.config import unknown

    if error["type"] != "extra_forbidden":
        return error["msg"]
    part: Any = {"space": _Space, "search": _Search, "limits": _Limits}.get(error["loc"][0], Spec)
    return unknown("key", str(error["loc"][-1]), part.model_fields)
