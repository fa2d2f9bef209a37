"""The golden crossbar: bit-serial inputs, one ADC code per fragment, bit, slice and column.

A step drives the rows of a fragment with one bit of their inputs.  Its columns add up the
conductances of the driven cells, in units of a level; the ADC turns that into a code, the nearest
level, saturated.  Codes are decoded where the column is stored inverted, shifted by the slice's
and the bit's position, negated by the sign indicator, and added up: exact integers from there on.

What a particular chip does to that is a :class:`Chip`.  Conductances and thresholds are fixed-point
integers, ``2**-FRACTION`` of a level, so that sums do not depend on their order: this model, the
compiled one and a simulated design agree to the bit with any noise.
"""

from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from scipy.special import ndtri

from .mapping import Mapping, fragments_of
from .skipping import bits_read, checked

FRACTION = 14
"""Fractional bits of conductances and thresholds; 1,024 rows of 15 levels fit 32 bits."""
NOISE_FRACTION = 12
"""Fractional bits of the normal deviates that read noise is made of."""
_MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
"""The increment and the factors of SplitMix64 (Steele, Lea and Flood, 2014)."""


@dataclass(frozen=True)
class Chip:
    """A mapping as one chip holds it; :meth:`ideal` where cells and ADCs have no flaws."""

    mapping: Mapping
    cells: np.ndarray
    """int32 [planes, fragments, fragment_rows, slices, outputs]: conductances."""
    signs: np.ndarray
    """int8 [planes, fragments, outputs]: as the sign memory reads."""
    thresholds: np.ndarray | None = None
    """int32 [ADCs, adc_top], ascending: a code is the number of thresholds that are not above the
    sum.  None: half a level below every code."""
    adc: np.ndarray | None = None
    """int32 [planes, fragments, slices, outputs]: which ADC reads the column."""
    noise: int = 0
    """Standard deviation of what a read adds to the sum, drawn anew for every read."""
    seed: int = 0
    """Of the read noise."""

    @classmethod
    def ideal(cls, mapping: Mapping) -> Self:
        """Cells at their levels, ADCs that are exact up to saturation."""
        return cls(mapping, mapping.cells.astype(np.int32) << FRACTION, mapping.signs)

    @property
    def linear(self) -> bool:
        """Whether products are those with :meth:`weights`, whatever the inputs.

        So it is where cells are at whole levels, ADCs are exact, and no column can add up more
        than they resolve.
        """
        if self.thresholds is not None or self.noise:
            return False
        whole = (self.cells >= 0).all() and not (self.cells & (1 << FRACTION) - 1).any()
        most = self.cells.sum(axis=2, dtype=np.int64).max(initial=0) >> FRACTION
        return bool(whole) and int(most) <= self.mapping.config.adc_top

    def weights(self) -> np.ndarray:
        """int64 [inputs, outputs]: what the cells, each at its nearest level, stand for."""
        return self.mapping.meaning(self.cells + (1 << FRACTION - 1) >> FRACTION, self.signs)

    def codes(self, sums: np.ndarray, plane: int, fragment: int) -> np.ndarray:
        """What the ADCs give for int64 ``sums`` [..., slices, outputs] of a fragment's columns."""
        if self.thresholds is None:
            half = 1 << FRACTION - 1
            return (sums + half >> FRACTION).clip(0, self.mapping.config.adc_top)
        assert self.adc is not None
        codes = np.empty_like(sums)
        which = self.adc[plane, fragment]
        for adc in np.unique(which):
            here = which == adc
            codes[..., here] = np.searchsorted(self.thresholds[adc], sums[..., here], "right")
        return codes


def product(chip: Chip, inputs: np.ndarray, first: int = 0) -> np.ndarray:
    """int64 [batch, outputs]: what the chip makes of unsigned ``inputs`` [batch, inputs].

    Read noise differs from row to row; row i draws that of row ``first + i``, so that the same
    ``first`` gives the same noise again.  Raises as :func:`fitting`.
    """
    mapping, config = chip.mapping, chip.mapping.config
    x = fragmented(mapping, inputs)
    result = np.zeros((len(x), mapping.outputs), np.int64)
    shifts = config.cell_bits * np.arange(config.slices)[:, None]
    read = bits_read(config, x)
    for p in range(config.planes):
        for f in range(mapping.fragments):
            levels = chip.cells[p, f].reshape(config.fragment_rows, -1).astype(np.int64)
            for b in range(config.input_bits):
                rows = np.flatnonzero(read[:, f, b])
                driven = x[rows, f] >> b & 1
                sums = (driven @ levels).reshape(-1, config.slices, mapping.outputs)
                if chip.noise:
                    sums += _noise(chip, rows + first, p, f, b)
                codes = chip.codes(sums, p, f)
                ones = driven.sum(axis=1)[:, None, None]
                codes = np.where(mapping.flipped[p, f], config.top * ones - codes, codes)
                result[rows] += chip.signs[p, f] * ((codes << shifts).sum(axis=1) << b)
    return result - config.offset * x.sum(axis=(1, 2))[:, None]


