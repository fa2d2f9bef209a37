"""What the tools know of the engine."""

import numpy as np

from ...models.bcnn.config import BcnnConfig
from ..engine import Engine
from .estimate import estimate
from .workloads import WORKLOADS, pipeline


def random_config(rng: np.random.Generator) -> BcnnConfig:
    """A small network of any operations."""
    while True:
        try:
            return BcnnConfig(
                network="drawn",
                seed=int(rng.integers(1 << 30)),
                lanes=int(rng.choice([16, 64, 256, 1024])),
                lanes_in=int(rng.choice([0, 1])),
            )
        except ValueError:  # fewer lanes than the stages have at least
            continue


ENGINE = Engine(
    name="bcnn_conv",
    summary="computes a whole binary or binary complex network, pruned blocks left out, all layers "
    "at work at once",
    paper="Li, Geng, Li, Yu: BCNN: Binary Complex Neural Network (arXiv 2104.10044); Peng et al.: "
    "Binary Complex Neural Network Acceleration on FPGA (ASAP 2021)",
    headline="5,882 and 4,938 frames a second (complex NIN-Net and ResNet-18 for CIFAR-10, pruned "
    "20 times), convolutions utilised over 90 %",
    config=BcnnConfig,
    component=pipeline,
    workloads=WORKLOADS,
    registers={
        "delivered": "frames whose results have left",
        "waits": "cycles in which a frame did not start because results were not taken",
    },
    random_config=random_config,
    estimate=estimate,
    cycles="words + 1 + (frames - 1) * interval + latency: the interval is that of the slowest "
    "stage, its taps times its pixels; the latency a constant of the network and its folds: "
    "thresher.models.bcnn.timing.Timeline",
)
