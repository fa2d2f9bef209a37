"""One trained ``Linear`` or ``Conv2d`` as operations on integers: by lookup, or exact."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, floor, log2
from typing import Any

import numpy as np

from .convolution import Convolution, Patches
from .encoder import Encoder
from .layer import Format, Layer
from .learn import learn
from .modules import Affine
from .operations import Dense, Lookup
from .ridge import Normal
from .scales import Scale
from .tables import quantise

Learnt = tuple[Encoder, np.ndarray, np.ndarray]
"""An encoder, tables and a bias, all in floating point."""


@dataclass(frozen=True)
class Choice:
    """How a ``Linear`` or ``Conv2d`` is converted."""

    length: float = 8
    """Inputs (channels, in a convolution) for each codebook."""
    codebooks: int | None = None
    """Where ``length`` shall not say how many."""
    levels: int = 4
    table_bits: int = 8
    """Of an entry, from the least of its column; of a signed weight where ``exact``."""
    exact: bool = False
    """Multiplies by integer weights instead."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """More arguments for :func:`.learn.learn`."""

    def __post_init__(self) -> None:
        least = 2 if self.exact else 1
        if not self.length > 0 or (self.codebooks is not None and self.codebooks < 1):
            raise ValueError(
                f"length = {self.length} and codebooks = {self.codebooks}: both are above 0"
            )
        if not least <= self.table_bits <= 16:
            raise ValueError(f"table_bits = {self.table_bits} is not from {least} to 16")

    def count(self, inputs: int) -> int:
        """Codebooks for so many inputs."""
        return self.codebooks or ceil(inputs / self.length)


@dataclass(frozen=True)
class Place:
    """Where a layer stands in the network."""

    rows: np.ndarray
    """int64 [rows, ..., inputs]: what its source gives for the calibration rows."""
    targets: np.ndarray
    """[rows, ..., outputs]: what should come of them."""
    before: Scale
    """Of ``rows``."""
    after: Scale | None
    """Of what the layer gives; None where that is its sums."""


def by_lookup(
    affine: Affine, place: Place, choice: Choice, samples: int, rng: np.random.Generator
) -> tuple[Lookup | Convolution, float]:
    """A layer by lookup, learned from ``samples`` rows or pixels; and what 1 stands for in its
    sums."""
    learnt = _convolution if affine.is_convolution else _vectors
    encoder, tables, bias = learnt(affine, place, choice, samples, rng)
    low, high = place.before.format.limits
    # x > t is x > floor(t) where x is an integer.
    thresholds = np.floor(np.clip(encoder.thresholds, low - 1, high)).astype(np.int64)
    encoder = Encoder(encoder.dims, thresholds)
    integers = quantise(tables, bias, choice.table_bits)
    power, scale = _scale(integers.scale, place.after)
    if place.after is not None:  # a wide table takes more bits where a step cannot be so small
        integers = quantise(tables, bias, choice.table_bits + max(-power, 0), scale)
    whole, formats = integers.tables, (place.before.format, max(power, 0), _format(place))
    if affine.is_convolution:
        whole = whole.reshape(*affine.weight.shape[2:], encoder.codebooks, *whole.shape[1:])
        shape = (affine.stride, affine.padding)
        return Convolution(encoder, whole, integers.bias, *shape, *formats), 1 / scale
    return Lookup(Layer(encoder, whole, integers.bias, *formats)), 1 / scale


def exactly(affine: Affine, place: Place, choice: Choice) -> tuple[Dense, float]:
    """Integer weights, of :class:`.convolution.Patches` where it is a convolution; and what 1
    stands for in the sums."""
    weight = affine.weight.double().numpy()
    if affine.is_convolution:
        weight = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    widest = place.before.step * (float(np.abs(weight).max()) or 1.0)
    power, scale = _scale((2 ** (choice.table_bits - 1) - 1) / widest, place.after)
    whole = np.rint(weight.T * (place.before.step * scale)).astype(np.int64)
    bias = np.rint(affine.bias.double().numpy() * scale).astype(np.int64)
    return Dense(whole, bias, place.before.format, max(power, 0), _format(place)), 1 / scale


def _format(place: Place) -> Format | None:
    return None if place.after is None else place.after.format


def _scale(finest: float, after: Scale | None) -> tuple[int, float]:
    """Integers to the unit, in a layer's sums: ``finest``, or less where that is by a power of two
    as many as ``after`` has; and the power.  Never fewer than ``after`` has."""
    if after is None:
        return 0, finest
    power = floor(log2(finest * after.step))
    return power, 2 ** max(power, 0) / after.step


def _vectors(
    affine: Affine, place: Place, choice: Choice, samples: int, rng: np.random.Generator
) -> Learnt:
    rows = place.rows.reshape(-1, place.rows.shape[-1])
    targets = place.targets.reshape(len(rows), -1)
    chosen = _sample(len(rows), samples, rng)
    learned = learn(
        rows[chosen], affine.weight.T.double().numpy() * place.before.step,
        targets=targets[chosen], codebooks=choice.count(rows.shape[1]), levels=choice.levels,
        **choice.options,
    )  # fmt: skip
    return learned.encoder, learned.tables, learned.bias


def _convolution(
    affine: Affine, place: Place, choice: Choice, samples: int, rng: np.random.Generator
) -> Learnt:
    """One encoder of all pixels, which is to tell what they give to any of the kernel's offsets;
    then tables [offsets * codebooks, prototypes, outputs] of all offsets together."""
    outputs, channels, *kernel = affine.weight.shape
    py, px = affine.padding
    # Windows overlap: of few images, many would be alike.
    windows = place.targets[0, ..., 0].size
    chosen = _sample(len(place.rows), ceil(4 * samples / windows), rng)
    images = np.pad(place.rows[chosen], ((0, 0), (py, py), (px, px), (0, 0)))
    pixels = images.reshape(-1, channels)
    weight = affine.weight.permute(1, 2, 3, 0).reshape(channels, -1).double().numpy()
    learned = learn(
        pixels[_sample(len(pixels), samples, rng)], weight * place.before.step,
        codebooks=choice.count(channels), levels=choice.levels, **choice.options,
    )  # fmt: skip
    codes = learned.encoder(pixels).reshape(*images.shape[:3], -1)
    codes = Patches((kernel[0], kernel[1]), affine.stride)(codes)
    codes = codes.reshape(-1, codes.shape[-1])
    targets = place.targets[chosen].reshape(-1, outputs).astype(np.float64)
    chosen = _sample(len(codes), samples, rng)
    fitted = Normal(codes[chosen], targets[chosen], learned.encoder.prototypes).solve()
    return learned.encoder, fitted.tables, fitted.bias


def _sample(rows: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """The numbers of at most so many rows, in order."""
    return np.arange(rows) if rows <= most else np.sort(rng.choice(rows, most, replace=False))
