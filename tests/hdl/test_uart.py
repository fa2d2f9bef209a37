"""The serial line bit by bit, frames that go wrong, and an engine's workload over two wires."""

from random import Random

import numpy as np
import pytest
from thresher.hdl.engine import engine
from thresher.hdl.lib.uart import Line, Receiver, Transmitter, UartWrapper
from thresher.hdl.registers import register_table
from thresher.hdl.verilog import ports
from thresher.sim import beats
from thresher.sim.interactive import Session

WRITE, STEP = 0x80, 0x40


def line_levels(byte, stop=1):
    return [0, *(byte >> k & 1 for k in range(8)), stop]


@pytest.mark.parametrize(("divisor", "skew"), [(4, 0), (5, 0), (25, -0.04), (25, 0), (25, 0.04)])
def test_receiver(divisor, skew):
    """Bytes back to back or apart, at the edge of what clocks may differ."""
    random = Random(divisor)
    sent = [random.getrandbits(8) for _ in range(100)]
    waveform, now = [1] * 20, 0.0
    for byte in sent:
        for level in line_levels(byte):
            now += divisor * (1 + skew)
            waveform += [level] * round(now - len(waveform) + 20)
        for _ in range(random.choice([0, 0, 1, divisor])):
            waveform.append(1)
            now += 1
    assert received(divisor, waveform) == sent


def received(divisor, waveform):
    found = []
    with Session(Receiver(divisor)) as sim:
        for level in [*waveform, *[1] * 4 * divisor]:
            sim["rx"] = int(level)
            sim.tick()
            if sim["arrived"]:
                found.append(sim["byte"])
    return found


