"""step-GRAND: patterns up to a limit for each number of flipped bits."""

import numpy as np

from ..models.grand.config import StepGrandConfig
from .engine import Engine
from .grand.component import GrandEngine
from .grand.engine import CYCLES, REGISTERS, limit, random_shape
from .grand.estimate import estimate
from .grand.workloads import WORKLOADS


def random_config(rng: np.random.Generator) -> StepGrandConfig:
    """A small random configuration."""
    shape = random_shape(rng)
    length = shape["length"]
    limits = [int(rng.integers(6, length + 1)), int(rng.integers(8, min(20, 2 * length)))]
    for h in range(3, int(rng.integers(4, 8))):
        limits.append(limit(rng, h, min(limits[h - 3], 24)))
    if rng.random() < 0.5:  # by limits alone
        return StepGrandConfig(**shape, limits=tuple(limits), prefixes=(), reach=0)
    first = int(rng.integers(2, 5))
    prefixes = tuple(max(first, h - 3) for h in range(4, len(limits) + 1))
    reach = int(rng.integers(2 * max(prefixes, default=0) + 3, 20))
    return StepGrandConfig(**shape, limits=tuple(limits), prefixes=prefixes, reach=reach)


ENGINE = Engine(
    name="step_grand",
    summary="ORBGRAND with limits by the number of flipped bits: a short worst case (step-GRAND)",
    paper="Abbas, Jalaleddine, Tsui, Gross: Step-GRAND: A Low Latency Universal Soft-Input Decoder "
    "(GLOBECOM Workshops 2023)",
    headline="47.7 Gb/s of (128, 105) on average, 10x the area efficiency of ORBGRAND hardware, "
    "a worst case 6.8x shorter",
    config=StepGrandConfig,
    component=GrandEngine,
    workloads=WORKLOADS,
    registers=REGISTERS,
    random_config=random_config,
    cycles=CYCLES,
    estimate=estimate,
)
