"""What the graph alone says of the orders: windows, segments, steps that may as well be swapped."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..problem import Problem


def members(mask: int) -> Iterator[int]:
    """The bits that are set, the lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@dataclass(frozen=True)
class Structure:
    """Sets of steps are integers with a bit for each."""

    problem: Problem
    before: tuple[int, ...]
    """All that must come before each step, implied ones too."""

    @classmethod
    def of(cls, problem: Problem, also: Sequence[tuple[int, int]] = ()) -> "Structure":
        """With further pairs (earlier, later); raises :class:`ValueError` for a cycle."""
        direct = [set(before) for before in problem.before]
        for earlier, later in also:
            direct[later].add(earlier)
        count = len(direct)
        after: list[list[int]] = [[] for _ in range(count)]
        for step, before in enumerate(direct):
            for other in before:
                after[other].append(step)
        closed, waiting = [0] * count, [len(before) for before in direct]
        ready = [step for step in range(count) if not waiting[step]]
        for step in ready:
            for later in after[step]:
                closed[later] |= closed[step] | 1 << step
                waiting[later] -= 1
                if not waiting[later]:
                    ready.append(later)
        if len(ready) < count:
            raise ValueError(f"{problem.name}: some steps must come before themselves")
        return cls(problem, tuple(closed))

    @cached_property
    def after(self) -> tuple[int, ...]:
        """All that must come after each step."""
        found = [0] * len(self.before)
        for step, before in enumerate(self.before):
            for other in members(before):
                found[other] |= 1 << step
        return tuple(found)

    @cached_property
    def windows(self) -> tuple[range, ...]:
        """Positions that each step can have."""
        count = len(self.before)
        return tuple(
            range(before.bit_count(), count - after.bit_count())
            for before, after in zip(self.before, self.after, strict=True)
        )

    @cached_property
    def waists(self) -> tuple[int, ...]:
        """Positions before which the same steps run in every order; 0 and their number too."""
        count = len(self.before)
        steps = sorted(range(count), key=lambda s: (self.before[s].bit_count(), s))
        shared = [(1 << count) - 1] * (count + 1)
        for place in range(count - 1, -1, -1):
            shared[place] = shared[place + 1] & self.before[steps[place]]
        found, prefix = [0], 0
        for place in range(1, count + 1):
            prefix |= 1 << steps[place - 1]
            if place == count or not prefix & ~shared[place]:
                found.append(place)
        return tuple(found)

    @cached_property
    def segments(self) -> tuple[tuple[int, ...], ...]:
        """Between waists, each in the default order."""
        steps = sorted(
            range(len(self.before)), key=lambda s: (self.before[s].bit_count(), s)
        )  # where a segment ends, all of it precedes all that follows
        return tuple(
            tuple(sorted(steps[start:stop]))
            for start, stop in zip(self.waists, self.waists[1:], strict=False)
        )


def segments(problem: Problem) -> tuple[tuple[int, ...], ...]:
    """The finest parts, in order, such that each step of a part must precede each of the next.

    Every order runs them one after the other.  What goes on between them are the buffers that
    are live there: from a given set of those that lie in the scratchpad, the rest is a problem of
    its own.
    """
    return Structure.of(problem).segments


def twins(structure: Structure) -> tuple[tuple[int, int], ...]:
    """Pairs (earlier, later) that may be added to what must come before what.

    Two steps are twins if the problem stays the same when they are swapped, and with them the
    buffers that only one of them uses; any schedule then has an equal one in which the first comes
    first.  Swaps of twins of twins give every order of a whole class, so its steps are chained.
    """
    problem = structure.problem
    classes: dict[tuple[object, ...], list[list[int]]] = {}
    users: list[set[int]] = [set() for _ in problem.buffers]
    for place, step in enumerate(problem.steps):
        for b in step.uses:
            users[b].add(place)
    for place in range(len(problem.steps)):
        key = structure.before[place], structure.after[place]
        for group in classes.setdefault(key, []):
            if _twins(problem, users, group[0], place):
                group.append(place)
                break
        else:
            classes[key].append([place])
    return tuple(
        pair
        for groups in classes.values()
        for group in groups
        for pair in itertools.pairwise(group)
    )


def _twins(problem: Problem, users: list[set[int]], one: int, other: int) -> bool:
    steps, buffers = problem.steps, problem.buffers

    def role(step: int, b: int) -> tuple[bool, bool]:
        return b in steps[step].reads, b in steps[step].writes

    def private(step: int, partner: int) -> list[tuple[object, ...]]:
        found = []
        for b in set(steps[step].uses) - set(steps[partner].uses):
            others = users[b] - {step}
            found.append(
                (
                    buffers[b].size, buffers[b].bytes, buffers[b].clean, buffers[b].delivered,
                    b in problem.loads, role(step, b),
                    tuple(sorted((s, role(s, b)) for s in others)),
                )
            )  # fmt: skip
        return sorted(found, key=repr)

    shared = set(steps[one].uses) & set(steps[other].uses)
    if any(role(one, b) != role(other, b) for b in shared):
        return False
    return private(one, other) == private(other, one)


def slots(structure: Structure) -> list[int]:
    """For each buffer a number that no other one has that can be live, or end, when it begins."""
    problem = structure.problem
    users = [0] * len(problem.buffers)
    for place, step in enumerate(problem.steps):
        for b in step.uses:
            users[b] |= 1 << place
    common = []
    for mask in users:
        shared = -1
        for step in members(mask):
            shared &= structure.before[step]
        common.append(shared)
    order = sorted(range(len(users)), key=lambda b: (common[b].bit_count(), b))
    found, ends = [0] * len(users), list[int]()
    for b in order:
        for slot, mask in enumerate(ends):
            if not mask & ~common[b]:
                found[b], ends[slot] = slot, users[b]
                break
        else:
            found[b] = len(ends)
            ends.append(users[b])
    return found
