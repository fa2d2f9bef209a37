"""Streams as words: order, width, level, refusals and reset, against a plain model."""

from collections import deque
from random import Random

import numpy as np
import pytest
from amaranth.hdl import Shape, signed
from thresher.hdl.lib.mailbox import Mailbox, MemoryMap, windows
from thresher.hdl.registers import register_table
from thresher.hdl.verilog import Ports, StreamPort, ports
from thresher.sim.interactive import Session

BITS = 12
SHAPES = {
    "flag": ("in", 1),
    "word": ("in", 32),
    "wide": ("in", 70),
    "small": ("out", signed(5)),
    "long": ("out", signed(45)),
    "plain": ("out", 7),
}


def described(shapes=SHAPES):
    streams = {
        name: StreamPort(name, direction, shape, Shape.cast(shape).width)
        for name, (direction, shape) in shapes.items()
    }
    return Ports(streams, {})


class Bus:
    """One access a cycle to the bus of a simulated component."""

    def __init__(self, sim):
        self.sim = sim

    def write(self, address, value, strobe=15):
        sim = self.sim
        sim["bus__write_address"], sim["bus__write_data"] = address >> 2, value & 0xFFFFFFFF
        sim["bus__write_strobe"], sim["bus__write"] = strobe, 1
        ok = sim["bus__write_ok"]
        sim.tick()
        sim["bus__write"] = 0
        return bool(ok)

    def read(self, address):
        sim = self.sim
        sim["bus__read_address"], sim["bus__read"] = address >> 2, 1
        found = sim["bus__read_data"], bool(sim["bus__read_ok"])
        sim.tick()
        sim["bus__read"] = 0
        return found


def test_address_map():
    found = windows(described(), BITS, depth=2)
    assert [w.offset for w in found.values()] == [0x1000 + 16 * k for k in range(6)]
    assert [w.words for w in found.values()] == [1, 1, 3, 1, 2, 1]
    assert [w.depth for w in found.values()] == [2, 2, 3, 2, 2, 2], "at least one beat"
    assert found["wide"].json() == {"offset": 0x1020, "words": 3, "depth_words": 3}


def test_bad_maps():
    with pytest.raises(ValueError, match="depth = 1 words; a stream's queue holds at least 2"):
        windows(described(), BITS, depth=1)
    many = described({f"s{k}": ("in", 1) for k in range(257)})
    with pytest.raises(ValueError, match=r"257 streams, .* windows for 256"):
        windows(many, BITS)


