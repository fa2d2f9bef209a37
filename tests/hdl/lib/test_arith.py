"""Sums, priority encoders and packed products against plain integers."""

import itertools

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value, signed, unsigned
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.lib import arith, fixed


def vectors(shapes, count: int, seed: int = 0) -> list[np.ndarray]:
    """Random integers of each shape, the extremes of all at once first."""
    rng = np.random.default_rng(seed)
    drawn = []
    for shape in shapes:
        low, high = fixed.bounds(shape)
        drawn.append(np.concatenate([[low, high], rng.integers(low, high + 1, count)]))
    return drawn


@pytest.mark.parametrize("count", [*range(1, 10), 17, 100])
@pytest.mark.parametrize("element", [unsigned(1), unsigned(5), signed(5), None], ids=str)
def test_tree_sum_is_exact_and_no_wider_than_needed(evaluate, count, element):
    shapes = [element or [unsigned(4), signed(3)][k % 2] for k in range(count)]
    built: list[Value] = []

    def build(*signals: Signal) -> list[Value]:
        built.append(arith.tree_sum(signals))
        return built

    operands = vectors(shapes, 50)
    (got,) = evaluate(shapes, build, operands)
    want = np.sum(operands, axis=0)
    np.testing.assert_array_equal(got, want)
    low, high = (sum(b) for b in zip(*map(fixed.bounds, shapes), strict=True))
    assert built[0].shape() == fixed.narrowest(low, high, low < 0)


def test_tree_sum_of_nothing(evaluate):
    (got,) = evaluate([unsigned(1)], lambda _: [arith.tree_sum([])], [np.arange(2)])
    np.testing.assert_array_equal(got, 0)


def test_count_ones(evaluate):
    everything = np.arange(1 << 9)
    (got,) = evaluate([unsigned(9)], lambda mask: [arith.count_ones(mask)], [everything])
    np.testing.assert_array_equal(got, [bin(mask).count("1") for mask in everything])


@pytest.mark.parametrize("width", range(1, 11))
def test_find_first(evaluate, width):
    everything = np.arange(1 << width)
    indices: list[Value] = []

    def build(mask: Signal) -> list[Value]:
        first = arith.find_first(mask)
        indices.append(first.index)
        return [first.valid, first.index, first.one_hot]

    valid, index, one_hot = evaluate([unsigned(width)], build, [everything])
    np.testing.assert_array_equal(valid, everything > 0)
    np.testing.assert_array_equal(one_hot, everything & -everything)
    np.testing.assert_array_equal((1 << index)[1:], one_hot[1:])
    assert len(indices[0]) == (width - 1).bit_length()


@pytest.mark.parametrize("widths", [(4, 4, 4), (4, 3, 5), (2, 2, 2)])
def test_packed_products_exhaustively(evaluate, widths):
    shapes = [signed(width) for width in widths]
    ranges = [range(*(b + k for k, b in enumerate(fixed.bounds(shape)))) for shape in shapes]
    w0, w1, x = np.array(list(itertools.product(*ranges))).T
    low, high = evaluate(shapes, arith.packed_products, [w0, w1, x])
    np.testing.assert_array_equal(low, w0 * x)
    np.testing.assert_array_equal(high, w1 * x)


def test_packed_products_of_bytes(evaluate):
    corners = np.array(list(itertools.product([-128, -127, -1, 0, 1, 127], repeat=3))).T
    drawn = np.random.default_rng(1).integers(-128, 128, (3, 3000))
    w0, w1, x = np.concatenate([corners, drawn], axis=1)
    low, high = evaluate([signed(8)] * 3, arith.packed_products, [w0, w1, x])
    np.testing.assert_array_equal(low, w0 * x)
    np.testing.assert_array_equal(high, w1 * x)


class PackedBytes(Component):
    """Two int8 products a cycle, registered at either end."""

    w0: In(signed(8))
    w1: In(signed(8))
    x: In(signed(8))
    p0: Out(signed(16))
    p1: Out(signed(16))

    def elaborate(self, platform) -> Module:
        m = Module()

        def register(value: Value) -> Value:
            stage = Signal(value.shape(), reset_less=True)
            m.d.sync += stage.eq(value)
            return stage

        operands = [register(value) for value in (self.w0, self.w1, self.x)]
        products = arith.packed_products(*operands, register)
        m.d.comb += [p.eq(value) for p, value in zip((self.p0, self.p1), products, strict=True)]
        return m


def test_two_byte_products_are_one_dsp48_without_fabric():
    resources = synthesise(PackedBytes(), device("xc7")).resources
    assert (resources.dsp, resources.carry) == (1, 0)
    assert resources.lut <= 1  # the inverted sign, which a consumer absorbs
    assert resources.ff <= 8  # w0: Yosys leaves the pre-adder's own register unused


def test_packed_products_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="9, 8 and 8 bits do not fit"):
        arith.packed_products(Signal(signed(9)), Signal(signed(8)), Signal(signed(8)))
    with pytest.raises(TypeError, match="unsigned"):
        arith.packed_products(Signal(8), Signal(signed(8)), Signal(signed(8)))


@pytest.mark.parametrize(("count", "levels", "latency"), [(1, 1, 1), (5, 1, 3), (9, 2, 2)])
def test_adder_tree_latency_and_enable(count, levels, latency):
    dut = arith.AdderTree(signed(6), count, levels)
    assert dut.latency == latency
    rng = np.random.default_rng(count)
    beats = rng.integers(-32, 32, (60, count))
    enabled = rng.random(60) < 0.7

    async def bench(ctx):
        seen = []
        for beat, enable in zip(beats, enabled, strict=True):
            ctx.set(dut.i, beat.tolist())
            ctx.set(dut.en, int(enable))
            await ctx.tick()
            seen += [beat.sum()] * bool(enable)
            if len(seen) >= latency:
                assert ctx.get(dut.o) == seen[-latency]

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
