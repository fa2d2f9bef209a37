# amaranth: UnusedElaboratable=no
"""The unit that stores: every beat as the golden model has it, in the cycles of the formula."""

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from thresher.hdl.nm_array.store import STORE, write_layout
from thresher.hdl.nm_array.store import Store as StoreUnit
from thresher.models.nm.config import NmConfig
from thresher.models.nm.port_cycles import STORE_FORMATS, Slab, StoreCycles
from thresher.models.nm.program import WIDTHS, Pattern, Store, pack
from thresher.models.nm.store import store as golden
from thresher.sim import stalls
from thresher.sim.beats import pack as words_of
from thresher.sim.beats import unpack
from thresher.sim.verilator import run

DEPTH = 64
CONFIGS = [
    NmConfig.preset("small"),
    NmConfig(rows=12, columns=16, kept=2, group=8, port_words=2, sums_depth=DEPTH),
    NmConfig(rows=4, columns=4, kept=1, group=1, port_words=4, format="bf16", sums_depth=DEPTH),
    NmConfig(
        rows=32, columns=16, kept=2, group=4, port_words=16, format="int8", add_stages=1,
        sums_depth=DEPTH,
    ),
    NmConfig(rows=4, columns=16, kept=1, group=16, port_words=2, sums_depth=DEPTH),
]  # fmt: skip


class Filled(wiring.Component):
    """A :class:`Store` and its sums, all of which are written first."""

    def __init__(self, config):
        self.unit = StoreUnit(config)
        ports = self.unit.signature.members
        super().__init__(
            {
                "i": ports["i"],
                "write": ports["write"],
                "sums": In(stream.Signature(data.ArrayLayout(32, config.columns))),
                "ends": Out(stream.Signature(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = self.unit
        m.submodules.memory = memory = Memory(shape=self.sums.p.shape(), depth=2 * DEPTH, init=[])
        write, read = memory.write_port(), memory.read_port()
        wiring.connect(m, unit.write, wiring.flipped(self.write))
        filled = Signal(range(2 * DEPTH + 1))
        full = filled == 2 * DEPTH
        m.d.comb += [
            self.sums.ready.eq(~full),
            write.en.eq(self.sums.valid & ~full),
            write.addr.eq(filled),
            write.data.eq(self.sums.payload),
            read.en.eq(unit.sums_en),
            read.addr.eq(Cat(unit.sums_address[:6], unit.sums_half)),
            unit.sums_data.eq(read.data),
            unit.i.valid.eq(self.i.valid & full),
            unit.i.payload.eq(self.i.payload),
            self.i.ready.eq(unit.i.ready & full),
            self.ends.valid.eq(unit.finished),
        ]
        m.d.sync += filled.eq(filled + write.en)
        return m


def random_sums(config, rng):
    """Bits [2 * DEPTH, C]: of any size, near ties, special."""
    shape = 2 * DEPTH, config.columns
    if config.format == "int8":
        return rng.integers(-(1 << 31), 1 << 31, shape) >> rng.integers(0, 31, shape) & 0xFFFFFFFF
    wide = rng.integers(0, 1 << 32, shape)
    exact = wide & 0xFFFFF000 | rng.choice([0, 0x7FF, 0x800, 0x801, 0x1000], shape)
    near = rng.standard_normal(shape) * 10.0 ** rng.integers(-8, 6, shape)
    special = rng.choice([0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00000, 1], shape)
    sums = np.choose(
        rng.integers(0, 4, shape), [wide, exact, near.astype("<f4").view("<u4"), special]
    )
    nan = (sums & 0x7FFFFFFF) > 0x7F800000
    return np.where(nan, 0x7FC00000, sums)  # no sum is another


def random_store(config, rng):
    """One that stays in the memory."""
    kind = str(rng.choice(STORE_FORMATS))
    group, columns, words = config.group, config.columns, config.port_words
    of_blocks = {"rows": max(words * group // columns, 1), "columns": max(words // columns, 1)}
    of_rows = {"columns": group, "words": config.kept}
    blocks = of_blocks.get(kind, 1) * int(rng.integers(1, 4))
    rows = of_rows.get(kind, 1) * int(rng.integers(1, 5))
    stride = int(rng.integers(0, max((DEPTH - rows) // blocks, 1)))
    slab = Slab.of(config, kind)
    beats = rows * blocks // slab.rows * slab.pieces // slab.parts
    inner = int(rng.choice([d for d in range(1, beats + 1) if beats % d == 0]))
    return Store(
        format=kind,
        pattern=Pattern(int(rng.integers(1 << 32)), ((beats // inner, -777), (inner, 3))),
        half=int(rng.integers(2)),
        sums=int(rng.integers(0, DEPTH - rows - stride * (blocks - 1) + 1)),
        rows=rows,
        stride=stride,
        blocks=blocks,
        relu=bool(rng.integers(2)),
        shift=int(rng.integers(32)) if config.format == "int8" else 0,
    ), beats  # fmt: skip


def fields_of(stores):
    """Their bodies, field by field."""
    bodies, fields, low = [pack(store) >> 19 for store in stores], {}, 0
    for name, width in WIDTHS["store"].items():
        fields[name] = np.array([word >> low & (1 << width) - 1 for word in bodies])
        low += width
    return fields


@pytest.mark.parametrize("seed", range(1))
@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_every_beat_as_it_must_be_when_it_must(config, seed):
    rng = np.random.default_rng(seed)
    sums = random_sums(config, rng).astype(np.uint32)
    stores, counts = zip(*(random_store(config, rng) for _ in range(30)), strict=True)
    want = []
    for store in stores:
        block, row = np.ogrid[: store.blocks, : store.rows]
        read = sums[DEPTH * store.half + store.sums + block * store.stride + row]
        want.append(golden(config, store, read))
    where = [
        (store.pattern.address + a * x + b * y) % (1 << 32)
        for store in stores
        for (m, x), (n, y) in [store.pattern.loops]
        for a in range(m)
        for b in range(n)
    ]
    assert [len(beats) for beats in want] == list(counts)
    component = Filled(config)
    for kind in ("none", "random"):
        result = run(
            component,
            {
                "i": words_of(STORE, fields_of(stores)),
                "sums": words_of(component.sums.p.shape(), sums),
            },
            {"write": len(where), "ends": len(stores)},
            stalls={port: stalls.pattern(kind, port, seed) for port in ("i", "write")},
        )
        got = unpack(write_layout(config), result.outputs["write"])
        np.testing.assert_array_equal(got["address"], where)
        np.testing.assert_array_equal(got["data"], np.concatenate(want))
        last = result.output_cycles["write"][np.cumsum(counts) - 1]
        np.testing.assert_array_equal(result.output_cycles["ends"], last)
        if kind == "none":
            cycles, begin = StoreCycles(config), result.input_cycles["i"][0]
            np.testing.assert_array_equal(last - begin, [cycles.run(store, 0) for store in stores])


def test_beats_leave_in_every_cycle():
    """Where a row of sums makes one or more, and from one instruction to the next."""
    config = CONFIGS[1]
    kinds = (("sums", 64), ("words", 64), ("entries", 64), ("rows", 32), ("sums", 64))
    stores = [
        Store(format=kind, pattern=Pattern(0, ((beats, 1),)), rows=16, stride=16, blocks=2)
        for kind, beats in kinds
    ]
    cycles = StoreCycles(config)
    ends = [cycles.run(store, 0) for store in stores]
    assert np.diff(ends).tolist() == [64, 64, 32, 64]
