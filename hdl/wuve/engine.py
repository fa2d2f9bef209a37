"""What the tools know of the engine."""

from typing import Literal

import numpy as np

from ...models.nm.wuve_config import WuveConfig
from ..engine import Engine
from .component import Wuve
from .workloads import WORKLOADS


def random_config(rng: np.random.Generator) -> WuveConfig:
    """A small random configuration."""
    formats: tuple[Literal["int8", "fp16", "bf16"], ...] = ("int8", "fp16", "bf16")
    return WuveConfig(
        lanes=1 + int(rng.random() < 0.2),  # seven units of FP32 a lane: simulators are slow
        format=formats[int(rng.integers(3))],
        multiply_stages=int(rng.integers(1, 9)),
        add_stages=int(rng.integers(1, 9)),
    )


ENGINE = Engine(
    name="wuve",
    summary="updates weights by momentum SGD in FP32, and copies them for an array (WUVE)",
    paper="Fang, Sun, Zhou, Wang: Efficient N:M Sparse DNN Training Using Algorithm, Architecture, "
    "and Dataflow Co-Design (TCAD 2023)",
    headline="FP32 masters updated at the rate of the memory, beside an FP16 array",
    config=WuveConfig,
    component=Wuve,
    workloads=WORKLOADS,
    registers={
        "rate": "learning rate, bits of an FP32 number",
        "momentum": "what remains of a velocity, bits of an FP32 number",
        "decay": "weight decay, bits of an FP32 number",
        "scale": "what gradients are multiplied by, bits of an FP32 number",
        "weight_shift": "int8 copies are weights times two to this power",
        "count": "weights delivered",
    },
    random_config=random_config,
    cycles="beats + 2 * multiply_stages + 3 * add_stages + 4, and 2 more for int8",
)
