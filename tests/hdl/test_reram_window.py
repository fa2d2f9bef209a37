"""Windows of images: every value as ``patches`` has it, in the cycle that the model says."""

import numpy as np
import pytest
from thresher.hdl.reram.window import Window, value_layout
from thresher.models.reram.layer_config import ReramLayerConfig
from thresher.models.reram.mapping import patches
from thresher.models.reram.window_cycles import (
    Rows,
    buffer_depth,
    buffer_lines,
    passes,
    window_cycles,
)
from thresher.sim import stalls
from thresher.sim.beats import pack, unpack
from thresher.sim.verilator import run

SHAPES = {
    "same": {"channels": 3, "height": 5, "width": 6},
    "positions": {"channels": 3, "height": 5, "width": 6, "layout": "position"},
    "signed": {"channels": 2, "height": 4, "width": 4, "signed_inputs": True},
    "strided": {"channels": 2, "height": 8, "width": 7, "stride": 2},
    "strided far": {"channels": 1, "height": 9, "width": 8, "kernel": 2, "stride": 3, "padding": 0},
    "pixels far": {"channels": 3, "height": 7, "width": 5, "kernel": 1, "stride": 2, "padding": 0},
    "padded far": {"channels": 2, "height": 3, "width": 4, "kernel": 5, "padding": 4},
    "padded wide": {"channels": 1, "height": 2, "width": 1, "kernel": 4, "padding": 3, "stride": 3},
    "many channels": {"channels": 50, "height": 5, "width": 6, "stride": 2},
    "one window": {"channels": 2, "height": 3, "width": 3, "padding": 0},
    "one line": {"channels": 2, "height": 1, "width": 9, "padding": 1, "layout": "position"},
    "one pixel": {"channels": 1, "height": 1, "width": 1, "padding": 1, "input_bits": 1},
    "pixels": {"channels": 5, "height": 3, "width": 2, "kernel": 1, "padding": 0},
    "linear": {"channels": 1, "height": 1, "width": 1, "kernel": 1, "padding": 0,
               "signed_inputs": True},
}  # fmt: skip


CONFIGS = {name: ReramLayerConfig(**({"input_bits": 6} | shape)) for name, shape in SHAPES.items()}


@pytest.fixture(scope="module")
def design(side_by_side):
    """Windows of all shapes."""
    return side_by_side([Window(config) for config in CONFIGS.values()])


def images(frames, seed):
    rng, found = np.random.default_rng(seed), {}
    for name, c in CONFIGS.items():
        low = -(1 << c.input_bits - 1) if c.signed_inputs else 0
        shape = frames, c.channels, c.height, c.width
        found[name] = rng.integers(low, low + (1 << c.input_bits), shape)
    return found


def simulate(design, given, **options):
    """By name, the cycles of values in and out, which are as they must be."""
    words, wanted = {}, []
    for k, (name, c) in enumerate(CONFIGS.items()):
        stream = given[name].transpose(0, 2, 3, 1).ravel() & (1 << c.input_bits) - 1
        words[f"i_{k}"] = pack(c.input_bits, stream)
        shift = 1 << c.input_bits - 1 if c.signed_inputs else 0
        seen = patches(given[name], c.kernel, c.stride, c.padding, c.layout)
        wanted.append((seen + shift).ravel())
        assert wanted[-1].min() >= 0
    expect = {f"o_{k}": len(values) for k, values in enumerate(wanted)}
    result = run(design, words, expect, **options)
    for k, c in enumerate(CONFIGS.values()):
        got = unpack(value_layout(c), result.outputs[f"o_{k}"])
        np.testing.assert_array_equal(got["value"], wanted[k])
        ends = np.arange(len(wanted[k])) % c.inputs == c.inputs - 1
        np.testing.assert_array_equal(got["last"], ends)
    cycles = result.input_cycles, result.output_cycles
    return {
        name: tuple(c[f"{port}_{k}"] for c, port in zip(cycles, "io", strict=True))
        for k, name in enumerate(CONFIGS)
    }


def stalled(ports, seed):
    return {
        f"{port}_{k}": stalls.pattern("random", f"{port}{k}", seed)
        for port in ports
        for k in range(len(CONFIGS))
    }


def test_values_and_their_cycles(design):
    given = images(4, 0)
    for name, (_, left) in simulate(design, given).items():
        np.testing.assert_array_equal(left, window_cycles(CONFIGS[name], 4).ravel())
    for name, (entered, left) in simulate(design, given, stalls=stalled("i", 1)).items():
        np.testing.assert_array_equal(left, window_cycles(CONFIGS[name], 4, entered).ravel())


def test_any_stalls_and_a_reset(design):
    for seed in range(3):
        simulate(
            design, images(3, seed), stalls=stalled("io", seed), reset_at=[None, 50, 333][seed]
        )


def test_values_that_are_held_up(design):
    """Rows of windows whose values leave when they are let, as the engine's model walks them."""
    given, held = images(3, 1), stalled("o", 4)
    for k, (name, (_, left)) in enumerate(simulate(design, given, stalls=held).items()):
        if passes(CONFIGS[name]):
            continue
        rows, ready, before = Rows(CONFIGS[name]), held[f"o_{k}"], -1
        for row in left.reshape(3 * CONFIGS[name].windows[0], -1).tolist():
            first = rows.begin()
            for at in row:
                offered = max(first, before + 1)
                assert at >= offered
                assert not ready[np.arange(offered, at) % len(ready)].any()
                before = at
            rows.end(offered)


@pytest.mark.parametrize("name", ["same", "positions", "padded far", "padded wide"])
def test_no_bubble_once_a_first_row_left(name):
    """Between rows and between frames, where more leaves than comes."""
    leave = window_cycles(CONFIGS[name], 3).ravel()
    assert leave[-1] - leave[0] == len(leave) - 1


def test_values_enter_in_every_cycle(design):
    """Where more comes than leaves."""
    cycles = simulate(design, images(3, 0))
    for name in ("strided far", "pixels far"):
        entered, _ = cycles[name]
        np.testing.assert_array_equal(entered, np.arange(len(entered)))


def test_the_buffer_holds_no_more_than_it_must():
    """The lines under a window and those that come in meanwhile."""
    config = ReramLayerConfig(channels=16, height=32, width=32)
    assert (buffer_lines(config), buffer_depth(config)) == (4, 2048)
    config = CONFIGS["many channels"]
    assert (buffer_lines(config), buffer_depth(config)) == (5, 1500)


def test_windows_wait_for_values():
    with pytest.raises(ValueError, match="needs 36 values, and 35 arrive"):
        Rows(CONFIGS["same"], np.arange(35)).begin()
    with pytest.raises(ValueError, match="a pixel each"):
        Rows(CONFIGS["pixels"])
