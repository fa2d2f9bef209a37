"""``SparseStateLSTM``: a ``torch.nn.LSTM`` that learns to live with pruned states.

The recurrent product of every step uses ``hp = h where abs(h) >= threshold else 0``;
the layer's output stays ``h``.  The gradient of ``hp`` passes straight through the
threshold to ``h``.  With ``formats`` the forward pass is that of the engine
(:mod:`.config`), number for number: weights, tables, cell and states on their
fixed-point grids, states pruned after they are rounded.  Every rounding passes the
gradient straight through too.
"""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..activation import SIGMOID_SPAN, TANH_SPAN, sigmoid_table, tanh_table
from .config import SparseLstmConfig
from .golden import Parameters


def on_grid(value: Tensor, bits: int, frac: int) -> Tensor:
    """``value`` rounded half up to ``frac`` fractional bits, saturated to ``bits``."""
    limit = 1 << (bits - 1)
    return (value * 2.0**frac + 0.5).floor_().clamp_(-limit, limit - 1).mul_(2.0**-frac)


def fake_quantise(value: Tensor, bits: int, frac: int) -> Tensor:
    """:func:`on_grid` whose gradient is that of the identity, 0 where it saturates."""
    limit = 2.0 ** (bits - 1 - frac)
    bounded = value.clamp(-limit, limit - 2.0**-frac)
    return bounded + (on_grid(value, bits, frac) - bounded).detach()


