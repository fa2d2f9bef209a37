# amaranth: UnusedElaboratable=no
"""The ranker against a stable sort, and every cycle of it as documented."""

import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal
from amaranth.lib.wiring import Component, connect, flipped
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.grand.ranker import FIRST, Ranker, emission
from thresher.models.codes.channel import magnitude
from thresher.models.grand.config import OrbgrandConfig
from thresher.sim import Session, stalls
from thresher.sim.beats import pack, unpack
from thresher.sim.verilator import run

SHAPES = [
    (128, 128, 5),
    (128, 32, 6),
    (100, 16, 8),
    (64, 64, 4),
    (37, 64, 3),
    (13, 4, 5),
    (8, 1, 2),
]
"""(length, lanes, llr_bits)"""


def config(length, lanes, llr_bits):
    return OrbgrandConfig(length=length, lanes=lanes, llr_bits=llr_bits, lw_max=6, p=3)


def draw(rng, c, count):
    """LLRs, ``[count, length]``: uniform, as received, with many ties, all the same."""
    low = -(1 << (c.llr_bits - 1))
    shape = count, c.length
    uniform = rng.integers(low, -low, shape)
    strong = np.clip(rng.normal(-low / 2, -low / 5, shape).round(), low, -low - 1).astype(int)
    kinds = [
        uniform,
        strong * rng.choice([-1, 1], shape),
        rng.choice([low, low + 1, -1, 0, 1, -low - 1], shape),
        rng.choice([low, -low - 1], shape),  # saturated
        rng.choice([-1, 0], shape),
        np.repeat(uniform[:, :1], c.length, axis=1),
    ]
    drawn = np.choose(rng.integers(len(kinds), size=(count, 1)), kinds)
    return np.clip(drawn, low, -low - 1)


def rows_of(c, llrs, sent=None):
    """Rows of one word, the first ``sent`` of them; surplus LLRs are never to be seen."""
    rows = np.zeros((c.beats, c.lanes), int)
    rows.ravel()[: c.length] = llrs
    sent = sent or c.beats
    return {"llrs": rows[:sent], "last": np.arange(sent) == sent - 1}


class SelfClearing(Component):
    """A ranker that forgets a word behind its last rank."""

    def __init__(self, c):
        self.ranker = Ranker(c)
        members = dict(self.ranker.signature.members)
        del members["clear"]
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.ranker = ranker = self.ranker
        connect(m, flipped(self.llrs), ranker.llrs)
        connect(m, ranker.o, flipped(self.o))
        taken = Signal(range(ranker.config.length + 1))
        m.d.comb += ranker.clear.eq(taken == ranker.config.length)
        with m.If(ranker.clear):
            m.d.sync += taken.eq(0)
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += taken.eq(taken + 1)
        return m


@pytest.mark.parametrize("shape", [(128, 128, 5), (100, 16, 8)], ids=str)
@pytest.mark.parametrize("stall", ["none", "random"])
def test_words_come_out_sorted_when_they_should(shape, stall):
    c = config(*shape)
    component = SelfClearing(c)
    llrs = draw(np.random.default_rng(1), c, 1000)
    beats = [rows_of(c, word) for word in llrs]
    words = {k: np.concatenate([beat[k] for beat in beats]) for k in ("llrs", "last")}
    patterns = {name: stalls.pattern(stall, name) for name in ("llrs", "o")}
    got = run(
        component,
        {"llrs": pack(component.llrs.p.shape(), words)},
        {"o": llrs.size},
        stalls=patterns,
        reset_at=500,
    )
    order = np.argsort(magnitude(llrs), axis=1, kind="stable")
    positions = unpack(component.o.p.shape(), got.outputs["o"])
    np.testing.assert_array_equal(positions.reshape(order.shape), order)
    if stall == "none":
        start = got.input_cycles["llrs"][c.beats - 1 :: c.beats]
        times = got.output_cycles["o"].reshape(order.shape) - start[:, None]
        np.testing.assert_array_equal(times, emission(np.sort(magnitude(llrs), axis=1)))
        # The cycle of `clear` lies between two words.
        rows = got.input_cycles["llrs"].reshape(-1, c.beats)
        np.testing.assert_array_equal(
            rows[1:, 0], got.output_cycles["o"][c.length - 1 : -1 : c.length] + 2
        )


