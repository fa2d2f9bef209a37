# amaranth: UnusedElaboratable=no
"""Frames come in while others are read and released: what is there, and that it is right."""

import numpy as np
import pytest
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.fast_sclf.channel import Channel
from thresher.hdl.fast_sclf.layout import instruction
from thresher.hdl.fast_sclf.shape import Shape
from thresher.models.fast_sclf.config import FastSclfConfig
from thresher.sim import Session

SHAPES = [
    {"length": 64, "pes": 8, "lanes": 4},
    {"length": 64, "pes": 4, "lanes": 4, "llr_bits": 3},
    {"length": 16, "pes": 8, "lanes": 1, "llr_bits": 8},
]


def configure(settings):
    return FastSclfConfig(leaf=4, beat=4, crc="crc6", **settings)


def words(frame, bits, pes):
    """The words of the low and of the high half as the memory must show them."""
    magnitude = np.where(frame < 0, ~frame, frame)
    values = ((frame < 0) << bits - 1 | magnitude).reshape(2, -1, pes)
    return [[sum(int(v) << bits * i for i, v in enumerate(w)) for w in half] for half in values]


@pytest.mark.parametrize("settings", SHAPES)
@pytest.mark.parametrize("rows", [2, 4, 8, 16])
def test_frames(settings, rows):
    config = configure(settings)
    shape = Shape(config)
    if rows > shape.rows:
        pytest.skip("more rows than the longest frame has")
    rng = np.random.default_rng(rows)
    bits, n = config.llr_bits, rows * config.pes
    frames = rng.integers(-(1 << bits - 1), 1 << bits - 1, size=(60, n))
    frames[0, 0], frames[0, -1] = 0, -(1 << bits - 1)
    want = [words(frame, bits, config.pes) for frame in frames]
    queue = frames.reshape(-1, config.lanes)
    layout = instruction(shape)
    sent = released = blocked = early = 0
    with Session(Channel(shape)) as sim:
        sim["rows"] = rows
        while released < len(frames):
            complete = sent * config.lanes // n - released
            assert sim["frames"] == complete
            assert sim["empty"] == (sent * config.lanes == released * n)
            accept, valid = rng.random() < 0.9, rng.random() < 0.9 and sent < len(queue)
            sim["accept"], sim["llr__valid"] = int(accept), int(valid)
            beat = queue[min(sent, len(queue) - 1)]
            sim["llr__payload"] = sum(
                (int(v) & (1 << bits) - 1) << bits * i for i, v in enumerate(beat)
            )
            ready = accept and complete < 2
            assert sim["llr__ready"] == ready
            assert sim["waiting"] == (valid and not ready)
            blocked += valid and not ready
            for of in (released, released + 1):
                read = int(rng.integers(rows // 2))
                sim["instruction"] = layout.const({"read": read}).as_value().value
                sim["frame"] = of % 2
                there = (sent * config.lanes - of * n) >= (read + rows // 2 + 1) * config.pes
                if of == released or complete:
                    assert sim["there"] == there
                if there:
                    assert sim["channel_low"] == want[of][0][read]
                    assert sim["channel_high"] == want[of][1][read]
                    early += of == released + complete
            release = complete > 0 and rng.random() < 1.5 / (n // config.lanes)
            sim["release"] = int(release)
            sim.tick()
            sent += valid and ready
            released += release
    assert blocked > 10
    assert rows == 2 or early > 10


def test_area():
    """Nine look-up tables to convert an LLR, and a few to count."""
    pytest.importorskip("pyosys", reason="needs the extra [fpga]")
    used = synthesise(Channel(Shape(FastSclfConfig())), device("ecp5-45k")).resources
    assert used.lutram == 2 * 64 * 6
    assert used.lut <= 64 * 9 + 40
