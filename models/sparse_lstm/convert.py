"""From a float ``torch.nn.LSTM`` to the engine's integers, formats found automatically.

The widths are given (a :class:`.config.SparseLstmConfig`); the binary points are
chosen to minimise the expected squared error of the gate sums over calibration data,
and the report says what overflowed and how far the integers are from the floats.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from math import frexp
from typing import Any

import numpy as np
import torch

from ..fixed import dequantise, limits, quantise
from .config import SparseLstmConfig
from .float_model import FloatLstm
from .golden import Parameters, layer_output, run_network
from .task import PARALLELISM


@dataclass(frozen=True)
class Report:
    """What a conversion cost, measured on the calibration data."""

    max_error: float
    """Largest distance of the last layer's h to the float model's; h lies in (-1, 1)."""
    mean_error: float
    """Mean distance of the last layer's h."""
    layer_errors: tuple[float, ...]
    """Mean distance of h layer by layer, each fed with the integers of the one before."""
    clipped_weights: int
    """Weights and biases outside their format."""
    clipped_inputs: int
    """Calibration inputs outside their format."""
    wrapped_sums: int
    """Gate sums that left the accumulator; 0 where ``accumulator_proven``."""
    saturated_cells: int
    """Cell states that were clamped."""
    accumulator_proven: bool
    """Whether no input whatever can make a gate sum leave the accumulator."""

    def __str__(self) -> str:
        return "\n".join(
            f"{name.replace('_', ' ')}: {value}" for name, value in asdict(self).items()
        )


@dataclass(frozen=True, eq=False)
class Conversion:
    """The result of :func:`convert`."""

    overrides: dict[str, Any]
    """Shape and formats, for ``SparseLstmConfig.replace`` or ``preset``."""
    parameters: Parameters
    report: Report


def convert(
    lstm: torch.nn.LSTM | Mapping[str, Any],
    calibration: Any,
    widths: SparseLstmConfig | None = None,
    *,
    batch_first: bool = False,
    prefix: str = "",
) -> Conversion:
    """Converts an LSTM, or its state dict, for inputs like ``calibration``.

    ``calibration`` is float [T, B, X] ([B, T, X] with ``batch_first``, which an
    ``nn.LSTM`` knows by itself), or integer [T, B] of column numbers where
    ``widths.input_kind`` is ``"index"``.  ``widths`` gives every width, table size
    and the threshold; its fractions, shape and ``accumulator_bits`` are replaced.
    ``prefix`` picks one LSTM from the state dict of a larger module (``"rnn."``).

    Raises :class:`ValueError` where the LSTM has projections, a tensor has the wrong
    shape, or the calibration data does not fit the LSTM.
    """
    widths = widths or SparseLstmConfig()
    if isinstance(lstm, torch.nn.LSTM):
        batch_first, lstm = lstm.batch_first, lstm.state_dict()
    model = FloatLstm(lstm, prefix)
    x = np.asarray(calibration)
    x = x.swapaxes(0, 1) if batch_first and x.ndim > 1 else x
    model.check_input(x, widths.input_kind == "index")
    if widths.input_kind == "index":
        model.fold_index()
    inputs, hidden, cells = model.run(x, widths.threshold * 2.0**-widths.state_frac)
    overrides: dict[str, Any] = {
        "input_size": model.input_size,
        "hidden_size": model.hidden_size,
        "layers": model.layers,
        "bidirectional": model.directions == 2,
        **_formats(model, widths, inputs, hidden, cells),
    }
    parameters, clipped_weights = _integers(model, widths, overrides)
    needed = safe_accumulator_bits(with_batch(widths, 1, **overrides), parameters)
    overrides["accumulator_bits"] = min(needed, 40)

    errors: list[list[np.ndarray]] = [[] for _ in range(model.layers)]
    wrapped = saturated = clipped_inputs = 0
    for first in range(0, x.shape[1], 16):  # an engine's largest batch
        group = slice(first, first + 16)
        part = x[:, group]
        config = with_batch(widths, part.shape[1], **overrides)
        if config.input_kind == "vector":
            floats, part = part, quantise(part, config.input_frac, config.input_bits)
            clipped_inputs += _clipped(floats, part, config.input_frac)
        trace = run_network(config, parameters, part)
        wrapped += int(trace.wrapped.sum())
        saturated += int(trace.saturated.sum())
        for layer, layer_errors in enumerate(errors):
            contexts = slice(layer * model.directions, (layer + 1) * model.directions)
            want = np.concatenate(hidden[contexts], axis=-1)[:, group]
            got = dequantise(layer_output(trace, layer), config.state_frac)
            layer_errors.append(np.abs(got - want).ravel())
    means = tuple(float(np.concatenate(e).mean()) for e in errors)
    report = Report(
        max_error=float(np.concatenate(errors[-1]).max()),
        mean_error=means[-1],
        layer_errors=means,
        clipped_weights=clipped_weights,
        clipped_inputs=clipped_inputs,
        wrapped_sums=wrapped,
        saturated_cells=saturated,
        accumulator_proven=needed <= 40,
    )
    return Conversion(overrides, parameters, report)


def with_batch(config: SparseLstmConfig, batch: int, **overrides: Any) -> SparseLstmConfig:
    """The arithmetic of ``config`` for ``batch`` sequences, with the least parallelism."""
    kept = config.model_dump(exclude=set(PARALLELISM))
    return SparseLstmConfig(**{**kept, "lanes": 4 * batch, "batch": batch, **overrides})


