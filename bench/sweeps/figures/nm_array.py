"""Cycles of training steps on the N:M array."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

from ....models.nm.config import NmConfig
from ....models.nm.layers import Layer
from ....models.nm.scheduler import Cost, choose

LAYERS = (
    Layer("first", 32, 64, 16, 16, 16, 3, 2, 1),
    Layer("second", 64, 64, 16, 8, 8, 3, 1, 1),
)
"""Convolutions of a small network for 16 images of 16 x 16 pixels."""


def step(config: NmConfig) -> dict[str, Any]:
    """A training step of :data:`LAYERS`: forward, backward, gradient and update, each with the
    dataflow and tiles that the offline scheduler chooses; by the cycle formulas, which equal the
    RTL.

    ``step_cycles``
        Of all passes; forward and backward products keep N of M weights.
    ``gain``
        Over the dense step on the same array.
    ``streaming``
        The share of the cycles in which the array multiplies.
    ``beats``
        That are read and written.
    ``bits_per_cycle``
        Those beats' bits over the cycles: what a memory must bring on average.
    """
    sparse, dense = _step(config, True), _step(config, False)
    beats = sparse.read + sparse.written
    return {
        "step_cycles": sparse.cycles,
        "gain": dense.cycles / sparse.cycles,
        "streaming": sparse.streaming / sparse.cycles,
        "beats": beats,
        "bits_per_cycle": beats * config.beat_bits / sparse.cycles,
    }


@lru_cache(maxsize=4)
def _step(config: NmConfig, sparse: bool) -> Cost:
    costs = [
        choose(config, replace(layer, sparse=sparse), way, shortlist=2).cost
        for layer in LAYERS
        for way in layer.passes
    ]
    return Cost(*map(sum, zip(*costs, strict=True)))
