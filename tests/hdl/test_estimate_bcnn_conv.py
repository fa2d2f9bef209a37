"""Cycles, area and memory of binary networks, told without their hardware."""

import numpy as np
import pytest
from thresher.hdl.bcnn_conv.engine import random_config
from thresher.hdl.bcnn_conv.estimate import estimate, features, samples
from thresher.hdl.bcnn_conv.workloads import pipeline
from thresher.models.bcnn.config import BcnnConfig


@pytest.mark.parametrize("preset", BcnnConfig.presets)
def test_cycles_are_the_interval(preset: str) -> None:
    config = BcnnConfig.preset(preset)
    assert estimate(config)["cycles"] == pipeline(config).interval


@pytest.mark.parametrize("seed", range(10))
def test_cycles_of_any_network_and_of_its_other_folds(seed: int) -> None:
    config = random_config(np.random.default_rng(seed))
    interval = pipeline(config).interval
    assert estimate(config)["cycles"] == interval
    same = estimate(BcnnConfig(**{**config.model_dump(), "lanes": 0, "interval": interval}))
    assert same["cycles"] <= interval


def test_more_lanes_are_no_slower() -> None:
    told = [estimate(BcnnConfig(lanes=lanes))["cycles"] for lanes in range(3, 80)]
    assert told == sorted(told, reverse=True)
    assert len(set(told)) == 9


def test_figures_are_finite() -> None:
    rng = np.random.default_rng(0)
    configs = [BcnnConfig.preset(name) for name in BcnnConfig.presets]
    for config in [*configs, *(random_config(rng) for _ in range(50)), *samples(rng, 10)]:
        told = estimate(config)
        assert all(told[name] > 0 for name in ("cycles", "lut", "ff", "memory_bits"))
        assert all(value < 1e7 for value in told.values())
        assert told["dsp"] == 0
        assert min(features(config).values()) >= 0


MEASURED = {
    ("chain", 0, 52, 1): (861, 1072),
    ("chain", 3, 8, 0): (633, 706),
    ("chain", 6, 9, 1): (581, 756),
    ("drawn", 739605, 9, 0): (442, 565),
    ("residual", 2, 45, 0): (2085, 2437),
    ("residual", 5, 106, 1): (3196, 3105),
    ("residual", 6, 127, 0): (3501, 3421),
    ("residual", 7, 10, 0): (2877, 2228),
    ("residual", 7, 36, 1): (2641, 2383),
    ("residual", 7, 51, 0): (2125, 2463),
}
"""Network, seed, lanes and channels at once: look-up tables and flip-flops that Yosys counts for
Xilinx 7.  DSP blocks were 0 in all of them."""


@pytest.mark.parametrize("given", MEASURED)
def test_area_is_about_what_was_measured(given: tuple[str, int, int, int]) -> None:
    fields = dict(zip(("network", "seed", "lanes", "lanes_in"), given, strict=True))
    told = estimate(BcnnConfig.model_validate(fields))
    lut, ff = MEASURED[given]
    assert told["lut"] == pytest.approx(lut, rel=0.15)
    assert told["ff"] == pytest.approx(ff, rel=0.12)


@pytest.mark.parametrize(("lanes", "bits"), [(3, 17849), (13, 8685), (34, 7467)])
def test_memory_is_about_that_of_the_hardware(lanes: int, bits: int) -> None:
    """A table whose rows are all alike is none."""
    assert bits <= estimate(BcnnConfig(lanes=lanes))["memory_bits"] < 1.06 * bits