class _Cell:
    """The element-wise part of a step: activation functions and roundings."""

    def __init__(self, formats: SparseLstmConfig | None, like: Tensor) -> None:
        self.formats = formats
        if formats is not None:
            bits = formats.gate_bits
            self.sigmoid_table, self.tanh_table = (
                # Ascending, unlike in memory, where negative arguments come last.
                torch.tensor(table).roll(len(table) // 2).to(like) * 2.0**-bits
                for table in (
                    sigmoid_table(formats.sigmoid_entries, bits),
                    tanh_table(formats.tanh_entries, bits),
                )
            )

    @staticmethod
    def _look_up(table: Tensor, z: Tensor, span: int) -> Tensor:
        entries = len(table)
        # Two additions: their sum could need a bit more than the mantissa has.
        index = (z * (entries / span) + 0.5).floor_().add_(entries // 2)
        return table[index.clamp_(0, entries - 1).to(torch.int32)]

    def sigmoid(self, z: Tensor) -> Tensor:
        if self.formats is None:
            return z.sigmoid()
        return self._look_up(self.sigmoid_table, z, SIGMOID_SPAN)

    def tanh(self, z: Tensor) -> Tensor:
        return z.tanh() if self.formats is None else self._look_up(self.tanh_table, z, TANH_SPAN)

    def cell(self, c: Tensor) -> Tensor:
        if self.formats is None:
            return c
        return on_grid(c, self.formats.cell_bits, self.formats.cell_frac)

    def state(self, h: Tensor) -> Tensor:
        if self.formats is None:
            return h
        return on_grid(h, self.formats.state_bits, self.formats.state_frac)


class _Recurrence(torch.autograd.Function):
    """One layer and direction over time; the backward pass is written out.

    Written out so that the gradient of ``weight`` is one product over all steps
    and no graph of a thousand small nodes is kept.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, drive: Tensor, weight: Tensor, h: Tensor, c: Tensor, threshold: float, cell: _Cell
    ) -> tuple[Tensor, Tensor]:
        """Outputs ``h`` [time, batch, H] and the last ``c`` for ``drive`` [time, batch, 4H]."""
        columns = weight.t().contiguous()
        hidden = h.shape[-1]
        gates, tanhs, cells, pruned, outputs = [], [], [c], [], []
        for z in drive:
            hp = torch.where(h.abs() >= threshold, h, 0)
            if (used := _used(hp)) is None:
                z = torch.addmm(z, hp, columns)
            else:
                z = torch.addmm(z, hp[:, used], columns[used])
            gate = torch.empty_like(z)
            gate[:, : 2 * hidden] = cell.sigmoid(z[:, : 2 * hidden])
            gate[:, 2 * hidden : 3 * hidden] = cell.tanh(z[:, 2 * hidden : 3 * hidden])
            gate[:, 3 * hidden :] = cell.sigmoid(z[:, 3 * hidden :])
            i, f, g, o = gate.chunk(4, 1)
            c = cell.cell(f * c + i * g)
            tanh = cell.tanh(c)
            h = cell.state(o * tanh)
            gates.append(gate)
            tanhs.append(tanh)
            cells.append(c)
            pruned.append(hp)
            outputs.append(h)
        ctx.save_for_backward(weight, *gates, *tanhs, *cells, *pruned)
        ctx.steps = len(gates)
        return torch.stack(outputs), c

    @staticmethod
    def backward(ctx: Any, dh_all: Tensor, dc: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Gradients of ``drive``, ``weight``, the first ``h`` and the first ``c``."""
        n = ctx.steps
        weight, *saved = ctx.saved_tensors
        gates, tanhs, cells, pruned = (
            saved[:n], saved[n : 2 * n], saved[2 * n : 3 * n + 1], saved[3 * n + 1 :]
        )  # fmt: skip
        d_drive = torch.empty(n, *gates[0].shape, dtype=weight.dtype, device=weight.device)
        dh = torch.zeros_like(tanhs[0])
        for t in reversed(range(n)):
            i, f, g, o = gates[t].chunk(4, 1)
            di, df, dg, do = d_drive[t].chunk(4, 1)
            dh = dh + dh_all[t]
            torch.mul(dh * tanhs[t], o * (1 - o), out=do)
            dc = dc + dh * o * (1 - tanhs[t] ** 2)
            torch.mul(dc * g, i * (1 - i), out=di)
            torch.mul(dc * cells[t], f * (1 - f), out=df)
            torch.mul(dc * i, 1 - g * g, out=dg)
            dc = dc * f
            dh = d_drive[t] @ weight
        hp, d_rows = torch.cat(pruned), d_drive.flatten(0, 1)
        if (used := _used(hp)) is None:
            d_weight = d_rows.t() @ hp
        else:
            d_columns = torch.zeros_like(weight.t(), memory_format=torch.contiguous_format)
            d_columns[used] = hp[:, used].t() @ d_rows
            d_weight = d_columns.t()
        return d_drive, d_weight, dh, dc, None, None


def _used(x: Tensor) -> Tensor | None:
    """The columns of ``x`` that hold anything but zeros; None where skipping the rest won't pay."""
    if x.device.type != "cpu":  # where the answer would have to be waited for
        return None
    used = x.any(0).nonzero().squeeze(1)
    return used if 2 * len(used) < x.shape[1] else None


class SparseStateLSTM(nn.LSTM):
    """``torch.nn.LSTM`` with pruned recurrent states: same call, same state dict.

    ``threshold`` (free to change at any time) is in units of ``h``, 0 to 1; 0 is the
    plain LSTM, by torch's own code.  ``formats``, when set, makes the forward pass the
    engine's; all intermediate values must then fit the mantissa of the weights' dtype
    (24 bits in float32, ``.double()`` serves every configuration) and the accumulator,
    whose wrapping is not modelled.

    An integer input, of a single layer, holds column numbers of one-hot vectors.

    Raises :class:`ValueError` for ``proj_size``, packed sequences and formats that do
    not fit the module or round each product.
    """

    def __init__(
        self,
        *args: Any,
        threshold: float = 0.0,
        formats: SparseLstmConfig | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if self.proj_size:
            raise ValueError(f"proj_size = {self.proj_size} is not supported; leave it at 0")
        self.threshold = threshold
        self.formats = formats

    def forward(  # type: ignore[override]
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """``(output, (h_n, c_n))`` with the shapes of ``torch.nn.LSTM``; ``h_n`` is not pruned."""
        if not isinstance(input, Tensor):
            raise ValueError(f"input is a {type(input).__name__}; pass a padded tensor instead")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold = {self.threshold} is outside 0..1, the magnitudes of h")
        index = not input.is_floating_point()
        if self.threshold == 0 and self.formats is None and not index:
            return super().forward(input, hx)
        if self.formats is not None:
            self._check(self.formats)
        if index and self.num_layers * (1 + self.bidirectional) > 1:
            raise ValueError(
                f"an integer input serves one layer, not {self.num_layers} or two directions; "
                "pass one-hot vectors"
            )
        batched = input.dim() == (2 if index else 3)
        time = 1 if self.batch_first and batched else 0
        x = input.unsqueeze(1) if not batched else input.transpose(0, time)
        directions = 2 if self.bidirectional else 1
        if hx is None:
            zeros = self.get_parameter("weight_hh_l0").new_zeros(
                self.num_layers * directions, x.shape[1], self.hidden_size
            )
            hx = zeros, zeros
        elif not batched:
            hx = hx[0].unsqueeze(1), hx[1].unsqueeze(1)
        last: list[tuple[Tensor, Tensor]] = []
        for layer in range(self.num_layers):
            parts = []
            for direction in range(directions):
                drive, weight = self._drive(x, layer, direction)
                h, c = (part[layer * directions + direction] for part in hx)
                drive = drive.flip(0) if direction else drive
                cell = _Cell(self.formats, weight)
                out, c = _Recurrence.apply(drive, weight, h, c, self.threshold, cell)  # type: ignore[misc]
                last.append((out[-1], c))
                parts.append(out.flip(0) if direction else out)
            x = torch.cat(parts, -1)
            if self.formats is not None and self.formats.prune_output:
                x = prune(x, self.threshold)
            if layer < self.num_layers - 1:
                x = nn.functional.dropout(x, self.dropout, self.training)
        h_n, c_n = (torch.stack(part) for part in zip(*last, strict=True))
        if not batched:
            return x.squeeze(1), (h_n.squeeze(1), c_n.squeeze(1))
        return x.transpose(0, time), (h_n, c_n)

    def integers(self) -> Parameters:
        """The engine's weights: the integers behind a forward pass in :attr:`formats`.

        Raises :class:`ValueError` where there are no formats.
        """
        if (formats := self.formats) is None:
            raise ValueError("the module has no formats to be rounded to; set .formats")
        self._check(formats)
        index = formats.input_kind == "index"
        rows: list[list[np.ndarray]] = [[], [], []]
        for context in range(formats.contexts):
            tensors = self._weights(*divmod(context, formats.directions))
            fracs = self._input_weight_frac(context), formats.weight_frac, formats.bias_frac
            for part, tensor, frac in zip(rows, tensors, fracs, strict=True):
                scaled = tensor.detach().double() * 2.0**frac
                part.append(scaled.long().cpu().numpy())
            if index:
                rows[0][-1] = np.zeros((4 * self.hidden_size, 0), np.int64)
        return Parameters(*map(tuple, rows))

    def _weights(self, layer: int, direction: int) -> tuple[Tensor, Tensor, Tensor]:
        """Input weights, recurrent weights and bias that the forward pass multiplies.

        Where formats say that the input is an index, the bias is the table [V, 4H].
        """
        suffix = f"_l{layer}" + "_reverse" * direction
        w_x, w_h = getattr(self, "weight_ih" + suffix), getattr(self, "weight_hh" + suffix)
        bias = w_x.new_zeros(len(w_x))
        if self.bias:
            bias = getattr(self, "bias_ih" + suffix) + getattr(self, "bias_hh" + suffix)
        if (formats := self.formats) is None:
            return w_x, w_h, bias
        if formats.input_kind == "index":
            bias = w_x.t() + bias
        else:
            frac = self._input_weight_frac(layer * formats.directions)
            w_x = fake_quantise(w_x, formats.weight_bits, frac)
        w_h = fake_quantise(w_h, formats.weight_bits, formats.weight_frac)
        return w_x, w_h, fake_quantise(bias, formats.bias_bits, formats.bias_frac)

    def _input_weight_frac(self, context: int) -> int:
        formats = cast(SparseLstmConfig, self.formats)
        if context < formats.directions:
            return formats.input_weight_frac
        return formats.weight_frac - formats.input_shift

    def _drive(self, x: Tensor, layer: int, direction: int) -> tuple[Tensor, Tensor]:
        """What the input adds to the gates, [time, batch, 4H], and the recurrent weights."""
        w_x, w_h, bias = self._weights(layer, direction)
        table = bias if bias.dim() == 2 else None
        if not x.is_floating_point():
            return (w_x.t() + bias if table is None else table)[x], w_h
        if table is not None:
            return x @ table, w_h
        if self.formats is not None and layer == 0:
            x = fake_quantise(x, self.formats.input_bits, self.formats.input_frac)
        return nn.functional.linear(x, w_x, bias), w_h

    def _check(self, formats: SparseLstmConfig) -> None:
        if formats.product_shift:
            raise ValueError(
                f"product_shift = {formats.product_shift} rounds each product by itself, which "
                "a matrix product cannot; train with product_shift = 0"
            )
        for name in ("input_size", "hidden_size", "bidirectional"):
            if (own := getattr(self, name)) != (theirs := getattr(formats, name)):
                raise ValueError(f"formats.{name} = {theirs} differs from the module's {own}")
        if self.num_layers != formats.layers:
            raise ValueError(
                f"formats.layers = {formats.layers} differs from the module's {self.num_layers}"
            )


def prune(h: Tensor, threshold: float) -> Tensor:
    """``h`` with magnitudes below ``threshold`` set to 0, gradient straight through."""
    return h - torch.where(h.abs() < threshold, h, 0).detach()


def column_cost(h: Tensor, threshold: float, batch: int, softness: float = 0.05) -> Tensor:
    """Expected share of columns that ``batch`` independent sequences cannot skip, smoothed.

    ``h`` is [..., H].  A unit alive with probability p keeps its column with
    1 - (1 - p)**batch; p is the mean over ``h`` of ``sigmoid((abs(h) - threshold) /
    softness)``.  As a penalty it drives states under the threshold and, because a unit
    that is often alive anyway costs little more, gathers activity in few units --
    which is what joint sparsity of a batch needs.
    """
    alive = torch.sigmoid((h.abs() - threshold) / softness).flatten(0, -2).mean(0)
    return (1 - (1 - alive) ** batch).mean()