def _formats(
    model: FloatLstm,
    widths: SparseLstmConfig,
    inputs: list[np.ndarray],
    hidden: list[np.ndarray],
    cells: list[np.ndarray],
) -> dict[str, int]:
    """The binary points that minimise the expected squared error of the gate sums.

    An error d of a weight costs d**2 times the mean square of what it multiplies, an
    error of an input likewise.  The search covers every combination that leaves
    ``input_shift >= 0``; later layers' weights have ``weight_frac - input_shift``.
    """
    bits = widths.weight_bits

    def column_errors(weights: list[np.ndarray], factors: list[np.ndarray], frac: int) -> float:
        powers = ((x.astype(np.float64) ** 2).mean((0, 1)) for x in factors)
        return sum(
            float(((_rounded(w, frac, bits) - w) ** 2 @ power).sum())
            for w, power in zip(weights, powers, strict=True)
        )

    by_context = [inputs[k // model.directions] for k in range(len(hidden))]
    outer, later = slice(0, model.directions), slice(model.directions, None)

    @cache
    def recurrent(frac: int) -> float:
        return column_errors(model.w_h, hidden, frac)

    @cache
    def first_layer(frac: int) -> float:
        return column_errors(model.w_x[outer], by_context[outer], frac)

    @cache
    def later_layers(frac: int) -> float:
        return column_errors(model.w_x[later], by_context[later], frac)

    @cache
    def input_values(frac: int) -> float:
        error = (_rounded(inputs[0], frac, widths.input_bits) - inputs[0]) ** 2
        return sum(float((w**2 @ error.mean((0, 1))).sum()) for w in model.w_x[outer])

    options = []
    for frac in _around(model.w_h, bits):
        if model.index:
            options.append((recurrent(frac), frac, widths.input_weight_frac, widths.input_frac))
            continue
        for input_frac in _around(inputs[:1], widths.input_bits):
            for shift in range(bits + 1):
                input_weight_frac = frac + widths.state_frac - input_frac - shift
                if not -8 <= input_weight_frac <= 24:
                    continue
                cost = recurrent(frac) + later_layers(frac - shift)
                cost += first_layer(input_weight_frac) + input_values(input_frac)
                options.append((cost, frac, input_weight_frac, input_frac))
    if not options:
        raise ValueError(
            "weights and inputs are so far apart in size that no binary points align their "
            "products; scale the inputs"
        )
    _, weight_frac, input_weight_frac, input_frac = min(options)
    accumulator_frac = weight_frac + widths.state_frac - widths.product_shift
    # Other data drives cells further, and they add up over time: a bit to spare.
    cell_frac = _most_frac(cells, widths.cell_bits) - 1
    return {
        "weight_frac": weight_frac,
        "input_weight_frac": input_weight_frac,
        "input_frac": input_frac,
        "bias_frac": max(min(_most_frac(model.bias, widths.bias_bits), accumulator_frac, 32), -8),
        "cell_frac": min(max(cell_frac, 0), 15),
    }


def _integers(
    model: FloatLstm, widths: SparseLstmConfig, formats: Mapping[str, int]
) -> tuple[Parameters, int]:
    """The parameters, and how many of them were clipped."""
    first = formats["input_weight_frac"]
    # Every context's input products have as many fractional bits as layer 0's.
    later = first + formats["input_frac"] - widths.state_frac
    clipped = 0

    def whole(values: np.ndarray, frac: int, bits: int) -> np.ndarray:
        nonlocal clipped
        integers = quantise(values, frac, bits)
        clipped += _clipped(values, integers, frac)
        return integers

    input_weights = tuple(
        whole(w, later if k >= model.directions else first, widths.weight_bits)
        for k, w in enumerate(model.w_x)
    )
    recurrent = tuple(whole(w, formats["weight_frac"], widths.weight_bits) for w in model.w_h)
    biases = tuple(whole(b, formats["bias_frac"], widths.bias_bits) for b in model.bias)
    return Parameters(input_weights, recurrent, biases), clipped


def safe_accumulator_bits(config: SparseLstmConfig, parameters: Parameters) -> int:
    """So many that no gate sum can leave them, whatever the inputs and states are."""
    up = config.input_shift - config.product_shift
    largest = max(
        int((_row_bound(w_h, config.state_bits, -config.product_shift)
             + _row_bound(w_x, config.input_bits, up)).max())
        for w_x, w_h in zip(parameters.input_weights, parameters.recurrent_weights, strict=True)
    )  # fmt: skip
    return largest.bit_length() + 1


def _row_bound(w: np.ndarray, bits: int, up: int) -> np.ndarray:
    """Bound of ``sum_j abs(R(w[row, j] * x[j], -up))`` over ``bits``-bit x, row by row."""
    products = np.abs(w) << bits - 1
    return (products << up if up >= 0 else (products + (1 << -up >> 1)) >> -up).sum(axis=1)


def _rounded(values: np.ndarray, frac: int, bits: int) -> np.ndarray:
    return dequantise(quantise(values, frac, bits), frac)


def _clipped(floats: np.ndarray, integers: np.ndarray, frac: int) -> int:
    """How many integers are further than rounding from their floats."""
    return int((np.abs(dequantise(integers, frac) - floats) > 0.5 * 2.0**-frac).sum())


def _most_frac(arrays: Iterable[np.ndarray], bits: int) -> int:
    """The most fractional bits with which the largest value still fits ``bits``."""
    largest = max(float(np.abs(a).max(initial=0)) for a in arrays)
    frac = bits - 1 - frexp(largest)[1]
    return frac - (largest * 2.0**frac >= limits(bits)[1] + 0.5)


def _around(arrays: list[np.ndarray], bits: int) -> range:
    """Binary points worth trying: clipping a few outliers may pay."""
    most = _most_frac(arrays, bits)
    return range(max(most - 2, -8), min(most + 3, 24) + 1)
