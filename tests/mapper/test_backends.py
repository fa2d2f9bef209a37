"""CBC and HiGHS behind PuLP: optima, limits, what cannot be."""

import math
import sys

import pulp
import pytest
from thresher.mapper import backends


@pytest.fixture(params=["cbc", "highs"])
def backend(request):
    if request.param not in backends.available():
        pytest.skip("needs the extra [ortools], which brings highspy")
    return request.param


def knapsack(weights, budget):
    model = pulp.LpProblem("knapsack", pulp.LpMinimize)
    x = [model.add_variable(f"x{i}", cat="Binary") for i in range(len(weights))]
    model += -pulp.lpSum(w * v for w, v in zip(weights, x, strict=True)) + 100
    model += pulp.lpSum(w * v for w, v in zip(weights, x, strict=True)) <= budget
    return model


def test_an_optimum(backend) -> None:
    seen = []
    found = backends.run(
        knapsack([5, 7, 11], 17), backend, limit=20, watch=lambda *told: seen.append(told[:2])
    )
    assert (found.status, found.objective, found.bound) == ("optimal", 84, 84)
    assert [found.values[f"x{i}"] for i in range(3)] == [1, 0, 1]
    assert seen[-1] == (84, 84)


def test_what_cannot_be(backend) -> None:
    model = knapsack([5, 7], 17)
    x = model.variables()
    model += x[0] + x[1] >= 3
    found = backends.run(model, backend, limit=20)
    assert (found.status, found.objective, found.values) == ("infeasible", None, {})


def hard():
    """Market split: small, and far beyond a second (Cornuéjols, Dawande)."""
    model = pulp.LpProblem("market", pulp.LpMinimize)
    x = [model.add_variable(f"x{i}", cat="Binary") for i in range(50)]
    slack = []
    for row in range(6):
        weights = [
            (row * 7919 + i * 104729 + (i * i * 31 + row * 17) ** 2) % 100 for i in range(50)
        ]
        over, under = (model.add_variable(f"{n}{row}", 0) for n in ("over", "under"))
        slack += [over, under]
        model += pulp.lpSum(w * v for w, v in zip(weights, x, strict=True)) + under - over == (
            sum(weights) // 2
        )
    model += pulp.lpSum(slack)
    return model


def test_a_limit_is_not_an_optimum(backend) -> None:
    found = backends.run(hard(), backend, limit=1.0)
    assert found.status in ("feasible", "unknown")
    assert found.seconds < 20
    if found.status == "feasible":
        assert found.bound < found.objective < math.inf
    assert backends.run(hard(), backend, limit=0).status == "unknown"


def test_solutions_are_put_into_the_rows(backend, monkeypatch) -> None:
    model = knapsack([5, 7, 11], 17)
    real = backends._checked

    def bent(model, values):
        return real(model, dict.fromkeys(values, 1.0))

    monkeypatch.setattr(backends, "_checked", bent)
    with pytest.raises(RuntimeError, match="violate _C1 by 6"):
        backends.run(model, backend, limit=20)


def test_highs_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)
    assert backends.available() == ["cbc"]
    with pytest.raises(ModuleNotFoundError, match=r"thresher\[ortools\]"):
        backends.run(knapsack([1], 1), "highs", limit=1)
