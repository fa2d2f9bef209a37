"""The bench of Fast-SCLF: its parts on little work, and all of its quick mode."""

from types import SimpleNamespace

import numpy as np
import pytest
from thresher.bench import _polar_curves, _polar_rtl, polar, report
from thresher.bench._polar_curves import DECODERS, FAST, FSCL_4, FSCL_32, Meter, figure
from thresher.bench._polar_rtl import memory_bits
from thresher.fpga.resources import Resources
from thresher.hdl.fast_sclf.shape import Shape
from thresher.models import data
from thresher.models.codes.crc import crc
from thresher.models.codes.polar import polar_5g
from thresher.models.error_rates import Point
from thresher.models.fast_sclf.config import FastSclfConfig
from thresher.models.fast_sclf.decoder import Options


@pytest.fixture
def small(monkeypatch):
    """A code whose frames take no time."""
    monkeypatch.setattr(_polar_curves, "CODE", polar_5g(32, 12, crc("crc6")))


def point(ebn0, fer, flips=0.0, errors=10):
    costs = {"attempts": {"average": flips}, "steps": {"average": 200 * (1 + flips)}}
    return Point(ebn0, 1000, errors, fer, fer / 2, fer * 2, 0.0, 0.0, costs)


def curves(**changes):
    """Those that the reference runs found."""
    found = {
        FSCL_4: [point(ebn0, fer) for ebn0, fer in polar._FSCL_4.items()],
        FAST: [point(ebn0, *both) for ebn0, both in polar._FAST.items()],
        FSCL_32: [point(2.0, 1.03e-2), point(2.25, 2.4e-3), point(2.5, 5.6e-4)],
    }
    return {**found, **changes}


def test_equal_lists_do_not_differ_and_errors_are_seen():
    rng = np.random.default_rng(3)
    code = polar_5g(64, 40, crc("crc6"))
    assert polar.compare(code, 4, 300, rng)[0] == 0
    assert 30 < polar.compare(code, 1, 300, rng)[1] < 270


def test_a_decoder_that_is_none_is_found(monkeypatch):
    real = polar.leaves
    largest = iter((None, 1))

    def wrong(frozen, size):
        next(largest)
        return real(frozen if size else np.roll(frozen, 1), size)

    monkeypatch.setattr(polar, "leaves", wrong)
    code = polar_5g(32, 16, crc("crc6"))
    assert polar.compare(code, 2, 100, np.random.default_rng(0))[0] > 50


def test_meters_draw_the_same_frames(small):
    alone, flips = Options(2, 0), Options(2, 20)
    first = Meter(alone).first(1.0, 4000)
    again, more = Meter(alone).first(1.0, 8192), Meter(flips).first(1.0, 4000)
    assert (first.frames, again.frames, more.frames) == (4096, 8192, 4096)
    # Flips rescue frames and spoil none.
    assert first.errors - more.errors > first.errors // 4
    assert first.undetected <= more.undetected
    until = Meter(alone).count(1.0, first.errors + 1)
    assert (until.frames, until.errors) == (8192, again.errors)


def test_figure_shows_curves_beside_reference_runs(monkeypatch):
    code, flips = "5G polar(512,256+CRC24C)", "list-flip L=4 m=50 alpha=1.2"
    head = ["code", "decoder", "ebn0_dB", "frames", "frame_errs", "avg_extra_attempts", "avg_steps"]
    table = [
        head,
        [code, "FSCL L=4", "2.0", "1000", "70", "0", "204"],
        [code, flips, "2.0", "99", "1", "1.2", "450"],
        ["5G polar(128,105+CRC11)", "CA-SCL L=8", "4.0", "500", "50", "", ""],
    ]  # fmt: skip
    monkeypatch.setattr(data, "table", lambda name: table)
    shown = figure({FSCL_4: [point(2.0, 0.07)], FAST: [point(2.0, 0.02, 1.25), point(3.0, 0.0)]})
    rates, steps, flips = shown.panels
    assert [(s.label, list(s.x), list(s.y)) for s in rates.series] == [
        (FSCL_4, [2.0], [0.07]),
        (FAST, [2.0], [0.02]),
        ("FSCL-4, reference run", [2.0], [0.07]),
        ("Fast-SCLF-4, reference run", [2.0], [1 / 99]),
    ]
    assert [list(s.y) for s in steps.series] == [[200], [450, 200], [204], [450]]
    assert [(s.label, list(s.y)) for s in flips.series] == [
        (FAST, [1.25]),
        ("Fast-SCLF-4, reference run", [1.2]),
    ]
    colours = shown.colours()
    assert colours[FAST] == colours["Fast-SCLF-4, reference run"] != colours[FSCL_4]


