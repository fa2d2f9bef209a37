"""The whole engine beyond what every engine must pass: hand-written programs, overlap, counters."""

from dataclasses import replace

import numpy as np
import pytest
from thresher.hdl.engine import engine
from thresher.hdl.nm_array.workloads import step_program, workload
from thresher.models.nm.config import NmConfig
from thresher.models.nm.layers import linear
from thresher.models.nm.program import Fence, Gemm, Load, Pattern, Store
from thresher.models.nm.random_program import RandomProgram
from thresher.sim import simulate

SMALL = NmConfig.preset("small")


def hold(task, **how):
    report = simulate("nm_array", SMALL, task, **how)
    assert report.holds, report.failures()
    return report


def memory(beats, seed=0):
    shape = beats, SMALL.beat_bits // 32
    return np.random.default_rng(seed).integers(0, 1 << 32, shape, dtype=np.uint32)


def test_loads_products_and_stores_overlap():
    """Tiles in a row take no longer than the slowest unit, but for the first and the last."""
    rows, columns, clusters = 16, SMALL.columns, SMALL.clusters
    size = columns * SMALL.kept * clusters // SMALL.beat_entries
    program = [Load(target="right", words=clusters, pattern=Pattern(0, ((size, 1),)))]
    tiles = 8
    for tile in range(tiles):
        turn, again = tile % 2, tile >= 2
        left = Load(
            pattern=Pattern(64 * turn, ((rows * clusters, 1),)),
            base=turn * rows,
            rows=rows,
            groups=clusters,
            wait=2 if again else 0,
            signal=1,
        )
        product = Gemm(rows=rows, left=turn * rows, half=turn, wait=9 if again else 1, signal=6)
        sums = Store(
            half=turn,
            rows=rows,
            stride=rows,
            pattern=Pattern(256, ((rows * columns // SMALL.beat_sums, 1),)),
            wait=4,
            signal=8,
        )
        program += [left, product, sums]
    task = workload("tiles", SMALL, [*program, Fence(tag=1)], memory(1024))
    hold(task)
    slowest = rows * columns // SMALL.beat_sums
    assert task.cycles < (tiles + 1) * slowest + 100
    assert task.cycles >= tiles * slowest


def test_unknown_instructions_are_dropped():
    task = workload("fence", SMALL, [Fence(tag=5), Fence(tag=6)], memory(1))
    words = np.array([5, task.inputs["program"][0], 7, 6, task.inputs["program"][1]], object)
    task = replace(task, inputs=task.inputs | {"program": words}, cycles=0)
    report = simulate("nm_array", SMALL, task)
    assert report.bit_exact


def test_sparse_products_multiply_what_is_kept():
    config = SMALL.replace(left_depth=1024, right_depth=1024, sums_depth=1024)
    counts = []
    for sparse in (False, True):
        program, operands = step_program(
            config, linear("layer", 32, 16, 256, sparse=sparse), ("forward",)
        )
        task = workload("forward", config, program, memory(operands.end))
        counts.append(task.counters["macs"])
    assert counts[0] * config.kept == counts[1] * config.group


def test_programs_that_do_not_fit_are_refused():
    config = SMALL.replace(right_depth=4, rows=32)
    with pytest.raises(ValueError, match="right_depth = 4"):
        RandomProgram.draw(config, 1, np.random.default_rng(0))


def test_counters_say_what_is_busy():
    report = simulate("nm_array", SMALL, "random", samples=4)
    found = report.registers
    busy = [found[f"{unit}_busy"] for unit in ("load", "gemm", "out")]
    assert all(0 < cycles < report.cycles for cycles in busy)
    assert sum(busy) > report.cycles  # they overlap
    assert engine("nm_array").registers.keys() >= found.keys()
