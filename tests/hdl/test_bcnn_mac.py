# amaranth: UnusedElaboratable=no
"""Products of words with weights, and popcounts, against NumPy's complex numbers and integers."""

from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Module, Value
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator
from thresher.hdl.bcnn_conv.mac import Mac
from thresher.hdl.bcnn_conv.popcount import Popcount
from thresher.hdl.bcnn_conv.xilinx import plan
from thresher.hdl.verilog import emit
from thresher.models.bcnn.latency import mac_latency
from thresher.sim import Session

STYLES = ("generic", "ecp5", "xilinx")


@dataclass
class Case:
    """Of a Mac, and how many words of what it gets."""

    arithmetic: str
    outputs: int
    channels: int
    bits: int = 1
    signed: bool = False
    complex: bool = False
    words: int = 8

    @property
    def parts(self):
        return 2 if self.arithmetic == "complex" or self.complex else 1

    def draw(self, rng):
        """x [words, channels, parts], w [words, outputs, channels, parts], inside [words]."""
        shape = self.words, self.channels, 2 if self.arithmetic == "complex" else 1
        w = rng.choice([-1, 1], (self.words, self.outputs, self.channels, self.parts))
        if self.arithmetic == "integers":
            low = -(1 << self.bits - 1) if self.signed else 0
            x = rng.integers(low, low + (1 << self.bits), shape)
            x[0], x[1] = low, low + (1 << self.bits) - 1  # the sums' extremes
        else:
            x = rng.choice([-1, 1], shape)
            x[:2] = 1
        w[0], w[1] = -1, 1
        inside = rng.random(self.words) < 0.8
        inside[:2] = True
        return x, w, inside

    def wanted(self, x, w, inside):
        """The ports' values by name, [words, outputs], from products of numbers."""
        if self.parts == 1:
            sums = np.einsum("nc,npc->np", x[..., 0], w[..., 0]) * inside[:, None]
            if self.arithmetic == "integers":
                return {"re": sums}
            return {"count": (sums + self.channels) // 2}
        w = w[..., 0] + 1j * w[..., 1]
        x = x[..., 0] + 1j * x[..., 1] if self.arithmetic == "complex" else x[..., 0]
        sums = np.einsum("nc,npc->np", x, w) * inside[:, None]
        if self.arithmetic == "integers":
            return {"re": sums.real, "im": sums.imag}
        return {"re": (sums.real + 2 * self.channels) / 2, "im": sums.imag / 2}


def packed(numbers, bits=1):
    return sum((int(n) & (1 << bits) - 1) << bits * k for k, n in enumerate(numbers))


def check(case, style):
    c, rng = case, np.random.default_rng(case.channels)
    mac = Mac(c.arithmetic, c.outputs, c.channels, c.bits, c.signed, c.complex, style)
    x, w, inside = c.draw(rng)
    wanted = c.wanted(x, w, inside)
    coded = w > 0
    if c.arithmetic == "complex":
        coded[..., 1] = w[..., 0] == w[..., 1]
    bits = c.bits if c.arithmetic == "integers" else 1
    values = (lambda a: a) if bits > 1 or c.arithmetic == "integers" else (lambda a: a > 0)

    async def bench(ctx):
        for n in range(c.words + mac.latency):
            if n < c.words:
                ctx.set(mac.word, packed(values(x[n].ravel()), bits))
                ctx.set(Value.cast(mac.weights), packed(coded[n].ravel()))
                ctx.set(mac.inside, int(inside[n]))
            await ctx.tick()
            done = n + 1 - mac.latency
            if 0 <= done < c.words:
                for name, sums in wanted.items():
                    got = [ctx.get(port) for port in getattr(mac, name)]
                    assert got == sums[done].tolist(), (name, done)

    assert mac.latency == mac_latency(c.arithmetic, c.channels, c.bits)
    simulator = Simulator(mac)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("channels", [1, 2, 3, 8, 13, 33])
@pytest.mark.parametrize("arithmetic", ["binary", "complex"])
def test_bits(arithmetic, channels, style):
    check(Case(arithmetic, 2 if channels < 8 else 1, channels), style)


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("bits", "signed"), [(1, False), (8, True), (8, False), (3, True)])
def test_integers(bits, signed, channels, complex):
    check(Case("integers", 2, channels, bits, signed, complex), "generic")


