"""The mapper's bench: cases, means over baselines, replays that differ, imports."""

import pytest
from thresher.bench import _mapper_baselines as compared
from thresher.bench import _mapper_cases as cases
from thresher.bench import _mapper_imports as imports
from thresher.bench import _mapper_replay as spoilt
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.plan import Plan, Result
from thresher.mapper.problem import Memory, lower
from thresher.mapper.schedule import Schedule
from thresher.models import data


def chain(weight_bytes: int = 0) -> Graph:
    """x is used first and last."""
    ops = [
        Op("a", "op", ("x",), ("a",), weight_bytes),
        Op("b", "op", ("a",), ("b",)),
        Op("c", "op", ("b", "x"), ("c",)),
    ]
    return Graph("chain", [Tensor(n, 10) for n in "xabc"], ops, ["x"])


def result(fetches: int) -> Result:
    """x leaves (1) or stays (0); 10 non-compulsory bytes each."""
    problem = lower(chain(90), Memory(40))
    fixed = FixedOrder(problem)
    left = range(fetches)
    addresses = [0, 10, 20, 0, 30] if fetches else [0, 10, 20, 30]
    return Result(problem, "feasible", fixed.plan(left, addresses), 0, "by hand", 0.0)


def one(
    mine: int, theirs: Result, other: str = "other, default order", budget: str = "M_R"
) -> compared.Compared:
    case = cases.Case("chain", budget, False, chain(90), theirs.problem)
    return compared.Compared(case, result(mine), result(mine), {other: theirs})


def test_degenerate_cases_are_counted_apart() -> None:
    over = result(1).with_notes(share=1.25)
    rows = list(compared.saved_rows([one(1, over), one(0, result(1)), one(0, result(0))]))
    better, plain, saved = rows
    assert better.holds
    assert plain.measured == 2
    assert saved.measured == 0
    assert "1 cases; 0.0% of all bytes" in saved.reference
    assert "moves some in 1" in saved.reference
    assert "more than the budget in 1, 125% at most" in saved.reference


def test_a_better_baseline_is_named() -> None:
    better, *_ = compared.saved_rows([one(1, result(0))])
    assert better.holds is False
    assert better.reference == "chain at M_R: other, default order"


def test_means_and_all_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[int, float] = {}
    monkeypatch.setattr(compared, "_bytes", lambda result: known[id(result)])
    parts = [one(1, result(1)), one(1, result(1))]
    for part, mine, theirs in zip(parts, (10, 40), (40, 40), strict=True):
        known |= {id(part.best): mine, id(part.default): mine}
        known[id(part.others["other, default order"])] = theirs
    *_, saved = compared.saved_rows(parts)
    assert saved.measured == pytest.approx(50)
    # x, c and the weights: 110 bytes besides.
    assert f"{1 - (120 / 150) ** 0.5:.1%} of all bytes" in saved.reference


def test_the_papers_mean_is_of_m_r_alone() -> None:
    name = "Belady, greedy by size; any"
    parts = [one(0, result(1), name), one(1, result(1), name), one(0, result(0), name)]
    *_, mean = compared.saved_rows([*parts, one(0, result(1), name, "M_H")])
    assert mean.measured == pytest.approx(50)
    assert mean.reference.startswith("2 networks")


def test_budgets() -> None:
    try:
        low, middle, high = (cases.case("light_shufflenet", b).problem for b in cases.BUDGETS)
    except data.MissingData as missing:
        pytest.skip(str(missing))
    assert [p.memory.budget for p in (low, middle, high)] == [702_464, 740_096, 777_728]
    with_parameters = cases.case("light_shufflenet", "M_R", True)
    assert with_parameters.problem.memory.budget > 702_464
    assert str(with_parameters) == "light_shufflenet at M_R, with parameters"
    assert set(cases.OPTIMA) <= {(n, b, p) for n in cases.GRAPHS for b in cases.BUDGETS
                                 for p in (False, True)}  # fmt: skip


def test_replays_that_differ_are_named() -> None:
    replays = cases.Replays()
    good = result(1)
    replays("good", chain(90), good)
    assert (replays.plans, replays.wrong) == (1, [])
    assert good.plan is not None
    collision = Plan(good.problem, good.plan.order, tuple(
        type(r)(r.buffer, r.first, r.last, 0) for r in good.plan.residences
    ))  # fmt: skip
    replays("bad", chain(90), Result(good.problem, "feasible", collision, 0, "by hand", 0.0))
    assert len(replays.wrong) == 1
    assert replays.wrong[0].startswith("bad: ")


def test_spoilt_schedules() -> None:
    plan = result(1).plan
    assert plan is not None
    found = {(p.residences, legal) for p, legal in spoilt.shifted(plan)}
    assert len(found) == 8  # two of five lie at 0, which has nothing below
    for moved, legal in found:
        mutated = Plan(plan.problem, plan.order, moved)
        assert spoilt._refused(chain(90), Schedule.of(chain(90), mutated)) != legal
    assert {legal for _, legal in found} == {True, False}
    assert len(list(spoilt.dropped(chain(90), plan))) == 2  # x is fetched twice
    assert len(list(spoilt.swapped(chain(90), plan))) == 2


@pytest.mark.slow
def test_imports() -> None:
    rows = list(imports.import_rows(lambda what: None))
    assert all(row.holds for row in rows if not row.skipped)
