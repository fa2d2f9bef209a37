# amaranth: UnusedElaboratable=no
"""The update unit against the golden writes, with a memory of sums beside it."""

from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped
from thresher.hdl.lib.memory import Ram
from thresher.hdl.nm_array.update import UpdateUnit
from thresher.hdl.wuve.lanes import REGISTER_MEMBERS
from thresher.hdl.wuve.workloads import USUAL, registers
from thresher.models.nm import layout
from thresher.models.nm.config import NmConfig
from thresher.models.nm.program import WIDTHS, Update
from thresher.models.nm.update import update
from thresher.models.nm.update_cycles import UpdateCycles, step_beats, steps, tiles, wuve_config
from thresher.sim import stalls
from thresher.sim.beats import pack, unpack
from thresher.sim.verilator import run

FLOWS = ("weight", "output")
PORTS = ("i", "masters", "write")

CONFIGS = {
    "fp16": {"rows": 8, "columns": 8, "group": 8, "port_words": 2, "add_stages": 2},
    "int8": {
        "rows": 4, "columns": 8, "group": 4, "port_words": 1, "format": "int8", "add_stages": 1
    },
    "wide": {"rows": 8, "columns": 4, "group": 4, "port_words": 4, "add_stages": 2},
    "dense": {
        "rows": 4, "columns": 4, "kept": 1, "group": 1, "port_words": 4, "add_stages": 2,
        "format": "bf16",
    },
    "words": {"rows": 8, "columns": 16, "kept": 4, "group": 16, "port_words": 1, "add_stages": 2},
}  # fmt: skip
"""A beat is half of a weight's masters to more than a step's; L is E, or M > E."""


