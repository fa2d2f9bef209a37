"""The array in digital logic, alone and with its readout, held to the golden crossbar."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, Out
from amaranth.sim import Simulator
from thresher.hdl.reram.array import Array
from thresher.hdl.reram.indicators import IndicatorLoad
from thresher.hdl.reram.readout import Readout
from thresher.models.reram.array import Chip, product
from thresher.models.reram.layer_config import ReramLayerConfig
from thresher.models.reram.mapping import Mapping, map_weights
from thresher.models.reram.skipping import bits_read


def configuration(**changes) -> ReramLayerConfig:
    shape = {
        "rows": 16, "columns": 16, "weight_bits": 4, "input_bits": 4, "columns_per_adc": 8,
        "channels": 16, "height": 1, "width": 1, "kernel": 1, "padding": 0, "features": 8,
    }  # fmt: skip
    return ReramLayerConfig(**shape | changes)


def simulate(component: Component, bench) -> None:
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(
    "changes",
    [
        {"adc_bits": 3},
        {"adc_bits": 6, "columns": 27, "columns_per_adc": 9, "weight_bits": 6},
        {"rows": 64, "fragment_rows": 32, "adc_bits": 4, "features": 3},
        {"rows": 3, "fragment_rows": 3, "columns": 3, "columns_per_adc": 1, "weight_bits": 2},
        {"rows": 4, "fragment_rows": 1, "columns_per_adc": 2, "adc_bits": 1, "input_bits": 1},
    ],
)
def test_codes_are_saturated_sums_of_what_is_driven(changes):
    c = configuration(**changes)
    rng = np.random.default_rng(c.scan)
    levels = rng.integers(c.top + 1, size=(c.adcs, c.fragments, c.scan, c.fragment_rows))
    steps = 12
    fragments = rng.integers(c.fragments, size=steps)
    lines = rng.integers(2, size=(steps, c.fragment_rows))
    order = np.array([rng.permutation(c.scan) for _ in range(steps)])
    sums = np.einsum("qscr,sr->scq", levels[:, fragments], lines)
    wanted = np.take_along_axis(sums, order[:, :, None], axis=1).clip(max=c.adc_top)
    array, got = Array(c), []

    async def bench(ctx):
        ctx.set(array.write, 1)
        for q, f, j in np.ndindex(levels.shape[:3]):
            ctx.set(array.write_adc, q)
            ctx.set(array.write_address, f * c.scan + j)
            ctx.set(array.levels, levels[q, f, j].tolist())
            await ctx.tick()
        ctx.set(array.write, 0)
        reads = [(s, k) for s in range(steps) for k in range(c.scan)]
        for time in range(1 + len(reads) + Array.LATENCY):
            s, k = divmod(time, c.scan)
            ctx.set(array.sample, k == 0 and s < steps)
            if s < steps:
                ctx.set(array.fragment, int(fragments[s]))
                ctx.set(array.lines, int(lines[s] @ (1 << np.arange(c.fragment_rows))))
            if 1 <= time <= len(reads):  # after a sample, up to the cycle of the next
                s, k = reads[time - 1]
                ctx.set(array.column, int(order[s, k]))
            if time > Array.LATENCY:
                got.append([ctx.get(code) for code in array.codes])
            await ctx.tick()

    simulate(array, bench)
    assert np.array_equal(np.array(got).reshape(wanted.shape), wanted)


class Crossbar(Component):
    """An array and its readout, driven step by step."""

    def __init__(self, config: ReramLayerConfig):
        self.array, self.readout = Array(config), Readout(config)
        super().__init__({"unused": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.array, m.submodules.readout = self.array, self.readout
        m.d.comb += self.readout.codes.eq(self.array.codes)
        return m


async def load(ctx, crossbar: Crossbar, mapping: Mapping) -> None:
    """What plane 0 of a mapping that fits a crossbar holds."""
    array, readout, c = crossbar.array, crossbar.readout, mapping.config
    ctx.set(array.write, 1)
    ctx.set(readout.write, 1)
    for f, n, s in np.ndindex(mapping.fragments, mapping.outputs, c.slices):
        q, o = divmod(n, c.adc_outputs)
        ctx.set(array.write_adc, q)
        ctx.set(array.write_address, f * c.scan + o * c.slices + s)
        ctx.set(array.levels, mapping.cells[0, f, :, s, n].tolist())
        flips = int(mapping.flipped[0, f, :, n] @ (1 << np.arange(c.slices)))
        lane = {"flips": flips, "sign": int(mapping.signs[0, f, n] < 0), "parity": 0}
        ctx.set(readout.load, {"fragment": f, "adc": q, "output": o, "lane": lane})
        await ctx.tick()
    ctx.set(array.write, 0)
    ctx.set(readout.write, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"adc_bits": 2, "skip": "any"},
        {"flip": False, "adc_bits": 5, "weight_bits": 5, "columns": 27, "columns_per_adc": 9},
        {"mapping": "offset", "skip": "none", "fragment_rows": 4, "adc_bits": 3},
    ],
)
def test_an_array_and_its_readout_are_the_golden_crossbar(changes):
    c = configuration(**changes)
    rng = np.random.default_rng(c.adc_bits)
    low, high = c.weight_limits
    weights = rng.integers(low, high, size=(c.inputs, c.features), endpoint=True)
    if c.mapping == "polarised":
        signs = np.where(rng.integers(2, size=(c.fragments, c.features)), -1, 1)
        weights = np.abs(weights) * signs.repeat(c.fragment_rows, axis=0)
    mapping = map_weights(c, weights)
    inputs = rng.integers(1 << c.input_bits, size=(2, c.inputs)) * rng.integers(
        2, size=(2, c.inputs)
    )
    crossbar, late = Crossbar(c), Array.LATENCY
    array, readout = crossbar.array, crossbar.readout
    # Steps of a vector after the other, one every ``scan`` cycles.
    driven = inputs.reshape(2, c.fragments, c.fragment_rows)
    read = bits_read(c, driven)
    samples = {}
    for k, (v, f, bit) in enumerate(np.argwhere(read).tolist()):
        lines = driven[v, f] >> bit & 1
        samples[k * c.scan] = v, f, bit, lines
    firsts = {min(t for t, s in samples.items() if s[0] == v) for v in range(2)}
    end = len(samples) * c.scan + late + readout.latency
    got = []

    async def bench(ctx):
        await load(ctx, crossbar, mapping)
        for time in range(end + 1):
            now, then = samples.get(time), samples.get(time - late)
            ctx.set(array.sample, now is not None)
            if now:
                ctx.set(array.fragment, now[1])
                ctx.set(array.lines, int(now[3] @ (1 << np.arange(c.fragment_rows))))
            ctx.set(array.column, (time - 1) % c.scan)
            ctx.set(readout.go, then is not None)
            if then:
                step = {"fragment": then[1], "bit": then[2], "ones": int(then[3].sum())}
                ctx.set(readout.step, step | {"first": time - late in firsts})
            await ctx.tick()
        for v, n in np.ndindex(2, c.features):
            q, o = divmod(n, c.adc_outputs)
            share = min(c.slices, c.adcs)
            ctx.set(readout.drain.select, 1 << q // share)
            place = {"bank": v, "member": q % share, "output": o}
            ctx.set(readout.drain.place, place)
            await ctx.tick()
            got.append(ctx.get(readout.drain.sum))

    simulate(crossbar, bench)
    wanted = product(Chip.ideal(mapping), inputs) + c.offset * inputs.sum(axis=1)[:, None]
    assert np.array_equal(np.array(got).reshape(wanted.shape), wanted)


@pytest.mark.parametrize("idle", [False, True])
def test_words_of_indicators_are_taken_apart(idle):
    c = configuration(channels=40, features=13)
    rng = np.random.default_rng(1)
    unit, got = IndicatorLoad(c), []
    shape = (c.down * c.across, c.fragments, c.adcs)
    words = rng.integers(1 << c.scan + c.adc_outputs + 1, size=shape)

    async def bench(ctx):
        sent, total = 0, 2 * words.size
        while len(got) < total * c.adc_outputs:
            valid = sent < total and not (idle and rng.random() < 0.5)
            ctx.set(unit.i.valid, valid)
            ctx.set(unit.i.p.as_value(), int(words.flat[sent % words.size]))
            sent += valid and ctx.get(unit.i.ready)
            await ctx.tick()
            if ctx.get(unit.write):
                place = [ctx.get(unit.number)]
                place += [ctx.get(unit.load[name]) for name in ("fragment", "adc", "output")]
                got.append((*place, ctx.get(unit.load.lane.as_value())))

    simulate(unit, bench)
    wanted = []
    for place in [*np.ndindex(words.shape)] * 2:
        word = int(words[place])
        flips, signs = word & (1 << c.scan) - 1, word >> c.scan
        for o in range(c.adc_outputs):
            lane = flips >> o * c.slices & (1 << c.slices) - 1 | (signs >> o & 1) << c.slices
            if o == c.adc_outputs - 1:
                lane |= signs >> o + 1 << c.slices + 1
            wanted.append((*place, o, lane))
    assert got == wanted
