"""Mixed-precision training as the array does it: FP32 masters, FP16 or BF16 operands.

The parameters are the masters; layers with a :attr:`.Pruning.format` round copies of them.  Any
optimiser of PyTorch works, Adam too.  :class:`Momentum` is the array's own update, bit for bit.
:class:`LossScale` keeps small gradients from vanishing in FP16.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .pruning import Pruned


class Momentum(torch.optim.Optimizer):
    """Momentum SGD on FP32 parameters, each operation rounded as :func:`.update.learn` says::

        g' = g * scale + decay * w
        v' = momentum * v + g'
        w' = w - rate * v'

    v starts at 0.  ``rate``, ``momentum``, ``decay`` and ``scale`` are rounded to FP32, as the
    hardware's registers are.  Schedulers of PyTorch set ``rate`` under its usual name ``lr``.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        rate: float = 0.1,
        momentum: float = 0.9,
        decay: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        named = {"rate": rate, "momentum": momentum, "decay": decay, "scale": scale}
        for name, value in named.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} = {value} is not a finite number from 0 on")
        named["lr"] = named.pop("rate")
        super().__init__(parameters, named)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore
        """Updates all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    if w.dtype != torch.float32:
                        raise ValueError(f"a parameter is {w.dtype}; masters are FP32")
                    self._update(w, group)
        return loss

    def _update(self, w: Tensor, group: dict[str, Any]) -> None:
        state = self.state[w]
        v = state["velocity"] if state else torch.zeros_like(w)
        # One operation a line: `add(alpha=…)` may round once where the hardware rounds twice.
        steered = (w.grad * group["scale"]).add_(w * group["decay"])
        v = v.mul_(group["momentum"]).add_(steered)
        w.sub_(v * group["lr"])
        state["velocity"] = v


class LossScale:
    """Multiplies the loss by a power of two, and takes it out of the gradients again.

    Where a gradient overflows, the step is left out and the scale halved; after ``patience`` good
    steps in a row it is doubled.  ``patience`` None: the scale stays.
    """

    def __init__(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        scale: float = 2.0**16,
        patience: int | None = 2000,
    ) -> None:
        self.module, self.optimiser, self.patience = module, optimiser, patience
        self._good = 0
        if not 0 < scale < float("inf") or torch.tensor(scale).frexp().mantissa != 0.5:
            raise ValueError(f"scale = {scale} is not a power of two; others round gradients")
        if patience is not None and patience < 1:
            raise ValueError(f"patience = {patience} is not at least 1 step; None keeps the scale")
        self.scale = scale

    @property
    def scale(self) -> float:
        """What the loss is multiplied by now."""
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        self._scale = scale
        for layer in self.module.modules():
            if isinstance(layer, Pruned):
                layer.loss_scale = scale

    def step(self, loss: Tensor) -> bool:
        """From ``loss`` to the update; False where gradients overflowed and nothing changed."""
        self.optimiser.zero_grad()
        (loss * self.scale).backward()
        gradients = [
            w.grad
            for group in self.optimiser.param_groups
            for w in group["params"]
            if w.grad is not None
        ]
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            self.scale, self._good = self.scale / 2, 0
            return False
        for gradient in gradients:
            gradient.div_(self.scale)
        self.optimiser.step()
        self._good += 1
        if self._good == self.patience:
            self.scale, self._good = self.scale * 2, 0
        return True
