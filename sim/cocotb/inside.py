"""The bench inside the simulator: drivers, monitors, scoreboard, and the clock loop.

cocotb imports this file by itself, outside its package, so that the simulator starts
without everything else that the package needs.  ``job.npz`` in the working folder says
what to do, ``result.npz`` what came of it; both are known to ``__init__.py`` alone.
"""

import json
import os
import time
from collections.abc import Callable
from itertools import cycle as repeat
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

_PROGRESS_CYCLES = 500


class Scoreboard:
    """Holds every output beat against the expected one; remembers the first that differs."""

    def __init__(self) -> None:
        self.failure = ""

    def check(self, port: str, beat: int, got: int, golden: list[int], cycle: int) -> None:
        """Beats beyond the golden ones are not judged here."""
        if beat < len(golden) and got != golden[beat] and not self.failure:
            self.failure = (
                f"output {port}: beat {beat}, at cycle {cycle}, "
                f"is {got:#x}; expected {golden[beat]:#x}"
            )


class Port:
    """One stream in one attempt.  ``room``: beats after which it ends the run."""

    def __init__(self, name: str, width: int, due: int, pattern: list[bool], room: int) -> None:
        self.name, self.width, self.due, self.pattern, self.room = name, width, due, pattern, room
        self.stamps: list[int] = []

    def drive(self, cycle: int) -> None:
        """Set the pins for ``cycle``."""

    def sample(self, cycle: int) -> bool:
        """Whether a transfer happened at the edge that ends ``cycle``."""
        raise NotImplementedError

    def stop(self) -> None:
        """Leave the pins quiet."""

    def open(self, cycle: int) -> bool:
        """What the stall pattern says."""
        return self.pattern[cycle % len(self.pattern)]


class Driver(Port):
    """Feeds an input stream; while it offers nothing, the payload is all ones."""

    def __init__(self, dut: Any, beats: list[int], *port: Any) -> None:
        super().__init__(*port)
        self.beats = beats
        self.payload = dut[f"{self.name}__payload"] if self.width else None
        self.valid, self.ready = dut[f"{self.name}__valid"], dut[f"{self.name}__ready"]
        self.offered = False
        self.stop()

    def drive(self, cycle: int) -> None:
        if self.offered:
            return
        if self.open(cycle) and len(self.stamps) < self.due:
            self._put(self.beats[len(self.stamps)])
            self.valid.value = 1
            self.offered = self.shown = True
        elif self.shown:
            self.stop()

    def sample(self, cycle: int) -> bool:
        if not self.offered or not int(self.ready.value):
            return False
        self.stamps.append(cycle)
        self.offered = False
        return True

    def stop(self) -> None:
        self.valid.value = 0
        self.shown = False
        self._put((1 << self.width) - 1)

    def _put(self, value: int) -> None:
        if self.payload is not None:
            self.payload.value = value


class Monitor(Port):
    """Takes from an output stream."""

    def __init__(self, dut: Any, golden: list[int], board: Scoreboard, *port: Any) -> None:
        super().__init__(*port)
        self.golden, self.board = golden, board
        self.beats: list[int] = []
        self.payload = dut[f"{self.name}__payload"] if self.width else None
        self.valid, self.ready = dut[f"{self.name}__valid"], dut[f"{self.name}__ready"]
        self.stop()

    def drive(self, cycle: int) -> None:
        if self.open(cycle) != self.asking:
            self.asking = not self.asking
            self.ready.value = int(self.asking)

    def sample(self, cycle: int) -> bool:
        if not self.asking or not int(self.valid.value):
            return False
        self.take(0 if self.payload is None else int(self.payload.value), cycle)
        return True

    def take(self, value: int, cycle: int) -> None:
        """Record a beat."""
        self.board.check(self.name, len(self.beats), value, self.golden, cycle)
        self.beats.append(value)
        self.stamps.append(cycle)

    def stop(self) -> None:
        self.ready.value = 0
        self.asking = False


class AxiDriver(Port):
    """Feeds an AXI4-Stream input from cocotbext-axi, packet by packet."""

    def __init__(self, source: Any, axis: dict[str, Any], beats: list[int], *port: Any) -> None:
        super().__init__(*port)
        self.source, self.beats, self.last = source, beats, axis["last"]
        self.bus, self.bytes = source.bus, axis["bytes"]

    def drive(self, cycle: int) -> None:
        if cycle == 0:
            self.source.set_pause_generator(repeat(not go for go in self.pattern))
            for packet in self._packets():
                self.source.send_nowait(packet)

    def sample(self, cycle: int) -> bool:
        if not (int(self.bus.tvalid.value) and int(self.bus.tready.value)):
            return False
        self.stamps.append(cycle)
        return True

    def stop(self) -> None:
        self.source.set_pause_generator(None)
        self.source.pause = False
        self.source.clear()

    def _packets(self) -> list[bytes]:
        packets = [bytearray()]
        for value in self.beats:
            if self.last is None:
                body, last = value, 0
            else:
                low = value & ((1 << self.last) - 1)
                body = low | value >> (self.last + 1) << self.last
                last = value >> self.last & 1
            packets[-1] += body.to_bytes(self.bytes, "little")
            if last:
                packets.append(bytearray())
        return [bytes(packet) for packet in packets if packet]


