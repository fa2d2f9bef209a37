"""A task: a network, what to feed it, and how to judge what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .config import SparseLstmConfig
from .golden import Parameters, Steps


@dataclass(frozen=True, eq=False)
class Task:
    """Everything that a run of the engine on some data needs."""

    config: SparseLstmConfig
    """Shape and formats; parallelism is free to change."""
    parameters: Parameters
    steps: Steps
    judge: Callable[[np.ndarray], dict[str, Any]] = lambda h: {}
    """Application figures of the delivered states [T, B, H], in the order of ``steps``."""
