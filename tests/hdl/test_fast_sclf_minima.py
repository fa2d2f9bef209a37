# amaranth: UnusedElaboratable=no
"""Leaves against NumPy: hard decisions, sums, and the least reliable lanes in order."""

import numpy as np
import pytest
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.fast_sclf.layout import instruction
from thresher.hdl.fast_sclf.minima import Minima
from thresher.hdl.fast_sclf.shape import Shape
from thresher.models.fast_sclf.config import FastSclfConfig
from thresher.sim import Session

SHAPES = [
    {"length": 64, "list_size": 4, "pes": 32, "leaf": 32, "metric_bits": 6},
    {"length": 32, "list_size": 2, "pes": 16, "leaf": 8, "llr_bits": 4},
    {"length": 16, "list_size": 1, "pes": 4, "leaf": 2, "llr_bits": 3, "metric_bits": 4},
    {"length": 64, "list_size": 8, "pes": 4, "leaf": 4, "llr_bits": 8, "metric_bits": 10},
]


def pack(values, width):
    return sum(int(v) << width * i for i, v in enumerate(np.ravel(values)))


def unpack(word, width, count):
    return np.array([word >> width * i & (1 << width) - 1 for i in range(count)])


class Bench:
    """Leaves of all kinds, one after another; what each cycle must show."""

    def __init__(self, config, seed):
        self.config, self.shape = config, Shape(config)
        self.rng = np.random.default_rng(seed)
        self.sim = Session(Minima(self.shape))
        self.layout = instruction(self.shape)

    def llrs(self):
        """(sign, magnitude) of every slot and lane, with ties and extremes, as a port takes it."""
        lists, leaf, bits = self.config.list_size, self.config.leaf, self.config.llr_bits
        most = (1 << bits - 1) - 1
        sign = self.rng.integers(2, size=(lists, leaf))
        magnitude = self.rng.integers(self.rng.integers(most + 1) + 1, size=(lists, leaf))
        magnitude[self.rng.random((lists, leaf)) < self.rng.random() * 0.8] = most
        return sign, magnitude

    def cycle(self, results=None, checks=None, **fields):
        """One cycle of an instruction, everything else at random."""
        bits = self.config.llr_bits
        for name, llrs in (("results", results), ("checks", checks)):
            sign, magnitude = self.llrs() if llrs is None else llrs
            self.sim[name] = pack(sign << bits - 1 | magnitude, bits)
        fields.setdefault("level", int(self.rng.integers(self.shape.levels)))
        self.sim["instruction"] = self.layout.const(fields).as_value().value
        self.sim.tick()

    def get(self, name, width):
        return unpack(self.sim[name], width, self.config.list_size)

    def hold_sums(self, llrs, size, of_checks=False):
        lists, half = self.config.list_size, self.config.leaf // 2
        sign, magnitude = llrs
        counts = np.arange(self.config.leaf) < size
        for name, of in (("negative", 1), ("positive", 1 if of_checks else 0)):
            terms = magnitude * (sign == of) * counts
            want = np.stack([terms[:, :half].sum(1), terms[:, half:].sum(1)], 1)
            found = unpack(self.sim[name], self.shape.half_sum, 2 * lists).reshape(lists, 2)
            np.testing.assert_array_equal(found, want, err_msg=name)

    def hold_leaf(self, llrs, size):
        hard = llrs[0][:, :size]
        want = (hard << np.arange(size)).sum(1)
        np.testing.assert_array_equal(self.get("hard", self.config.leaf), want)
        np.testing.assert_array_equal(self.get("odd", 1), hard.sum(1) % 2)

    def hold_least(self, llrs, size, rank):
        magnitude = llrs[1][:, :size]
        lane = np.argsort(magnitude, axis=1, kind="stable")[:, rank]
        least = np.take_along_axis(magnitude, lane[:, None], 1)[:, 0]
        np.testing.assert_array_equal(self.get("minimum", self.shape.magnitude), least)
        np.testing.assert_array_equal(self.get("which", self.config.leaf), 1 << lane)

    def leaf(self, level, zero, kind):
        size, results, checks = 1 << level, self.llrs(), self.llrs()
        self.cycle(results, checks, leaf=1, zero=int(zero), level=level)
        self.hold_sums(checks if zero else results, size, of_checks=zero)
        self.hold_leaf(results, size)
        ranks = iter(range(size))
        if kind == "rate-0":
            return
        self.cycle(enter=1, repeat=int(kind == "rep"))
        if kind == "rep":
            assert self.sim["minimum"] == 0
            assert self.sim["which"] == (1 << self.config.leaf * self.config.list_size) - 1
            return
        if kind == "spc":
            self.hold_leaf(results, size)
            self.hold_least(results, size, next(ranks))
            self.cycle(fix=1)
        for rank in ranks:
            if self.rng.random() < 0.2:
                self.cycle()  # nothing: everything waits
            self.hold_least(results, size, rank)
            if self.rng.random() < 0.1:
                break
            self.cycle(split=1)


@pytest.mark.parametrize("settings", SHAPES)
def test_leaves(settings):
    config = FastSclfConfig(lanes=4, beat=4, crc="crc6", **settings)
    bench = Bench(config, 0)
    for _ in range(150):
        level = int(bench.rng.integers(bench.shape.leaf_level + 1))
        zero = bench.rng.random() < 0.3
        bench.leaf(level, zero, bench.rng.choice(["rate-0", "rep", "rate-1", "spc"]))


def test_checks_alone_leave_the_leaf_as_it_is():
    config = FastSclfConfig(lanes=4, beat=4, crc="crc6", **SHAPES[0])
    bench = Bench(config, 1)
    results, checks = bench.llrs(), bench.llrs()
    bench.cycle(results, leaf=1, level=5)
    bench.cycle(checks=checks, zero=1, level=2)
    bench.hold_sums(checks, 4, of_checks=True)
    bench.hold_leaf(results, 32)
    bench.cycle(enter=1)
    bench.hold_least(results, 32, 0)


def test_area():
    """Of one bank.  It is a third more where the tools turn the trees of adders into one sum."""
    pytest.importorskip("pyosys", reason="needs the extra [fpga]")
    component = Minima(Shape(FastSclfConfig(list_size=1)))
    assert synthesise(component, device("ecp5-45k")).resources.lut <= 1460
