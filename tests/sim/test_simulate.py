"""What simulate reports: of right engines, of wrong ones, and of bad requests."""

import dataclasses
import json

import numpy as np
import pytest
from thresher.hdl.verilog import emit
from thresher.sim import simulate
from thresher.sim.compare import Difference


def spoiled(engine, **changes):
    """The engine with a golden model that says something else."""

    def build(config, samples, seed):
        task = engine.workloads["random"].build(config, samples, seed)
        return dataclasses.replace(task, **{k: change(task) for k, change in changes.items()})

    source = dataclasses.replace(engine.workloads["random"], build=build)
    return dataclasses.replace(engine, workloads={"random": source})


@pytest.mark.parametrize("backend", ["verilator", "amaranth"])
@pytest.mark.parametrize("where", ["inputs", "outputs", "both"])
def test_a_right_engine_holds(blend, backend, where):
    for stall in ("none", "random", "alternate"):
        report = simulate(blend, backend=backend, stall=stall, where=where, reset_at=25, samples=40)
        assert report.holds, report.failures()
        assert report.failures() == []
        assert report.bit_exact
        assert report.mismatches == 0
        assert report.cycles_formula == 41
        assert (report.cycles == 41) == (stall == "none")
        assert report.utilisation == 40 / report.cycles
        assert report.metrics == {"mean": report.outputs["y"]["products"].mean()}


def test_json_keys(blend):
    report = simulate(blend, blend.config(lanes=2), samples=10, seed=3)
    found = json.loads(json.dumps(report.to_json()))
    assert {
        "engine", "config", "backend", "samples", "bit_exact", "mismatches", "cycles",
        "cycles_formula", "utilisation", "cycles_per_second", "metrics",
    } <= found.keys()  # fmt: skip
    assert found["config"] == {"depth": 8, "lanes": 2}
    assert (found["samples"], found["seed"], found["backend"]) == (10, 3, "verilator")
    assert found["cycles_per_second"] > 0
    assert found["registers"]["beats"] == 10


def test_the_first_difference_is_placed(blend):
    def other(task):
        products = task.outputs["y"]["products"].copy()
        products[7, 2] += 1
        products[9, 0] += 1
        return {**task.outputs, "y": {**task.outputs["y"], "products": products}}

    report = simulate(spoiled(blend, outputs=other), samples=20)
    assert not report.holds
    assert not report.bit_exact
    assert report.mismatches == 2
    got = int(report.outputs["y"]["products"][7, 2])
    assert report.difference == Difference("y", 7, "products", (2,), got, got + 1)
    assert f"port y, beat 7, products[2]: got {got}, expected {got + 1}" in report.failures()[0]


def test_missing_and_surplus_beats_are_told_apart(blend):
    def fewer(task):
        return {**task.outputs, "odd": task.outputs["odd"][:-1]}

    def more(task):
        return {**task.outputs, "odd": np.append(task.outputs["odd"], 1)}

    report = simulate(spoiled(blend, outputs=fewer), samples=20)
    assert not report.hang
    assert report.mismatches == 1
    assert str(report.difference).endswith("surplus")
    report = simulate(spoiled(blend, outputs=more), samples=20)
    assert "output odd" in report.hang
    assert report.mismatches == 1
    assert str(report.difference).endswith("missing")
    assert report.metrics == {}
    assert not report.bit_exact


def test_counters_and_cycles_are_held(blend):
    report = simulate(spoiled(blend, counters=lambda task: {"beats": 21}), samples=20)
    assert report.bit_exact
    assert not report.holds
    assert report.failures() == ["counter beats is 20, expected 21"]
    wrong = spoiled(blend, cycles=lambda task: task.cycles - 1)
    report = simulate(wrong, samples=20)
    assert report.failures() == ["took 21 cycles; the formula says 20"]
    assert simulate(wrong, samples=20, stall="random").holds


def test_a_workload_is_taken_as_it_is(blend):
    task = blend.workloads["random"].build(blend.config(lanes=3), 5, 1)
    assert simulate(blend, workload=task).config.lanes == 3


def test_other_verilog_runs_in_place(blend):
    text = emit(blend.component(blend.config()))
    assert simulate(blend, samples=20, verilog=text).holds
    wrong = text.replace("odd__payload = held[2:0]", "odd__payload = held[3:1]")
    report = simulate(blend, samples=20, verilog=wrong)
    assert report.difference.port == "odd"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backend": "amaranth", "verilog": "module top; endmodule"}, "amaranth.*verilator"),
        ({"backend": "icarus"}, "'icarus'.*verilator"),
        ({"workload": "randm"}, "'randm'.*random"),
        ({"stall": "some"}, "'some'.*alternate"),
        ({"where": "x"}, "'x'.*inputs"),
        ({"wave": "a.txt"}, r"a\.txt"),
    ],
)
def test_bad_requests_are_named(blend, arguments, words):
    with pytest.raises(ValueError, match=words):
        simulate(blend, **arguments)
