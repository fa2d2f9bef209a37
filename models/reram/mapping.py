"""Signed integer weights in cells, fragment by fragment.

A matrix [inputs, outputs] is cut into fragments of ``fragment_rows`` consecutive inputs.  Where
the fragment does not divide the inputs, rows with cells at level 0 fill up the last one; nothing
drives them.  Fragments and outputs fill crossbars in order: crossbar (r, c) holds fragments from
``r * config.fragments`` and outputs from ``c * config.outputs``; what is left over stays empty.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .config import ReramConfig

Layout = Literal["channel", "position"]
"""Which inputs of a convolution are neighbours: the positions of a channel under the window
(``channel``-major, PyTorch's own order), or the channels of a position."""


@dataclass(frozen=True)
class Mapping:
    """What crossbars and the memories beside them hold of a matrix [inputs, outputs].

    With x the inputs of a fragment and L = ``config.top``, output n is ::

        sum over planes p, fragments f, slices s of
            sign[p, f, n] * 2**(s*cell_bits) * read(p, f, s, n)  -  config.offset * sum(x)

        read = v, or L * sum(x) - v where flipped;  v = sum over rows of x * cells
    """

    config: ReramConfig
    inputs: int
    cells: np.ndarray
    """uint8 [planes, fragments, fragment_rows, slices, outputs]: levels, as stored."""
    flipped: np.ndarray
    """bool [planes, fragments, slices, outputs]: stored as highest level minus level."""
    signs: np.ndarray
    """int8 [planes, fragments, outputs]: 1 or -1; the sign indicators where polarised."""

    @property
    def fragments(self) -> int:
        """Of all inputs."""
        return self.cells.shape[1]

    @property
    def outputs(self) -> int:
        """Of the matrix."""
        return self.cells.shape[4]

    @property
    def crossbars(self) -> tuple[int, int, int]:
        """How many: planes, one below the other, side by side."""
        c = self.config
        return c.planes, -(-self.fragments // c.fragments), -(-self.outputs // c.outputs)

    @property
    def most(self) -> int:
        """The largest sum of a fragment's column, in levels: no inputs make a column reach more."""
        return int(self.cells.sum(axis=2, dtype=np.int64).max(initial=0))

    @property
    def lossless(self) -> bool:
        """Whether no inputs make an ADC saturate with these weights."""
        return self.most <= self.config.adc_top

    def weights(self) -> np.ndarray:
        """int64 [inputs, outputs]: the weights again."""
        return self.meaning(self.cells, self.signs)

    def meaning(self, cells: np.ndarray, signs: np.ndarray) -> np.ndarray:
        """int64 [inputs, outputs]: the weights that other ``cells`` and ``signs`` stand for."""
        c = self.config
        cells = cells.astype(np.int64)
        levels = np.where(self.flipped[:, :, None], c.top - cells, cells)
        powers = np.left_shift(1, c.cell_bits * np.arange(c.slices, dtype=np.int64))
        held = np.einsum("pfrsn,s->pfrn", levels, powers)
        signed = (held * signs[:, :, None]).sum(axis=0)
        return signed.reshape(-1, self.outputs)[: self.inputs] - c.offset


def map_weights(config: ReramConfig, weights: np.ndarray) -> Mapping:
    """Lays integer ``weights`` [inputs, outputs] out.

    Raises :class:`TypeError` where they are not integers, and :class:`ValueError` where one is
    beyond ``config.weight_limits``, or where a fragment of a polarised mapping has both signs.
    """
    weights = np.asarray(weights)
    if weights.dtype.kind not in "iu":
        raise TypeError(f"needs integer weights, not {weights.dtype}; scale and round them")
    if weights.ndim != 2 or 0 in weights.shape:
        raise ValueError(
            f"weights have the shape {weights.shape}, not [inputs, outputs]; matrix() makes one "
            "of a convolution's"
        )
    low, high = config.weight_limits
    for found in int(weights.min()), int(weights.max()):
        if not low <= found <= high:
            raise ValueError(
                f"weight {found} is beyond {high if found > high else low}, what {config.slices} "
                f"cells of {config.cell_bits} bits hold with weight_bits = {config.weight_bits} "
                f"and the mapping {config.mapping}; quantise to fewer levels or raise weight_bits"
            )
    inputs, outputs = weights.shape
    weights = weights.astype(np.int64)
    # The padding's cells stay at level 0 with an offset too: nothing drives them.
    held = fragments_of(weights + config.offset, config.fragment_rows, axis=0)
    if config.mapping == "dual":
        held = np.stack([np.maximum(held, 0), np.maximum(-held, 0)])
        signs = np.ones((2, held.shape[1], outputs), np.int8)
        signs[1] = -1
    elif config.mapping == "polarised":
        signs = polarities(held)[None]
        held = np.abs(held)[None]
    else:
        held = held[None]
        signs = np.ones((1, held.shape[1], outputs), np.int8)
    shifts = config.cell_bits * np.arange(config.slices)[:, None]
    cells = (held[:, :, :, None] >> shifts & config.top).astype(np.uint8)
    flipped = np.zeros((*cells.shape[:2], *cells.shape[3:]), bool)
    if config.flip:
        flipped = 2 * cells.sum(axis=2, dtype=np.int64) > config.fragment_rows * config.top
        cells = np.where(flipped[:, :, None], config.top - cells, cells).astype(np.uint8)
    return Mapping(config, inputs, cells, flipped, signs)


def polarities(fragments: np.ndarray) -> np.ndarray:
    """int8 [fragments, outputs]: 1 or -1, the sign of weights [fragments, rows, outputs].

    Zeros have either sign; a fragment of nothing else has 1.  Raises :class:`ValueError` that
    names the first fragment with both signs.
    """
    mixed = (fragments.min(axis=1) < 0) & (fragments.max(axis=1) > 0)
    if mixed.any():
        f, n = (int(i) for i in np.argwhere(mixed)[0])
        raise ValueError(
            f"fragment {f} of output {n} has weights of both signs, "
            f"{fragments[f, :, n].tolist()}, as have {int(mixed.sum())} of {mixed.size}: polarise "
            "the weights, or take the mapping offset or dual"
        )
    return np.where(fragments.min(axis=1) < 0, -1, 1).astype(np.int8)


def fragments_of(values: np.ndarray, rows: int, axis: int = -1) -> np.ndarray:
    """``values`` with the ``axis`` of inputs cut into [fragments, rows], the last filled with 0."""
    axis %= values.ndim
    there = values.shape[axis]
    count = -(-there // rows)
    padding = [(0, 0)] * values.ndim
    padding[axis] = (0, count * rows - there)
    shape = (*values.shape[:axis], count, rows, *values.shape[axis + 1 :])
    return (np.pad(values, padding) if count * rows > there else values).reshape(shape)


def matrix(weights: np.ndarray, layout: Layout = "channel") -> np.ndarray:
    """A convolution's weights [outputs, channels, height, width] as a matrix [inputs, outputs]."""
    if weights.ndim != 4:
        raise ValueError(
            f"weights have the shape {weights.shape}, not [outputs, channels, height, width]; a "
            "linear layer's are a matrix already, transposed"
        )
    if layout == "position":
        weights = weights.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(weights.reshape(len(weights), -1).T)


def patches(
    images: np.ndarray, size: int, stride: int = 1, padding: int = 0, layout: Layout = "channel"
) -> np.ndarray:
    """What a convolution's window of ``size`` x ``size`` sees, to be multiplied by :func:`matrix`.

    ``images`` [batch, channels, height, width] give [batch, height', width', inputs], windows
    ``stride`` apart over images with ``padding`` zeros on each side.
    """
    images = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    if min(images.shape[2:]) < size:
        raise ValueError(
            f"a window of {size} does not fit {images.shape[2]} x {images.shape[3]} with their "
            f"padding; pad by {-(-(size - min(images.shape[2:])) // 2)} more"
        )
    images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    height, width = ((side - size) // stride + 1 for side in images.shape[1:3])
    batch, channels = len(images), images.shape[3]
    found = np.empty((batch, height, width, size * size, channels), images.dtype)
    if layout == "channel":
        found = found.reshape(batch, height, width, channels, size * size).swapaxes(3, 4)
    for tap in range(size * size):
        y, x = divmod(tap, size)
        rows = images[:, y : y + stride * height : stride, x : x + stride * width : stride]
        found[:, :, :, tap] = rows
    if layout == "channel":
        found = found.swapaxes(3, 4)
    return found.reshape(batch, height, width, -1)
