"""Configurations of the table lookup engine, and half-precision numbers as integers."""

import numpy as np
import pytest
from thresher.models.amu.config import AmuConfig
from thresher.models.amu.half import half_bits, sortable


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"codebooks": 2000}, "codebooks = 2000 is not an integer from 1 to 1024"),
        ({"levels": 7}, "levels = 7 is not an integer from 2 to 6"),
        ({"parallel_codebooks": 17}, "parallel_codebooks = 17 exceeds codebooks = 16"),
        ({"outputs": 4, "parallel_outputs": 5}, "parallel_outputs = 5 exceeds outputs = 4"),
        ({"input_kind": "float16"}, "input_bits = 8, but float16 has 16; set 16"),
        ({"load_port": 3}, "load_port = 3 does not divide parallel_outputs = 8"),
        ({"sum_bits": 9}, "sum_bits = 9 does not hold a bias of 16 bits"),
        ({"shift": 3}, "shift = 3 needs results of output_bits"),
        ({"shift": 16, "output_bits": 8}, "half of 2\\*\\*shift.* at least 17"),
        ({"codebooks": 1024, "outputs": 4096, "levels": 6}, "take 2,147,483,648 bits, more than"),
        ({"file": "layer.npz"}, "for contents = 'fixed'"),
        ({"contents": "fixed", "node": "a"}, "node = 'a' needs the file"),
        ({"contents": "fixed", "file": "nowhere.npz"}, "'nowhere.npz' cannot be read"),
    ],
)
def test_what_does_not_fit(fields, message):
    with pytest.raises(ValueError, match=message):
        AmuConfig.preset(**fields)


@pytest.mark.parametrize("name", AmuConfig.presets)
def test_presets(name, tmp_path):
    config = AmuConfig.preset(name)
    file = tmp_path / "config.toml"
    file.write_text(config.to_toml(), encoding="utf-8")
    assert AmuConfig.load(file=file) == config


@pytest.mark.parametrize("seed", range(20))
def test_sums_hold_whatever_is_loaded(seed):
    rng = np.random.default_rng(seed)
    c = AmuConfig(
        codebooks=int(rng.integers(4, 40)),
        table_bits=int(rng.integers(1, 17)),
        bias_bits=int(rng.integers(1, 33)),
    )
    low, high = -(1 << c.bias_bits - 1), (1 << c.bias_bits - 1) - 1
    most = high + c.codebooks * ((1 << c.table_bits) - 1)
    least, greatest = c.sum.limits
    assert least <= low
    assert most <= greatest
    assert -2 * low > -least or 2 * most >= greatest  # and not a bit more


def test_half_precision_numbers_in_order():
    bits = np.arange(1 << 16).astype(np.uint16)
    numbers = bits.view(np.float16)
    bits, numbers = bits[~np.isnan(numbers)], numbers[~np.isnan(numbers)]
    ascending = numbers[np.argsort(sortable(bits))]
    assert (ascending[1:] >= ascending[:-1]).all()
    for shift in (1, 77, 31_744):
        other = np.roll(bits, shift)
        np.testing.assert_array_equal(
            sortable(bits) > sortable(other), numbers > np.roll(numbers, shift)
        )
    back = half_bits(sortable(bits)).astype(np.uint16).view(np.float16)
    np.testing.assert_array_equal(back, numbers)
    with pytest.raises(ValueError, match="NaN"):
        sortable(np.array([0x7C01]))
