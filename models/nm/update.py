"""The weight update and the right operands of the next step, bit for bit.

A weight w with velocity v and gradient g (an int32 is converted to FP32 first), with the registers
``scale``, ``decay``, ``momentum`` and ``rate`` (bits of FP32 numbers), becomes::

    g' = g * scale + decay * w
    v' = momentum * v + g'
    w' = w - rate * v'

Each product and each sum is rounded to FP32 (:mod:`..floating`): it is momentum SGD as PyTorch's.
The copy for the array is w' rounded to nearest even to FP16 or BF16; int8: ``w' *
2**weight_shift``, saturating (NaN becomes 127).

Of every M values along an operand's reduction axis the N whose FP32 magnitudes are largest remain;
magnitudes compare as the integers of their 31 bits, so a NaN counts as largest; of equal ones the
later remains.

An update writes, for each of its steps (:class:`.program.Update`): the step's masters; the tile of
the forward operand that the step completes, if any; that of the backward operand.  The beats of a
tile (:class:`.update_cycles.Tile`) are written in the order of their addresses.  Bits of a beat
that nothing is said of are 0.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from .. import floating
from .config import NmConfig
from .program import ADDRESS_BITS, Update
from .update_cycles import Tile, step_beats, tiles

REGISTERS: tuple[str, ...] = ("rate", "momentum", "decay", "scale")
"""Registers of FP32 bits; beside them int8's ``weight_shift``, 0 to 31."""


