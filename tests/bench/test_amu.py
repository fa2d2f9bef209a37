"""The bench of AMU: rivals in few bits, areas at equal error, and all of its quick mode."""

from itertools import product as pairs
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.sim import Simulator
from thresher.bench import _amu_equal, _amu_pipeline, _amu_rtl, report
from thresher.bench._amu_equal import FITTED, LOOKUP, ROUNDED, Cost, at_error, figure, front
from thresher.bench._quantised import Affine, Product, grid, quantise
from thresher.fpga.resources import Resources
from thresher.hdl.verilog import netlist
from thresher.models import data
from thresher.models.amu.examples import random_layer


def a_product(seed=0, inputs=6, outputs=3, rows=200):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(inputs, inputs))
    train, test = (rng.normal(size=(n, inputs)) @ mix for n in (rows, 80))
    return Product("random", train, test, rng.normal(size=(inputs, outputs)))


def fitted(product, bits, inputs, sweeps=10):
    targets = product.train @ product.weight
    return quantise(product.weight, bits, inputs, product.train, targets, sweeps)


def test_error_is_that_of_the_means_for_the_means_and_none_for_the_product():
    product = a_product()
    y = product.test @ product.weight
    assert product.error(y) == 0
    assert product.error(np.tile(y.mean(axis=0), (80, 1))) == pytest.approx(1)
    assert product.error(2 * y - y.mean(axis=0)) == pytest.approx(1)


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_quantiser_is_no_worse_than_any_clipping_tried(bits):
    values = np.random.default_rng(bits).exponential(size=4000)

    def error(found):
        return np.square(found.low + found.step * found(values) - values).sum()

    tried = (
        Affine(bits, low, (high - low) / (2**bits - 1))
        for low, high in pairs(np.linspace(0, 1, 12), np.linspace(1.2, values.max(), 30))
    )
    found = Affine.fit(values, bits)
    assert error(found) <= 1.001 * min(map(error, tried))
    assert found(values).min() == 0
    assert found(values).max() == 2**bits - 1


def test_quantiser_finds_a_grid_and_takes_a_constant():
    k = np.random.default_rng(0).integers(0, 8, 500)
    found = Affine.fit(0.25 * k - 3, 3)
    assert (found.low, found.step) == pytest.approx((-3, 0.25))
    assert (found(0.25 * k - 3) == k).all()
    still = Affine.fit(np.full((5, 2), 7.5), 4)
    assert (still.low + still.step * still(np.full(3, 7.5)) == 7.5).all()


def test_weights_that_are_integers_are_found():
    rng = np.random.default_rng(1)
    rows, whole = rng.integers(0, 256, (300, 5)), rng.integers(-4, 4, (5, 4))
    whole[0] = -4
    product = Product("whole", rows[:200], rows[200:], whole * [0.1, 3, -2, 1])
    found = fitted(product, 3, Affine(8, 0, 1))
    assert product.error(found(product.test)) < 1e-20
    assert (found.weights == whole).all()


@pytest.mark.parametrize("bits", [1, 2])
def test_fitted_weights_are_near_the_best_there_are(bits):
    product = a_product(bits, inputs=5, outputs=20)
    inputs = Affine.fit(product.train, 4)
    rounded, best_found = (fitted(product, bits, inputs, sweeps) for sweeps in (0, 10))
    x, y = inputs(product.train), product.train @ product.weight
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)

    def left(weights):  # after a scale of least squared error
        guess = x @ weights
        scale = (guess * y).sum(axis=0) / np.maximum(np.square(guess).sum(axis=0), 1e-9)
        return np.square(scale * guess - y).sum(axis=0)

    best = np.min([left(np.array(w)[:, None]) for w in pairs(grid(bits), repeat=5)], axis=0)
    assert np.isin(best_found.weights, grid(bits)).all()
    assert (left(best_found.weights) <= left(rounded.weights) + 1e-9).all()
    gap = left(rounded.weights).sum() - best.sum()
    assert left(best_found.weights).sum() <= best.sum() + 0.3 * gap
    assert gap > 0.2 * best.sum()


