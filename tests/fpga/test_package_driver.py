"""The driver that packages ship: against simulated engines, and its parts alone."""

import ast
import json
import os
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.lib import data
from thresher.fpga.package import DRIVERS, driver
from thresher.hdl.engine import ENGINES, WorkloadSource, engine
from thresher.hdl.generate import describe_top, generate, layout
from thresher.hdl.lib.uart import Line
from thresher.sim import beats
from thresher.sim.transport import Axi, Serial


def small(name):
    kind = engine(name).config
    return kind.preset("small" if "small" in kind.presets else "default")


def workload(name, which=None, samples=2):
    """An engine's workload, by default the first; ``any``: the first that takes any shape."""
    known = engine(name).workloads
    if which == "any":
        which = next(w for w in known if known[w].configure is WorkloadSource.configure)
    source = known[which or next(iter(known))]
    return source.build(source.configure(small(name)), samples, 0)


def hold(device, task):
    """Runs ``task``, leaves the engine half way through it, resets and runs it again."""
    run(device, task)
    device.reset()
    with suppress(TimeoutError):  # with nothing received, the engine may well stop
        device.run(task.inputs, {}, timeout=0)
    device.reset()
    assert all(device.registers[counter] == 0 for counter in task.counters)
    run(device, task)


def run(device, task):
    """Runs ``task`` and holds it against its golden model, outputs and counters."""
    for register, value in task.registers.items():
        setattr(device.registers, register, value)
    found = device.run(task.inputs, {n: beats.count(b) for n, b in task.outputs.items()})
    assert_equal(found, task.outputs)
    assert {n: device.registers[n] for n in task.counters} == dict(task.counters)


