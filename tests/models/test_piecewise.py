"""Piecewise linear functions against the functions themselves."""

import numpy as np
import pytest
from thresher.models.piecewise import Piecewise

FUNCTIONS = {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("segments", "frac", "bits", "guard"), [(8, 6, 6, 4), (32, 12, 8, 2), (64, 11, 12, 4)]
)
def test_the_error_stays_below_its_bound_and_near_it(function, segments, frac, bits, guard):
    model = Piecewise(function, segments, frac, bits, guard)
    x = np.arange(-model.span << frac >> 1, model.span << frac >> 1)
    y = model(x)
    error = np.abs(y - FUNCTIONS[function](x / 2.0**frac) * 2.0**bits).max()
    assert model.error / 4 < error <= model.error
    assert (np.diff(y) >= 0).all()
    assert model.limits[0] <= y.min() <= y.max() <= model.limits[1]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_beyond_the_span_it_is_flat(function):
    model = Piecewise(function, 16, 4, 8)
    edge = model.span << 4 >> 1
    below, low, high, above = np.split(model(np.array([-(1 << 20), -edge, edge - 1, 1 << 20])), 4)
    assert below == low
    assert above == high


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("relu", 16, 8, 8), "'relu' is not one of sigmoid, tanh"),
        (("tanh", 12, 8, 8), "segments = 12 is not a power of two"),
        (("tanh", 64, 3, 8), "segments = 64 leave no point .* frac = 3; lower segments"),
    ],
)
def test_bad_parameters_name_the_way_out(fields, message):
    with pytest.raises(ValueError, match=message):
        Piecewise(*fields)
