"""What a unit of products holds: weights by tap, and what sums of a group begin with.

Popcounts count 1s, not 1s less -1s.  A word of S channels gives the *units*::

    integers    u = sum                      sum = u
    binary      u = count                    sum = 2 u - S
    complex     u = (re, im)                 Re = 2 re - 2 S, Im = 2 im

so that a group of L taps has ``scale * (units of its taps) - L * offset``, all taps alike, because
a word that adds nothing gives the units of a sum of 0: (S, 0) where complex.  Where S is odd and
bits are real there are none; if such words can come, units are 2 count instead, and S for them.

Each bit of a shortcut adds ``factor * (2 bit - 1)``.  All constants are brought together in what
accumulators begin with: ::

    sum >= t   <=>   units + begin >= 0,   begin = -ceil((t + constants) / scale)
    sum + bias = scale * (units + begin) + rest

The sign decides.  It is the highest bit, and accumulators wrap: to begin with that bit inverted
inverts it in the end, so it is what the result is to be, flipped or not.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from amaranth.hdl import Shape

from ...models.bcnn.stages import Stage
from ..lib.fixed import narrowest


@dataclass(frozen=True, eq=False)
class Constants:
    """Those of a stage of products; ``parts`` of P outputs are real and imaginary in turn."""

    stage: Stage

    @property
    def parts(self) -> int:
        """Sums of a group: P, or 2 P where they are complex."""
        return self.stage.fold.outputs * (2 if self.stage.complex else 1)

    @cached_property
    def masked(self) -> bool:
        """Whether there are words that add nothing."""
        s = self.stage
        null = any(tap.null for group in s.groups for tap in group)
        return null or any(r.fill == "zero" and any(r.windows.padding) for r in s.readers)

    @cached_property
    def doubled(self) -> bool:
        """Whether units are twice the counts of binary words."""
        s = self.stage
        return s.arithmetic == "binary" and self.masked and s.fold.channels % 2 == 1

    @property
    def scale(self) -> int:
        """What a unit is worth."""
        return 1 if self.stage.arithmetic == "integers" or self.doubled else 2

    @property
    def step(self) -> list[int]:
        """Units that a 1 of each shortcut adds more than a -1."""
        return [2 // self.scale * shortcut.factor for shortcut in self.stage.shortcuts]

    @cached_property
    def weights(self) -> list[int]:
        """Bits of each tap's weights, as :class:`.mac.Mac` takes them."""
        s = self.stage
        ones = s.weights == 1
        if s.arithmetic == "complex":
            ones = np.stack([ones[..., 0], ones[..., 0] == ones[..., 1]], axis=-1)
        return _packed(ones.reshape(s.taps, -1))

    @cached_property
    def _low(self) -> np.ndarray:
        """int64 [groups, parts]: ``constants`` as above, those of all pixels where added up."""
        s = self.stage
        offset = {"integers": [0], "binary": [s.fold.channels], "complex": [2 * s.fold.channels, 0]}
        taps = np.array([len(group) for group in s.groups])
        each = np.multiply.outer(taps, np.resize(offset[s.arithmetic], self.parts))
        return (each + sum(shortcut.factor for shortcut in s.shortcuts)) * self._pixels

    @property
    def _pixels(self) -> int:
        return self.stage.pixels if self.stage.total else 1

    @cached_property
    def _most(self) -> np.ndarray:
        """int64 [groups, 1]: bounds of the size of sums, those of all pixels where added up."""
        s = self.stage
        kind = s.readers[0].kind
        each = max(-kind.low, kind.high) * (2 if kind.complex else 1) * s.fold.channels
        taps = np.array([sum(not tap.null for tap in group) for group in s.groups])
        shortcuts = sum(abs(shortcut.factor) for shortcut in s.shortcuts)
        return ((taps * each + shortcuts) * self._pixels)[:, None]

    @cached_property
    def _begin(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [groups, parts]: what sums begin with, and the rest."""
        s = self.stage
        none = np.zeros((len(s.groups), self.parts), np.int64)
        if s.thresholds is None:
            bias = none if s.biases is None else s.biases.reshape(none.shape)
            begin, rest = np.divmod(bias - self._low, self.scale)
            return begin, rest
        thresholds = np.clip(s.thresholds.reshape(none.shape), -self._most, self._most + 1)
        return -(thresholds + self._low) // self.scale, none

    @cached_property
    def shape(self) -> Shape:
        """Of an accumulator when all is added up; in between it may wrap."""
        s = self.stage
        if s.thresholds is None:
            return narrowest(s.kind.low // self.scale, s.kind.high // self.scale, True)
        begin = self._begin[0]
        least = -((self._most - self._low) // self.scale) + begin
        most = (self._most + self._low) // self.scale + begin
        return narrowest(int(least.min()), int(most.max()), True)

    @property
    def begins(self) -> list[int]:
        """Of each group the accumulators' first contents, side by side."""
        begin, sign = self._begin[0], 1 << self.shape.width - 1
        if self.stage.thresholds is not None:
            assert self.stage.flips is not None
            begin = begin ^ np.where(self.stage.flips.reshape(begin.shape), 0, sign)
        return _rows(begin, self.shape.width)

    @property
    def rests(self) -> list[int]:
        """Of each group the lowest bits of results that are sums, where units are worth 2."""
        return _rows(self._begin[1], 1)


def _rows(numbers: np.ndarray, width: int) -> list[int]:
    """The numbers of each row side by side, the first lowest, ``width`` bits each."""
    bits = (numbers[..., None] >> np.arange(width)) & 1
    return _packed(bits.reshape(len(bits), -1) == 1)


def _packed(bits: np.ndarray) -> list[int]:
    """The bits of each row, the first lowest."""
    rows = np.packbits(bits, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in rows]
