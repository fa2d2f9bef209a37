"""The exact decomposition: published optima, enumeration of small problems, conflicts, limits."""

import itertools
import random
from dataclasses import replace

import pytest
from thresher.mapper import cuts, exact, pack, rolling
from thresher.mapper.backends import available
from thresher.mapper.certificate import certify, verify
from thresher.mapper.cuts import unplaced
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.graph_json import read
from thresher.mapper.pack.search import Packing
from thresher.mapper.problem import BudgetError, Memory, Problem, lower
from thresher.models import data

OPTIMA = {
    ("light_densenet121", False): (1_404_928, 1_404_928),
    ("light_densenet121", True): (2_609_152, 1_404_928),
    ("light_resnet50", True): (1_003_520, 401_408),
    ("light_shufflenet", False): (150_528, 150_528),
    ("light_shufflenet", True): (150_528, 150_528),
    ("tv_densenet121", False): (1_204_224, 602_112),
    ("tv_densenet121", True): (1_204_224, 602_112),
    ("tv_pnasnet5large", False): (45_856_854, 7_386_498),
    ("tv_pnasnet5large", True): (46_999_926, 7_386_498),
    ("tv_r2plus1d_18", False): (51_380_224, 51_380_224),
    ("tv_r2plus1d_18", True): (51_380_224, 51_380_224),
    ("tv_resnet50", True): (1_003_520, 401_408),
    ("tv_transformer", False): (2_097_152, 458_752),
    ("tv_transformer", True): (2_031_616, 458_752),
    ("tv_vit_b_16", False): (3_631_104, 3_631_104),
    ("tv_vit_b_16", True): (3_631_104, 3_631_104),
}
"""Bytes at M_R and M_H; 0 for the other graphs, and for all at M_P."""
NAMES = sorted(
    {name for name, _ in OPTIMA}
    | {f"light_{n}" for n in ("bvlc_alexnet", "inception_v1", "inception_v2", "squeezenet",
                              "vgg19", "zfnet512")}
)  # fmt: skip


def valid(plan) -> None:
    memory = plan.problem.memory
    pack.validate(
        exact.rectangles(plan), [r.address for r in plan.residences], memory.budget,
        memory.bank if memory.banks > 1 else None,
    )  # fmt: skip


