"""What a store writes: sums, converted and put into the order of a format, bit for bit."""

from typing import Any

import numpy as np

from . import layout
from .config import NmConfig
from .program import Store


def store(config: NmConfig, instruction: Store, sums: np.ndarray) -> np.ndarray:
    """Beats of ``instruction``, in their order, of ``sums``: bits, uint32 [blocks, rows, C].

    Raises :class:`ValueError` where rows or blocks do not fill words or beats.
    """
    c, i = config, instruction
    blocks, rows, columns = sums.shape
    sums = np.ascontiguousarray(sums).view(np.int32 if c.format == "int8" else np.float32)
    if i.relu:
        sums = relu(sums)
    if i.format == "sums":
        return layout.from_sums(c, sums)
    made = converted(c, sums, i.shift)
    match i.format:
        case "rows":
            _whole("blocks * columns / group", blocks * columns // c.group, "port_words", c)
            return layout.from_words(c, made.swapaxes(0, 1))
        case "columns":
            _whole("rows", rows, "group", c)
            _whole("blocks * columns", blocks * columns, "port_words", c)
            made = made.reshape(blocks, -1, c.group, columns).transpose(1, 0, 3, 2)
            return layout.from_words(c, made)
        case "words":
            _whole("rows", rows, "kept", c)
            index = np.broadcast_to(np.arange(rows)[:, None] % c.group, made.shape)
            by_word = (blocks, -1, c.kept, columns)
            return layout.from_entries(
                c, *(part.reshape(by_word).swapaxes(2, 3) for part in (made, index))
            )
        case "entries":
            index = np.broadcast_to(np.arange(rows)[:, None] % c.group, made.shape)
            return layout.from_entries(c, made, index)
    raise ValueError(f"there is no format {i.format!r}")


def relu(sums: Any) -> np.ndarray:
    """``sums`` with +0 for what has a minus sign; a NaN stays."""
    return np.where(np.signbit(sums) & (sums == sums), sums.dtype.type(0), sums)


def converted(config: NmConfig, sums: Any, shift: int = 0) -> np.ndarray:
    """Bits of elements, of ``sums`` (FP32 or int32).

    FP32 is rounded to nearest even; int32, times ``2**-shift``, too, saturating to int8.
    """
    if config.format != "int8":
        return layout.bits(config, sums)
    wide = np.asarray(sums, np.int64)
    if shift:
        # Half, less where the result would be even: ties go to even.
        wide = wide + (1 << shift - 1) - 1 + (wide >> shift & 1) >> shift
    return layout.bits(config, wide.clip(-128, 127))


def _whole(what: str, count: int, name: str, config: NmConfig) -> None:
    part = getattr(config, name)
    if count % part:
        raise ValueError(f"{what} = {count} is not a multiple of {name} = {part}; pad it")
