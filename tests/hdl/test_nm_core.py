# amaranth: UnusedElaboratable=no
"""The compute core alone: any instructions on random memories, bit for bit and cycle for cycle."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from thresher.bench._nm_core import Fed, Memories, Ran, left_reads, simulate
from thresher.hdl.nm_array.array import Array
from thresher.models import floating
from thresher.models.nm.config import NmConfig
from thresher.models.nm.gemm_cycles import GemmCycles, Times, Timing
from thresher.models.nm.program import Dataflow, Gemm
from thresher.sim import stalls

DEPTH = 48
INT8 = {"format": "int8", "add_stages": 1}
SHAPES = {
    "int8": {"rows": 4, "columns": 4, "kept": 2, "group": 4, **INT8},
    "fp16": {"rows": 2, "columns": 2, "kept": 1, "group": 2, "add_stages": 3, "port_words": 2},
    "dense": {"rows": 8, "columns": 4, "kept": 1, "group": 1, "port_words": 4, **INT8},
    "tall": {"rows": 12, "columns": 4, "kept": 1, "group": 4, "port_words": 2, **INT8},
    "one cluster": {"rows": 4, "columns": 8, "kept": 4, "group": 8, **INT8},
    "bf16": {"rows": 8, "columns": 4, "kept": 2, "group": 2, "format": "bf16", "port_words": 2},
}
QUICK = ("int8", "fp16")
"""Every other shape takes half a minute to build."""
NAMES = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in SHAPES]


@cache
def fed(name: str) -> Fed:
    depths = {"left_depth": DEPTH, "right_depth": DEPTH, "sums_depth": DEPTH}
    return Fed(NmConfig(**{"port_words": 1} | SHAPES[name] | depths))


class Numbers:
    """Operands and sums of a format, drawn at random and multiplied as documented."""

    def __init__(self, config: NmConfig, rng: np.random.Generator):
        self.config, self.rng = config, rng
        self.float = floating.FORMATS.get(config.format)

    def draw(self, *shape: int) -> np.ndarray:
        """Bits of operands: all, or mostly moderate floating-point numbers."""
        noise = self.rng.integers(1 << self.config.element_bits, size=shape)
        if self.float is None:
            return noise
        moderate = floating.encode(self.rng.normal(size=shape).astype(np.float32), self.float)
        return np.where(self.rng.random(shape) < 0.005, noise, moderate)

    def values(self, bits: np.ndarray) -> np.ndarray:
        if self.float is None:
            return bits.astype(np.uint8).view(np.int8).astype(np.int64)
        return floating.decode(bits, self.float)

    def add(self, sums: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return sums + left * right if self.float is None else floating.fma(sums, left, right)

    def bits(self, sums: np.ndarray) -> np.ndarray:
        if self.float is None:
            return sums & 0xFFFFFFFF
        return floating.encode(sums, floating.FP32)


class Reference:
    """The effect of instructions on local memories, straight from their definition."""

    def __init__(self, config: NmConfig, numbers: Numbers, memories: Memories):
        self.config, self.numbers = config, numbers
        self.left, self.values = numbers.values(memories.left), numbers.values(memories.values)
        self.indices = memories.indices
        kind = np.int64 if numbers.float is None else np.float32
        self.sums = np.zeros((2, config.sums_depth, config.columns), kind)

    def run(self, gemm: Gemm) -> None:
        (self._weight if gemm.dataflow == "weight" else self._output)(gemm)

    def _weight(self, x: Gemm) -> None:
        c = self.config
        for f in range(x.folds):
            for t in range(x.tiles):
                rows = np.arange(x.rows)
                here = x.sums + t * x.rows + rows
                sums = (
                    self.sums[x.half, here]
                    if f or x.accumulate
                    else np.zeros_like(self.sums[0, here])
                )
                for g in range(c.clusters):
                    words = self.left[g, x.left + rows * (x.folds // x.repeat) + f // x.repeat]
                    entry = x.right + (t * x.folds + f) * c.clusters + g
                    for j in range(c.kept):
                        taken = words[:, self.indices[:, entry, j]]
                        sums = self.numbers.add(sums, taken, self.values[:, entry, j])
                self.sums[x.half, here] = sums

    def _output(self, x: Gemm) -> None:
        c = self.config
        g, i = np.arange(c.clusters)[:, None], np.arange(c.interleave)
        column, j = np.arange(c.columns)[:, None], np.arange(c.kept)
        for y in range(x.rows):
            for t in range(x.tiles):
                sums = np.zeros((c.clusters, c.interleave, c.columns, c.kept), self.sums.dtype)
                for q in range(x.folds):
                    words = self.left[g, x.left + (y * c.interleave + i) * x.folds + q]
                    for s in range(x.repeat):
                        entry = x.right + (t * x.folds + q) * x.repeat + s
                        taken = words[:, :, self.indices[:, entry]]
                        sums = self.numbers.add(sums, taken, self.values[:, entry])
                row = (y * c.interleave + i) * c.clusters + g
                rows = x.rows * c.interleave * c.clusters
                here = x.sums + (t * c.kept + j) * rows + row[:, :, None, None]
                self.sums[x.half, here, column] = sums


def draw(
    config: NmConfig, rng: np.random.Generator, dataflow: Dataflow, before: Gemm | None
) -> Gemm:
    """An instruction that fits the memories; often one that goes on from the one before."""
    c, weight = config, dataflow == "weight"
    while True:
        dense = bool(rng.integers(2))
        repeat = (c.group // c.kept if dense else 1) if weight else (c.group if dense else c.kept)
        most = (10, 4, 4) if weight else (3, 3, 5)
        rows, tiles, folds = (int(rng.integers(1, n)) for n in most)
        goes_on = before is not None and weight and rng.random() < 0.4
        if goes_on and before is not None:
            rows, tiles = before.rows, before.tiles
        folds *= repeat if weight else 1
        left = rows * folds // repeat if weight else rows * c.interleave * folds
        right = tiles * folds * (c.clusters if weight else repeat)
        sums = tiles * rows * (1 if weight else c.kept * c.interleave * c.clusters)
        if max(left, right, sums) > DEPTH:
            continue
        base = {
            name: int(rng.integers(DEPTH - size + 1))
            for name, size in (("left", left), ("right", right), ("sums", sums))
        }
        gemm = Gemm(dataflow=dataflow, rows=rows, tiles=tiles, folds=folds, repeat=repeat,
                    half=int(rng.integers(2)), **base)  # fmt: skip
        if goes_on and before is not None and before.sums + sums <= DEPTH:
            return replace(gemm, accumulate=True, sums=before.sums, half=before.half)
        return replace(gemm, accumulate=weight and bool(rng.random() < 0.3))


def program(config: NmConfig, rng: np.random.Generator, length: int) -> list[Gemm]:
    """Random instructions; dataflows change now and then."""
    gemms: list[Gemm] = []
    flow: Dataflow = "weight"
    for _ in range(length):
        if rng.random() < 0.3:
            flow = "output" if flow == "weight" else "weight"
        gemms.append(draw(config, rng, flow, gemms[-1] if gemms else None))
    return gemms


def memories(config: NmConfig, numbers: Numbers) -> Memories:
    """Full of random words, whose indices need not ascend."""
    right = config.columns, DEPTH, config.kept
    return Memories(
        numbers.draw(config.clusters, DEPTH, config.group),
        numbers.draw(*right),
        numbers.rng.integers(config.group, size=right),
    )


def hold_cycles(config: NmConfig, gemms: list[Gemm], ran: Ran) -> None:
    """Everything happened in the cycle that the model says."""
    cycles = GemmCycles(config)
    ends = np.cumsum([left_reads(config, gemm) for gemm in gemms])
    for gemm, taken, finished, reads in zip(
        gemms, ran.taken, ran.finished, np.split(ran.multiplies, ends), strict=False
    ):
        assert taken >= cycles.ready
        assert cycles.times(gemm, taken) == Times(taken, reads[0], reads[-1], finished)
    assert ran.macs == ends[-1] * config.rows * config.columns
    assert ran.busy <= ran.finished[-1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_random_instructions(name, seed):
    """Sums bit for bit, after a reset too; transfers, reads and ends cycle for cycle."""
    component = fed(name)
    config = component.config
    rng = np.random.default_rng(seed)
    numbers = Numbers(config, rng)
    held, gemms = memories(config, numbers), program(config, rng, 40)
    options = {}
    if seed == 1:
        options["stalls"] = {"gemm": stalls.pattern("random", "gemm", seed)}
    if seed == 2:  # what is in the sums memory survives a reset
        options["reset_at"] = 700
        gemms = [replace(gemm, accumulate=False) for gemm in gemms]
    reference = Reference(config, numbers, held)
    for gemm in gemms:
        reference.run(gemm)
    ran = simulate(component, held, gemms, single=bool(seed % 2), **options)
    np.testing.assert_array_equal(ran.sums, numbers.bits(reference.sums))
    hold_cycles(config, gemms, ran)
    if seed != 1:  # each one was taken as soon as there was room
        cycles = GemmCycles(config)
        for gemm, taken in zip(gemms, ran.taken, strict=True):
            assert taken == cycles.ready
            cycles.run(gemm, cycles.ready)


@pytest.mark.parametrize("name", NAMES)
def test_the_array_never_waits_between_long_passes(name):
    component = fed(name)
    config = component.config
    rng = np.random.default_rng(0)
    held = memories(config, Numbers(config, rng))
    rows = max(Array(config).fold_period, config.rows * config.interleave + 4)
    weight = [Gemm(rows=rows, folds=2, accumulate=x) for x in (False, True, True)]
    steps = -(-Array(config).tile_period // config.interleave)
    output = [
        Gemm(dataflow="output", rows=1, tiles=2, folds=-(-steps // config.kept), repeat=config.kept)
    ] * 3
    for gemms in (weight, output):
        ran = simulate(component, held, gemms)
        np.testing.assert_array_equal(np.diff(ran.multiplies), 1)
        hold_cycles(config, gemms, ran)


@pytest.mark.parametrize("name", SHAPES)
def test_timing_is_the_arrays(name):
    config = fed(name).config
    array, timing = Array(config), Timing.of(config)
    for field in fields(Timing):
        assert getattr(timing, field.name) == getattr(array, field.name), field.name