@dataclass(frozen=True)
class Clipping:
    """How often the ADCs of an ideal chip saturate."""

    reads: int
    """Conversions, bits that are skipped left out."""
    nonzero: int
    """Of these, of a sum that is not 0."""
    saturated: int
    """Of these, of a sum beyond the highest code."""

    @property
    def rate(self) -> float:
        """Share of the reads of something that saturate."""
        return self.saturated / max(self.nonzero, 1)


def clipping(mapping: Mapping, inputs: np.ndarray) -> Clipping:
    """Counts saturated reads of ``inputs`` [batch, inputs]; raises as :func:`fitting`."""
    config = mapping.config
    x = fragmented(mapping, inputs)
    columns = mapping.cells.reshape(*mapping.cells.shape[:3], -1)
    total = nonzero = saturated = 0
    for f in range(mapping.fragments):
        read = bits_read(config, x[:, f])
        total += int(read.sum())
        driven = (x[:, f, None] >> np.arange(config.input_bits)[:, None] & 1)[read]
        driven, times = _distinct(driven)
        for p in range(config.planes):
            # Sums below 2**24, which float32 holds exactly.
            sums = driven.astype(np.float32) @ columns[p, f].astype(np.float32)
            nonzero += int(times @ np.count_nonzero(sums, axis=1))
            saturated += int(times @ np.count_nonzero(sums > config.adc_top, axis=1))
    return Clipping(total * config.planes * columns.shape[3], nonzero, saturated)


def fragmented(mapping: Mapping, inputs: np.ndarray, dtype: type = np.int64) -> np.ndarray:
    """``dtype`` [batch, fragments, fragment_rows]: :func:`fitting` inputs, filled with 0."""
    inputs = fitting(mapping, inputs).astype(dtype, copy=False)
    return fragments_of(inputs, mapping.config.fragment_rows)


def fitting(mapping: Mapping, inputs: np.ndarray) -> np.ndarray:
    """Inputs [batch, inputs] as they are.

    Raises :class:`ValueError` for another shape and for inputs that are negative or too wide, and
    :class:`TypeError` for those that are not integers.
    """
    inputs = checked(mapping.config, inputs)
    if inputs.ndim != 2 or inputs.shape[1] != mapping.inputs:
        raise ValueError(
            f"inputs have the shape {inputs.shape}, not [batch, {mapping.inputs}]; patches() "
            "makes rows of a convolution's images"
        )
    return inputs


@cache
def normal_deviates() -> np.ndarray:
    """int32 [65536]: equally likely normal deviates, ascending, with ``NOISE_FRACTION`` bits.

    The largest is 4.3 standard deviations.
    """
    quantiles = ndtri((np.arange(1 << 15) + 0.5) / (1 << 16))  # of the lower half: symmetric
    lower = np.rint(quantiles * (1 << NOISE_FRACTION)).astype(np.int32)
    return np.concatenate([lower, -lower[::-1]])


def _distinct(driven: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of 0 and 1, and how often each is there; small fragments have few."""
    rows = driven.shape[1]
    if rows > 16:
        return driven, np.ones(len(driven), np.int64)
    patterns, times = np.unique(driven @ (1 << np.arange(rows)), return_counts=True)
    return patterns[:, None] >> np.arange(rows) & 1, times


def _noise(chip: Chip, rows: np.ndarray, p: int, f: int, b: int) -> np.ndarray:
    """int64 [rows, slices, outputs]: the noise of these reads, a hash of where and when."""
    mapping, config = chip.mapping, chip.mapping.config
    place = (rows * config.planes + p) * mapping.fragments + f
    place = (place * config.input_bits + b) * config.slices
    index = (place[:, None, None] + np.arange(config.slices)[:, None]) * mapping.outputs
    index = (index + np.arange(mapping.outputs)).astype(np.uint64)
    with np.errstate(over="ignore"):
        z = (index + np.uint64(chip.seed) * _MIX[1]) * _MIX[0]
        z = (z ^ z >> np.uint64(30)) * _MIX[1]
        z = (z ^ z >> np.uint64(27)) * _MIX[2]
        z ^= z >> np.uint64(31)
    deviates = normal_deviates()[(z >> np.uint64(48)).astype(np.int64)].astype(np.int64)
    return deviates * chip.noise >> NOISE_FRACTION
