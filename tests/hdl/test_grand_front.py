# amaranth: UnusedElaboratable=no
"""The front end alone: verdicts and suspects against the code, and every cycle as documented."""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import connect, flipped
from amaranth.sim import Simulator
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.grand.front import QUEUED, STRAIGHT, WORD, Front
from thresher.hdl.grand.layout import column_beats, llr_beats
from thresher.hdl.grand.syndrome import groups, load_cycles
from thresher.models.codes.linear import LinearCode
from thresher.models.codes.named import code
from thresher.models.grand.config import GrandConfig, OrbgrandConfig
from thresher.sim import stalls
from thresher.sim.beats import pack, unpack
from thresher.sim.verilator import run

DEFAULT = {"window": 16}
WIDE = {"length": 200, "checks": 30, "lanes": 256, "window": 8, "llr_bits": 2}
SMALL = {"length": 32, "checks": 12, "lanes": 8, "window": 16}
ODD = {"length": 100, "checks": 11, "lanes": 16, "window": 8, "llr_bits": 8}
SERIAL = {"length": 20, "checks": 9, "lanes": 1, "window": 8}
CASES = [
    (DEFAULT, "polar-128-105-crc11"),
    (DEFAULT, "bch-127-113"),
    (DEFAULT, "random-40-30"),
    (WIDE, "random-200-170"),
    (SMALL, "random-32-20"),
    (SMALL, "random-27-20"),
    (SMALL, "random-8-5"),
    (ODD, "random-100-89"),
    (ODD, "random-97-90"),
    (SERIAL, "random-20-11"),
    (SERIAL, "random-9-4"),
]
"""Shapes of the engine, and codes that fill them or do not."""


class Patient(Front):
    """A front end whose failed words leave after they left ``suspects``, as in an engine."""

    def __init__(self, config: GrandConfig):
        super().__init__(config)
        self.front = Front(config)

    def elaborate(self, platform):
        m = Module()
        m.submodules.front = front = self.front
        for name in ("columns", "llr", "suspects"):
            connect(m, flipped(getattr(self, name)), getattr(front, name))
        m.d.comb += front.skip_parity.eq(self.skip_parity)
        for name in ("column_write", "column_address", "column", "length", "wait_window"):
            m.d.comb += getattr(self, name).eq(getattr(front, name))
        gone = Signal(range(front.config.window + 1))  # suspects whose word is still here
        words, suspects = front.words, front.suspects
        passes = ~words.p.failed | ~words.p.last | gone.any()
        m.d.comb += [
            self.words.valid.eq(words.valid & passes),
            self.words.payload.eq(words.payload),
            words.ready.eq(self.words.ready & passes),
        ]
        m.d.sync += gone.eq(
            gone
            + (suspects.valid & suspects.ready & suspects.p.last)
            - (words.valid & words.ready & words.p.last & words.p.failed)
        )
        return m


@cache
def patient(**shape) -> Patient:
    return Patient(OrbgrandConfig(lw_max=10, p=4, **shape))


@dataclass
class Words:
    """Random words of a code, some with errors, and what must be told of them."""

    config: GrandConfig
    code: LinearCode
    llrs: np.ndarray
    skip_parity: bool = False
    hard: np.ndarray = field(init=False)
    syndromes: np.ndarray = field(init=False)
    odd: np.ndarray = field(init=False)
    failed: np.ndarray = field(init=False)

    def __post_init__(self):
        self.hard = (self.llrs < 0).astype(np.uint8)
        weights = 1 << np.arange(self.code.checks)
        self.syndromes = self.code.syndrome(self.hard).astype(np.int64) @ weights
        self.odd = self.hard.sum(1) % 2
        self.failed = (self.syndromes != 0) | (self.skip_parity & (self.odd == 1))

    @classmethod
    def random(cls, config, code, count, seed=0, wrong=0.5, skip_parity=False):
        """A share ``wrong`` has errors; some of these are words of the code all the same."""
        rng = np.random.default_rng(seed)
        words = code.encode(rng.integers(2, size=(count, code.k)))
        errors = rng.random(words.shape) < 3 / code.n
        words = words ^ (errors & (rng.random((count, 1)) < wrong))
        top = 1 << (config.llr_bits - 1)
        llrs = rng.integers(top, size=words.shape)
        return cls(config, code, np.where(words, ~llrs, llrs), skip_parity)

    @property
    def beats(self):
        return self.config.beats_of(self.code.n)

    @property
    def inputs(self):
        return {
            "columns": column_beats(self.code.columns),
            "llr": llr_beats(self.config, self.llrs),
        }

    @property
    def outputs(self):
        """Beats of ``words`` and ``suspects``."""
        rows, last = self.beats, np.arange(self.beats) == self.beats - 1
        llrs = llr_beats(self.config, self.llrs)
        hard = (llrs < 0).reshape(len(llrs), -1)
        if self.config.lanes <= 63:
            bits = hard @ (1 << np.arange(self.config.lanes))
        else:
            bits = np.array([sum(1 << int(i) for i in np.flatnonzero(row)) for row in hard], object)
        failed = np.repeat(self.failed, rows)
        return {
            "words": {"bits": bits, "failed": failed, "last": np.tile(last, len(self.llrs))},
            "suspects": {
                "llrs": llrs[failed],
                "syndrome": np.repeat(self.syndromes[self.failed], rows),
                "odd": np.repeat(self.odd[self.failed], rows),
                "last": np.tile(last, self.failed.sum()),
            },
        }


