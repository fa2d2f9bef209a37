"""A small engine with everything that a backend must get right."""

from typing import ClassVar

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from thresher.hdl.engine import Engine, Workload, WorkloadSource
from thresher.models.config import EngineConfig, parameter


class BlendConfig(EngineConfig):
    """Shape of the engine."""

    depth: int = parameter(8, unit="rows", ge=2, le=64)
    """Rows of taps."""
    lanes: int = parameter(4, ge=1, le=8)
    """Products a beat."""

    presets: ClassVar = {"default": {}, "wide": {"lanes": 8}}


class Blend(wiring.Component):
    """Multiplies samples by a row of loaded taps; a second port names the odd rows."""

    def __init__(self, config: BlendConfig):
        self.config = c = config
        members = {
            "taps": In(stream.Signature(data.ArrayLayout(signed(9), c.lanes))),
            "x": In(
                stream.Signature(
                    data.StructLayout(
                        {
                            "row": range(c.depth),
                            "samples": data.ArrayLayout(data.ArrayLayout(signed(7), 3), c.lanes),
                        }
                    )
                )
            ),
            "y": Out(
                stream.Signature(
                    data.StructLayout(
                        {
                            "wide": signed(70),
                            "products": data.ArrayLayout(signed(18), c.lanes),
                        }
                    )
                )
            ),
            "odd": Out(stream.Signature(range(c.depth))),
            "offset": In(signed(6), init=-2),
            "beats": Out(unsigned(16)),
            "lowest": Out(signed(18)),
        }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        c = self.config
        m.submodules.memory = memory = Memory(
            shape=self.taps.payload.shape(), depth=c.depth, init=[]
        )
        write, read = memory.write_port(), memory.read_port()
        loaded = Signal(range(c.depth + 1))
        m.d.comb += [
            self.taps.ready.eq(loaded != c.depth),
            write.en.eq(self.taps.valid & self.taps.ready),
            write.addr.eq(loaded),
            write.data.eq(self.taps.payload),
        ]
        with m.If(write.en):
            m.d.sync += loaded.eq(loaded + 1)

        full, y_done, odd_done = Signal(), Signal(), Signal()
        held = Signal(self.x.payload.shape())
        y_now, odd_now, leave, enter = Signal(), Signal(), Signal(), Signal()
        products = [held.samples[k][0] * read.data[k] + self.offset for k in range(c.lanes)]
        m.d.comb += [
            self.y.valid.eq(full & ~y_done),
            self.odd.valid.eq(full & ~odd_done & held.row[0]),
            self.odd.payload.eq(held.row),
            y_now.eq(y_done | self.y.ready),
            odd_now.eq(odd_done | self.odd.ready | ~held.row[0]),
            leave.eq(full & y_now & odd_now),
            self.x.ready.eq((loaded == c.depth) & (~full | leave)),
            enter.eq(self.x.valid & self.x.ready),
            read.en.eq(enter),
            read.addr.eq(self.x.payload.row),
            self.y.payload.wide.eq(self.y.payload.products[0] << 52),
        ]
        for k in range(c.lanes):
            m.d.comb += self.y.payload.products[k].eq(products[k])
        m.d.sync += [
            full.eq(enter | (full & ~leave)),
            y_done.eq(full & y_now & ~leave),
            odd_done.eq(full & odd_now & ~leave),
        ]
        with m.If(enter):
            m.d.sync += held.eq(self.x.payload)
        with m.If(leave):
            first = self.y.payload.products[0]
            m.d.sync += [
                self.beats.eq(self.beats + 1),
                self.lowest.eq(Mux(first < self.lowest, first, self.lowest)),
            ]
        return m


def blend_workload(config: BlendConfig, samples: int | None, seed: int) -> Workload:
    rng = np.random.default_rng(seed)
    beats, offset = 50 if samples is None else samples, int(rng.integers(-32, 32))
    taps = rng.integers(-256, 256, (config.depth, config.lanes))
    rows = rng.integers(0, config.depth, beats)
    x = rng.integers(-64, 64, (beats, config.lanes, 3))
    products = x[:, :, 0] * taps[rows] + offset
    return Workload(
        name="random",
        config=config,
        inputs={"taps": taps, "x": {"row": rows, "samples": x}},
        outputs={
            "y": {"wide": products[:, 0].astype(object) << 52, "products": products},
            "odd": rows[rows % 2 == 1],
        },
        start="x",
        stop="y",
        cycles=beats + 1,
        ideal_cycles=beats,
        registers={"offset": offset},
        counters={"beats": beats, "lowest": min(0, int(products[:, 0].min()))},
        evaluate=lambda outputs: {"mean": float(outputs["y"]["products"].mean())},
    )


BLEND = Engine(
    name="blend",
    summary="For tests.",
    paper="",
    headline="",
    config=BlendConfig,
    component=Blend,
    workloads={"random": WorkloadSource("Random numbers.", blend_workload)},
    registers={"offset": "Added.", "beats": "Delivered.", "lowest": "Least first product."},
    random_config=lambda rng: BlendConfig(
        depth=int(rng.integers(2, 20)), lanes=int(rng.integers(1, 9))
    ),
)


@pytest.fixture(scope="session")
def blend() -> Engine:
    return BLEND
