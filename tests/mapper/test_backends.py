"""CBC and HiGHS behind PuLP: optima, limits, what cannot be."""

import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

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


def weights_of(row):
    return [(row * 7919 + i * 104729 + (i * i * 31 + row * 17) ** 2) % 100 for i in range(50)]


def hard():
    """Market split: small, and far beyond a second (Cornuéjols, Dawande)."""
    model = pulp.LpProblem("market", pulp.LpMinimize)
    x = [model.add_variable(f"x{i}", cat="Binary") for i in range(50)]
    slack = []
    for row in range(6):
        weights = weights_of(row)
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
    with pytest.raises(backends.SolverError, match="violate _C1 by 6"):
        backends.run(model, backend, limit=20)


def test_one_byte_of_many_is_a_violation() -> None:
    model = knapsack([10**9, 10**9 + 1], 2 * 10**9)
    both = {"x0": 1.0, "x1": 1.0}
    with pytest.raises(backends.SolverError, match="violate _C1 by 1"):
        backends._checked(model, dict(both))
    with pytest.raises(backends.SolverError, match=r"x1 is 0\.5, which is not whole"):
        backends._checked(model, both | {"x1": 0.5})
    with pytest.raises(backends.SolverError, match="beyond its bounds 0 and 1"):
        backends._checked(model, {"x0": -1.0, "x1": 1.0})
    assert backends._checked(model, {"x0": 1e-7, "x1": 1 - 1e-7}) == 100 - 10**9 - 1


def test_progress_is_told_while_it_runs(backend) -> None:
    told, begun = [], time.monotonic()
    model = hard()
    model.setObjective(model.objective + 1000)
    found = backends.run(
        model, backend, limit=2.5, watch=lambda *one: told.append((*one, time.monotonic() - begun))
    )
    assert found.status == "feasible"
    early = [one for one in told[:-1] if one[3] < 2]
    assert any(bound >= 1000 and best is not None for bound, best, *_ in early)
    assert told[-1][:2] == (math.ceil(found.bound - 1e-6), found.objective)
    assert all(bound <= found.objective for bound, *_ in told)


def test_a_start_is_the_incumbent_from_the_beginning(backend) -> None:
    model = hard()
    start = {v.name: 0.0 for v in model.variables()}
    for row in range(6):
        start[f"under{row}"] = float(sum(weights_of(row)) // 2)
    cost = sum(start.values())
    told = []
    found = backends.run(
        model, backend, limit=1, start=start, watch=lambda *one: told.append(one[1])
    )
    assert found.objective <= cost
    assert None not in told
    idle = backends.run(model, backend, limit=0, start=start)
    assert (idle.status, idle.objective) == ("feasible", cost)
    with pytest.raises(ValueError, match="start is no solution of market"):
        backends.run(model, backend, limit=1, start=start | {"under0": 0.0})
    some = backends.run(knapsack([5, 7, 11], 17), backend, limit=9, start={"x0": 0.0, "x2": 1.0})
    assert (some.status, some.objective) == ("optimal", 84)


def test_the_best_start_is_confirmed(backend) -> None:
    start = {"x0": 1.0, "x1": 0.0, "x2": 1.0}
    found = backends.run(knapsack([5, 7, 11], 17), backend, limit=9, start=start)
    assert (found.status, found.objective, dict(found.values)) == ("optimal", 84, start)


def test_gaps_leave_honest_bounds(backend) -> None:
    least = backends.run(hard_enough(), backend, limit=60)
    assert least.status == "optimal"
    found = backends.run(hard_enough(), backend, limit=60, gap=0.5)
    assert found.status == "optimal"
    assert found.bound <= least.objective <= found.objective
    assert found.objective - found.bound <= 0.5 * found.objective + 1e-3


def hard_enough():
    """Knapsacks in several rows, small."""
    model = pulp.LpProblem("some", pulp.LpMinimize)
    x = [model.add_variable(f"x{i}", cat="Binary") for i in range(24)]
    model += pulp.lpSum((i * 37 % 19 + 5) * v for i, v in enumerate(x))
    for row in range(8):
        model += pulp.lpSum((i * 29 + row * 53) % 31 * v for i, v in enumerate(x)) >= 120
    return model


def test_ctrl_c_gives_the_incumbent(backend, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started = []
    real = subprocess.Popen

    def noted(*arguments, **options):
        started.append(real(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    timer = threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    found = backends.run(hard(), backend, limit=60)
    timer.join()
    assert found.interrupted
    assert found.status == "feasible"
    assert found.seconds < 15
    assert len(started) == (backend == "cbc")
    assert all(process.returncode is not None for process in started)
    assert not list(tmp_path.iterdir())


def test_a_watch_that_raises_ends_the_solver(backend, monkeypatch) -> None:
    def watch(bound, incumbent, seconds):
        raise LookupError("enough")

    begun = time.monotonic()
    with pytest.raises(LookupError, match="enough"):
        backends.run(hard(), backend, limit=60, watch=watch)
    assert time.monotonic() - begun < 20


def test_a_solver_that_breaks_down(monkeypatch) -> None:
    monkeypatch.setattr(pulp.PULP_CBC_CMD, "pulp_cbc_path", "/bin/false")
    with pytest.raises(backends.SolverError, match="CBC ended with 1"):
        backends.run(knapsack([1], 1), limit=1)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="'gurobi' is no backend; take one of cbc"):
        backends.run(knapsack([1], 1), "gurobi", limit=1)
    with pytest.raises(ValueError, match="most is maximised"):
        backends.run(pulp.LpProblem("most", pulp.LpMaximize), limit=1)


def test_nothing_to_decide(backend) -> None:
    model = pulp.LpProblem("none", pulp.LpMinimize)
    found = backends.run(model, backend, limit=1)
    assert (found.status, found.objective) == ("optimal", 0)
    model += pulp.lpSum([]) >= 1
    assert backends.run(model, backend, limit=1).status == "infeasible"


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


def test_rows_whose_bounds_alone_have_no_solution(backend) -> None:
    """CBC crashes where it should write the solution."""
    model = pulp.LpProblem("none", pulp.LpMinimize)
    a, b, c = (model.add_variable(name, cat="Binary") for name in "abc")
    model += a + b + c
    model += a + b >= 1
    model += c >= a
    model += c >= b
    model += -2 * c >= -1
    assert backends.run(model, backend, limit=5).status == "infeasible"
