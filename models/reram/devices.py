"""What sets a chip apart from its mapping, drawn once for every cell, converter and sign bit.

A cell at level v of L has the conductance ``low + v/L * (1 - low)``, in units of the highest, with
``low = 1 / on_off``; times ``exp(variation * z)``, z normal, as it was programmed.  A cell may be
stuck at the lowest (``stuck_off``, high resistance) or the highest (``stuck_on``).  Wires then make
effective conductances of them all.  A reference column takes off ``low`` for every driven row, and
what is left, over ``(1 - low) / L``, is the cell in units of a level.

Every flaw has a random stream of its own, so that one can be turned on or made worse while the
others stay.  Cells that are stuck at a rate are among those at a higher rate.
"""

import math
from dataclasses import dataclass

import numpy as np

from .array import FRACTION, Chip
from .mapping import Mapping
from .wires import Approximation, Wires, effective


@dataclass(frozen=True)
class Devices:
    """Statistics of flaws; the defaults have none."""

    variation: float = 0.0
    """Standard deviation of a conductance's logarithm."""
    on_off: float = math.inf
    """Highest over lowest conductance."""
    reference: bool = True
    """A reference column takes the lowest conductance off; else it adds to every sum."""
    stuck_off: float = 0.0
    """Share of cells that always have the lowest conductance."""
    stuck_on: float = 0.0
    """Share of cells that always have the highest."""
    sign_faults: float = 0.0
    """Share of sign indicators that are inverted; only polarised mappings have them."""
    read_noise: float = 0.0
    """Standard deviation of what is added to a column's sum in every read, in levels."""
    adc_offset: float = 0.0
    """Standard deviation of what all thresholds of an ADC are off, in levels."""
    adc_nonlinearity: float = 0.0
    """Standard deviation of what a threshold is off beside that, in levels."""
    wires: Wires | Approximation | None = None
    """Exact, or approximated; None: without resistance."""

    def __post_init__(self) -> None:
        for name in ("stuck_off", "stuck_on", "sign_faults"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)} is no share from 0 to 1")
        if self.stuck_off + self.stuck_on > 1:
            raise ValueError(
                f"stuck_off = {self.stuck_off} and stuck_on = {self.stuck_on} exceed all cells; "
                "lower one"
            )
        for name in ("variation", "read_noise", "adc_offset", "adc_nonlinearity"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is no standard deviation; 0 for none"
                )
        if not self.on_off > 1:
            raise ValueError(f"on_off = {self.on_off} is not above 1; math.inf for ideal cells")

    @property
    def low(self) -> float:
        """The lowest conductance of a cell, the highest being 1."""
        return 1 / self.on_off


def draw(mapping: Mapping, devices: Devices, seed: int | tuple[int, ...] = 0) -> Chip:
    """A chip that holds ``mapping``, the one of this ``seed``.

    Raises :class:`ValueError` where a column could add up more than 32 bits hold.
    """
    source = np.random.SeedSequence(seed)
    varied, stuck, signs, offsets, nonlinear = map(np.random.default_rng, source.spawn(5))
    config = mapping.config
    low, top = devices.low, config.top
    conductances = low + mapping.cells / top * (1 - low)
    if devices.variation:
        conductances *= np.exp(varied.normal(0, devices.variation, conductances.shape))
    if devices.stuck_off or devices.stuck_on:
        fate = stuck.random(conductances.shape)
        conductances[fate < devices.stuck_off] = low
        conductances[fate >= 1 - devices.stuck_on] = 1
    if devices.wires:
        conductances = _wired(mapping, conductances, devices.wires, low)
    if devices.reference:
        conductances = conductances - low
    cells = np.rint(conductances * (top / (1 - low)) * (1 << FRACTION))
    most = np.abs(cells).sum(axis=2).max() + 9 * devices.read_noise * (1 << FRACTION)
    if most >= 1 << 31:
        raise ValueError(
            f"a column adds up {most / (1 << FRACTION):.0f} levels, more than "
            f"{1 << 31 - FRACTION}; lower variation or the rows of a fragment"
        )
    faulty = signs.random(mapping.signs.shape) < devices.sign_faults
    faulty &= config.mapping == "polarised"
    adc = adcs(mapping)
    thresholds = None
    if devices.adc_offset or devices.adc_nonlinearity:
        count = int(adc.max()) + 1
        steps = np.arange(config.adc_top) + 0.5
        steps = steps + offsets.normal(0, devices.adc_offset, (count, 1))
        steps = steps + nonlinear.normal(0, devices.adc_nonlinearity, steps.shape)
        # An ADC is monotonous: thresholds that changed places count as each other.
        thresholds = np.sort(np.rint(steps * (1 << FRACTION)).astype(np.int32), axis=1)
    return Chip(
        mapping,
        cells.astype(np.int32),
        np.where(faulty, -mapping.signs, mapping.signs),
        thresholds,
        None if thresholds is None else adc,
        round(devices.read_noise * (1 << FRACTION)),
        int(source.generate_state(1)[0]),
    )


