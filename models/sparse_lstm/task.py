"""A task: a network, what to feed it, and how to judge what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .config import SparseLstmConfig
from .golden import Parameters, Steps

PARALLELISM = frozenset(
    (
        "lanes",
        "banks",
        "elements",
        "window",
        "queue",
        "dsp_pack",
        "weights",
        "weight_port",
        "skip_inputs",
        "skip_states",
    )
)
"""Fields of the configuration that change cycles and cost but no result."""


@dataclass(frozen=True, eq=False)
class Task:
    """Everything that a run of the engine on some data needs."""

    config: SparseLstmConfig
    """Shape and formats; with the least parallelism (:meth:`fit` gives another)."""
    parameters: Parameters
    steps: Steps
    judge: Callable[[np.ndarray], dict[str, Any]] = lambda h: {}
    """Application figures of the delivered states [T, B, H], in the order of ``steps``."""

    def fit(self, config: SparseLstmConfig) -> SparseLstmConfig:
        """``config`` with this task's shape and formats; its parallelism stays.

        Raises :class:`ValueError` where the two do not go together.
        """
        mine = self.config.model_dump(exclude=set(PARALLELISM))
        return config.replace(**mine)
