"""Configurations of ReRAM crossbars."""

import pytest
from thresher.models.reram.config import ReramConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fragment_rows": 12}, "fragment_rows = 12 does not divide rows = 128; 132 rows hold"),
        ({"columns": 3, "columns_per_adc": 1}, "columns = 3 do not hold the 4 slices"),
        ({"columns_per_adc": 129}, "columns_per_adc = 129 exceeds columns = 128"),
        ({"cell_bits": 5}, "cell_bits = 5 is not an integer from 1 to 4, in bits"),
        ({"mapping": "polarized"}, "is not one of polarised, offset, dual"),
    ],
)
def test_what_does_not_fit(fields, message):
    with pytest.raises(ValueError, match=message):
        ReramConfig.preset(**fields)


@pytest.mark.parametrize("name", ReramConfig.presets)
def test_presets(name, tmp_path):
    config = ReramConfig.preset(name)
    file = tmp_path / "config.toml"
    file.write_text(config.to_toml(), encoding="utf-8")
    assert ReramConfig.load(file=file) == config
    assert config.lossless


def test_published_numbers():
    forms, isaac = ReramConfig(), ReramConfig.preset("isaac")
    assert (forms.slices, forms.fragments, forms.outputs, forms.full_scale) == (4, 16, 32, 12)
    assert (isaac.slices, isaac.fragments, isaac.outputs, isaac.full_scale) == (8, 1, 16, 192)
    assert forms.columns // forms.columns_per_adc == 4  # 32 in an MCU of 8 crossbars
    assert [ReramConfig(fragment_rows=m, flip=False).lossless_adc_bits for m in (4, 8, 16)] == [
        4, 5, 6,
    ]  # fmt: skip
