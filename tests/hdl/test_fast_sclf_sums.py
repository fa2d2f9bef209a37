"""Partial sums against the formula, on random instructions and pointers."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from thresher.hdl.fast_sclf.shape import Shape
from thresher.hdl.fast_sclf.sums import Sums
from thresher.models.fast_sclf.config import FastSclfConfig

SHAPES = [
    Shape(FastSclfConfig.preset("small").replace(list_size=4)),
    Shape(FastSclfConfig.preset("small").replace(list_size=1, leaf=2)),
    Shape(FastSclfConfig.preset("small").replace(list_size=8, length=16)),
    Shape(FastSclfConfig.preset("small").replace(pes=16, length=32, leaf=16)),
    Shape(FastSclfConfig.preset("small").replace(pes=16, length=128, leaf=4)),
]


class Model:
    """All registers and rows as arrays of bits."""

    def __init__(self, shape):
        lists, pes = shape.config.list_size, shape.config.pes
        self.shape = shape
        self.left = np.zeros((shape.row_level, lists, pes), int)
        self.sums = np.zeros((2, lists, shape.rows, pes), int)
        self.accumulator = np.zeros((lists, pes), int)

    def rows(self, now, beta, pointers, select, half):
        pes = self.shape.config.pes
        i = np.arange(pes)
        rows = np.zeros((len(beta), pes), int)
        for slot in range(len(beta)):
            term = np.zeros(pes, int)
            if now["sums"]:
                term ^= self.sums[half, select[slot], now["sums_row"]]
            if now["accumulated"]:
                term ^= self.accumulator[slot]
            row = beta[slot, i % 2 ** now["base"]] ^ term
            for j in range(self.shape.row_level):
                if now["chain"] >> j & 1:
                    row ^= np.where(i >> j & 1, 0, self.left[j, pointers[j, slot], i % 2**j])
            if now["accumulate"]:
                self.accumulator[slot] = term
            rows[slot] = row
        if now["store"] and now["level"] < self.shape.row_level:
            self.left[now["level"]] = rows
        elif now["store"]:
            self.sums[half, :, now["store_row"]] = rows
        return rows


def number(bits):
    return int("".join(map(str, bits[::-1])), 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_follow_the_formula(shape):
    config, rng, sums = shape.config, np.random.default_rng(1), Sums(shape)
    model, lists = Model(shape), shape.config.list_size
    second = sums.row_half, sums.row_bank, sums.row_address
    accumulates = shape.levels - shape.row_level > 2  # else there is no need to

    def draw():
        base = int(rng.integers(shape.leaf_level + 1))
        flags = ("sums", "accumulate", "accumulated", "store")
        return {name: int(rng.integers(2)) for name in flags} | {
            "level": int(rng.integers(shape.levels)),
            "base": base,
            "chain": int(rng.integers(1 << shape.row_level)) >> base << base,
            "sums_row": int(rng.integers(shape.rows)),
            "store_row": int(rng.integers(shape.rows)),
        }

    async def bench(ctx):
        shown = None
        for _ in range(200):
            now = draw()
            if not accumulates:
                now["accumulate"] = now["accumulated"] = 0
            half, enable = (int(x) for x in rng.integers(2, size=2))
            beta = rng.integers(2, size=(lists, config.leaf))
            pointers = rng.integers(lists, size=(shape.row_level, lists))
            select = rng.integers(lists, size=lists)
            where = [int(rng.integers(size)) for size in (2, lists, shape.rows)]
            if now["store"] and [half, now["store_row"]] == where[::2]:
                enable = 0
            ctx.set(sums.instruction, now)
            ctx.set(sums.beta, [number(bits) for bits in beta])
            ctx.set(sums.pointers, pointers.tolist())
            ctx.set(sums.sums_select, select.tolist())
            ctx.set(sums.half, half)
            ctx.set(sums.row_enable, enable)
            for port, value in zip(second, where, strict=True):
                ctx.set(port, value)
            if enable:
                shown = number(model.sums[where[0], where[1], where[2]])
            want = model.rows(now, beta, pointers, select, half)
            assert [ctx.get(row) for row in sums.rows] == [number(row) for row in want]
            await ctx.tick()
            if shown is not None:
                assert ctx.get(sums.row) == shown

    simulator = Simulator(sums)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
