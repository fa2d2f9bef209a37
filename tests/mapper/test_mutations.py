"""Real schedules, spoilt in one place each: the replay refuses every one of them."""

import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from thresher.mapper import exact
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph
from thresher.mapper.graph_json import read
from thresher.mapper.problem import Memory, Problem, lower
from thresher.mapper.random_graphs import problems
from thresher.mapper.replay import ReplayError, replay
from thresher.mapper.schedule import Operation, Schedule, Transfer
from thresher.models import data

Spoilt = tuple[str, Schedule]


def with_step(s: Schedule, n: int, **changes: Any) -> Schedule:
    steps = list(s.steps)
    steps[n] = steps[n].model_copy(update=changes)
    return s.model_copy(update={"steps": tuple(steps)})


def moves(s: Schedule) -> Iterator[tuple[str | int, tuple[Transfer, ...]]]:
    """Where transfers are."""
    yield "prologue", s.prologue
    yield from ((n, step.transfers) for n, step in enumerate(s.steps))
    yield "epilogue", s.epilogue


def with_moves(s: Schedule, where: str | int, transfers: tuple[Transfer, ...]) -> Schedule:
    if isinstance(where, int):
        return with_step(s, where, transfers=transfers)
    return s.model_copy(update={where: transfers})


def shifted(s: Schedule) -> Iterator[Spoilt]:
    """One statement of an address is off by one: all of them."""
    for n, step in enumerate(s.steps):
        for buffer, address in step.placed.items():
            # What lies there for this step alone, and is not transferred, can lie elsewhere.
            around = [*s.steps[max(n - 1, 0) : n], *s.steps[n + 1 : n + 2]]
            near = [t.buffer for other in (step, *s.steps[n + 1 : n + 2]) for t in other.transfers]
            near += [t.buffer for t in (*s.prologue, *s.epilogue)]
            if all(buffer not in other.placed for other in around) and buffer not in near:
                continue
            for to in (address + 1, address - 1):
                placed = {**step.placed, buffer: to}
                yield "address off by one", with_step(s, n, placed=placed)
    for where, transfers in moves(s):
        for i, t in enumerate(transfers):
            if t.address == 0:
                continue
            for to in (t.address + 1, t.address - 1):
                off = t.model_copy(update={"address": to})
                changed = (*transfers[:i], off, *transfers[i + 1 :])
                yield "transfer off by one", with_moves(s, where, changed)


def dropped(s: Schedule) -> Iterator[Spoilt]:
    for where, transfers in moves(s):
        for i, t in enumerate(transfers):
            rest = transfers[:i] + transfers[i + 1 :]
            kind = f"{'compulsory' if t.compulsory else 'spilling'} {t.direction}"
            yield f"{kind} dropped", with_moves(s, where, rest)
            other = t.model_copy(update={"compulsory": not t.compulsory})
            flipped = (*transfers[:i], other, *transfers[i + 1 :])
            yield f"{kind}, flag flipped", with_moves(s, where, flipped)
            other = t.model_copy(update={"bytes": t.bytes + 1})
            longer = (*transfers[:i], other, *transfers[i + 1 :])
            yield f"{kind} of a byte more", with_moves(s, where, longer)
    for n, step in enumerate(s.steps):
        for buffer in step.placed:
            placed = {b: a for b, a in step.placed.items() if b != buffer}
            yield "placed entry dropped", with_step(s, n, placed=placed)


def delayed(s: Schedule) -> Iterator[Spoilt]:
    """A transfer one step later."""
    for n, step in enumerate(s.steps[:-1]):
        for i, t in enumerate(step.transfers):
            rest = step.transfers[:i] + step.transfers[i + 1 :]
            following = s.steps[n + 1].transfers
            later = (t, *following) if t.direction == "store" else (*following, t)
            moved = with_step(with_step(s, n, transfers=rest), n + 1, transfers=later)
            yield f"{t.direction} a step later", moved


def swapped(s: Schedule) -> Iterator[Spoilt]:
    for n, (one, two) in enumerate(pairwise(s.steps)):
        steps = list(s.steps)
        steps[n : n + 2] = [two, one]
        yield "steps swapped", s.model_copy(update={"steps": tuple(steps)})
        steps[n : n + 2] = [named(one, two), named(two, one)]
        yield "operators swapped", s.model_copy(update={"steps": tuple(steps)})
        if one.kind == two.kind:
            steps[n : n + 2] = [named(one, two, place=one.place), named(two, one, place=two.place)]
            yield "names swapped", s.model_copy(update={"steps": tuple(steps)})