class Bench(Component):
    """The unit and its sums, which are filled before the first instruction."""

    def __init__(self, config: NmConfig):
        self.config = config
        unit = UpdateUnit(config)
        self._unit = unit
        row = data.StructLayout(
            {
                "half": 1,
                "address": range(config.sums_depth),
                "sums": data.ArrayLayout(32, config.columns),
                "last": 1,
            }
        )
        super().__init__(
            {
                "fill": In(stream.Signature(row)),
                "i": In(unit.i.signature.flip())
                if False
                else In(stream.Signature(unit.i.p.shape())),
                "masters": In(stream.Signature(unit.masters.p.shape())),
                "write": Out(stream.Signature(unit.write.p.shape())),
                "finished": Out(32),
            }
            | REGISTER_MEMBERS
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = self._unit
        shape = self.fill.p.sums.shape()
        m.submodules.sums = sums = Ram(shape, 2 * self.config.sums_depth)
        filled = unit.i.valid.like(unit.i.valid, name="filled")
        connect(m, flipped(self.masters), unit.masters)
        connect(m, unit.write, flipped(self.write))
        address = self.fill.p.address
        depth = self.config.sums_depth
        m.d.comb += [
            self.fill.ready.eq(1),
            sums.write_en.eq(self.fill.valid),
            sums.write_addr.eq(address + self.fill.p.half * depth),
            sums.write_data.eq(self.fill.p.sums),
            sums.read_en.eq(unit.sums_en),
            sums.read_addr.eq(unit.sums_address + unit.sums_half * depth),
            unit.sums_data.eq(sums.read_data),
            unit.i.valid.eq(self.i.valid & filled),
            unit.i.payload.eq(self.i.payload),
            self.i.ready.eq(unit.i.ready & filled),
            *(getattr(unit, name).eq(getattr(self, name)) for name in REGISTER_MEMBERS),
        ]
        m.d.sync += filled.eq(filled | (self.fill.valid & self.fill.p.last))
        m.d.sync += self.finished.eq(self.finished + unit.finished)
        return m


@cache
def bench(name: str) -> Bench:
    return Bench(NmConfig(**CONFIGS[name], sums_depth=64))


def draw(c: NmConfig, seed: int, count: int) -> list[Update]:
    """Instructions of any kind, often of the kind of the one before."""
    rng = np.random.default_rng(seed)
    drawn, kind = [], {}
    for _ in range(count):
        rows = c.columns * int(rng.integers(1, 3))
        stride = rows + int(rng.integers(3))
        blocks = int(rng.integers(1, max(2, 56 // stride)))
        if not kind or rng.random() < 0.5:
            flows, sparse = rng.choice(FLOWS, 2), rng.random(2) < 0.6
            kind = {
                "forward_dataflow": str(flows[0]), "backward_dataflow": str(flows[1]),
                "forward_sparse": bool(sparse[0]), "backward_sparse": bool(sparse[1]),
            }  # fmt: skip
        addresses = (int(address) for address in rng.integers(1 << 32, size=3))
        places = dict(zip(("masters", "forward", "backward"), addresses, strict=True))
        half, sums = int(rng.integers(2)), int(rng.integers(4))
        blocks = min(blocks, (c.sums_depth - 4) // stride)
        drawn.append(Update(0, 0, half, sums, rows, stride, blocks, **places, **kind))
    return drawn


def simulate(name: str, seed: int, count: int = 3, **options):
    """Runs ``count`` instructions and holds the writes; their first cycles and the run."""
    component = bench(name)
    c = component.config
    rng = np.random.default_rng([seed, 1])
    program = draw(c, seed, count)
    sums = rng.normal(size=(2, c.sums_depth, c.columns)).astype(np.float32)
    if c.format == "int8":
        sums = rng.integers(-1000, 1000, sums.shape).astype(np.int32)
    chosen = registers(USUAL, 5)
    numbers, want = [], []
    for i in program:
        beats = steps(c, i) * step_beats(c)
        values = rng.normal(size=(beats, c.beat_bits // 32)).astype(np.float32)
        masters = values.view(np.uint32)
        block, row = np.ogrid[: i.blocks, : i.rows]
        gradients = sums[i.half][i.sums + block * i.stride + row]
        want += update(c, i, gradients, [layout.number(b) for b in masters], chosen)
        numbers.append(masters)
    fields = {key: [] for key in WIDTHS["update"]}
    for i in program:
        for key, values in fields.items():
            value = getattr(i, key)
            values.append(FLOWS.index(value) if key.endswith("dataflow") else int(value))
    rows = np.arange(2 * c.sums_depth)
    inputs = {
        "fill": {
            "half": rows // c.sums_depth, "address": rows % c.sums_depth,
            "sums": sums.view(np.uint32).reshape(-1, c.columns).astype(np.int64),
            "last": rows == rows[-1],
        },
        "i": {key: np.array(values) for key, values in fields.items()},
        "masters": np.concatenate(numbers).astype(np.int64),
    }  # fmt: skip
    shapes = {port: getattr(component, port).payload.shape() for port in (*inputs, "write")}
    result = run(
        component,
        {port: pack(shapes[port], beats) for port, beats in inputs.items()},
        {"write": len(want)},
        registers=chosen,
        **options,
    )
    got = unpack(shapes["write"], result.outputs["write"])
    np.testing.assert_array_equal(got["address"], [address for address, _ in want])
    beats = layout.from_numbers(c, [beat for _, beat in want])
    np.testing.assert_array_equal(got["data"], beats)
    assert result.registers["finished"] == count
    return program, result


def hold_cycles(name: str, program: list[Update], result) -> None:
    """Every transfer of masters, and the last write of each instruction."""
    c = bench(name).config
    unit = UpdateCycles(c)
    came, taken, ends = result.input_cycles["i"], [], []
    for i, cycle in zip(program, came, strict=True):
        assert cycle == max(unit.ready, came[0])
        # Masters are offered from the start, but for those that are still in front of them.
        end, beats = unit.take(i, int(cycle), 0)
        taken += beats
        ends.append(end)
    np.testing.assert_array_equal(result.input_cycles["masters"], taken)
    assert result.output_cycles["write"][-1] == ends[-1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "name",
    [n if n in ("fp16", "int8") else pytest.param(n, marks=pytest.mark.slow) for n in CONFIGS],
)
def test_writes_and_cycles_are_the_golden_ones(name, seed):
    hold_cycles(name, *simulate(name, seed, count=5))
    stall = {p: stalls.pattern("random", p, seed) for p in PORTS}
    simulate(name, seed + 100, stalls=stall, reset_at=400 + seed)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("flow", FLOWS)
def test_the_port_alone_limits(flow, sparse):
    """Of a long update all but the way through are cycles with a write."""
    for c in (*(bench(name).config for name in CONFIGS), NmConfig.preset("large")):
        i = Update(0, 0, 0, 0, 4 * c.columns, 0, 3, 0, 0, 0, flow, flow, sparse, sparse)
        end, taken = UpdateCycles(c).take(i, 0, 0)
        count = steps(c, i)
        writes = sum(count // tile.steps * tile.beats for tile in tiles(c, i)) + len(taken)
        assert end - writes <= wuve_config(c).latency + 16 + step_beats(c)
