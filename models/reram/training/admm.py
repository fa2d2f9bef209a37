"""ADMM with scaled duals, and retraining within what it has fixed.

For weights W, their copies Z in the set and duals U (both of every layer), round k is ::

    W <- argmin loss(W) + sum of rho/2 * |W - Z + U|**2      (some epochs)
    Z <- nearest(W + U)
    U <- U + W - Z

Then W is put into the set for good and trained on within it.

Source: the order and the stages of Yuan et al., FORMS, ISCA 2021; Boyd et al., Distributed
Optimization and Statistical Learning via ADMM, 2011, section 3.1.1.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .parts import Part, Stage, hold

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""An epoch: batches of inputs and of what the loss compares their outputs with."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""Of outputs and goals, a mean over the batch."""


@dataclass(frozen=True)
class Schedule:
    """How long a stage trains, and how fast."""

    rounds: int = 6
    """Of ADMM; the nearest weights and the duals are found anew after each."""
    epochs: int = 1
    """Of a round."""
    retrain: int = 10
    """Epochs afterwards."""
    rate: float = 2e-3
    """Adam's highest rate; it rises over the first fifth and falls to 0 as a cosine."""
    rho: float = 1e-3
    """The pull to the set in the first round; see ``growth``."""
    growth: float = 2.0
    """What ``rho`` is multiplied with from round to round, and duals divided by."""

    def __post_init__(self) -> None:
        if min(self.rounds, self.retrain) < 0 or self.epochs < 1:
            raise ValueError(
                f"rounds = {self.rounds}, epochs = {self.epochs}, retrain = {self.retrain}: "
                "negative, or rounds without an epoch"
            )
        if min(self.rate, self.rho, self.growth) <= 0:
            raise ValueError(
                f"rate = {self.rate}, rho = {self.rho}, growth = {self.growth}: needs more than 0"
            )


class Trainer:
    """Trains a module's parameters while the weights of its parts are bound."""

    def __init__(
        self,
        module: nn.Module,
        parts: Sequence[Part],
        batches: Batches,
        loss: Loss,
        device: str | torch.device,
    ) -> None:
        self.module = module
        self.parts = parts
        self.batches = batches
        self.loss = loss
        self.device = device

    def stage(
        self, stage: Stage, schedule: Schedule, progress: Callable[[str], None] = lambda what: None
    ) -> dict[str, float]:
        """ADMM towards the stage's set, the way into it, and on within it.

        Returns, by part, the share of the weights' squares that the way into the set has left.
        """
        copies = [part.project(stage, part.matrix()) for part in self.parts]
        duals = [torch.zeros_like(copy) for copy in copies]
        rho = schedule.rho
        optimiser = torch.optim.Adam(self.module.parameters(), schedule.rate)
        for k in range(schedule.rounds):
            progress(f"{stage}: round {k + 1} of {schedule.rounds}")
            for _ in range(schedule.epochs):
                pulls = zip(self.parts, copies, duals, strict=True)
                self._epoch(optimiser, [part.shaped(z - u) for part, z, u in pulls], rho)
            for i, part in enumerate(self.parts):
                weights = part.matrix()
                copies[i] = part.project(stage, weights + duals[i])
                duals[i] = (duals[i] + weights - copies[i]) / schedule.growth
            rho *= schedule.growth
        kept = {part.name: part.fix(stage) for part in self.parts}
        self._retrain(stage, schedule, progress)
        return kept

    def _retrain(self, stage: Stage, schedule: Schedule, progress: Callable[[str], None]) -> None:
        optimiser = torch.optim.Adam(self.module.parameters(), schedule.rate)
        for epoch in range(schedule.retrain):
            progress(f"{stage}: retraining, epoch {epoch + 1} of {schedule.retrain}")
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate * one_cycle((epoch + 0.5) / schedule.retrain)
            self._epoch(optimiser, through=stage if stage == "quantise" else None)
        if stage == "quantise":
            for part in self.parts:
                part.write(part.project(stage, part.matrix()))

    def _epoch(
        self,
        optimiser: torch.optim.Optimizer,
        anchors: Sequence[Tensor] = (),
        rho: float = 0.0,
        through: Stage | None = None,
    ) -> None:
        """Weights are pulled to ``anchors``.

        Where ``through`` a stage, the gradients are those at the nearest weights of its set
        (straight-through), which rounding alone would not let go.
        """
        self.module.train()
        weights = [part.module.weight for part in self.parts]
        bounds = [part.bounds() for part in self.parts]
        for inputs, goals in self.batches():
            masters = [weight.detach().clone() for weight in weights] if through else []
            if through:
                for part in self.parts:
                    part.write(part.project(through, part.matrix()))
            optimiser.zero_grad()
            with torch.enable_grad():  # whatever a teacher in `batches` has switched off
                self.loss(self.module(inputs.to(self.device)), goals.to(self.device)).backward()
            with torch.no_grad():
                for weight, master in zip(weights, masters, strict=False):
                    weight.copy_(master)
                for weight, anchor in zip(weights, anchors, strict=False):
                    assert weight.grad is not None
                    weight.grad.add_(weight - anchor, alpha=rho)
                optimiser.step()
                for weight, bound in zip(weights, bounds, strict=True):
                    hold(weight, bound)


def one_cycle(time: float) -> float:
    """Share of the highest rate at ``time`` from 0 to 1: up for a fifth, then a half cosine."""
    rise = 0.2
    if time < rise:
        return time / rise
    return 0.5 + 0.5 * math.cos(math.pi * (time - rise) / (1 - rise))
