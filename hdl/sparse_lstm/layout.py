"""Host side of the engine's ports: weights, inputs and states as beats and back."""

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from ...models.sparse_lstm.config import SparseLstmConfig
from ...models.sparse_lstm.operands import Parameters, Steps
from .shape import Shape

if TYPE_CHECKING:
    from ...models.sparse_lstm.golden import Trace


def weight_words(config: SparseLstmConfig, parameters: Parameters) -> np.ndarray:
    """[words, banks, rows]: the weight memories' contents (see :mod:`.shape`).

    Rows and columns that do not exist hold 0.
    """
    sizes, rows = Shape(config), config.rows
    words = np.zeros((sizes.weight_words, config.banks, rows), np.int32)
    for context, (input_base, state_base) in enumerate(sizes.bases):
        columns = sizes.input_columns(context) * config.banks
        wx = _by_groups(config, parameters.input_weights[context])  # [groups, rows, columns]
        wx = np.pad(wx, ((0, 0), (0, 0), (0, columns - wx.shape[2])))
        _place(words, input_base, wx.reshape(config.groups, rows, -1, config.banks))

        wh = _by_groups(config, parameters.recurrent_weights[context])
        wh = np.concatenate([wh, np.zeros((*wh.shape[:2], 1), wh.dtype)], axis=2)  # [-1]: none
        slots = sizes.unit_of_slot.reshape(-1, config.banks)
        _place(words, state_base, wh[:, :, slots])
    return words


def weight_beats(config: SparseLstmConfig, parameters: Parameters) -> np.ndarray:
    """[beats, port] of the ``weights`` stream that load the memories."""
    return weight_words(config, parameters).reshape(-1, config.port)


def multiplied_columns(
    trace: "Trace", *, skip_inputs: bool, skip_states: bool
) -> tuple[np.ndarray, np.ndarray]:
    """bool [T, X] and bool [T, H]: input and state columns that are not skipped."""
    inputs, states = trace.input_columns(), trace.state_columns()
    if not skip_inputs:
        own = np.array([trace.config.context_inputs(k) for k in range(trace.config.contexts)])
        inputs = np.arange(inputs.shape[1]) < own[trace.steps.context, None]
    if not skip_states:
        going_on = ~trace.steps.start.all(axis=1, keepdims=True)
        states = np.broadcast_to(going_on, states.shape)
    return inputs, states


def fetched_columns(trace: "Trace") -> np.ndarray:
    """Word addresses that a streaming engine asks for, in order (``fetch``)."""
    sizes, config = Shape(trace.config), trace.config
    inputs, states = multiplied_columns(
        trace, skip_inputs=config.skip_inputs, skip_states=config.skip_states
    )
    slot_of_unit = np.argsort(sizes.unit_of_slot.ravel(), kind="stable")[-config.hidden_size :]
    addresses = []
    for t, context in enumerate(trace.steps.context):
        input_base, state_base = sizes.bases[context]
        addresses.append(input_base + np.flatnonzero(inputs[t]) * config.groups)
        columns = np.sort(slot_of_unit[states[t]])
        addresses.append(state_base + columns * config.groups)
    return np.concatenate(addresses) if addresses else np.zeros(0, np.int64)


def fetched_beats(trace: "Trace", parameters: Parameters) -> np.ndarray:
    """[beats, port] of the ``weights`` stream that answer :func:`fetched_columns`."""
    config = trace.config
    words = weight_words(config, parameters)[:, 0]
    addresses = fetched_columns(trace)[:, None] + np.arange(config.groups)
    return words[addresses].reshape(-1, config.port)


def bias_beats(config: SparseLstmConfig, parameters: Parameters) -> np.ndarray:
    """[beats, units, 4] of the ``biases`` stream; slots without a unit hold 0."""
    sizes = Shape(config)
    rows = np.concatenate([np.atleast_2d(bias) for bias in parameters.biases])
    gates = rows.reshape(len(rows), 4, config.hidden_size)
    gates = np.pad(gates, ((0, 0), (0, 0), (0, 1)))  # [-1]: none
    by_slot = gates[:, :, sizes.unit_of_slot.ravel()]  # [row, gate, slot]
    return by_slot.transpose(0, 2, 1).reshape(-1, sizes.units, 4)


