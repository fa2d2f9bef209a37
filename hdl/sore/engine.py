"""What the tools know of the engine."""

import numpy as np

from ...models.nm.sore_config import SoreConfig
from ..engine import Engine
from .component import Sore
from .workloads import WORKLOADS


def random_config(rng: np.random.Generator) -> SoreConfig:
    """A small random configuration."""
    across = bool(rng.integers(2))
    group = int(rng.integers(1, 10))
    return SoreConfig(
        lanes=int(rng.integers(1, 4)) * (group if across else 1),
        kept=int(rng.integers(1, group + 1)),
        group=group,
        format="fp16" if rng.integers(2) else "int8",
        direction="across" if across else "along",
    )


ENGINE = Engine(
    name="sore",
    summary="selects the N largest of every M weights, of each lane or across lanes (SORE)",
    paper="Fang, Sun, Zhou, Wang: Efficient N:M Sparse DNN Training Using Algorithm, Architecture, "
    "and Dataflow Co-Design (TCAD 2023)",
    headline="N:M weights of the next training step generated ahead, 32 lanes",
    config=SoreConfig,
    component=Sore,
    workloads=WORKLOADS,
    registers={"groups": "groups of which the entries were delivered"},
    random_config=random_config,
    cycles="beats of weights + 1 (groups along a lane) or + 4 (across lanes)",
)
