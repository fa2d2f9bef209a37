"""Sweeps: what is tried, dropped, tried again, kept and resumed."""

import itertools
import json
from dataclasses import dataclass

import pytest
from thresher.bench.sweeps.search import Random
from thresher.bench.sweeps.space import Space
from thresher.bench.sweeps.stages import Measure
from thresher.bench.sweeps.sweep import Sweep
from thresher.bench.sweeps.task import Here, Lost
from thresher.hdl.engine import engine

SPACE = Space({"lanes": [4, 8, 16], "threshold": [0, 1, 2]}, presets=("small",))
CALLS: list[tuple[int, int]] = []


def first(config, scale=1):
    """Costs of which one is small where the other is large; three lie behind the front."""
    CALLS.append((config.lanes, config.threshold))
    return {"cycles": scale * 64 // config.lanes, "lut": 10 * config.lanes + 9 * config.threshold}


def second(config):
    if config.lanes == 8:
        raise RuntimeError("eight is not to be had")
    return {"lut": 9 * config.lanes, "fmax_mhz": 100 - config.lanes}


ESTIMATE = Measure("estimate", f"{__name__}:first", ("cycles", "lut"), cheap=True)
SYNTHESISE = Measure("synthesise", f"{__name__}:second", ("lut", "fmax_mhz"))


def sweep(**changes) -> Sweep:
    given = {
        "engine": "sparse_lstm", "space": SPACE, "stages": (ESTIMATE, SYNTHESISE),
        "objectives": {"cycles": "min", "lut": "min"},
    }  # fmt: skip
    return Sweep(**{**given, **changes})


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path / "cache"))
    CALLS.clear()


def test_only_what_is_worth_it_goes_on() -> None:
    found = sweep().run()
    states = {(t.config.lanes, t.config.threshold): t.state for t in found}
    assert states == {
        (lanes, threshold): "dominated" if threshold else "failed" if lanes == 8 else "done"
        for lanes, threshold in itertools.product((4, 8, 16), (0, 1, 2))
    }
    assert [(t.config.lanes, t.values["lut"]) for t in found.front] == [(4, 36), (16, 144)]
    failed = next(t for t in found if t.state == "failed")
    assert failed.records[-1].attempts == 2
    assert failed.error == "RuntimeError: eight is not to be had"
    rows = {row["trial"]: row for row in found.rows()}
    assert rows[0]["front"]
    assert rows[0]["config.lanes"] == 4


def test_slack_and_constraints() -> None:
    wide = sweep(slack=0.2).run()
    # Of 49 over 40, 58 over 40, 98 over 80 only the second saves more than a fifth.
    assert sum(t.state == "dominated" for t in wide) == 1
    bounded = sweep(constraints=["fmax_mhz >= 90", "lut <= 100"]).run()
    assert {t.config.lanes for t in bounded if t.state == "done"} == {4}
    assert {t.config.lanes for t in bounded if t.state == "constrained"} == {16}


@pytest.mark.parametrize(("slack", "seen"), [(0.0, {4}), (0.15, {4, 16})])
def test_bounds_are_exact_after_the_last_stage_alone(slack, seen) -> None:
    # 16 lanes: 160 by the estimate, 144 by synthesis.
    for bound, done in (("lut <= 145", seen - {8}), ("lut <= 140", {4})):
        found = sweep(slack=slack, constraints=[bound]).run()
        assert {t.config.lanes for t in found if len(t.records) == 2} - {8} == seen
        assert {t.config.lanes for t in found if t.state == "done"} == done


def test_results_are_kept_for_all_sweeps() -> None:
    sweep().run()
    again = sweep().run()
    cached = [r.cached for t in again for r in t.records if r.stage == "synthesise" and not r.error]
    assert cached == [True, True]


