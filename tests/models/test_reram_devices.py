"""Flaws of cells, converters and sign bits: that they are what they say, once for every cell."""

import dataclasses
import math

import numpy as np
import pytest
from thresher.models.reram.array import FRACTION, Chip, normal_deviates, product
from thresher.models.reram.config import ReramConfig
from thresher.models.reram.crossbar import Crossbar
from thresher.models.reram.devices import Devices, adcs, cells_of, crossbars_of, draw
from thresher.models.reram.mapping import map_weights
from thresher.models.reram.wires import Wires, currents

LEVEL = 1 << FRACTION


def mapped(inputs=64, outputs=40, seed=0, **fields):
    config = ReramConfig.preset(**{"mapping": "dual", "input_bits": 8, **fields})
    rng = np.random.default_rng(seed)
    return map_weights(config, rng.integers(-255, 256, (inputs, outputs)))


def test_without_flaws_a_chip_is_ideal():
    mapping = mapped()
    for devices in (Devices(), Devices(on_off=50)):
        chip = draw(mapping, devices, seed=3)
        assert np.array_equal(chip.cells, Chip.ideal(mapping).cells)
        assert np.array_equal(chip.signs, mapping.signs)
        assert chip.linear


@pytest.mark.parametrize("mapping", ["polarised", "offset", "dual"])
@pytest.mark.parametrize("flip", [True, False])
def test_stuck_cells_and_sign_faults_are_other_weights(mapping, flip):
    """Where ADCs have room, a GEMM with them is what the golden model gives."""
    config = ReramConfig(mapping=mapping, flip=flip, adc_bits=5, input_bits=8)
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 100, (30, 20)) * rng.choice([-1, 1], (4, 20)).repeat(8, axis=0)[:30]
    chip = draw(
        map_weights(config, weights), Devices(stuck_off=0.05, stuck_on=0.05, sign_faults=0.1), 1
    )
    x = rng.integers(0, 256, (7, 30))
    crossbar = Crossbar(chip)
    assert crossbar.how == "gemm"
    assert np.array_equal(crossbar(x), product(chip, x))
    assert not np.array_equal(crossbar(x), x @ weights)
    signed = x - 128
    assert np.array_equal(crossbar.signed(signed), signed @ chip.weights() + crossbar.drift())
    for devices in (Devices(variation=0.01), Devices(read_noise=0.1), Devices(adc_offset=0.1)):
        assert not draw(chip.mapping, devices).linear


def test_the_same_chip_again_and_flaws_that_do_not_disturb_each_other():
    mapping = mapped()
    worn = Devices(variation=0.1, stuck_off=0.01, adc_offset=0.3, sign_faults=0.1, read_noise=0.2)
    one, two, other = draw(mapping, worn, 1), draw(mapping, worn, 1), draw(mapping, worn, 2)
    assert np.array_equal(one.cells, two.cells)
    assert not np.array_equal(one.cells, other.cells)
    worse = draw(mapping, dataclasses.replace(worn, stuck_off=0.02, sign_faults=0), 1)
    kept = worse.cells == one.cells
    assert abs((~kept).mean() / (0.01 * (one.cells > 0).mean()) - 1) < 0.2
    assert (worse.cells[~kept] == 0).all()
    assert np.array_equal(worse.thresholds, one.thresholds)
    x = np.random.default_rng(0).integers(0, 256, (3, 64))
    assert np.array_equal(Crossbar(one)(x), Crossbar(two)(x))
    assert not np.array_equal(Crossbar(one)(x), Crossbar(one)(x, first=3))  # read noise is fresh
    both = np.vstack([Crossbar(one)(x[:1]), Crossbar(one)(x[1:], first=1)])
    assert np.array_equal(both, Crossbar(one)(x))


def test_variation_is_log_normal():
    mapping = mapped(256, 64)
    chip = draw(mapping, Devices(variation=0.1))
    there = mapping.cells > 0
    ratio = np.log(chip.cells[there] / LEVEL / mapping.cells[there])
    assert abs(ratio.mean()) < 0.002
    assert abs(ratio.std() - 0.1) < 0.002
    assert not chip.cells[~there].any()  # what does not conduct does not vary


def test_finite_on_off_ratio():
    """Without a reference column a driven cell at level 0 adds L / (ratio - 1) levels."""
    mapping = mapped(flip=False)
    bare = draw(mapping, Devices(on_off=11, reference=False)).cells / LEVEL
    assert np.allclose(bare, mapping.cells + 3 / 10, atol=1e-4)


@pytest.mark.parametrize("which", ["stuck_off", "stuck_on"])
def test_stuck_cells(which):
    mapping = mapped(256, 64)
    cells = draw(mapping, Devices(**{which: 0.05}, on_off=20)).cells
    changed = cells != mapping.cells.astype(int) * LEVEL
    level = 0 if which == "stuck_off" else 3
    assert (cells[changed] == level * LEVEL).all()
    elsewhere = (mapping.cells != level).mean()
    assert abs(changed.mean() / elsewhere - 0.05) < 0.003


