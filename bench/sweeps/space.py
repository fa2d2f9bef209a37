"""Design spaces: which configurations of an engine a sweep looks at."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ...hdl.engine import Engine
from ...models.config import EngineConfig, unknown

Point = Mapping[str, Any]
"""Values of fields, by name; what it leaves out stays as the preset has it."""

Condition = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True)
class Linear:
    """``low``, ``low + step`` … up to ``high``, which is included where it is met."""

    low: int
    high: int
    step: int = 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.low, self.high + 1, self.step))


@dataclass(frozen=True)
class Powers:
    """``low``, ``low * base`` … up to ``high``, which is included where it is met."""

    low: int
    high: int
    base: int = 2

    def __iter__(self) -> Iterator[int]:
        value = self.low
        while value <= self.high:
            yield value
            value *= self.base


@dataclass(frozen=True)
class Space:
    """A grid of fields' values over presets, less what conditions and the configuration refuse.

    Raises :class:`ValueError` where an axis has no values or one twice, and where there is neither
    an axis nor a point.
    """

    axes: Mapping[str, Sequence[Any] | Linear | Powers] = field(default_factory=dict)
    """Every combination of the values of these fields."""
    points: Sequence[Point] = ()
    """Combinations that are given one by one, besides or in place of a grid."""
    presets: Sequence[str] = ("default",)
    """Each is a base of every combination."""
    fixed: Point = field(default_factory=dict)
    """Values that all have."""
    when: Mapping[str, Condition] = field(default_factory=dict)
    """By a text that says what it asks for: conditions that a combination must meet, which see
    every field of the space by name, and ``preset``."""

    def __post_init__(self) -> None:
        values = {name: tuple(axis) for name, axis in self.axes.items()}
        object.__setattr__(self, "axes", values)
        for name, axis in values.items():
            if not axis:
                raise ValueError(f"the space is empty: axis {name!r} has no values")
            if any(axis[i] in axis[:i] for i in range(len(axis))):
                raise ValueError(f"axis {name!r} has a value twice: {list(axis)}")
            if name in self.fixed:
                raise ValueError(f"{name!r} is fixed and an axis; remove one of them")
        if not values and not self.points and len(self.presets) == 1 and not self.fixed:
            raise ValueError("the space is empty: give axes, points or several presets")
        if not self.presets:
            raise ValueError("the space is empty: give at least one preset")

    @property
    def size(self) -> int:
        """Combinations, before any is refused."""
        grid = prod(len(tuple(axis)) for axis in self.axes.values()) if self.axes else 0
        single = not self.axes and not self.points
        return (grid + len(self.points) + single) * len(self.presets)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields that vary or are fixed."""
        names = [*self.axes, *self.fixed, *(name for point in self.points for name in point)]
        return tuple(dict.fromkeys(names))

    def combinations(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Preset and fields' values, in an order that is always the same."""
        for preset in self.presets:
            if self.axes or not self.points:
                for values in itertools.product(*(tuple(axis) for axis in self.axes.values())):
                    yield preset, {**self.fixed, **dict(zip(self.axes, values, strict=True))}
            for point in self.points:
                yield preset, {**self.fixed, **point}

    def check(self, engine: Engine[Any]) -> None:
        """Raises :class:`ValueError` for fields and presets that the engine's configuration lacks,
        naming the nearest that it has."""
        for name in self.fields:
            if name not in engine.config.model_fields:
                raise ValueError(
                    unknown(f"parameter of {engine.name}", name, engine.config.model_fields)
                )
        for preset in self.presets:
            if preset not in engine.config.presets:
                raise ValueError(unknown(f"preset of {engine.name}", preset, engine.config.presets))


@dataclass(frozen=True)
class Candidates:
    """The configurations of a space."""

    configs: tuple[EngineConfig, ...]
    """Valid, none twice."""
    skipped: Mapping[str, int]
    """How many combinations were not taken, by the reason."""


def candidates(engine: Engine[Any], space: Space) -> Candidates:
    """All valid configurations.

    Raises :class:`ValueError` as :meth:`Space.check`, and where none is valid, with the reasons.
    """
    space.check(engine)
    found: dict[str, EngineConfig] = {}
    skipped: Counter[str] = Counter()
    for preset, values in space.combinations():
        made = configuration(engine, space, preset, values)
        if isinstance(made, str):
            skipped[made] += 1
        elif found.setdefault(made.model_dump_json(), made) is not made:
            skipped["the same configuration again"] += 1
    if not found:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in skipped.most_common(5))
        raise ValueError(
            f"the space is empty: of {space.size} combinations none is valid: {reasons}"
        )
    return Candidates(tuple(found.values()), dict(skipped))


def configuration(
    engine: Engine[Any], space: Space, preset: str, values: Mapping[str, Any]
) -> EngineConfig | str:
    """The configuration of a combination, or why there is none."""
    seen = {**values, "preset": preset}
    for text, condition in space.when.items():
        if not condition(dict(seen)):
            return f"not {text}"
    try:
        return engine.config.preset(preset, **values)
    except ValueError as error:
        return str(error)
