"""ORBGRAND: all patterns up to one logistic weight, the baseline of step-GRAND."""

import numpy as np

from ..models.grand.config import OrbgrandConfig
from .engine import Engine
from .grand.component import GrandEngine
from .grand.engine import CYCLES, REGISTERS, random_shape
from .grand.estimate import estimate
from .grand.workloads import WORKLOADS


def random_config(rng: np.random.Generator) -> OrbgrandConfig:
    """A small random configuration."""
    shape = random_shape(rng)
    p = int(rng.integers(3, 7))
    least = p * (p + 1) // 2
    skip = bool(rng.random() < 0.3)
    lw_max = int(rng.integers(least, least + 6))
    return OrbgrandConfig(**shape, p=p, lw_max=lw_max, skip_parity=skip)


ENGINE = Engine(
    name="orbgrand",
    summary="decodes any linear code by guessing its noise in the order of likelihood (ORBGRAND)",
    paper="Abbas, Tonnellier, Ercan, Jalaleddine, Gross: High-Throughput and Energy-Efficient VLSI "
    "Architecture for Ordered Reliability Bits GRAND (TVLSI 2022)",
    headline="42.5 Gb/s of 128-bit words on average at a frame error rate of 1e-7",
    config=OrbgrandConfig,
    component=GrandEngine,
    workloads=WORKLOADS,
    registers={name: text for name, text in REGISTERS.items() if name != "skip_parity"},
    random_config=random_config,
    cycles=CYCLES,
    estimate=estimate,
)
