"""What chips of crossbars take and give: area, power and throughput from published components.

A chip has tiles on a mesh, a tile has compute units (ISAAC's IMA, FORMS' MCU) round an eDRAM, a
unit has crossbars with their converters.  An operation is a multiplication or an addition.  Of a
crossbar, with c input cycles of a fragment (``input_bits``, or fewer where some are skipped)::

    operations/s = 2 * rows * outputs / planes / (fragments * c * cycle)

where a cycle is what all columns take to be read, ``columns_per_adc`` samples.

Throughput is that of a chip full of weights whose inputs are always there; power is what all parts
take at work.  Wires of crossbars, the network between tiles and its congestion take no time.

Sources.  Tile, compute unit and chip, at 32 nm: Shafiee et al., ISAAC, ISCA 2016, table I, variant
CE.  FORMS' converters: hwcomponents-library of the Accelergy project, ``forms.py``.  Not published,
and therefore ours:

* Shift-and-add units take what ISAAC's take per sample, at the same number of samples a second.
* Sign and flip indicators cost a bit what a bit of ISAAC's input register costs.  ISAAC's own, one
  a column, are in its table.
* Cells, drivers and sample-and-holds take per piece what ISAAC's take, at whatever rate.
* Controllers that skip have no figure and are not there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

from .config import ReramConfig


@dataclass(frozen=True)
class Cost:
    """Power and area; ``a + b`` and ``count * a``."""

    mw: float = 0.0
    mm2: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.mw + other.mw, self.mm2 + other.mm2)

    def __rmul__(self, count: float) -> "Cost":
        return Cost(count * self.mw, count * self.mm2)


def total(parts: Mapping[str, Cost]) -> Cost:
    """Of all ``parts``."""
    return sum(parts.values(), Cost())


@dataclass(frozen=True)
class Adc:
    """A published converter."""

    bits: int
    cost: Cost
    rated: float
    """Samples per nanosecond that the power stands for."""

    @property
    def energy(self) -> float:
        """pJ of a sample."""
        return self.cost.mw / self.rated


ISAAC_ADC = Adc(8, Cost(16 / 8, 0.0096 / 8), 1.2)
"""By table I; 128 columns in ISAAC's cycle of 100 ns need 1.28 samples per nanosecond."""
FORMS_ADC = Adc(4, Cost(15.2 / 32, 0.0091 / 32), 2.1)

_ROWS, _COLUMNS, _CROSSBARS = 128, 128, 8
"""Of what ISAAC's table counts in a compute unit."""
_CYCLE = 100.0
"""Of ISAAC, in ns."""
_DRIVERS, _HOLDS, _CELLS = Cost(4, 0.00017), Cost(0.01, 0.00004), Cost(2.4, 0.0002)
_SHIFT_AND_ADD = Cost(0.2, 0.00024)
_INPUT_REGISTER, _OUTPUT_REGISTER = Cost(1.24, 0.0021), Cost(0.23, 0.00077)
_BIT = (1 / (2048 * 8)) * _INPUT_REGISTER

TILE = {
    "eDRAM": Cost(20.7, 0.083),
    "bus": Cost(7, 0.090),
    "router": 0.25 * Cost(42, 0.151),
    "sigmoid": Cost(0.52, 0.0006),
    "shift and add": Cost(0.05, 0.00006),
    "maximum pool": Cost(0.4, 0.00024),
    "output register": Cost(1.68, 0.0032),
}
"""Parts of ISAAC's tile beside its compute units; a router serves four tiles."""
LINKS = Cost(10_400, 22.88)
"""HyperTransport, of a chip."""


def adc_energy(bits: int) -> float:
    """pJ of a sample of ``bits``.

    ISAAC's rule, after Saberi et al. (2011): buffers, memory and clock grow with the bits, the
    capacitors double with each; what either takes is such that both published converters come out.
    """
    return _by_bits(bits, FORMS_ADC.energy, ISAAC_ADC.energy)


def adc_area(bits: int) -> float:
    """mm2 of a converter of ``bits``, by the same rule, at any rate."""
    return _by_bits(bits, FORMS_ADC.cost.mm2, ISAAC_ADC.cost.mm2)


def _by_bits(bits: int, low: float, high: float) -> float:
    """``a * bits + b * 2**bits`` through ``low`` and ``high`` at the published bits."""
    few, many = FORMS_ADC.bits, ISAAC_ADC.bits
    capacitors = (high * few - low * many) / ((few << many) - (many << few))
    return (low - capacitors * (1 << few)) / few * bits + capacitors * (1 << bits)


