"""Sweeps as files, formulas, studies and tables."""

import csv
import json
import pickle
from typing import Any

import numpy as np
import pytest
from thresher.bench.sweeps import spec, table
from thresher.bench.sweeps.formula import Condition, Formula
from thresher.bench.sweeps.mapped import Map
from thresher.bench.sweeps.pareto import hypervolume
from thresher.bench.sweeps.search import Random, Study
from thresher.bench.sweeps.space import Linear, Space
from thresher.bench.sweeps.stages import Measure
from thresher.bench.sweeps.sweep import Sweep
from thresher.bench.sweeps.tools import Layout, Simulate, Synthesise
from thresher.hdl.engine import engine

GOOD = """
engine = "sparse_lstm"
objectives = { cycles = "min", area = "min" }
constraints = ["lut <= 20000"]
slack = 0.1
[derived]
area = "lut + 100 * dsp"
[space]
presets = ["small"]
when = ["lanes * (threshold + 1) <= 32"]
[space.axes]
lanes = [4, 8, 16]
threshold = { range = [0, 4, 2] }
[[stages]]
kind = "simulate"
samples = 3
[[stages]]
kind = "synthesise"
device = "xc7"
[search]
kind = "random"
trials = 4
seed = 3
[limits]
seconds = 60
"""


def test_a_file_is_the_sweep_that_it_says(tmp_path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    found = spec.read(tmp_path / "good.toml")
    sweep = found.sweep()
    assert sweep.stages == [Simulate(samples=3), Synthesise("xc7")]
    assert found.search.made() == Random(4, 3)
    assert sweep.limits.seconds == 60
    assert sorted((c.lanes, c.threshold) for c in sweep.found.configs) == [
        (4, 0), (4, 2), (4, 4), (8, 0), (8, 2), (16, 0),
    ]  # fmt: skip
    assert sum(sweep.found.skipped.values()) == 3


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("[space]", "[space", "is not TOML"),
        ("slack", "slak", "did you mean slack"),
        ("presets", "preset", "did you mean presets"),
        ('kind = "simulate"', 'kind = "simulat"', "did you mean simulate"),
        ("samples", "sample", "did you mean samples"),
        ('"min", area', '"least", area', "objectives.cycles"),
        ("trials = 4", "trials = 0", "search.trials: Input should be greater"),
        ('"random"', '"exhaustive"', "an exhaustive search has no settings"),
        ("lanes = [", "lane = [", "did you mean lanes"),
        ("100 * dsp", "100 * dps", "did you mean dsp"),
        ("100 * dsp", "open('x')", "is none of them"),
        ("lut <= 2", "lut < 2", "is not of the form"),
        ('"xc7"', '"xc8"', "xc7"),
        ("<= 32", "= 32", "condition"),
        ("(threshold", "(treshold", "did you mean threshold"),
    ],
)
def test_bad_files(old, new, text, tmp_path) -> None:
    assert old in GOOD
    (tmp_path / "bad.toml").write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ValueError, match=text):
        spec.read(tmp_path / "bad.toml").sweep()


@pytest.mark.parametrize("name", list(spec.shipped()))
def test_shipped_sweeps_are_sweeps(name) -> None:
    said = spec.read(name)
    sweep = said.sweep()
    assert said.engine == sweep.engine == name
    assert said.summary.strip().endswith(("?", "."))
    assert "estimate" in [stage.name for stage in sweep.stages]
    assert 10 <= len(sweep.found.configs) <= 1000


def test_files_that_are_not_there() -> None:
    assert {"sparse_lstm", "step_grand", "amu", "nm_array", "bcnn_conv"} <= spec.shipped().keys()
    with pytest.raises(ValueError, match=r"there is no file none; those that are shipped: amu, "):
        spec.read("none")


def test_formulas() -> None:
    formula = Formula("max(a, 2) ** 2 / b - log2(8)")
    assert formula({"a": 3, "b": 2}) == 1.5
    assert formula({"a": 3, "b": 0}) is None
    assert formula({"a": 3}) is None
    assert formula.names == {"a", "b"}
    assert pickle.loads(pickle.dumps(formula)) == formula
    assert Condition("1 < a <= 3 and not (kind == 'x' or b)")({"a": 3, "kind": "y", "b": False})
    for text in ("a.b", "__import__('os')", "[a]", "a if b else c", "True", "'x'", "a < 3", ""):
        with pytest.raises(ValueError, match="formula"):
            Formula(text)


def bowl(config):
    x, y = config.lanes / 4, config.threshold
    return {"cycles": (x - 9) ** 2 + y, "lut": (x - 22) ** 2 + (y - 5) ** 2}


