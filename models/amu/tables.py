"""Tables in integers: zero points, one scale, and bolt's rule beside ours."""

import math
from dataclasses import dataclass

import numpy as np

from ..fixed import limits


@dataclass(frozen=True, eq=False)
class Integers:
    """``(bias[m] + sum over c of tables[c, k, m]) / scale`` is about what the tables gave."""

    tables: np.ndarray
    """int64 [codebooks, prototypes, outputs], unsigned"""
    bias: np.ndarray
    """int64 [outputs]"""
    scale: float
    """Integers to the unit of the tables given."""


def quantise(
    tables: np.ndarray, bias: np.ndarray, bits: int = 8, scale: float | None = None
) -> Integers:
    """Unsigned tables of ``bits`` bits, from float ``tables`` [C, K, M] and ``bias`` [M].

    Each (codebook, output) has a zero point, its least entry z[c, m], which goes into the bias::

        integer = round_half_up((tables - z) * scale)
        bias    = round_half_up((bias + sum over c of z) * scale)

    There is one ``scale``, by default the largest for which every entry fits; a smaller one may be
    given, such as a power of two.  Raises :class:`ValueError` where an entry does not fit, or is
    not finite.
    """
    tables, bias = _finite(tables), np.asarray(bias, np.float64)
    if bias.shape != tables.shape[2:] or not np.isfinite(bias).all():
        raise ValueError(f"bias is finite and of shape {tables.shape[2:]}, not {bias.shape}")
    largest = limits(_bits(bits), signed=False)[1]
    zero = tables.min(axis=1, keepdims=True)
    span = float((tables - zero).max())
    if scale is None:
        scale = largest / span if span > 0 else 1.0
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"a scale of {scale} is none; it is above 0")
    integers = _half_up((tables - zero) * scale)
    if integers.max() > largest:
        raise ValueError(
            f"an entry of {span:.6g} above its zero point takes {integers.max()} at the scale "
            f"{scale:.6g}, more than {bits} bits hold; the scale is at most {largest / span:.6g}"
        )
    return Integers(integers, _half_up((bias + zero.sum(axis=(0, 1))) * scale), scale)


@dataclass(frozen=True, eq=False)
class BoltTables:
    """``sum over c of tables[c, k, m] / scale + offset``, by the rule of bolt and of halut."""

    tables: np.ndarray
    """int64 [codebooks, prototypes, outputs], 0 to 255"""
    offset: float
    """Of all codebooks together; the same for every output."""
    scale: float
    """A hair below a power of two, times 255.5."""


def quantise_like_bolt(tables: np.ndarray) -> BoltTables:
    """bolt's bytes of float ``tables`` [C, K, M], entry for entry.

    A codebook's zero point is its least entry over all outputs; the scale is
    ``(255.5 - 1e-10) / 2**ceil(log2(widest codebook))``; an entry is cut off after adding a half.
    """
    tables = _finite(tables)
    least = tables.min(axis=(1, 2))
    gap = float((tables.max(axis=(1, 2)) - least).max())
    if not gap > 0:
        raise ValueError("all entries of every codebook are equal, for which bolt has no scale")
    scale = 2.0 ** -math.ceil(math.log2(gap)) * (255.5 - 1e-10)
    integers = ((tables - least[:, None, None]) * scale + 0.5).astype(np.int64)
    return BoltTables(integers, float(least.sum()), scale)


def _finite(tables: np.ndarray) -> np.ndarray:
    array = np.asarray(tables, np.float64)
    if array.ndim != 3 or not array.size:
        raise ValueError(f"tables are [codebooks, prototypes, outputs], not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("tables hold NaN or infinity; mend the values before quantising")
    return array


def _bits(bits: int) -> int:
    if not 1 <= bits <= 32:
        raise ValueError(f"tables of {bits} bits: 1 to 32 are possible")
    return bits


def _half_up(values: np.ndarray) -> np.ndarray:
    floor = np.floor(values)
    return (floor + (values - floor >= 0.5)).astype(np.int64)
