# amaranth: UnusedElaboratable=no
"""SORE's RTL against public masks and PyTorch's, from the first beat to the last."""

import numpy as np
import pytest
import torch
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.sore.component import Sore, latency
from thresher.hdl.sore.workloads import workload
from thresher.models.data import load
from thresher.models.nm.masks import mask
from thresher.models.nm.sore_config import SoreConfig
from thresher.sim.beats import pack, unpack
from thresher.sim.verilator import run

RATIOS = ["1_4", "2_4", "2_8", "4_8", "1_16", "2_16"]


def select(config: SoreConfig, weights: np.ndarray, **options):
    """The mask [inputs, outputs] that the RTL makes of ``weights``, and its run."""
    component = Sore(config)
    beats = workload("", config, weights).inputs["weights"]
    inputs, outputs = weights.shape
    blocks = outputs // config.lanes
    groups = weights.size // config.group // config.groups
    result = run(
        component,
        {"weights": pack(component.weights.payload.shape(), beats)},
        {"entries": groups},
        **options,
    )
    entries = unpack(component.entries.payload.shape(), result.outputs["entries"])
    index = np.asarray(entries) >> config.element_bits  # [beats, groups, kept]
    chosen = (index[..., None] == np.arange(config.group)).any(-2)
    assert (np.diff(index) > 0).all()
    if config.direction == "along":
        chosen = chosen.reshape(blocks, inputs // config.group, config.lanes, config.group)
        return chosen.transpose(1, 3, 0, 2).reshape(inputs, outputs), result
    chosen = chosen.reshape(blocks, inputs, config.lanes)
    return chosen.swapaxes(0, 1).reshape(inputs, outputs), result


@pytest.mark.parametrize("direction", ["along", "across"])
@pytest.mark.parametrize(
    "ratio", [r if r == "2_8" else pytest.param(r, marks=pytest.mark.slow) for r in RATIOS]
)
def test_masks_are_the_stored_ones(ratio, direction):
    kept, group = map(int, ratio.split("_"))
    file = load("nm_masks.npz")
    config = SoreConfig(lanes=16, kept=kept, group=group, direction=direction)
    way = "ff" if direction == "along" else "bp"
    got, _ = select(config, file["lin_w"].T)
    np.testing.assert_array_equal(got.T, file[f"lin_{ratio}_{way}_mask"])


def test_ties_are_the_stored_ones_and_pytorchs():
    config = SoreConfig(lanes=4, kept=2, group=8)
    got, _ = select(config, np.ones((16, 4), np.float32))
    np.testing.assert_array_equal(got.T, load("nm_masks.npz")["tie_mask_2_8"])
    weights = np.random.default_rng(0).integers(-3, 4, (800, 4)).astype(np.float32)
    got, result = select(config, weights)
    np.testing.assert_array_equal(got, mask(torch.from_numpy(weights), 2, 8, dim=0).numpy())
    assert (np.diff(result.input_cycles["weights"]) == 1).all()
    last = result.input_cycles["weights"][7::8]
    np.testing.assert_array_equal(result.output_cycles["entries"] - last, latency(config))


@pytest.mark.slow
@pytest.mark.parametrize(("kept", "group"), [(1, 1), (4, 4), (8, 16), (5, 32)])
@pytest.mark.parametrize("direction", ["along", "across"])
def test_extreme_ratios(kept, group, direction):
    lanes = 32 if direction == "across" else 4
    config = SoreConfig(lanes=lanes, kept=kept, group=group, format="int8", direction=direction)
    weights = np.random.default_rng(1).integers(-9, 10, (64, lanes)).astype(np.float32)
    got, _ = select(config, weights)
    dim = 0 if direction == "along" else 1
    np.testing.assert_array_equal(got, mask(torch.from_numpy(weights), kept, group, dim).numpy())


def test_what_cannot_be_is_refused():
    for wrong, message in (
        ({"kept": 9}, "kept = 9 exceeds group = 8"),
        (
            {"lanes": 12, "direction": "across"},
            "lanes = 12 is not a multiple of group = 8; take 16",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            SoreConfig.preset("default", **wrong)


@pytest.mark.parametrize(("direction", "most"), [("along", 125), ("across", 150)])
def test_area_of_a_lane(direction, most):
    """LUT4 of 2:8 FP16: comparisons of 31 bits are most of it."""
    used = synthesise(Sore(SoreConfig(lanes=8, direction=direction)), device("ecp5-85k")).resources
    assert used.lut / 8 <= most
    assert used.lutram == 0
