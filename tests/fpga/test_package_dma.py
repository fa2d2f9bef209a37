"""The driver over AXI DMA: engines in simulation, the DMAs as models of their registers."""

from contextlib import suppress

import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from thresher.fpga.package import dma, driver
from thresher.hdl.engine import Engine
from thresher.hdl.generate import describe_top
from thresher.models.config import EngineConfig
from thresher.sim.transport import Axi

VALUE = data.StructLayout({"value": signed(37), "last": 1})


class Fold(wiring.Component):
    """Sums of pairs of numbers, packet by packet; ``factor`` has no packets."""

    x: In(stream.Signature(VALUE))
    factor: In(stream.Signature(signed(8)))
    y: Out(stream.Signature(VALUE))
    plain: Out(stream.Signature(1))
    beats: Out(16)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.y.valid.eq(self.x.valid & self.factor.valid),
            self.x.ready.eq(self.y.ready & self.factor.valid),
            self.factor.ready.eq(self.y.ready & self.x.valid),
            self.y.payload.value.eq(self.x.payload.value + self.factor.payload),
            self.y.payload.last.eq(self.x.payload.last),
        ]
        with m.If(self.y.valid & self.y.ready):
            m.d.sync += self.beats.eq(self.beats + 1)
        return m


FOLD = Engine(
    name="fold", summary="Adds", paper="", headline="", config=EngineConfig,
    component=lambda config: Fold(), workloads={}, registers={"beats": "Beats passed"},
    random_config=lambda rng: EngineConfig(),
)  # fmt: skip


class Buffer(np.ndarray):
    """Memory in one piece, seen by the processor through a cache."""

    def __new__(cls, size, address):
        made = np.zeros(size, dtype=np.uint8).view(cls)
        made.physical_address, made.memory = address, np.zeros(size, dtype=np.uint8)
        return made

    def flush(self):
        self.memory[:] = self

    def invalidate(self):
        self[:] = self.memory


