"""Wires against stored nodal solutions, a ladder by hand, and each solver against the other."""

import numpy as np
import pytest
from thresher.models import data
from thresher.models.reram.wires import (
    Approximation,
    Wires,
    any_of,
    currents,
    effective,
    ladders,
)


def stored():
    """Conductances [rows, columns], voltages, wires, exact and CrossSim's currents."""
    file = data.load("crossbar/crosssim_irdrop_vs_nodal.npz")
    for name in (key.removesuffix("_G") for key in file if key.endswith("_G")):
        segment = float(name.rpartition("_")[2]) / 10e3  # over the lowest of a cell, 10 kilohm
        parts = [file[f"{name}_{part}"] for part in ("G", "v", "exact", "crosssim")]
        yield name, parts[0].T, parts[1], Wires(segment, segment), *parts[2:]


def test_stored_solutions():
    met = 0
    for name, conductances, voltages, wires, exact, crosssim in stored():
        found = currents(conductances, voltages, wires)
        assert np.abs(found / exact - 1).max() < 1e-10, name
        assert np.abs(found / crosssim - 1).max() < 1e-9, name
        everything = voltages @ effective(conductances, wires)
        assert np.abs(everything / exact - 1).max() < 1e-10, name
        met += 1
    assert met == 6


def test_one_row_by_hand():
    """Two cells of 1 on wires of 1: loads of 2 and 2 behind one and two segments."""
    # Right of cell 0: a segment, the cell and its column: 1/3.  Cell 0 and its column: 1/2.
    first = 1 / (1 + 1 / 2 + 1 / 3)
    wires = Wires(1.0, 1.0)
    expected = np.array([[first / 2, first / 3]])
    for solve in (effective, ladders):
        assert np.allclose(solve(np.ones((1, 2)), wires), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (6, 1), (7, 12), (12, 7)])
def test_any_shape_and_unequal_wires(shape):
    rng = np.random.default_rng(sum(shape))
    conductances = rng.random(shape) * rng.integers(0, 2, shape)
    wires = Wires(0.03, 0.007)
    found = effective(conductances, wires)
    for voltages in rng.random((3, shape[0])):
        assert np.allclose(voltages @ found, currents(conductances, voltages, wires), atol=1e-12)
    lower = ladders(conductances, wires)
    assert (lower <= found + 1e-12).all()
    assert (found <= conductances + 1e-12).all() or shape[0] > 1


def test_without_resistance_a_cell_is_itself():
    conductances = np.random.default_rng(0).random((9, 9))
    tiny = Wires(1e-9, 1e-9)
    assert np.allclose(effective(conductances, tiny), conductances, rtol=1e-6)
    assert np.allclose(ladders(conductances, tiny), conductances, rtol=1e-6)


def test_approximation():
    """Calibrated on other crossbars, it is nearer than its ladders, and as near as it says."""
    for name, conductances, voltages, wires, exact, _ in stored():
        if len(conductances) != 64:
            continue
        fast = Approximation.calibrated(wires, any_of([conductances]))
        off = np.abs(voltages @ fast(conductances) - exact).max() / exact.max()
        alone = np.abs(voltages @ ladders(conductances, wires) - exact).max() / exact.max()
        assert off < alone / 4, name
        assert off < 0.002
        assert 0.2 < off / fast.error < 5
        with pytest.raises(ValueError, match=r"\(4, 4\), not that of the calibration, \(64, 64\)"):
            fast(np.ones((4, 4)))


def test_what_is_no_wire():
    with pytest.raises(ValueError, match=r"row = 0 is no resistance"):
        Wires(0, 1e-4)
