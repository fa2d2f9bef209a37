"""What the engine is run on: random layers, extreme activations, a trained network's layers."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...models import data
from ...models.reram.layer import Layer, register_bits
from ...models.reram.layer_config import ReramLayerConfig
from ...models.reram.layer_cycles import bound, row_steps, schedule
from ...models.reram.resnet import Convolution, Quantiser, ResNet, polarise
from ..engine import Workload, WorkloadSource
from .delays import delays

Source = WorkloadSource[ReramLayerConfig]
Task = tuple[Layer, np.ndarray]
"""A layer, and images [n, channels, height, width]."""

PIXELS = 32
"""Results' pixels, about, where the caller does not say how many images."""
NETWORK, IMAGES = "crossbar/resnet20_cifar10_state.npz", "crossbar/cifar10_jpeg_test400.npz"
STAGES = {16: ("res1.1.conv1", 32), 32: ("res2.1.conv1", 16), 64: ("res3.1.conv1", 8)}
"""By their channels: a layer of each stage, and the side of its images."""


def workload(name: str, layer: Layer, images: np.ndarray) -> Workload:
    """``layer`` on ``images`` [n, channels, height, width].

    Figures: ``bits_read``, the share of all fragments' bits; ``zeros``, that of results.
    """
    c, sums = layer.config, layer.sums(images)
    results = layer.results(sums)
    batch, _, height, width = results.shape
    steps = row_steps(c, layer.lines(images))
    fragments = -(-c.inputs // c.fragment_rows)
    bits_read = float(steps.sum() / (len(steps) * fragments * c.input_bits))
    return Workload(
        name=name,
        config=c,
        inputs=layer.load() | {"activations": images.transpose(0, 2, 3, 1).ravel()},
        outputs={"results": results.transpose(0, 2, 3, 1).ravel()},
        start="activations",
        stop="results",
        cycles=schedule(c, steps, delays(c)).cycles,
        ideal_cycles=bound(c, steps),
        registers=layer.registers(),
        counters={
            "vectors": batch * height * width,
            "steps": int(steps.sum()),
            "sign_errors": 0,
            "clipped": layer.clipped(sums),
        },
        evaluate=lambda outputs: {
            "bits_read": bits_read,
            "zeros": float((np.asarray(outputs["results"]) == 0).mean()),
        },
    )


def scaled(
    config: ReramLayerConfig,
    weights: np.ndarray,
    biases: np.ndarray,
    images: np.ndarray,
    reach: float = 1.0,
) -> Layer:
    """A layer whose largest sum of these ``images`` becomes ``reach`` times the threshold.

    That is the largest result that there is room for.
    """
    bits = register_bits(config)
    top = (1 << bits["threshold"]) - 1
    sums = Layer(config, weights, biases, 1, 0, top).sums(images)
    if config.activation == "relu":
        sums = sums.clip(0)
    ratio = reach * top / max(int(np.abs(sums).max()), 1)
    # The most bits that the multiplier holds.
    wanted = bits["multiplier"] - 1 - math.floor(math.log2(ratio))
    shift = min(max(wanted, 0), (1 << bits["shift"]) - 1)
    multiplier = min(max(round(ratio * 2.0**shift), 1), (1 << bits["multiplier"]) - 1)
    return Layer(config, weights, biases, multiplier, shift, top)


def random_layer(config: ReramLayerConfig, images: np.ndarray, rng: np.random.Generator) -> Layer:
    """Random weights, polarised where they must be; an eighth of the results, about, is clipped."""
    low, high = config.weight_limits
    weights = rng.integers(low, high + 1, (config.inputs, config.features))
    if config.mapping == "polarised":
        fragments = -(-config.inputs // config.fragment_rows)
        signs = rng.choice([-1, 1], (fragments, config.features))
        weights = np.abs(weights) * signs.repeat(config.fragment_rows, axis=0)[: config.inputs]
    # Half of what the inputs' offset leaves of a bias's range.
    half = 1 << config.input_bits - 1 if config.signed_inputs else 0
    room = (1 << config.bias_bits - 1) - 1 - half * int(np.abs(weights.sum(axis=0)).max())
    sums = Layer(config, weights, np.zeros(config.features, np.int64), 1, 0, 0).sums(images)
    most = min(room, int(np.abs(sums).max()) // 8)
    return scaled(config, weights, rng.integers(-most, most + 1, config.features), images, 1.5)


def _random(config: ReramLayerConfig, samples: int | None, seed: int) -> Task:
    """Activations of all magnitudes; half of all channels' pixels are 0, and bands of pixels."""
    rng = np.random.default_rng(seed)
    shape = _count(config, samples), config.channels, config.height, config.width
    values = rng.integers(0, 1 << config.input_bits, shape)
    values >>= rng.integers(0, config.input_bits + 1, shape)
    values *= rng.random(shape) < 0.5
    values *= rng.random((shape[0], 1, config.height, 1)) < 0.8
    values *= rng.random((shape[0], 1, 1, 1)) < 0.9
    return _drawn(config, values, rng)


def _adversarial(config: ReramLayerConfig, samples: int | None, seed: int) -> Task:
    """Frames of nothing, of one bit somewhere, of one bit everywhere, of everything, in turn."""
    rng = np.random.default_rng(seed)
    shape = _count(config, samples), config.channels, config.height, config.width
    high = 1 << config.input_bits - 1
    values = np.zeros(shape, np.int64)
    for number, frame in enumerate(values):
        somewhere = tuple(rng.integers(0, side) for side in frame.shape)
        kind = (number + seed) % 7
        if kind == 1:
            frame[somewhere] = 1
        elif kind == 2:
            frame[somewhere] = high
        elif kind == 3:
            frame[:] = high
        elif kind == 4:
            frame[:] = 2 * high - 1
        elif kind == 5:
            frame[:, ::2] = 2 * high - 1
        elif kind == 6:
            frame[:] = 1
    return _drawn(config, values, rng)


def _drawn(config: ReramLayerConfig, values: np.ndarray, rng: np.random.Generator) -> Task:
    """``values`` as word lines see them."""
    images = values - (1 << config.input_bits - 1 if config.signed_inputs else 0)
    return random_layer(config, images, rng), images


def _resnet(config: ReramLayerConfig, samples: int | None, seed: int) -> Task:
    """A layer of ResNet-20, cut to the configuration's shape, and what enters it."""
    count = _count(config, samples)
    stored = data.load(IMAGES)["images"]
    network = ResNet(data.load(NETWORK))
    chosen = np.roll(stored, -8 * seed, axis=0)[:count]
    whole, x = _seen(network, STAGES[_stage(config)][0], chosen)
    kept = whole.weight[: config.features, : config.channels]
    part = replace(whole, weight=kept, bias=whole.bias[: config.features])
    quantiser = Quantiser.of(part, config, max(float(x.max()), 1e-9), config.layout)
    weights = quantiser.weights
    if config.mapping == "polarised":
        weights = polarise(weights, config.fragment_rows)
    images = quantiser(x[:, : config.channels, : config.height, : config.width]).long().numpy()
    biases = np.rint(part.bias.double().numpy() / (quantiser.weight_step * quantiser.input_step))
    most = (1 << config.bias_bits - 1) - 1
    return scaled(config, weights, biases.astype(np.int64).clip(-most, most), images), images


def _seen(network: ResNet, name: str, images: np.ndarray):
    """The layer called ``name``, and what enters it."""
    found: dict[str, Any] = {}

    def convolve(layer: Convolution, x):
        found[layer.name] = x
        return layer(x)

    network(ResNet.pixels(images), convolve)
    return network.convolutions[name], found[name]


def _stage(config: ReramLayerConfig) -> int:
    """Channels of the narrowest stage that has enough."""
    return next((channels for channels in STAGES if channels >= config.channels), max(STAGES))


def _fit(config: ReramLayerConfig) -> ReramLayerConfig:
    channels = _stage(config)
    side = STAGES[channels][1]
    return config.replace(
        channels=min(config.channels, channels), features=min(config.features, channels),
        height=min(config.height, side), width=min(config.width, side), kernel=3, stride=1,
        padding=1, signed_inputs=False, activation="relu",
    )  # fmt: skip


def _count(config: ReramLayerConfig, samples: int | None) -> int:
    """Images."""
    down, across = config.windows
    return samples or max(2, -(-PIXELS // (down * across)))


TASKS: dict[str, Callable[[ReramLayerConfig, int | None, int], Task]] = {
    "random": _random,
    "adversarial": _adversarial,
    "resnet": _resnet,
}
"""``TASKS[name](config, samples, seed)``: the layer of a workload, and its images."""


def _source(name: str, summary: str, **how: Any) -> Source:
    def build(config: ReramLayerConfig, samples: int | None, seed: int) -> Workload:
        return workload(name, *TASKS[name](config, samples, seed))

    return Source(f"{summary}; ``samples`` images", build, **how)


WORKLOADS: dict[str, Source] = {
    "random": _source("random", "random weights, sparse activations of all magnitudes"),
    "adversarial": _source("adversarial", "images of nothing, of single bits, of everything"),
    "resnet": _source(
        "resnet",
        "a layer of ResNet-20 with its nearest polarised weights on stored images",
        configure=_fit,
    ),
}
