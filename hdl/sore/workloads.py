"""What SORE is run on: random weights, ties and special numbers, a layer with public masks."""

from collections.abc import Callable

import numpy as np

from ...models.data import load
from ...models.nm.sore_config import SoreConfig
from ...models.nm.update import entries, magnitudes, operands
from ..engine import Workload, WorkloadSource
from .component import latency

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

GROUPS = 256
"""Groups a lane, or beats of them, where the caller does not say how many."""

SHIFT = 5
"""Weights become int8 times 2**5: those of a layer lie below 4."""


def workload(name: str, config: SoreConfig, weights: np.ndarray) -> Workload:
    """FP32 ``weights`` [inputs, outputs], zeros padding both: outputs go to lanes, a beat for each
    input; so groups lie along inputs (forward products) or across outputs (backward ones)."""
    c = config
    inputs, outputs = weights.shape
    depth = c.group if c.direction == "along" else 1
    padded = np.pad(weights, ((0, -inputs % depth), (0, -outputs % c.lanes)))
    beats = padded.reshape(len(padded), -1, c.lanes).swapaxes(0, 1).reshape(-1, c.lanes)
    values, keys = operands(beats, c.format, SHIFT), magnitudes(beats)

    def grouped(x: np.ndarray) -> np.ndarray:
        if c.direction == "along":
            return x.reshape(-1, c.group, c.lanes).swapaxes(1, 2)
        return x.reshape(-1, c.groups, c.group)

    found = entries(grouped(values), grouped(keys), c.kept, c.element_bits)
    cycles = len(beats) + latency(c)
    return Workload(
        name=name,
        config=config,
        inputs={"weights": {"magnitude": keys, "value": values}},
        outputs={"entries": found},
        start="weights",
        stop="entries",
        cycles=cycles,
        ideal_cycles=len(beats),
        counters={"groups": len(found) * c.groups},
        evaluate=lambda outputs: {
            "weights_a_cycle": beats.size / cycles,
            "kept": np.asarray(outputs["entries"]).size / beats.size,
        },
    )


def _drawn(name: str, draw: Draw) -> Callable[[SoreConfig, int | None, int], Workload]:
    def build(config: SoreConfig, samples: int | None, seed: int) -> Workload:
        depth = config.group if config.direction == "along" else 1
        shape = (samples or GROUPS) * depth, config.lanes
        return workload(name, config, draw(np.random.default_rng(seed), shape))

    return build


def _gaussian(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def _ties(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    few = np.array([0, -0.0, 1, -1, 2, 1e-45, 65504, 1e5, np.inf, -np.inf, np.nan], np.float32)
    return rng.choice(few[: rng.integers(2, len(few) + 1)], shape)


def _layer(config: SoreConfig, samples: int | None, seed: int) -> Workload:
    weights = load("nm_masks.npz")["lin_w"].T
    return workload("layer", config, weights[: samples * config.group if samples else None])


WORKLOADS = {
    "random": WorkloadSource("Gaussian weights", _drawn("random", _gaussian)),
    "ties": WorkloadSource("few magnitudes, zeros, infinities and NaN", _drawn("ties", _ties)),
    "layer": WorkloadSource("a layer of 128 x 64 that public programs made masks of", _layer),
}
