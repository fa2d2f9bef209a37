"""Estimates of engines in closed form: against Yosys' counts, cycle formulas, and each other."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np
import pytest
from thresher.bench.sweeps.estimate import estimated
from thresher.hdl.engine import engine
from thresher.hdl.estimates import Fit
from thresher.hdl.sparse_lstm.cycles import timing
from thresher.models.sparse_lstm import golden
from thresher.models.sparse_lstm.config import SparseLstmConfig
from thresher.models.sparse_lstm.workloads import random as random_task


def test_a_fit_is_a_weighted_sum() -> None:
    assert Fit({"a": 0.5, "b": 2.0})({"a": 5, "b": 1, "c": 100}) == 4


@pytest.mark.parametrize("name", estimated())
def test_every_configuration_has_figures(name) -> None:
    chosen, random = engine(name), np.random.default_rng(0)
    configs = [chosen.config.preset(preset) for preset in chosen.config.presets]
    configs += [chosen.random_config(random) for _ in range(30)]
    for config in configs:
        found = chosen.estimate(config)
        assert {"cycles", "lut", "ff", "dsp", "memory_bits"} <= found.keys()
        assert all(isfinite(value) and value >= 0 for value in found.values())
        assert min(found["cycles"], found["lut"], found["ff"]) > 0


_NARROW = {"cell_frac": 8, "accumulator_bits": 21}
_SIX = {"weight_bits": 6, "weight_frac": 5, "input_weight_frac": 5, "input_bits": 6,
        "input_frac": 5, "state_bits": 6}  # fmt: skip
COUNTED: list[tuple[str, Mapping[str, Any], tuple[int, int, int]]] = [
    ("sparse_lstm", {"input_size": 38, "hidden_size": 25, "lanes": 84, "accumulator_bits": 18,
                     "gate_bits": 7, "cell_bits": 12, "cell_frac": 8}, (842, 3322, 87)),
    ("sparse_lstm", {"input_size": 63, "hidden_size": 31, "lanes": 44, "elements": 4,
                     "cell_bits": 11, **_NARROW}, (2159, 3589, 56)),
    ("sparse_lstm", {"input_size": 59, "hidden_size": 81, "lanes": 40, "banks": 2, "elements": 4,
                     "cell_bits": 14, **_NARROW}, (2629, 2992, 52)),
    ("sparse_lstm", {"input_size": 48, "hidden_size": 124, "lanes": 72, "accumulator_bits": 23,
                     "cell_bits": 14, "cell_frac": 8, **_SIX}, (1557, 4027, 75)),
]  # fmt: skip
"""Engines, fields, and Yosys' look-up tables, flip-flops and DSP blocks for xc7."""


@pytest.mark.parametrize(("name", "fields", "counts"), COUNTED)
def test_area_is_near_what_yosys_counts(name, fields, counts) -> None:
    chosen = engine(name)
    told = chosen.estimate(chosen.config(**fields))
    assert told["lut"] == pytest.approx(counts[0], rel=0.15)
    assert told["ff"] == pytest.approx(counts[1], rel=0.08)
    assert told["dsp"] == counts[2]


@pytest.mark.parametrize(("lanes", "elements"), [(16, 1), (64, 1), (64, 4)])
def test_steps_of_an_lstm_that_skips_nothing(lanes, elements) -> None:
    config = SparseLstmConfig(
        hidden_size=64, lanes=lanes, elements=elements, skip_inputs=False, skip_states=False
    )
    task = random_task(config, 8)
    ends = timing(golden.run(config, task.parameters, task.steps)).ends
    step = max(np.diff(ends))  # others begin a sequence, and have no states to multiply
    told = engine("sparse_lstm").estimate(config)["cycles"]
    assert told <= step <= told + 20  # what the cells of a step take before the next begins


@pytest.mark.parametrize(
    ("limits", "cores"), [((9, 9, 9), 1), ((23, 19, 23, 13), 2), ((32, 23, 32, 17, 17), 1)]
)
def test_words_that_no_pattern_mends(limits, cores) -> None:
    config = engine("step_grand").config(
        length=64, checks=12, lanes=64, prefixes=(), reach=0, limits=limits, cores=cores
    )
    one = config.replace(cores=1)
    estimate = engine("step_grand").estimate
    assert estimate(config)["cycles"] == max(config.staircase.worst_cycles(p) for p in (0, 1))
    assert estimate(config)["cycles"] == estimate(one)["cycles"]
    assert (estimate(config)["lut"] > estimate(one)["lut"]) == (cores > 1)
