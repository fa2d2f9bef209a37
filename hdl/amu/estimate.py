"""What a configuration costs and takes, in closed form; weights from
``python -m thresher.bench.sweeps.fit amu``."""

from collections.abc import Mapping

import numpy as np

from ...models.amu.config import AmuConfig
from ..estimates import Fit
from .cycles import timing
from .shape import Shape
from .stores import (
    Kept,
    Place,
    bias_words,
    delays,
    fixed,
    table_words,
    threshold_words,
    waiting_words,
    written,
)
from .workloads import ROWS

_UNROLLED = (
    "unrolled", "constant comparisons", "constant inputs", "constant codes", "constant tables",
    "constant sums", "constant results",
)  # fmt: skip
_FOLDED = (
    "loaded", "counters", "comparators", "chosen inputs", "waiting inputs", "codes",
    "sums of lanes", "sums", "saturation", "stored bits", "read bits", "banked bits",
    "enables", "constant bits",
)  # fmt: skip


def estimate(config: AmuConfig) -> Mapping[str, float]:
    """See :attr:`.Engine.estimate`; ``cycles`` of :data:`.workloads.ROWS` rows on end, exactly
    (:func:`.cycles.timing`), or at most where it is unrolled.

    Beside the usual figures ``bram`` and ``lutram``, as :class:`thresher.fpga.resources.Resources`
    counts them: what is loaded lies there, and not in ``lut``.
    """
    shape, found = Shape(config), features(config)
    bits = blocks = tables = 0
    if not shape.unrolled:
        placed = _placed(shape)
        tables = delays(shape, in_blocks=placed[0][1].blocks > 0)
        for kept, place in placed:
            bits += kept.copies * kept.width * kept.depth
            blocks += kept.copies * place.blocks
            tables += kept.copies * place.tables
    return {
        "cycles": timing(shape, ROWS, exact=False).cycles,
        "lut": LUT(found),
        "ff": FF(found),
        "dsp": 0,
        "memory_bits": bits,
        "bram": blocks,
        "lutram": tables,
    }


def features(config: AmuConfig) -> dict[str, float]:
    """What look-up tables and flip-flops grow with."""
    shape = Shape(config)
    found = dict.fromkeys((*_UNROLLED, *_FOLDED), 0.0)
    return found | (_unrolled(shape) if shape.unrolled else _folded(shape))


def _added(shape: Shape) -> int:
    """Bits of all adders over the lanes."""
    c = shape.config
    left, bits = c.parallel_codebooks, 0
    for level in range(1, shape.depth + 1):
        bits += left // 2 * (c.table_bits + level)
        left -= left // 2
    return bits * c.parallel_outputs


def _unrolled(shape: Shape) -> dict[str, float]:
    """Everything at once, of constants: a bit of a table of 32 words goes with an adder's."""
    c = shape.config
    books, levels = c.codebooks, c.levels
    summed = c.table_bits + shape.depth
    return {
        "unrolled": 1,
        "constant comparisons": books * sum(max(1, 2**k / 8) for k in range(levels)) * c.input_bits,
        "constant inputs": books * c.input_bits * levels * (levels - 1) / 2,
        "constant codes": books * levels * (levels + 1) / 2,
        "constant tables": books * c.outputs * c.table_bits * max(1, shape.prototypes / 32),
        "constant sums": _added(shape) + c.outputs * summed,
        "constant results": c.outputs * (c.output.bits if c.output else 0),
    }


