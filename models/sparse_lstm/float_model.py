"""The float LSTM that a conversion starts from and is measured against."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


class FloatLstm:
    """The weights of a ``torch.nn.LSTM`` by context, and a plain float64 forward pass.

    ``w_x`` [4H, X], ``w_h`` [4H, H] and ``bias`` [4H] (both of torch's together, 0
    where it has none) are lists over contexts, ``layer * directions + direction``.

    Raises :class:`ValueError` where the state dict has no LSTM under ``prefix``, has
    projections or a tensor of the wrong shape.
    """

    def __init__(self, state: Mapping[str, Any], prefix: str = "") -> None:
        names = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if "weight_ih_l0" not in names:
            found = [k.removesuffix("weight_ih_l0") for k in state if k.endswith("weight_ih_l0")]
            raise ValueError(
                f"no weight_ih_l0 under the prefix {prefix!r}; "
                + (f"the state dict has LSTMs under {found}" if found else "is this an nn.LSTM?")
            )
        if any(name.startswith("weight_hr_") for name in names):
            raise ValueError(
                "the LSTM has projections (proj_size > 0), which the engine does not; "
                "train it with proj_size = 0"
            )
        arrays = {
            k: v.detach().cpu().double().numpy()
            if isinstance(v, torch.Tensor)
            else np.asarray(v, np.float64)
            for k, v in names.items()
            if k.startswith(("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l"))
        }
        first = arrays["weight_ih_l0"]
        if first.ndim != 2 or first.shape[0] % 4 or not first.size:
            raise ValueError(f"{prefix}weight_ih_l0 is {first.shape}; it should be (4 * hidden, X)")
        self.hidden_size, self.input_size = first.shape[0] // 4, first.shape[1]
        self.layers = sum(f"weight_ih_l{layer}" in arrays for layer in range(len(arrays)))
        self.directions = 2 if "weight_ih_l0_reverse" in arrays else 1
        self.w_x: list[np.ndarray] = []
        self.w_h: list[np.ndarray] = []
        self.bias: list[np.ndarray] = []
        gates = 4 * self.hidden_size

        def array(name: str, shape: tuple[int, ...]) -> np.ndarray:
            if name not in arrays and name.startswith("bias"):
                return np.zeros(shape)
            got = arrays[name].shape if name in arrays else "not there"
            if got != shape:
                raise ValueError(f"{prefix}{name} is {got}; it should be {shape}")
            return arrays[name]

        for layer in range(self.layers):
            columns = self.directions * self.hidden_size if layer else self.input_size
            for suffix in ("", "_reverse")[: self.directions]:
                tail = f"l{layer}{suffix}"
                self.w_x.append(array(f"weight_ih_{tail}", (gates, columns)))
                self.w_h.append(array(f"weight_hh_{tail}", (gates, self.hidden_size)))
                self.bias.append(
                    array(f"bias_ih_{tail}", (gates,)) + array(f"bias_hh_{tail}", (gates,))
                )
        self.index = False

    def fold_index(self) -> None:
        """Turns layer 0's input weights and biases into tables of biases [V, 4H]."""
        self.index = True
        self.bias = [w.T + b for w, b in zip(self.w_x, self.bias, strict=True)]
        self.w_x = [w[:, :0] for w in self.w_x]

    def check_input(self, x: np.ndarray, index: bool) -> None:
        """Raises :class:`ValueError` unless ``x`` is [T, B, X], or [T, B] of indices."""
        if index:
            if x.ndim != 2 or x.dtype.kind not in "iu":
                raise ValueError(f"input is {x.dtype} {x.shape}; indices are integers [T, B]")
            if x.size and not 0 <= x.min() <= x.max() < self.input_size:
                raise ValueError(
                    f"input holds {x.min()}..{x.max()}; columns are 0..{self.input_size - 1}"
                )
        elif x.ndim != 3 or x.shape[2] != self.input_size:
            raise ValueError(f"input is {x.shape}; it should be [T, B, {self.input_size}]")
        if not x.size:
            raise ValueError(f"input is empty ({x.shape}); give a few typical sequences")

    def run(
        self, x: np.ndarray, threshold: float = 0.0
    ) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
        """Each layer's input, each context's hidden and cell states [T, B, H], in input order.

        The recurrent product sees states of a magnitude below ``threshold`` as 0.
        """
        inputs, hidden, cells = [], [], []
        for layer in range(self.layers):
            inputs.append(x)
            for direction in range(self.directions):
                order = slice(None, None, -1 if direction else 1)
                h, c = self._context(layer * self.directions + direction, x[order], threshold)
                hidden.append(h[order])
                cells.append(c[order])
            x = np.concatenate(hidden[-self.directions :], axis=-1)
        return inputs, hidden, cells

    def _context(
        self, context: int, x: np.ndarray, threshold: float
    ) -> tuple[np.ndarray, np.ndarray]:
        inputs, bias = torch.tensor(np.ascontiguousarray(x)), torch.tensor(self.bias[context])
        w_x, w_h = (torch.tensor(w[context].T) for w in (self.w_x, self.w_h))
        sums = bias[inputs] if self.index else inputs.double() @ w_x + bias
        h = c = torch.zeros(x.shape[1], self.hidden_size, dtype=torch.float64)
        states = []
        for z in sums:
            i, f, g, o = (z + h * (h.abs() >= threshold) @ w_h).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(torch.stack([h, c]))
        h, c = torch.stack(states, dim=1)
        return h.numpy(), c.numpy()
