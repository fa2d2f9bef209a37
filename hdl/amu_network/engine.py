"""What the tools know of the engine."""

import numpy as np

from ...models.amu.network_config import AmuNetworkConfig
from ..engine import Engine
from .workloads import WORKLOADS, pipeline


def random_config(rng: np.random.Generator) -> AmuNetworkConfig:
    """A small network of any operations."""
    return AmuNetworkConfig(
        network="drawn",
        seed=int(rng.integers(1 << 30)),
        lanes=int(rng.integers(1, 9)),
        folds=int(rng.choice([1, 2, 3, 8])),
        lut_inputs=4 if rng.integers(2) else 6,
    )


ENGINE = Engine(
    name="amu_network",
    summary="computes a whole network of lookup layers, all of them at work at once",
    paper="Zhu et al.: AMU, Approximate Multiplication Unit (arXiv 2407.02362), later Mitigating "
    "scalability challenges in LUT-based neural networks via pruning optimisations",
    headline="1.3 to 2.6 times fewer resources than MADDNESS networks with all outputs and tables",
    config=AmuNetworkConfig,
    component=pipeline,
    workloads=WORKLOADS,
    registers={
        "delivered": "results that have left: vectors, or pixels of images",
        "waits": "cycles in which input was held up because nobody took the results",
    },
    random_config=random_config,
    cycles="((frames - 1) * slots + last + 1) * beats + late + result_beats - 1: a frame takes the "
    "beats of its pixels, and of the slots by which strides do not divide it; last and late are "
    "constants of the network; exactly: thresher.hdl.amu_network.pipeline.Pipeline.cycles",
)