def _folded(shape: Shape) -> dict[str, float]:
    """Folds in time, with memories."""
    c, lanes, across = shape.config, shape.config.parallel_codebooks, shape.config.parallel_outputs
    levels, serial = c.levels, shape.serial
    loaded = c.contents == "loaded"
    compared = lanes * c.input_bits * (1 if serial else levels)
    later = 0 if serial else min(levels * (levels - 1) // 2, 3)  # longer ones: stores.delays
    address = (shape.groups * shape.folds).bit_length() + levels
    places = list(_placed(shape))
    in_logic = [(k, p) for k, p in places if not p.blocks]
    held = sum(k.copies * k.width * k.depth for k, _ in in_logic)
    return {
        "loaded": loaded,
        "counters": address + shape.groups.bit_length() * (1 if serial else levels),
        "comparators": compared,
        "chosen inputs": lanes * c.input_bits * levels * serial,
        "waiting inputs": lanes * c.input_bits * later,
        "codes": lanes * levels * (2 if serial else (levels + 1) / 2),
        "sums of lanes": _added(shape),
        "sums": across * c.sum.bits,
        "saturation": across * (c.sum.bits - c.shift) * (c.output is not None),
        "stored bits": lanes * across * c.table_bits * shape.buffered,
        "read bits": sum(k.copies * k.width for k, _ in in_logic if k.depth > 1 or loaded),
        "banked bits": sum(k.copies * k.width * (p.banks - 1) for k, p in places),
        "enables": loaded * lanes * (shape.parts + (1 if serial else levels)),
        "constant bits": (not loaded) * held / 64,
    }


def _placed(shape: Shape) -> list[tuple[Kept, Place]]:
    """The memories of an engine that is not unrolled, tables first."""
    place = written if shape.config.contents == "loaded" else fixed
    contents = table_words(shape), *threshold_words(shape), bias_words(shape)
    return [
        *((kept, place(kept)) for kept in contents),
        *((kept, written(kept)) for kept in waiting_words(shape)),
    ]


LUT = Fit(
    {
        "constant inputs": 0.3173,
        "constant codes": 0.06321,
        "constant sums": 0.9564,
        "loaded": 181.2,
        "comparators": 1.715,
        "chosen inputs": 0.4618,
        "sums of lanes": 0.9597,
        "saturation": 1.705,
        "banked bits": 0.5623,
        "constant bits": 1.33,
    }
)
FF = Fit(
    {
        "unrolled": 12.87,
        "constant comparisons": 2.065,
        "constant codes": 1.824,
        "constant tables": 0.04718,
        "constant sums": 1.059,
        "constant results": 0.2031,
        "loaded": 261.9,
        "counters": 1.08,
        "chosen inputs": 0.04774,
        "waiting inputs": 0.2304,
        "codes": 0.4733,
        "sums of lanes": 1.313,
        "sums": 0.9109,
        "saturation": 0.5578,
        "stored bits": 0.6312,
        "read bits": 0.9799,
        "banked bits": 0.03015,
        "enables": 2.553,
    }
)


def samples(random: np.random.Generator, count: int) -> list[AmuConfig]:
    """Configurations of sizes that are in use, to fit and to judge by."""
    found: list[AmuConfig] = []
    while len(found) < count:
        fixed = random.random() < 0.3
        books = int(random.integers(2, 13)) if fixed else int(random.integers(4, 65))
        outputs = int(random.integers(4, 25)) if fixed else int(random.integers(8, 129))
        requantised = bool(random.random() < 0.6)
        fields = {
            "codebooks": books,
            "levels": int(random.choice([3, 4, 4, 5])),
            "outputs": outputs,
            "parallel_codebooks": books if fixed else int(random.choice([1, 2, 4, 8, 16])),
            "parallel_outputs": outputs if fixed else int(random.choice([1, 2, 4, 8, 16, 32])),
            "input_bits": int(random.choice([4, 8, 8])),
            "table_bits": int(random.integers(4, 10)),
            "output_bits": 8 if requantised else 0,
            "shift": 4 if requantised else 0,
            "contents": "fixed" if fixed else "loaded",
            "seed": int(random.integers(1000)),
        }
        if fixed and fields["seed"] % 2:
            fields["parallel_outputs"] = -(-outputs // 2)
        if fields["seed"] % 3 == 0:
            fields["load_port"] = 1
        try:
            config = AmuConfig(**fields)
        except ValueError:  # more at once than there are
            continue
        if table_words(Shape(config)).depth <= 1 << 15:  # deeper ones take Yosys minutes
            found.append(config)
    return found
