"""What flaws cost a single read of a crossbar, as rows."""

import math
from collections.abc import Iterator

import numpy as np

from ..models import data
from ..models.reram.array import FRACTION
from ..models.reram.config import ReramConfig
from ..models.reram.devices import Devices, draw
from ..models.reram.mapping import map_weights
from ..models.reram.wires import Wires, effective
from .report import Bar, Progress, Row, show

_WIRES = "crossbar/crosssim_irdrop_vs_nodal.npz"
_SIGMA = 0.1


def flaw_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Variation of a column's sum, and what wires take off it, by rows that are driven."""
    yield from _variation(progress)
    try:
        yield from _wires(progress)
    except data.MissingData as missing:
        yield Row.skip("what wires take off a read", str(missing))


def _variation(progress: Progress) -> Iterator[Row]:
    """All cells at the highest level, which varies most, against the log-normal's moments."""
    outputs = 2000
    for m in (4, 8, 16, 128):
        progress(f"variation, {m} rows")
        config = ReramConfig(fragment_rows=m, weight_bits=2, flip=False)
        mapping = map_weights(config, np.full((m, outputs), config.top))
        chip = draw(mapping, Devices(variation=_SIGMA))
        sums = chip.cells[0, 0, :, 0].sum(axis=0) / (1 << FRACTION)
        mean = config.top * math.exp(_SIGMA**2 / 2)
        deviation = math.sqrt(m) * mean * math.sqrt(math.expm1(_SIGMA**2))
        off = abs(float(sums.std() / deviation) - 1)
        bias, found = m * (mean - config.top), float(sums.mean()) - m * config.top
        yield Row(f"log-normal variation of {_SIGMA}, {m} cells at level {config.top}: standard "
                  "deviation of their sum, distance from the formula's over it", off,
                  Bar("<=", 0.05), f"{show(deviation)} levels; bias {show(bias)}, here "
                  f"{show(found)}; {outputs:,} columns")  # fmt: skip


def _wires(progress: Progress) -> Iterator[Row]:
    """Fine granularity does not cure the drop along a row, which feeds every column."""
    file = data.load(_WIRES)
    for name in ("ir_128_2.0", "ir_64_0.5"):
        progress(f"what wires take off, {name}")
        conductances, ohms = file[f"{name}_G"].T, float(name.rpartition("_")[2])
        size = len(conductances)
        lost = conductances - effective(conductances, Wires(ohms / 10e3, ohms / 10e3))
        for rows in (4, 8, 16, size):
            worst = 3 * float(np.abs(lost.reshape(-1, rows, size).sum(axis=1)).max())
            yield Row(
                f"wires of {ohms} ohm a cell, {size} x {size}, {rows} rows driven: levels that the "
                "worst column lacks", worst, None, f"{worst / (3 * rows):.0%} of full scale",
            )  # fmt: skip
