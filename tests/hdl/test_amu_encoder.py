# amaranth: UnusedElaboratable=no
"""Trees with constant thresholds against the model, and each comparison against NumPy."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.amu.encoder import Trees, at_least
from thresher.models.amu.encoder import Encoder
from thresher.models.amu.layer import Format


def trees(books, levels, form, seed=0, **options):
    rng = np.random.default_rng(seed)
    low, high = form.limits
    thresholds = rng.integers(low - 1, high + 1, (books, (1 << levels) - 1))
    return Trees(Encoder(rng.integers(9, size=(books, levels)), thresholds), form, **options)


def bounds_of(kind, bits, count, rng):
    if kind == "coarse":
        return rng.integers((1 << bits - 2) + 1, size=count) << 2
    if kind == "trivial":
        return rng.integers(2, size=count) << bits
    if kind == "few":
        return rng.choice(rng.integers((1 << bits) + 1, size=3), count)
    return rng.integers((1 << bits) + 1, size=count)


@pytest.mark.parametrize("lut_inputs", [4, 5, 6])
@pytest.mark.parametrize("level", range(6))
def test_comparisons(level, lut_inputs):
    """All values, those next to the bounds among them, with each of the bounds."""
    rng, m, bits = np.random.default_rng(level), Module(), 5
    x, index = Signal(bits), Signal(level)
    cases = []
    for kind in ("any", "coarse", "trivial", "few"):
        bounds = bounds_of(kind, bits, 1 << level, rng)
        result = Signal(name=kind)
        m.d.comb += result.eq(at_least(m, x, bounds.tolist(), index, lut_inputs, f"in_{kind}"))
        cases.append((bounds, result))

    async def bench(ctx):
        for value in range(1 << bits):
            for node in range(1 << level):
                ctx.set(x, value)
                if level:
                    ctx.set(index, node)
                for bounds, result in cases:
                    assert ctx.get(result) == (value >= bounds[node]), (value, node, bounds)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(
    ("books", "levels", "form", "options"),
    [
        (1, 1, Format(1), {}),
        (3, 4, Format(8), {}),
        (2, 4, Format(8, signed=True), {"lut_inputs": 4}),
        (2, 6, Format(5), {"levels_a_stage": 4}),
        (3, 5, Format(16, signed=True), {"levels_a_stage": 2}),
        (2, 2, Format(3, signed=True), {"levels_a_stage": 9}),
    ],
)
def test_codes_follow_rows(hold_pipeline, books, levels, form, options):
    component = trees(books, levels, form, **options)
    encoder = component.encoder
    rng = np.random.default_rng(levels)
    low, high = form.limits
    rows = rng.integers(low, high + 1, (60, 9))
    # As many values lie beside a threshold as on it.
    near = rng.choice(encoder.thresholds.ravel(), rows.shape) + rng.integers(2, size=rows.shape)
    rows = np.where(rng.random(rows.shape) < 0.5, near.clip(low, high), rows)
    hold_pipeline(component, "x", rows[:, encoder.dims], "codes", encoder(rows))


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match=r"float64.*quantise"):
        Trees(Encoder(np.zeros((1, 1), int), np.zeros((1, 1))), Format(8))
    with pytest.raises(ValueError, match="lut_inputs = 3"):
        trees(1, 1, Format(8), lut_inputs=3)
    with pytest.raises(ValueError, match="levels_a_stage = 0"):
        trees(1, 1, Format(8), levels_a_stage=0)


def test_area():
    """Look-up tables a codebook."""
    pytest.importorskip("pyosys", reason="needs the extra [fpga]")
    used = synthesise(trees(2, 4, Format(8)), device("xcup")).resources
    assert used.lut <= 2 * 16
    assert used.lutram == 0