class AxiMonitor(Monitor):
    """Takes from an AXI4-Stream output with cocotbext-axi, and watches the pins as well."""

    def __init__(
        self, sink: Any, axis: dict[str, Any], golden: list[int], board: Scoreboard, *port: Any
    ) -> None:
        Port.__init__(self, *port)
        self.sink, self.golden, self.board = sink, golden, board
        self.last, self.bytes, self.signed = axis["last"], axis["bytes"], axis["signed"]
        self.bus = sink.bus
        self.beats, self.raw = [], bytearray()
        self.stop()

    def drive(self, cycle: int) -> None:
        if cycle == 0:
            self.sink.set_pause_generator(repeat(not go for go in self.pattern))

    def sample(self, cycle: int) -> bool:
        if not (int(self.bus.tvalid.value) and int(self.bus.tready.value)):
            return False
        raw = int(self.bus.tdata.value)
        self.raw += raw.to_bytes(self.bytes, "little")
        bits = self.width - (self.last is not None)
        body = raw & ((1 << bits) - 1)
        extension = -1 if self.signed and body >> (bits - 1) else 0
        if raw >> bits != (extension << bits & (1 << 8 * self.bytes) - 1) >> bits:
            self.board.failure = self.board.failure or (
                f"output {self.name}: beat {len(self.beats)} is badly extended: {raw:#x}"
            )
        if self.last is not None:
            low = body & ((1 << self.last) - 1)
            last = int(self.bus.tlast.value)
            body = low | last << self.last | body >> self.last << (self.last + 1)
        self.take(body, cycle)
        return True

    def stop(self) -> None:
        self.sink.set_pause_generator(None)
        self.sink.pause = True
        self.sink.clear()

    def compare(self) -> None:
        """Complains where cocotbext-axi saw other packets than stood on the pins."""
        packets = b"".join(bytes(self.sink.recv_nowait().tdata) for _ in range(self.sink.count()))
        if not self.raw.startswith(packets) or (self.last is None and packets != self.raw):
            self.board.failure = self.board.failure or f"output {self.name}: packets differ"


