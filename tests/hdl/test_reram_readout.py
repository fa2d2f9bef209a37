"""The readout of a crossbar: codes in, sums out, held to the formula."""

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator
from thresher.hdl.reram.readout import Readout
from thresher.models.reram.layer_config import ReramLayerConfig

CONFIGS = {
    "several ADCs": {},
    "more ADCs than slices": {"columns": 24, "columns_per_adc": 4, "features": 10},
    "three slices, not equally wide": {
        "weight_bits": 5, "columns": 27, "columns_per_adc": 9, "features": 7,
    },
    "a column an ADC": {
        "weight_bits": 2, "columns": 3, "columns_per_adc": 1, "features": 3, "mapping": "dual",
    },
    "two columns an ADC": {"weight_bits": 2, "columns": 8, "columns_per_adc": 2, "features": 7},
    "an output an ADC": {"columns": 8, "columns_per_adc": 2, "features": 4},
    "one ADC, one fragment": {
        "rows": 4, "fragment_rows": 4, "columns": 8, "columns_per_adc": 8, "features": 3,
        "input_bits": 1,
    },
    "no flips, wide codes": {"flip": False, "adc_bits": 6, "cell_bits": 1, "features": 4},
    "codes beyond all levels": {"fragment_rows": 2, "adc_bits": 8, "input_bits": 7},
}  # fmt: skip

IDLE = ("several ADCs", "a column an ADC")


def configuration(**changes) -> ReramLayerConfig:
    shape = {
        "rows": 16, "columns": 16, "weight_bits": 4, "input_bits": 4, "columns_per_adc": 8,
        "channels": 20, "height": 1, "width": 1, "kernel": 1, "padding": 0, "features": 10,
    }  # fmt: skip
    return ReramLayerConfig(**shape | changes)


class Indicators:
    """Random ones of a crossbar, and whether words hold the wrong parity."""

    def __init__(self, rng: np.random.Generator, c: ReramLayerConfig):
        shape = (c.fragments, c.adcs, c.adc_outputs)
        self.flips = rng.integers(2, size=(*shape, c.slices)) * c.flip
        self.signs = rng.integers(2, size=shape)
        self.parity = rng.integers(2, size=shape)
        self.bad = (self.flips.sum(axis=(2, 3)) + self.signs.sum(2) + self.parity.sum(2)) % 2

    async def load(self, ctx, readout: Readout) -> None:
        weights = 1 << np.arange(self.flips.shape[-1])
        for f, q, o in np.ndindex(self.signs.shape):
            lane = {
                "flips": int(self.flips[f, q, o] @ weights),
                "sign": int(self.signs[f, q, o]),
                "parity": int(self.parity[f, q, o]),
            }
            ctx.set(readout.load, {"fragment": f, "adc": q, "output": o, "lane": lane})
            ctx.set(readout.write, 1)
            await ctx.tick()
        ctx.set(readout.write, 0)


def expected(c: ReramLayerConfig, held: Indicators, steps: list) -> np.ndarray:
    """[adcs, adc_outputs]: what the steps (fragment, bit, ones, codes [slices...]) add up to."""
    sums = np.zeros((c.adcs, c.adc_outputs), np.int64)
    for f, bit, ones, codes in steps:
        columns = codes.reshape(c.adcs, c.adc_outputs, c.slices)
        read = np.where(held.flips[f], c.top * ones - columns, columns)
        value = (read << c.cell_bits * np.arange(c.slices)).sum(axis=2) << bit
        sums += np.where(held.signs[f], -value, value)
    return sums


