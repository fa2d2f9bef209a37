"""What the hardware of a pipeline's stages grows with, counted without making it."""

from collections import Counter
from functools import lru_cache

import numpy as np

from ...models.bcnn.gears import collected
from ...models.bcnn.latency import mac_latency
from ...models.bcnn.pacing import words
from ...models.bcnn.stages import Input, Reader, Stage, beat_channels
from ...models.bcnn.timing import Timeline
from ...models.windows import Windows
from .constants import Constants
from .pipeline import flying
from .ring import rows
from .tables import fills_block

STORED = "stored"
"""Bits of all memories, among what :func:`grows` counts."""
BLOCK_BITS = 8192
"""A table of more bits is put into block RAM by Yosys."""


def grows(timeline: Timeline) -> dict[str, float]:
    """By name; most are bits."""
    total: Counter[str] = Counter()
    total.update(_ends(timeline))
    for place, stage in enumerate(timeline.stages):
        if isinstance(stage, Stage):
            total.update(_walker(stage, timeline.depths[place]))
            for n in range(len(stage.feeds)):
                total.update(_gear(timeline, place, n))
            total.update(_products(stage) if stage.unit == "products" else _pool(stage))
    return dict(total)


def _bits(count: int) -> int:
    """Of a counter of so many values."""
    return (max(count, 1) - 1).bit_length()


def _ends(timeline: Timeline) -> dict[str, float]:
    """Source, sink, and the pulses that start stages."""
    first, last = timeline.stages[0], timeline.stages[-1]
    assert isinstance(first, Input)
    assert isinstance(last, Stage)
    come, leave = words(timeline.stages), last.beats * flying(timeline)
    width = Reader(0, first.kind, first.channels, Windows((1, 1))).word_bits
    result = _result_bits(last)
    each, starts = timeline.interval, 0
    for later in np.diff(sorted(timeline.offsets)).tolist():
        starts += later // each * _bits(each) + _bits(later % each)
    return {
        "ends": 1,
        "counters": 4 * _bits(2 * come) + 2 * _bits(each) + 3 * _bits(leave) + starts,
        STORED: 2 * come * width + leave * result,
    }


def _result_bits(stage: Stage) -> int:
    """Of a beat."""
    if stage.unit == "pool":
        return stage.readers[0].word_bits
    constants = Constants(stage)
    sums = stage.thresholds is None
    return constants.parts * (constants.shape.width + (constants.scale == 2) if sums else 1)


def _walker(stage: Stage, depths: tuple[int, ...]) -> dict[str, float]:
    """Counters, addresses, the program, memories of words."""
    counts = [rows(d, feed.word_bits) for d, feed in zip(depths, stage.feeds, strict=True)]
    numbers = (stage.taps, stage.pixels, len(stage.groups), *stage.grid)
    counters = sum(map(_bits, numbers))
    first = stage.groups[0]
    groups = (first,) if all(group == first for group in stage.groups) else stage.groups
    taps = [(tap.reader, tap.row, tap.column, tap.null) for group in groups for tap in group]
    down, across = {tap[:2] for tap in taps}, {(tap[0], tap[2]) for tap in taps}
    offset = _bits(counts[0]) + _bits(len(down)) + _bits(len(across))
    lines = len(down), len(across)
    width = len(stage.readers) + any(tap[3] for tap in taps) + offset
    addresses = sum(_bits(count) for count in counts[: len(stage.readers)])
    return {
        "stages": 1,
        "counters": counters + sum(map(_bits, counts)) + addresses,
        "edges": sum(n * _bits(side) for n, side in zip(lines, stage.grid, strict=True)),
        "tables": _table(width, len(taps)),
        "columns": _columns(width, len(taps)),
        STORED: width * len(taps)
        + sum(n * feed.word_bits for n, feed in zip(counts, stage.feeds, strict=True)),
    }


def _gear(timeline: Timeline, place: int, n: int) -> dict[str, float]:
    """What is collected, and a word chosen of it."""
    stage = timeline.stages[place]
    assert isinstance(stage, Stage)
    reader, depth = stage.feeds[n], timeline.feeds[place][n].queue
    outputs = beat_channels(timeline.stages[reader.source], reader.kind)
    whole = collected(outputs, reader.channels) * reader.channel_bits
    queued = whole > reader.word_bits
    return {
        "gears": whole - outputs * reader.channel_bits + whole * queued,
        STORED: whole * max(depth, 1) * queued,
    }


def _pool(stage: Stage) -> dict[str, float]:
    """Words that meet."""
    return {"sums": stage.readers[0].word_bits}


def _products(stage: Stage) -> dict[str, float]:
    """Products of a word, added up, and accumulated."""
    constants = Constants(stage)
    outputs, channels = stage.fold.outputs, stage.fold.channels
    width, parts, groups = constants.shape.width, constants.parts, len(stage.groups)
    bits = stage.readers[0].channel_bits
    late = mac_latency(stage.arithmetic, channels, bits)
    each = 2 if stage.weights.ndim == 4 else 1
    weights = outputs * channels * each
    sums = parts * width
    tables = [
        (width, count, fills_block(width, count))
        for width, count in ((weights, stage.taps), (sums, groups))
    ]
    found: dict[str, float] = {
        "sums": sums,
        "tables": sum(_table(*table) for table in tables),
        "columns": sum(_columns(*table) for table in tables),
        "delays": late * (4 + _bits(groups)),
        "shortcuts": sums * len(stage.shortcuts),
        STORED: weights * stage.taps + sums * groups * (1 + (stage.total and groups > 1)),
    }
    if stage.arithmetic == "integers":
        adders, registers = tree(channels, bits)
        most = bits + _bits(channels)
        found["products"] = parts * (adders + most) + adders
        found["registers"] = parts * (registers + most) + registers
        return found
    adders, registers = count(channels)
    if stage.arithmetic == "complex":
        result = 2 * _bits(2 * channels + 1)
        found["products"] = outputs * (2 * (adders + channels) + result)
        found["registers"] = outputs * (2 * registers + result)
    else:
        found["products"] = outputs * max(adders, 1)
        found["registers"] = outputs * registers
    return found


def _table(width: int, count: int, block: bool = False) -> float:
    """Look-up tables of so many rows, and those that choose one of more than four of them; none
    where they are in a ``block`` of RAM."""
    if count < 2 or block or width * count > BLOCK_BITS:
        return 0
    if count <= 64:
        return width * min(count / 16, 1)
    deep = -(-count // 64)
    return width * deep * (1.3 if deep > 4 else 1)


def _columns(width: int, count: int, block: bool = False) -> int:
    """Registers behind such a table."""
    return width if _table(width, count, block) else 0


@lru_cache
def count(channels: int) -> tuple[int, int]:
    """Bits of the additions of a tree that counts bits, and of the registers in it."""
    if channels < 2:
        return 0, channels
    rest = channels - 1
    halves = [count(half) for half in (channels // 2, rest - channels // 2) if half]
    here = (channels // 2).bit_length() + 1
    return here + sum(h[0] for h in halves), here + sum(h[1] for h in halves)


@lru_cache
def tree(numbers: int, bits: int) -> tuple[int, int]:
    """Bits of the additions of so many numbers, two by two, and of the registers in it."""
    added = registers = 0
    while numbers > 1:
        bits, added = bits + 1, added + numbers // 2 * (bits + 1)
        numbers = -(-numbers // 2)
        registers += numbers * bits
    return added, registers