def adcs(mapping: Mapping) -> np.ndarray:
    """int32 [planes, fragments, slices, outputs]: the number of the ADC that reads the column.

    Crossbar by crossbar, ``columns_per_adc`` neighbouring columns each.
    """
    c = mapping.config
    planes, down, across = mapping.crossbars
    crossbar = np.arange(planes * down * across).reshape(planes, down, 1, across, 1)
    per_crossbar = -(-c.columns // c.columns_per_adc)
    column = np.arange(c.outputs) * c.slices + np.arange(c.slices)[:, None, None]
    found = crossbar * per_crossbar + column // c.columns_per_adc
    found = found.reshape(planes, down, c.slices, -1)[..., : mapping.outputs]
    return found.repeat(c.fragments, axis=1)[:, : mapping.fragments].astype(np.int32)


def crossbars_of(mapping: Mapping, cells: np.ndarray, empty: float) -> np.ndarray:
    """[planes, down, across, rows, columns]: ``cells`` as they lie in crossbars.

    ``cells`` are shaped as ``mapping.cells``; what holds no weight is ``empty``.
    """
    c = mapping.config
    planes, down, across = mapping.crossbars
    whole = np.full(
        (planes, down * c.fragments, c.fragment_rows, c.slices, across * c.outputs), empty
    )
    whole[:, : mapping.fragments, ..., : mapping.outputs] = cells
    whole = whole.reshape(planes, down, c.rows, c.slices, across, c.outputs)
    found = np.full((planes, down, across, c.rows, c.columns), empty)
    found[..., : c.outputs * c.slices] = whole.transpose(0, 1, 4, 2, 5, 3).reshape(
        *found.shape[:-1], -1
    )
    return found


def cells_of(mapping: Mapping, crossbars: np.ndarray) -> np.ndarray:
    """The inverse of :func:`crossbars_of`."""
    c = mapping.config
    planes, down, across = mapping.crossbars
    found = crossbars[..., : c.outputs * c.slices].reshape(
        planes, down, across, c.rows, c.outputs, c.slices
    )
    found = found.transpose(0, 1, 3, 5, 2, 4).reshape(
        planes, down * c.fragments, c.fragment_rows, c.slices, across * c.outputs
    )
    return found[:, : mapping.fragments, ..., : mapping.outputs]


def _wired(
    mapping: Mapping, conductances: np.ndarray, wires: Wires | Approximation, low: float
) -> np.ndarray:
    def solve(crossbar: np.ndarray) -> np.ndarray:
        return wires(crossbar) if isinstance(wires, Approximation) else effective(crossbar, wires)

    crossbars = crossbars_of(mapping, conductances, low)
    flat = crossbars.reshape(-1, *crossbars.shape[-2:])
    return cells_of(mapping, np.stack([solve(part) for part in flat]).reshape(crossbars.shape))
