"""Buses of simulated top levels: words, streams, refusals, time."""

import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from thresher.hdl.lib.axi import AxiWrapper
from thresher.hdl.registers import register_table
from thresher.hdl.verilog import ports
from thresher.sim import Wave
from thresher.sim.transport import Axi, Channels, Serial

PACKET = data.StructLayout({"value": signed(40), "last": 1})


class Negate(wiring.Component):
    """Turns the sign of numbers, while it is enabled, and counts packets."""

    x: In(stream.Signature(PACKET))
    y: Out(stream.Signature(PACKET))
    enable: In(1, init=1)
    offset: In(signed(40))
    packets: Out(8)

    TEXTS = {"enable": "Works while 1", "offset": "Added", "packets": "Packets passed"}  # noqa: RUF012

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.y.valid.eq(self.x.valid & self.enable),
            self.x.ready.eq(self.y.ready & self.enable),
            self.y.payload.value.eq(self.offset - self.x.payload.value),
            self.y.payload.last.eq(self.x.payload.last),
        ]
        with m.If(self.y.valid & self.y.ready & self.y.payload.last):
            m.d.sync += self.packets.eq(self.packets + 1)
        return m


X = {"name": "x", "signals": {"tdata": "s_axis_x_tdata"}}
Y = {"name": "y", "signals": {"tdata": "m_axis_y_tdata"}}


@pytest.fixture
def top():
    component = Negate()
    return AxiWrapper(component, register_table("negate", ports(component), Negate.TEXTS))


@pytest.fixture
def bus(top):
    with Axi(top, patience=50) as bus:
        bus.table = top._table
        yield bus


def words(values, last):
    """Beats of ``tdata`` (40 bits) and ``tlast`` above it."""
    bits = [(v & ((1 << 40) - 1)) | (k in last) << 40 for k, v in enumerate(values)]
    return np.array([[b & 0xFFFFFFFF, b >> 32] for b in bits], dtype=np.uint32)


def test_channels_are_the_pins_regrouped(top):
    streams = ports(Channels(top)).streams
    assert list(streams) == [
        "s_axis_x_t", "m_axis_y_t", "s_axil_aw", "s_axil_w", "s_axil_b", "s_axil_ar", "s_axil_r",
    ]  # fmt: skip
    assert streams["s_axis_x_t"].shape == data.StructLayout({"data": 40, "last": 1})
    assert streams["s_axil_aw"].shape == data.StructLayout({"addr": 12, "prot": 3})
    assert {name for name, port in streams.items() if port.direction == "out"} == {
        "m_axis_y_t", "s_axil_b", "s_axil_r",
    }  # fmt: skip


def test_words(bus):
    offset = bus.table["offset"].offset
    bus.write(offset, [5, 0x80])
    assert list(bus.read(offset, 2)) == [5, 0xFFFFFF80], "sign-extended"
    bus.write(offset, [1, 2, 3], increment=False)
    assert list(bus.read(offset, 3, increment=False)) == [5, 5, 5], "waits for its upper word"
    assert bus.read(bus.table["id"].offset).dtype == np.uint32


def test_refusals_name_the_address(bus):
    with pytest.raises(OSError, match="access to address 0x0 was refused"):
        bus.write(0, [1])
    with pytest.raises(OSError, match="access to address 0xffc was refused"):
        bus.read(0xFFC)
    with pytest.raises(OSError, match="was refused"):
        bus.write(bus.table.bytes - 4, [1, 2])
    assert bus.read(0)[0] == bus.table["id"].init, "and the next access is another one"


def test_streams(bus):
    values = [3, -7, 1 << 30, -(1 << 38), 9]
    assert bus.send(X, words(values[:2], {1})) == 2
    assert bus.send(X, words(values[2:], {2})) == 3
    assert bus.cycle == 0, "sending takes no time"
    got = np.concatenate([bus.receive(Y, 4), bus.receive(Y, 9)])
    np.testing.assert_array_equal(got, words([-v for v in values], {1, 4}))
    assert bus.read(bus.table["packets"].offset)[0] == 2
    assert len(bus.receive(Y, 0)) == 0


def test_a_beat_comes_only_when_asked_for(bus):
    bus.send(X, words([1, 2, 3], {0, 1, 2}))
    bus.advance(100)
    assert bus.read(bus.table["packets"].offset)[0] == 0
    assert len(bus.receive(Y, 2)) == 2
    bus.advance(100)
    assert bus.read(bus.table["packets"].offset)[0] == 2


def test_what_waits_can_be_dropped(bus):
    enable = bus.table["enable"].offset
    bus.write(enable, [0])
    bus.send(X, words([1, 2, 3], ()))
    assert len(bus.receive(Y, 3)) == 0
    assert bus.cycle > 50
    bus.clear()
    bus.send(X, words([4], ()))
    bus.write(enable, [1])
    np.testing.assert_array_equal(bus.receive(Y, 3), words([-4], ()))


def test_full_speed(bus):
    bus.send(X, words(range(1000), ()))
    assert len(bus.receive(Y, 1000)) == 1000
    assert bus.cycle <= 1001, "one beat a cycle"


def test_a_bus_that_does_not_answer(top):
    ports(top)  # a use, in Amaranth's eyes

    class Dead(wiring.Component):
        def __init__(self):
            super().__init__(top.signature)

        def elaborate(self, platform):
            return Module()

    with Axi(Dead(), patience=20) as bus, pytest.raises(TimeoutError, match="0x4 in 20 cycles"):
        bus.read(4)


def test_waveform(top, tmp_path):
    with Axi(top, Wave(tmp_path / "bus.vcd")) as bus:
        bus.read(0)
    assert "s_axil_ar__payload" in (tmp_path / "bus.vcd").read_text()


class Echo(wiring.Component):
    """A wire from ``rx`` to ``tx``, and what it last was."""

    rx: In(1, init=1)
    tx: Out(1, init=1)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.tx.eq(self.rx)
        return m


@pytest.mark.parametrize("divisor", [2, 4, 7, 25, 100])
def test_serial(divisor):
    with Serial(Echo(), divisor, timeout=500) as line:
        data = bytes(range(0, 256, 17)) + b"\x00\xff\x55"
        assert line.write(data) == len(data)
        assert line.cycle == 10 * divisor * len(data)
        line._advance(divisor)
        assert line.read(5) == data[:5]
        assert line.read(len(data)) == data[5:]
        assert line.read(1) == b"", "silence"
        line.write(b"x")
        line._advance(divisor)
        line.reset_input_buffer()
        assert line.read(1) == b""


def test_serial_at_the_level_of_bits():
    """Start bit low, low bit first, stop bit high."""
    with Serial(Echo(), 4) as line:
        seen = []
        tick = line._instance.tick

        def watched(cycles):
            tick(cycles)
            seen.append(line._instance.peek(line._from))

        line._instance.tick = watched
        line.write(b"\x4b")
        line._advance(4)
    bits = [0, 1, 1, 0, 1, 0, 0, 1, 0, 1]
    assert seen[: 4 * len(bits)] == [bit for bit in bits for _ in range(4)]
