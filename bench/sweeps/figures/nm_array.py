"""Cycles of training steps on the N:M array."""

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
    ``macs_per_cycle``
        Multiply-accumulates of the dense step over the cycles: those that pruning leaves out count.
    ``gradient_share``
        Of the cycles, of the gradient of weights and their update, which are dense always.
    ``streaming``
        The share of the cycles in which the array multiplies.
    ``beats``
        That are read and written.
    ``bits_per_cycle``
        Those beats' bits over the cycles: what a memory must bring on average.
    """
    costs = {
        (layer.name, way): choose(config, layer, way).cost
        for layer in LAYERS
        for way in layer.passes
    }
    total = Cost(*map(sum, zip(*costs.values(), strict=True)))
    gradient = sum(cost.cycles for (_, way), cost in costs.items() if way == "gradient")
    work = sum(layer.macs * len(layer.passes) for layer in LAYERS)
    beats = total.read + total.written
    return {
        "step_cycles": total.cycles,
        "macs_per_cycle": work / total.cycles,
        "gradient_share": gradient / total.cycles,
        "streaming": total.streaming / total.cycles,
        "beats": beats,
        "bits_per_cycle": beats * config.beat_bits / total.cycles,
    }
