"""IEEE half-precision numbers as integers."""

import numpy as np


def sortable(bits: np.ndarray) -> np.ndarray:
    """int64 in the order of the half-precision numbers whose ``bits`` are given as integers.

    The two zeros are 0, numbers of opposite sign are opposite.  Raises :class:`ValueError` on NaN.
    """
    bits = np.asarray(bits).astype(np.int64)
    magnitude = bits & 0x7FFF
    if (magnitude > 0x7C00).any():
        raise ValueError("a half-precision number is NaN; mend the values before they are encoded")
    return np.where(bits >> 15, -magnitude, magnitude)


def half_bits(values: np.ndarray) -> np.ndarray:
    """Bits, int64, of :func:`sortable` integers; 0 is the positive zero."""
    values = np.asarray(values)
    return np.where(values < 0, 0x8000 - values, values)