def test_weights_of_no_use_harm_nothing():
    product = a_product()
    constant = product.train.copy()
    constant[:, 0] = 3.0
    nothing = Product("none", constant, product.test, product.weight * [0, 1, 1])
    found = fitted(nothing, 2, Affine.fit(constant, 3))
    guess = found(product.test)
    assert np.isfinite(guess).all()
    assert np.abs(guess[:, 0]).max() < 1e-9


@pytest.mark.parametrize("bits", [(1, 1, 0.629), (3, 3, 0.090)])
def test_rivals_on_ar1_are_no_worse_than_others_found(bits):
    try:
        product = Product("AR(1)", *_amu_equal._ar1())
    except data.MissingData as missing:
        pytest.skip(str(missing))
    inputs = Affine.fit(product.train, bits[1])
    rounded, ours = (
        product.error(fitted(product, bits[0], inputs, sweeps)(product.test)) for sweeps in (0, 10)
    )
    assert ours < rounded <= bits[2]


def test_areas_between_points_lie_on_a_power_law():
    curve = [(2.0**-n, 100 * 4.0**n) for n in range(5)]
    assert at_error(curve, 0.3) == pytest.approx(100 * 0.3**-2)
    assert at_error(curve, 1.0) == pytest.approx(100)
    assert at_error(curve, 2.0**-4) == pytest.approx(25_600)
    assert at_error(curve, 1.01) is None
    assert at_error(curve, 2.0**-4.01) is None
    assert at_error([], 0.5) is None


def test_points_that_others_undercut_do_not_count():
    curve = [(0.5, 100), (0.4, 90), (0.4, 95), (0.1, 300), (0.2, 400), (0.1, 310)]
    assert front(curve) == [(0.4, 90), (0.1, 300)]
    assert at_error(curve, 0.2) == pytest.approx((90 * 300) ** 0.5)


def test_ratios_are_those_at_equal_error():
    costs = [
        Cost(FITTED, "W1A1", 0.4, 100, 0, 5, before=10),
        Cost(FITTED, "W2A2", 0.1, 400, 0, 5, before=40),
        Cost(ROUNDED, "W2A2", 0.3, 400, 0, 5),
        Cost(LOOKUP, "C = 8", 0.2, 80, 0, 5),
        Cost(LOOKUP, "C = 9", 0.05, 90, 0, 5),
    ]
    found = list(_amu_equal.ratios("p", costs))
    assert found[0].measured == pytest.approx(200 / 80)
    assert [bool(row.skipped) for row in found] == [False, True, True, True]
    assert "200 over 80 LUT6; 2.25 where" in found[0].reference
    shown = figure({"p": costs}).panels[0].series
    assert [(s.label, list(s.x)) for s in shown] == [
        (FITTED, [0.4, 0.1]), (ROUNDED, [0.3]), (LOOKUP, [0.2, 0.05]),
    ]  # fmt: skip