def input_beats(config: SparseLstmConfig, steps: Steps) -> dict[str, np.ndarray]:
    """Beats of ``x``: the windows of every step's vector, or one index beat a step."""
    if config.input_kind == "index":
        return {
            "context": steps.context,
            "start": _mask(steps.start),
            "indices": steps.inputs[..., 0],
        }
    sizes, slots = Shape(config), config.window * config.banks
    beats = np.array([sizes.input_beats(int(context)) for context in range(config.contexts)])
    counts = beats[steps.context]
    columns = int(beats.max()) * slots
    x = np.zeros((len(steps), config.batch, columns), np.int64)
    own = np.array([config.context_inputs(int(k)) for k in range(config.contexts)])
    width = min(columns, steps.inputs.shape[2])
    inside = np.arange(width) < own[steps.context, None]
    x[..., :width] = np.where(inside[:, None], steps.inputs[..., :width], 0)
    windows = x.reshape(len(steps), config.batch, -1, slots).transpose(0, 2, 3, 1)
    used = np.arange(windows.shape[1]) < counts[:, None]
    ends = np.arange(windows.shape[1]) == counts[:, None] - 1
    return {
        "values": windows[used],
        "context": np.repeat(steps.context, counts),
        "start": np.repeat(_mask(steps.start), counts),
        "last": ends[used].astype(np.int64),
    }


def state_beats(trace: "Trace") -> dict[str, np.ndarray]:
    """Beats of ``h`` that a trace makes."""
    config, sizes = trace.config, Shape(trace.config)
    padded = np.pad(trace.outputs, ((0, 0), (0, 0), (0, 1)))
    values = padded[:, :, sizes.unit_of_slot]  # [step, batch, emission, slot]
    last = np.zeros((len(trace.h), sizes.emissions), np.int64)
    last[:, -1] = 1
    return {
        "values": values.transpose(0, 2, 3, 1).reshape(-1, sizes.width, config.batch),
        "context": np.repeat(trace.steps.context, sizes.emissions),
        "last": last.ravel(),
    }


def states(config: SparseLstmConfig, beats: dict[str, np.ndarray]) -> np.ndarray:
    """[T, B, H] from the beats of ``h``; whole steps only."""
    sizes = Shape(config)
    values = np.asarray(beats["values"])
    values = values[: len(values) // sizes.emissions * sizes.emissions]
    by_slot = values.reshape(-1, sizes.emissions * sizes.width, config.batch)
    unit = sizes.unit_of_slot.ravel()
    h = np.zeros((len(by_slot), config.batch, config.hidden_size), values.dtype)
    h[:, :, unit[unit >= 0]] = by_slot[:, unit >= 0].transpose(0, 2, 1)
    return h


def _by_groups(config: SparseLstmConfig, matrix: np.ndarray) -> np.ndarray:
    """A [4H, columns] matrix as [group, row, column]: units in order, gates innermost."""
    columns = matrix.shape[1]
    units = ceil(config.groups * config.rows / 4)
    gates = matrix.reshape(4, config.hidden_size, columns).transpose(1, 0, 2)
    gates = np.pad(gates, ((0, units - config.hidden_size), (0, 0), (0, 0)))
    return gates.reshape(config.groups, config.rows, columns)


def _place(words: np.ndarray, base: int, columns: np.ndarray) -> None:
    """Write [group, row, column of bank, bank] columns from word ``base`` on."""
    groups, rows, count, banks = columns.shape
    block = columns.transpose(2, 0, 3, 1).reshape(count * groups, banks, rows)
    words[base : base + count * groups] = block


def _mask(flags: np.ndarray) -> np.ndarray:
    """[T, B] flags as integers, element 0 in the lowest bit."""
    return (flags.astype(np.int64) << np.arange(flags.shape[1])).sum(axis=1)
