"""The bench of AMU: rivals in few bits, areas at equal error, and all of its quick mode."""

from itertools import product as pairs

import numpy as np
import pytest
from thresher.bench import _amu_equal
from thresher.bench._amu_equal import FITTED, LOOKUP, ROUNDED, Cost, at_error, figure, front
from thresher.bench._quantised import Affine, Product, grid, quantise
from thresher.models import data


def a_product(seed=0, inputs=6, outputs=3, rows=200):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(inputs, inputs))
    train, test = (rng.normal(size=(n, inputs)) @ mix for n in (rows, 80))
    return Product("random", train, test, rng.normal(size=(inputs, outputs)))


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
    found = quantise(product, 3, Affine(8, 0, 1))
    assert product.error(found(product.test)) < 1e-20
    assert (found.weights == whole).all()


@pytest.mark.parametrize("bits", [1, 2])
def test_fitted_weights_are_near_the_best_there_are(bits):
    product = a_product(bits, inputs=5, outputs=20)
    inputs = Affine.fit(product.train, 4)
    rounded, fitted = (quantise(product, bits, inputs, sweeps) for sweeps in (0, 10))
    x, y = inputs(product.train), product.train @ product.weight
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)

    def left(weights):  # after a scale of least squared error
        guess = x @ weights
        scale = (guess * y).sum(axis=0) / np.maximum(np.square(guess).sum(axis=0), 1e-9)
        return np.square(scale * guess - y).sum(axis=0)

    best = np.min([left(np.array(w)[:, None]) for w in pairs(grid(bits), repeat=5)], axis=0)
    assert np.isin(fitted.weights, grid(bits)).all()
    assert (left(fitted.weights) <= left(rounded.weights) + 1e-9).all()
    gap = left(rounded.weights).sum() - best.sum()
    assert left(fitted.weights).sum() <= best.sum() + 0.3 * gap
    assert gap > 0.2 * best.sum()


def test_weights_of_no_use_harm_nothing():
    product = a_product()
    constant = product.train.copy()
    constant[:, 0] = 3.0
    nothing = Product("none", constant, product.test, product.weight * [0, 1, 1])
    found = quantise(nothing, 2, Affine.fit(constant, 3))
    guess = found(product.test)
    assert np.isfinite(guess).all()
    assert np.abs(guess[:, 0]).max() < 1e-9


@pytest.mark.parametrize("bits", [(1, 1, 0.629), (2, 2, 0.375), (3, 3, 0.090), (4, 4, 0.026)])
def test_rivals_on_ar1_are_no_worse_than_others_found(bits):
    try:
        product = next(_amu_equal.products(lambda what: None))
        assert isinstance(product, Product)
    except data.MissingData as missing:
        pytest.skip(str(missing))
    inputs = Affine.fit(product.train, bits[1])
    rounded, fitted = (
        product.error(quantise(product, bits[0], inputs, sweeps)(product.test))
        for sweeps in (0, 10)
    )
    assert fitted < rounded <= bits[2]


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
        Cost(FITTED, "W1A1", 0.4, 100, 0, 5),
        Cost(FITTED, "W2A2", 0.1, 400, 0, 5),
        Cost(ROUNDED, "W2A2", 0.3, 400, 0, 5),
        Cost(LOOKUP, "C = 8", 0.2, 80, 0, 5),
        Cost(LOOKUP, "C = 9", 0.05, 90, 0, 5),
    ]
    found = list(_amu_equal.ratios("p", costs))
    assert found[0].measured == pytest.approx(200 / 80)
    assert [bool(row.skipped) for row in found] == [False, True, True, True]
    assert "200 over 80" in found[0].reference
    shown = figure({"p": costs}).panels[0].series
    assert [(s.label, list(s.x)) for s in shown] == [
        (FITTED, [0.4, 0.1]), (ROUNDED, [0.3]), (LOOKUP, [0.2, 0.05]),
    ]  # fmt: skip


