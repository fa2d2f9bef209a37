"""Golden model of the sparse-state LSTM engine: the same integers, bit for bit.

The arithmetic is that of :mod:`.config`, the names of axes those of :mod:`.operands`:
:class:`Parameters` are the engine's weights, :class:`Steps` what it is told to compute,
and :func:`run` computes it into a :class:`Trace`.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..activation import SIGMOID_SPAN, TANH_SPAN, sigmoid_table, table_index, tanh_table
from ..fixed import round_shift, saturate, wrap
from ..threads import one_thread
from .config import SparseLstmConfig
from .operands import Parameters, Steps

_BLOCK = 1 << 22
"""Gate sums computed before the steps that use them."""
_CACHED = 1 << 19
"""Elements of an intermediate result that should stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What :func:`run` computed."""

    config: SparseLstmConfig
    steps: Steps
    threshold: int
    h: np.ndarray
    """int32 [T, B, H]: hidden states, not pruned."""
    c: np.ndarray
    """int32 [T, B, H]: cell states after the step."""
    wrapped: np.ndarray
    """int64 [T]: how many sums of a step left ``accumulator_bits`` (and are thus wrong)."""
    saturated: np.ndarray
    """int64 [T]: how many cell states of a step were clamped."""

    @property
    def hp(self) -> np.ndarray:
        """[T, B, H]: pruned states, what the context's next step multiplies."""
        return np.where(np.abs(self.h) >= self.threshold, self.h, 0)

    @property
    def outputs(self) -> np.ndarray:
        """[T, B, H]: what the engine delivers."""
        return self.hp if self.config.prune_output else self.h

    def of(self, context: int) -> np.ndarray:
        """[steps of this context, B, H]: :attr:`outputs` of one context."""
        return self.outputs[self.steps.context == context]

    def state_columns(self) -> np.ndarray:
        """bool [T, H]: the recurrent columns that a step cannot skip.

        Column j counts where the context's pruned state from before is nonzero for
        any batch element that does not start in this step.
        """
        columns = np.zeros((len(self.steps), self.config.hidden_size), bool)
        hp = self.hp
        for context in np.unique(self.steps.context):
            at = np.flatnonzero(self.steps.context == context)
            kept = (hp[at[:-1]] != 0) & ~self.steps.start[at[1:], :, None]
            columns[at[1:]] = kept.any(axis=1)
        return columns

    def input_columns(self) -> np.ndarray:
        """bool [T, K]: input columns that a step cannot skip; K = 0 where it is an index."""
        if self.config.input_kind == "index":
            return np.zeros((len(self.steps), 0), bool)
        own = np.array([self.config.context_inputs(c) for c in range(self.config.contexts)])
        columns = (self.steps.inputs != 0).any(axis=1)
        return columns & (np.arange(columns.shape[1]) < own[self.steps.context, None])


