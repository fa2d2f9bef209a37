"""What the tools know of the engine."""

import numpy as np

from ...models.reram.layer_config import ReramLayerConfig
from ..engine import Engine
from .component import Reram
from .workloads import WORKLOADS


def random_config(rng: np.random.Generator) -> ReramLayerConfig:
    """A small random configuration."""
    while True:
        kernel, rows = int(rng.integers(1, 4)), int(rng.choice([1, 2, 3, 4, 8]))
        cell_bits, weight_bits = int(rng.integers(1, 4)), int(rng.integers(1, 7))
        read = -(-weight_bits // cell_bits) * int(rng.integers(1, 4))  # columns an ADC
        try:
            config = ReramLayerConfig.preset(
                fragment_rows=rows,
                rows=rows * int(rng.integers(1, 5)),
                columns=read * int(rng.integers(1, 4)),
                mapping=str(rng.choice(["polarised", "polarised", "offset", "dual"])),
                cell_bits=cell_bits,
                weight_bits=weight_bits,
                input_bits=int(rng.integers(1, 9)),
                adc_bits=int(rng.integers(1, 7)),
                flip=bool(rng.integers(2)),
                columns_per_adc=read,
                skip=str(rng.choice(["none", "leading", "any"])),
                channels=int(rng.integers(1, 6)),
                height=int(rng.integers(1, 6)),
                width=int(rng.integers(1, 6)),
                kernel=kernel,
                stride=int(rng.integers(1, 4)),
                padding=int(rng.integers(kernel)),
                layout=str(rng.choice(["channel", "position"])),
                features=int(rng.integers(1, 9)),
                signed_inputs=bool(rng.integers(2)),
                activation=str(rng.choice(["relu", "none"])),
                clip=str(rng.choice(["saturate", "zero"])),
                output_bits=int(rng.integers(2, 13)),
                scale_bits=int(rng.integers(1, 9)),
            )
        except ValueError:  # what does not fit together
            continue
        if config.planes * config.down * config.across * config.adcs <= 12:
            return config


ENGINE = Engine(
    name="reram",
    summary="a layer on crossbars of resistive memory: skips zero bits, puts ADCs' codes together",
    paper="Yuan et al.: FORMS: Fine-grained Polarized ReRAM-based In-situ Computation for "
    "Mixed-signal DNN Accelerator (ISCA 2021)",
    headline="1.50 times the operations a second and mm2, 1.93 times those a watt, of ISAAC with "
    "the same pruning and quantisation",
    config=ReramLayerConfig,
    component=Reram,
    workloads=WORKLOADS,
    registers={
        "multiplier": "what sums are multiplied by",
        "shift": "bits that the products are then shifted right, rounding half up",
        "threshold": "the largest magnitude of a result; beyond it a result is clipped",
        "vectors": "pixels of results that have left",
        "steps": "bits of fragments that were read, of all crossbars below each other",
        "sign_errors": "words of sign and flip indicators read with a wrong parity",
        "clipped": "results beyond the threshold",
    },
    random_config=random_config,
    cycles="scan * bits read of all fragments, and 1 for a vector of which none is, and what fills "
    "and drains the pipeline, where converters are the bottleneck; exactly: "
    "thresher.models.reram.layer_cycles.schedule",
)
