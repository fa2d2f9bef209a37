"""The chip model beside what ISAAC and FORMS publish, and its sums beside one another."""

import math
from itertools import pairwise

import pytest
from thresher.models.reram.chip import (
    BASELINES,
    FORMS_ADC,
    ISAAC_ADC,
    Accelerator,
    Baseline,
    Cost,
    adc_area,
    adc_energy,
    break_even,
    breakdown,
)
from thresher.models.reram.config import ReramConfig

METRICS = (Accelerator.gops, Accelerator.gops_per_mm2, Accelerator.gops_per_watt)


def test_costs_add_up():
    assert Cost(1, 2) + 3 * Cost(4, 5) == Cost(13, 17)


def test_isaac_is_what_its_table_says():
    isaac = Accelerator.isaac()
    assert isaac.unit_parts["ADC"] == Cost(pytest.approx(16), pytest.approx(0.0096))
    assert 12 * isaac.unit.mw == pytest.approx(289, rel=0.005)
    assert 12 * isaac.unit.mm2 == pytest.approx(0.157, rel=0.005)
    assert isaac.tile == Cost(pytest.approx(330, rel=0.005), pytest.approx(0.372, rel=0.005))
    assert isaac.chip == Cost(pytest.approx(65.8e3, rel=0.005), pytest.approx(85.4, rel=0.005))
    assert isaac.gops() / isaac.tiles / isaac.units == pytest.approx(20.48)  # 4096 * 8 / 1.6 us
    assert isaac.gops_per_mm2() == pytest.approx(479, rel=0.02)
    assert 168 * 96 * isaac.unit_parts["ADC"].mw / 8 / isaac.chip.mw == pytest.approx(
        0.49, abs=0.01
    )


def test_forms_converters_are_the_published_ones():
    forms = Accelerator.forms()
    assert forms.config == ReramConfig()
    assert forms.adcs == 32
    assert forms.unit_parts["ADC"] == Cost(pytest.approx(15.2), pytest.approx(0.0091))
    assert forms.cycle == pytest.approx(15.24, abs=0.005)
    assert [Accelerator.forms(m).config.adc_bits for m in (4, 8, 16)] == [3, 4, 5]
    assert Accelerator.forms(8, flip=False).config.adc_bits == 5
    assert Accelerator.forms(8, flip=False, adc_bits=4).config.adc_bits == 4


def test_converters_of_other_bits():
    for adc in (ISAAC_ADC, FORMS_ADC):
        assert adc_energy(adc.bits) == pytest.approx(adc.energy)
        assert adc_area(adc.bits) == pytest.approx(adc.cost.mm2)
    for rule in (adc_energy, adc_area):
        costs = [rule(bits) for bits in range(1, 13)]
        steps = [b - a for a, b in pairwise(costs)]
        growth = [b - a for a, b in pairwise(steps)]
        assert costs[0] > 0
        # What is left of linear and exponential growth after two differences is exponential.
        assert all(b == pytest.approx(2 * a) for a, b in pairwise(growth))


@pytest.mark.parametrize("m", [4, 8, 16])
def test_throughput_is_a_count_of_reads(m: int):
    forms = Accelerator.forms(m)
    # A crossbar of 128 x 32 weights, 128 / m fragments one after the other, 10 bits each.
    seconds = 128 / m * 10 * 32 / 2.1
    assert forms.gops(10) == pytest.approx(2 * 128 * 32 / seconds * 8 * 12 * 168)
    dual = Accelerator.forms(m, mapping="dual")
    assert dual.gops(10) == forms.gops(10) / 2
    with pytest.raises(ValueError, match=r"cycles = 17 is not from 0 to input_bits = 16"):
        forms.gops(17)


def test_polarisation_alone_is_slower():
    factors = breakdown(Accelerator.forms(weight_bits=16), "offset", 12.2, 12.2)
    assert math.prod(factors.values()) == pytest.approx(0.54, abs=0.005)
    # Its converters win by energy only where less than half of the bits are read.
    assert break_even(Accelerator.forms(), Accelerator.isaac()) == pytest.approx(7.4, abs=0.05)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("metric", METRICS)
def test_factors_multiply_to_the_gain(baseline: Baseline, metric):
    goal, pruning = Accelerator.forms(16), 5.0
    factors = breakdown(goal, baseline, 13.6, 12.8, pruning, metric)
    changes = {
        "offset": {}, "dual": {"mapping": "dual"}, "optimised": {"weight_bits": 8},
    }[baseline]  # fmt: skip
    gain = metric(goal, 12.8) / metric(Accelerator.isaac(**changes), 16)
    if baseline != "optimised":
        gain *= pruning
    assert math.prod(factors.values()) == pytest.approx(gain)
    assert factors["skipping leading zeros"] == pytest.approx(16 / 13.6)
    assert factors["skipping any zeros"] == pytest.approx(13.6 / 12.8)
    if metric is Accelerator.gops:
        assert factors["weight bits"] == (1 if baseline == "optimised" else 2)
        assert factors["signs"] == (2 if baseline == "dual" else 1)
        assert factors["fragments"] == 1 / 8


def test_larger_crossbars_cost_by_the_piece():
    forms, wide = Accelerator.forms(), Accelerator.forms(rows=256, columns=256)
    for part, times in {"ADC": 2, "drivers": 2, "cells": 4, "input register": 2, "indicators": 4,
                        "sample and hold": 2, "shift and add": 2}.items():  # fmt: skip
        assert wide.unit_parts[part].mw == pytest.approx(times * forms.unit_parts[part].mw)
    signs = 8 * 16 * 32  # bits of a unit, and a flip for every column
    assert forms.unit_parts["indicators"].mw == pytest.approx((signs + 4 * signs) / 16384 * 1.24)
