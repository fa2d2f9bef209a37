from itertools import permutations
from typing import Any

import numpy as np
import pytest
from thresher.models import floating
from thresher.models.nm import layout
from thresher.models.nm.config import NmConfig
from thresher.models.nm.execute import ProgramError, addresses, execute
from thresher.models.nm.gemm import dense, gemm, sparse
from thresher.models.nm.program import Fence, Gemm, Instruction, Load, Pattern, Store, Update

SMALL = NmConfig.preset("small")  # 2 clusters, 8 columns, 2:4
FLOAT = NmConfig(
    rows=8, columns=8, kept=2, group=4, format="fp16", add_stages=3, left_depth=64,
    right_depth=128, sums_depth=128, port_words=2,
)  # fmt: skip


class Memory:
    """External memory that grows; :meth:`put` gives addresses."""

    def __init__(self, config: NmConfig) -> None:
        self.beats = np.zeros((0, config.beat_bits // 32), np.uint32)

    def put(self, beats: np.ndarray) -> int:
        at = len(self.beats)
        self.beats = np.concatenate([self.beats, beats])
        return at

    def room(self, count: int) -> int:
        return self.put(np.zeros((count, self.beats.shape[1]), np.uint32))


def run(pattern: int, count: int) -> Pattern:
    return Pattern(pattern, ((count, 1),))


def operand(config: NmConfig, random: np.random.Generator, *shape: int) -> np.ndarray:
    if config.format == "int8":
        return random.integers(-128, 128, shape).astype(np.int8)
    return floating.narrow(random.normal(size=shape), floating.FORMATS[config.format])


def some_mask(config: NmConfig, random: np.random.Generator, size: int, columns: int) -> np.ndarray:
    scores = random.random((size // config.group, config.group, columns))
    return (scores.argsort(1).argsort(1) < config.kept).reshape(size, columns)


def product(
    config: NmConfig, left: np.ndarray, weights: np.ndarray, mask: Any, dataflow: Any, half: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Sums by a program that loads both operands, multiplies once and stores."""
    c, memory = config, Memory(config)
    rows, size = left.shape
    columns = weights.shape[1]
    groups, tiles = size // c.group, columns // c.columns
    at_left = memory.put(layout.from_words(c, layout.bits(c, left)))
    at_right = memory.put(layout.right_operand(c, dataflow, weights, mask))
    program: list[Instruction] = [
        Load(pattern=run(at_left, rows * groups // c.port_words), dataflow=dataflow, rows=rows,
             groups=groups, base=3, signal=1)
    ]  # fmt: skip
    beat = c.beat_entries
    if dataflow == "weight":
        repeat = 1 if mask is not None else c.group // c.kept
        folds = groups // c.clusters * repeat
        pair = c.columns * c.kept // beat  # beats of a word
        span = groups * repeat * pair
        for t in range(tiles):
            for f in range(folds):
                b, s = divmod(f, repeat)
                start = at_right + t * span + (b * c.clusters * repeat + s) * pair
                pattern = Pattern(start, ((c.clusters, repeat * pair), (pair, 1)))
                base = 5 + (t * folds + f) * c.clusters
                program.append(
                    Load(target="right", pattern=pattern, base=base, words=c.clusters, signal=2)
                )
        shape = {"rows": rows, "tiles": tiles, "folds": folds, "repeat": repeat}
        loads = tiles * folds
    else:
        repeat = c.kept if mask is not None else c.group
        pair = c.columns // beat
        span = groups * repeat * pair
        for j in range(c.kept):
            pattern = Pattern(at_right + j * span, ((tiles // c.kept, c.kept * span), (span, 1)))
            words = tiles // c.kept * groups * repeat
            program.append(
                Load(target="right", pattern=pattern, base=5, words=words, entry=j, signal=2)
            )
        turns = rows // c.clusters // c.interleave
        shape = {"rows": turns, "tiles": tiles // c.kept, "folds": groups, "repeat": repeat}
        loads = c.kept
    program += [Fence(wait=2, tag=x) for x in range(loads - 1)]
    program += [
        Gemm(dataflow=dataflow, left=3, right=5, sums=2, half=half, wait=3, signal=4, **shape),
    ]
    beats = tiles * rows * c.columns // c.beat_sums
    at = memory.room(beats)
    program += [
        Store(pattern=run(at, beats), sums=2, half=half, rows=rows, stride=rows, blocks=tiles,
              wait=4),
    ]  # fmt: skip
    trace = execute(c, program, memory.beats)
    assert trace.done == tuple(range(loads - 1))
    assert np.array_equal(trace.writes, memory.beats[at:])
    found = layout.sums(c, trace.writes).reshape(tiles, rows, c.columns)
    return found.swapaxes(0, 1).reshape(rows, columns), trace.data


@pytest.mark.parametrize("sparse_one", [True, False])
@pytest.mark.parametrize("dataflow", ["weight", "output"])
def test_integer_products_are_numpys(dataflow: Any, sparse_one: bool):
    random = np.random.default_rng(2)
    left, weights = operand(SMALL, random, 6, 16), operand(SMALL, random, 16, 16)
    mask = some_mask(SMALL, random, 16, 16) if sparse_one else None
    found, _ = product(SMALL, left, weights, mask, dataflow, half=1)
    kept = weights if mask is None else np.where(mask, weights, 0)
    assert np.array_equal(found, left.astype(np.int32) @ kept.astype(np.int32))


@pytest.mark.parametrize("sparse_one", [True, False])
@pytest.mark.parametrize("dataflow", ["weight", "output"])
def test_floating_products_are_in_the_stated_order(dataflow: Any, sparse_one: bool):
    random = np.random.default_rng(3)
    left, weights = operand(FLOAT, random, 12, 32), operand(FLOAT, random, 32, 16)
    mask = some_mask(FLOAT, random, 32, 16) if sparse_one else None
    made = dense(FLOAT, dataflow, weights) if mask is None else sparse(FLOAT, weights, mask)
    found, data = product(FLOAT, left, weights, mask, dataflow)
    assert np.array_equal(found.view(np.uint32), gemm(left, *made).view(np.uint32))
    assert len(data) == 12 * 8 // 2 + len(layout.right_operand(FLOAT, dataflow, weights, mask))


def stored(config: NmConfig, sums: np.ndarray, **how: Any) -> np.ndarray:
    """Beats of a store of ``sums`` [rows, columns], which a product by a unit matrix makes."""
    memory = Memory(config)
    rows, columns = sums.shape
    size = config.clusters * config.group
    left = np.zeros((rows, size), sums.dtype)
    left[:, : columns // (columns // size)] = sums[:, :size]
    assert columns == size
    at_left = memory.put(layout.from_words(config, layout.bits(config, left)))
    eye = layout.right_operand(config, "weight", np.eye(size).astype(sums.dtype))
    at_right = memory.put(eye)
    groups, repeat = size // config.group, config.group // config.kept
    pair = config.columns * config.kept // config.beat_entries
    tiles = columns // config.columns
    at = memory.room(64)
    count = how.pop("beats")
    program: list[Instruction] = [
        Load(pattern=run(at_left, rows * groups // config.port_words), rows=rows, groups=groups)
    ]
    for t in range(tiles):
        loops = ((repeat, pair), (groups, repeat * pair), (pair, 1))
        pattern = Pattern(at_right + t * groups * repeat * pair, loops)
        words = groups * repeat
        program.append(Load(target="right", pattern=pattern, base=t * words, words=words))
    program += [
        Gemm(rows=rows, tiles=tiles, folds=repeat, repeat=repeat),
        Store(pattern=run(at, count), rows=rows, stride=rows, blocks=tiles, **how),
    ]
    return execute(config, program, memory.beats).writes


def test_what_is_stored_comes_back_as_operands():
    random = np.random.default_rng(4)
    c = FLOAT.replace(columns=16, left_depth=128)
    sums = operand(c, random, 8, 16)  # k x n, or rows x k
    bits = layout.bits(c, sums)
    words = 8 * 16 // c.group // c.port_words
    found = layout.words(c, stored(c, sums, format="rows", beats=words))
    assert np.array_equal(found.reshape(8, 16), bits)
    # A beat of two columns' words of four rows each.
    found = layout.words(c, stored(c, sums, format="columns", beats=words))
    assert np.array_equal(found.reshape(2, 16, 4).transpose(0, 2, 1).reshape(8, 16), bits)
    entries = 8 * 16 // c.beat_entries
    for format, dataflow in (("words", "weight"), ("entries", "output")):
        found = stored(c, sums, format=format, beats=entries)
        assert np.array_equal(found, layout.right_operand(c, dataflow, sums)), format  # type: ignore
    found = layout.words(c, stored(c, sums, format="rows", relu=True, beats=words))
    want = np.where(sums < 0, np.float32(0), sums)
    assert np.array_equal(found.reshape(8, 16), layout.bits(c, want))
    assert (found != 0x8000).all()


def test_integers_are_rounded_to_even_and_saturate():
    c = SMALL
    sums = np.array([[127, -127, 6, -6, 5, -5, 2, -2]] * 4, np.int8)
    found = layout.words(c, stored(c, sums, format="rows", shift=2, beats=8))
    want = np.rint(sums / 4).astype(np.int8)
    assert np.array_equal(layout.values(c, found).reshape(4, 8), want)


@pytest.mark.parametrize("dataflow", ["weight", "output"])
def test_rows_in_a_beat_are_the_transpose_of_a_store_by_columns(dataflow: Any):
    """X^T X by a left operand whose beats are of several rows' words."""
    random = np.random.default_rng(5)
    c, memory = FLOAT, Memory(FLOAT)
    x = operand(c, random, 16, 24)  # reduction, rows
    by_columns = layout.bits(c, x).reshape(4, 4, 12, 2).transpose(2, 0, 3, 1)
    at_left = memory.put(layout.from_words(c, by_columns))
    at_right = memory.put(layout.right_operand(c, "output", x))
    at = memory.room(24 * 24 // c.beat_sums)
    rows, repeat = 24, c.group
    program: list[Instruction] = [
        Load(pattern=run(at_left, 48), dataflow=dataflow, rows_in_beat=True, rows=rows, groups=4),
    ]
    if dataflow == "output":
        turns = rows // c.clusters // c.interleave
        for t in range(3):
            beats = 16 * c.columns // c.beat_entries
            pattern = run(at_right + t * beats, beats)
            base = t // 2 * 16
            program.append(Load(target="right", pattern=pattern, base=base, words=16, entry=t % 2))
        program.append(Gemm(dataflow="output", rows=turns, tiles=2, folds=4, repeat=repeat))
    else:
        repeat, pair = c.group // c.kept, c.columns * c.kept // c.beat_entries
        words = layout.right_operand(c, "weight", x)
        memory.beats[at_right : at_right + len(words)] = words
        for t in range(3):
            loops = ((repeat, pair), (4, repeat * pair), (pair, 1))
            pattern = Pattern(at_right + t * 4 * repeat * pair, loops)
            program.append(Load(target="right", pattern=pattern, base=t * 8, words=8))
        program.append(Gemm(rows=rows, tiles=3, folds=repeat, repeat=repeat))
    program.append(Store(pattern=run(at, 24 * 24 // c.beat_sums), rows=rows, stride=rows, blocks=3))
    trace = execute(c, program, memory.beats)
    found = layout.sums(c, trace.writes).reshape(3, 24, 8).swapaxes(0, 1).reshape(24, 24)
    assert np.array_equal(found, gemm(np.ascontiguousarray(x.T), *dense(c, dataflow, x)))


def test_sums_go_on_and_an_update_takes_them():
    random = np.random.default_rng(6)
    c, memory = FLOAT, Memory(FLOAT)
    left, right = operand(c, random, 8, 16), operand(c, random, 16, 8)
    at_left = memory.put(layout.from_words(c, layout.bits(c, left)))
    at_right = memory.put(layout.right_operand(c, "output", right))
    weights = random.normal(size=(8, 8)).astype(np.float32)
    at_masters = memory.put(layout.from_masters(c, weights, np.zeros((8, 8), np.float32)))
    count = len(memory.beats) - at_masters
    at_forward, at_backward = memory.room(64), memory.room(64)
    del at_right
    words = layout.right_operand(c, "weight", right)
    at_right = memory.put(words)
    pair = c.columns * c.kept // c.beat_entries
    loops = ((2, pair), (4, 2 * pair), (pair, 1))
    program = [
        Load(pattern=run(at_left, 16), rows=8, groups=4, signal=1),
        Load(target="right", pattern=Pattern(at_right, loops), words=8, signal=2),
        Gemm(rows=8, tiles=1, folds=2, repeat=2, wait=3),
        Gemm(rows=8, tiles=1, folds=2, repeat=2, accumulate=True, signal=4),
        Load(target="masters", pattern=run(at_masters, count), signal=8),
        Update(rows=8, stride=8, masters=at_masters, forward=at_forward, backward=at_backward,
               wait=4, signal=16),
        Fence(tag=9, wait=24),
    ]  # fmt: skip
    one = int(np.float32(1).view(np.uint32))
    registers = {"rate": one, "momentum": 0, "decay": 0, "scale": one}
    trace = execute(c, program, memory.beats, registers)
    assert trace.done == (9,)
    values, k = dense(c, "weight", right)
    twice = gemm(left, values, k, gemm(left, values, k))
    found, velocity = layout.masters(c, memory.beats[at_masters : at_masters + count], 8, 8)
    assert np.array_equal(velocity, twice)
    assert np.array_equal(found, weights - twice)
    # The largest two of every four inputs, from the new weights.
    groups = np.abs(found).reshape(2, 4, 8)
    mask = (groups.argsort(1).argsort(1) >= 2).reshape(8, 8)
    want = layout.right_operand(c, "weight", floating.narrow(found, floating.FP16), mask)
    assert np.array_equal(memory.beats[at_forward : at_forward + len(want)], want)


def test_any_legal_order_gives_the_same_and_a_deadlock_is_named():
    c, memory = SMALL, Memory(SMALL)
    at = memory.put(np.arange(64, dtype=np.uint32).reshape(-1, memory.beats.shape[1]))
    program = [
        Load(pattern=run(at, 4), rows=2, groups=2, signal=1),
        Fence(tag=1, wait=1, signal=2),
        Load(pattern=run(at + 4, 4), rows=2, groups=2, wait=2),
    ]
    traces = [
        execute(c, program, memory.beats.copy(), first=order)
        for order in permutations(("load", "gemm", "out"))
    ]
    assert all(np.array_equal(t.requests, traces[0].requests) for t in traces)
    with pytest.raises(ProgramError, match=r"deadlock: instruction 0, Load.* waits for ever"):
        execute(c, [Load(pattern=run(at, 4), rows=2, groups=2, wait=4)], memory.beats)
    blocked = [Load(target="masters", pattern=run(at, 4)), Load(pattern=run(at, 1))]
    with pytest.raises(ProgramError, match="masters are not passed on"):
        execute(c, blocked, memory.beats)
    with pytest.raises(ProgramError, match="semaphore 3 would exceed 15"):
        execute(c, [Fence(signal=8)] * 16, memory.beats)


@pytest.mark.parametrize(
    ("instruction", "error"),
    [
        (Load(pattern=run(1 << 20, 1)), "address 1048576 is beyond memory"),
        (Load(pattern=run(0, 3), rows=2, groups=2), "has 3 beats, not the 4"),
        (Load(pattern=run(0, 4), rows=2, groups=2, base=63), "address 64 of the left memory"),
        (Load(target="right", pattern=run(0, 64), base=60, words=8), "the right memory"),
        (Load(target="right", pattern=run(0, 16), words=4, entry=2), "entry = 2"),
        (Gemm(rows=64, tiles=2), "the sums memory, whose sums_depth is 64"),
        (Gemm(rows=65), "the left memory"),
        (Gemm(rows=4, folds=3, repeat=2), "folds = 3 is not a multiple of repeat = 2"),
        (Gemm(rows=0), "rows = 0 is not positive"),
        (Gemm(dataflow="output", accumulate=True), "weight-stationary products alone"),
        (Store(pattern=run(0, 3), rows=4), "has 3 beats, not the"),
        (Store(format="words", rows=3), "rows = 3 is not a multiple of kept = 2"),
        (Store(rows=4, stride=40, blocks=3), "the sums memory"),
    ],
)
def test_what_cannot_run_is_named(instruction: Instruction, error: str):
    beats = np.zeros((512, SMALL.beat_bits // 32), np.uint32)
    with pytest.raises(ProgramError, match=rf"instruction 0, \w+\(.*{error}"):
        execute(SMALL, [instruction], beats)


def test_patterns_wrap_and_repeat():
    pattern = Pattern(5, ((2, -6), (3, 0), (2, 10)))
    assert addresses(pattern).tolist() == [5, 15, 5, 15, 5, 15, 2**32 - 1, 9, 2**32 - 1, 9,
                                           2**32 - 1, 9]  # fmt: skip