def test_what_a_function_gives_is_forgotten_with_its_code(monkeypatch, tmp_path) -> None:
    chosen = engine("sparse_lstm")
    monkeypatch.syspath_prepend(tmp_path)
    stage, keys = Measure("m", "forgotten:f", ("lut",)), []
    for value in (1, 2, 2):
        (tmp_path / "forgotten.py").write_text(f"def f(config):\n    return {{'lut': {value}}}\n")
        keys.append(stage.key(chosen, chosen.config()))
    assert keys[0] != keys[1] == keys[2]


class Unlucky(Here):
    """Loses every first task, as a killed worker does, and ends after so many results."""

    def __init__(self, ends: int = 1000) -> None:
        self.lost, self.left = set(), ends

    def map(self, tasks):
        for place, task in enumerate(tasks):
            if self.left == 0:
                raise KeyboardInterrupt
            name = task.config.model_dump_json()
            if name not in self.lost:
                self.lost.add(name)
                yield place, Lost("the worker was killed")
                continue
            self.left -= 1
            yield place, next(super().map([task]))[1]


def test_a_lost_worker_costs_an_attempt() -> None:
    found = sweep().run(executor=Unlucky())
    assert [t.config.lanes for t in found.front] == [4, 16]
    assert {r.attempts for t in found for r in t.records if r.stage == "synthesise"} == {2}


def test_interrupted_sweeps_go_on(monkeypatch, tmp_path) -> None:
    expected = [t.to_json() for t in sweep().run(folder=tmp_path / "whole").front]
    with pytest.raises(KeyboardInterrupt):
        sweep().run(executor=Unlucky(1), folder=tmp_path / "cut")
    with (tmp_path / "cut" / "journal.jsonl").open("a") as file:
        file.write('{"config": "torn')
    with pytest.raises(ValueError, match="is there already; resume"):
        sweep().run(folder=tmp_path / "cut")
    found = sweep().run(folder=tmp_path / "cut", resume=True)

    def bare(trial):
        return {**trial, "records": [{**r, "cached": 0, "attempts": 0, "seconds": 0}
                                     for r in trial["records"]]}  # fmt: skip

    assert [bare(t.to_json()) for t in found.front] == [bare(t) for t in expected]
    lines = (tmp_path / "cut" / "journal.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 1 + 3
    with pytest.raises(ValueError, match="is of another sweep: objectives differ"):
        sweep(objectives={"cycles": "min"}).run(folder=tmp_path / "cut", resume=True)
    monkeypatch.setattr("thresher.bench.sweeps.sweep.versions", lambda: {"pyosys": "0"})
    with pytest.raises(ValueError, match="is of another sweep: tools differ"):
        sweep().run(folder=tmp_path / "cut", resume=True)


def test_random_search_is_reproducible() -> None:
    found = [
        [t.config.model_dump_json() for t in sweep().run(Random(4, seed))] for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]
    assert len(set(found[0])) == 4


@dataclass(frozen=True)
class Absent(Measure):
    def check(self, engine):
        raise ValueError(f"{engine.name} has no stage {self.name!r}")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"engine": "sparse_lstn"}, "did you mean sparse_lstm"),
        ({"space": Space({"lane": [4]}, presets=("small",))}, "did you mean lanes"),
        ({"objectives": {"cycle": "min"}}, "did you mean cycles"),
        ({"objectives": {}}, "needs an objective"),
        ({"constraints": ["luts <= 3"]}, "did you mean lut"),
        ({"stages": ()}, "needs a stage"),
        ({"stages": (ESTIMATE, ESTIMATE)}, "two stages are called 'estimate'"),
        ({"stages": (Absent("map", "", ()),)}, "has no stage 'map'"),
        ({"stages": (Measure("a", "no.such:thing", ()),)}, "is no package.module:callable"),
    ],
)
def test_bad_sweeps_are_refused_before_anything_runs(changes, text) -> None:
    with pytest.raises(ValueError, match=text):
        sweep(**changes)
    assert not CALLS
