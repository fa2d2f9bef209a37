"""What a configuration costs and takes, in closed form; weights from
``python -m thresher.bench.sweeps.fit nm_array``."""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from ...models.nm.config import NmConfig
from ...models.nm.gemm_cycles import GemmCycles
from ...models.nm.program import Gemm
from ...models.nm.update_cycles import row_lanes
from ..estimates import Fit

PRODUCT = 64
"""Rows, columns and inner size of the product that cycles are of."""


def features(config: NmConfig) -> dict[str, float]:
    """What look-up tables and flip-flops grow with.

    The array's are counted: a cluster alone has just so many, of int8 in DSP blocks.
    """
    c = config
    macs, clusters, sparse = c.rows * c.columns, c.clusters * c.columns, c.group > 1
    tables, registers = (64, 62) if c.format == "int8" else (490, 266)
    waits = (c.kept - 1) * (c.kept - 2) // 2  # elements; the first two delays are a DSP block's
    return {
        "engine": 1,
        "array's tables": macs * (tables + c.element_bits * -(-(c.group - 1) // 3)),
        "array's registers": macs * (registers + 3 * c.index_bits)
        + clusters * (c.word_bits + c.element_bits * waits),
        "columns": c.columns,
        "beat": c.beat_bits,
        "lanes": c.lanes,
        "selected bits": c.lanes * c.kept * c.element_bits * sparse,
        "further rows of an update": row_lanes(c) - 1,
    }


# A further row of an update is half of what the update's arithmetic alone takes with two lanes, as
# ports of the arrays that are fitted to bring one.
LUT = Fit(
    {
        "engine": 6209, "array's tables": 1.008, "columns": 330.5, "beat": 16.67, "lanes": 109.7,
        "selected bits": 10.18, "further rows of an update": 3300,
    }
)  # fmt: skip
FF = Fit(
    {
        "engine": 6031, "array's registers": 0.971, "columns": 274.9, "beat": 4.515,
        "lanes": 61.5, "selected bits": 10.84, "further rows of an update": 1800,
    }
)  # fmt: skip


def estimate(config: NmConfig) -> Mapping[str, float]:
    """See :attr:`.Engine.estimate`; ``cycles`` of a product of two matrices of :data:`PRODUCT` x
    :data:`PRODUCT` in the array's core, weights stationary, N of M of them kept, exactly.

    A product's operands lie in the core's memories, and its sums stay there, whether or not there
    is room.  ``memory_bits`` are those of the core: operands and both halves of the sums.

    Look-up tables and flip-flops are fitted to int8; of FP16 and BF16 they take what a cluster
    alone differs by.
    """
    c, found = config, features(config)
    product = Gemm(
        rows=PRODUCT,
        tiles=-(-PRODUCT // c.columns),
        folds=-(-PRODUCT // (c.clusters * c.group)),
    )
    memory = (
        c.clusters * c.left_depth * c.word_bits
        + c.columns * c.right_depth * c.kept * c.entry_bits
        + 2 * c.columns * c.sums_depth * 32
    )
    return {
        "cycles": GemmCycles(c).run(product, 0),
        "lut": LUT(found),
        "ff": FF(found),
        "dsp": c.rows * c.columns + 8 * row_lanes(c),
        "memory_bits": memory,
    }


def samples(random: np.random.Generator, count: int) -> list[NmConfig]:
    """Integer arrays of all ratios: small ones, as synthesis of large ones takes long."""
    found = []
    while len(found) < count:
        rows, columns = (int(n) for n in random.choice([(4, 8), (8, 4), (8, 8), (4, 16)]))
        kept, group = random.choice([(1, 1), (1, 4), (2, 4), (1, 8), (2, 8), (4, 8)])
        left, right, sums = random.integers((512, 128, 128), (2049, 513, 513))
        fields = {
            "rows": rows, "columns": columns, "kept": kept, "group": group, "format": "int8",
            "add_stages": 1, "left_depth": left // group, "right_depth": right // kept,
            "sums_depth": sums, "port_words": min(8, group * rows // kept) // group,
        }  # fmt: skip
        with suppress(ValueError):  # fewer columns than a group
            found.append(NmConfig.model_validate(fields))
    return found
