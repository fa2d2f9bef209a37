# amaranth: UnusedElaboratable=no
"""What the cycle model must know of the units."""

from ...models.reram.layer_config import ReramLayerConfig
from ...models.reram.layer_cycles import Delays
from .array import Array
from .collect import Collect
from .planes import Planes
from .readout import Readout


def delays(config: ReramLayerConfig) -> Delays:
    """Of the units of the engine of this configuration."""
    rows = row_planes(config)
    return Delays(
        held=[unit.held for unit in rows],
        planes=[unit.latency for unit in rows],
        sums=Array.LATENCY + Readout(config).latency,
        results=Collect(config).latency,
    )


def row_planes(config: ReramLayerConfig) -> list[Planes]:
    """The bit planes of each row of crossbars, from the top: the rows that are used of it."""
    c = config
    return [Planes(c, min(c.rows, c.inputs - d * c.rows)) for d in range(c.down)]
