"""Operations on windows of an image: convolution by lookup, exact windows, pooling.

A convolution is the sum over the kernel's offsets of a product with one pixel's channels
(kn2col).  All offsets share one encoder, so that every pixel is encoded once, whatever the
kernel, and the layer before need only compute the channels that this encoder looks at.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from ..windows import Pair, Windows
from .encoder import Encoder
from .layer import Format, Layer
from .operations import BYTE, Kind, layer_format, reads


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution by lookup, with ``code[y, x]`` the codes of a pixel::

        sum[y, x, m] = bias[m] + sum over i, j, c of
                       tables[i, j, c, code[y * stride + i - padding, ...][c], m]

    and then what :class:`.layer.Layer` makes of sums.  Outside of the image lie pixels whose
    channels are all zero, with their codes.  Raises :class:`ValueError` as a layer does.
    """

    encoder: Encoder
    """Of a pixel's channels, with integer thresholds."""
    tables: np.ndarray
    """int64 [kernel height, kernel width, codebooks, prototypes, outputs]"""
    bias: np.ndarray
    """int64 [outputs]"""
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    input: Format = BYTE
    shift: int = 0
    output: Format | None = None

    def __post_init__(self) -> None:
        tables, e = np.asarray(self.tables), self.encoder
        if tables.ndim != 5 or tables.shape[2:4] != (e.codebooks, e.prototypes):
            raise ValueError(
                f"tables of a convolution with {e.codebooks} codebooks of {e.prototypes} "
                "prototypes have the shape (kernel height, kernel width, "
                f"{e.codebooks}, {e.prototypes}, outputs), not {tables.shape}"
            )
        object.__setattr__(self, "tables", tables)
        layer = self.window(int(e.dims.max()) + 1)  # checks the rest
        object.__setattr__(self, "tables", layer.tables.reshape(tables.shape))
        object.__setattr__(self, "bias", layer.bias)
        _ = self.windows

    @cached_property
    def windows(self) -> Windows:
        """Where the kernel lies."""
        height, width = self.tables.shape[:2]
        return Windows((height, width), self.stride, self.padding)

    def window(self, channels: int) -> Layer:
        """The layer that gives an output pixel of its window, as one row of all its pixels'
        channels: row by row, pixel by pixel, with ``channels`` each."""
        height, width = self.tables.shape[:2]
        pixels = np.arange(height * width)[:, None, None] * channels
        dims = (pixels + self.encoder.dims).reshape(-1, self.encoder.levels)
        encoder = Encoder(dims, np.tile(self.encoder.thresholds, (height * width, 1)))
        tables = self.tables.reshape(-1, *self.tables.shape[3:])
        return Layer(encoder, tables, self.bias, self.input, self.shift, self.output)

    def keep(self, outputs: np.ndarray) -> "Convolution":
        """The same convolution with only these outputs, in this order."""
        return replace(self, tables=self.tables[..., outputs], bias=self.bias[outputs])

    def result(self, source: Kind) -> Kind:
        """An image of as many channels as there are outputs."""
        reads(source, self.input, int(self.encoder.dims.max()) + 1)
        layer = self.window(source.channels)
        return Kind((*self.windows.grid(source.shape), layer.outputs), layer_format(layer))

    def encode(self, x: np.ndarray) -> np.ndarray:
        """int64 [rows, height, width, codebooks]: the codes of the image's pixels."""
        codes = self.encoder(x.reshape(-1, x.shape[-1]))
        return codes.reshape(*x.shape[:-1], self.encoder.codebooks)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[rows, height, width, outputs]"""
        outside = self.encode(np.zeros((1, 1, 1, x.shape[-1]), np.int64))[0, 0, 0]
        codes = self.windows.view(self.encode(x), outside)
        layer = self.window(x.shape[-1])
        sums = layer.sums(codes.reshape(-1, layer.encoder.codebooks))
        return layer.requantise(sums).reshape(*codes.shape[:3], layer.outputs)


@dataclass(frozen=True)
class Patches(Windows):
    """The pixels of each window as one pixel: row by row, pixel by pixel, channel by channel.

    With zeros outside of the image.  A :class:`.operations.Dense` behind it is an exact
    convolution.
    """

    def result(self, source: Kind) -> Kind:
        """An image of as many times the channels as the window has pixels."""
        channels = self.size[0] * self.size[1] * source.channels
        return Kind((*self.grid(source.shape), channels), source.format)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[rows, height, width, window's values]"""
        patches = self.view(x, 0)
        return patches.reshape(*patches.shape[:3], prod(patches.shape[3:]))


@dataclass(frozen=True)
class MaxPool(Windows):
    """The largest of each window, channel by channel; what lies outside of the image is less."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if 2 * self.padding[0] > self.size[0] or 2 * self.padding[1] > self.size[1]:
            raise ValueError(
                f"padding {self.padding} is more than half of a window of {self.size}: some "
                "windows would lie outside of the image"
            )

    def result(self, source: Kind) -> Kind:
        """An image of the same channels."""
        return Kind((*self.grid(source.shape), source.channels), source.format)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[rows, height, width, channels]"""
        return self.view(x, np.iinfo(np.int64).min).max(axis=(3, 4))
