"""Windows, waists, twins and slots, against all orders of small graphs."""

import itertools
import random

import pytest
from thresher.mapper.free.structure import Structure, members, segments, slots, twins
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.problem import Memory, Problem, lower


def drawn(rng: random.Random, size: int) -> Problem:
    tensors, ops = [Tensor("x", 4)], [Op("x", "load", (), ("x",))]
    for i in range(size):
        names = [t.name for t in tensors]
        read = rng.sample(names[-4:], min(rng.choice([1, 1, 2]), len(names)))
        tensors.append(Tensor(f"t{i}", rng.choice([2, 2, 3])))
        ops.append(Op(f"o{i}", "f", tuple(read), (f"t{i}",)))
    return lower(Graph("drawn", tensors, ops), Memory(1 << 20))


def orders(problem: Problem) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for _ in problem.steps:
        found = [
            (*order, step)
            for order in found
            for step, before in enumerate(problem.before)
            if step not in order and before <= set(order)
        ]
    return found


@pytest.mark.parametrize("seed", range(12))
def test_against_all_orders(seed) -> None:
    problem = drawn(random.Random(seed), 7)
    structure, every = Structure.of(problem), orders(problem)
    count = len(problem.steps)
    places = [{order.index(step) for order in every} for step in range(count)]
    assert [{*window} for window in structure.windows] == places
    prefixes = [{frozenset(order[:k]) for order in every} for k in range(count + 1)]
    assert structure.waists == tuple(k for k, some in enumerate(prefixes) if len(some) == 1)
    parts = segments(problem)
    assert sorted(itertools.chain(*parts)) == list(range(count))
    for order in every:
        at = 0
        for part in parts:
            assert sorted(order[at : at + len(part)]) == list(part)
            at += len(part)


@pytest.mark.parametrize("seed", range(12))
def test_slots_are_never_shared_by_what_lives_at_once(seed) -> None:
    problem = drawn(random.Random(seed), 7)
    found = slots(Structure.of(problem))
    users = [{s for s, step in enumerate(problem.steps) if b in step.uses}
             for b in range(len(problem.buffers))]  # fmt: skip
    for order in orders(problem):
        for k in range(1, len(order) + 1):
            done = set(order[:k])
            some = [b for b, u in enumerate(users) if u & done and not u <= done - {order[k - 1]}]
            assert len({found[b] for b in some}) == len(some)


def test_twins_are_steps_that_may_be_swapped() -> None:
    sizes = {"x": 4, "q": 2, "k": 2, "v": 2, "w": 3, "a": 2, "b": 2, "y": 1}
    ops = [
        Op("x", "load", (), ("x",)),
        Op("q", "linear", ("x",), ("q",)),
        Op("k", "linear", ("x",), ("k",)),
        Op("v", "linear", ("x",), ("v",)),
        Op("w", "linear", ("x",), ("w",)),  # larger
        Op("a", "relu", ("q",), ("a",)),  # q is no twin of k and v, then
        Op("b", "add", ("k", "v"), ("b",)),
        Op("y", "add", ("a", "b", "w"), ("y",)),
    ]
    graph = Graph("attention", [Tensor(n, s) for n, s in sizes.items()], ops)
    problem = lower(graph, Memory(64), parameters=True)
    pairs = twins(Structure.of(problem))
    names = [(problem.steps[a].name, problem.steps[b].name) for a, b in pairs]
    assert names == [("k", "v")]
    ordered = Structure.of(problem, pairs)
    assert list(members(ordered.before[3])) == [0, 2]
    with pytest.raises(ValueError, match="come before themselves"):
        Structure.of(problem, [(7, 0)])