@dataclass(frozen=True)
class Accelerator:
    """A chip whose crossbars are those of ``config``."""

    config: ReramConfig
    rate: float
    """Samples per nanosecond that a converter is built for."""
    cycle: float
    """ns from one read of a crossbar's columns to the next."""
    crossbars: int = _CROSSBARS
    """Of a compute unit."""
    units: int = 12
    """Of a tile."""
    tiles: int = 168

    @classmethod
    def isaac(cls, **changes: object) -> Self:
        """ISAAC-CE; ``changes`` of its configuration."""
        return cls(ReramConfig.preset("isaac", **changes), ISAAC_ADC.rated, _CYCLE)

    @classmethod
    def forms(cls, fragment_rows: int = 8, **changes: object) -> Self:
        """FORMS on ISAAC's tiles; unless ``changes`` say otherwise, with the fewest bits of
        converters that are lossless."""
        config = ReramConfig.preset(fragment_rows=fragment_rows, **changes)
        if "adc_bits" not in changes:
            config = config.replace(adc_bits=config.lossless_adc_bits)
        return cls(config, FORMS_ADC.rated, config.columns_per_adc / FORMS_ADC.rated)

    @property
    def adcs(self) -> int:
        """Of a compute unit."""
        c = self.config
        return self.crossbars * -(-c.columns // c.columns_per_adc)

    @cached_property
    def unit_parts(self) -> dict[str, Cost]:
        """Of a compute unit."""
        c, size = self.config, self.crossbars / _CROSSBARS
        indicators = 0
        if c.fragments > 1:
            signs = c.outputs if c.mapping == "polarised" else 0
            flips = c.columns if c.flip else 0
            indicators = self.crossbars * c.fragments * (signs + flips)
        samples = self.crossbars * c.columns / self.cycle
        published = _CROSSBARS * _COLUMNS / _CYCLE
        rows, columns = size * c.rows / _ROWS, size * c.columns / _COLUMNS
        return {
            "ADC": self.adcs * Cost(adc_energy(c.adc_bits) * self.rate, adc_area(c.adc_bits)),
            "drivers": rows * _DRIVERS,
            "sample and hold": columns * _HOLDS,
            "cells": rows * columns / size * _CELLS,
            "shift and add": samples / published * _SHIFT_AND_ADD,
            "input register": rows * _INPUT_REGISTER,
            "output register": columns * _OUTPUT_REGISTER,
            "indicators": indicators * _BIT,
        }

    @property
    def unit(self) -> Cost:
        """Of a compute unit."""
        return total(self.unit_parts)

    @property
    def tile(self) -> Cost:
        """Of a tile, with its compute units."""
        return self.units * self.unit + total(TILE)

    @property
    def chip(self) -> Cost:
        """Of everything."""
        return self.tiles * self.tile + LINKS

    def gops(self, cycles: float | None = None) -> float:
        """1e9 operations/s of the chip, with ``cycles`` a fragment or all bits of its inputs."""
        c = self.config
        if cycles is None:
            cycles = c.input_bits
        if not 0 < cycles <= c.input_bits:
            raise ValueError(
                f"cycles = {cycles} is not from 0 to input_bits = {c.input_bits}; give the mean "
                "effective input cycles of a fragment"
            )
        operations = 2 * c.rows * c.outputs / c.planes / (c.fragments * cycles * self.cycle)
        return operations * self.crossbars * self.units * self.tiles

    def gops_per_mm2(self, cycles: float | None = None) -> float:
        """Of the chip."""
        return self.gops(cycles) / self.chip.mm2

    def gops_per_watt(self, cycles: float | None = None) -> float:
        """Of the chip."""
        return self.gops(cycles) / (self.chip.mw / 1000)

    @property
    def column_energy(self) -> float:
        """pJ of ADCs to read one column of all fragments with one bit of the inputs."""
        return self.config.fragments * adc_energy(self.config.adc_bits)


def break_even(few: Accelerator, many: Accelerator) -> float:
    """Cycles of a fragment at which ADCs of ``few`` take the energy of those of ``many``.

    Those of ``many`` read all bits of its inputs; below, ``few`` rows at once win.
    """
    return many.config.input_bits * many.column_energy / few.column_energy


Baseline = Literal["offset", "dual", "optimised"]
BASELINES: dict[Baseline, str] = {
    "offset": "ISAAC, 16-bit weights with an offset, not pruned",
    "dual": "ISAAC with two crossbars for the signs of 16-bit weights, not pruned",
    "optimised": "ISAAC, 8-bit weights with an offset, as pruned as FORMS",
}
"""What gains are over."""

Metric = Callable[[Accelerator, float], float]


def breakdown(
    goal: Accelerator,
    baseline: Baseline,
    leading: float,
    every: float,
    pruning: float = 1.0,
    metric: Metric = Accelerator.gops,
) -> dict[str, float]:
    """Factors by which ``goal`` beats a baseline, one change after the other; what they multiply to
    is the whole gain.

    ``leading`` and ``every`` are the effective cycles of a fragment of ``goal`` with leading zeros
    and with all zero planes skipped, ``pruning`` how many times fewer crossbars hold the weights.
    Operations with weights that are pruned count as done.  ``metric`` is ``Accelerator.gops``,
    ``gops_per_mm2`` or ``gops_per_watt``.
    """
    c = goal.config
    isaac = Accelerator.isaac(
        mapping="dual" if baseline == "dual" else "offset", input_bits=c.input_bits,
        weight_bits=c.weight_bits if baseline == "optimised" else 16,
    )  # fmt: skip
    steps = {"weight bits": replace(isaac, config=isaac.config.replace(weight_bits=c.weight_bits))}
    before = steps["weight bits"].config
    steps["signs"] = replace(isaac, config=before.replace(mapping=c.mapping))
    small = before.replace(mapping=c.mapping, fragment_rows=c.fragment_rows)
    steps["fragments"] = replace(isaac, config=small)
    steps["ADC"] = goal
    bits = float(c.input_bits)
    found = {"pruning": 1.0 if baseline == "optimised" else pruning}
    last = metric(isaac, bits)
    for name, step in steps.items():
        now = metric(step, bits)
        found[name], last = now / last, now
    for name, cycles in (("skipping leading zeros", leading), ("skipping any zeros", every)):
        now = metric(goal, cycles)
        found[name], last = now / last, now
    return found
