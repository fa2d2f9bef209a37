"""What an engine's memories hold: a layer in the engine's formats, by word and by beat."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ...models.amu.config import AmuConfig
from ...models.amu.encoder import Encoder
from ...models.amu.layer import Format, Layer
from .shape import Shape


@dataclass(frozen=True, eq=False)
class Contents:
    """Thresholds, tables and biases as they are stored, padded to whole groups and folds."""

    shape: Shape
    thresholds: np.ndarray
    """int64 [groups, lanes, pairs, 2].  Pair 0 is (nothing, the root); pair n has the children of
    node n, where those of node n are 2n and 2n + 1 and the root is 1."""
    tables: np.ndarray
    """int64 [folds, groups, lanes, prototypes, lanes of outputs]"""
    bias: np.ndarray
    """int64 [folds, lanes of outputs]"""

    @classmethod
    def of(cls, config: AmuConfig, layer: Layer) -> Self:
        """What an engine of ``config`` holds in order to be ``layer``.

        Raises :class:`ValueError` where the layer is not of the engine's shape and formats.
        """
        shape = Shape(config)
        _check_shape(config, layer)
        thresholds, tables = _sent_left(layer)
        least = tables.min(axis=1)
        half = 1 << config.shift >> 1
        tables, bias = tables - least[:, None], layer.bias + least.sum(axis=0) + half
        _check_range(config, tables, bias)
        thresholds = compared(config, thresholds)
        lanes, outputs = config.parallel_codebooks, config.parallel_outputs
        fill = shape.groups * lanes - config.codebooks
        more = shape.folds * outputs - config.outputs
        return cls(
            shape,
            np.pad(thresholds, ((0, fill), (1, 0))).reshape(shape.groups, lanes, shape.pairs, 2),
            np.pad(tables, ((0, fill), (0, 0), (0, more)))
            .reshape(shape.groups, lanes, shape.prototypes, shape.folds, outputs)
            .transpose(3, 0, 1, 2, 4),
            np.pad(bias, (0, more)).reshape(shape.folds, outputs),
        )

    @property
    def threshold_beats(self) -> np.ndarray:
        """[beats, 2]: the pairs of each lane in turn, group by group."""
        return self.thresholds.reshape(-1, 2)

    @property
    def table_beats(self) -> np.ndarray:
        """[beats, port]: fold by fold, group by group, the words of each lane in turn."""
        return self.tables.reshape(-1, self.shape.config.port)

    @property
    def bias_beats(self) -> np.ndarray:
        """[beats, port]: fold by fold."""
        return self.bias.reshape(-1, self.shape.config.port)

    def threshold_words(self, lane: int) -> np.ndarray:
        """[groups, pairs, 2] of a lane."""
        return self.thresholds[:, lane]

    def table_words(self, lane: int) -> list[int]:
        """The words of a lane, by fold, group and code."""
        words = self.tables[:, :, lane].reshape(-1, self.tables.shape[-1])
        return packed(words, self.shape.config.table_bits)

    @property
    def bias_words(self) -> list[int]:
        """The words of the biases, by fold."""
        return packed(self.bias, self.shape.config.bias_bits)


def compared(config: AmuConfig, thresholds: np.ndarray) -> np.ndarray:
    """Thresholds as the engine compares them: among half-precision numbers, there is one between
    those below zero and zero, the negative zero."""
    if config.input_kind != "float16":
        return thresholds
    return np.maximum(thresholds - (thresholds < 0), config.input.limits[0])


def packed(values: np.ndarray, bits: int) -> list[int]:
    """Rows of ``values`` as words, each value in ``bits`` bits, the first one lowest."""
    shifts = bits * np.arange(values.shape[-1])
    masked = (values & (1 << bits) - 1).astype(object)
    return [int(word) for word in (masked << shifts.astype(object)).sum(axis=-1)]


def random_layer(config: AmuConfig, rng: np.random.Generator) -> Layer:
    """A layer of ``config`` with codes and results of all kinds."""
    highest = _highest(config)
    tables = rng.integers(0, highest + 1, (config.codebooks, 1 << config.levels, config.outputs))
    spread = config.codebooks * highest
    return _layer(config, tables, rng.integers(-spread, spread // 4 + 1, config.outputs), rng)


def extreme_layer(config: AmuConfig, rng: np.random.Generator) -> Layer:
    """A layer of ``config`` whose sums come to both ends of what it holds."""
    shape = config.codebooks, 1 << config.levels, config.outputs
    tables = _highest(config) * rng.integers(0, 2, shape)
    return _layer(config, tables, rng.choice([-(1 << 40), 1 << 40], config.outputs), rng)


def _highest(config: AmuConfig) -> int:
    """The greatest table entry for which sums fit."""
    least, most = config.sum.limits
    return min((1 << config.table_bits) - 1, (most - least) // (2 * config.codebooks))


def _layer(
    config: AmuConfig, tables: np.ndarray, bias: np.ndarray, rng: np.random.Generator
) -> Layer:
    """A layer of these unsigned tables, made signed, and of these biases, made to fit."""
    c = config
    low, high = (-0x7C00, 0x7C00) if c.input_kind == "float16" else c.input.limits
    encoder = Encoder(
        np.arange(c.codebooks * c.levels).reshape(c.codebooks, c.levels),
        rng.integers(low - 1, high + 1, (c.codebooks, (1 << c.levels) - 1)),
    )
    tables[:, -1] = 0  # a minimum of every column, also when halves of trees have gone
    lowest, greatest = Format(c.bias_bits, signed=True).limits
    room = c.sum.limits[1] - c.codebooks * _highest(c)
    moved = rng.integers(-_highest(c), _highest(c) + 1, (c.codebooks, c.outputs))
    half = 1 << c.shift >> 1
    bias = np.clip(bias, lowest, min(greatest, room)) - half - moved.sum(axis=0)
    return Layer(encoder, tables + moved[:, None], bias, c.input, c.shift, c.output)


def fixed_layer(config: AmuConfig) -> Layer:
    """The layer of a configuration with fixed contents.

    Raises :class:`ValueError` where its file holds no network, or no such layer.
    """
    if not config.file:
        return random_layer(config, np.random.default_rng(config.seed))
    from ...models.amu.files import load
    from ...models.amu.operations import Lookup

    network = load(config.file)
    layers = {n.name: n.operation.layer for n in network.nodes if isinstance(n.operation, Lookup)}
    if config.node in layers:
        return layers[config.node]
    if not config.node and len(layers) == 1:
        return next(iter(layers.values()))
    raise ValueError(
        f"node = {config.node!r} is no layer by lookup of {config.file}; "
        f"it has: {', '.join(layers) or 'none'}"
    )


def _check_shape(config: AmuConfig, layer: Layer) -> None:
    wanted = {
        "codebooks": layer.encoder.codebooks,
        "levels": layer.encoder.levels,
        "outputs": layer.outputs,
        "input_bits": layer.input.bits,
        "output_bits": layer.output.bits if layer.output else 0,
    }
    if layer.output:
        wanted |= {"shift": layer.shift, "output_signed": layer.output.signed}
    for name, value in wanted.items():
        if getattr(config, name) != value:
            raise ValueError(
                f"the layer has {name} = {value}, the engine {getattr(config, name)}; "
                f"set {name} = {value}, or take AmuConfig.fit(layer)"
            )
    if layer.input.signed != config.input.signed:
        raise ValueError(
            f"the layer's inputs are {'' if layer.input.signed else 'un'}signed, the engine's "
            f"input_kind is {config.input_kind}"
        )


def _check_range(config: AmuConfig, tables: np.ndarray, bias: np.ndarray) -> None:
    if not Format(config.table_bits).holds(tables):
        raise ValueError(
            f"tables span up to {tables.max()} above their columns' minima, more than table_bits "
            f"= {config.table_bits} hold; set table_bits = {int(tables.max()).bit_length()}"
        )
    if not Format(config.bias_bits, signed=True).holds(bias):
        worst = int(max(bias, key=abs))
        needed = (worst ^ worst >> 63).bit_length() + 1
        raise ValueError(
            f"a bias, with its columns' minima and what rounds, is {worst}, which bias_bits = "
            f"{config.bias_bits} do not hold; set bias_bits = {needed}"
        )
    low, high = int(bias.min()), int((bias + tables.max(axis=1).sum(axis=0)).max())
    least, most = config.sum.limits
    if low < least or high > most:
        raise ValueError(
            f"sums from {low} to {high} exceed {config.sum.bits} bits, {least} to {most}; "
            "set sum_bits = 0"
        )


def _sent_left(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds and tables of ``layer`` without thresholds below all inputs.

    The right half of a node that sends everything right is copied to its left half.
    """
    thresholds, tables = layer.encoder.thresholds.astype(np.int64), layer.tables.copy()
    low, high = layer.input.limits
    levels, books = layer.encoder.levels, layer.encoder.codebooks
    # Bottom up: a half that is copied has no such node left.
    for level in reversed(range(levels)):
        nodes = thresholds[:, (1 << level) - 1 : (2 << level) - 1]
        always = nodes < low
        for below in range(level + 1, levels):
            part = thresholds[:, (1 << below) - 1 : (2 << below) - 1]
            halves = part.reshape(books, 1 << level, 2, -1)
            halves[:, :, 0] = np.where(always[:, :, None], halves[:, :, 1], halves[:, :, 0])
            part[:] = halves.reshape(part.shape)
        halves = tables.reshape(books, 1 << level, 2, -1, layer.outputs)
        halves[:, :, 0] = np.where(always[..., None, None], halves[:, :, 1], halves[:, :, 0])
        nodes[always] = high
    return thresholds, tables
