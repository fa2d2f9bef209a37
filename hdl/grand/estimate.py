"""What a configuration of either engine costs and takes, in closed form; weights from
``python -m thresher.bench.sweeps.fit step_grand``."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ...models.grand.config import GrandConfig, StepGrandConfig
from ...models.grand.patterns import Staircase
from ..estimates import Fit
from .shape import Shape


@lru_cache(maxsize=1024)
def _sizes(staircase: Staircase) -> tuple[int, int, int]:
    """Slots, distinct i + j, and the largest j: no number of a configuration but these."""
    shape = Shape(_Patterned(staircase))  # type: ignore[arg-type]
    return len(shape.slots), shape.reach + 1, shape.ranks


class _Patterned:
    """As much of a configuration as slots depend on."""

    def __init__(self, staircase: Staircase) -> None:
        self.staircase, self.length = staircase, staircase.n


@lru_cache(maxsize=1024)
def _worst(staircase: Staircase, skip_parity: bool) -> int:
    if skip_parity:
        return max(staircase.worst_cycles(parity) for parity in (0, 1))
    return staircase.worst_cycles()


def features(config: GrandConfig) -> dict[str, float]:
    """What look-up tables and flip-flops grow with."""
    c, staircase = config, config.staircase
    slots, dials, ranks = _sizes(staircase)
    address = (c.length - 1).bit_length()
    return {
        "engine": 1,
        "cores": c.cores,
        "comparisons": c.cores * slots * c.checks,
        "matches": c.cores * slots,
        "dials": c.cores * dials * c.checks,
        "ranks": c.cores * ranks * c.checks,
        "positions": c.cores * c.length * (c.llr_bits + 2),
        "prefixes": c.cores * (len(staircase.limits) - 3) * (c.checks + address),
        "syndrome": c.lanes * c.checks,
        "lanes": c.lanes * c.llr_bits,
        "words": c.length,
    }  # fmt: skip


LUT = Fit({
    "engine": 96.92, "cores": 210.4, "comparisons": 0.64, "matches": 0.8397, "dials": 0.4533,
    "ranks": 0.1236, "positions": 0.8548, "prefixes": 1.436, "lanes": 0.1253, "words": 2.059,
})  # fmt: skip
FF = Fit({
    "engine": 255.2, "cores": 103, "comparisons": 0.9772, "matches": 3.158, "dials": 3.786,
    "positions": 2.097, "prefixes": 0.8468, "syndrome": 0.2736, "lanes": 0.6526, "words": 3.653,
})  # fmt: skip


def estimate(config: GrandConfig) -> Mapping[str, float]:
    """See :attr:`.Engine.estimate`; cycles of the tests of a word that no pattern mends.

    The first configuration of a staircase takes milliseconds, others of it microseconds.
    """
    found = features(config)
    return {
        "cycles": _worst(config.staircase, config.skip_parity),
        "lut": LUT(found),
        "ff": FF(found),
        "dsp": 0,
        "memory_bits": config.window * config.length * (config.llr_bits + 1),
    }


def samples(random: np.random.Generator, count: int) -> list[StepGrandConfig]:
    """Configurations of sizes that are in use, to fit and to judge by."""
    found: list[StepGrandConfig] = []
    while len(found) < count:
        length = int(random.choice([32, 48, 64]))
        limits = [int(random.integers(12, length + 1)), int(random.integers(12, length + 1))]
        for h in range(3, int(random.integers(4, 7))):
            low, high = h * (h + 1) // 2, min(limits[h - 3], 40)
            limits.append(int(random.integers(low, high + 1)) if high >= low else 0)
        first = int(random.integers(2, 5))
        prefixes = tuple(max(first, h - 3) for h in range(4, len(limits) + 1))
        fields: dict[str, Any] = {
            "length": length,
            "checks": int(random.integers(8, 17)),
            "llr_bits": int(random.integers(4, 7)),
            "lanes": int(random.choice([8, 16, 32])),
            "window": int(random.choice([16, 64, 256])),
            "cores": int(random.choice([1, 1, 2, 3])),
            "limits": tuple(limits),
            "prefixes": prefixes,
            "reach": int(random.choice([0, 16, 24])),
            "lut_inputs": 6,
        }
        try:
            found.append(StepGrandConfig(**fields))
        except ValueError:  # limits that contradict each other
            continue
    return found
