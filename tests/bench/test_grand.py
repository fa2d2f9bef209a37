"""The bench of GRAND: its parts on little work, and all of its quick mode."""

import numpy as np
import pytest
from thresher.bench import grand, report
from thresher.bench._grand_curves import Meter, figure
from thresher.models import data
from thresher.models.error_rates import Point
from thresher.models.grand.patterns import Patterns, Staircase


def point(ebn0, fer):
    costs = {"queries": {"average": 9.0}, "cycles": {"average": 2.0}}
    return Point(ebn0, 1000, 10, fer, fer / 2, fer * 2, 0.0, 0.0, costs)


def test_brute_force_has_the_same_order():
    patterns = Patterns(Staircase.orbgrand(40, 30, 5))
    found = [tuple(r for r in row if r) for row in patterns.ranks.tolist()]
    assert grand._brute(30, 5) == found


def test_a_meter_counts_up_to_an_edge_and_estimates_beyond():
    meter = Meter("step-grand", True, code="bch-32-21")
    counted, estimated = meter.point(5.5), meter.point(6.0)
    assert counted.errors >= 300 or counted.frames >= 150_000
    assert estimated.errors is None
    assert estimated.costs["cycles"]["average"] > 1
    assert estimated.fer == meter.noise(6.0).fer
    assert meter.best(6.0, 10**9) == meter.noise(6.0)


def test_figure_shows_curves_beside_the_published_ones(monkeypatch):
    table = [
        ["code", "decoder", "ebn0_dB", "frames", "frame_errs", "avg_cycles_D3model"],
        ["5G polar(128,105+CRC11)", "ORBGRAND LWmax=64 P=6 float", "5.0", "1000", "10", "34.6"],
        ["5G polar(128,105+CRC11)", "ORBGRAND LWmax=64 P=6 float", "8.0", "1000", "0", "1.1"],
        ["5G polar(128,105+CRC11)", "CA-SCL L=8", "4.0", "500", "50", ""],
        ["5G polar(512,256+CRC24C)", "CA-SCL L=8", "4.0", "500", "50", ""],
    ]
    monkeypatch.setattr(data, "table", lambda name: table)
    rates, cycles = figure({"ours": [point(4.0, 1e-2), point(5.0, 1e-3)]}).panels
    ours, orbgrand, scl = rates.series
    assert (ours.x, ours.y, ours.low) == ([4.0, 5.0], [1e-2, 1e-3], [5e-3, 5e-4])
    assert (orbgrand.x, orbgrand.y) == ([5.0], [0.01])
    assert orbgrand.low[0] < 0.01 < orbgrand.high[0]
    assert (scl.x, scl.y) == ([4.0], [0.1])
    assert [series.label for series in cycles.series] == ["ours", orbgrand.label]


def test_figure_does_without_the_published_ones(monkeypatch):
    def missing(name):
        raise data.MissingData(name)

    monkeypatch.setattr(data, "table", missing)
    rates, cycles = figure({"ours": [point(4.0, 1e-2)]}).panels
    assert (len(rates.series), len(cycles.series)) == (1, 1)


def test_pictures_only_where_there_are_any(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        grand, "rows", lambda quick, progress, pictures=None: seen.append(pictures) or []
    )
    report.run("grand", pictures=tmp_path)
    report.run("grand")
    assert seen == [tmp_path, None]
    with pytest.raises(ValueError, match="bench simulation draws no pictures"):
        report.run("simulation", pictures=tmp_path)


@pytest.mark.slow
def test_quick_mode_holds(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra [pictures]")
    result = report.run("grand", quick=True, pictures=tmp_path)
    assert [row.what for row in result.rows if row.holds is False] == []
    assert np.all([file.stat().st_size > 1000 for file in tmp_path.iterdir()])
    assert len(list(tmp_path.iterdir())) == 2
