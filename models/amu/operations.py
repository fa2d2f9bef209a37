"""What the nodes of a network compute: exact integers, batches first, channels last.

A value is a vector ``(channels,)`` or an image ``(height, width, channels)`` of integers in a
:class:`.layer.Format`; arrays have the number of rows before that.  An operation says what
comes of what (:meth:`result`, which raises :class:`ValueError` where its sources do not fit)
and computes it (:meth:`__call__`).
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..fixed import round_shift, saturate
from .layer import Format, Layer

BYTE = Format(8)


@dataclass(frozen=True)
class Kind:
    """What a node gives for a row."""

    shape: tuple[int, ...]
    """``(channels,)`` or ``(height, width, channels)``"""
    format: Format

    @property
    def channels(self) -> int:
        """How many: the last of the shape."""
        return self.shape[-1]

    def __str__(self) -> str:
        signed = "signed" if self.format.signed else "unsigned"
        return f"{' x '.join(map(str, self.shape))} of {self.format.bits} bits, {signed}"


@dataclass(frozen=True)
class Input:
    """What comes from outside."""

    shape: tuple[int, ...]
    format: Format = BYTE

    def __post_init__(self) -> None:
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise ValueError(
                f"an input is (channels,) or (height, width, channels), not {self.shape}"
            )

    def result(self) -> Kind:
        """Itself."""
        return Kind(self.shape, self.format)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` as they are.  Raises :class:`ValueError` where they do not fit."""
        rows = np.asarray(rows)
        if rows.shape[1:] != self.shape:
            raise ValueError(f"rows have the shape {self.shape}, not {rows.shape[1:]}")
        if rows.dtype.kind not in "iu" or not self.format.holds(rows):
            low, high = self.format.limits
            raise ValueError(f"rows are integers from {low} to {high}; quantise them")
        return rows.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Lookup:
    """A layer by table lookup on the channels of a vector, or of every pixel."""

    layer: Layer

    def result(self, source: Kind) -> Kind:
        """As many channels as the layer has outputs."""
        reads(source, self.layer.input, int(self.layer.encoder.dims.max()) + 1)
        return Kind((*source.shape[:-1], self.layer.outputs), layer_format(self.layer))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[rows, ..., outputs]"""
        return self.layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.layer.outputs)


@dataclass(frozen=True, eq=False)
class Dense:
    """Exact integer weights on the channels of a vector, or of every pixel::

        y[m] = saturate(round_half_up((bias[m] + sum over d of x[d] * weights[d, m]) / 2**shift))

    to the format ``output``; the sum itself where that is None.
    """

    weights: np.ndarray
    """int64 [inputs, outputs]"""
    bias: np.ndarray
    """int64 [outputs]"""
    input: Format = BYTE
    shift: int = 0
    output: Format | None = None

    def __post_init__(self) -> None:
        weights, bias = np.asarray(self.weights), np.asarray(self.bias)
        if weights.dtype.kind not in "iu" or bias.dtype.kind not in "iu":
            raise ValueError("weights and bias of a dense layer are integers; quantise them")
        if weights.ndim != 2 or not weights.size or bias.shape != weights.shape[1:]:
            raise ValueError(
                f"weights are [inputs, outputs] and bias [outputs], not {weights.shape} and "
                f"{bias.shape}"
            )
        if self.shift < 0:
            raise ValueError(f"shift = {self.shift} is negative; scale the weights instead")
        object.__setattr__(self, "weights", weights.astype(np.int64))
        object.__setattr__(self, "bias", bias.astype(np.int64))

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [outputs] each: the least and the greatest sum that there can be."""
        ends = np.stack([self.weights * limit for limit in self.input.limits])
        return self.bias + ends.min(axis=0).sum(axis=0), self.bias + ends.max(axis=0).sum(axis=0)

    def result(self, source: Kind) -> Kind:
        """As many channels as there are columns of weights."""
        reads(source, self.input, len(self.weights), exactly=True)
        format = smallest(*self.bounds) if self.output is None else self.output
        return Kind((*source.shape[:-1], self.weights.shape[1]), format)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[rows, ..., outputs]"""
        return requantise(x @ self.weights + self.bias, self.shift, self.output)


@dataclass(frozen=True)
class Add:
    """A residual connection: two values of one shape, aligned::

        y = saturate(round_half_up((a * 2**shifts[0] + b * 2**shifts[1]) / 2**shift))

    to the format ``output``.  An unsigned ``output`` is a ReLU.
    """

    output: Format
    shifts: tuple[int, int] = (0, 0)
    shift: int = 0

    def __post_init__(self) -> None:
        if min(*self.shifts, self.shift) < 0:
            raise ValueError(f"shifts {self.shifts} and {self.shift} are 0 or more")

    def result(self, a: Kind, b: Kind) -> Kind:
        """Their shape."""
        if a.shape != b.shape:
            raise ValueError(f"adds values of one shape, not {a.shape} and {b.shape}")
        return Kind(a.shape, self.output)

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """[rows, ...] as both are."""
        return requantise((a << self.shifts[0]) + (b << self.shifts[1]), self.shift, self.output)


@dataclass(frozen=True)
class Concat:
    """The channels of all sources behind one another; all have one format."""

    def result(self, *sources: Kind) -> Kind:
        """Their channels' sum."""
        if len({(s.shape[:-1], s.format) for s in sources}) != 1:
            raise ValueError(
                "joins values alike but for their channels, not " + " and ".join(map(str, sources))
            )
        channels = sum(s.channels for s in sources)
        return Kind((*sources[0].shape[:-1], channels), sources[0].format)

    def __call__(self, *values: np.ndarray) -> np.ndarray:
        """[rows, ..., sum of channels]"""
        return np.concatenate(values, axis=-1)