class Bench:
    """Clock, reset, and a component's bare streams and registers."""

    def __init__(self, dut: Any, task: dict[str, Any], arrays: dict[str, Any]) -> None:
        self.dut, self.task, self.arrays = dut, task, arrays
        self.edge = RisingEdge(dut.clk)
        self.board = Scoreboard()
        self.progress = _progress()
        self.cycle = 0

    async def prepare(self) -> None:
        """Before the first reset."""
        for name, value in self.task["controls"].items():
            self.dut[name].value = value

    def connect(self) -> list[Port]:
        """Fresh drivers and monitors for an attempt."""
        return [self.make(stream) for stream in self.task["streams"]]

    def make(self, stream: dict[str, Any]) -> Port:
        """The driver or monitor of one stream."""
        if stream["direction"] == "in":
            return Driver(self.dut, self.words(stream, "in"), *self.common(stream))
        return Monitor(self.dut, self.words(stream, "golden"), self.board, *self.common(stream))

    async def configure(self) -> None:
        """After reset, before cycle 0."""

    async def statuses(self, ports: list[Port]) -> dict[str, int]:
        """Bits of the status registers, at the end."""
        await FallingEdge(self.dut.clk)
        return {name: int(self.dut[name].value) for name in self.task["statuses"]}

    def words(self, stream: dict[str, Any], kind: str) -> list[int]:
        """Beats of a port, as numbers."""
        rows = self.arrays.get(f"{kind}:{stream['name']}", ())
        return [int.from_bytes(row.tobytes(), "little") for row in rows]

    def common(self, stream: dict[str, Any]) -> tuple[str, int, int, list[bool], int]:
        """The arguments of every :class:`Port`."""
        surplus = self.task["surplus"] if stream["direction"] == "out" else 1
        pattern = self.arrays[f"stall:{stream['name']}"].tolist()
        return stream["name"], stream["width"], stream["due"], pattern, stream["due"] + surplus

    async def attempt(self, limit: int | None) -> tuple[str, list[Port]]:
        """Reset and run to the end, or for ``limit`` cycles; why it ended, and the ports."""
        self.dut.rst.value = 1
        ports = self.connect()
        for _ in range(self.task["reset_cycles"]):
            await self.edge
        self.dut.rst.value = 0
        await self.configure()
        self.cycle = idle = drained = 0
        pending = sum(port.due > 0 for port in ports)
        ending = "limit"
        while limit is None or self.cycle < limit:
            for port in ports:
                port.drive(self.cycle)
            await self.edge
            moved = full = False
            for port in ports:
                if port.sample(self.cycle):
                    moved = True
                    pending -= len(port.stamps) == port.due
                    full |= len(port.stamps) == port.room
            self.cycle += 1
            if self.cycle % _PROGRESS_CYCLES == 0:
                self.progress(self.cycle)
            idle = 0 if moved else idle + 1
            if full or self.board.failure:
                ending = "surplus"
            elif pending and idle >= self.task["timeout"]:
                ending = "hang"
            elif not pending and drained >= self.task["drain"]:
                ending = "complete"
            else:
                drained += not pending
                continue
            break
        return ending, ports

    async def run(self) -> None:
        """The whole job; writes the result."""
        Clock(self.dut.clk, 10, unit="ns").start()
        await self.prepare()
        began = time.perf_counter()
        if self.task["reset_at"] is not None:
            _, ports = await self.attempt(self.task["reset_at"])
            for port in ports:
                port.stop()
        ending, ports = await self.attempt(None)
        seconds = time.perf_counter() - began
        cycles = self.cycle
        self.progress(cycles)
        statuses = await self.statuses(ports)
        for port in ports:
            port.stop()
        arrays: dict[str, Any] = {}
        for port in ports:
            arrays[f"stamps:{port.name}"] = np.array(port.stamps, dtype=np.int64)
            if isinstance(port, Monitor):
                size = -(-port.width // 32)
                data = b"".join(beat.to_bytes(4 * size, "little") for beat in port.beats)
                words = np.frombuffer(data, dtype=np.uint32)
                arrays[f"out:{port.name}"] = words.reshape(len(port.beats), size)
        outcome = {
            "ending": ending,
            "cycles": cycles,
            "seconds": seconds,
            "statuses": statuses,
            "failure": self.board.failure,
        }
        np.savez("result.npz", outcome=json.dumps(outcome), **arrays)


class AxiBench(Bench):
    """The same through the AXI wrapper: registers by AXI4-Lite, data by AXI4-Stream."""

    async def prepare(self) -> None:
        from cocotbext.axi import (
            AxiLiteBus,
            AxiLiteMaster,
            AxiStreamBus,
            AxiStreamSink,
            AxiStreamSource,
        )

        dut = self.dut
        self.agents = {
            stream["name"]: (AxiStreamSource if stream["direction"] == "in" else AxiStreamSink)(
                AxiStreamBus.from_prefix(dut, stream["prefix"]), dut.clk, dut.rst
            )
            for stream in self.task["streams"]
        }
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)

    def make(self, stream: dict[str, Any]) -> Port:
        agent = self.agents[stream["name"]]
        if stream["direction"] == "in":
            return AxiDriver(agent, stream, self.words(stream, "in"), *self.common(stream))
        golden = self.words(stream, "golden")
        return AxiMonitor(agent, stream, golden, self.board, *self.common(stream))

    async def configure(self) -> None:
        for register in self.task["map"]:
            if register["access"] == "rw":
                value = self.task["controls"][register["name"]]
                data = value.to_bytes(4 * register["words"], "little")
                answer = await self.lite.write(register["offset"], data)
                got = await self.read(register)
                if answer.resp or got != value:
                    self.complain(register, f"is {got:#x} after {value:#x} was written")
            elif register["name"] in ("id", "version", "identity"):
                got = await self.read(register)
                if got != register["init"]:
                    self.complain(register, f"is {got:#x}")

    async def statuses(self, ports: list[Port]) -> dict[str, int]:
        for port in ports:
            if isinstance(port, AxiMonitor):
                port.compare()
        return {
            register["name"]: await self.read(register)
            for register in self.task["map"]
            if register["name"] in self.task["statuses"]
        }

    async def read(self, register: dict[str, Any]) -> int:
        """The bits of a register."""
        answer = await self.lite.read(register["offset"], 4 * register["words"])
        if answer.resp:
            self.complain(register, f"answers a read with {answer.resp!r}")
        return int.from_bytes(answer.data, "little") & ((1 << register["bits"]) - 1)

    def complain(self, register: dict[str, Any], words: str) -> None:
        """Remember that a register is wrong."""
        self.board.failure = self.board.failure or f"register {register['name']} {words}"


def _progress() -> Callable[[int], None]:
    pipe = int(os.environ["THRESHER_PROGRESS"])
    return lambda cycles: (os.write(pipe, f"{cycles}\n".encode()), None)[1]


@cocotb.test()
async def bench(dut: Any) -> None:
    """Do the job in the working folder."""
    with np.load(Path("job.npz")) as file:
        arrays = dict(file)
    task = json.loads(str(arrays.pop("task")))
    await (AxiBench if task["map"] else Bench)(dut, task, arrays).run()