@pytest.mark.parametrize("style", STYLES)
def test_random_sizes(style):
    """Of popcounts, without weights: other shapes of the trees than with them."""
    rng = np.random.default_rng(STYLES.index(style))
    for bits in rng.integers(1, 100, 3).tolist():
        words = [packed(rng.random(bits) < p) for p in (0.5, 0.1, 0.9, 1.1, 0, 0.5)]
        count = Popcount(bits, style=style)

        async def bench(ctx, count=count, words=words):
            for n in range(len(words) + count.latency):
                ctx.set(count.i, words[min(n, len(words) - 1)])
                await ctx.tick()
                if (done := n + 1 - count.latency) >= 0 and done < len(words):
                    assert ctx.get(count.o) == words[done].bit_count()

        simulator = Simulator(count)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()


class Both(Component):
    """A popcount of each family, with weights, in one design."""

    def __init__(self, bits):
        self.counts = [Popcount(bits, weighted=True, style=style) for style in STYLES[1:]]
        self.latency = self.counts[0].latency
        shape = self.counts[0].o.shape()
        super().__init__({"i": In(bits), "w": In(bits), "o_0": Out(shape), "o_1": Out(shape)})

    def elaborate(self, platform):
        m = Module()
        for n, count in enumerate(self.counts):
            m.submodules[f"count_{n}"] = count
            m.d.comb += [count.i.eq(self.i), count.w.eq(self.w)]
            m.d.comb += getattr(self, f"o_{n}").eq(count.o)
        return m


@pytest.mark.slow
def test_cells_in_verilator():
    """Verilog has instances of the vendors' cells, and Verilator simulates them."""
    both, rng = Both(23), np.random.default_rng(0)
    text = emit(both)
    assert all(cell in text for cell in ("CCU2C", "LUT6_2", "CARRY4"))
    with Session(both) as session:
        for _ in range(50):
            i, w = rng.integers(0, 1 << 23, 2).tolist()
            session["i"], session["w"] = i, w
            session.tick(both.latency)
            agree = 23 - (i ^ w).bit_count()
            assert session["o_0"] == session["o_1"] == agree


@pytest.mark.parametrize("bits", [3, 64, 255, 492, 1024])
def test_plans_of_chains(bits):
    """Of Xilinx' chains there are always enough levels, and seven bits take two look-up tables."""
    cost, rules = plan((bits,), bits.bit_length(), bits.bit_length() // 2 + 1)
    assert cost <= 0.6 * bits + 1
    assert len(rules) <= bits.bit_length() // 2 + 1
    assert plan((7,), 3, 1)[0] == 2
    assert plan((64,), 7, 1) is None


def test_latencies():
    """A register behind every addition of two numbers and a bit."""
    assert [Popcount(n).latency for n in (1, 2, 3, 4, 7, 8, 63, 64)] == [1, 1, 1, 2, 2, 3, 5, 6]
    assert mac_latency("complex", 64) == 7
    assert mac_latency("integers", 3, 8) == 3


def test_errors():
    with pytest.raises(ValueError, match="bits = 0"):
        Popcount(0)
    with pytest.raises(ValueError, match="'lattice' is none of generic, ecp5, xilinx"):
        Popcount(3, style="lattice")
    with pytest.raises(ValueError, match="0 outputs of 8 channels"):
        Mac("binary", 0, 8)
    with pytest.raises(ValueError, match="channel_bits = 0"):
        Mac("integers", 1, 8, 0)
