# amaranth: UnusedElaboratable=no
"""What the engine is run on: random frames, extremes, stored images."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import numpy as np

from ...models import data
from ...models.bcnn.config import BcnnConfig
from ...models.bcnn.operations import Kind
from ...models.bcnn.stages import Stage
from ..engine import Beats, Workload, WorkloadSource
from .pipeline import Pipeline

Source = WorkloadSource[BcnnConfig]

FRAMES = 8
"""Frames where the caller does not say how many."""


def pipeline(config: BcnnConfig) -> Pipeline:
    """The component; the same for the same configuration, lately."""
    return _pipeline(cast(Any, config))


@lru_cache(maxsize=4)
def _pipeline(config: BcnnConfig) -> Pipeline:
    return Pipeline(
        config.content, lanes=config.lanes, interval=config.interval, lanes_in=config.lanes_in
    )


def workload(
    name: str,
    config: BcnnConfig,
    frames: np.ndarray,
    evaluate: Callable[[np.ndarray], dict[str, Any]] = lambda results: {},
) -> Workload:
    """``frames`` through the network, as its input takes them; ``evaluate`` judges results."""
    made = pipeline(config)
    results = made.network(frames)
    cycles = made.cycles(len(frames))
    return Workload(
        name=name,
        config=config,
        inputs={"x": beats(made.network.input, frames, made.x.payload.shape().length)},
        outputs={"y": beats(made.network.output, results, made.y.payload.shape().length)},
        start="x",
        stop="y",
        cycles=cycles,
        ideal_cycles=len(frames) * max(s.cycles for s in made.stages if isinstance(s, Stage)),
        counters={"delivered": len(frames)},
        evaluate=lambda outputs: (
            {"interval": made.interval, "utilisation": made.timeline.utilisation}
            | evaluate(results_of(made.network.output, outputs["y"]))
        ),
    )


def beats(kind: Kind, values: np.ndarray, width: int) -> np.ndarray:
    """Beats [beats, width] of values [frames, ...]: bits as 1 and 0, the others as they are."""
    words = values.reshape(-1, width)
    return (words > 0).astype(np.int64) if kind.format == "bits" else words


def results_of(kind: Kind, given: Beats) -> np.ndarray:
    """Values [frames, height, width, channels], or [..., 2], of their beats."""
    values = np.asarray(given)
    if kind.format == "bits":
        values = 2 * values - 1
    return values.reshape(-1, *kind.shape, *((2,) if kind.complex else ()))


def _shape(kind: Kind) -> tuple[int, ...]:
    return (*kind.shape, 2) if kind.complex else kind.shape


def _random(config: BcnnConfig, samples: int | None, seed: int) -> Workload:
    kind, rng = config.content.input, np.random.default_rng([seed, 1])
    shape = (samples or FRAMES, *_shape(kind))
    if kind.format == "bits":
        return workload("random", config, rng.choice((-1, 1), shape))
    return workload("random", config, rng.integers(kind.low, kind.high + 1, shape))


def _corners(config: BcnnConfig, samples: int | None, seed: int) -> Workload:
    """Frames of one value, of both extremes at random, and near the middle, where sums are small:
    about zero, and often equal to a threshold."""
    kind, rng = config.content.input, np.random.default_rng([seed, 2])
    shape, count = _shape(kind), samples or FRAMES
    middle = (-1, 1) if kind.format == "bits" else ((kind.low + kind.high) // 2, 0, 1)
    frames = [
        np.full(shape, kind.high),
        np.full(shape, kind.low),
        *(rng.choice((kind.low, kind.high), shape) for _ in range(2)),
        *(rng.choice(middle, shape) for _ in range(max(count - 4, 1))),
    ]
    return workload("corners", config, np.array(frames)[rng.permutation(len(frames))[:count]])


def _digits(config: BcnnConfig, samples: int | None, seed: int) -> Workload:
    """The first images of MNIST's test set that are at hand, in order."""
    kind = config.content.input
    if kind.shape != (28, 28, 1) or kind.format != "integers" or kind.low:
        raise data.MissingData(
            f"mnist is for networks of 28 x 28 x 1 unsigned integers, not {kind}; name such a "
            "network's file, as file=mnist.npz"
        )
    stored = data.load("binary_lfc_mnist.npz")
    pixels = stored["images"][: samples or FRAMES].reshape(-1, *kind.shape).astype(np.int64)
    labels = stored["labels"][: len(pixels)]

    def accuracy(results: np.ndarray) -> dict[str, Any]:
        scores = results.reshape(len(labels), -1)
        return {"accuracy": float((scores.argmax(axis=1) == labels).mean())}

    return workload("mnist", config, pixels >> max(8 - kind.high.bit_length(), 0), accuracy)


WORKLOADS: dict[str, Source] = {
    "random": WorkloadSource("random frames", _random),
    "corners": WorkloadSource("extremes, frames of one value, sums about zero", _corners),
    "mnist": WorkloadSource("handwritten digits, for networks learnt from them", _digits),
}
