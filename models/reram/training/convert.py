"""A trained module made one whose layers lie in crossbars: integer weights, polarised where wanted.

Stages are nested: structured pruning, polarisation, quantisation, each by ADMM (:mod:`.admm`)
and kept by those that follow.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import mapping as mappings
from ..config import ReramConfig
from ..mapping import Layout, map_weights
from .admm import Batches, Loss, Schedule, Trainer
from .norms import fold
from .parts import Part, Pruning, Stage, parts_of
from .sets import Rule

SCHEDULES: dict[Stage, Schedule] = {
    "prune": Schedule(),
    "polarise": Schedule(),
    "quantise": Schedule(rounds=1, retrain=2, rate=2e-4),
}
"""Of the stages, where :func:`convert` is given none."""


@dataclass(frozen=True)
class Laid:
    """A layer as it lies in crossbars; ``real = weights * step``."""

    config: ReramConfig
    weights: np.ndarray
    """int64 [kept inputs, kept outputs]."""
    step: float
    bias: np.ndarray | None
    """float32 [outputs], of all; None without."""
    inputs: np.ndarray
    """int64: which inputs are kept, in the layout's order; the others' weights are 0."""
    outputs: np.ndarray
    """int64: which outputs are kept."""
    shape: tuple[int, int]
    """Inputs and outputs before pruning."""
    kept: Mapping[Stage, float]
    """By stage, the share of the weights' sum of squares that the way into its set has left."""

    def mapping(self) -> mappings.Mapping:
        """In crossbars; raises as :func:`..mapping.map_weights`, which refuses mixed fragments."""
        return map_weights(self.config, self.weights)

    def whole(self) -> np.ndarray:
        """int64 [inputs, outputs] with zeros where weights were pruned.

        Its fragments are polarised only where pruning kept all inputs, or whole fragments.
        """
        found = np.zeros(self.shape, np.int64)
        found[np.ix_(self.inputs, self.outputs)] = self.weights
        return found

    @property
    def violations(self) -> int:
        """Fragments with both signs."""
        held = mappings.fragments_of(self.weights, self.config.fragment_rows, axis=0)
        return int(((held.min(axis=1) < 0) & (held.max(axis=1) > 0)).sum())

    @property
    def sparsity(self) -> float:
        """Share of the weights before pruning that are 0."""
        return 1 - np.count_nonzero(self.weights) / (self.shape[0] * self.shape[1])

    @property
    def crossbars(self) -> tuple[int, int]:
        """How many without pruning and now, both planes of a dual mapping counted."""
        before, after = (
            self.config.planes * -(-rows // self.config.rows) * -(-columns // self.config.outputs)
            for rows, columns in (self.shape, self.weights.shape)
        )
        return before, after


@dataclass(frozen=True)
class Converted:
    """What :func:`convert` gives."""

    module: nn.Module
    """Computes with exactly ``weights * step``, batch norms folded; in evaluation mode."""
    layers: dict[str, Laid]
    """By name, in the module's order."""

    @property
    def violations(self) -> int:
        """Fragments with both signs, of all layers."""
        return sum(layer.violations for layer in self.layers.values())

    @property
    def crossbars(self) -> tuple[int, int]:
        """Of all layers, without pruning and now."""
        before, after = zip(*(layer.crossbars for layer in self.layers.values()), strict=True)
        return sum(before), sum(after)


def convert(
    module: nn.Module,
    config: ReramConfig,
    batches: Batches,
    *,
    loss: Loss = functional.cross_entropy,
    layout: Layout = "channel",
    rule: Rule = "energy",
    pruning: Pruning | Mapping[str, Pruning] | None = None,
    schedules: Mapping[Stage, Schedule] | None = None,
    norms: Literal["before", "after"] = "after",
    skip: tuple[str, ...] = (),
    device: str | torch.device = "cpu",
    progress: Callable[[str], None] = lambda what: None,
) -> Converted:
    """A copy of the trained ``module`` with weights that crossbars of ``config`` hold.

    ``batches`` gives an epoch's inputs and goals for the ``loss``: labels, or a teacher's scores.
    ``pruning``: for all layers, or by name.  Without there is no such stage, and none that
    polarises unless the mapping is ``polarised``.  ``norms``: whether batch norms are folded
    before training, or after polarisation, so that they still train.  Layers in ``skip`` stay as
    they are.  ``schedules`` replace some of :data:`SCHEDULES`.

    Raises :class:`ValueError` as :func:`.parts_of` and :func:`.fold`, and for names in ``pruning``
    or ``skip`` that are no layer's.
    """
    module = copy.deepcopy(module).to(device)
    schedules = {**SCHEDULES, **(schedules or {})}
    parts = parts_of(module, config, layout, rule, pruning, skip)
    if norms == "before":
        fold(module)
    for part in parts:
        part.module.requires_grad_(True)
    trainer = Trainer(module, parts, batches, loss, device)
    kept: dict[Stage, dict[str, float]] = {}
    if pruning:
        kept["prune"] = trainer.stage("prune", schedules["prune"], progress)
    if config.mapping == "polarised":
        kept["polarise"] = trainer.stage("polarise", schedules["polarise"], progress)
    if norms == "after":
        scales = fold(module)
        for part in parts:
            if part.name in scales:
                part.turned(scales[part.name])
    kept["quantise"] = trainer.stage("quantise", schedules["quantise"], progress)
    layers = {
        part.name: laid(part, {stage: found[part.name] for stage, found in kept.items()})
        for part in parts
    }
    return Converted(module.eval(), layers)


def laid(part: Part, kept: Mapping[Stage, float]) -> Laid:
    """A quantised part."""

    def numbers(tensor: Tensor) -> np.ndarray:
        return tensor.detach().cpu().numpy()

    assert part.step is not None
    inputs, outputs = part.whole().shape
    return Laid(
        part.config,
        numbers(part.integers()),
        part.step,
        None if part.module.bias is None else numbers(part.module.bias).copy(),
        numbers(part.inputs),
        numbers(part.outputs),
        (inputs, outputs),
        kept,
    )
