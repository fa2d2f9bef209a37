# amaranth: UnusedElaboratable=no
"""What the engine is run on: random frames, ties and extremes, handwritten digits."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import numpy as np

from ...models import data
from ...models.amu.network import Network
from ...models.amu.network_config import AmuNetworkConfig
from ..engine import Beats, Workload, WorkloadSource
from .pipeline import Pipeline
from .stages import Options

Source = WorkloadSource[AmuNetworkConfig]
Evaluate = Callable[[np.ndarray], dict[str, Any]]

FRAMES = 64
"""Frames where the caller does not say how many."""


def pipeline(config: AmuNetworkConfig) -> Pipeline:
    """The component; the same for the same configuration, lately."""
    return _pipeline(cast(Any, config))


@lru_cache(maxsize=4)
def _pipeline(config: AmuNetworkConfig) -> Pipeline:
    return Pipeline(config.content, config.lanes, Options(config.lut_inputs, config.folds))


def workload(
    name: str,
    config: AmuNetworkConfig,
    frames: np.ndarray,
    evaluate: Evaluate = lambda results: {},
) -> Workload:
    """``frames`` int [frames, *shape] through the network; ``evaluate`` judges results likewise."""
    made = pipeline(config)
    results = made.network(frames)
    cycles = made.cycles(len(frames))
    return Workload(
        name=name,
        config=config,
        inputs={"x": beats(frames, made.lanes)},
        outputs={"y": beats(results, made.y.payload.shape().length)},
        start="x",
        stop="y",
        cycles=cycles,
        ideal_cycles=len(beats(frames, made.lanes)),
        counters={"delivered": results.size // results.shape[-1]},
        evaluate=lambda outputs: (
            {"cycles_a_frame": cycles / len(frames)}
            | evaluate(results_of(made.network, outputs["y"]))
        ),
    )


def beats(values: np.ndarray, lanes: int) -> np.ndarray:
    """Beats [beats, lanes] of vectors or images; a pixel's last beat is filled with zeros."""
    pixels = values.reshape(-1, values.shape[-1])
    return np.pad(pixels, ((0, 0), (0, -pixels.shape[1] % lanes))).reshape(-1, lanes)


def results_of(network: Network, given: Beats) -> np.ndarray:
    """Results int [frames, *shape] of their beats."""
    given, shape = np.asarray(given), network.output.shape
    each = -(-shape[-1] // given.shape[-1]) * given.shape[-1]
    return given.reshape(-1, each)[:, : shape[-1]].reshape(-1, *shape)


def _random(config: AmuNetworkConfig, samples: int | None, seed: int) -> Workload:
    kind, rng = pipeline(config).network.input, np.random.default_rng([seed, 1])
    low, high = kind.format.limits
    return workload("random", config, rng.integers(low, high + 1, (samples or FRAMES, *kind.shape)))


def _corners(config: AmuNetworkConfig, samples: int | None, seed: int) -> Workload:
    """Frames of a single value, of extremes, and of values that thresholds of the first layers
    equal or just miss."""
    network, rng = pipeline(config).network, np.random.default_rng([seed, 2])
    kind, count = network.input, samples or FRAMES
    low, high = kind.format.limits
    ties = [
        thresholds.ravel() + off
        for node in network.nodes
        if 0 in node.sources and (thresholds := _thresholds(node.operation)) is not None
        for off in (0, 1)
    ]
    near = np.clip(np.concatenate(ties or [np.array([low, high])]), low, high)
    frames = [
        np.full(kind.shape, low),
        np.full(kind.shape, high),
        np.zeros(kind.shape, np.int64),
        *rng.choice([low, high], (4, *kind.shape)),
        *rng.choice(near, (max(count - 7, 4), *kind.shape)),
    ]
    return workload("corners", config, np.array(frames)[rng.permutation(len(frames))[:count]])


def _thresholds(operation: Any) -> np.ndarray | None:
    encoder = getattr(getattr(operation, "layer", operation), "encoder", None)
    return None if encoder is None else encoder.thresholds


def _mnist(config: AmuNetworkConfig, samples: int | None, seed: int) -> Workload:
    """The first images of MNIST's test set that are at hand, in order."""
    kind = pipeline(config).network.input
    if kind.shape not in ((784,), (28, 28, 1)) or kind.format.limits[0]:
        raise data.MissingData(
            f"mnist is for networks of 28 x 28 unsigned pixels, not {kind}; name such a network's "
            "file, as file=mnist.npz"
        )
    stored = data.load("binary_lfc_mnist.npz")
    pixels = stored["images"][:samples].reshape(-1, *kind.shape).astype(np.int64)
    labels = stored["labels"][:samples]

    def accuracy(results: np.ndarray) -> dict[str, Any]:
        return {"accuracy": float((results.argmax(axis=-1) == labels).mean())}

    return workload("mnist", config, pixels >> max(8 - kind.format.bits, 0), accuracy)


WORKLOADS: dict[str, Source] = {
    "random": WorkloadSource("random frames", _random),
    "corners": WorkloadSource("extremes, single values, ties with thresholds", _corners),
    "mnist": WorkloadSource("1,000 handwritten digits, for networks learnt from them", _mnist),
}
