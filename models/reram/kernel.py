"""The golden crossbar, compiled: :func:`.array.product`, bit for bit, on one thread.

``kernel.cpp`` is compiled when it is first needed (:mod:`..native`).
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .. import native
from ..native import KernelMissing as KernelMissing
from .array import FRACTION, NOISE_FRACTION, Chip, fragmented, normal_deviates

TABLE_BYTES = 256 << 20
"""Of a chip's tables, at most; beyond that every column is read."""
TABLE_ROWS = 8
"""Of a fragment that is tabulated, at most."""
# -fwrapv: negative numbers are shifted left.
_FLAGS = ("-fwrapv",)
_SOURCE = Path(__file__).with_name("kernel.cpp")
_HEADER = Path(__file__).with_name("read.h")
_BLOCK = 16
"""Outputs of a table are filled up to a multiple of it."""
_SKIP = {"none": 0, "leading": 1, "any": 2}


class Kernel:
    """A chip made ready: its tables, where its fragments are small and its reads repeat."""

    def __init__(self, chip: Chip) -> None:
        """Compiles where that is still to be done.  Raises :class:`.native.KernelMissing`."""
        self.chip = chip
        self._library = library()
        mapping, config = chip.mapping, chip.mapping.config
        # Levels alone, without fractional bits, where that is all that there is.
        self._narrow = chip.thresholds is None and not chip.noise
        self._narrow &= not bool((chip.cells & (1 << FRACTION) - 1).any())
        sums = np.abs(chip.cells).sum(axis=2, dtype=np.int64)
        self._narrow &= int(sums.max()) < 1 << 15 + FRACTION
        width = -(-mapping.outputs // _BLOCK) * _BLOCK
        entries = mapping.fragments * width << min(config.fragment_rows, 32)
        self.tabulated = (
            not chip.noise and config.fragment_rows <= TABLE_ROWS and 4 * entries <= TABLE_BYTES
        )
        """Whether products are sums of table rows."""
        self._held = {
            "cells": np.ascontiguousarray(chip.cells, np.int32),
            "flipped": np.ascontiguousarray(mapping.flipped, np.uint8),
            "signs": np.ascontiguousarray(chip.signs, np.int8),
            "thresholds": _ready(chip.thresholds),
            "adc": _ready(chip.adc),
        }
        if self.tabulated:
            self._tables = self._respond(width)
        elif self._narrow:
            self._held["cells"] = (chip.cells >> FRACTION).astype(np.int16, order="C")

    def __call__(self, inputs: np.ndarray, first: int = 0) -> np.ndarray:
        """As :func:`.array.product` of the chip; raises alike."""
        mapping = self.chip.mapping
        x = np.ascontiguousarray(fragmented(mapping, inputs, np.uint16))
        if not self.tabulated:
            out = np.zeros((len(x), mapping.outputs), np.int64)
            call = self._library.direct_16 if self._narrow else self._library.direct_32
            held = [_pointer(self._held[name]) for name in self._held]
            shape = self._shape(fraction=0 if self._narrow else FRACTION)
            call(shape, len(x), first, _pointer(x), *held, _pointer(normal_deviates()),
                 _pointer(out))  # fmt: skip
        else:
            out = np.empty((len(x), mapping.outputs), np.int64)
            # A step that drives nothing need not be looked up where it gives nothing.
            shape = self._shape() if self._tables[:, 0].any() else self._shape(skip=_SKIP["any"])
            narrow = self._tables.dtype == np.int16
            call = self._library.gather_16_32 if narrow else self._library.gather_32_64
            call(shape, len(x), _pointer(x), _pointer(self._tables), _pointer(out))
        if mapping.config.offset:
            out -= mapping.config.offset * x.sum(axis=(1, 2), dtype=np.int64)[:, None]
        return out

    def _respond(self, width: int) -> np.ndarray:
        """The tables [fragments, patterns, width], int16 where all sums then fit 32 bits."""
        mapping, config = self.chip.mapping, self.chip.mapping.config
        tables = np.zeros((mapping.fragments, 1 << config.fragment_rows, width), np.int32)
        held = [_pointer(part) for part in self._held.values()]
        self._library.respond(self._shape(), *held, _pointer(tables))
        largest = np.abs(tables).max(axis=(1, 2)).astype(np.int64)
        sums = int(largest.sum()) * ((1 << config.input_bits) - 1)
        return tables.astype(np.int16) if largest.max() < 1 << 15 and sums < 1 << 31 else tables

    def _shape(self, fraction: int = FRACTION, skip: int | None = None) -> Any:
        values = shape_of(self.chip, fraction, skip)
        return (ctypes.c_int64 * len(values))(*values)


def shape_of(chip: Chip, fraction: int = FRACTION, skip: int | None = None) -> tuple[int, ...]:
    """The ``Shape`` in ``read.h``."""
    mapping, config = chip.mapping, chip.mapping.config
    return (
        config.planes, mapping.fragments, config.fragment_rows, config.slices, mapping.outputs,
        config.input_bits, config.cell_bits, config.top, config.adc_top, fraction,
        _SKIP[config.skip] if skip is None else skip, chip.noise, NOISE_FRACTION, chip.seed,
    )  # fmt: skip


@cache
def library() -> ctypes.CDLL:
    """The compiled kernel.  Raises :class:`KernelMissing` without a C++ compiler."""
    found = native.library(_SOURCE, [_HEADER], _FLAGS, "or take how='numpy'")
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    found.respond.argtypes = [pointer] * 7
    for name in ("gather_16_32", "gather_32_64"):
        getattr(found, name).argtypes = [pointer, number, pointer, pointer, pointer]
    for name in ("direct_16", "direct_32"):
        getattr(found, name).argtypes = [pointer, number, number] + [pointer] * 8
    for name in ("respond", "gather_16_32", "gather_32_64", "direct_16", "direct_32"):
        getattr(found, name).restype = None
    return found


def _ready(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else np.ascontiguousarray(array, np.int32)


def _pointer(array: np.ndarray | None) -> int | None:
    return None if array is None else array.ctypes.data
