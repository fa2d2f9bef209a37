"""Plans, what solvers say of them, and how they are watched."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from .problem import Problem

Status = Literal["optimal", "feasible", "infeasible", "unknown"]
"""``optimal``: no plan of the problem (and the order, where that is given) has fewer
non-compulsory bytes, addresses included.  ``infeasible``: proved that there is none."""


@dataclass(frozen=True, order=True)
class Residence:
    """A buffer lies at one address from its use at position ``first`` to that at ``last``.

    Positions are places in the plan's order.  A buffer's residences hold each of its uses once.
    """

    buffer: int
    first: int
    last: int
    address: int = 0
    """Bytes."""


@dataclass(frozen=True)
class Plan:
    """A schedule of a problem: order, places and, by what leaves and comes back, transfers."""

    problem: Problem
    order: tuple[int, ...]
    """Steps of the problem."""
    residences: tuple[Residence, ...]
    """Sorted."""

    @cached_property
    def by_buffer(self) -> dict[int, list[Residence]]:
        """Each buffer's residences, the earliest first."""
        found: dict[int, list[Residence]] = {}
        for residence in sorted(self.residences):
            found.setdefault(residence.buffer, []).append(residence)
        return found

    def occupied(self, residence: Residence) -> range:
        """The positions at which it takes its place, transfers included."""
        margin = int(self.problem.memory.double_buffered)
        own = self.by_buffer[residence.buffer]
        buffer = self.problem.buffers[residence.buffer]
        first = residence == own[0]
        last = residence == own[-1]
        fetched = not first or (buffer.clean and residence.buffer not in self.problem.loads)
        leaves = not last or buffer.delivered
        start = residence.first - margin * fetched
        stop = residence.last + 1 + margin * leaves
        return range(max(start, 0), min(stop, len(self.order)))

    @cached_property
    def peak(self) -> int:
        """The highest address in use, plus one."""
        buffers = self.problem.buffers
        return max(r.address + buffers[r.buffer].size for r in self.residences)

    def transfers(self) -> list[tuple[Literal["fetch", "store"], Residence, bool]]:
        """Every fetch (before ``residence.first``) and store (after ``residence.last``).

        With it, whether it is compulsory; a ``load`` is none of them.
        """
        found: list[tuple[Literal["fetch", "store"], Residence, bool]] = []
        writes: dict[int, list[int]] = {}
        for position, step in enumerate(self.order):
            for buffer in self.problem.steps[step].writes:
                writes.setdefault(buffer, []).append(position)
        for b, residences in self.by_buffer.items():
            buffer, written = self.problem.buffers[b], list(writes.get(b, ()))
            if b in self.problem.loads:
                del written[0]  # as clean as what is fetched
            last_write = written[-1] if written else -1
            stored_until = -1 if buffer.clean else -2
            """The position of the newest write that the copy off chip holds."""
            for i, residence in enumerate(residences):
                if i > 0 or (buffer.clean and b not in self.problem.loads):
                    found.append(("fetch", residence, i == 0))
                newest = max((w for w in written if w <= residence.last), default=stored_until)
                needed = i + 1 < len(residences) or buffer.delivered
                if needed and newest > stored_until:
                    final = buffer.delivered and newest >= last_write
                    found.append(("store", residence, final))
                    stored_until = newest
        return found

    @cached_property
    def objective(self) -> int:
        """Non-compulsory bytes."""
        buffers = self.problem.buffers
        return sum(
            buffers[r.buffer].bytes for _, r, compulsory in self.transfers() if not compulsory
        )


@dataclass(frozen=True)
class Result:
    """What a solver found."""

    problem: Problem
    status: Status
    plan: Plan | None
    bound: int
    """Proved: no plan (of the given order, where one was given) has fewer non-compulsory bytes."""
    solver: str
    seconds: float
    seed: int = 0
    notes: dict[str, Any] = field(default_factory=dict)
    """Figures of the search, in JSON's types."""
    conflict: tuple[str, ...] = ()
    """Where there is none: buffers that cannot be placed together, none of them to spare."""

    @property
    def objective(self) -> int | None:
        """Non-compulsory bytes."""
        return None if self.plan is None else self.plan.objective

    @property
    def gap(self) -> float | None:
        """``(objective - bound) / objective``; 0 where both are 0."""
        if self.objective is None:
            return None
        return (self.objective - self.bound) / self.objective if self.objective else 0.0

    @property
    def total(self) -> int | None:
        """All bytes that are transferred."""
        return None if self.objective is None else self.objective + self.problem.compulsory

    def to_json(self) -> dict[str, Any]:
        """The figures, without the plan, in JSON's types."""
        return {
            "problem": self.problem.name,
            "budget": self.problem.memory.budget,
            "parameters": self.problem.parameters,
            "status": self.status,
            "objective": self.objective,
            "bound": self.bound,
            "gap": self.gap,
            "compulsory_bytes": self.problem.compulsory,
            "total_bytes": self.total,
            "solver": self.solver,
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            "notes": self.notes,
            "conflict": list(self.conflict),
        }

    def with_notes(self, **notes: Any) -> "Result":
        """With more of them."""
        return replace(self, notes={**self.notes, **notes})


Watch = Callable[[int, int | None, float], None]
"""Told, while a solver works: the bound so far, the incumbent's objective or None, seconds."""


def unwatched(bound: int, incumbent: int | None, seconds: float) -> None:
    """A :data:`Watch` that looks away."""