class Model:
    """What a ranker shows, cycle by cycle."""

    def __init__(self, c):
        self.config, self.cycle = c, 0
        self.clear()

    def clear(self):
        self.rows, self.order = [], []
        self.start = None  # the cycle of the last row's transfer
        self.there = np.inf  # the cycle from which the next rank stands on `o`
        self.times = []

    def ready(self):
        return self.start is None

    def valid(self):
        return len(self.times) < len(self.order) and self.cycle >= self.there

    def rank(self):
        return self.order[len(self.times)]

    def load(self, row, last):
        self.rows.append(row)
        if last:
            c, start = self.config, self.cycle
            llrs = np.full(c.beats * c.lanes, (1 << (c.llr_bits - 1)) - 1)
            sent = np.concatenate(self.rows)
            llrs[: len(sent)] = sent
            size = magnitude(llrs[: c.length])
            self.start, self.order = start, np.argsort(size, kind="stable")
            self.sorted = np.sort(size)
            self.there = start + FIRST + self.sorted[0]

    def take(self):
        w = len(self.times)
        self.times.append(self.cycle)
        if w + 1 < len(self.order):
            gap = max(1, self.sorted[w + 1] - self.sorted[w])
            self.there = max(self.cycle + 1, self.there + gap)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_cycle_whatever_happens(shape):
    """Rows, ranks and ``clear`` at any time, short words, consumers of any kind."""
    c, rng = config(*shape), np.random.default_rng(2)
    component, model = Ranker(c), Model(c)
    layout = component.llrs.p.shape()
    rubbish = (1 << Shape.cast(layout).width) - 1
    judged = short = 0
    with Session(component) as sim:
        for word in draw(rng, c, 60):
            sent = int(rng.integers(1, c.beats + 1)) if rng.random() < 0.4 else c.beats
            rows = rows_of(c, word, sent)
            packed = [int.from_bytes(w.tobytes(), "little") for w in pack(layout, rows)]
            # Forgotten while rows load, while ranks leave, or behind the last rank.
            lifetime = int(rng.choice([rng.integers(1, 12), 40, 400]))
            eager = rng.random() < 0.7
            late = int(rng.choice([0, rng.integers(30)]))
            for age in range(1000):
                clear = age >= lifetime and rng.random() < 0.3
                row = len(model.rows)
                valid = row < sent and rng.random() < 0.7
                steady = eager and (model.times or age >= late)
                ready = bool(steady) if eager else rng.random() < 0.5
                sim["clear"], sim["o__ready"], sim["llrs__valid"] = clear, ready, valid
                sim["llrs__payload"] = packed[row] if valid else rubbish
                takes = model.ready() and not clear
                shows = model.valid() and not clear
                assert sim["llrs__ready"] == takes
                assert sim["o__valid"] == shows
                if shows:
                    assert sim["o__payload"] == model.rank()
                sim.tick()
                if valid and takes:
                    model.load(rows["llrs"][row], row == sent - 1)
                if shows and ready:
                    model.take()
                model.cycle += 1
                if clear:
                    break
            if eager and model.times:
                judged += 1
                short += sent < c.beats
                times = np.array(model.times) - model.start
                ranks = model.sorted[: len(times)]
                np.testing.assert_array_equal(emission(ranks, times[0]), times)
            model.clear()
    assert judged > 10
    assert short or c.beats == 1


def test_emission_takes_words_of_any_shape_at_once():
    rng = np.random.default_rng(3)
    ranks = np.sort(rng.integers(0, 16, (4, 5, 9)), axis=-1)
    taken = rng.integers(0, 40, (4, 5))
    times = emission(ranks, taken)
    for at in np.ndindex(4, 5):
        np.testing.assert_array_equal(times[at], emission(ranks[at], taken[at]))
    np.testing.assert_array_equal(emission(ranks[..., :1], taken), times[..., :1])


def test_it_stays_small():
    """Most of it is the comparison, 4 LUT4 a position; sorting takes tens of thousands."""
    resources = synthesise(Ranker(OrbgrandConfig()), device("ecp5-85k")).resources
    assert resources.lut < 850
    assert resources.bram == resources.dsp == 0
