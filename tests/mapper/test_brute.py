"""Trying everything: figures by hand, and solvers against it."""

import itertools

import pytest
from thresher.mapper import exact, free
from thresher.mapper.agreement import random_agreement
from thresher.mapper.brute import brute, brute_fixed, orders
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.plan import Result
from thresher.mapper.problem import Memory, Problem, lower
from thresher.mapper.random_graphs import problems


def chain(*sizes: int) -> list[tuple[Tensor, Op]]:
    """t0 -> t1 -> …, the first loaded."""
    names = [f"t{i}" for i in range(len(sizes))]
    ops = [Op(names[0], "load", (), (names[0],))]
    ops += [Op(b, "f", (a,), (b,)) for a, b in itertools.pairwise(names)]
    return [(Tensor(n, s), op) for n, s, op in zip(names, sizes, ops, strict=True)]


def waiting(kind: str = "f") -> Graph:
    """a waits while b and c are made, which fill the scratchpad."""
    found = chain(2, 3, 4, 4)
    tensors = [t for t, _ in found] + [Tensor("end", 1)]
    ops = [op for _, op in found] + [Op("end", kind, ("t1", "t3"), ("end",))]
    return Graph("waiting", tensors, ops)


def test_by_hand() -> None:
    graph = waiting()
    assert brute(lower(graph, Memory(11))) == 0
    assert brute(lower(graph, Memory(10))) == 3 + 3  # t1 is stored, and fetched
    assert brute(lower(graph, Memory(8))) == 6
    ops = [*graph.ops[:2], Op("y", "f_", ("t1",), ("y",)), *graph.ops[2:]]
    overwritten = Graph("again", [*graph.tensors.values(), Tensor("y", 3, view="t1")], ops,
                        outputs=["end"])  # fmt: skip
    assert brute(lower(overwritten, Memory(10))) == 6
    delivered = Graph("out", graph.tensors.values(), graph.ops, outputs=["end", "t1"])
    assert brute(lower(delivered, Memory(10))) == 3  # its store is compulsory
    loaded = Graph("in", graph.tensors.values(), [*graph.ops[:-1], Op("end", "f", ("t0", "t3"),
                   ("end",))])  # fmt: skip
    assert brute(lower(loaded, Memory(9))) == 2  # clean: t0 leaves for nothing


def test_addresses_matter_where_capacity_does_not() -> None:
    # Into 6 bytes in 3 banks, two buffers of 3 do not go: each begins with a bank.
    tensors = [Tensor("a", 3), Tensor("b", 3)]
    two = Graph("two", tensors, [Op("x", "f", (), ("a", "b"))], outputs=[])
    assert brute(lower(two, Memory(6))) == 0
    assert brute(lower(two, Memory(6, banks=2))) == 0
    assert brute(lower(two, Memory(6, banks=3))) is None
    assert brute_fixed(lower(two, Memory(6, banks=3)), addresses=False) == 0


def test_holes_matter() -> None:
    """In one bank too: what is free is in pieces, in every placement."""
    found = [
        (brute_fixed(problem, addresses=False), brute_fixed(problem))
        for _, _, problem in problems(50, 20370)  # rare: one of these is such a one
        if problem.memory.banks == 1
    ]
    assert any(a is not None and b is not None and a < b for a, b in found)


def test_alignment_and_double_buffering_by_hand() -> None:
    graph = waiting()
    assert brute(lower(graph, Memory(12, alignment=4))) == 0
    # Nothing is away long enough to be stored and fetched while operators run.
    assert brute(lower(graph, Memory(10, double_buffered=True))) is None
    assert brute(lower(graph, Memory(11, double_buffered=True))) == 0


def test_orders() -> None:
    tensors = [Tensor(n, 1) for n in "abcd"]
    ops = [Op("a", "f", (), ("a",)), Op("b", "f", ("a",), ("b",)), Op("c", "f", ("a",), ("c",)),
           Op("d", "f", ("b", "c"), ("d",))]  # fmt: skip
    problem = lower(Graph("diamond", tensors, ops), Memory(3))
    assert list(orders(problem)) == [(0, 1, 2, 3), (0, 2, 1, 3)]


def test_some_order_is_better() -> None:
    """Two branches, each with a large tensor in its middle: one after the other, not in turn."""
    tensors = [Tensor("x", 1), Tensor("a", 4), Tensor("b", 4), Tensor("c", 1), Tensor("d", 1),
               Tensor("e", 1)]  # fmt: skip
    ops = [
        Op("x", "load", (), ("x",)),
        Op("a", "f", ("x",), ("a",)),
        Op("b", "f", ("x",), ("b",)),
        Op("c", "f", ("a",), ("c",)),
        Op("d", "f", ("b",), ("d",)),
        Op("e", "f", ("c", "d"), ("e",)),
    ]
    problem = lower(Graph("branches", tensors, ops), Memory(7))
    assert brute_fixed(problem) == 16  # a while b is made, b while a is read
    assert brute(problem) == 0


def test_moving_through_off_chip_memory_does_not_pay_here() -> None:
    worth = 0
    for _, _, problem in problems(150, 300):
        least = brute_fixed(problem)
        if least:
            moved = brute_fixed(problem, None, least, moves=True)
            worth += 1
            assert moved is None  # not less
    assert worth > 50


def test_problems_are_drawn_again() -> None:
    [*some] = problems(20, 5)
    name, graph, problem = some[7]
    assert name == "seed 12"
    [(_, same, again)] = problems(1, 12)
    assert problem == again
    assert same.tensors == graph.tensors
    assert any(p.memory.double_buffered for _, _, p in some)
    assert all(len(p.steps) <= 8 for _, _, p in some)


def solvers(count: int, seed: int):
    return random_agreement(count, seed, {"exact": exact.solve}, {"free": free.solve})


def test_solvers_agree_with_it() -> None:
    found = solvers(60, 0)
    assert not found.mismatches
    assert (found.problems, found.plans) > (60, 80)
    assert found.moved > 20
    assert found.impossible > 3
    assert found.more_than_capacity > 0


@pytest.mark.slow
def test_solvers_agree_with_it_a_thousand_times() -> None:
    found = solvers(1000, 20_000)
    assert not found.mismatches
    assert found.moved > 500


def test_disagreement_is_named() -> None:
    def worst(problem: Problem) -> Result:
        found = exact.solve(problem)
        return Result(problem, found.status, None, 0, "none", 0.0)

    found = random_agreement(12, 0, {"worst": worst})
    assert found.mismatches
    assert found.mismatches[0].startswith("seed ")
    assert "default order, worst: optimal, None, bound 0; the least is" in found.mismatches[0]
