"""Figures in closed form that were fitted to measured ones."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Fit:
    """``sum(weight * feature)``, weights by the feature's name.

    Weights are what ``python -m thresher.bench.sweeps.fit ENGINE`` prints: non-negative least
    squares of relative errors, against Yosys' counts.
    """

    weights: Mapping[str, float]

    def __call__(self, features: Mapping[str, float]) -> int:
        """Rounded."""
        return round(sum(weight * features[name] for name, weight in self.weights.items()))
