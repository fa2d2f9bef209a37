"""Beats of the memory port, taken apart and put together.

A beat is ``beat_bits / 32`` numbers of 32 bits (uint32), low ones first; many beats are an array
[beats, ``beat_bits`` / 32].  *Bits* of elements are unsigned integers of ``element_bits``,
*values* FP32 or int8.  Bits of a beat that nothing is said of are 0.
"""

from typing import Any

import numpy as np

from .. import floating
from .config import NmConfig
from .gemm import sparse
from .program import Dataflow


def values(config: NmConfig, bits: Any) -> np.ndarray:
    """The values of elements' ``bits``."""
    if config.format == "int8":
        return np.asarray(bits).astype(np.uint8).view(np.int8)
    return floating.decode(np.asarray(bits).astype(np.uint16), floating.FORMATS[config.format])


def bits(config: NmConfig, values: Any) -> np.ndarray:
    """The reverse; FP32 is rounded to the format."""
    if config.format == "int8":
        return np.asarray(values, np.int8).view(np.uint8)
    return floating.encode(values, floating.FORMATS[config.format])


def words(config: NmConfig, beats: np.ndarray) -> np.ndarray:
    """Bits [beats, ``port_words``, M] of the elements of left words."""
    kind = np.dtype("<u1" if config.element_bits == 8 else "<u2")
    return _raw(config, beats).view(kind).reshape(-1, config.port_words, config.group)


def from_words(config: NmConfig, words: np.ndarray) -> np.ndarray:
    """Beats of left words, bits [..., M]; as many words as fill beats."""
    kind = np.dtype("<u1" if config.element_bits == 8 else "<u2")
    return _beats(config, np.ascontiguousarray(words, kind).view(np.uint8))


def entries(config: NmConfig, beats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bits of the values and indices, each [beats, E], of right entries."""
    used = config.beat_entries * config.entry_bits
    flags = np.unpackbits(_raw(config, beats), axis=1, count=used, bitorder="little")
    flags = flags.reshape(-1, config.beat_entries, config.entry_bits)
    value = np.packbits(flags[..., : config.element_bits], axis=-1, bitorder="little")
    kind = np.dtype("<u1" if config.element_bits == 8 else "<u2")
    index = flags[..., config.element_bits :] @ (1 << np.arange(config.index_bits))
    return value.view(kind)[..., 0], index.astype(np.uint8)


def from_entries(config: NmConfig, value: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Beats of right entries, in the order of ``value`` and ``index`` (any shape, of E each)."""
    value = value.reshape(-1, config.beat_entries, 1).astype(np.int64)
    index = index.reshape(-1, config.beat_entries, 1).astype(np.int64)
    whole = (value | index << config.element_bits) >> np.arange(config.entry_bits) & 1
    flags = np.zeros((len(whole), config.beat_bits), np.uint8)
    flags[:, : config.beat_entries * config.entry_bits] = whole.reshape(len(whole), -1)
    return _beats(config, np.packbits(flags, axis=1, bitorder="little"))


def right_operand(
    config: NmConfig, dataflow: Dataflow, weights: np.ndarray, mask: np.ndarray | None = None
) -> np.ndarray:
    """Beats of the right operand of ``weights`` (values) [size, columns], both axes padded.

    They lie as :class:`.program.Update` writes its ``forward``; ``mask`` None is dense.
    """
    c = config
    size, columns = weights.shape
    if size % c.group or columns % c.columns:
        raise ValueError(
            f"weights are {size} x {columns}; pad them to multiples of group = {c.group} and "
            f"columns = {c.columns}"
        )
    if mask is None:
        value, k = weights, np.broadcast_to(np.arange(size)[:, None], weights.shape)
    else:
        value, k = sparse(c, weights, mask)
    shape = (-1, columns // c.columns, c.columns)
    if dataflow == "weight":
        shape = (len(value) // c.kept, c.kept, *shape[1:])
    order = (2, 0, 3, 1) if dataflow == "weight" else (1, 0, 2)
    value, index = (part.reshape(shape).transpose(order) for part in (bits(c, value), k % c.group))
    return from_entries(c, value, index)


def from_sums(config: NmConfig, sums: np.ndarray) -> np.ndarray:
    """Beats of ``beat_sums`` sums (FP32 or int32) each."""
    sums = np.ascontiguousarray(sums).view(np.uint32).reshape(-1, config.beat_sums)
    beats = np.zeros((len(sums), config.beat_bits // 32), np.uint32)
    beats[:, : config.beat_sums] = sums
    return beats


def sums(config: NmConfig, beats: np.ndarray) -> np.ndarray:
    """The reverse: [beats, ``beat_sums``], FP32 or int32."""
    found = np.ascontiguousarray(beats[:, : config.beat_sums])
    return found.view(np.int32 if config.format == "int8" else np.float32)


def from_masters(config: NmConfig, weights: np.ndarray, velocities: np.ndarray) -> np.ndarray:
    """Beats of the FP32 masters [rows, columns] of an update's rows and blocks * C columns."""
    rows, columns = weights.shape
    lanes, width = config.lanes, config.beat_bits // 32
    pairs = np.stack([weights, velocities], -1).astype(np.float32).view(np.uint32)
    steps = pairs.reshape(rows, columns // lanes, 2 * lanes).swapaxes(0, 1)
    beats = -(-2 * lanes // width)
    filled = np.zeros((*steps.shape[:2], beats * width), np.uint32)
    filled[..., : 2 * lanes] = steps
    return filled.reshape(-1, width)


def masters(
    config: NmConfig, beats: np.ndarray, rows: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """The reverse: weights and velocities."""
    lanes, width = config.lanes, config.beat_bits // 32
    steps = beats.reshape(columns // lanes, rows, -(-2 * lanes // width) * width)
    pairs = np.ascontiguousarray(steps[..., : 2 * lanes].swapaxes(0, 1)).view(np.float32)
    pairs = pairs.reshape(rows, columns, 2)
    return pairs[..., 0], pairs[..., 1]


def number(beat: np.ndarray) -> int:
    """A beat as one number."""
    return int.from_bytes(np.ascontiguousarray(beat, "<u4").tobytes(), "little")


def from_numbers(config: NmConfig, numbers: list[int]) -> np.ndarray:
    """Beats, each given as one number."""
    joined = b"".join(n.to_bytes(config.beat_bits // 8, "little") for n in numbers)
    return np.frombuffer(joined, np.dtype("<u4")).reshape(-1, config.beat_bits // 32)


def _raw(config: NmConfig, beats: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(beats, "<u4").view(np.uint8).reshape(-1, config.beat_bits // 8)


def _beats(config: NmConfig, raw: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(raw).reshape(-1, config.beat_bits // 8).view(np.dtype("<u4"))
