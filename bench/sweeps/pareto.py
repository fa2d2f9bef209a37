"""Fronts of several objectives, and how much space one dominates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...models.config import unknown

Direction = Literal["min", "max"]


@dataclass(frozen=True)
class Objectives:
    """Figures that are to be small or large.

    Raises :class:`ValueError` where there is none, or a direction is neither.
    """

    directions: Mapping[str, Direction]

    def __post_init__(self) -> None:
        if not self.directions:
            raise ValueError("a sweep needs an objective, such as cycles = 'min'")
        for name, direction in self.directions.items():
            if direction not in ("min", "max"):
                raise ValueError(unknown(f"direction of {name}", direction, ("min", "max")))

    def costs(self, values: Mapping[str, float | None]) -> np.ndarray | None:
        """float64 [objectives], each to be small; None where one is not known."""
        found = []
        for name, direction in self.directions.items():
            value = values.get(name)
            if value is None or not np.isfinite(value):
                return None
            found.append(-value if direction == "max" else value)
        return np.array(found, float)


def dominated(costs: np.ndarray, slack: float = 0.0) -> np.ndarray:
    """bool [points]: whether another of ``costs`` [points, objectives] is as small in all and
    smaller in one.

    With ``slack``, smaller in one by more than that share of the point's own magnitude there: for
    figures that are not exact.
    """
    costs = np.asarray(costs, float)
    found = np.zeros(len(costs), bool)
    for better in _front(costs):  # what another point dominates, one of these does
        smaller = (better < costs - slack * np.abs(costs)).any(1)
        found |= (better <= costs).all(1) & smaller
    return found


def _front(costs: np.ndarray) -> list[np.ndarray]:
    """Points that no other dominates, each once."""
    left, found = np.unique(costs, axis=0), []  # sorted: the first is dominated by none of them
    while len(left):
        found.append(left[0])
        left = left[~(left[0] <= left).all(1)]
    return found


def hypervolume(costs: np.ndarray, reference: Sequence[float]) -> float:
    """The volume that is dominated by ``costs`` [points, objectives] and dominates ``reference``.

    By slicing along the last objective (Fonseca, Paquete, López-Ibáñez 2006, simplified); points
    that do not dominate ``reference`` count for nothing.
    """
    corner = np.asarray(reference, float)
    costs = np.asarray(costs, float).reshape(-1, len(corner))
    costs = np.unique(costs[(costs < corner).all(1)], axis=0)
    return _volume(costs, corner)


def _volume(costs: np.ndarray, reference: np.ndarray) -> float:
    if not len(costs):
        return 0.0
    if costs.shape[1] == 1:
        return float(reference[0] - costs[:, 0].min())
    costs = costs[np.argsort(costs[:, -1], kind="stable")]
    heights = np.append(costs[1:, -1], reference[-1]) - costs[:, -1]
    total = 0.0
    for i, height in enumerate(heights):
        if height > 0:
            slice = costs[: i + 1, :-1]
            total += height * _volume(slice[~dominated(slice)], reference[:-1])
    return total