def run(
    config: SparseLstmConfig,
    parameters: Parameters,
    steps: Steps,
    threshold: int | None = None,
    device: torch.device | str = "cpu",
) -> Trace:
    """Computes ``steps``; ``threshold`` (in state LSBs) overrides the configuration's.

    The result does not depend on ``device``: products are summed in floating point
    only where every partial sum is an integer that the format holds exactly.
    Raises :class:`ValueError` where an argument does not fit ``config``.
    """
    parameters.check(config)
    steps.check(config)
    threshold = config.threshold if threshold is None else threshold
    if not 0 <= threshold <= 1 << config.state_bits - 1:
        raise ValueError(
            f"threshold = {threshold} is outside 0..{1 << config.state_bits - 1}, the magnitudes "
            f"of a state of {config.state_bits} bits"
        )
    states = np.zeros((2, len(steps), config.batch, config.hidden_size), np.int32)
    counts = np.zeros((2, len(steps)), np.int64)
    with one_thread():
        for context in np.unique(steps.context):
            at = np.flatnonzero(steps.context == context)
            model = _Context(config, parameters, int(context), threshold, torch.device(device))
            size = max(_BLOCK // (4 * config.hidden_size * config.batch), 1)
            for first in range(0, len(at), size):
                block = at[first : first + size]
                states[:, block], counts[:, block] = model(steps[block])
    return Trace(config, steps, threshold, *states, *counts)


def run_network(
    config: SparseLstmConfig,
    parameters: Parameters,
    x: np.ndarray,
    threshold: int | None = None,
    device: torch.device | str = "cpu",
) -> Trace:
    """Runs ``x`` [T, B, X] through every layer and direction, each after the other.

    The steps of context k are those from ``k * T`` on; a backward direction's run
    from the last column to the first.
    """
    traces: list[Trace] = []
    for layer in range(config.layers):
        first = layer * config.directions
        parts = [Steps.sequence(config, x, first)]
        if config.bidirectional:
            parts.append(Steps.sequence(config, x[::-1], first + 1))
        traces.append(run(config, parameters, Steps.concatenate(*parts), threshold, device))
        x = layer_output(traces[-1], layer)
    joined = (np.concatenate([getattr(t, f) for t in traces]) for f in ("h", "c"))
    counts = (np.concatenate([getattr(t, f) for t in traces]) for f in ("wrapped", "saturated"))
    steps = Steps.concatenate(*(t.steps for t in traces))
    return Trace(config, steps, traces[0].threshold, *joined, *counts)


def layer_output(trace: Trace, layer: int = -1) -> np.ndarray:
    """[T, B, directions * H]: a layer's delivered output in the order of its input columns."""
    config = trace.config
    first = layer % config.layers * config.directions
    forward = trace.of(first)
    if not config.bidirectional:
        return forward
    return np.concatenate([forward, trace.of(first + 1)[::-1]], axis=-1)


class _Context:
    """One context's weights, and its states from one block of steps to the next."""

    def __init__(
        self,
        config: SparseLstmConfig,
        parameters: Parameters,
        context: int,
        threshold: int,
        device: torch.device,
    ) -> None:
        self.config, self.threshold, self.device = config, threshold, device
        shift = config.product_shift - config.input_shift
        w_x, w_h = (w[context] for w in (parameters.input_weights, parameters.recurrent_weights))
        self.input_sum = _ColumnSum(w_x, shift, config.input_bits, device)
        self.state_sum = _ColumnSum(w_h, config.product_shift, config.state_bits, device)
        if self.input_sum.bound + self.state_sum.bound >= 1 << 62:
            raise ValueError(
                f"input products shifted left by {-shift} bits leave 64-bit integers; "
                f"raise input_weight_frac or input_frac"
            )
        # Beyond 2**60 every gate is at its table's end, however the sum turns out.
        up = config.accumulator_frac - config.bias_frac
        bias = parameters.biases[context].clip(-(1 << 60 >> up), 1 << 60 >> up) << up
        self.bias = torch.from_numpy(np.asarray(bias, np.int64)).to(device)
        self.sigmoid = torch.tensor(sigmoid_table(config.sigmoid_entries, config.gate_bits))
        self.tanh = torch.tensor(tanh_table(config.tanh_entries, config.gate_bits))
        self.sigmoid, self.tanh = self.sigmoid.to(device), self.tanh.to(device)
        self.hp = torch.zeros(config.batch, config.hidden_size, dtype=torch.int64, device=device)
        self.c = torch.zeros_like(self.hp)

    def __call__(self, steps: Steps) -> tuple[np.ndarray, np.ndarray]:
        """(h, c) and (wrapped, saturated) of some steps of this context."""
        x = torch.from_numpy(steps.inputs.astype(np.int64)).to(self.device)
        keep = torch.from_numpy(~steps.start[..., None]).to(self.device)
        if self.config.input_kind == "index":
            sums, bias = torch.zeros(1, dtype=torch.int64), self.bias[x[..., 0]]
            sums = sums.to(self.device).expand(len(steps), 1)
        else:
            rows = x[..., : self.input_sum.columns].reshape(-1, self.input_sum.columns)
            sums = self.input_sum(rows).view(len(steps), self.config.batch, -1)
            bias = self.bias.expand(len(steps), -1)
        states, counts = zip(*map(self._step, sums, bias, keep), strict=True)
        return (
            torch.stack(states).transpose(0, 1).to(torch.int32).cpu().numpy(),
            torch.stack(counts).T.cpu().numpy(),
        )

    def _step(
        self, input_sum: torch.Tensor, bias: torch.Tensor, keep: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stacked (h, c) and stacked (wrapped, saturated) of one step."""
        config = self.config
        total = input_sum + self.state_sum(self.hp * keep)
        acc = wrap(total, config.accumulator_bits)
        z = (acc + bias).view(config.batch, 4, config.hidden_size)
        i, f, o = self._lookup("sigmoid", z[:, [0, 1, 3]], config.accumulator_frac).unbind(1)
        g = self._lookup("tanh", z[:, 2], config.accumulator_frac)

        up_fc = max(config.gate_bits - config.cell_frac, 0)
        up_ig = max(config.cell_frac - config.gate_bits, 0)
        down = config.gate_bits + max(config.gate_bits, config.cell_frac) - config.cell_frac
        new = round_shift((f * (self.c * keep) << up_fc) + (i * g << up_ig), down)
        self.c = saturate(new, config.cell_bits)
        squashed = self._lookup("tanh", self.c, config.cell_frac)
        down = 2 * config.gate_bits - config.state_frac
        h = saturate(round_shift(o * squashed, down), config.state_bits)
        self.hp = h * (h.abs() >= self.threshold)
        counts = torch.stack([(acc != total).sum(), (self.c != new).sum()])
        return torch.stack([h, self.c]), counts

    def _lookup(self, name: str, z: torch.Tensor, frac: int) -> torch.Tensor:
        table: torch.Tensor = getattr(self, name)
        span = SIGMOID_SPAN if name == "sigmoid" else TANH_SPAN
        return table[table_index(z, frac, len(table), span)]


class _ColumnSum:
    """``sum_j R(w[row, j] * x[j], shift)`` of many vectors x, exactly.

    ``bound`` is the largest magnitude that a result can have.
    """

    def __init__(self, w: np.ndarray, shift: int, x_bits: int, device: torch.device) -> None:
        self.columns, self.shift = w.shape[1], shift
        row = int(np.abs(w).sum(axis=1).max(initial=0)) << x_bits - 1
        # Every partial sum, in any order, is an integer no larger than `row`: exact in
        # a float whose significand holds it.  Double precision always does (8192
        # columns of 16 x 16 bits are 2**43); single must not be replaced by less.
        single = device.type == "cpu" and torch.get_float32_matmul_precision() == "highest"
        self.dtype = torch.float32 if single and row <= 1 << 24 else torch.float64
        if shift > 0:
            self.bound = row  # rounding to 0 or away from it by half a unit cannot pass |w x|
            self.dtype = torch.int32  # holds a product and half a unit: 2**30 + 2**23
            most = (int(np.abs(w).max(initial=0)) << x_bits - 1 >> shift) + 1
            self.partial = torch.int32 if 16 * most < 1 << 31 else torch.int64
        else:
            self.bound = row << -shift
        # [column, row]: the few columns of a sparse vector are then contiguous.
        self.w = torch.from_numpy(np.ascontiguousarray(w.T)).to(device, self.dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 4H] int64 of integers ``x`` [N, columns]."""
        w, used = self.w, torch.nonzero(x.any(0)).squeeze(1)
        if 2 * len(used) < self.columns:
            w, x = w[used], x[:, used]
        if self.shift <= 0:
            return (x.to(self.dtype) @ w).long() << -self.shift
        vectors = max(_CACHED // (16 * w.shape[1]), 1)
        return torch.cat([self._rounded(part, w) for part in x.to(self.dtype).split(vectors)])

    def _rounded(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(len(x), w.shape[1], dtype=torch.int64, device=x.device)
        for columns, weights in zip(x.split(16, dim=1), w.split(16), strict=True):
            products = (columns[:, :, None] * weights).add_(1 << self.shift - 1)
            total += products.bitwise_right_shift_(self.shift).sum(1, dtype=self.partial)
        return total
