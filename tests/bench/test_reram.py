"""The bench of ReRAM crossbars: its yardstick in NumPy, the figures of flaws, all that holds."""

import numpy as np
import pytest
from thresher.bench import _reram_array, _reram_flaws, report
from thresher.models import data
from thresher.models.reram.config import ReramConfig
from thresher.models.reram.crossbar import Crossbar
from thresher.models.reram.mapping import map_weights
from thresher.models.reram.resnet import polarise


def test_what_speed_is_measured_beside_computes_the_same():
    rng = np.random.default_rng(0)
    config = ReramConfig(input_bits=8, adc_bits=3, flip=False)
    weights = polarise(rng.integers(-255, 256, (32, 20)), 8)
    inputs = rng.integers(0, 256, (6, 32))
    plain = _reram_array._plain(config, weights, inputs)
    assert np.array_equal(plain, Crossbar(map_weights(config, weights), "numpy")(inputs))
    assert not np.array_equal(plain, inputs @ weights)  # it clips


def test_flaws():
    rows = list(_reram_flaws.flaw_rows(True, lambda what: None))
    assert all(row.holds is not False or row.skipped for row in rows)
    assert sum(row.bar is not None for row in rows) == 4


def test_without_data_every_part_is_skipped_or_holds(monkeypatch):
    def missing(name):
        raise data.MissingData(f"{name} is not there")

    monkeypatch.setattr(data, "path", missing)
    monkeypatch.setattr(_reram_array, "_products", lambda *_: iter(()))
    rows = list(_reram_array.array_rows(True, lambda what: None))
    assert sum(bool(row.skipped) for row in rows) == 6
    assert all(row.holds or row.bar is None for row in rows if not row.skipped)


@pytest.mark.slow
def test_quick_bench_holds():
    found = report.run("reram")
    assert [row.what for row in found.rows if row.holds is False] == []
