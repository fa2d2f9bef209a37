# amaranth: UnusedElaboratable=no
"""Products with constant weights against NumPy, and what they take."""

import numpy as np
import pytest
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.amu.multipliers import Multipliers
from thresher.models.amu.layer import Format


@pytest.mark.parametrize(
    ("inputs", "outputs", "bits", "form", "options"),
    [
        (1, 1, 2, Format(1), {}),
        (7, 3, 2, Format(2), {}),
        (9, 2, 3, Format(3, signed=True), {"lut_inputs": 4}),
        (5, 3, 8, Format(8, signed=True), {"max_latency": 12}),
        (6, 2, 8, Format(8), {"max_latency": 5}),
    ],
)
def test_products_follow_rows(hold_pipeline, inputs, outputs, bits, form, options):
    rng = np.random.default_rng(inputs)
    weights = rng.integers(-1 << bits - 1, 1 << bits - 1, (inputs, outputs))
    weights[rng.random(weights.shape) < 0.3] = 0  # outputs of different lengths
    component = Multipliers(weights, form, **options)
    low, high = form.limits
    greatest, least = (np.where(weights.T * sign > 0, high, low) for sign in (1, -1))
    drawn = rng.integers(low, high + 1, (50, inputs))
    rows = np.concatenate([greatest, least, drawn])
    hold_pipeline(component, "x", rows, "y", rows @ weights)


def test_outputs_without_weights_are_0(hold_pipeline):
    weights = np.array([[0, 3], [0, -1]])
    rows = np.arange(8).reshape(4, 2)
    hold_pipeline(Multipliers(weights, Format(3)), "x", rows, "y", rows @ weights)
    assert Multipliers(0 * weights, Format(3)).latency == 0


def test_a_bias_comes_on_top(hold_pipeline):
    weights, bias = np.array([[0, 3], [0, -1]]), np.array([-5, 9])
    rows = np.arange(8).reshape(4, 2)
    component = Multipliers(weights, Format(3), bias=bias)
    hold_pipeline(component, "x", rows, "y", rows @ weights + bias)


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match=r"integers \[inputs, outputs\], not float64"):
        Multipliers(np.ones((2, 2)), Format(2))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        Multipliers(np.ones(3, int), Format(2))
    with pytest.raises(ValueError, match="allow at least 3"):
        Multipliers(np.ones((9, 1), int), Format(2), max_latency=2)


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "most"), [(2, 3), (3, 6), (4, 9), (8, 26)])
def test_area(bits, most):
    """Look-up tables a weight; one multiplier a weight takes two to three times as many."""
    pytest.importorskip("pyosys", reason="needs the extra [fpga]")
    weights = np.random.default_rng(0).integers(-1 << bits - 1, 1 << bits - 1, (32, 4))
    used = synthesise(Multipliers(weights, Format(bits)), device("xcup")).resources
    assert used.lut <= weights.size * most