def simulate(words: Words, component, stall=None, **options):
    """Runs the words and holds what comes against what must come."""
    payload = {
        name: getattr(component, name).payload.shape()
        for name in ("columns", "llr", "words", "suspects")
    }
    wanted = words.outputs
    result = run(
        component,
        {name: pack(payload[name], beats) for name, beats in words.inputs.items()},
        {name: len(beats["last"]) for name, beats in wanted.items()},
        registers={"skip_parity": int(words.skip_parity)},
        stalls=stall,
        **options,
    )
    for port, fields in wanted.items():
        got = unpack(payload[port], result.outputs[port])
        for name, want in fields.items():
            np.testing.assert_array_equal(got[name], want, err_msg=f"{port}.{name}")
    assert result.registers["length"] == words.code.n
    return result


def follow(words: Words, stall: dict[str, np.ndarray], loaded: int):
    """The cycles of all transfers on llr, words and suspects, by the documented rules."""

    def opens(port, cycle):
        pattern = stall.get(port, np.ones(1, bool))
        while not pattern[cycle % len(pattern)]:
            cycle += 1
        return cycle

    taken, left, gone = [], [], []
    for k, failed in enumerate(words.failed):
        for _ in range(words.beats):
            offered = opens("llr", taken[-1] + 1 if taken else 0)
            room = 0
            if k >= words.config.window:
                room = left[(k - words.config.window + 1) * words.beats - 1] + 1
            taken.append(max(offered, loaded, room))
        last = taken[-1]
        if failed:
            before = gone[-1] if gone else -1
            straight = before < last + STRAIGHT
            offered = last + STRAIGHT if straight else max(last + QUEUED, before + 1)
            for _ in range(words.beats):
                gone.append(opens("suspects", offered))
                offered = gone[-1] + 1
        for row in range(words.beats):
            offered = max(last + WORD, left[-1] + 1 if left else 0)
            if failed and row == words.beats - 1:
                offered = max(offered, gone[-1] + 1)
            left.append(opens("words", offered))
    return {"llr": taken, "words": left, "suspects": gone}


def hold_cycles(words, result, stall=None):
    cycles = {**result.input_cycles, **result.output_cycles}
    loaded = cycles["columns"][0] + load_cycles(words.config, words.code.n)
    for port, want in follow(words, stall or {}, loaded).items():
        np.testing.assert_array_equal(cycles[port], want, err_msg=port)


def patterns(seed, ports=("llr", "words", "suspects")):
    return {port: stalls.pattern("random", port, seed) for port in ports}


@pytest.mark.parametrize(("shape", "name"), CASES)
def test_every_word_is_judged_a_beat_a_cycle(shape, name):
    component = patient(**shape)
    words = Words.random(component.config, code(name), 100)
    result = simulate(words, component)
    hold_cycles(words, result)
    # Back to back: all beats in a row, rows out in a row.
    assert (np.diff(result.input_cycles["llr"]) == 1).all()
    assert (np.diff(result.output_cycles["words"]) == 1).all()
    assert result.output_cycles["words"][0] == result.input_cycles["llr"][words.beats - 1] + WORD


@pytest.mark.parametrize(("shape", "name"), CASES)
@pytest.mark.parametrize("seed", range(4))
def test_stalls_delay_by_as_much_as_they_must(shape, name, seed):
    component = patient(**shape)
    words = Words.random(component.config, code(name), 200, seed, wrong=(0.2, 1)[seed % 2])
    stall = patterns(seed)
    hold_cycles(words, simulate(words, component, stall), stall)


@pytest.mark.parametrize("shape", [DEFAULT, SMALL])
def test_a_full_window_holds_up_llrs(shape):
    component = patient(**shape)
    words = Words.random(component.config, code("random-32-20"), 60)
    late = np.arange(8192) >= 5000
    for port in ("words", "suspects"):
        stall = {port: late}
        result = simulate(words, component, stall)
        hold_cycles(words, result, stall)
        waited = (result.input_cycles["llr"] < 5000).sum() // words.beats
        assert waited == component.config.window + (
            words.failed.argmax() if port == "suspects" else 0
        )


