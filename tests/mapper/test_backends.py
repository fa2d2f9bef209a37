"""CBC and HiGHS behind PuLP: optima, limits, what cannot be."""

import math
import re
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


CROOKED = """
4a0 4a1 5a10 10a11 11a12 13a13 1a2 4a3 4a4 4a5 5a6 5a7 10a8 10a9 10s11 11s12 13s14 10s5 5s9
s5 -a8 >= 0
4a1 4a3 5a7 9a9 >= 9
4a1 5a10 1a2 4a5 5a7 10a9 >= 18
4a1 5a10 1a2 4a5 5a7 >= 15
10a11 1a2 4a5 5a7 >= 16
8a11 8a12 1a2 5a7 >= 8
10a11 1a2 5a7 >= 16
10a11 11a13 1a2 >= 11
7a13 1a2 >= 7
s5 -a9 >= 0
s9 -a10 >= 0
s11 -a11 >= 0
s12 -a12 >= 0
s14 -a13 >= 0
4a3 5a6 10a8 >= 16
1a0 1a3 1a4 >= 2
4a3 4a4 5a7 9a9 >= 9
"""
"""A master of which CBC's preprocessing loses the optimum: it proves 109."""


def crooked():
    model, x = pulp.LpProblem("crooked", pulp.LpMinimize), {}

    def total(terms):
        found = []
        for term in terms.split():
            weight, name = re.fullmatch(r"(-?\d*)([as]\d+)", term).groups()
            if name not in x:
                cat = "Binary" if name[0] == "a" else "Continuous"
                x[name] = model.add_variable(name, 0, 1, cat)
            found.append(int(weight + "1" if weight in ("", "-") else weight) * x[name])
        return pulp.lpSum(found)

    least, *rows = CROOKED.strip().splitlines()
    model += total(least)
    for row in rows:
        left, right = row.split(" >= ")
        model += total(left) >= int(right)
    return model


def test_what_preprocessing_loses(backend) -> None:
    assert backends.run(crooked(), backend, limit=20).objective == 103