def test_figure_does_without_the_table(monkeypatch):
    def missing(name):
        raise data.MissingData(name)

    monkeypatch.setattr(data, "table", missing)
    assert [len(panel.series) for panel in figure({FAST: [point(2.0, 0.02, 1.0)]}).panels] == [
        1
    ] * 3


def test_reference_runs_hold_and_others_do_not():
    assert all(row.holds for row in polar._reference(curves(), False))
    off = curves(**{FSCL_4: [point(2.0, 8.1e-2)]})
    assert next(polar._reference(off, False)).holds is False
    off = curves(**{FAST: [point(2.0, 1.58e-2, 1.5), point(2.5, 1.2e-3, 0.089)]})
    judged = [row.holds for row in polar._reference(off, False)]
    assert judged[4:] == [True, False, False, True, False]


def test_latency_is_judged_where_flips_are_rare():
    rare, often = ({FAST: [point(2.75, 1.2e-4, flips)]} for flips in (0.02, 0.04))
    over, saved = polar._latency(rare, False)
    assert (over.measured, over.holds) == (pytest.approx(1.02), True)
    assert saved.measured == pytest.approx(1 - 204 / 359)
    assert next(polar._latency(often, False)).holds is False
    assert next(polar._latency(rare, True)).skipped


def test_memory_grows_with_the_list_and_counts_the_channel_once():
    shape = Shape(FastSclfConfig())
    channel = 512 * 6
    four, eight = (memory_bits(shape, lists) - channel for lists in (4, 8))
    assert eight == 2 * four + 8 * (shape.levels - 1)  # a bit more in every pointer
    # LLRs of all levels below the channel's, a bit of word for each bit and level.
    assert four > 4 * (510 * 6 + 512)


def test_area_rows_say_what_could_not_be_laid_out(monkeypatch):
    resources = Resources(lut=20_000, ff=3000, carry=0, dsp=0, bram=0, lutram=4000, spram=0)

    def lay_out(synthesis, timeout):
        if synthesis.lists == 8:
            raise TimeoutError
        return SimpleNamespace(fmax_mhz=100.0)

    monkeypatch.setattr(
        _polar_rtl, "synthesise",
        lambda engine, device, top: SimpleNamespace(resources=resources, lists=engine.list_size),
    )  # fmt: skip
    monkeypatch.setattr(_polar_rtl, "place_and_route", lay_out)
    monkeypatch.setattr(
        _polar_rtl, "engine", lambda name: SimpleNamespace(component=lambda config: config)
    )
    found = list(_polar_rtl.area_rows(False, lambda what: None))
    assert len(found) == 4 * 3
    assert found[0].measured == "20,000 lut, 3,000 ff, 4,000 lutram"
    fmax, last = found[7], found[-2]
    assert fmax.measured == f"100.0; {256 * 100 / 255:.1f}"
    assert last.measured is None
    assert "30 minutes" in last.skipped


def test_quick_curves_have_the_points_that_rows_need():
    quick, full = _polar_curves._FRAMES, _polar_curves._ERRORS
    assert set(quick) == set(full) == set(DECODERS)
    assert {2.0, 2.25} <= set(quick[FAST])
    assert {2.0, 2.25, 2.5, 2.75} <= set(full[FAST])
    assert set(polar._FSCL_4) <= set(full[FSCL_4])


@pytest.mark.slow
def test_quick_mode_holds(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra [pictures]")
    result = report.run("polar", quick=True, pictures=tmp_path)
    assert [row.what for row in result.rows if row.holds is False] == []
    assert len(list(tmp_path.iterdir())) == 2
