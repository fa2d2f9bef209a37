"""Estimates of the table lookup engine."""

from collections.abc import Mapping
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
import pytest
from thresher.hdl.amu.cycles import timing
from thresher.hdl.amu.engine import ENGINE, random_config
from thresher.hdl.amu.estimate import estimate, features, samples
from thresher.hdl.amu.shape import Shape
from thresher.hdl.amu.stores import Kept, Place, written
from thresher.models.amu.config import AmuConfig
from thresher.sim import simulate

_ROWS = 256

Counts = Mapping[str, Any]

_LOADED = {"input_bits": 8, "output_bits": 8, "shift": 4}
_FIXED = {"contents": "fixed"}
MEASURED: list[tuple[Counts, Counts]] = [
    (
        {"codebooks": 47, "levels": 5, "outputs": 79, "parallel_codebooks": 2,
         "parallel_outputs": 2, "table_bits": 5, **_LOADED},
        {"lut": 309, "ff": 434, "bram": 42, "lutram": 60},
    ),
    (
        {"codebooks": 28, "levels": 3, "outputs": 68, "parallel_codebooks": 8,
         "parallel_outputs": 1, "table_bits": 5, **_LOADED},
        {"lut": 476, "ff": 622, "bram": 16, "lutram": 148},
    ),
    (
        {"codebooks": 63, "levels": 4, "outputs": 96, "parallel_codebooks": 16,
         "parallel_outputs": 2, "table_bits": 8, **_LOADED},
        {"lut": 1278, "ff": 1380, "bram": 48, "lutram": 280},
    ),
    (
        {"codebooks": 19, "levels": 4, "outputs": 82, "parallel_codebooks": 16,
         "parallel_outputs": 16, "table_bits": 6, **_LOADED},
        {"lut": 2703, "ff": 4757, "bram": 48, "lutram": 408},
    ),
    (
        {"codebooks": 7, "levels": 4, "outputs": 17, "parallel_codebooks": 7,
         "parallel_outputs": 17, "table_bits": 6, "seed": 954, **_FIXED},
        {"lut": 1072, "ff": 1661, "bram": 0, "lutram": 0},
    ),
    (
        {"codebooks": 9, "levels": 5, "outputs": 11, "parallel_codebooks": 9,
         "parallel_outputs": 11, "table_bits": 9, "seed": 796, **_LOADED, **_FIXED},
        {"lut": 1357, "ff": 2359, "bram": 0, "lutram": 0},
    ),
]  # fmt: skip
"""Configurations, and Yosys' counts of them for xc7."""


@pytest.mark.parametrize(("fields", "counts"), MEASURED)
def test_area_is_near_what_yosys_counts(fields: Counts, counts: Counts) -> None:
    told = estimate(AmuConfig(**fields))
    assert told["lut"] == pytest.approx(counts["lut"], rel=0.15)
    assert told["ff"] == pytest.approx(counts["ff"], rel=0.06)
    assert (told["dsp"], told["bram"], told["lutram"]) == (0, counts["bram"], counts["lutram"])


def test_where_memories_go() -> None:
    assert written(Kept(1, 72, 1)) == Place()
    assert written(Kept(1, 6, 32)) == Place(tables=4)
    assert written(Kept(1, 3, 64)) == Place(tables=4)
    assert written(Kept(1, 64, 64)).tables == 88
    assert written(Kept(1, 64, 64, parts=16)).tables == 128
    assert written(Kept(1, 64, 144)) == Place(blocks=2)
    assert written(Kept(1, 16, 140)).blocks == 1
    assert written(Kept(1, 4, 14_208)).blocks == 4


def test_cycles_are_those_of_the_default_workload() -> None:
    for fields in ({}, {"parallel_outputs": 4, "output_bits": 8}):
        config = AmuConfig.preset("small", **fields)
        assert estimate(config)["cycles"] == simulate(ENGINE, config).cycles


def test_cycles_of_any_engine() -> None:
    rng = np.random.default_rng(1)
    for config in (random_config(rng) for _ in range(50)):
        exact, told = timing(Shape(config), _ROWS).cycles, estimate(config)["cycles"]
        assert told == exact or (Shape(config).unrolled and exact <= told <= exact + 8)


def test_figures_are_finite_and_positive() -> None:
    rng = np.random.default_rng(0)
    configs = [AmuConfig.preset(name) for name in AmuConfig.presets]
    for config in [*configs, *(random_config(rng) for _ in range(50)), *samples(rng, 20)]:
        told = estimate(config)
        assert all(isfinite(value) and value >= 0 for value in told.values())
        assert min(told["cycles"], told["lut"], told["ff"]) > 0
        assert (told["memory_bits"] == 0) == Shape(config).unrolled
        assert min(features(config).values()) >= 0


@pytest.mark.parametrize("name", ["parallel_outputs", "parallel_codebooks"])
def test_more_at_once_is_faster_and_larger(name: str) -> None:
    told = [
        estimate(AmuConfig(codebooks=32, outputs=32, output_bits=8, **{name: at_once}))
        for at_once in (4, 8, 16)
    ]
    for slow, fast in pairwise(told):
        assert fast["cycles"] < slow["cycles"]
        assert fast["lut"] > slow["lut"]
        assert fast["ff"] > slow["ff"]


def test_memory_is_all_that_is_loaded() -> None:
    config = AmuConfig(codebooks=4, levels=2, outputs=3, parallel_codebooks=4, parallel_outputs=3)
    thresholds, tables, biases = 4 * (8 + 2 * 8), 4 * 4 * 3 * 8, 3 * 16
    assert estimate(config)["memory_bits"] == thresholds + tables + biases
