"""Counting simulated frames."""

from types import SimpleNamespace

from thresher.bench import _runs
from thresher.hdl.engine import engine


def test_frames_are_counted_and_one_failure_spoils_all(monkeypatch):
    told, asked, failures = [], [], iter(([], [], ["counter words is 4, expected 3"]))

    def simulate(engine, config, workload, **how):
        asked.append((engine.name, workload, *how.values()))
        registers = {"words": 5, "lost": 2}
        return SimpleNamespace(registers=registers, failures=lambda: next(failures))

    monkeypatch.setattr(_runs, "simulate", simulate)
    runs = _runs.Runs(told.append, "words", "lost")
    config = engine("orbgrand").config()
    runs("orbgrand", config, "corners", 5)
    runs("orbgrand", config, SimpleNamespace(name="own"), None, "random", 7)
    assert (runs.frames, runs.failed, runs.row("all", 10).holds) == (10, 4, True)
    assert runs.row("all", 11).holds is False
    assert told == ["orbgrand: corners", "orbgrand: own, stalls random"]
    assert asked[0][:2] == ("orbgrand", "corners")
    assert sorted(map(str, asked[1][2:])) == ["7", "None", "random"]
    runs("orbgrand", config, "corners", 5)
    row = runs.row("all", 0)
    assert row.measured == 0
    assert row.reference == "orbgrand: corners: counter words is 4, expected 3"