def named(step: Operation, other: Operation, **changes: Any) -> Operation:
    """``other``'s operator where ``step``'s things are."""
    given = {"name": other.name, "kind": other.kind, "place": other.place, **changes}
    return step.model_copy(update=given)


def spoilt(s: Schedule, peak: int) -> Iterator[Spoilt]:
    yield from shifted(s)
    yield from dropped(s)
    yield from delayed(s)
    yield from swapped(s)
    yield "budget below the peak", s.model_copy(update={"budget": peak - 1, "banks": 1})


def judged(
    graph: Graph, s: Schedule, most: int, rng: random.Random
) -> tuple[Counter[str], list[Spoilt]]:
    """How many of each kind were caught, and those that were not; ``most`` of a kind are tried."""
    kinds: dict[str, list[Schedule]] = {}
    for kind, changed in spoilt(s, replay(graph, s).peak):
        kinds.setdefault(kind, []).append(changed)
    caught: Counter[str] = Counter()
    accepted: list[Spoilt] = []
    for kind, changed in kinds.items():
        for one in rng.sample(changed, min(most, len(changed))):
            try:
                replay(graph, one)
            except ReplayError:
                caught[kind] += 1
            else:
                accepted.append((kind, one))
    return caught, accepted


KINDS = {
    "address off by one", "transfer off by one", "placed entry dropped", "steps swapped",
    "operators swapped", "names swapped", "budget below the peak", "compulsory store dropped",
    "spilling store dropped", "spilling fetch dropped", "compulsory store, flag flipped",
    "spilling fetch, flag flipped", "spilling store, flag flipped", "fetch a step later",
    "store a step later", "spilling fetch of a byte more",
}  # fmt: skip


def table(caught: Counter[str]) -> str:
    return "\n".join(f"{kind:34} {caught[kind]:6} caught" for kind in sorted(caught))


@cache
def schedules() -> list[tuple[Graph, Schedule]]:
    """Of several networks, at the least budget."""
    found = []
    for name, parameters, double in (
        ("light_shufflenet", False, False), ("tv_r2plus1d_18", True, False),
        ("tv_vit_b_16", False, False), ("light_densenet121", False, False),
        ("tv_transformer", True, True),
    ):  # fmt: skip
        try:
            graph = read(data.path(f"graphs/{name}.json"))
        except data.MissingData as missing:
            pytest.skip(str(missing))
        memory = Memory(1 << 40, double_buffered=double)
        budget = max(FixedOrder(lower(graph, memory, parameters)).required)
        plan = exact.solve(lower(graph, Memory(budget, double_buffered=double), parameters)).plan
        assert plan is not None
        found.append((graph, Schedule.of(graph, plan)))
    return found


@pytest.mark.parametrize("most", [6, pytest.param(1000, marks=pytest.mark.slow)])
def test_mutations_of_real_schedules(most: int) -> None:
    rng, caught = random.Random(10), Counter()
    for graph, schedule in schedules():
        some, accepted = judged(graph, schedule, most, rng)
        assert not [kind for kind, _ in accepted], graph.name
        caught += some
    print(table(caught))
    assert caught.keys() >= KINDS


def legal(problem: Problem, s: Schedule) -> bool:
    """Whether the order is one, and each step has the buffers that it uses."""
    number = {step.name: n for n, step in enumerate(problem.steps)}
    order = [number[step.name] for step in s.steps]
    try:
        problem.check_order(order)
    except ValueError:
        return False
    names = [buffer.name for buffer in problem.buffers]
    return all(
        {names[b] for b in problem.steps[n].uses} <= step.placed.keys()
        for n, step in zip(order, s.steps, strict=True)
    )


def test_mutations_of_random_schedules() -> None:
    rng, caught, accepted = random.Random(11), Counter(), []
    for _, graph, problem in problems(25, 900):
        try:
            plan = exact.solve(problem).plan
        except ValueError:
            continue
        if plan is None:
            continue
        s = Schedule.of(graph, plan)
        some, passed = judged(graph, s, 40, rng)
        caught += some
        accepted += [(kind, legal(problem, one)) for kind, one in passed]
    print(table(caught))
    assert sum(caught.values()) > 1500
    # Two loads, or parts of one concatenation, may change places.
    assert {kind for kind, _ in accepted} <= {"operators swapped", "steps swapped"}
    assert all(fine for _, fine in accepted)
    assert len(accepted) < 0.01 * sum(caught.values())
