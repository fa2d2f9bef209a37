"""What the tools know of the engine."""

from typing import Literal

import numpy as np

from ...models.amu.config import AmuConfig
from ..engine import Engine
from .component import Amu
from .cycles import TEXT
from .estimate import estimate
from .workloads import WORKLOADS


def random_config(rng: np.random.Generator) -> AmuConfig:
    """A small random configuration."""
    kinds: tuple[Literal["unsigned", "signed", "float16"], ...] = ("unsigned", "signed", "float16")
    kind = kinds[int(rng.choice(3, p=[0.5, 0.3, 0.2]))]
    codebooks, outputs = int(rng.integers(1, 13)), int(rng.integers(1, 13))
    fixed = bool(rng.random() > 0.7)
    at_once = fixed and bool(rng.random() < 0.4)
    across = outputs if at_once else int(rng.integers(1, outputs + 1))
    ports = [port for port in range(1, across + 1) if across % port == 0]
    requantised, shift = bool(rng.random() < 0.6), int(rng.integers(0, 8))
    return AmuConfig(
        codebooks=codebooks,
        levels=int(rng.integers(2, 7 if rng.random() < 0.2 else 5)),
        outputs=outputs,
        parallel_codebooks=codebooks if at_once else int(rng.integers(1, codebooks + 1)),
        parallel_outputs=across,
        input_kind=kind,
        input_bits=16 if kind == "float16" else int(rng.integers(1, 17)),
        table_bits=int(rng.integers(1, 11)),
        bias_bits=int(rng.integers(shift + 1, 17)),
        output_bits=int(rng.integers(1, 12)) if requantised else 0,
        output_signed=requantised and bool(rng.random() < 0.5),
        shift=shift if requantised else 0,
        contents="fixed" if fixed else "loaded",
        lut_inputs=4 if rng.integers(2) else 6,
        load_port=int(rng.choice([0, *ports])),
        seed=int(rng.integers(1000)),
    )


ENGINE = Engine(
    name="amu",
    summary="multiplies rows by a matrix through hash trees and tables, without a multiplier",
    paper="Zhu et al.: AMU, Approximate Multiplication Unit (arXiv 2407.02362); Blalock, Guttag: "
    "Multiplying Matrices Without Multiplying (ICML 2021)",
    headline="1.3 to 2.6 times fewer resources than MADDNESS networks with all outputs and tables",
    config=AmuConfig,
    component=Amu,
    workloads=WORKLOADS,
    registers={
        "rows": "rows whose results were all delivered",
        "load_beats": "beats of thresholds, tables and biases taken",
        "load_cycles": "cycles from the first beat that is loaded until all is there",
        "wait_input": "cycles in which trees had nothing to do for want of rows",
        "wait_output": "cycles in which a beat of results was held up",
    },
    random_config=random_config,
    cycles=TEXT,
    estimate=estimate,
)