def assert_equal(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_equal(found[name], expected[name])
    else:
        np.testing.assert_array_equal(found, expected)


WAYS = ("axi", "memory", "serial")


def in_turn(way):
    """Every engine; by default each over one way, in turn: they are the same for all."""
    return [
        pytest.param(name, marks=[] if WAYS[n % len(WAYS)] == way else pytest.mark.slow)
        for n, name in enumerate(ENGINES)
    ]


@pytest.mark.parametrize("name", in_turn("axi"))
@pytest.mark.parametrize(
    ("bus", "which"),
    # AXI4-Lite alone is what the engines in memory are behind, too.
    [
        ("axi", None),
        *(pytest.param("lite", which, marks=pytest.mark.slow) for which in ("any", None)),
    ],
)
def test_engine(name, bus, which, tmp_path):
    """Every engine's own data over each bus; again after a reset in the middle of it."""
    task = workload(name, which)
    generate(engine(name), task.config, tmp_path, bus)
    with Axi(describe_top(engine(name), task.config, bus).component) as simulated:
        hold(driver.Engine(tmp_path / f"{name}.json", simulated), task)


@pytest.mark.parametrize("name", in_turn("memory"))
def test_engine_in_memory(name):
    task = workload(name, "any")
    top = describe_top(engine(name), task.config, "lite")
    with Axi(top.component) as simulated:
        hold(driver.Engine(top.description, Mapped(simulated)), task)


@pytest.mark.parametrize("name", in_turn("serial"))
def test_engine_on_a_serial_line(name):
    task = workload(name, "any")
    top = describe_top(engine(name), task.config, "uart", line=Line(4))
    with Serial(top.component, 4) as line:
        hold(driver.Engine(top.description, driver.Uart(line)), task)


class Mapped(driver.MemoryMapped):
    """The bus of a simulated engine in place of the mapped memory."""

    def __init__(self, bus):
        self._words, self._bus = self, bus

    def __getitem__(self, index):
        return self._bus.read(4 * index)[0]

    def __setitem__(self, index, word):
        self._bus.write(4 * index, [word])


@pytest.mark.parametrize("seed", range(20))
def test_beats_as_the_simulator_packs_them(seed):
    rng = np.random.default_rng(seed)
    shape = random_shape(rng)
    words = rng.integers(0, 1 << 32, (7, max(-(-beats.width(shape) // 32), 1)), dtype=np.uint32)
    bits = beats.width(shape)
    if bits % 32 or not bits:
        words[:, -1] &= (1 << bits % 32) - 1
    expected = beats.unpack(shape, words[:, : -(-bits // 32)])
    found = driver.unpack(layout(shape), words)
    assert_equal(found, expected)
    if seed % 2:  # bits above the payload are no part of it
        assert_equal(driver.unpack(layout(shape), np.c_[words, words]), expected)
    np.testing.assert_array_equal(driver.pack(layout(shape), expected), pack(shape, expected))


def pack(shape, values):
    """As :func:`beats.pack`, but at least one word a beat."""
    words = beats.pack(shape, values)
    return words if words.shape[1] else np.zeros((len(words), 1), dtype=np.uint32)


def random_shape(rng, depth=0):
    kind = rng.integers(0, 4 if depth < 3 else 2)
    width = int(rng.choice([0, 1, 3, 8, 16, 31, 32, 33, 63, 64, 65, 130]))
    if kind == 0:
        return unsigned(width)
    if kind == 1:
        return signed(max(width, 1))
    if kind == 2:
        return data.ArrayLayout(random_shape(rng, depth + 1), int(rng.integers(1, 4)))
    fields = {f"f{k}": random_shape(rng, depth + 1) for k in range(rng.integers(1, 4))}
    return data.StructLayout(fields)


NUMBERS = layout(data.StructLayout({"a": signed(4), "b": data.ArrayLayout(3, 2)}))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"a": [8], "b": [[1, 2]]}, ValueError, r"a holds -8\.\.7, not 8"),
        ({"a": [0], "b": [[1, -1]]}, ValueError, r"b holds 0\.\.7, not -1"),
        ({"a": [0], "b": [[1, 2, 3]]}, ValueError, r"b has shape \(1, 3\), not \(1, 2\)"),
        ({"a": [0, 1], "b": [[1, 2]]}, ValueError, r"b has shape \(1, 2\), not \(2, 2\)"),
        ({"a": [0.5], "b": [[1, 2]]}, ValueError, "a has dtype float64"),
        ({"a": [0]}, KeyError, "field 'b' is missing; given: a"),
        ([1], ValueError, "a struct takes a dictionary of arrays, 'a' among them"),
    ],
)
def test_beats_that_do_not_fit(values, error, message):
    with pytest.raises(error, match=message):
        driver.pack(NUMBERS, values)


def test_no_beats():
    assert driver.pack(NUMBERS, []).shape == (0, 1)
    assert driver.unpack(NUMBERS, np.zeros((0, 1), dtype=np.uint32))["b"].shape == (0, 2)


class Words:
    """An address map that only remembers; ``log`` has every access."""

    def __init__(self, values=()):
        self.words, self.log = dict(values), []

    def read(self, address, count=1, increment=True):
        self.log.append(("read", address, count, increment))
        return np.array([self.words.get(address + 4 * k * increment, 0) for k in range(count)])

    def write(self, address, words, increment=True):
        self.log.append(("write", address, list(words), increment))
        self.words.update({address + 4 * k * increment: int(w) for k, w in enumerate(words)})


def row(name, offset, bits, access="rw", signed=False, init=0):
    return {
        "name": name, "offset": offset, "words": -(-bits // 32), "access": access, "bits": bits,
        "signed": signed, "init": init, "text": "",
    }  # fmt: skip


ROWS = [
    row("id", 0, 32, "ro", init=0x53524854),
    row("version", 4, 32, "ro", init=0x100),
    row("identity", 8, 32, "ro", init=0x12345678),
    row("reset", 12, 1, "wo"),
    row("gain", 16, 11, signed=True),
    row("start", 20, 45, signed=True),
    row("count", 28, 72, "ro"),
]
DESCRIPTION = {
    "name": "toy",
    "registers": {"map": ROWS},
    "streams": [
        {
            "name": name,
            "direction": direction,
            "layout": {"bits": 40, "signed": False},
            "mailbox": {"offset": offset, "words": 2, "depth_words": 8},
        }
        for name, direction, offset in (("x", "in", 0x1000), ("y", "out", 0x1010))
    ],
}


def device():
    words = Words({r["offset"]: r["init"] for r in ROWS})
    made = driver.Engine(DESCRIPTION, words)
    words.log.clear()
    return made, words


def test_registers():
    toy, words = device()
    toy.registers.gain = -3
    assert words.words[16] == 0xFFFFFFFD
    assert toy.registers.gain == -3
    toy.registers["start"] = -(1 << 40)
    assert words.log[-1] == ("write", 20, [0, 0xFFFFFF00], True), "lowest word first"
    assert toy.registers["start"] == -(1 << 40)
    words.words.update({28: 1, 32: 2, 36: 0xFF03})
    assert toy.registers.count == 1 | 2 << 32 | 3 << 64
    assert words.log[-1] == ("read", 28, 3, True)
    assert [*toy.registers] == [r["name"] for r in ROWS]
    assert "gain" in dir(toy.registers)
    toy.reset()
    assert words.log[-1] == ("write", 12, [1], True)


def test_registers_refuse():
    toy, words = device()
    with pytest.raises(ValueError, match=r"register gain = 1024 is outside -1024\.\.1023"):
        toy.registers.gain = 1024
    with pytest.raises(AttributeError, match="register count can only be read"):
        toy.registers.count = 1
    with pytest.raises(AttributeError, match="register reset can only be written"):
        toy.registers.reset  # noqa: B018
    with pytest.raises(AttributeError, match="no register 'gian'; did you mean gain"):
        toy.registers.gian = 1
    with pytest.raises(AttributeError, match="no register 'nothing'; known: id, version"):
        toy.registers.nothing  # noqa: B018
    with pytest.raises(KeyError, match="did you mean start"):
        toy.registers["stort"]
    assert words.log == []


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (0, "register id is 0x0, not 0x53524854: no engine of thresher answers there"),
        (4, "register version is 0x0, not 0x100: it was made by another version"),
        (8, "register identity is 0x0, not 0x12345678: it is another engine or config.* than toy"),
    ],
)
def test_the_wrong_device_is_refused(offset, message):
    words = Words({r["offset"]: r["init"] for r in ROWS if r["offset"] != offset})
    with pytest.raises(ValueError, match=message):
        driver.Engine(DESCRIPTION, words)


def test_streams_need_what_carries_them():
    description = json.loads(json.dumps(DESCRIPTION))
    for stream in description["streams"]:
        del stream["mailbox"]
    with pytest.raises(ValueError, match="Words carries registers alone; use the lite variant"):
        driver.Engine(description, Words())
    with pytest.raises(ValueError, match="toy has no bus"):
        driver.Engine({**DESCRIPTION, "registers": {"signals": []}}, Words())


class Echo(Words):
    """A mailbox of four beats whose output is its input, plus one; fussy about levels."""

    def __init__(self):
        super().__init__({r["offset"]: r["init"] for r in ROWS})
        self.held = []

    def read(self, address, count=1, increment=True):
        if address == 0x1004:
            return np.array([8 - len(self.held)])
        if address == 0x1014:
            return np.array([len(self.held)])
        if address == 0x1010:
            assert not increment
            assert count <= len(self.held)
            taken, self.held = self.held[:count], self.held[count:]
            return np.array(taken, dtype=np.uint32)
        return super().read(address, count, increment)

    def write(self, address, words, increment=True):
        if address == 0x1000:
            assert not increment
            assert len(self.held) + len(words) <= 8
            self.held += [int(word) + (k % 2 == 0) for k, word in enumerate(words)]
        else:
            super().write(address, words, increment)


def test_mailboxes_in_turns():
    toy = driver.Engine(DESCRIPTION, Echo())
    x = np.arange(100) << 30
    np.testing.assert_array_equal(toy.run({"x": x}, {"y": 100})["y"], x + 1)
    toy.send("x", x[:4])
    np.testing.assert_array_equal(toy.receive("y", 4), x[:4] + 1)


def test_nothing_moves():
    toy = driver.Engine(DESCRIPTION, Echo())
    with pytest.raises(TimeoutError, match=r"no beat moved in 0\.01 s: x has 6 beats to send"):
        toy.send("x", np.arange(10), timeout=0.01)
    toy.receive("y", 4)
    with pytest.raises(TimeoutError, match="y lacks 1 beats"):
        toy.receive("y", 1, timeout=0.01)
    with pytest.raises(KeyError, match="no input stream 'y'; known: x"):
        toy.send("y", [1])
    with pytest.raises(KeyError, match="no output stream 'x'"):
        toy.receive("x", 1)


def test_memory_mapped(tmp_path):
    file = tmp_path / "device"
    before = bytes(range(256)) * 64
    file.write_bytes(before)
    memory = driver.MemoryMapped(file, base=0x1010, size=0x1000)
    assert list(memory.read(4, 2)) == [0x17161514, 0x1B1A1918]
    assert list(memory.read(4, 2, increment=False)) == [0x17161514] * 2
    memory.write(8, [0xFFFFFFFF, 1])
    memory.write(0, [1, 2, 3], increment=False)
    content = file.read_bytes()
    assert content[0x1010:0x1020] == bytes.fromhex("03000000 14151617 ffffffff 01000000")
    assert content[:0x1010] + content[0x1020:] == before[:0x1010] + before[0x1020:]
    with pytest.raises(ValueError, match="base 0x2 is not a multiple of 4"):
        driver.MemoryMapped(file, base=2)
    with pytest.raises(OSError, match="none"):
        driver.MemoryMapped(tmp_path / "none")


class Wire:
    """The device's end of a serial line, at the level of frames; ``refuse`` addresses."""

    def __init__(self, refuse=()):
        self.words, self.answer, self.frames, self.refuse = {}, b"", [], refuse

    def write(self, frame):
        kind, size, address = frame[0], frame[1] + 1, int.from_bytes(frame[2:6], "little")
        self.frames.append((kind, size, address))
        addresses = [address + 4 * k * (kind >> 6 & 1) for k in range(size)]
        bad = any(a in self.refuse for a in addresses)
        if kind & 0x80:
            assert len(frame) == 6 + 4 * size
            for k, a in enumerate(addresses):
                self.words[a] = frame[6 + 4 * k : 10 + 4 * k]
        else:
            assert len(frame) == 6
            self.answer += b"".join(self.words.get(a, bytes(4)) for a in addresses)
        self.answer += bytes([bad])

    def read(self, size):
        taken, self.answer = self.answer[:size], self.answer[size:]
        return taken

    def reset_input_buffer(self):
        self.answer = b""


def test_uart_frames():
    line = Wire()
    uart = driver.Uart(line)
    values = np.arange(600, dtype=np.uint32) << 20
    uart.write(0x1004, values)
    assert line.frames == [(0xC0, 256, 0x1004), (0xC0, 256, 0x1404), (0xC0, 88, 0x1804)]
    np.testing.assert_array_equal(uart.read(0x1004, 600), values)
    assert line.frames[3:] == [(0x40, 256, 0x1004), (0x40, 256, 0x1404), (0x40, 88, 0x1804)]
    uart.write(0x2000, [1, 2, 3], increment=False)
    assert list(uart.read(0x2000, 2, increment=False)) == [3, 3]
    assert line.frames[6:] == [(0x80, 3, 0x2000), (0x00, 2, 0x2000)]


def test_uart_failures():
    uart = driver.Uart(Wire(refuse=[8]))
    with pytest.raises(OSError, match="read at 0x4 was refused"):
        uart.read(4, 2)
    with pytest.raises(OSError, match="write at 0x8 was refused"):
        uart.write(8, [1])
    uart.write(12, [7])
    assert list(uart.read(12)) == [7], "the next access is another one"

    class Deaf(Wire):
        def write(self, frame):
            super().write(frame)
            self.answer = self.answer[:3]

    with pytest.raises(TimeoutError, match="read at 0x0: 3 of 9 bytes came back; check the port"):
        driver.Uart(Deaf()).read(0, 2)


def test_what_comes_too_late_is_dropped():
    line = Wire()
    line.answer = b"late"
    uart = driver.Uart(line)
    uart.write(0, [5])
    assert list(uart.read(0)) == [5]


def test_uart_through_pyserial():
    """A pseudo-terminal with the device at its other end."""
    pytest.importorskip("serial", reason="pyserial is missing")
    pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")
    device, host = pty.openpty()
    wire = Wire()

    def answer():
        for size in (6 + 8, 6, 6):
            frame = b""
            while len(frame) < size:
                frame += os.read(device, size - len(frame))
            wire.write(frame)
            os.write(device, wire.read(1 << 10))

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    uart = driver.Uart(os.ttyname(host), 1_000_000)
    uart.write(0x10, [0x0D0A1103, 0xFFFFFFFF])
    assert list(uart.read(0x10, 2)) == [0x0D0A1103, 0xFFFFFFFF]
    assert list(uart.read(0x14)) == [0xFFFFFFFF]
    thread.join(10)
    uart._port.timeout = 0.01
    with pytest.raises(TimeoutError, match="read at 0x0: 0 of 5 bytes"):
        uart.read(0)
    uart._port.close()
    os.close(device)
    os.close(host)


@pytest.mark.parametrize("file", DRIVERS.values(), ids=DRIVERS)
def test_shipped_files_stand_alone(file):
    """Standard library, NumPy and, where a serial port is opened, pyserial; Python 3.8."""
    tree = ast.parse(file.read_text(), feature_version=(3, 8))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            modules.add(node.module.partition(".")[0])
    assert modules - sys.stdlib_module_names <= {"numpy", "serial"}
    assert "__future__" in modules, "annotations of later Pythons"