class Schedule:
    """When steps, codes and drains come, without a bubble or with some."""

    def __init__(self, c: ReramLayerConfig, latency: int, vectors: list, gap):
        self.go: dict[int, dict] = {}
        self.codes: dict[int, np.ndarray] = {}
        self.drains: dict[int, tuple[int, int, int]] = {}
        time, ends = 0, []
        for v, steps in enumerate(vectors):
            if v >= 2:
                time = max(time, ends[v - 2])
            for k, (f, bit, ones, codes) in enumerate(steps or [(0, 0, 0, None)]):
                time += gap()
                step = {"fragment": f, "bit": bit, "ones": ones, "first": k == 0}
                self.go[time] = step | {"empty": codes is None}
                if codes is None:
                    continue
                self.codes |= {time + 1 + column: codes[:, column] for column in range(c.scan)}
                time += c.scan
            due = time + latency if steps else time + 1
            time += not steps
            begin = max(due, ends[-1] if ends else 0)
            places = list(np.ndindex(c.adcs, c.adc_outputs))
            self.drains |= {begin + n: (v, *place) for n, place in enumerate(places)}
            ends.append(begin + len(places))
        self.length = ends[-1] + 2


def run(
    c: ReramLayerConfig, readout: Readout, held: Indicators, schedule: Schedule, broken_off: int
):
    """The sums [vectors, adcs, adc_outputs] and how often each ADC's indicators were bad.

    After ``broken_off`` cycles of the schedule, the last of them with a reset, it starts anew.
    """
    share = min(c.slices, c.adcs)
    sums: dict[tuple[int, int, int], int] = {}
    errors = np.zeros(c.adcs, np.int64)
    reset, times = Signal(), []

    async def bench(ctx):
        await held.load(ctx, readout)
        for time in [*range(broken_off), *range(schedule.length)]:
            ctx.set(reset, len(times) == broken_off - 1)
            times.append(time)
            step = schedule.go.get(time)
            ctx.set(readout.go, step is not None)
            ctx.set(readout.step, step or {})
            codes = schedule.codes.get(time)
            ctx.set(readout.codes, [c.adc_top] * c.adcs if codes is None else codes.tolist())
            drained = schedule.drains.get(time)
            if drained:
                v, q, o = drained
                ctx.set(readout.drain.select, 1 << q // share)
                place = {"bank": v % 2, "member": q % share, "output": o}
                ctx.set(readout.drain.place, place)
            else:
                ctx.set(readout.drain.select, 0)
            await ctx.tick()
            found = ctx.get(readout.drain.sum)
            if len(times) <= broken_off:
                continue
            if drained:
                sums[drained] = found
            else:
                assert found == 0
            bad = ctx.get(readout.sign_errors)
            errors[:] += bad >> np.arange(c.adcs) & 1

    simulator = Simulator(ResetInserter(reset)(readout))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    vectors = 1 + max(v for v, _, _ in sums)
    table = [sums[place] for place in np.ndindex(vectors, c.adcs, c.adc_outputs)]
    return np.array(table).reshape(vectors, c.adcs, c.adc_outputs), errors


@pytest.mark.parametrize(
    ("name", "idle"), [*((name, False) for name in CONFIGS), *((name, True) for name in IDLE)]
)
def test_sums_are_the_formulas_bank_after_bank(name, idle):
    c = configuration(**CONFIGS[name])
    rng = np.random.default_rng(len(name))
    held = Indicators(rng, c)

    def step(extreme: bool):
        shape = (c.adcs, c.scan)
        codes = (
            rng.choice([0, c.adc_top], shape)
            if extreme
            else rng.integers(c.adc_top + 1, size=shape)
        )
        return (
            int(rng.integers(c.fragments)), int(rng.integers(c.input_bits)),
            int(rng.integers(c.fragment_rows + 1)), codes,
        )  # fmt: skip

    counts = [2, 1, 0, 4, 0, 0, 1, 1, 3]
    vectors = [[step(v % 2 == 0) for _ in range(count)] for v, count in enumerate(counts)]
    readout = Readout(c)
    gap = (lambda: int(rng.integers(4))) if idle else (lambda: 0)
    schedule = Schedule(c, readout.latency, vectors, gap)
    broken_off = schedule.length // 3 if idle else 0
    sums, errors = run(c, readout, held, schedule, broken_off)
    for v, steps in enumerate(vectors):
        assert np.array_equal(sums[v], expected(c, held, steps)), v
    assert np.array_equal(errors, sum(held.bad[f] for steps in vectors for f, *_ in steps))