@pytest.fixture
def no_synthesis(monkeypatch):
    """Every design takes 1,000 LUTs, but what makes narrow inputs, which takes 2."""

    def synthesise(design, device):
        netlist(design)
        lut = 2 if isinstance(design, _amu_equal.Steps) else 1000
        return SimpleNamespace(resources=Resources(lut=lut, ff=lut // 2))

    monkeypatch.setattr(_amu_equal, "synthesise", synthesise)


def test_multipliers_pay_for_narrow_inputs_and_for_all_outputs(no_synthesis):
    product = a_product(inputs=6, outputs=3)
    cost = _amu_equal.multipliers(product, 2, 3, FITTED)
    assert (cost.lut, cost.before, cost.ff) == (1000 + 6 * 2, 12, 500 + 6)
    wide = _amu_equal.multipliers(product, 8, 8, FITTED)
    assert wide.lut == 1500 + 12
    assert "by 2 outputs" in wide.name
    assert wide.error < 1e-3 < cost.error < 1


def test_a_lookup_is_judged_in_integers(no_synthesis):
    product = a_product(inputs=6, outputs=3, rows=1000)
    coarse, fine = (_amu_equal.lookup(product, 6, 4, bits) for bits in (3, 8))
    assert fine.lut == 1000
    assert fine.error < coarse.error
    assert fine.error < 0.2
    assert fine.latency <= 4 + 3 + 3


def test_halut_as_stored_errs_as_it_did(no_synthesis):
    try:
        product = Product("AR(1)", *_amu_equal._ar1())
    except data.MissingData as missing:
        pytest.skip(str(missing))
    cost = _amu_equal.halut(product, 8)
    assert cost.error == pytest.approx(0.204, abs=0.004)  # of single precision and float tables
    assert "C = 8, K = 16" in cost.name


def test_steps_make_narrow_inputs():
    table = np.random.default_rng(0).integers(0, 8, 32)
    steps = _amu_equal.Steps(table, 3)
    seen = []

    async def bench(ctx):
        for x in range(32):
            ctx.set(steps.x, x)
            await ctx.tick()
            seen.append(ctx.get(steps.y))

    simulator = Simulator(steps)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == table.tolist()


def test_rows_say_what_is_not_there(monkeypatch, no_synthesis):
    def missing():
        raise data.MissingData("no digits here")

    a = a_product()
    products = {name: lambda: (a.train, a.test, a.weight) for name in ("AR(1)", "MNIST")}
    monkeypatch.setattr(_amu_equal, "PRODUCTS", products | {"digits": missing})
    monkeypatch.setattr(_amu_equal, "QUICK", ("AR(1)", ((2, 2, 4),), ((1, 1), (2, 2))))
    found = list(_amu_equal.equal_rows(True, lambda what: None))
    assert sum("cycles of latency" in row.what for row in found) == 3
    assert [row.what.partition(":")[0] for row in found if "--full" in row.skipped] == [
        "MNIST", "digits",
    ]  # fmt: skip
    monkeypatch.setattr(_amu_equal, "QUICK", ("digits", (), ()))
    last = list(_amu_equal.equal_rows(True, lambda what: None))[-1]
    assert last.skipped == "no digits here"


def test_layers_are_judged_by_some_outputs(monkeypatch):
    def synthesise(design, device):
        netlist(design)
        lut = 40 if isinstance(design, _amu_pipeline.Trees) else 40 + 10 * len(design.y)
        return SimpleNamespace(resources=Resources(lut=lut, ff=2 * lut))

    monkeypatch.setattr(_amu_pipeline, "synthesise", synthesise)
    rng = np.random.default_rng(0)
    for outputs in (3, 50):
        layer = random_layer(rng, 8, outputs)
        assert _amu_pipeline.layer_area(layer) == (40 + 10 * outputs, 80 + 20 * outputs)


def simulated(taken, given):
    cycles = {"input_cycles": {"x": np.array(taken)}, "output_cycles": {"y": np.array(given)}}
    return SimpleNamespace(run=SimpleNamespace(**cycles))


def test_first_results_count_from_the_first_input_which_is_1():
    first, row = _amu_rtl.halut_cycles("x", simulated([5, 6, 7], [24, 36, 48]), codebooks=12)
    assert (first.measured, str(first.bar), first.holds) == (20, "<= 20", True)
    assert (row.measured, row.holds) == (12, True)
    late, slow = _amu_rtl.halut_cycles("x", simulated([5, 6, 7], [25, 37, 50]), codebooks=12)
    assert (late.holds, slow.holds) == (False, False)


def test_all_at_once_is_a_row_a_cycle():
    row, latency = _amu_rtl.unrolled("x", simulated([3, 4], [10, 11]), 6)
    assert (row.holds, latency.measured, latency.holds) == (True, 7, False)
    assert not next(_amu_rtl.unrolled("x", simulated([3, 4], [10, 12]), 9)).holds


@pytest.mark.slow
def test_quick_mode_holds(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra [pictures]")
    result = report.run("amu", quick=True, pictures=tmp_path)
    assert [row.what for row in result.rows if row.holds is False] == []
    assert len(list(tmp_path.iterdir())) == 2
