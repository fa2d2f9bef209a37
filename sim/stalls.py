"""When a testbench offers data or takes it: stall patterns for stream ports.

A pattern is a boolean array, repeated, indexed by the cycle since reset release.
True lets the testbench begin to offer a beat (input) or take one (output) in that
cycle.  A beat once offered stays until accepted, whatever the pattern then says.
"""

from typing import Literal, get_args
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Kind = Literal["none", "random", "alternate"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_PERIOD = 4093  # prime, so that it does not fall into step with an engine's own loops


def pattern(kind: Kind, port: str, seed: int = 0) -> NDArray[np.bool_]:
    """The pattern ``kind`` for one port; ports differ, the same seed repeats.

    ``none``: never stalls.  ``alternate``: every other cycle.  ``random``: runs of
    both kinds, of lengths from single cycles to dozens, drawn for the port.
    """
    mark = crc32(port.encode())
    if kind == "none":
        return np.ones(1, dtype=bool)
    if kind == "alternate":
        return np.array([True, False]) if mark & 1 else np.array([False, True])
    if kind == "random":
        rng = np.random.default_rng([seed, mark])
        means = np.exp2(rng.uniform(0, 3.5, size=2))
        lengths = rng.geometric(1 / means, size=(_PERIOD, 2)).ravel()
        runs = np.repeat(np.tile([True, False], _PERIOD), lengths)
        return np.roll(runs[:_PERIOD], rng.integers(_PERIOD))
    raise ValueError(f"stall pattern {kind!r} is not one of {', '.join(KINDS)}")
