"""Integer formats for the values of a trained module, found on calibration rows."""

from dataclasses import dataclass, replace
from math import ceil, log2

import numpy as np
import torch

from .layer import Format
from .modules import Affine, Given, Step, Sum


@dataclass(frozen=True)
class Scale:
    """What an integer stands for."""

    step: float
    """The value of 1."""
    format: Format

    def whole(self, values: np.ndarray) -> np.ndarray:
        """int64: the nearest integers, saturated."""
        return np.clip(np.rint(values / self.step), *self.format.limits).astype(np.int64)


def choose(
    graph: tuple[Step, ...], values: list[torch.Tensor], input_bits: int, bits: int
) -> list[Scale]:
    """For each step the scale with the least squared error on its ``values``.

    Pooling, flattening and joining leave integers as they are: what they read and give has one
    scale.  What an addition reads and gives differs by powers of two.  Values behind a ReLU are
    unsigned, and so are inputs of which none is negative.

    Raises :class:`ValueError` where a value behind a ReLU is joined with one that is not.
    """
    same = list(range(len(graph)))  # the first step with this one's scale
    for place, step in enumerate(graph):
        if isinstance(step.operation, Affine | Sum | Given):
            continue
        roots = [same[s] for s in step.sources]
        same = [min(roots) if s in roots else s for s in same]
        same[place] = min(roots)
    scales: dict[int, Scale] = {}
    for root in sorted(set(same)):
        members = [
            p for p, s in enumerate(same)
            if s == root and isinstance(graph[p].operation, Affine | Sum | Given)
        ]  # fmt: skip
        signs = [_signed(graph[p], values[p]) for p in members]
        if any(signs) and any(graph[p].operation.relu for p in members):
            names = ", ".join(graph[p].name for p in members)
            raise ValueError(
                f"of the values joined, {names}, some are behind a ReLU: all are to be"
            )
        width = input_bits if root == 0 else bits
        found = torch.cat([values[p].flatten() for p in members]).double().numpy()
        format = Format(width, any(signs))
        scales[root] = Scale(_best_step(found, format), format)
    tied = list(range(len(graph)))  # likewise, but for a power of two
    for place, step in enumerate(graph):
        if isinstance(step.operation, Sum):
            roots = {tied[same[p]] for p in (place, *step.sources)}
            tied = [min(roots) if t in roots else t for t in tied]
    for root, scale in scales.items():
        base = scales[tied[root]].step
        power = ceil(log2(scale.step / base) - 1e-9)
        scales[root] = replace(scale, step=base * 2.0**power)
    return [scales[root] for root in same]


def _signed(step: Step, values: torch.Tensor) -> bool:
    if isinstance(step.operation, Given):
        return bool((values < 0).any())
    return not step.operation.relu


def _best_step(values: np.ndarray, format: Format) -> float:
    """Trying to clip more and more of the largest values."""
    values = values[:: max(len(values) // 50_000, 1)] if len(values) > 100_000 else values
    low, high = format.limits
    full = max(float(values.max()) / high, float(values.min()) / low if low else 0.0)
    if full <= 0:
        return 1.0
    steps = full * np.linspace(1, 0.3, 29)
    errors = [np.square(Scale(s, format).whole(values) * s - values).sum() for s in steps]
    return float(steps[int(np.argmin(errors))])
