"""What a configuration costs and takes, without its hardware.

Folds, stages and their timeline are the very ones that hardware is made of.  They are looked at
once for all lanes and intervals that lead to the same folds: the first configuration of each takes
some milliseconds, every other one some microseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ...models.bcnn import lowering
from ...models.bcnn.config import BcnnConfig
from ...models.bcnn.folds import Choices
from ...models.bcnn.network import Network
from ...models.bcnn.stages import Fold
from ...models.bcnn.timing import Timeline
from ..estimates import Fit
from .growth import STORED, grows

LUT = Fit(
    {
        "ends": 18.92, "counters": 0.9271, "edges": 0.2351, "gears": 1.129, "sums": 2.834,
        "tables": 0.8256, "columns": 0.2473, "shortcuts": 5.414, "products": 0.5442,
    }
)  # fmt: skip
FF = Fit(
    {
        "ends": 70.87, "stages": 1.754, "counters": 1.329, "edges": 2.244, "gears": 1.669,
        "sums": 1.224, "tables": 0.0499, "columns": 0.5352, "delays": 0.5648, "registers": 1.104,
    }
)  # fmt: skip

NAMES = (
    "ends", "stages", "counters", "edges", "gears", "sums", "tables", "columns", "delays",
    "shortcuts", "products", "registers",
)  # fmt: skip
"""Features, each of every configuration."""


def estimate(config: BcnnConfig) -> Mapping[str, float]:
    """See :attr:`.Engine.estimate`; ``cycles`` is the interval, from a frame to the next, exactly.

    ``memory_bits``: weights, what sums begin with, the order of taps, and what waits: words in
    rings and gears, frames at the input and the output.
    """
    return _folded(config).figures


def features(config: BcnnConfig) -> dict[str, float]:
    """What look-up tables and flip-flops grow with."""
    return dict(_folded(config).features)


def samples(random: np.random.Generator, count: int) -> list[BcnnConfig]:
    """Networks of all three sorts, from few lanes to many."""
    found: list[BcnnConfig] = []
    while len(found) < count:
        network = str(random.choice(["chain", "residual", "drawn"], p=[0.4, 0.35, 0.25]))
        fields = {
            "network": network,
            "seed": int(random.integers(8 if network != "drawn" else 1 << 20)),
            "lanes": int(2 ** random.uniform(3, 7 if network == "residual" else 8)),
            "lanes_in": int(random.choice([0, 0, 1])),
        }
        try:
            config = BcnnConfig.model_validate(fields)
            estimate(config)
        except ValueError:  # fewer lanes than the stages have at least
            continue
        found.append(config)
    return found


@dataclass(frozen=True)
class _Folded:
    """A network with folds."""

    features: Mapping[str, float]
    figures: Mapping[str, float]


@dataclass(frozen=True)
class _Known:
    """A network and what has been found out about it."""

    network: Network
    choices: Choices
    folded: dict[tuple[Fold, ...], _Folded] = field(default_factory=dict)


def _folded(config: BcnnConfig) -> _Folded:
    known = _known(config.network, config.seed, config.file, config.digest, config.lanes_in)
    folds = known.choices.of(interval=config.interval, lanes=config.lanes)
    place = tuple(folds.values())
    if place not in known.folded:
        stages = lowering.lower(known.network, folds, config.lanes_in)
        known.folded[place] = _look(Timeline(stages))
    return known.folded[place]


@lru_cache(maxsize=64)
def _known(network: str, seed: int, file: str, digest: str, lanes_in: int) -> _Known:
    content = BcnnConfig.model_construct(
        network=network, seed=seed, file=file, digest=digest
    ).content
    return _Known(content, Choices(content, lanes_in))


def _look(timeline: Timeline) -> _Folded:
    counted = grows(timeline)
    found = {name: counted.get(name, 0) for name in NAMES}
    figures = {
        "cycles": timeline.interval,
        "lut": LUT(found),
        "ff": FF(found),
        "dsp": 0,
        "memory_bits": counted[STORED],
    }
    return _Folded(found, figures)
