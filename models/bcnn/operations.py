"""What the nodes of a binary network compute: exact integers, rows first, channels last.

A value is an image [height, width, channels], of one of three formats: integers as they come from
outside, *accumulators* (sums of products), or *bits*, which are 1 and -1.  Where it is complex,
arrays have a last axis of two, the real and the imaginary part.  An operation says what comes of
what (``result``, which raises :class:`ValueError` where its sources do not fit) and computes it.

A dense layer is a convolution whose window is the whole image.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from ..windows import Pair, Windows

Format = Literal["integers", "accumulators", "bits"]
Fill = Literal["zero", "one"]


@dataclass(frozen=True)
class Kind:
    """What a node gives for a row."""

    shape: tuple[int, int, int]
    """Height, width, channels."""
    format: Format
    complex: bool = False
    low: int = -1
    high: int = 1
    """Bounds of every value, real or imaginary part."""

    @property
    def channels(self) -> int:
        """How many: the last of the shape."""
        return self.shape[-1]

    @property
    def pixels(self) -> int:
        """Height times width."""
        return self.shape[0] * self.shape[1]

    def __str__(self) -> str:
        sort = "complex " if self.complex else ""
        return f"{' x '.join(map(str, self.shape))} {sort}{self.format}"


@dataclass(frozen=True)
class Input:
    """What comes from outside: real integers of so many bits, or bits."""

    shape: tuple[int, int, int]
    bits: int = 8
    """1: the values are 1 and -1."""
    signed: bool = False
    """Two's complement; without meaning for bits."""
    complex: bool = False
    """Bits alone may be."""

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"an input is (height, width, channels), not {self.shape}")
        if not 1 <= self.bits <= 16:
            raise ValueError(f"bits = {self.bits}; an input has 1 to 16")
        if self.complex and self.bits > 1:
            raise ValueError("complex inputs are of 1 bit; give both parts as channels")

    def result(self) -> Kind:
        """Itself."""
        if self.bits == 1:
            return Kind(self.shape, "bits", self.complex)
        low = -(1 << self.bits - 1) if self.signed else 0
        return Kind(self.shape, "integers", False, low, low + (1 << self.bits) - 1)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` as they are.  Raises :class:`ValueError` where they do not fit."""
        rows, kind = np.asarray(rows), self.result()
        shape = (*self.shape, 2) if self.complex else self.shape
        if rows.shape[1:] != shape:
            raise ValueError(f"rows have the shape {shape}, not {rows.shape[1:]}")
        held = rows.dtype.kind in "iu" and (kind.low <= rows).all() and (rows <= kind.high).all()
        if not held or (self.bits == 1 and not rows.all()):
            what = "1 and -1" if self.bits == 1 else f"integers from {kind.low} to {kind.high}"
            raise ValueError(f"rows are {what}; quantise them")
        return rows.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Convolution:
    """Sums of products with weights 1 and -1, complex where ``weights`` have a last axis of two::

        sum[y, x, m] = sum over i, j, c of
                       w[m, i, j, c] * v[y * stride + i - padding, x * stride + j - padding, c]

    Outside of the image v is 0 (``fill = "zero"``, torch's padding) or 1 (1 + i where complex).
    Weights of 0 are *pruned*: all of ``block[0]`` outputs and ``block[1]`` channels at one place of
    the window are, or none of them.
    """

    weights: np.ndarray
    """int8 [outputs, height, width, channels], or [..., 2]."""
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    fill: Fill = "zero"
    block: Pair | None = None
    """Outputs and channels that are pruned together; by default none are pruned."""

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights)
        if weights.ndim not in (4, 5) or (weights.ndim == 5 and weights.shape[4] != 2):
            raise ValueError(
                "weights are [outputs, height, width, channels], with a last axis of 2 where "
                f"complex, not {weights.shape}"
            )
        if not np.isin(weights, (-1, 0, 1)).all():
            raise ValueError("weights are 1 and -1, and 0 where pruned; binarise them")
        object.__setattr__(self, "weights", weights.astype(np.int8))
        if self.fill not in ("zero", "one"):
            raise ValueError(f"fill = {self.fill!r}; 'zero' or 'one'")
        outputs, channels = weights.shape[0], weights.shape[3]
        rows, columns = self.block or (outputs, channels)
        if min(rows, columns) < 1 or outputs % rows or channels % columns:
            raise ValueError(
                f"block = {self.block} does not divide {outputs} outputs and {channels} channels"
            )
        nonzero = weights != 0
        if self.block is None and not nonzero.all():
            raise ValueError("there are weights of 0; say in which blocks they are pruned")
        if (self._kept_of(nonzero) != nonzero.reshape(outputs, *weights.shape[1:])).any():
            raise ValueError(
                f"pruned weights do not come in whole blocks of {rows} outputs and {columns} "
                "channels; prune whole blocks, or name smaller ones"
            )
        if max(self.padding) and any(p >= s for p, s in zip(self.padding, self.size, strict=True)):
            raise ValueError(
                f"padding = {self.padding} leaves windows of {self.size} with nothing but padding"
            )
        _ = self.windows

    def _kept_of(self, nonzero: np.ndarray) -> np.ndarray:
        """What ``nonzero`` would be if whole blocks were pruned."""
        outputs, height, width, channels = nonzero.shape[:4]
        rows, columns = self.block or (outputs, channels)
        blocks = nonzero.reshape(
            outputs // rows, rows, height, width, channels // columns, columns, -1
        )
        kept = blocks.any(axis=(1, 5, 6), keepdims=True)
        return np.broadcast_to(kept, blocks.shape).reshape(nonzero.shape)

    @property
    def outputs(self) -> int:
        """Channels of what leaves."""
        return self.weights.shape[0]

    @property
    def channels(self) -> int:
        """Of what enters."""
        return self.weights.shape[3]

    @property
    def size(self) -> Pair:
        """Of the window."""
        return self.weights.shape[1], self.weights.shape[2]

    @property
    def complex(self) -> bool:
        """Whether the weights are."""
        return self.weights.ndim == 5

    @cached_property
    def windows(self) -> Windows:
        """Where the window lies."""
        return Windows(self.size, self.stride, self.padding)

    @cached_property
    def kept(self) -> np.ndarray:
        """bool [outputs, height, width, channels]: which weights are not pruned."""
        nonzero = self.weights != 0
        return nonzero[..., 0] if self.complex else nonzero

    @property
    def products(self) -> int:
        """Weights that are not pruned: products, complex where they are, of an output pixel."""
        return int(self.kept.sum())

    def result(self, source: Kind) -> Kind:
        """Accumulators, complex where the weights are."""
        if source.format == "accumulators":
            raise ValueError("reads bits or integers; put a Threshold in front")
        if source.channels != self.channels:
            raise ValueError(
                f"reads {self.channels} channels, but its source has {source.channels}"
            )
        if source.complex and not self.complex:
            raise ValueError(
                "real weights read real bits; put Parts in front, or take complex ones"
            )
        if self.complex and not source.complex and source.format == "bits":
            raise ValueError("complex weights read complex bits, or integers")
        if self.fill == "one" and source.format == "integers":
            raise ValueError("fill = 'one' is for bits; integers are padded with zeros")
        each = max(-source.low, source.high) * (2 if source.complex else 1)
        most = each * int(self.kept.reshape(self.outputs, -1).sum(axis=1).max(initial=0))
        shape = (*self.windows.grid(source.shape), self.outputs)
        return Kind(shape, "accumulators", self.complex, -most, most)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Exact: sums of float32 products below 2**24, else of float64."""
        if not self.complex:
            return self._sum(x, self.weights)
        real, imaginary = self.weights[..., 0], self.weights[..., 1]
        if x.ndim == 4:
            return np.stack([self._sum(x, real), self._sum(x, imaginary)], axis=-1)
        a, b = x[..., 0], x[..., 1]
        return np.stack(
            [
                self._sum(a, real) - self._sum(b, imaginary),
                self._sum(a, imaginary) + self._sum(b, real),
            ],
            axis=-1,
        )

    def _sum(self, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        windows = self.windows.view(x, 1 if self.fill == "one" else 0)
        rows = windows.reshape(-1, int(np.prod(self.size)) * self.channels)
        exact = np.abs(x).max(initial=1) * rows.shape[1] < 1 << 24
        kind = np.float32 if exact else np.float64
        left = torch.from_numpy(np.ascontiguousarray(rows, kind))
        right = torch.from_numpy(weights.reshape(self.outputs, -1).astype(kind))
        sums = (left @ right.T).numpy().astype(np.int64)
        return sums.reshape(*windows.shape[:3], self.outputs)


@dataclass(frozen=True, eq=False)
class Add:
    """Accumulators plus ``factors[k]`` times the k-th source's values::

        sum = source 0 + factors[0] * source 1 + factors[1] * source 2 + ...

    The sources behind the first are bits (a shortcut's), or accumulators with a factor of 1 (a
    projection's).
    """

    factors: tuple[int, ...] = (1,)

    def result(self, first: Kind, *others: Kind) -> Kind:
        """Accumulators, complex where the sources are."""
        if len(others) != len(self.factors):
            raise ValueError(f"has {len(self.factors)} factors and {len(others)} sources for them")
        if first.format != "accumulators":
            raise ValueError(f"its first source are accumulators, not {first}")
        most = max(-first.low, first.high)
        for other, factor in zip(others, self.factors, strict=True):
            if other.shape != first.shape or other.complex != first.complex:
                raise ValueError(f"adds {other} to {first}")
            if other.format == "integers" or (other.format == "accumulators" and factor != 1):
                raise ValueError("adds bits, or accumulators with a factor of 1")
            most += abs(factor) * max(-other.low, other.high)
        return Kind(first.shape, "accumulators", first.complex, -most, most)

    def __call__(self, first: np.ndarray, *others: np.ndarray) -> np.ndarray:
        """As above."""
        return first + sum(f * o for f, o in zip(self.factors, others, strict=True))


@dataclass(frozen=True, eq=False)
class Threshold:
    """Bits of accumulators: 1 where ``sum >= thresholds``, else -1; negated where ``flips``.

    Batch norm and sign fold into it (:mod:`.folding`).  A threshold one above the largest sum, or
    at or below the smallest, makes a constant.
    """

    thresholds: np.ndarray
    """int64 [channels], or [channels, 2] of complex ones."""
    flips: np.ndarray
    """bool, of the same shape."""

    def __post_init__(self) -> None:
        thresholds, flips = np.asarray(self.thresholds), np.asarray(self.flips)
        if thresholds.dtype.kind not in "iu":
            raise ValueError("thresholds are integers; fold batch norm (models.bcnn.folding)")
        if thresholds.ndim not in (1, 2) or (thresholds.ndim == 2 and thresholds.shape[1] != 2):
            raise ValueError(f"thresholds are [channels] or [channels, 2], not {thresholds.shape}")
        if flips.shape != thresholds.shape:
            raise ValueError(f"{flips.shape} flips for {thresholds.shape} thresholds")
        object.__setattr__(self, "thresholds", thresholds.astype(np.int64))
        object.__setattr__(self, "flips", flips.astype(bool))

    def result(self, source: Kind) -> Kind:
        """Bits."""
        if source.format != "accumulators":
            raise ValueError(f"reads accumulators, not {source}")
        if (self.thresholds.ndim == 2) != source.complex:
            raise ValueError("complex accumulators have two thresholds a channel, real ones one")
        if len(self.thresholds) != source.channels:
            raise ValueError(f"has {len(self.thresholds)} channels, its source {source.channels}")
        outside = (self.thresholds < source.low) | (self.thresholds > source.high + 1)
        if outside.any():
            channel = int(np.argwhere(outside)[0, 0])
            raise ValueError(
                f"the threshold {self.thresholds[channel]} of channel {channel} is out of "
                f"{source.low} to {source.high + 1}, which is all that sums from {source.low} to "
                f"{source.high} can need; clip it"
            )
        return Kind(source.shape, "bits", source.complex)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """1 and -1."""
        return np.where((x >= self.thresholds) != self.flips, 1, -1)


@dataclass(frozen=True)
class MaxPool(Windows):
    """The largest of every window, part by part; what is outside of the image does not count."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(2 * p > s for p, s in zip(self.padding, self.size, strict=True)):
            raise ValueError(f"padding = {self.padding} is more than half of {self.size}")

    def result(self, source: Kind) -> Kind:
        """Bits."""
        if source.format != "bits":
            raise ValueError(f"reads bits, not {source}: pool behind the Threshold")
        return Kind((*self.grid(source.shape), source.channels), "bits", source.complex)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """As above."""
        flat = x.reshape(*x.shape[:3], int(np.prod(x.shape[3:])))
        pooled = self.view(flat, -1).max(axis=(3, 4))
        return pooled.reshape(*pooled.shape[:3], *x.shape[3:])


@dataclass(frozen=True)
class Parts:
    """Both parts of complex bits as real ones: channel 2c is the real part of channel c."""

    def result(self, source: Kind) -> Kind:
        """Twice the channels."""
        if not source.complex or source.format != "bits":
            raise ValueError(f"reads complex bits, not {source}")
        return Kind((*source.shape[:2], 2 * source.channels), "bits")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The same memory."""
        return x.reshape(*x.shape[:3], 2 * x.shape[3])


@dataclass(frozen=True)
class Sum:
    """Accumulators of all pixels added up: average pooling, times the number of pixels."""

    def result(self, source: Kind) -> Kind:
        """One pixel."""
        if source.format != "accumulators":
            raise ValueError(f"adds accumulators, not {source}")
        n = source.pixels
        return Kind(
            (1, 1, source.channels), "accumulators", source.complex, n * source.low, n * source.high
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """As above."""
        return x.sum(axis=(1, 2), keepdims=True)


@dataclass(frozen=True, eq=False)
class Bias:
    """Accumulators plus an integer a channel: scores of classes."""

    biases: np.ndarray
    """int64 [channels], or [channels, 2] of complex ones."""

    def __post_init__(self) -> None:
        biases = np.asarray(self.biases)
        if biases.dtype.kind not in "iu":
            raise ValueError("biases are integers; round them")
        object.__setattr__(self, "biases", biases.astype(np.int64))

    def result(self, source: Kind) -> Kind:
        """Accumulators."""
        shape = (source.channels, 2) if source.complex else (source.channels,)
        if source.format != "accumulators" or self.biases.shape != shape:
            raise ValueError(f"adds {self.biases.shape} biases to {source}")
        low, high = int(self.biases.min(initial=0)), int(self.biases.max(initial=0))
        return Kind(
            source.shape, "accumulators", source.complex, source.low + low, source.high + high
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """As above."""
        return x + self.biases


Operation = Input | Convolution | Add | Threshold | MaxPool | Parts | Sum | Bias