@pytest.mark.parametrize("shape", [DEFAULT, {**SMALL, "window": 8}])
@pytest.mark.parametrize("seed", range(3))
def test_suspects_alone(shape, seed):
    """Every word fails: without a pause, with stalls, and until the window is full of them."""
    component = patient(**shape)
    words = Words.random(component.config, code("random-32-20"), 150)
    words = Words(component.config, words.code, words.llrs[words.failed])
    stall = [{}, patterns(3), {"suspects": np.arange(8192) >= 5000}][seed]
    result = simulate(words, component, stall)
    hold_cycles(words, result, stall)
    if not stall:
        gone, taken = result.output_cycles["suspects"], result.input_cycles["llr"]
        np.testing.assert_array_equal(gone, taken + STRAIGHT + words.beats - 1)


@pytest.mark.parametrize("first", ["random-32-20", "random-16-8"])
@pytest.mark.parametrize("when", [17, 24])
def test_another_code_waits_for_the_words_under_way(first, when):
    """Its columns are offered in mid-word or between words; no word is begun from then on."""
    component = patient(**SMALL)
    config, (old, new) = component.config, (code(first), code("random-21-12"))
    start = load_cycles(config, old.n)
    before = -(-when // config.beats_of(old.n))
    parts = [
        Words.random(config, old, before, 1),
        Words.random(config, new, 60, 2),
    ]
    names = ("columns", "llr", "words", "suspects")
    shapes = {name: getattr(component, name).payload.shape() for name in names}

    def words(port):
        beats = [{**part.inputs, **part.outputs}[port] for part in parts]
        return np.concatenate([pack(shapes[port], part) for part in beats])

    cycle = np.arange(4096)
    loaded = cycle < load_cycles(config, old.n - 1) - 1  # all columns of the old code are taken
    result = run(
        component,
        {"columns": words("columns"), "llr": words("llr")},
        {port: len(words(port)) for port in ("words", "suspects")},
        stalls={"columns": loaded | (cycle >= start + when)},
    )
    for port in ("words", "suspects"):
        np.testing.assert_array_equal(result.outputs[port], words(port))
    columns, taken = result.input_cycles["columns"], result.input_cycles["llr"]
    first_row = before * parts[0].beats
    assert taken[first_row - 1] - taken[0] == first_row - 1
    assert columns[old.n] == result.output_cycles["words"][first_row - 1] + 1
    assert taken[first_row] == columns[old.n] + load_cycles(config, new.n)


@pytest.mark.parametrize("shape", [DEFAULT, SMALL, SERIAL])
def test_reset(shape):
    component = patient(**shape)
    words = Words.random(component.config, code("random-20-11"), 50)
    stall = patterns(1)
    start = load_cycles(component.config, 20)
    for reset_at in (1, start // 2, start - 1, start + 5, start + 40):
        hold_cycles(words, simulate(words, component, stall, reset_at=reset_at), stall)


@pytest.mark.parametrize("skip_parity", [False, True])
def test_odd_words_fail_where_parity_is_skipped(skip_parity):
    component = patient(**SMALL)
    words = Words.random(component.config, code("random-32-20"), 300, skip_parity=skip_parity)
    assert (words.failed != (words.syndromes != 0)).any() == skip_parity
    simulate(words, component)


@pytest.mark.parametrize("shape", [SMALL, ODD, SERIAL])
def test_columns_are_told_on(shape):
    component = patient(**shape)
    config = component.config
    columns = np.random.default_rng(0).integers(1 << config.checks, size=config.length)
    told = {}

    async def feed(ctx):
        for k, column in enumerate(columns):
            ctx.set(
                component.columns.payload, {"column": int(column), "last": k == len(columns) - 1}
            )
            ctx.set(component.columns.valid, 1)
            await ctx.tick().until(component.columns.ready)
            ctx.set(component.columns.valid, 0)
            assert ctx.get(component.column_write)
            told[ctx.get(component.column_address)] = ctx.get(component.column)
            await ctx.tick()
            assert not ctx.get(component.column_write)

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.run()
    assert told == dict(enumerate(columns.tolist()))


@pytest.mark.parametrize("lanes", [1, 2, 8, 64, 128, 512])
@pytest.mark.parametrize("length", [65, 256, 1000])
def test_tables_fill_block_ram(length, lanes):
    if lanes >= 2 * length:
        return
    config = OrbgrandConfig(length=length, lanes=lanes, lw_max=10, p=4)
    table = groups(config)
    assert [lane for group in table for lane in group] == list(range(lanes))
    sizes = {len(group) for group in table}
    assert max(sizes) - min(sizes) <= 1
    assert len(table[0]) == max(sizes)
    rows = 1 << (config.beats - 1).bit_length()
    assert rows << max(sizes) <= max(512, 2 * rows)


def test_area():
    """Little beside a tester; all that is kept lies in block RAM."""
    used = synthesise(Front(OrbgrandConfig()), device("ecp5-85k")).resources
    assert used.lut <= 330
    assert used.lutram == 0
