"""What a sweep has found out about each configuration."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from ...models.config import EngineConfig, unknown

State = Literal["done", "dominated", "constrained", "failed"]
"""``done``: through all stages.  ``dominated``: another was better in all objectives before the
last stage.  ``constrained``: a figure is out of bounds.  ``failed``: twice, at the last stage that
it has a record of."""


@dataclass(frozen=True)
class StageRecord:
    """One stage of one configuration."""

    stage: str
    key: str
    """Of everything that the figures depend on; equal keys have equal figures."""
    values: Mapping[str, Any]
    """Figures by name: what objectives and constraints are made of, and others."""
    seconds: float
    """That generation and tools took when it was done."""
    cached: bool = False
    attempts: int = 1
    error: str = ""
    """Why there are no figures."""
    log: str = ""
    """The end of what failed tools said."""

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        return {**self.__dict__, "values": dict(self.values)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """What :meth:`to_json` gave."""
        return cls(**found)


@dataclass(frozen=True)
class Trial:
    """One configuration, through as many stages as it was worth."""

    number: int
    """In the order in which the search asked for it; from 0."""
    config: EngineConfig
    records: tuple[StageRecord, ...] = ()
    state: State = "done"

    @property
    def values(self) -> dict[str, Any]:
        """Every figure, each from the latest stage that has it."""
        return {name: value for r in self.records for name, value in r.values.items()}

    @property
    def error(self) -> str:
        """Why it failed; empty where it did not."""
        return self.records[-1].error if self.records else ""

    def row(self) -> dict[str, Any]:
        """Flat: number, state, fields of the configuration, figures, errors."""
        config = {f"config.{name}": value for name, value in self.config.model_dump().items()}
        for name, value in config.items():
            if isinstance(value, tuple | list | dict):
                config[name] = json.dumps(value)
        return {
            "trial": self.number, "state": self.state, **config, **self.values,
            "stages": len(self.records), "seconds": sum(r.seconds for r in self.records),
            "error": self.error,
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "number": self.number,
            "state": self.state,
            "config": self.config.model_dump(mode="json"),
            "records": [record.to_json() for record in self.records],
        }


_CONSTRAINT = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=)\s*([-+0-9.eE_]+)\s*")


@dataclass(frozen=True)
class Constraint:
    """A bound on a figure."""

    name: str
    relation: Literal["<=", ">="]
    bound: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """``lut <= 20000``; raises :class:`ValueError` for anything else."""
        match = _CONSTRAINT.fullmatch(text)
        try:
            assert match
            return cls(match[1], match[2], float(match[3]))  # type: ignore[arg-type]
        except (AssertionError, ValueError):
            raise ValueError(
                f"constraint {text!r} is not of the form NAME <= NUMBER or NAME >= NUMBER"
            ) from None

    def met(self, values: Mapping[str, Any], slack: float = 0.0) -> bool | None:
        """Whether it holds, or is missed by no more than that share of the bound; None where the
        figure is not known."""
        value = values.get(self.name)
        if value is None:
            return None
        over = value - self.bound if self.relation == "<=" else self.bound - value
        return over <= slack * abs(self.bound)

    def __str__(self) -> str:
        return f"{self.name} {self.relation} {self.bound:g}"


def constraints(texts: Sequence[str | Constraint], known: Sequence[str]) -> tuple[Constraint, ...]:
    """Parsed.  Raises :class:`ValueError` for figures that no stage gives, and for bounds on one
    figure that contradict each other."""
    found = tuple(Constraint.parse(t) if isinstance(t, str) else t for t in texts)
    for one in found:
        if one.name not in known:
            raise ValueError(unknown("figure", one.name, known))
        for other in found:
            if (
                one.name == other.name
                and (one.relation, other.relation) == ("<=", ">=")
                and one.bound < other.bound
            ):
                raise ValueError(f"no value meets both {one} and {other}; change one")
    return found


@dataclass(frozen=True)
class Skips:
    """Combinations that were never tried, by the reason."""

    reasons: Mapping[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(sorted(self.reasons.items(), key=lambda item: -item[1]))

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self.reasons.values())
