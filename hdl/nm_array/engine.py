"""What the tools know of the engine."""

from typing import Literal

import numpy as np

from ...models.nm.config import NmConfig
from ..engine import Engine
from .component import NmArray
from .estimate import estimate
from .workloads import WORKLOADS


def random_config(rng: np.random.Generator) -> NmConfig:
    """A small random configuration."""
    formats: tuple[Literal["int8", "fp16", "bf16"], ...] = ("int8", "int8", "fp16", "bf16")
    while True:
        kept, clusters = int(rng.choice([1, 2, 4])), int(rng.integers(1, 5))
        format = formats[int(rng.integers(4))]
        integers = format == "int8"
        try:
            config = NmConfig(
                rows=kept * clusters,
                columns=int(rng.choice([2, 4, 8])),
                kept=kept,
                group=kept << int(rng.integers(3)),
                format=format,
                add_stages=1 if integers else int(rng.integers(2, 6)),
                left_depth=int(rng.integers(16, 129)),
                right_depth=int(rng.integers(32, 129)),
                sums_depth=int(rng.integers(16, 129)),
                port_words=1 << int(rng.integers(3)),
            )
        except ValueError:  # what does not fit together
            continue
        if config.rows * config.columns <= 24 and config.beat_bits <= 128:
            return config  # floating-point units in numbers take compilers minutes


ENGINE = Engine(
    name="nm_array",
    summary="trains layers with N of M weights, forward and backward, on one systolic array (SAT)",
    paper="Fang, Sun, Zhou, Wang: Efficient N:M Sparse DNN Training Using Algorithm, Architecture, "
    "and Dataflow Co-Design (TCAD 2023)",
    headline="1.75 times dense training on the same array at 2:8, of 2.0 at most",
    config=NmConfig,
    component=NmArray,
    workloads=WORKLOADS,
    registers={
        "rate": "learning rate, bits of an FP32 number",
        "momentum": "what remains of a velocity, bits of an FP32 number",
        "decay": "weight decay, bits of an FP32 number",
        "scale": "what gradients are multiplied by, bits of an FP32 number",
        "weight_shift": "int8 operands are weights times two to this power",
        "load_busy": "cycles in which some load had begun and not ended",
        "gemm_busy": "cycles in which a product was in the array's core",
        "out_busy": "cycles in which some store, update or fence had begun and not ended",
        "beats_read": "beats taken from the memory",
        "beats_written": "beats given to the memory",
        "macs": "multiply-accumulates of entries, those that pad included",
    },
    random_config=random_config,
    cycles="a product: tiles * folds * max(rows, time to load the next weights), or tiles * steps "
    "* interleave; loads and stores beside it, a beat a cycle; exactly: "
    "thresher.models.nm.program_cycles.schedule",
    estimate=estimate,
)