@pytest.mark.parametrize("parameters", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_reference_graphs_are_proved(name, parameters) -> None:
    try:
        graph = read(data.path(f"graphs/{name}.json"))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    whole = lower(graph, Memory(1 << 40), parameters)
    floor, peak = whole.floor, FixedOrder(whole).peak
    known = (*OPTIMA.get((name, parameters), (0, 0)), 0)
    for budget, least in zip((floor, (floor + peak) // 2, peak), known, strict=True):
        found = exact.solve(lower(graph, Memory(budget), parameters))
        assert (found.status, found.objective, found.bound) == ("optimal", least, least)
        valid(found.plan)


def drawn(rng: random.Random, double_buffered: bool = False, banks: int = 0) -> Problem:
    """A random chain with far readers, on a memory that is scarce."""
    tensors, ops = [Tensor("x", rng.randint(1, 6))], [Op("x", "load", (), ("x",))]
    for i in range(rng.randint(4, 6) + double_buffered):
        name = f"t{i}"
        readable = [t.name for t in tensors]
        inputs = {readable[-1], *rng.sample(readable, rng.randint(0, min(2, len(readable))))}
        outputs = (name,) if rng.random() < 0.8 else (name, f"{name}b")
        tensors += [Tensor(o, rng.randint(1, 6)) for o in outputs]
        ops.append(Op(name, "f", tuple(sorted(inputs)), outputs, rng.choice([0, 0, 2])))
    graph = Graph("drawn", tensors, ops)
    alignment, some = rng.choice([(1, 1), (2, 1), (1, 2), (1, 1)])
    banks = banks or some
    step = alignment * banks
    whole = lower(graph, Memory(1 << 20, alignment, banks, double_buffered), True)
    fixed = FixedOrder(whole)
    floor = -(-max(fixed.required) // step) * step
    budget = rng.randrange(floor, max((floor + fixed.peak) // 2, floor) + step, step)
    return lower(graph, Memory(budget, alignment, banks, double_buffered), True)


def places(problem: Problem, plan) -> bool:
    """Whether a placement exists: every address is tried."""
    memory = problem.memory
    bank = memory.bank if memory.banks > 1 else memory.budget
    rectangles = sorted(exact.rectangles(plan), key=lambda r: (-r.size, r.start))
    for step in range(len(problem.steps)):
        if sum(r.size for r in rectangles if r.start <= step < r.stop) > memory.budget:
            return False
    taken = [0] * len(problem.steps)
    """Bits of the bytes that are in use at each step."""

    def fits(i: int) -> bool:
        if i == len(rectangles):
            return True
        r = rectangles[i]
        for start in range(0, memory.budget - r.size + 1, memory.alignment):
            inside = start // bank == (start + r.size - 1) // bank
            bits = ((1 << r.size) - 1) << start
            if (start % bank and not inside) or any(bits & t for t in taken[r.start : r.stop]):
                continue
            for step in range(r.start, r.stop):
                taken[step] |= bits
            done = fits(i + 1)
            for step in range(r.start, r.stop):
                taken[step] &= ~bits
            if done:
                return True
        return False

    return fits(0)


def enumerated(problem: Problem) -> int | None:
    """The least cost over every set of gaps that can be placed."""
    fixed = FixedOrder(problem)
    for cost, left in sorted(
        (fixed.cost(left), left)
        for n in range(len(fixed.gaps) + 1)
        for left in itertools.combinations(range(len(fixed.gaps)), n)
    ):
        if places(problem, unplaced(fixed, left)):
            return cost
    return None


@pytest.mark.parametrize("double_buffered", [False, True])
@pytest.mark.parametrize("backend", ["cbc", "highs"])
def test_small_problems_against_enumeration(backend, double_buffered) -> None:
    if backend not in available():
        pytest.skip("needs the extra [ortools], which brings highspy")
    rng, seen = random.Random(7), set()
    for _ in range(15):
        problem = drawn(rng, double_buffered)
        found, least = exact.solve(problem, backend=backend), enumerated(problem)
        assert found.objective == least
        assert found.status == ("infeasible" if least is None else "optimal")
        if least is not None:
            assert found.bound == least
            valid(found.plan)
        seen.add((found.status, found.notes["cuts"] > 0, bool(least)))
    assert ("optimal", False, True) in seen


def kept_and_placed(problem: Problem) -> list[frozenset[int]]:
    """Every set of gaps that can be kept at once."""
    fixed = FixedOrder(problem)
    found, every = [], range(len(fixed.gaps))
    for n in range(len(fixed.gaps) + 1):
        for left in itertools.combinations(every, n):
            if places(problem, unplaced(fixed, left)):
                found.append(frozenset(every) - set(left))
    return found


def check_cuts(problem: Problem, conflicts: list[dict]) -> None:
    """Each leaves as many as must be, and no more."""
    fixed = FixedOrder(problem)
    names = [[problem.buffers[g.buffer].name, g.first, g.last] for g in fixed.gaps]
    possible = kept_and_placed(problem)
    for conflict in conflicts:
        cut = {names.index(gap) for gap in conflict["gaps"]}
        assert max(len(cut & kept) for kept in possible) == len(cut) - conflict["need"]


@pytest.mark.parametrize(
    ("double_buffered", "seed"),
    [*((False, s) for s in (26, 44, 60, 79)), *((True, s) for s in (244, 1980, 2102, 2540))],
)
def test_cuts_where_capacity_alone_deceives(double_buffered, seed) -> None:
    problem = drawn(random.Random(seed), double_buffered, banks=2)
    found = exact.solve(problem)
    assert found.notes["cuts"] > 0
    assert (found.status, found.objective) == ("optimal", enumerated(problem))
    check_cuts(problem, found.notes["conflicts"])


@pytest.mark.parametrize(("sizes", "least"), [([3, 3, 3, 3], 6), ([3, 3, 3, 3, 3], 9)])
def test_cuts_count_what_may_stand_for_each_other(sizes, least) -> None:
    """Two banks of 5 hold two of these at once; three would fit what is free."""
    names = [f"t{i}" for i in range(len(sizes))]
    tensors = [Tensor(n, size) for n, size in zip(names, sizes, strict=True)] + [Tensor("m", 1)]
    ops = [Op(f"load {n}", "load", (), (n,)) for n in names]
    ops.append(Op("middle", "f", (), ("m",)))
    ops += [Op(f"read {n}", "f", (n,), ()) for n in names]
    problem = lower(Graph("stand-ins", tensors, ops), Memory(10, 1, 2))
    found = exact.solve(problem)
    assert (found.status, found.objective) == ("optimal", least)
    assert enumerated(problem) == least
    assert any(conflict["need"] > 1 for conflict in found.notes["conflicts"])
    check_cuts(problem, found.notes["conflicts"])
    proof = certify(found)
    assert proof is not None
    verify(FixedOrder(problem), proof)


def test_a_conflict_is_cut_down_to_what_conflicts() -> None:
    rng, shorter = random.Random(3), 0
    while shorter < 4:
        problem = drawn(rng, banks=2)
        fixed = FixedOrder(problem)
        plan = unplaced(fixed, ())
        packed = pack.pack(exact.rectangles(plan), problem.memory.budget, bank=problem.memory.bank)
        if packed.status != "infeasible" or len(plan.residences) > 10:
            continue
        residences = tuple(plan.residences[i] for i in packed.conflict)
        conflict = cuts.Conflict(residences, cuts.hull(plan, residences))
        cut = cuts.inside(fixed, conflict, ())
        short = cuts.shortened(fixed, conflict.window, cut, 1.0)
        assert set(short) <= set(cut)
        assert not places(problem, unplaced(fixed, set(range(len(fixed.gaps))) - set(short)))
        shorter += len(short) < len(cut)


def shuffled(sizes: list[int], budget: int) -> Problem:
    """Buffers of one step each, all at once."""
    tensors = [Tensor(f"t{i}", size) for i, size in enumerate(sizes)]
    ops = [Op(f"o{i}", "load", (), (f"t{i}",)) for i in range(len(sizes))]
    ops.append(Op("last", "f", tuple(t.name for t in tensors), ()))
    return lower(Graph("shuffled", tensors, ops), Memory(budget, 1, 2))


def test_what_no_placement_holds_is_explained() -> None:
    problem = shuffled([3, 3, 3, 1], 10)  # two banks of 5
    found = exact.solve(problem)
    assert found.status == "infeasible"
    assert found.plan is None
    assert set(found.conflict) == {"t0", "t1", "t2"}


def spilling(seed: int) -> tuple[Problem, int]:
    """A problem whose optimum is not 0, and that."""
    rng = random.Random(seed)
    for problem in iter(lambda: drawn(rng), None):
        fixed, least = FixedOrder(problem), exact.solve(problem).objective
        if least and least < fixed.cost(range(len(fixed.gaps))):
            return problem, least
    raise AssertionError


def test_undecided_packings_are_tried_again(monkeypatch) -> None:
    problem, least = spilling(5)
    real, calls = rolling.place, []

    def unsure(rectangles, capacity, **options):
        calls.append(1)
        if len(calls) < 4:
            return Packing("unknown", (), (), False, 0.0, 0)
        return real(rectangles, capacity, **options)

    monkeypatch.setattr(rolling, "place", unsure)
    found = exact.solve(problem)
    assert (found.status, found.objective, found.bound) == ("optimal", least, least)
    assert len(calls) >= 4


@pytest.mark.parametrize("seed", range(3))
def test_undecided_packings_leave_a_bound(monkeypatch, seed) -> None:
    problem, least = spilling(seed)
    fixed = FixedOrder(problem)
    lazy = exact.rectangles(unplaced(fixed, range(len(fixed.gaps))))
    real = rolling.place

    def unsure(rectangles, capacity, **options):
        if rectangles != lazy:
            return Packing("unknown", (), (), False, 0.0, 0)
        return real(rectangles, capacity, **options)

    monkeypatch.setattr(rolling, "place", unsure)
    told = []
    found = exact.solve(problem, limit=1.5, watch=lambda *one: told.append(one[:2]))
    assert found.status == "feasible"
    assert found.objective == fixed.cost(range(len(fixed.gaps)))
    assert found.bound == least
    assert found.notes["undecided"] > 0
    assert found.seconds < 3
    valid(found.plan)
    assert told[-1] == (least, found.objective)
    assert [bound for bound, _ in told] == sorted(bound for bound, _ in told)


@pytest.mark.parametrize("call", [1, 2])
def test_ctrl_c_gives_what_there_is(monkeypatch, call) -> None:
    problem, least = spilling(5)
    real, calls = rolling.place, []

    def pressed(rectangles, capacity, **options):
        calls.append(1)
        if len(calls) <= call:
            raise KeyboardInterrupt
        return real(rectangles, capacity, **options)

    monkeypatch.setattr(rolling, "place", pressed)
    found = exact.solve(problem)
    assert found.bound == least
    if call == 1:
        assert found.status == "feasible"
        assert found.objective > least
        valid(found.plan)
    else:
        assert (found.status, found.plan) == ("unknown", None)


def test_a_master_that_is_interrupted(monkeypatch) -> None:
    problem, least = spilling(5)
    real = exact.run

    def pressed(*arguments, **options):
        return replace(real(*arguments, **options), interrupted=True)

    monkeypatch.setattr(exact, "run", pressed)
    found = exact.solve(problem)
    assert found.status == "feasible"
    assert found.bound == least < found.objective


def test_budgets_below_what_is_in_use() -> None:
    with pytest.raises(BudgetError, match="needs 10 bytes at once"):
        shuffled([3, 3, 3, 1], 8)


def test_time_is_up() -> None:
    found = exact.solve(shuffled([3, 3, 3, 1], 12), limit=0.0)
    assert (found.status, found.bound) in {("unknown", 0), ("optimal", 0)}
