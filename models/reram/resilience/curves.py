"""Accuracy over the rate of faults, from many seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .memories import Stored, accuracy

_RESAMPLES = 4000


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval: 95 %, by the bootstrap over seeds (percentiles).

    It makes no assumption on how seeds are spread: often a few are ruined and the others are not.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: np.ndarray) -> "Interval":
        """Of independent samples [seeds]; the same samples give the same interval."""
        drawn = np.random.default_rng(0).integers(len(samples), size=(_RESAMPLES, len(samples)))
        low, high = np.quantile(samples[drawn].mean(axis=1), (0.025, 0.975))
        return cls(float(samples.mean()), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.mean:.3g} ({self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True)
class Curve:
    """Accuracies of the same memories' seeds at ascending rates."""

    rates: tuple[float, ...]
    clean: float
    """Without faults, from the same memory."""
    accuracies: np.ndarray
    """float64 [rates, seeds]."""

    @property
    def intervals(self) -> list[Interval]:
        """Of each rate."""
        return [Interval.of(row) for row in self.accuracies]

    @property
    def areas(self) -> np.ndarray:
        """float64 [seeds]: :func:`area` under the curve of each seed."""
        return area(self.rates, self.accuracies)

    @property
    def auc(self) -> Interval:
        """Of :attr:`areas`."""
        return Interval.of(self.areas)

    def gain(self, other: "Curve") -> Interval:
        """What this curve's area has more than the ``other``'s, pair by pair of the same faults.

        Raises :class:`ValueError` where rates or seeds differ.
        """
        if self.rates != other.rates or self.accuracies.shape != other.accuracies.shape:
            raise ValueError("curves of different rates or seeds are no pairs; sweep them alike")
        return Interval.of(self.areas - other.areas)


def area(rates: Sequence[float], accuracies: np.ndarray) -> np.ndarray:
    """The mean of ``accuracies`` [rates, ...] over the logarithm of the rate, by trapezoids.

    1 for a network that is always right; a single rate's accuracy is its own mean.  Raises
    :class:`ValueError` where rates do not ascend from above 0.
    """
    x = np.asarray(rates, np.float64)
    if not (len(x) and (x > 0).all() and (np.diff(x) > 0).all()):
        raise ValueError(f"rates = {list(rates)} do not ascend from above 0")
    if len(x) == 1:
        return accuracies[0]
    x = np.log(x)
    return np.trapezoid(accuracies, x, axis=0) / (x[-1] - x[0])


def sweep(
    modules: dict[str, nn.Module],
    stored: Stored,
    rates: Sequence[float],
    seeds: int,
    images: Tensor,
    labels: Tensor,
    device: str | torch.device = "cpu",
    progress: Callable[[str], None] = lambda what: None,
) -> dict[str, Curve]:
    """A curve for each of the modules, which differ in activations only, under the same faults.

    Each of ``seeds`` memories is drawn once a rate.  Modules are moved to ``device`` and used in
    evaluation mode.  Raises :class:`ValueError` for less than 2 seeds, as :func:`area` and as
    :class:`.Stored`.
    """
    if seeds < 2:
        raise ValueError(f"seeds = {seeds} give no interval; 2 at least, 20 for a figure")
    images, labels = images.to(device), labels.to(device)
    modules = {name: module.to(device).eval() for name, module in modules.items()}

    def judge(rate: float, seed: int) -> list[float]:
        weights = stored(rate, seed, device)
        return [accuracy(module, weights, images, labels) for module in modules.values()]

    clean = judge(0.0, 0)
    found = np.empty((len(modules), len(rates), seeds))
    for at, rate in enumerate(rates):
        progress(f"faults at {rate:g}")
        for seed in range(seeds):
            found[:, at, seed] = judge(rate, seed)
    return {name: Curve(tuple(rates), clean[n], found[n]) for n, name in enumerate(modules)}
