"""Stages: what a binary network becomes, one unit of hardware each, all of them at work at once.

A stage of *products* computes ``P`` outputs of ``S`` channels each in a cycle, its *fold*: a word
of S channels enters every cycle, meets P x S weights, and is added to P accumulators.  A *group* of
P outputs takes as many cycles as it has words that are not pruned, its *taps*; a pixel takes those
of all its groups, one group after the other; a frame takes those of all its pixels, row by row.
Pruned words cost nothing.  A stage of *pooling* takes the bitwise OR of its taps instead.

Convolutions that an Add adds up (a projection) are one stage that reads from two places: their taps
follow each other.  Bits that an Add adds (a shortcut) cost no cycle: they come with a group's
first tap.  Thresholds, biases and sums over pixels belong to the stage whose results they take.

Nothing waits inside: a frame's words pass every stage at times that are known (:mod:`.timing`).

A word of bits has bit ``2c`` the real and ``2c + 1`` the imaginary part of its channel c where
complex, else bit c channel c; 1 stands for 1 and 0 for -1.  A word of integers has ``bits`` bits a
channel, the first lowest.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ..windows import Pair, Windows
from .operations import Fill, Kind

Arithmetic = Literal["integers", "binary", "complex"]
"""Real integers with weights 1 and -1, real or complex; bits with real ones; complex bits."""


@dataclass(frozen=True)
class Fold:
    """How much of a convolution is done at once."""

    outputs: int
    """P, a divisor of the outputs, and of a block's where pruned."""
    channels: int
    """S, a divisor of the channels, and of a block's where pruned."""


@dataclass(frozen=True)
class Tap:
    """A word that a group reads, by its place around the output pixel."""

    reader: int
    """Of :attr:`Stage.readers`."""
    row: int
    """Of the source's pixel, less the output pixel's row times the stride: the window's row less
    the padding."""
    column: int
    """Likewise."""
    word: int
    """Of the pixel."""
    null: bool = False
    """Adds nothing: stands in for a group of which all is pruned, or gives the stage before time
    (:mod:`.pacing`).  Any of a group's taps may be."""


@dataclass(frozen=True)
class Reader:
    """A source, as it waits in a memory of words for this stage alone."""

    source: int
    """The stage whose results it reads; 0 is the input."""
    kind: Kind
    """What the source gives, parts of complex bits regarded as real ones where it reads them so."""
    channels: int
    """Of a word, S; for a shortcut P."""
    windows: Windows
    """One pixel where nothing but that is read."""
    fill: Fill = "zero"

    @property
    def words(self) -> int:
        """Of a pixel."""
        return self.kind.channels // self.channels

    @property
    def channel_bits(self) -> int:
        """Of a channel of a word."""
        if self.kind.format == "bits":
            return 2 if self.kind.complex else 1
        low, high = self.kind.low, self.kind.high
        return (high - low).bit_length()

    @property
    def signed(self) -> bool:
        """Whether integers are two's complement."""
        return self.kind.format == "integers" and self.kind.low < 0

    @property
    def word_bits(self) -> int:
        """Of a word."""
        return self.channels * self.channel_bits


@dataclass(frozen=True, eq=False)
class Shortcut:
    """Bits that are added to a group's sums, P channels at its first tap."""

    reader: Reader
    factor: int


@dataclass(frozen=True, eq=False)
class Input:
    """The stage 0: frames as they come, ``channels`` of a pixel in a word."""

    name: str
    kind: Kind
    channels: int


@dataclass(frozen=True, eq=False)
class Stage:
    """A unit of hardware."""

    name: str
    """Of the node that gives its results."""
    unit: Literal["products", "pool"]
    arithmetic: Arithmetic
    """Of products."""
    readers: tuple[Reader, ...]
    """What taps read, one or two; word sizes are equal."""
    fold: Fold
    """Of a pool: as many outputs as channels."""
    grid: Pair
    """Pixels of what comes out of taps, down and across."""
    groups: tuple[tuple[Tap, ...], ...]
    """For every group of P outputs its taps, at least one, the same for every pixel."""
    weights: np.ndarray
    """int8 [taps of all groups, P, S], or [..., 2]; 1 and -1; of pools and null taps anything."""
    shortcuts: tuple[Shortcut, ...]
    complex: bool
    """Whether accumulators are; so they may be of integers with complex weights."""
    low: int
    """Bounds of a pixel's accumulators as the network has them, with shortcuts, without bias."""
    high: int
    thresholds: np.ndarray | None
    """int64 [outputs] or [outputs, 2]: results are bits; else accumulators."""
    flips: np.ndarray | None
    """bool, of the same shape."""
    biases: np.ndarray | None
    """int64, added to what leaves where there are no thresholds."""
    total: bool
    """All pixels are added up before biases; then one pixel leaves."""
    kind: Kind
    """Of what leaves."""

    @property
    def feeds(self) -> tuple[Reader, ...]:
        """All that the stage reads, each from a memory of its own: readers, then shortcuts."""
        return (*self.readers, *(shortcut.reader for shortcut in self.shortcuts))

    @cached_property
    def taps(self) -> int:
        """Of a pixel: cycles, L."""
        return sum(map(len, self.groups))

    @property
    def pixels(self) -> int:
        """Of a frame, by taps."""
        return self.grid[0] * self.grid[1]

    @property
    def cycles(self) -> int:
        """Of a frame."""
        return self.taps * self.pixels

    @property
    def lanes(self) -> int:
        """Products a cycle, complex ones where the arithmetic is; of a pool none."""
        return 0 if self.unit == "pool" else self.fold.outputs * self.fold.channels

    @property
    def beats(self) -> int:
        """Results of a frame, P outputs each."""
        return len(self.groups) * (1 if self.total else self.pixels)


def beat_channels(source: Input | Stage, kind: Kind) -> int:
    """Channels that ``source`` gives at once, of what is regarded as ``kind``: twice as many where
    it gives complex bits and a reader takes their parts for real ones."""
    given = source.channels if isinstance(source, Input) else source.fold.outputs
    return given * (2 if source.kind.complex and not kind.complex else 1)
