"""Batch norm and sign as integer thresholds, exact for every sum that there can be.

In double precision, each of a batch norm's four steps (subtract, divide, multiply, add) is
monotonic, with its rounding: a larger operand never gives a smaller result, or never a larger one
where the scale is negative.  So is all of it, and the sign of its result steps once as sums grow.
Where it does is found by bisection with the very arithmetic of double precision, not by solving
for the sum in numbers that round another way.
"""

from dataclasses import dataclass

import numpy as np

from .operations import Kind, Threshold


@dataclass(frozen=True, eq=False)
class Norm:
    """Batch norm in evaluation, in double precision and in this order::

        (x - mean) / sqrt(variance + eps) * scale + shift

    Arrays are float64 [channels], or [channels, 2] of complex sums; one number for both parts may
    be given as [channels], but for means.  Raises :class:`ValueError` for complex numbers, and for
    those that are not finite.
    """

    mean: np.ndarray
    variance: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    eps: float = 1e-5

    def __post_init__(self) -> None:
        names = ("mean", "variance", "scale", "shift")
        values = {name: np.asarray(getattr(self, name)) for name in names}
        if any(np.iscomplexobj(value) for value in values.values()):
            raise ValueError(
                "a complex scale turns the plane, so that a sign depends on both parts and is no "
                "threshold on one; take a real scale, and give means and shifts as [channels, 2]"
            )
        shape = values["mean"].shape
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 2):
            raise ValueError(f"means are [channels] or [channels, 2], not {shape}")
        for name, value in values.items():
            value = value.astype(np.float64)
            if value.shape == shape[:1] and len(shape) == 2:
                value = value[:, None].repeat(2, axis=1)
            if value.shape != shape:
                raise ValueError(f"{name} {value.shape} does not go with means {shape}")
            if not np.isfinite(value).all():
                channel = int(np.argwhere(~np.isfinite(value))[0, 0])
                raise ValueError(f"the {name} of channel {channel} is {value[channel]}")
            object.__setattr__(self, name, value)
        if (self.variance + self.eps <= 0).any():
            channel = int(np.argwhere(self.variance + self.eps <= 0)[0, 0])
            raise ValueError(
                f"the variance of channel {channel} plus eps = {self.eps} is not above 0; take a "
                "larger eps"
            )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float64, of integers [..., channels] or [..., channels, 2]."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (x - self.mean) / np.sqrt(self.variance + self.eps) * self.scale + self.shift


def identity(source: Kind) -> Norm:
    """What leaves sums as they are: a sign alone."""
    shape = (source.channels, 2) if source.complex else (source.channels,)
    zeros, ones = np.zeros(shape), np.ones(shape)
    return Norm(zeros, ones, ones, zeros, 0.0)


def fold(norm: Norm, source: Kind) -> Threshold:
    """The threshold that gives 1 where ``norm(x) >= 0``, else -1, for every sum of ``source``.

    Channels whose scale is negative are flipped.  Where the sign is the same for all sums, the
    threshold is the least sum or one above the greatest.  Raises :class:`ValueError` where
    ``source`` has other channels, or sums beyond those that double precision holds.
    """
    shape = (source.channels, 2) if source.complex else (source.channels,)
    if norm.mean.shape != shape:
        raise ValueError(f"batch norm of {norm.mean.shape} numbers on {source}")
    if max(-source.low, source.high) > 1 << 53:
        raise ValueError(f"sums from {source.low} to {source.high} are beyond double precision")
    ends = norm(np.full(shape, source.low)), norm(np.full(shape, source.high))
    if np.isnan(ends).any():
        channel = int(np.argwhere(np.isnan(ends).any(axis=0))[0, 0])
        raise ValueError(f"batch norm of channel {channel} overflows: its variance is too small")
    flips = norm.scale < 0
    low, high = np.full(shape, source.low), np.full(shape, source.high + 1)
    while (low < high).any():
        middle = (low + high) // 2
        above = ((norm(middle) >= 0) != flips) | (middle > source.high)
        low, high = np.where(above, low, middle + 1), np.where(above, middle, high)
    return Threshold(low, flips)