class Core:
    """AXI DMA v7.1 in direct register mode (PG021), streams at its far side.

    A reset of either channel is one of both; a channel runs once DMACR.RS is set; the idle
    bit is low before the first transfer; S2MM ends at tlast and says in LENGTH how much
    came.
    """

    LENGTH_BITS = 14

    def __init__(self, bus, to=None, buffer_to=None, source=None, buffer_from=None):
        self.bus, self.to, self.source = bus, to, source
        self.buffers = {0x00: buffer_to, 0x30: buffer_from}
        self.reset()

    def reset(self):
        self.registers = {base + offset: 0 for base in (0x00, 0x30) for offset in (0, 0x18, 0x1C)}
        self.registers |= {0x04: 1, 0x34: 1, 0x28: 0, 0x58: 0}  # halted
        self.armed, self.rows = 0, []
        if self.bus is not None:
            self.bus.clear()

    def write(self, address, words, increment=True):
        (value,) = words
        base, offset = address // 0x30 * 0x30, address % 0x30
        if offset == 0x00:
            if value & 4:
                self.reset()
            elif value & 1:
                self.registers[base + 4] &= ~1
            self.registers[address] = value & ~4
        elif offset == 0x28:
            assert not self.registers[base + 4] & 1, "started while halted"
            assert 0 < value < 1 << self.LENGTH_BITS
            assert self.address(base) == self.buffers[base].physical_address
            self.registers[base + 4] &= ~2
            if base:
                self.armed = value
            else:
                self.deliver(value)
        else:
            assert offset in (0x18, 0x1C)
            self.registers[address] = value

    def read(self, address, count=1, increment=True):
        if address == 0x34 and self.armed:
            self.collect()
        return np.array([self.registers[address]], dtype=np.uint32)

    def address(self, base):
        return self.registers[base + 0x18] | self.registers[base + 0x1C] << 32

    def deliver(self, size):
        width, last = self.to["tdata_bits"] // 8, "tlast" in self.to["signals"]
        assert size % width == 0
        octets = self.buffers[0].memory[:size].reshape(-1, width)
        rows = np.zeros((len(octets), (width + last + 3) // 4 * 4), dtype=np.uint8)
        rows[:, :width] = octets
        if last:
            rows[-1, width] = 1
        self.bus.send(self.to, rows.view("<u4"))
        self.registers[0x04] |= 2

    def collect(self):
        width = self.source["tdata_bits"] // 8
        while len(row := self.bus.receive(self.source, 1)):
            octets = row.view(np.uint8)[0]
            self.rows.append(octets[:width])
            if len(self.rows) * width > self.armed:
                self.registers[0x34] |= 1 << 4 | 1
                return
            if octets[width] & 1:
                came = np.concatenate(self.rows)
                self.buffers[0x30].memory[: len(came)] = came
                self.registers[0x58] = len(came)
                self.registers[0x34] |= 2
                self.armed, self.rows = 0, []
                return


@pytest.fixture
def fold():
    """The engine, with ``x`` and ``y`` on one DMA and ``factor`` on another."""
    top = describe_top(FOLD, EngineConfig())
    streams = {s["name"]: s for s in top.description["streams"]}
    with Axi(top.component, patience=20) as bus:
        buffers = [Buffer(500, address) for address in (0x1000, 0x2_0000_0000, 0x3000)]
        both = Core(bus, streams["x"], buffers[0], streams["y"], buffers[1])
        single = Core(bus, streams["factor"], buffers[2])
        sends = {"x": (both, buffers[0]), "factor": (single, buffers[2])}
        receives = {"y": (both, buffers[1]), "plain": (both, buffers[1])}
        transport = dma.Dma(bus, sends, receives)
        transport.cores = both, single
        yield driver.Engine(top.description, transport)


def packets(lengths, seed=0):
    rng = np.random.default_rng(seed)
    last = np.concatenate([np.arange(n) == n - 1 for n in lengths]).astype(int)
    x = {"value": rng.integers(-(1 << 36) + 200, (1 << 36) - 200, len(last)), "last": last}
    return x, rng.integers(-128, 128, len(last))


def run(fold, lengths):
    x, factor = packets(lengths)
    found = fold.run({"x": x, "factor": factor}, {"y": len(factor)}, timeout=1)["y"]
    np.testing.assert_array_equal(found["value"], x["value"] + factor)
    np.testing.assert_array_equal(found["last"], x["last"])


def test_packets(fold):
    run(fold, [1, 7, 100, 1, 1, 30])
    assert fold.registers.beats == 140
    run(fold, [100, 3])


def test_a_packet_in_parts(fold):
    x, factor = packets([10])
    with suppress(TimeoutError):
        fold.run({"x": x, "factor": factor}, {}, timeout=0)
    parts = [fold.receive("y", count)["value"] for count in (3, 4, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), x["value"] + factor)


def test_reset_in_the_middle(fold):
    x, _ = packets([50, 50])
    with suppress(TimeoutError):
        fold.run({"x": x}, {"y": 1}, timeout=0)
    fold.reset()
    run(fold, [5, 5])


def test_what_a_dma_cannot_carry(fold):
    x, _ = packets([101])
    with pytest.raises(ValueError, match=r"a packet of x has 101 beats.* allow 100"):
        fold.send("x", x)
    with pytest.raises(ValueError, match="the last beat of x needs last = 1"):
        fold.send("x", {"value": [1, 2], "last": [0, 0]})
    with pytest.raises(ValueError, match="plain has no tlast"):
        fold.receive("plain", 1)
    core = Core(None)
    other = dma.Dma(core, {}, {"x": (core, Buffer(8, 0))})
    with pytest.raises(KeyError, match="no DMA was given for y; there is: x"):
        other.receive({"name": "y", "tdata_bits": 8}, 1)


def test_errors_of_the_dma(fold):
    core = fold.transport.cores[0]
    with suppress(TimeoutError):
        fold.receive("y", 1, timeout=0)
    core.armed = 0
    core.registers[0x34] |= 1 << 6
    with pytest.raises(OSError, match="the DMA of y stopped: nothing lies at the address"):
        fold.receive("y", 1)
    fold.reset()
    run(fold, [4])

    class Stuck(Core):
        def read(self, address, count=1, increment=True):
            return np.array([4])

    with pytest.raises(TimeoutError, match="the DMA of x does not come out of reset"):
        dma._Channel("x", Stuck(None), Buffer(8, 0), dma.SEND, 100).reset(timeout=0)
