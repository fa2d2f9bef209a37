"""What a configuration costs and takes, in closed form; weights from
``python -m thresher.bench.sweeps.fit sparse_lstm --configs 48``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...models.sparse_lstm.config import SparseLstmConfig
from ..estimates import Fit
from .shape import Shape

TABLE_BITS = 1_800
"""Activation tables of fewer bits are logic, of more block RAM."""


def features(config: SparseLstmConfig) -> dict[str, float]:
    """What look-up tables and flip-flops grow with."""
    c, sizes = config, Shape(config)
    rows, words, word = c.lanes // c.banks, sizes.weight_words, c.lanes * c.weight_bits
    below = 1 << (words - 1).bit_length() - 1
    return {
        "engine": 1,
        "accumulators": rows * c.accumulator_bits,
        "bank sums": (c.lanes - rows) * (c.weight_bits + c.state_bits),
        "single group": (c.groups == 1) * rows * c.accumulator_bits,
        "compactors": c.banks * sizes.window * (c.batch + 8),
        "cells": c.elements * c.cell_bits,
        "gates": c.elements * c.gate_bits,
        "arguments": c.elements * c.accumulator_bits,
        "tables": c.elements
        * (3 * c.sigmoid_entries + 2 * c.tanh_entries)
        * c.gate_bits
        / 64
        * (max(c.sigmoid_entries, c.tanh_entries) * (c.gate_bits + 1) < TABLE_BITS),
        "divided weights": word * (words > 1024 and words - below <= below // 4),
        "deep accumulators": rows * c.accumulator_bits * (c.groups // 32) * (c.groups <= 96),
        "banks": c.banks,
    }


LUT = Fit({
    "engine": 244.6, "accumulators": 0.1663, "bank sums": 1.301, "single group": 0.9111,
    "gates": 34.34, "arguments": 6.782, "tables": 0.05213, "divided weights": 0.7906,
    "deep accumulators": 0.4326, "banks": 68.94,
})  # fmt: skip
FF = Fit({
    "engine": 239.7, "accumulators": 1.824, "single group": 0.242, "compactors": 4.259,
    "cells": 14.93, "arguments": 6.256, "tables": 0.1549, "divided weights": 0.2158,
    "banks": 188.1,
})  # fmt: skip


def estimate(config: SparseLstmConfig) -> Mapping[str, float]:
    """See :attr:`.Engine.estimate`; cycles of a step of the widest context with no column
    skipped."""
    c, sizes, found = config, Shape(config), features(config)
    inputs = max(map(sizes.input_columns, range(c.contexts)))
    return {
        "cycles": max((inputs + sizes.state_columns) * c.groups, sizes.emissions * sizes.folds),
        "lut": LUT(found),
        "ff": FF(found),
        "dsp": _in_dsp(c) * c.lanes // (2 if c.dsp_pack else 1) + 3 * c.elements,
        "memory_bits": sizes.weight_words * c.lanes // c.batch * c.weight_bits
        * (c.weights == "on_chip"),
    }  # fmt: skip


def _in_dsp(config: SparseLstmConfig) -> bool:
    """Whether Yosys puts products into DSP blocks."""
    return min(config.weight_bits, config.state_bits) > 3


def samples(random: np.random.Generator, count: int) -> list[SparseLstmConfig]:
    """Configurations of sizes that are in use, to fit and judge by."""
    found: list[SparseLstmConfig] = []
    while len(found) < count:
        bits = int(random.choice([3, 4, 6, 8, 8]))
        fields: dict[str, Any] = {
            "batch": int(random.choice([1, 1, 2, 4])),
            "banks": int(random.choice([1, 1, 2])),
            "lanes": int(4 * random.integers(1, 25)),
            "elements": int(random.choice([1, 1, 2, 4])),
            "input_size": int(random.integers(8, 65)),
            "hidden_size": int(random.integers(16, 129)),
            "weight_bits": bits,
            "weight_frac": bits - 1,
            "input_weight_frac": bits - 1,
            "input_bits": bits,
            "input_frac": bits - 1,
            "state_bits": bits,
            "accumulator_bits": int(random.integers(14, 28)),
            "gate_bits": int(random.integers(5, 10)),
            "cell_bits": int(random.integers(10, 17)),
            "cell_frac": 8,
        }
        try:
            found.append(SparseLstmConfig(**fields))
        except ValueError:
            continue
    return found
