"""How well the layers of a binary network keep pace with each other."""

from typing import Any

from ....models.bcnn import folds, lowering
from ....models.bcnn.config import BcnnConfig
from ....models.bcnn.stages import Stage
from ....models.bcnn.timing import Timeline


def balance(config: BcnnConfig) -> dict[str, Any]:
    """What the folds make of the lanes, in closed form; nothing is sampled.

    ``utilisation``
        The share of all lanes' time that goes into products that are not pruned.
    ``least_utilisation``
        That of the layer whose lanes idle most.
    ``bottleneck``
        The layer that the others wait for: the most utilised one, of several that of most lanes.
    ``spare_lanes``
        Of those allowed, how many no fold takes: fewer give the same hardware.
    ``latency``
        Cycles from a frame's start to its last result.
    """
    network = config.content
    chosen = folds.choose(
        network, interval=config.interval, lanes=config.lanes, lanes_in=config.lanes_in
    )
    timeline = Timeline(lowering.lower(network, chosen, config.lanes_in))
    layers = [
        (share, stage)
        for share, stage in zip(timeline.utilisations, timeline.stages, strict=True)
        if isinstance(stage, Stage) and stage.lanes
    ]
    lanes = sum(stage.lanes for _, stage in layers)
    _, slowest = max(layers, key=lambda layer: (layer[0], layer[1].lanes))
    return {
        "utilisation": timeline.utilisation,
        "least_utilisation": min(share for share, _ in layers),
        "bottleneck": slowest.name,
        "spare_lanes": max(config.lanes - lanes, 0),
        "latency": timeline.latency,
    }
