"""A layer's tensors in external memory, and out of it: values, as :mod:`.layout` has them."""

import numpy as np

from . import layout
from .operands import Operands
from .update import update

_ONE = int(np.float32(1).view(np.uint32))
_STILL = {"rate": 0, "momentum": _ONE, "decay": 0, "scale": 0}
"""Registers of an update that leaves weights and velocities as they are."""


def put_input(operands: Operands, memory: np.ndarray, x: np.ndarray) -> None:
    """``x`` [images, inputs, height, width]; its margins and channels that pad are zeros."""
    around = operands.layer.padding
    padded = np.pad(_channels(x, operands.inputs), [(0, 0), (around,) * 2, (around,) * 2, (0, 0)])
    _put_left(operands, memory, "x_left", padded)
    c = operands.config
    kept = c.kept if operands.dataflows["gradient"] == "weight" else 1
    images, height, width, _ = padded.shape
    by_word = padded.reshape(images // kept, kept, height, width, -1, c.columns)
    index = np.arange(images).reshape(images // kept, kept, 1, 1, 1, 1) % c.group
    index = np.broadcast_to(index, by_word.shape)
    value, index = (part.transpose(4, 2, 3, 0, 5, 1) for part in (layout.bits(c, by_word), index))
    _put(operands, memory, "x_right", layout.from_entries(c, value, index))


def put_output_gradient(operands: Operands, memory: np.ndarray, dy: np.ndarray) -> None:
    """``dy`` [images, outputs, height, width] of the output."""
    c = operands.config
    dy = _channels(dy, operands.outputs)
    if operands.layer.backward:
        before, below, right = operands.margins
        around = [(0, 0), (before, below), (before, right), (0, 0)]
        _put_left(operands, memory, "dy_left", np.pad(dy, around))
    dy = np.pad(dy, [(0, 0), (0, 0), (operands.shift_margin,) * 2, (0, 0)])
    images, height, width, channels = dy.shape
    words = layout.bits(c, dy).reshape(images // c.group, c.group, height, width, channels)
    _put(operands, memory, "dy_columns", layout.from_words(c, words.transpose(2, 3, 0, 4, 1)))


def put_weights(
    operands: Operands,
    memory: np.ndarray,
    weights: np.ndarray,
    velocities: np.ndarray,
    weight_shift: int = 0,
) -> None:
    """FP32 masters [outputs, inputs, kernel, kernel], and the right operands that they give."""
    c, o = operands.config, operands
    blocks = o.fragment_blocks * c.columns
    gradients = np.zeros((o.fragment_blocks, o.fragment_rows, c.columns), np.uint32)
    both = [_by_fragment(o, part) for part in (weights, velocities)]
    for number in range(len(both[0])):
        beats = layout.from_masters(
            c, *(part[number].reshape(o.fragment_rows, blocks) for part in both)
        )
        instruction = o.update(number, 0, 0, o.fragment_rows)
        registers = _STILL | {"weight_shift": weight_shift}
        numbers = [layout.number(beat) for beat in beats]
        written = update(c, instruction, gradients, numbers, registers)
        where = [address for address, _ in written]
        memory[where] = layout.from_numbers(c, [beat for _, beat in written])


def weights(operands: Operands, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The masters: weights and velocities."""
    o, y = operands, operands.layer
    at, size = o.regions["masters"]
    columns = o.fragment_blocks * o.config.columns
    beats = memory[at : at + size].reshape(-1, o.fragment_masters, memory.shape[1])
    found = [layout.masters(o.config, part, o.fragment_rows, columns) for part in beats]
    _, along_in, along_out = o.fragments
    tensors = []
    for part in zip(*found, strict=True):
        whole = np.stack(part).reshape(
            y.kernel, y.kernel, along_in, along_out, o.fragment_rows, columns
        )
        whole = whole.transpose(3, 4, 2, 5, 0, 1).reshape(o.outputs, o.inputs, y.kernel, y.kernel)
        tensors.append(whole[: y.outputs, : y.inputs])
    return tensors[0], tensors[1]


def output(operands: Operands, memory: np.ndarray) -> np.ndarray:
    """The output [images, outputs, height, width]."""
    return _left(operands, memory, "y_left", operands.layer.output, operands.outputs)[
        :, : operands.layer.outputs
    ]


def input_gradient(operands: Operands, memory: np.ndarray) -> np.ndarray:
    """The gradient of the input [images, inputs, height, width]."""
    size = operands.layer.height, operands.layer.width
    return _left(operands, memory, "dx_left", size, operands.inputs)[:, : operands.layer.inputs]


def _left(
    operands: Operands, memory: np.ndarray, region: str, size: tuple[int, int], channels: int
) -> np.ndarray:
    at, beats = operands.regions[region]
    words = layout.words(operands.config, memory[at : at + beats])
    values = layout.values(operands.config, words.reshape(-1, *size, channels))
    return values.transpose(0, 3, 1, 2)


def _put_left(operands: Operands, memory: np.ndarray, region: str, x: np.ndarray) -> None:
    words = layout.bits(operands.config, x).reshape(-1, operands.config.group)
    _put(operands, memory, region, layout.from_words(operands.config, words))


def _put(operands: Operands, memory: np.ndarray, region: str, beats: np.ndarray) -> None:
    at, size = operands.regions[region]
    memory[at : at + size] = beats


def _channels(x: np.ndarray, channels: int) -> np.ndarray:
    """[images, height, width, channels], padded."""
    padded = np.pad(x, [(0, 0), (0, channels - x.shape[1]), (0, 0), (0, 0)])
    return padded.transpose(0, 2, 3, 1)


def _by_fragment(operands: Operands, x: np.ndarray) -> np.ndarray:
    """[fragments, fragment rows, its columns] of [outputs, inputs, kernel, kernel]."""
    o = operands
    taps, along_in, along_out = o.fragments
    more = [(0, o.outputs - x.shape[0]), (0, o.inputs - x.shape[1]), (0, 0), (0, 0)]
    columns = o.fragment_blocks * o.config.columns
    x = np.pad(x, more).reshape(along_out, o.fragment_rows, along_in, columns, taps)
    return x.transpose(4, 2, 0, 1, 3).reshape(-1, o.fragment_rows, columns)
