# amaranth: UnusedElaboratable=no
"""The pointers against a model that copies them, on random instructions."""

from itertools import pairwise

import numpy as np
import pytest
from thresher.hdl.fast_sclf.layout import instruction
from thresher.hdl.fast_sclf.pointers import Pointers
from thresher.hdl.fast_sclf.shape import Shape
from thresher.models.fast_sclf.config import FastSclfConfig
from thresher.sim import Session

SHAPES = [
    {"list_size": 1, "length": 64, "pes": 8, "leaf": 4, "lanes": 4, "beat": 4},
    {"list_size": 2, "length": 256, "pes": 4, "leaf": 4, "lanes": 4, "beat": 4},
    {"list_size": 4},
    {"list_size": 8, "length": 16, "pes": 8, "leaf": 8, "lanes": 4, "beat": 4},
]


def unpack(value: int, count: int, width: int) -> list[int]:
    return [value >> k * width & (1 << width) - 1 for k in range(count)]


def draw(rng: np.random.Generator, shape: Shape) -> dict[str, int]:
    """An instruction that splits, computes or does neither, and reads sums or not."""
    kind = rng.choice(["split", "pe", "idle"])
    fields = {"level": int(rng.integers(shape.levels)), str(kind): 1}
    fields.pop("idle", None)
    fields["sums_level"] = int(rng.integers(shape.levels - shape.row_level))
    top = fields["level"] == shape.levels - 1
    return fields | {"channel": int(top or rng.random() < 0.2)}


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_pointers_follow_the_paths(config):
    shape = Shape(FastSclfConfig(crc="crc6", **config))
    component, layout = Pointers(shape), instruction(shape)
    lists, bits = shape.config.list_size, shape.config.list_size.bit_length() - 1
    rng = np.random.default_rng(1)
    pointers = np.tile(np.arange(lists), (shape.levels, 1))

    def pack(fields):
        return sum(value << layout[name].offset for name, value in fields.items())

    def shown(name, count=lists):
        return unpack(sim[name], count, bits) if bits else [0] * count

    moved = hit = held = 0
    with Session(component) as sim:
        # Every level is written before it is read.
        program = [{"pe": 1, "level": level} for level in range(shape.levels)]
        program += [draw(rng, shape) for _ in range(1500)]
        for number, (now, after) in enumerate(pairwise(program)):
            sim["now"], sim["next"] = pack(now), pack(after)
            parent = rng.integers(lists, size=lists)
            split = now.get("split", 0)
            sim["parent"] = sum(1 << int(p) + lists * i for i, p in enumerate(parent)) * split
            sim["held"] = 0
            sim.tick()
            if rng.random() < 0.2:  # `after` takes its turn, and is held up: all stays
                sim["now"], sim["next"], sim["parent"] = 0, pack(draw(rng, shape)), 0
                sim["held"] = 1
                sim.tick()
                held += 1
            if split:
                pointers = pointers[:, parent]
                moved += 1
            if now.get("pe"):
                pointers[now["level"]] = np.arange(lists)
                hit += now["level"] == after["level"] + 1
            if number < shape.levels - 1:
                continue
            level = after["level"] + 1
            select = [0] * lists if after["channel"] else pointers[level].tolist()
            assert shown("select") == select
            assert sim["lower"] == sum((~bank >> 1 & 1) << l for l, bank in enumerate(select))
            level = shape.row_level + after["sums_level"]
            assert shown("sums_select") == pointers[level].tolist()
            low, high = pointers[: shape.row_level], pointers[shape.row_level :]
            assert shown("pointers", low.size) == low.ravel().tolist()
            assert shown("sums_pointers", high.size) == high.ravel().tolist()
    assert moved > 100
    assert hit > 10
    assert held > 100