def test_receiver_drops_what_is_no_byte():
    bits, idle = 16, [1] * 40
    held = [level for byte in (0x00, 0xA5) for level in np.repeat(line_levels(byte), bits)]
    bad_stop = list(np.repeat(line_levels(0x77, stop=0), bits))
    spikes = [*idle, 0, *idle, 0, 1, 1, 0, *idle]
    noise = [0] * (bits // 2 - 2)  # too short for a start bit
    broken = [0] * 400
    waveform = [
        *spikes, *noise, *idle, *held, *bad_stop, *idle, *held, *broken, *idle, *held,
    ]  # fmt: skip
    assert received(bits, waveform) == [0x00, 0xA5] * 3


@pytest.mark.parametrize("divisor", [4, 7])
def test_transmitter(divisor):
    random = Random(divisor)
    sent = [random.getrandbits(8) for _ in range(30)]
    levels = []
    with Session(Transmitter(divisor)) as sim:
        assert sim["tx"] == 1
        sim.push("i", np.array(sent))
        while len(levels) < (300 + 2) * divisor:
            levels.append(sim["tx"])
            sim.tick()
        assert sim["i__ready"]
    expected = [1, *(level for b in sent for level in np.repeat(line_levels(b), divisor))]
    start = levels.index(0)
    assert levels[start : start + 300 * divisor] == expected[1:], "back to back, exactly timed"
    assert set(levels[start + 300 * divisor :]) == {1}


class Host:
    """The far end of the line."""

    def __init__(self, sim, divisor):
        self.sim, self.divisor = sim, divisor
        sim["rx"] = 1
        sim.tick(4 * divisor)

    def send(self, data):
        """With so few cycles a bit, no answer begins before the stop bit has ended."""
        for byte in data:
            for level in line_levels(byte):
                self.sim["rx"] = level
                self.sim.tick(self.divisor)

    def receive(self, count, timeout=400):
        found = bytearray()
        while len(found) < count:
            waited = 0
            while self.sim["tx"]:
                self.sim.tick()
                waited += 1
                if waited > timeout:
                    return bytes(found)
            byte = 0
            self.sim.tick(self.divisor // 2)
            for k in range(8):
                self.sim.tick(self.divisor)
                byte |= self.sim["tx"] << k
            self.sim.tick(self.divisor)
            assert self.sim["tx"], "stop bit"
            found.append(byte)
        return bytes(found)

    def write(self, address, words, step=STEP):
        head = bytes([WRITE | step, len(words) - 1]) + address.to_bytes(4, "little")
        self.send(head + np.array(words, dtype="<u4").tobytes())
        (status,) = self.receive(1)
        return status

    def read(self, address, count=1, step=STEP):
        self.send(bytes([step, count - 1]) + address.to_bytes(4, "little"))
        answer = self.receive(4 * count + 1)
        assert len(answer) == 4 * count + 1
        return list(np.frombuffer(answer[:-1], dtype="<u4")), answer[-1]


DIVISOR = 4


@pytest.fixture
def adder(accumulator):
    inner = accumulator()
    table = register_table("adder", ports(inner), accumulator.TEXTS)
    with Session(UartWrapper(inner, table, Line(DIVISOR, timeout=500), depth=40)) as sim:
        yield table, sim, Host(sim, DIVISOR)


def beat_of(value, last):
    return value & 0x7FF | last << 11


def test_registers_over_the_line(adder):
    table, _, host = adder
    known = [table[name].init for name in ("id", "version", "identity")]
    assert host.read(0, 4) == ([*known, 0], 0)
    assert host.read(0, 3, step=0) == ([known[0]] * 3, 0)
    start = table["start"].offset
    assert host.write(start, [0x12345678, 0x9]) == 0
    assert host.read(start, 2) == ([0x12345678, 0x9], 0)
    assert host.read(start + 2)[0] == [0x12345678], "the low two bits of an address"
    assert host.write(table["threshold"].offset, [1, 2, 3], step=0) == 0
    assert host.read(table["threshold"].offset) == ([3], 0)


def test_streams_over_the_line(adder):
    table, _, host = adder
    host.write(table["start"].offset, [0, 0])
    values = list(range(1, 30))
    words = [beat_of(value, value % 3 == 0) for value in values]
    assert host.write(0x1000, words, step=0) == 0
    assert host.read(0x1014) == ([18], 0)  # 9 sums of 2 words
    found, status = host.read(0x1010, 18, step=0)
    assert status == 0
    assert found[::2] == [sum(values[k : k + 3]) for k in range(0, 27, 3)]
    assert not any(found[1::2])


def test_refusals(adder):
    table, _, host = adder
    last = table.bytes - 4
    assert host.write(table["id"].offset, [1]) == 1
    assert host.write(last, [1, 1]) == 1
    words, status = host.read(last, 2)
    assert (words[1], status) == (0, 1)
    for address in (0x1FF0, 0x2000, 0x2000_0000, 0xFFFF_FFFC, 1 << 13 | table["id"].offset):
        assert host.read(address) == ([0], 1), "no address is taken for a lower one"
    assert host.read(0x1FFC, 2) == ([0, 0], 1), "nor does stepping come round"
    assert host.read(0xFFFF_FFFC, 2) == ([0, 0], 1)
    assert host.read(0x1010) == ([0], 1)
    assert host.write(0x1010, [1]) == 1
    assert host.read(0) == ([table["id"].init], 0), "the next frame starts afresh"


def test_too_many_words_are_refused_not_lost(adder):
    table, _, host = adder
    host.write(table["start"].offset, [0, 0])
    accepted = 0
    while host.write(0x1000, [beat_of(1, 1)], step=0) == 0:
        accepted += 1
    assert accepted >= 40 + 40 // 2, "both queues"
    assert host.read(0x1004) == ([0], 0)
    sums = []
    while waiting := host.read(0x1014)[0][0]:
        sums += host.read(0x1010, waiting, step=0)[0]
    assert sums == [1, 0] * accepted
    assert host.read(table["beats"].offset) == ([accepted], 0)


def test_reset_over_the_line(adder):
    table, _, host = adder
    host.write(table["start"].offset, [5, 0])
    host.write(0x1000, [beat_of(9, 1), beat_of(9, 0)], step=0)
    assert host.read(0x1014)[0] == [2]
    assert host.write(table["reset"].offset, [1]) == 0
    assert host.read(0x1014)[0] == [0]
    host.write(0x1000, [beat_of(9, 1)], step=0)
    assert host.read(0x1010, 2, step=0) == ([14, 0], 0)


def test_frames_that_break_off_are_forgotten(adder):
    table, sim, host = adder
    whole = bytes([WRITE | STEP, 1]) + bytes([table["start"].offset, 0, 0, 0]) + bytes(range(1, 9))
    for length in range(1, len(whole)):
        host.send(whole[:length])
        sim.tick(2 * DIVISOR)
        assert sim["active"]
        sim.tick(600)
        assert not sim["active"]
        assert host.receive(1) == b""
        assert host.read(0) == ([table["id"].init], 0)
    host.send(whole[:-1])
    sim.tick(400)
    host.send(whole[-1:])
    assert host.receive(1) == b"\0", "a pause shorter than the limit is nothing"


def test_bytes_that_begin_no_frame(adder):
    table, _, host = adder
    host.send([0xFF, 0x01, 0x20, 0xBF])
    assert host.read(0) == ([table["id"].init], 0)


def test_writes_one_behind_the_other(adder):
    """Their answers come while the next one is sent."""
    table, sim, host = adder
    offset = table["threshold"].offset
    frames = [
        bytes([WRITE, 0]) + at.to_bytes(4, "little") + k.to_bytes(4, "little")
        for k, at in enumerate([offset, offset, 0x1F00, offset])
    ]
    answer = []
    sent = [level for frame in frames for byte in frame for level in line_levels(byte)]
    for level in [*sent, *[1] * 20]:
        sim["rx"] = level
        for _ in range(DIVISOR):
            sim.tick()
            answer.append(sim["tx"])
    good, bad = ([*np.repeat(line_levels(status), DIVISOR)] for status in (0, 1))
    starts = [answer.index(0) + 100 * DIVISOR * k for k in range(4)]
    assert [answer[k : k + 10 * DIVISOR] for k in starts] == [good, good, bad, good]
    assert host.read(offset) == ([3], 0)


def words_of(port, data):
    packed = beats.pack(port.shape, data)
    return packed.astype("<u4").reshape(-1).tolist()


def test_an_engine_over_the_line():
    """A whole workload, every beat of every stream, bit for bit."""
    found = engine("sparse_lstm")
    config = found.config.preset("small", hidden_size=8)
    workload = found.workloads["random"].build(config, 3, 0)
    component = found.component(workload.config)
    known = ports(component)
    table = register_table(found.name, known, found.registers)
    top = UartWrapper(component, table, Line(DIVISOR), depth=64)
    with Session(top) as sim:
        host = Host(sim, DIVISOR)
        for name, value in workload.registers.items():
            assert host.write(table[name].offset, [value & 0xFFFFFFFF]) == 0
        todo = {n: words_of(p, workload.inputs[n]) for n, p in known.inputs.items()}
        got = {name: [] for name in known.outputs}
        wanted = {n: words_of(p, workload.outputs[n]) for n, p in known.outputs.items()}
        for _ in range(1000):
            for name, window in top.windows.items():
                level = host.read(window.offset + 4)[0][0]
                if name in todo and (some := todo[name][: min(level, 256)]):
                    assert host.write(window.offset, some, step=0) == 0
                    del todo[name][: len(some)]
                elif name in got and level:
                    words, status = host.read(window.offset, min(level, 256), step=0)
                    assert status == 0
                    got[name] += words
            if all(len(got[name]) >= len(wanted[name]) for name in wanted):
                break
        assert got == wanted
        for name, value in workload.counters.items():
            if table[name].words == 1:
                assert host.read(table[name].offset)[0] == [value], name
