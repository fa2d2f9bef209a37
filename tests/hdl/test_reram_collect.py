"""Sums of all crossbars to results, held to integer arithmetic."""

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator
from thresher.hdl.reram.collect import Collect
from thresher.models.fixed import limits, round_shift
from thresher.models.reram.layer_config import ReramLayerConfig

CONFIGS = {
    "one crossbar": {},
    "several across, the last not full": {"columns": 8, "features": 13},
    "units with few members": {"columns": 12, "columns_per_adc": 4, "features": 17},
    "rows and planes": {"mapping": "dual", "channels": 50},
    "offset": {"mapping": "offset", "channels": 40, "clip": "zero"},
    "signed": {"activation": "none", "channels": 40},
    "signed, zeroed": {"activation": "none", "clip": "zero", "output_bits": 9},
    "a feature": {"features": 1, "output_bits": 1},
    "a bit and a sign": {"features": 3, "output_bits": 2, "activation": "none"},
    "wide": {"weight_bits": 16, "input_bits": 16, "output_bits": 32, "scale_bits": 18},
    "bits": {
        "weight_bits": 1, "cell_bits": 1, "input_bits": 1, "rows": 1, "fragment_rows": 1,
        "columns": 3, "columns_per_adc": 1, "adc_bits": 1, "output_bits": 5, "scale_bits": 1,
    },
}  # fmt: skip


def configuration(**changes) -> ReramLayerConfig:
    shape = {
        "rows": 16, "columns": 16, "weight_bits": 4, "input_bits": 4, "columns_per_adc": 8,
        "channels": 10, "height": 1, "width": 1, "kernel": 1, "padding": 0, "features": 7,
        "output_bits": 4,
    }  # fmt: skip
    return ReramLayerConfig(**shape | changes)


class Case:
    """Random sums, biases and registers, and the results."""

    def __init__(self, c: ReramLayerConfig, rng: np.random.Generator, vectors: int = 5):
        self.config = c
        low, high = limits(c.sum_bits)
        shape = (vectors, c.planes, c.down, c.features)
        # Not beyond what total_bits hold.
        self.sums = rng.integers(low // 2, high // 2, size=shape, endpoint=True)
        self.sums[0] = rng.choice([low, high], size=shape[1:])
        bias_low, bias_high = limits(c.bias_bits)
        self.biases = rng.integers(bias_low // 8, bias_high // 8, size=c.features, endpoint=True)
        most = c.inputs * ((1 << c.input_bits) - 1)
        self.totals = rng.integers(most, size=vectors, endpoint=True) * bool(c.offset)
        self.multiplier = int(rng.integers(1 << c.scale_bits))
        self.shift = int(rng.integers(max(1, c.total_bits + c.scale_bits - c.output_bits)))
        self.bits = c.output_bits - (c.activation == "none")
        self.threshold = int(rng.integers(1 << self.bits))

    def results(self) -> tuple[np.ndarray, int]:
        """[vectors, features], and how many of them the threshold changes."""
        c = self.config
        sums = self.sums.sum(axis=(1, 2)) + self.biases - c.offset * self.totals[:, None]
        found, changed = np.empty_like(sums), 0
        for place, value in np.ndenumerate(sums):
            y = round_shift(int(value) * self.multiplier, self.shift)
            if c.activation == "relu":
                y = max(y, 0)
            if abs(y) > self.threshold:
                y = 0 if c.clip == "zero" else self.threshold if y > 0 else -self.threshold
                changed += 1
            found[place] = y
        return found, changed


def run(case: Case, idle: bool, pressure: bool, broken_off: int):
    """Results, results that were clipped, and the cycle of each result.

    After ``broken_off`` cycles a reset, from which all starts anew.
    """
    c, collect = case.config, Collect(case.config)
    rng, reset = np.random.default_rng(1), Signal()
    share = min(c.slices, c.adcs)
    vectors = len(case.sums)
    found, times, state = [], [], {"freed": 0, "clipped": 0}

    def held(number: int, drain, ctx) -> int:
        """What the readout will give for the present address."""
        select = ctx.get(drain.select)
        if not select:
            return 0
        bank, member, output = (
            ctx.get(drain.place[name]) if len(drain.place[name]) else 0
            for name in ("bank", "member", "output")
        )
        assert bank == state["freed"] % 2
        assert not select & select - 1
        adc = (select.bit_length() - 1) * share + member
        place, across = divmod(number, c.across)
        feature = across * c.outputs + adc * c.adc_outputs + output
        assert adc < c.adcs
        assert feature < c.features
        return int(case.sums[state["freed"], *divmod(place, c.down), feature])

    async def bench(ctx):
        ctx.set(collect.write, 1)
        for n, bias in enumerate(case.biases.tolist()):
            ctx.set(collect.write_address, n)
            ctx.set(collect.bias, bias)
            await ctx.tick()
        ctx.set(collect.write, 0)
        ctx.set(collect.multiplier, case.multiplier)
        ctx.set(collect.shift, case.shift)
        if case.bits:
            ctx.set(collect.threshold, case.threshold)
        offered, time = not idle, -broken_off
        while time < 0 or len(found) < vectors * c.features:
            ctx.set(reset, time == -1)
            assert time < 100 * vectors * c.features + 100
            offered = offered or bool(rng.random() < 0.2)
            number = state["freed"]
            ctx.set(collect.vector.valid, offered and number < vectors)
            if c.offset:
                ctx.set(collect.vector.p.total, int(case.totals[min(number, vectors - 1)]))
            ready = not pressure or rng.random() < 0.3
            ctx.set(collect.o.ready, ready)
            sums = [held(n, drain, ctx) for n, drain in enumerate(collect.drains)]
            if ready and ctx.get(collect.o.valid):
                found.append(ctx.get(collect.o.p))
                times.append(time)
            state["clipped"] += ctx.get(collect.clipped)
            assert ctx.get(collect.freed) == ctx.get(collect.vector.ready)
            if ctx.get(collect.freed):
                state["freed"] += 1
                offered = not idle
            await ctx.tick()
            time += 1
            if time == 0:
                state.update(freed=0, clipped=0)
                found.clear()
                times.clear()
            for drain, value in zip(collect.drains, sums, strict=True):
                ctx.set(drain.sum, value)

    simulator = Simulator(ResetInserter(reset)(collect))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert state["freed"] == vectors
    return np.array(found).reshape(vectors, c.features), state["clipped"], times, collect.latency


@pytest.mark.parametrize("name", CONFIGS)
def test_results_are_those_of_integers(name):
    c = configuration(**CONFIGS[name])
    rng = np.random.default_rng(len(name))
    for idle, pressure in ((False, False), (True, True)):
        case = Case(c, rng)
        found, clipped, times, latency = run(case, idle, pressure, 20 * idle)
        wanted, changed = case.results()
        assert np.array_equal(found, wanted)
        assert clipped == changed
        if not idle:  # without a bubble
            assert times == list(range(latency, latency + found.size))
