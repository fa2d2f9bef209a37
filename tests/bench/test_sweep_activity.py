"""Toggles as figures of a sweep, and as a table of the command."""

import json

import pytest
from thresher.bench.sweeps import spec
from thresher.bench.sweeps.stages import check
from thresher.bench.sweeps.tools import Simulate
from thresher.cli import main
from thresher.hdl.engine import engine

SPEC = """
engine = "sore"
objectives = { cycles = "min", toggles = "min" }
[space]
presets = ["small"]
[space.axes]
format = ["int8"]
[[stages]]
kind = "simulate"
samples = 1
activity = true
"""


@pytest.fixture
def trial(tmp_path, monkeypatch):
    (tmp_path / "sore.toml").write_text(SPEC)
    sweep = spec.read(tmp_path / "sore.toml").sweep()
    assert sweep.stages == [Simulate(samples=1, activity=True)]
    (found,) = sweep.run()
    assert found.state == "done"
    return found


def test_toggles_are_an_objective(trial) -> None:
    values = trial.records[0].values
    assert values["toggles"] > 0
    parts = [count for name, count in values.items() if name.startswith("toggles.")]
    assert sum(parts) == values["toggles"]
    assert 0 < values["toggles_per_cycle"] < values["toggles"]
    assert values["cycles"] > 0


def test_only_a_stage_that_counts_gives_toggles(tmp_path) -> None:
    assert "toggles" in check([Simulate(activity=True)], engine("sore"))
    assert "toggles" not in check([Simulate()], engine("sore"))
    (tmp_path / "sore.toml").write_text(SPEC.replace("activity = true", ""))
    with pytest.raises(ValueError, match="toggles"):
        spec.read(tmp_path / "sore.toml").sweep()


def test_the_command_shows_them_by_submodule(capsys) -> None:
    flags = ["simulate", "sore", "--preset", "small", "--samples", "1", "--activity"]
    assert main(flags) == 0
    shown = capsys.readouterr().out
    assert "register toggles" in shown
    assert "100.0%" in shown
    assert main([*flags, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["activity"]
    assert found["toggles"] == sum(part["toggles"] for part in found["parts"].values())
    assert main([*flags, "--backend", "amaranth"]) == 1
    assert "verilator" in capsys.readouterr().err
