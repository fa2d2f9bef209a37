"""Estimates of the N:M training array."""

from itertools import pairwise
from math import isfinite

import numpy as np
import pytest
from thresher.hdl.nm_array.engine import ENGINE, random_config
from thresher.hdl.nm_array.estimate import PRODUCT, estimate, samples
from thresher.models.nm.config import NmConfig
from thresher.models.nm.gemm_cycles import load_pace


def _array(rows: int, columns: int, kept: int, group: int, **more: int) -> NmConfig:
    """Memories of the same bits, and a port of at most eight elements."""
    words = min(8, group * rows // kept) // group
    return NmConfig(
        rows=rows, columns=columns, kept=kept, group=group, format="int8", add_stages=1,
        left_depth=1024 // group, right_depth=256 // kept, sums_depth=256,
        port_words=more.get("port_words", words),
    )  # fmt: skip


COUNTED = [
    ((4, 8, 1, 1), (11_859, 10_730, 40)),
    ((4, 16, 1, 1), (16_597, 15_170, 72)),
    ((4, 8, 2, 4), (13_332, 12_069, 40)),
    ((4, 8, 1, 8), (14_331, 14_012, 40)),
    ((4, 8, 2, 8), (14_895, 13_541, 40)),
    ((8, 8, 2, 8), (17_770, 16_728, 72)),
]
"""Rows, columns, kept, group; Yosys' look-up tables, flip-flops and DSP blocks for xc7."""


@pytest.mark.parametrize(("shape", "counts"), COUNTED)
def test_area_is_near_what_yosys_counts(shape, counts) -> None:
    told = estimate(_array(*shape))
    assert told["lut"] == pytest.approx(counts[0], rel=0.02)
    assert told["ff"] == pytest.approx(counts[1], rel=0.02)
    assert told["dsp"] == counts[2]


def test_area_does_not_hang_on_memories() -> None:
    told = estimate(NmConfig.preset("small"))
    assert told["lut"] == pytest.approx(12_834, rel=0.02)
    assert told["ff"] == pytest.approx(12_007, rel=0.02)
    assert told["dsp"] == 40


@pytest.mark.parametrize("shape", [(4, 8, 1, 1), (4, 8, 2, 4), (16, 16, 2, 8), (8, 16, 4, 8)])
def test_cycles_are_passes_of_all_rows_and_one_way_through(shape) -> None:
    config = _array(*shape)
    deep = config.clusters * config.group
    passes = -(-PRODUCT // deep) * -(-PRODUCT // config.columns)
    streaming = PRODUCT * passes
    rest = config.clusters * load_pace(config) + config.rows + config.columns + 16
    assert streaming < estimate(config)["cycles"] <= streaming + rest


def test_more_macs_are_faster_and_larger() -> None:
    for few, many in pairwise([_array(4, 8, 2, 8), _array(8, 8, 2, 8), _array(16, 16, 2, 8)]):
        before, after = estimate(few), estimate(many)
        assert after["cycles"] < before["cycles"]
        assert all(after[name] > before[name] for name in ("lut", "ff", "dsp"))


def test_larger_groups_take_more_tables_and_registers() -> None:
    told = [estimate(_array(8, 16, 1, group)) for group in (1, 4, 8)]
    for small, large in pairwise(told):
        assert large["lut"] > small["lut"]
        assert large["ff"] > small["ff"]


def test_floating_point_is_larger() -> None:
    fields = {"rows": 8, "columns": 8, "kept": 2, "group": 8, "port_words": 1}
    integer = estimate(NmConfig.model_validate({**fields, "format": "int8", "add_stages": 1}))
    half = estimate(NmConfig.model_validate({**fields, "format": "fp16", "add_stages": 4}))
    assert half["lut"] > integer["lut"] + 64 * 400
    assert half["ff"] > integer["ff"] + 64 * 150


def test_memory_is_the_core_s() -> None:
    config = _array(4, 8, 1, 1)
    assert estimate(config)["memory_bits"] == 4 * 1024 * 8 + 8 * 256 * 8 + 2 * 8 * 256 * 32


def test_figures_are_finite_and_positive() -> None:
    random = np.random.default_rng(0)
    configs = [NmConfig.preset(name) for name in NmConfig.presets]
    for config in [*configs, *(random_config(random) for _ in range(50)), *samples(random, 18)]:
        told = ENGINE.estimate(config) if ENGINE.estimate else {}
        assert {"cycles", "lut", "ff", "dsp", "memory_bits"} <= told.keys()
        assert all(isfinite(value) and value > 0 for value in told.values())