@dataclass(frozen=True)
class Select:
    """These channels of a value, in this order: wires."""

    channels: tuple[int, ...]

    def result(self, source: Kind) -> Kind:
        """As many channels as are selected."""
        if not self.channels or min(self.channels) < 0:
            raise ValueError("selects no channel, or a negative one")
        reads(source, source.format, max(self.channels) + 1)
        return Kind((*source.shape[:-1], len(self.channels)), source.format)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[rows, ..., channels selected]"""
        return x[..., list(self.channels)]


@dataclass(frozen=True)
class Flatten:
    """An image as one vector: row by row, pixel by pixel, channel by channel."""

    def result(self, source: Kind) -> Kind:
        """All its values as channels."""
        return Kind((prod(source.shape),), source.format)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[rows, height * width * channels]"""
        return x.reshape(len(x), prod(x.shape[1:]))


def reads(source: Kind, format: Format, channels: int, exactly: bool = False) -> None:
    """Raises :class:`ValueError` unless ``source`` has this format and so many channels."""
    if source.format != format:
        raise ValueError(f"reads integers of {format}, but its source gives {source.format}")
    if source.channels < channels or (exactly and source.channels != channels):
        raise ValueError(f"reads {channels} channels, but its source has {source.channels}")


def requantise(sums: np.ndarray, shift: int, output: Format | None) -> np.ndarray:
    """What becomes of sums; see :class:`Dense`."""
    if output is None:
        return sums
    return saturate(round_shift(sums, shift), output.bits, output.signed)


def layer_format(layer: Layer) -> Format:
    """Of what the layer gives: where that is sums, the smallest that holds all of them."""
    return smallest(*layer.bounds) if layer.output is None else layer.output


def smallest(low: np.ndarray, high: np.ndarray) -> Format:
    """The smallest format that holds everything from ``low`` to ``high``."""
    least, greatest = int(low.min()), int(high.max())
    if least >= 0:
        return Format(max(greatest.bit_length(), 1))
    return Format(max((~least).bit_length(), greatest.bit_length(), 0) + 1, signed=True)