def study(search) -> tuple[float, list[str]]:
    space = Space({"lanes": Linear(4, 128, 4), "threshold": Linear(0, 15)}, presets=("small",),
                  fixed={"hidden_size": 128})  # fmt: skip
    stage = Measure("estimate", f"{__name__}:bowl", ("cycles", "lut"), cheap=True)
    sweep = Sweep("sparse_lstm", space, (stage,), {"cycles": "min", "lut": "min"})
    found = sweep.run(search)
    costs = np.array([[t.values["cycles"], t.values["lut"]] for t in found])
    assert len({t.config.model_dump_json() for t in found}) == len(found.trials)
    return hypervolume(costs, [120, 120]), [t.config.model_dump_json() for t in found]


@pytest.mark.parametrize("kind", ["nsga2", "tpe"])
def test_studies_beat_chance_and_repeat_themselves(kind) -> None:
    pytest.importorskip("optuna", reason="needs the extra [sweep]")
    guided = [study(Study(60, kind, seed, batch=10)) for seed in (0, 1, 2)]
    chance = [study(Random(60, seed)) for seed in (0, 1, 2)]
    assert np.mean([g for g, _ in guided]) > np.mean([c for c, _ in chance])
    assert [len(configs) for _, configs in guided] == [60] * 3
    assert study(Study(60, kind, 0, batch=10)) == guided[0]


def test_a_study_ends_where_the_space_does() -> None:
    pytest.importorskip("optuna", reason="needs the extra [sweep]")
    space = Space({"lanes": [4, 8], "threshold": [0, 1]}, presets=("small",))
    stage = Measure("estimate", f"{__name__}:bowl", ("cycles", "lut"), cheap=True)
    sweep = Sweep("sparse_lstm", space, (stage,), {"cycles": "min"})
    assert len(sweep.run(Study(100, batch=3)).trials) == 4


def test_tables(tmp_path) -> None:
    rows = [{"trial": 0, "a": 1, "kind": "x"}, {"trial": 1, "a": 0.5, "b": [1]}]
    with table.write(rows, tmp_path / "t.csv").open() as file:
        assert [row["a"] for row in csv.DictReader(file)] == ["1", "0.5"]
    lines = table.write(rows, tmp_path / "t.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"trial": 1, "a": 0.5, "kind": None, "b": [1]}
    with pytest.raises(ValueError, match="did you mean"):
        table.write(rows, tmp_path / "t.cvs")
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra [sweep]")
    found = parquet.read_table(table.write(rows, tmp_path / "t.parquet")).to_pydict()
    assert found["a"] == [1.0, 0.5]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.jsonl", "t.parquet"]


def test_simulations_are_of_what_was_asked() -> None:
    chosen = engine("sparse_lstm")
    config = chosen.config.preset("small", threshold=2)
    assert Simulate().chosen(chosen, config) == "random"
    with pytest.raises(ValueError, match=r"workload 'char' needs .*hidden_size = .*: fix these in"):
        Simulate("char").chosen(chosen, config)
    fitted = chosen.workloads["char"].configure(config)
    assert Simulate().chosen(chosen, fitted) == Simulate("char").chosen(chosen, fitted) == "char"
    other = config.replace(threshold=3)  # a register of the same RTL
    assert Simulate().key(chosen, config) != Simulate().key(chosen, other)


def test_layout_is_refused_where_no_tool_lays_out() -> None:
    with pytest.raises(ValueError, match="xc7 has resources only"):
        Sweep("sparse_lstm", Space(presets=("small", "default")), (Layout("xc7"),), {"lut": "min"})


def layers() -> object:
    """Two, and their input."""
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 16))
    return net, (torch.zeros(8, 32),)


def test_whole_networks_on_an_engine() -> None:
    stage = Map(f"{__name__}:layers")
    space = Space({"rows": [2, 4], "columns": [4]}, presets=("small",))
    found = Sweep("nm_array", space, [stage], {"network_cycles": "min"}).run()
    assert [trial.error for trial in found] == ["", ""]
    slow, fast = (trial.values for trial in found)
    assert slow["engine_operators"] == fast["engine_operators"] == 2
    assert slow["engine_cycles"] > fast["engine_cycles"] > 0
    assert slow["network_bytes"] == fast["network_bytes"]


def test_networks_that_cannot_be_mapped() -> None:
    def swept(name: str, model: str, **settings: Any) -> None:
        stage = Map(model, **settings)
        Sweep(name, Space(presets=("small", "default")), [stage], {"network_cycles": "min"})

    with pytest.raises(ValueError, match=r"no target of the configurations of fast_sclf.*amu"):
        swept("fast_sclf", "a:b")
    with pytest.raises(ValueError, match=r"there is no file none\.onnx"):
        swept("amu", "none.onnx")
    with pytest.raises(ValueError, match="did you mean exact"):
        swept("amu", "a:b", method="exat")
    with pytest.raises(ValueError, match="budget 'M_X' is neither"):
        swept("amu", "a:b", budget="M_X")
