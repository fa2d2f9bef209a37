"""Beats that came against beats that should have come."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import ShapeLike

from . import beats
from .beats import Beats


@dataclass(frozen=True)
class Difference:
    """The first number of a port that is not what the golden model says."""

    port: str
    beat: int
    field: str
    """Dotted path in a struct; empty for a payload that is none."""
    index: tuple[int, ...]
    """Position in the field's array; empty for a single number."""
    got: int | None
    """None: the beat is missing."""
    expected: int | None
    """None: the beat is one too many."""

    def __str__(self) -> str:
        place = f"port {self.port}, beat {self.beat}"
        if self.field or self.index:
            place += f", {self.field or 'payload'}{list(self.index) if self.index else ''}"
        if self.got is None:
            return f"{place}: missing"
        if self.expected is None:
            return f"{place}: surplus"
        return f"{place}: got {self.got}, expected {self.expected}"


def compare(
    port: str, shape: ShapeLike, got: Beats, expected: Beats
) -> tuple[int, Difference | None]:
    """How many numbers of a port differ (a beat too few or too many is one), and the first."""
    have, want = beats.count(got), beats.count(expected)
    common = min(have, want)
    wrong = abs(have - want)
    first: Difference | None = None
    for leaf in beats.leaves(shape):
        if not common:
            break
        mine = np.asarray(beats.select(got, leaf.path))[:common]
        golden = np.asarray(beats.select(expected, leaf.path))[:common]
        if golden.shape != mine.shape:
            raise ValueError(
                f"golden beats of port {port} have shape {golden.shape[1:]} a beat; "
                f"the port delivers {mine.shape[1:]}"
            )
        unequal = np.asarray(mine != golden)
        if not unequal.any():
            continue
        wrong += int(unequal.sum())
        beat, *index = (int(i) for i in np.unravel_index(int(unequal.argmax()), unequal.shape))
        if first is None or beat < first.beat:
            position: Any = (beat, *index)
            field = ".".join(leaf.path)
            numbers = int(mine[position]), int(golden[position])
            first = Difference(port, beat, field, tuple(index), *numbers)
    if first is None and have != want:
        first = Difference(port, common, "", (), *((0, None) if have > want else (None, 0)))
    return wrong, first
