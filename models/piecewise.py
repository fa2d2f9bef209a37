"""Sigmoid and tanh by straight lines: a few dozen words in place of a table."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from .activation import SIGMOID_SPAN, TANH_SPAN, sigmoid_table, tanh_table
from .fixed import round_shift, saturate


@dataclass(frozen=True)
class Piecewise:
    """``function`` interpolated between ``segments + 1`` equidistant joints.

    For an integer ``x`` with ``frac`` fractional bits, ``R`` half-up rounding, ``S``
    saturation and ``w = segment_bits`` bits of ``x`` to a segment::

        u  =  S(x, frac + log2(span)),   s = u >> w,   dx = u - (s << w)
        y  =  R((joint[s] << w) + (joint[s + 1] - joint[s]) * dx, w + guard)

    clamped to :attr:`limits`, that is to [0, 2**bits - 1] for the sigmoid and to
    +-(2**bits - 1) for tanh.  ``y`` has ``bits`` fractional bits, a joint ``bits + guard``.
    The sigmoid's span is [-8, 8), the tanh's [-4, 4).
    """

    function: Literal["sigmoid", "tanh"]
    segments: int
    """A power of two."""
    frac: int
    bits: int
    guard: int = 4

    def __post_init__(self) -> None:
        if self.function not in ("sigmoid", "tanh"):
            raise ValueError(f"function {self.function!r} is not one of sigmoid, tanh")
        if self.segments < 2 or self.segments & (self.segments - 1):
            raise ValueError(f"segments = {self.segments} is not a power of two; take 32, say")
        if self.segment_bits < 1:
            raise ValueError(
                f"segments = {self.segments} leave no point between the joints at "
                f"frac = {self.frac}; lower segments or raise frac"
            )

    @property
    def span(self) -> int:
        """Length of the interval around 0 that the segments cover."""
        return SIGMOID_SPAN if self.function == "sigmoid" else TANH_SPAN

    @property
    def argument_bits(self) -> int:
        """Width of ``u``."""
        return self.frac + self.span.bit_length() - 1

    @property
    def segment_bits(self) -> int:
        """Width of ``dx``."""
        return self.argument_bits - self.segments.bit_length() + 1

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest ``y``."""
        most = 2**self.bits - 1
        return (0 if self.function == "sigmoid" else -most), most

    @cached_property
    def joints(self) -> np.ndarray:
        """``joint[-segments / 2]`` to ``joint[segments / 2]``, in that order."""
        bits = self.bits + self.guard
        if self.function == "sigmoid":
            table = sigmoid_table(self.segments, bits)
            end = 2**bits - table[-self.segments // 2]
        else:
            table = tanh_table(self.segments, bits)
            end = -table[-self.segments // 2]
        return np.append(np.roll(table, self.segments // 2), end)

    @property
    def error(self) -> float:
        """A bound on the distance to the function within the span, in units of ``y``."""
        curvature = 6**-1 * 3**-0.5 if self.function == "sigmoid" else 4 / 3 * 3**-0.5
        step = self.span / self.segments
        chord = curvature * step**2 / 8 * 2**self.bits
        return chord + 2**-self.guard + 1  # 1: the rounding's half, doubled by the clamping

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """``y`` of every element of an integer array."""
        u = saturate(x, self.argument_bits)
        s, w = u >> self.segment_bits, self.segment_bits
        joint = self.joints[s + self.segments // 2]
        rise = self.joints[s + self.segments // 2 + 1] - joint
        y = round_shift((joint << w) + rise * (u - (s << w)), w + self.guard)
        return y.clip(*self.limits)
