"""``QuantisedLSTM``: called like ``torch.nn.LSTM``, computes the engine's integers."""

from typing import Any, Self

import torch

from ..fixed import dequantise, quantise
from .config import SparseLstmConfig
from .convert import Report, convert, with_batch
from .golden import Parameters, layer_output, run_network


class QuantisedLSTM(torch.nn.Module):
    """An inference-only stand-in for a ``torch.nn.LSTM`` that runs the golden model.

    Inputs are quantised to the configuration's format, outputs are exact multiples of
    2**-state_frac, whatever the batch size.  The buffers ``weight_ih_l0``, ``weight_hh_l0``,
    ``bias_l0``, ... hold the integers, so that ``state_dict()`` and ``.to(device)`` work.
    """

    report: Report | None = None
    """Of the conversion, where there was one."""

    def __init__(
        self, config: SparseLstmConfig, parameters: Parameters, batch_first: bool = False
    ) -> None:
        super().__init__()
        parameters.check(config)
        self.config, self.batch_first = config, batch_first
        for context in range(config.contexts):
            for name, arrays in zip(self._names(context), vars(parameters).values(), strict=True):
                self.register_buffer(name, torch.from_numpy(arrays[context].copy()))

    @classmethod
    def from_float(
        cls, lstm: torch.nn.LSTM, calibration: Any, widths: SparseLstmConfig | None = None
    ) -> Self:
        """Converts ``lstm`` as :func:`.convert.convert` does, in widths and formats."""
        widths = widths or SparseLstmConfig()
        result = convert(lstm, calibration, widths)
        config = with_batch(widths, 1, **result.overrides)
        module = cls(config, result.parameters, lstm.batch_first)
        module.report = result.report
        return module

    @property
    def integers(self) -> Parameters:
        """The weights as the engine takes them."""
        buffers = (
            [self.get_buffer(name).cpu().numpy() for name in self._names(context)]
            for context in range(self.config.contexts)
        )
        return Parameters(*zip(*buffers, strict=True))

    def forward(
        self, input: torch.Tensor, hx: None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """``output, (h_n, c_n)`` of [T, B, X], [B, T, X] (``batch_first``) or [T, X].

        With an index input [T, B] of column numbers.  The engine's sequences start at
        state 0: ``hx`` must be absent.
        """
        if hx is not None:
            raise ValueError("the engine's sequences start at state 0; leave out hx")
        config = self.config
        axes = 2 if config.input_kind == "index" else 3
        single = input.dim() == axes - 1
        batch_axis = 0 if self.batch_first and not single else 1
        x = input.detach()
        x = x.unsqueeze(1) if single else x.transpose(0, 1) if self.batch_first else x
        if x.dim() != axes or not x.numel():
            raise ValueError(
                f"input is {tuple(input.shape)}; it should have {axes} axes, none empty"
            )
        if config.input_kind == "vector":
            x = quantise(x, config.input_frac, config.input_bits)
        outputs, hidden, cells = [], [], []
        for part in x.split(16, dim=1):  # an engine's largest batch
            batched = with_batch(config, part.shape[1])
            trace = run_network(
                batched, self.integers, part.cpu().numpy(), device=self.get_buffer("bias_l0").device
            )
            contexts = [trace.steps.context == k for k in range(config.contexts)]
            outputs.append(torch.from_numpy(layer_output(trace)))
            hidden.append(torch.stack([torch.from_numpy(trace.h[k][-1]) for k in contexts]))
            cells.append(torch.stack([torch.from_numpy(trace.c[k][-1]) for k in contexts]))
        dtype = input.dtype if input.is_floating_point() else torch.get_default_dtype()

        def joined(parts: list[torch.Tensor], axis: int, frac: int) -> torch.Tensor:
            whole = dequantise(torch.cat(parts, 1), frac).to(input.device, dtype)
            return whole.squeeze(1) if single else whole.transpose(0, 1) if axis == 0 else whole

        return joined(outputs, batch_axis, config.state_frac), (
            joined(hidden, 1, config.state_frac),
            joined(cells, 1, config.cell_frac),
        )

    def _names(self, context: int) -> list[str]:
        layer, direction = divmod(context, self.config.directions)
        tail = f"l{layer}{'_reverse' if direction else ''}"
        return [f"{kind}_{tail}" for kind in ("weight_ih", "weight_hh", "bias")]
