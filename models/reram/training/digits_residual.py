"""A residual network of the stored ones' shape, trained for scikit-learn's written digits.

There is no training set for the stored networks' own images here: what polarisation costs a network
of their depth is seen where there is one.  Digits are enlarged to 16 x 16, in all three channels.
"""

import time
from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional

from ..config import ReramConfig
from ..residual import Residual
from .admm import Schedule
from .convert import Converted, convert
from .digits import Split, batches, fit, splits
from .stored import arrays_of, cached, converted, load_state, state_of

EPOCHS, RATE = 12, 4e-3
"""Of the dense network."""
SCHEDULE = Schedule(rounds=3, retrain=6, rate=4e-3)
"""Of polarisation."""


def enlarged() -> tuple[Split, Split]:
    """:func:`.digits.splits`, images [count, 3, 16, 16]."""
    train, test = (
        Split(functional.interpolate(part.images, scale_factor=2.0, mode="bilinear")
              .expand(-1, 3, -1, -1).contiguous(), part.labels)
        for part in splits()
    )  # fmt: skip
    return train, test


def dense_residual(state: Mapping[str, np.ndarray], seed: int = 0) -> Residual:
    """A network of the shape of ``state``, trained from scratch; in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Residual({name: np.asarray(value) for name, value in state.items()})
        for part in module.modules():
            if reset := getattr(part, "reset_parameters", None):
                reset()

    def train() -> dict[str, np.ndarray]:
        fit(module, batches(enlarged()[0], seed), EPOCHS, RATE)
        return state_of(module)

    load_state(module, cached(f"digits residual {_shape(state)} {seed}", train))
    return module.eval()


def polarised_residual(
    state: Mapping[str, np.ndarray], config: ReramConfig, seed: int = 0
) -> tuple[Converted, float]:
    """That network in ``config``'s crossbars, and the seconds of the processor that it took."""

    def train() -> dict[str, np.ndarray]:
        started = time.process_time()
        found = convert(
            dense_residual(state, seed), config, batches(enlarged()[0], seed + 1),
            schedules={"polarise": SCHEDULE},
        )  # fmt: skip
        return arrays_of(found, time.process_time() - started)

    what = f"digits residual {_shape(state)} {config.model_dump_json()} {seed}"
    return converted(Residual(state), config, "channel", cached(what, train))


def _shape(state: Mapping[str, np.ndarray]) -> str:
    return " ".join(f"{name}{value.shape}" for name, value in state.items())
