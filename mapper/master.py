"""The integer program of what leaves and what stays, addresses aside.

Of every gap between uses of a buffer (:class:`.fixed.Gap`), ``left`` or kept; of every version
that is not off chip, ``stored`` if one of its gaps is left::

    least   sum fetch[g] left[g] + sum store[v] stored[v]
    where   stored[v] >= left[g]                                        g a gap of v
            sum size[g] (1 - left[g] over gaps that cover p) <= budget - required[p]   each p

Rows are tightened before a solver sees them: positions at which everything can be kept, or that
another one implies, are left out; what may stay at a position is rounded down to what sizes can
add up to; no size counts for more than what has to go.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .fixed import FixedOrder

_BITS = 1 << 22
"""Longer sums of sizes are not enumerated."""


@dataclass(frozen=True)
class Row:
    """The left gaps' weights add up to ``need`` at least."""

    gaps: tuple[int, ...]
    weights: tuple[int, ...]
    need: int


def critical(fixed: FixedOrder, budget: int) -> list[tuple[int, tuple[int, ...]]]:
    """Positions at which not every gap can be kept: free bytes, and the gaps that cover it.

    None is free where what is in use takes more than ``budget``.  Positions that another one
    implies, with all their gaps and no more room, are left out.
    """
    covering: list[list[int]] = [[] for _ in fixed.required]
    for i, gap in enumerate(fixed.gaps):
        for position in gap.freed:
            covering[position].append(i)
    rows: dict[tuple[int, ...], int] = {}
    for position, gaps in enumerate(covering):
        free = max(budget - fixed.required[position], 0)
        if sum(size(fixed, i) for i in gaps) > free:
            key = tuple(gaps)
            rows[key] = min(free, rows.get(key, free))
    sharing: dict[int, list[frozenset[int]]] = {}
    for key in rows:
        for i in key:
            sharing.setdefault(i, []).append(frozenset(key))
    room = {frozenset(key): free for key, free in rows.items()}
    return [
        (free, key)
        for key, free in rows.items()
        if not any(
            room[other] <= free and len(other) > len(key) and other.issuperset(key)
            for other in sharing[key[0]]
        )
    ]


def size(fixed: FixedOrder, gap: int) -> int:
    """Bytes that a gap takes while it is kept."""
    return fixed.problem.buffers[fixed.gaps[gap].buffer].size


def tightened(fixed: FixedOrder, free: int, gaps: tuple[int, ...]) -> Row:
    """The row of a position, as strong as its sizes make it."""
    sizes = [size(fixed, i) for i in gaps]
    step = math.gcd(*sizes)
    sizes, free = [s // step for s in sizes], free // step
    if free < _BITS:
        sums, mask = 1, (1 << (free + 1)) - 1
        for s in sizes:
            sums |= (sums << s) & mask
        free = sums.bit_length() - 1
    need = sum(sizes) - free
    weights = [min(s, need) for s in sizes]
    step = math.gcd(need, *weights)
    return Row(gaps, tuple(w // step for w in weights), need // step)


@dataclass(frozen=True)
class Master:
    """The program of an order and a budget, and what packing has taught."""

    fixed: FixedOrder
    budget: int
    cuts: Sequence[tuple[tuple[int, ...], int]] = ()
    """Sets of gaps, and how many of each must be left at least."""
    seen: Collection[frozenset[int]] = ()
    """Sets of left gaps that are not wanted again."""

    @cached_property
    def rows(self) -> list[Row]:
        """Capacity, then cuts."""
        found = [tightened(self.fixed, free, gaps) for free, gaps in self.capacity]
        return [*found, *(Row(cut, (1,) * len(cut), need) for cut, need in self.cuts)]

    @cached_property
    def capacity(self) -> list[tuple[int, tuple[int, ...]]]:
        """As :func:`critical` has it."""
        return critical(self.fixed, self.budget)

    @cached_property
    def gaps(self) -> list[int]:
        """Those that matter; all others are kept."""
        if self.seen:
            return list(range(len(self.fixed.gaps)))
        return sorted({i for row in self.rows for i in row.gaps})

    @cached_property
    def scale(self) -> int:
        """The greatest common divisor of what leaving costs."""
        found = [self.fixed.gaps[i] for i in self.gaps]
        return math.gcd(*(c for gap in found for c in (gap.fetch, gap.store))) or 1

    def model(self, most: int | None = None, weight: Callable[[int], float] | None = None) -> Any:
        """As a ``pulp.LpProblem``, whose objective is in units of :attr:`scale` bytes.

        ``most``: bytes that may not be exceeded.  ``weight``: what is minimised instead, of
        the gaps that are left.
        """
        import pulp

        model = pulp.LpProblem("master", pulp.LpMinimize)
        left = {i: model.add_variable(f"left_{i}", cat="Binary") for i in self.gaps}
        stored: dict[tuple[int, int], Any] = {}
        cost = []
        for i, variable in left.items():
            gap = self.fixed.gaps[i]
            cost.append((variable, gap.fetch // self.scale))
            if not gap.store:
                continue
            version = gap.buffer, gap.version
            if version not in stored:
                stored[version] = model.add_variable(f"stored_{gap.buffer}_{gap.version}", 0, 1)
                cost.append((stored[version], gap.store // self.scale))
            model += stored[version] >= variable
        aim = cost if weight is None else [(v, weight(i)) for i, v in left.items()]
        model.setObjective(pulp.LpAffineExpression(aim))
        for row in self.rows:
            terms = [(left[i], w) for i, w in zip(row.gaps, row.weights, strict=True)]
            model += pulp.LpAffineExpression(terms) >= row.need
        for solution in self.seen:
            other = [(v, -1 if i in solution else 1) for i, v in left.items()]
            model += pulp.LpAffineExpression(other) >= 1 - len(solution)
        if most is not None:
            model += pulp.LpAffineExpression(cost) <= most // self.scale
        return model

    def start(self, left: Collection[int]) -> dict[str, float]:
        """Values of the variables if these gaps are left."""
        gaps = [(i, self.fixed.gaps[i]) for i in self.gaps]
        found = {f"left_{i}": float(i in left) for i, _ in gaps}
        for i, gap in gaps:
            if gap.store:
                name = f"stored_{gap.buffer}_{gap.version}"
                found[name] = max(found.get(name, 0.0), float(i in left))
        return found

    def chosen(self, values: Mapping[str, float]) -> frozenset[int]:
        """The gaps that are left in a solution."""
        return frozenset(i for i in self.gaps if values.get(f"left_{i}", 0.0) > 0.5)