@pytest.mark.parametrize("depth", [2, 5, 40])
def test_every_word_arrives_once_and_in_order(depth):
    """Accesses, levels and refusals in lockstep with queues in Python, streams stalling."""
    random = Random(depth)
    box = windows(described(), BITS, depth)
    sent = {name: deque() for name in SHAPES}  # words on their way
    counts = dict.fromkeys(SHAPES, 0)
    refused = 0
    with Session(Mailbox(box, BITS)) as sim:
        bus = Bus(sim)
        offered = set()
        for step in range(3000):
            phase = (step // 500) % 3  # now one side is slow, now the other
            often = (0.98, 0.02, 0.5)[phase]
            for name, (direction, shape) in SHAPES.items():
                if direction == "in":
                    sim[f"streams__{name}__ready"] = random.random() < 1 - often
                elif name not in offered and random.random() < often:
                    value = random.getrandbits(box[name].stream.width)
                    if Shape.cast(shape).signed:
                        value -= value >> (box[name].stream.width - 1) << box[name].stream.width
                    offered.add(name)
                    sim[f"streams__{name}__payload"], sim[f"streams__{name}__valid"] = value, 1
            name = random.choice(list(SHAPES))
            window, incoming = box[name], SHAPES[name][0] == "in"
            sim["bus__read_address"] = (window.offset - 0x1000 + 4) >> 2
            level = sim["bus__read_data"]
            assert sim["bus__read_ok"]
            assert level <= window.depth
            # What passes on the streams in the cycle of the access.
            passed = {
                n: sim[f"streams__{n}__payload"]
                for n, (d, _) in SHAPES.items()
                if sim[f"streams__{n}__valid"] and sim[f"streams__{n}__ready"]
            }
            if incoming:
                value = random.getrandbits(32)
                ok = bus.write(window.offset - 0x1000, value)
                assert ok == (level > 0), f"{name} at {step}"
                if ok:
                    sent[name].append(value)
                    counts[name] += 1
            else:
                value, ok = bus.read(window.offset - 0x1000)
                # A word that came in the last cycle counts, and can be read from the next on.
                assert ok <= (level > 0)
                if ok:
                    assert value == sent[name].popleft(), f"{name} at {step}"
                    counts[name] += 1
                else:
                    assert value == 0
            refused += not ok
            for n, payload in passed.items():
                window = box[n]
                if SHAPES[n][0] == "in":
                    words = [sent[n].popleft() for _ in range(window.words)]
                    whole = sum(word << 32 * k for k, word in enumerate(words))
                    assert payload == whole & ((1 << window.stream.width) - 1), f"{n} at {step}"
                else:
                    sent[n] += [payload >> 32 * k & 0xFFFFFFFF for k in range(window.words)]
                    offered.remove(n)
                    sim[f"streams__{n}__valid"] = 0
    assert min(counts.values()) > 100
    assert refused > 50


@pytest.mark.parametrize("depth", [3, 64])
def test_what_level_promises_holds(depth):
    """As many accesses as LEVEL says succeed from the next cycle on, one a cycle."""
    random = Random(depth)
    box = windows(described(), BITS, depth)
    with Session(Mailbox(box, BITS)) as sim:
        bus = Bus(sim)
        for _ in range(50):
            name = random.choice(list(SHAPES))
            window, incoming = box[name], SHAPES[name][0] == "in"
            if incoming:
                sim[f"streams__{name}__ready"] = random.getrandbits(1)
            else:
                sim[f"streams__{name}__valid"] = 1
                sim.tick(random.randrange(70))
                sim[f"streams__{name}__valid"] = random.getrandbits(1)
            level, _ = bus.read(window.offset - 0x1000 + 4)
            for _ in range(level):
                at = window.offset - 0x1000
                assert bus.write(at, 0) if incoming else bus.read(at)[1], name
            if not incoming:
                sim[f"streams__{name}__valid"] = 0


def test_refusals():
    box = windows(described(), BITS)
    with Session(Mailbox(box, BITS)) as sim:
        bus = Bus(sim)
        word, small = (box[name].offset - 0x1000 for name in ("word", "small"))
        assert not bus.write(small, 1), "an output"
        assert bus.read(word) == (0, False), "an input"
        for at in (word, small):
            assert not bus.write(at + 4, 1), "LEVEL"
            assert not bus.write(at + 8, 1)
            assert not bus.write(at + 12, 1)
            assert bus.read(at + 8) == bus.read(at + 12) == (0, False)
        assert bus.read(16 * len(box)) == (0, False)
        assert bus.read(small) == (0, False), "empty"
        assert not bus.write(word, 1, strobe=0b0111)
        assert bus.read(word + 4) == (512, True), "nothing of all that left a trace"


@pytest.fixture
def adder(accumulator):
    inner = accumulator()
    table = register_table("adder", ports(inner), accumulator.TEXTS)
    with Session(MemoryMap(inner, table, depth=40)) as sim:
        yield table, sim, Bus(sim)


def beat_of(value, tag, last):
    return value & 0x7FF | last << 11 | tag << 12


def sum_at(bus):
    (low, ok), (high, also) = bus.read(0x1010), bus.read(0x1010)
    assert ok
    assert also
    return np.array([low | high << 32], dtype=np.uint64).astype(np.int64)[0]


def test_an_engine_behind_one_bus(adder):
    table, sim, bus = adder
    assert bus.read(table["id"].offset) == (table["id"].init, True)
    assert bus.write(table["start"].offset, 7)
    assert bus.write(table["start"].offset + 4, 0)
    for value, last in ((5, 0), (-6, 0), (100, 0), (-3, 1)):
        assert bus.write(0x1000, beat_of(value, 2, last))
    sim.tick(10)
    assert bus.read(0x1014) == (2, True)
    assert sum_at(bus) == 7 + 5 + 100 - 3
    bus.write(table["start"].offset, 0)
    bus.write(table["start"].offset + 4, 0x1F00)
    bus.write(0x1000, beat_of(-1, 0, 1))
    sim.tick(10)
    assert sum_at(bus) == (0x1F00 << 32) - (1 << 45) - 1, "sign-extended"
    assert not bus.write(table.bytes, 1)
    assert bus.read(0x0FFC) == (0, False)
    assert bus.read(0x1FFC) == (0, False)


def test_reset_empties_everything(adder):
    table, sim, bus = adder
    bus.write(table["threshold"].offset, -1024)
    bus.write(table["start"].offset, 0)
    bus.write(table["start"].offset + 4, 0)
    for last in (1, 1, 0):
        bus.write(0x1000, beat_of(9, 3, last))
    sim.tick(10)
    assert bus.read(0x1014) == (4, True)
    assert bus.read(0x1010) == (9, True)  # half of the first sum
    for k in range(60):  # the results back up
        bus.write(0x1000, beat_of(k, 3, 1))
    assert bus.read(0x1004)[0] < 40
    assert bus.write(table["reset"].offset, 0), "writing 0 resets nothing"
    assert bus.read(0x1014)[0] > 2
    assert bus.write(table["reset"].offset, 1)
    for last in (0, 1):  # right behind it
        assert bus.write(0x1000, beat_of(20, 1, last))
    sim.tick(10)
    assert bus.read(0x1014) == (2, True)
    assert sum_at(bus) == 40
    assert bus.read(0x1004) == (40, True)
    assert bus.read(table["threshold"].offset) == (2**32 - 1024, True)
    assert bus.read(table["beats"].offset + 0)[0] == 2 * ((1 << 34) + 1) & 0xFFFFFFFF