def test_a_sign_fault_negates_its_fragment():
    rng = np.random.default_rng(0)
    config = ReramConfig(input_bits=8)
    weights = rng.integers(0, 256, (16, 3))
    mapping = map_weights(config, weights)
    signs = mapping.signs.copy()
    signs[0, 1, 2] = -1
    x = rng.integers(0, 256, (4, 16))
    found = Crossbar(dataclasses.replace(Chip.ideal(mapping), signs=signs))(x)
    weights[8:, 2] *= -1
    assert np.array_equal(found, x @ weights)
    mapping = map_weights(config, np.ones((800, 300), int))
    assert abs((draw(mapping, Devices(sign_faults=0.1)).signs < 0).mean() - 0.1) < 0.01
    assert draw(mapped(), Devices(sign_faults=1.0)).linear  # two crossbars have no sign bits
    assert np.array_equal(draw(mapped(), Devices(sign_faults=1.0)).signs, mapped().signs)


def test_read_noise_in_the_statistics_of_products():
    """An ADC that resolves the noise passes it on, with its quantisation's twelfth."""
    config = ReramConfig(adc_bits=12, flip=False, weight_bits=2, input_bits=1, fragment_rows=128)
    mapping = map_weights(config, np.full((128, 50), 3))
    sigma = 2.5
    chip = draw(mapping, Devices(read_noise=sigma), seed=5)
    found = Crossbar(chip)(np.ones((400, 128), int)) - 384
    assert abs(found.mean()) < 4 * sigma / math.sqrt(found.size)
    assert abs(found.std() - math.hypot(sigma, 12**-0.5)) < 0.05
    assert abs(np.corrcoef(found[:-1, 0], found[1:, 0])[0, 1]) < 0.2
    deviates = normal_deviates() / 4096
    assert abs(deviates.std() - 1) < 1e-3
    assert abs(deviates.mean()) < 1e-12


def test_thresholds():
    mapping = mapped(adc_bits=5)
    chip = draw(mapping, Devices(adc_offset=0.4, adc_nonlinearity=0.2))
    assert chip.thresholds is not None
    assert (np.diff(chip.thresholds, axis=1) >= 0).all()
    off = chip.thresholds / LEVEL - (np.arange(31) + 0.5)
    assert abs(off.mean(axis=1).std() - 0.4) < 0.2
    exact = draw(mapping, Devices(adc_offset=1e-9))  # thresholds in place: as without
    x = np.random.default_rng(1).integers(0, 256, (4, 64))
    assert np.array_equal(product(exact, x), product(Chip.ideal(mapping), x))


def test_adcs_read_neighbouring_columns_of_one_crossbar():
    mapping = mapped(300, 70, columns_per_adc=32)
    which = adcs(mapping)  # crossbars: 2 planes, 3 down, 3 across of 32 outputs
    assert mapping.crossbars == (2, 3, 3)
    assert which.max() == 2 * 3 * 3 * 4 - 1 - 3  # the last crossbar holds 6 outputs, 24 columns
    assert (which[0, 0, :, :8] == 0).all()
    assert (which[0, 0, :, 8:16] == 1).all()
    assert (which[0, 15, :, 31:33] == [3, 4]).all()
    assert which[0, 16, 0, 0] == 12
    assert which[1, 0, 0, 0] == 36


def test_crossbars_and_back():
    mapping = mapped(300, 70)
    crossbars = crossbars_of(mapping, mapping.cells, -1)
    assert crossbars.shape == (2, 3, 3, 128, 128)
    assert crossbars[1, 2, 1, 3 * 8 + 5, 4 * 6 + 2] == mapping.cells[1, 35, 5, 2, 32 + 6]
    assert (crossbars[0, 0, 2, :, 24:] == -1).all()
    assert np.array_equal(cells_of(mapping, crossbars), mapping.cells)


def test_wires_reach_the_products():
    """A fragment's read is what nodal analysis gives with its rows driven."""
    config = ReramConfig(
        rows=16,
        columns=16,
        columns_per_adc=16,
        adc_bits=12,
        weight_bits=2,
        input_bits=1,
        flip=False,
    )
    rng = np.random.default_rng(0)
    mapping = map_weights(config, rng.integers(0, 4, (16, 16)))
    wires = Wires(2e-3, 1e-3)
    chip = draw(mapping, Devices(wires=wires, on_off=100, reference=False))
    x = rng.integers(0, 2, (5, 16))
    conductances = 0.01 + 0.99 * mapping.weights() / 3
    for row, found in zip(x, product(chip, x), strict=True):
        expected = 0
        for half in (slice(0, 8), slice(8, 16)):
            driven = np.zeros(16)
            driven[half] = row[half]
            expected = expected + np.rint(currents(conductances, driven, wires) * 3 / 0.99)
        assert np.array_equal(found, expected)
    assert (product(chip, x) < x @ mapping.weights()).any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stuck_off": 1.5}, "stuck_off = 1.5 is no share"),
        ({"stuck_off": 0.6, "stuck_on": 0.6}, "exceed all cells"),
        ({"variation": -0.1}, "variation = -0.1 is no standard deviation"),
        ({"on_off": 1.0}, "on_off = 1.0 is not above 1"),
    ],
)
def test_what_no_device_has(fields, message):
    with pytest.raises(ValueError, match=message):
        Devices(**fields)


def test_conductances_beyond_the_format():
    with pytest.raises(ValueError, match="levels, more than 131072; lower variation"):
        draw(mapped(), Devices(variation=8))