def learn(
    weights: np.ndarray, velocities: np.ndarray, gradients: np.ndarray, registers: Mapping[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """(w', v') of FP32 ``weights`` and ``velocities`` and FP32 or int32 ``gradients``, all of one
    shape."""
    rate, momentum, decay, scale = (
        np.uint32(registers[name]).view(np.float32) for name in REGISTERS
    )
    if np.issubdtype(gradients.dtype, np.integer):
        gradients = floating.from_int32(gradients)
    multiply, add = floating.multiply, floating.add
    steered = add(multiply(gradients, scale), multiply(weights, decay))
    velocities = add(multiply(velocities, momentum), steered)
    return add(weights, -multiply(velocities, rate)), velocities


def operands(
    weights: np.ndarray, format: Literal["int8", "fp16", "bf16"], weight_shift: int = 0
) -> np.ndarray:
    """int64: the bits of FP32 ``weights`` in the array's ``format``."""
    if format != "int8":
        return floating.encode(weights, floating.FORMATS[format]).astype(np.int64)
    with np.errstate(invalid="ignore"):
        scaled = np.rint(np.ldexp(weights.astype(np.float64), weight_shift)).clip(-128, 127)
    return np.where(np.isnan(scaled), 127, scaled).astype(np.int64) & 0xFF


def magnitudes(weights: np.ndarray) -> np.ndarray:
    """int64: what of FP32 ``weights`` is compared."""
    return np.ascontiguousarray(weights).view(np.uint32).astype(np.int64) & 0x7FFFFFFF


def survivors(magnitudes: np.ndarray, kept: int) -> np.ndarray:
    """int64 [..., kept]: ascending, the positions of the ``kept`` largest along the last axis."""
    order = np.argsort(magnitudes, axis=-1, kind="stable")
    return np.sort(order[..., magnitudes.shape[-1] - kept :], axis=-1)


def entries(values: np.ndarray, magnitudes: np.ndarray, kept: int, element_bits: int) -> np.ndarray:
    """int64 [..., kept]: entries, ascending, of the groups along the last axis of ``values``."""
    chosen = survivors(magnitudes, kept)
    return np.take_along_axis(values, chosen, axis=-1) | chosen << element_bits


def update(
    config: NmConfig,
    instruction: Update,
    gradients: np.ndarray,
    masters: Sequence[int],
    registers: Mapping[str, int],
) -> list[tuple[int, int]]:
    """(address, beat) of all writes of ``instruction``, in their order.

    ``gradients`` [blocks, rows, C] are sums: FP32 or, for int8, int32, or the bits of either;
    ``masters`` are the beats that the load unit passes on.  Raises :class:`ValueError` where
    numbers do not fit together.
    """
    c, i = config, instruction
    segments, beats_in = c.columns // c.lanes, step_beats(c)
    shape = (i.blocks, segments, i.rows, c.lanes)
    if i.rows % c.columns:
        raise ValueError(
            f"rows = {i.rows} is not a multiple of columns = {c.columns}; pad the weights' inputs "
            f"to {-(-i.rows // c.columns) * c.columns}"
        )
    if gradients.shape != (i.blocks, i.rows, c.columns):
        raise ValueError(
            f"gradients are {gradients.shape}, not [blocks, rows, columns] = "
            f"{(i.blocks, i.rows, c.columns)}"
        )
    count = i.blocks * segments * i.rows
    if len(masters) != count * beats_in:
        raise ValueError(
            f"{len(masters)} beats of masters, but {count} steps take {count * beats_in}; mend "
            "the load"
        )
    kind = np.int32 if c.format == "int8" else np.float32
    gradients = np.ascontiguousarray(gradients).astype(gradients.dtype).view(kind)
    by_lane = gradients.reshape(i.blocks, i.rows, segments, c.lanes).swapaxes(1, 2)
    pairs = _words(masters, c.beat_bits).reshape(count, -1)[:, : 2 * c.lanes]
    pairs = pairs.reshape(*shape, 2).view(np.float32)
    weights, velocities = learn(pairs[..., 0], pairs[..., 1], by_lane, registers)

    values = operands(weights, c.format, registers.get("weight_shift", 0))
    keys = magnitudes(weights)
    pairs = np.stack([weights, velocities], axis=-1).reshape(count, -1)
    filled = np.zeros((count, beats_in * c.beat_bits // 32), np.uint32)
    filled[:, : pairs.shape[1]] = pairs.view(np.uint32)
    forward, backward = tiles(c, i)
    # Steps a tile, addresses [tiles, beats], beats.
    places = i.masters + np.arange(count * beats_in).reshape(count, -1)
    written = [
        (1, places, _beats(filled, c.beat_bits)),
        (forward.steps, *_forward(c, i, forward, values, keys)),
        (backward.steps, *_backward(c, i, backward, values, keys)),
    ]
    # Steps that are over when a tile is written; of equal ones the order is that of above.
    when = [
        np.repeat((np.arange(len(addresses)) + 1) * every, addresses.shape[1])
        for every, addresses, _ in written
    ]
    order = np.argsort(np.concatenate(when), kind="stable")
    addresses = np.concatenate([part.ravel() for _, part, _ in written]) % (1 << ADDRESS_BITS)
    beats = [beat for _, _, part in written for beat in part]
    return [(int(addresses[x]), beats[x]) for x in order]


def _forward(
    c: NmConfig, i: Update, tile: Tile, values: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """Addresses [tiles, beats] and beats of ``values`` [blocks, segments, rows, L]."""
    blocks, segments, rows, lanes = values.shape
    groups = rows // tile.steps

    def by_lane(x: np.ndarray) -> np.ndarray:
        return x.reshape(blocks, segments, groups, tile.steps, lanes).swapaxes(-1, -2)

    if i.forward_sparse:
        made = entries(by_lane(values), by_lane(keys), c.kept, c.element_bits)
    else:
        index = np.arange(rows) % c.group << c.element_bits
        made = by_lane(values | index[:, None])
    if i.forward_dataflow == "output":
        made = made.swapaxes(-1, -2)  # slot by slot
    block, segment, group, line, beat = np.ogrid[
        :blocks, :segments, :groups, : tile.lines, : tile.width
    ]
    pitch = c.columns * tile.word // c.beat_entries  # beats of a word or slot in all columns
    place = ((block * groups + group) * tile.lines + line) * pitch + segment * tile.width + beat
    return _placed(c, tile, i.forward + place, made)


def _backward(
    c: NmConfig, i: Update, tile: Tile, values: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """The same of the transpose."""
    blocks, segments, rows, lanes = values.shape
    if i.backward_sparse:
        groups = (blocks, segments, rows, lanes // c.group, c.group)
        made = entries(values.reshape(groups), keys.reshape(groups), c.kept, c.element_bits)
    else:
        made = values | np.arange(lanes) % c.group << c.element_bits
    pitch = c.columns // tile.steps
    made = made.reshape(blocks, segments, rows // tile.steps, tile.steps, tile.lines, tile.word)
    made = made.swapaxes(-2, -3)
    block, segment, row, beat, line = np.ogrid[
        :blocks, :segments, : rows // c.columns, :pitch, : tile.lines
    ]
    line = (block * segments + segment) * tile.lines + line
    place = (row * blocks * segments * tile.lines + line) * pitch + beat
    return _placed(c, tile, i.backward + place, made)


def _placed(
    c: NmConfig, tile: Tile, addresses: np.ndarray, made: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """``addresses`` [tiles, beats], and beats of ``made``, whose last axes are those of a tile."""
    bits = made.reshape(-1, c.beat_entries, 1) >> np.arange(c.entry_bits) & 1
    packed = np.packbits(bits.astype(np.uint8).reshape(len(bits), -1), axis=1, bitorder="little")
    beats = [int.from_bytes(row.tobytes(), "little") for row in packed]
    return addresses.reshape(-1, tile.beats), beats


def _words(beats: Sequence[int], bits: int) -> np.ndarray:
    """uint32: ``beats`` as words of 32 bits, low ones first."""
    joined = b"".join(int(beat).to_bytes(bits // 8, "little") for beat in beats)
    return np.frombuffer(joined, np.dtype("<u4"))


def _beats(words: np.ndarray, bits: int) -> list[int]:
    """The reverse."""
    rows = np.ascontiguousarray(words, np.dtype("<u4")).reshape(-1, bits // 32)
    return [int.from_bytes(row.tobytes(), "little") for row in rows]
