"""Drives an engine that thresher generated, from Python, over whatever connects to it.

This file stands alone: it needs NumPy, the ``.json`` that lies beside the Verilog, and
pyserial for a serial line.  Python 3.8 and later.

    from thresher_driver import Engine, MemoryMapped, Uart

    engine = Engine("NAME_lite.json", MemoryMapped("/dev/uio0"))
    engine = Engine("NAME_lite.json", MemoryMapped("/dev/mem", 0x4000_0000))
    engine = Engine("NAME_uart.json", Uart("/dev/ttyUSB1", 1_000_000))

    engine.reset()
    engine.registers.threshold = 3
    found = engine.run({"x": beats}, {"y": 100})
    print(found["y"], engine.registers.cycles)

On PYNQ the address is ``overlay.ip_dict["INSTANCE"]["phys_addr"]``.

*Beats* of a stream: an integer array whose first axis is the beat and whose further axes
follow the arrays in the stream's ``layout``; for a struct a dictionary from field name to
such an array (a struct inside an array keeps the array's axes in its fields).
"""

from __future__ import annotations

import json
import mmap
import os
import time
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

import numpy as np

_LEVEL = 4
"""Of a mailbox: offset of the words that may be written or read now; its data lie at 0."""


class Transport(Protocol):
    """Access to the 32-bit words behind byte addresses.

    ``increment``: the address grows by 4 a word; otherwise all words go to or come from
    the same address.  Raises :class:`OSError` (:class:`TimeoutError` is one) for what was
    refused or not answered, where the transport can tell.
    """

    def read(self, address: int, count: int = 1, increment: bool = True) -> np.ndarray:
        """``count`` words as ``uint32``."""
        ...

    def write(self, address: int, words: Any, increment: bool = True) -> None:
        """Stores ``words``."""
        ...


class StreamTransport(Transport, Protocol):
    """A transport that carries AXI4-Stream too.

    ``stream`` is the stream's entry in the description.  Rows of ``words`` are beats, low
    word first: ``tdata``, and right above it ``tlast`` where the stream has one.
    """

    def send(self, stream: Mapping[str, Any], words: np.ndarray) -> int:
        """Takes beats from the front, as many as go now; returns how many."""
        ...

    def receive(self, stream: Mapping[str, Any], count: int) -> np.ndarray:
        """The beats that are there now, at most ``count``."""
        ...

    def clear(self) -> None:
        """Drops beats that :meth:`send` took and the engine has not."""
        ...


class Engine:
    """An engine, as its description says, behind a transport.

    Raises :class:`ValueError` where the description is not one of an engine with a bus or
    the device is not the described one.
    """

    registers: Registers
    """Control and status registers, by name: ``engine.registers.NAME``."""

    def __init__(self, description: str | os.PathLike | Mapping[str, Any], transport: Transport):
        about: Any = description
        if not isinstance(description, Mapping):
            about = json.loads(Path(description).read_text(encoding="utf-8"))
        self.description: Mapping[str, Any] = about
        self.transport: Any = transport
        name = about["name"]
        if "map" not in about["registers"]:
            raise ValueError(f"{name} has no bus; generate it with --bus axi, lite or uart")
        rows = {row["name"]: row for row in about["registers"]["map"]}
        self.streams: dict[str, Mapping[str, Any]] = {s["name"]: s for s in about["streams"]}
        """The descriptions of all streams, by name."""
        direct = all("mailbox" not in stream for stream in self.streams.values())
        if direct and not hasattr(transport, "send"):
            raise ValueError(
                f"the streams of {name} are no part of its address map and "
                f"{type(transport).__name__} carries registers alone; use the lite variant"
            )
        self.registers = Registers(transport, rows)
        self._check(name)

    def reset(self) -> None:
        """Empties the engine: streams, state, counters.  Control registers stay."""
        if hasattr(self.transport, "clear"):
            self.transport.clear()
        self.registers["reset"] = 1

    def send(self, stream: str, beats: Any, timeout: float = 10.0) -> None:
        """Sends ``beats``; as :meth:`run`, which can receive meanwhile."""
        self.run({stream: beats}, {}, timeout)

    def receive(self, stream: str, count: int, timeout: float = 10.0) -> Any:
        """The next ``count`` beats of an output; as :meth:`run`."""
        return self.run({}, {stream: count}, timeout)[stream]

    def run(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, int], timeout: float = 10.0
    ) -> dict[str, Any]:
        """Sends the beats in ``inputs`` and receives as many as ``outputs`` says, in turns.

        Returns the beats of each output.  No stream waits for another one here, so nothing
        stops as long as ``outputs`` asks for all that the engine has to deliver.  Raises
        :class:`TimeoutError` where no beat moved for ``timeout`` seconds,
        :class:`ValueError` for beats that do not fit the stream, :class:`KeyError` for a
        name that is not there.
        """
        rest = {
            name: pack(_content(self._stream(name, "in")), beats) for name, beats in inputs.items()
        }
        wanted = {name: count for name, count in outputs.items() if self._stream(name, "out")}
        found: dict[str, list[np.ndarray]] = {
            name: [np.zeros((0, _words(self.streams[name])), dtype=np.uint32)] for name in wanted
        }
        moved_at = time.monotonic()
        while any(map(len, rest.values())) or any(wanted.values()):
            moved = 0
            for name, words in rest.items():
                if len(words):
                    taken = self._send(self.streams[name], words)
                    rest[name] = words[taken:]
                    moved += taken
            for name, count in wanted.items():
                if count:
                    came = self._receive(self.streams[name], count)
                    found[name].append(came)
                    wanted[name] -= len(came)
                    moved += len(came)
            if moved:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > timeout:
                waiting = [
                    f"{n} has {len(words)} beats to send" for n, words in rest.items() if len(words)
                ]
                waiting += [f"{n} lacks {count} beats" for n, count in wanted.items() if count]
                raise TimeoutError(f"no beat moved in {timeout:g} s: {', '.join(waiting)}")
        return {
            name: unpack(_content(self.streams[name]), np.concatenate(parts))
            for name, parts in found.items()
        }

    def _check(self, name: str) -> None:
        """Refuses a device that is not the described one."""
        for register, wrong in (
            ("id", "no engine of thresher answers there; check address, port and bitstream"),
            ("version", "it was made by another version of thresher; generate both anew"),
            ("identity", f"it is another engine or configuration than {name}; program that one"),
        ):
            expected, got = self.registers.initial(register), self.registers[register]
            if got != expected:
                raise ValueError(f"register {register} is {got:#x}, not {expected:#x}: {wrong}")

    def _stream(self, name: str, direction: str) -> Mapping[str, Any]:
        known = [s for s in self.streams.values() if s["direction"] == direction]
        if name not in [stream["name"] for stream in known]:
            names = [stream["name"] for stream in known]
            raise KeyError(_unknown(f"{direction}put stream", name, names))
        return self.streams[name]

    def _send(self, stream: Mapping[str, Any], words: np.ndarray) -> int:
        if "mailbox" not in stream:
            return self.transport.send(stream, words)
        ready = self._ready(stream, len(words))
        if ready:
            address = stream["mailbox"]["offset"]
            self.transport.write(address, words[:ready].ravel(), increment=False)
        return ready

    def _receive(self, stream: Mapping[str, Any], count: int) -> np.ndarray:
        if "mailbox" not in stream:
            return self.transport.receive(stream, count)
        width = _words(stream)
        ready = self._ready(stream, count)
        if not ready:
            return np.zeros((0, width), dtype=np.uint32)
        address = stream["mailbox"]["offset"]
        return self.transport.read(address, ready * width, increment=False).reshape(ready, width)

    def _ready(self, stream: Mapping[str, Any], wanted: int) -> int:
        """Whole beats, at most ``wanted``, that a mailbox takes or has."""
        (level,) = self.transport.read(stream["mailbox"]["offset"] + _LEVEL)
        return min(int(level) // _words(stream), wanted)


class Registers:
    """Registers by name, as attributes and as items; iteration gives their names.

    Reading gives an integer.  Writing raises :class:`ValueError` for a value that does not
    fit and :class:`AttributeError` for a register that is read only; the other way round
    for one that is write only.  An unknown name is an :class:`AttributeError` or a
    :class:`KeyError`.
    """

    _rows: Mapping[str, Mapping[str, Any]]
    _transport: Transport

    def __init__(self, transport: Transport, rows: Mapping[str, Mapping[str, Any]]):
        vars(self).update(_transport=transport, _rows=rows)

    def __getattr__(self, name: str) -> int:
        rows = vars(self).get("_rows", {})
        if name not in rows:
            raise AttributeError(_unknown("register", name, rows))
        return self[name]

    def __setattr__(self, name: str, value: int) -> None:
        if name not in self._rows:
            raise AttributeError(_unknown("register", name, self._rows))
        self[name] = value

    def __getitem__(self, name: str) -> int:
        row = self._row(name)
        if row["access"] == "wo":
            raise AttributeError(f"register {name} can only be written")
        words = self._transport.read(row["offset"], row["words"])
        value = int.from_bytes(np.asarray(words, dtype="<u4").tobytes(), "little")
        value &= (1 << row["bits"]) - 1
        return value - ((value >> (row["bits"] - 1)) << row["bits"]) if row["signed"] else value

    def __setitem__(self, name: str, value: int) -> None:
        row = self._row(name)
        if row["access"] == "ro":
            raise AttributeError(f"register {name} can only be read")
        low, high = _range(row["bits"], row["signed"])
        if not low <= value <= high:
            raise ValueError(f"register {name} = {value} is outside {low}..{high}")
        # Whole words: a wide register takes effect when its highest word is written.
        data = int(value).to_bytes(4 * row["words"], "little", signed=row["signed"])
        self._transport.write(row["offset"], np.frombuffer(data, dtype="<u4"))

    def __iter__(self):
        return iter(self._rows)

    def __dir__(self):
        return [*super().__dir__(), *self._rows]

    def initial(self, name: str) -> int:
        """The register's value after power-up, as described."""
        return self._row(name)["init"]

    def _row(self, name: str) -> Mapping[str, Any]:
        if name not in self._rows:
            raise KeyError(_unknown("register", name, self._rows))
        return self._rows[name]


class MemoryMapped:
    """The address map in this machine's memory: ``/dev/uioN``, or ``/dev/mem`` at ``base``.

    ``size``: bytes to map, 8 KiB for almost every engine; exactly it is ``1 << address_bits``,
    which stands under ``registers`` in the description.  Every word is one access of 32
    bits.  A refused access shows as the system's bus error.
    """

    def __init__(self, device: str | os.PathLike = "/dev/mem", base: int = 0, size: int = 1 << 13):
        if base % 4:
            raise ValueError(f"base {base:#x} is not a multiple of 4")
        start = base - base % mmap.ALLOCATIONGRANULARITY
        file = os.open(device, os.O_RDWR | os.O_SYNC)
        try:
            self._map = mmap.mmap(file, base - start + size, offset=start)
        finally:
            os.close(file)
        self._words = np.frombuffer(self._map, dtype="<u4", offset=base - start)

    def read(self, address: int, count: int = 1, increment: bool = True) -> np.ndarray:
        """See :class:`Transport`."""
        found = np.empty(count, dtype=np.uint32)
        for k in range(count):  # word by word: a copy of the block might be of other widths
            found[k] = self._words[address // 4 + k * increment]
        return found

    def write(self, address: int, words: Any, increment: bool = True) -> None:
        """See :class:`Transport`."""
        for k, word in enumerate(words):
            self._words[address // 4 + k * increment] = word


class Uart:
    """The address map behind a serial line, 8 data bits, no parity, 1 stop bit.

    ``port``: a name or URL for pyserial, or a port that is open already.  ``baud``: as the
    design was built for.
    """

    BURST = 256
    """Words a frame."""

    def __init__(self, port: Any, baud: int = 115_200, timeout: float = 2.0):
        if isinstance(port, str):
            import serial

            port = serial.serial_for_url(port, baud, timeout=timeout)
        self._port = port

    def read(self, address: int, count: int = 1, increment: bool = True) -> np.ndarray:
        """See :class:`Transport`."""
        parts = []
        for low in range(0, count, self.BURST):
            size = min(count - low, self.BURST)
            frame = self._head(0, address + 4 * low * increment, size, increment)
            parts.append(self._ask("read", address, frame, 4 * size))
        return np.frombuffer(b"".join(parts), dtype="<u4")

    def write(self, address: int, words: Any, increment: bool = True) -> None:
        """See :class:`Transport`."""
        words = np.asarray(words, dtype="<u4")
        for low in range(0, len(words), self.BURST):
            burst = words[low : low + self.BURST]
            head = self._head(0x80, address + 4 * low * increment, len(burst), increment)
            self._ask("write", address, head + burst.tobytes(), 0)

    @staticmethod
    def _head(kind: int, address: int, count: int, increment: bool) -> bytes:
        return bytes([kind | 0x40 * increment, count - 1]) + address.to_bytes(4, "little")

    def _ask(self, access: str, address: int, frame: bytes, size: int) -> bytes:
        self._port.reset_input_buffer()  # what came too late for an access before
        self._port.write(frame)
        answer = self._port.read(size + 1)
        if len(answer) <= size:
            raise TimeoutError(
                f"{access} at {address:#x}: {len(answer)} of {size + 1} bytes came back; "
                "check the port, its baud rate and that the board is programmed"
            )
        if answer[size]:
            raise OSError(f"{access} at {address:#x} was refused")
        return answer[:size]


def pack(layout: Mapping[str, Any], beats: Any) -> np.ndarray:
    """Beats as words: ``uint32 [beats, words]``, low word first, bits above the layout's zero.

    Raises :class:`ValueError` for numbers or arrays that do not fit, :class:`KeyError` for
    a field that is missing.
    """
    leaves = _leaves(layout)
    arrays = [_select(beats, leaf) for leaf in leaves]
    total = len(arrays[0]) if arrays else 0
    words = np.zeros((total, max(-(-layout["bits"] // 32), 1)), dtype="<u4")
    octets = words.view(np.uint8)
    for leaf, array in zip(leaves, arrays):  # noqa: B905  (Python 3.8)
        leaf.check(array, total)
    step = max((1 << 26) // max(layout["bits"], 1), 1)  # bounds memory: a byte a bit below
    for low in range(0, total, step):
        part = slice(low, low + step)
        grid = np.zeros((len(words[part]), layout["bits"]), dtype=np.uint8)
        for leaf, array in zip(leaves, arrays):  # noqa: B905
            if leaf.bits:
                grid[:, leaf.place] = leaf.to_bits(array[part].reshape(len(grid), -1))
        packed = np.packbits(grid, axis=1, bitorder="little")
        octets[part, : packed.shape[1]] = packed
    return words


def unpack(layout: Mapping[str, Any], words: np.ndarray) -> Any:
    """The beats that words stand for: the inverse of :func:`pack`."""
    leaves = _leaves(layout)
    arrays = [np.zeros((len(words), *leaf.lengths), dtype=leaf.dtype) for leaf in leaves]
    octets = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    step = max((1 << 26) // max(layout["bits"], 1), 1)
    for low in range(0, len(words), step):
        part = octets[low : low + step]
        grid = np.unpackbits(part, axis=1, count=layout["bits"], bitorder="little")
        for leaf, array in zip(leaves, arrays):  # noqa: B905
            if leaf.bits:
                target = array[low : low + step]
                target[:] = leaf.from_bits(grid[:, leaf.place]).reshape(target.shape)
    result: dict[str, Any] = {}
    for leaf, array in zip(leaves, arrays):  # noqa: B905
        if not leaf.path:
            return array
        place = result
        for name in leaf.path[:-1]:
            place = place.setdefault(name, {})
        place[leaf.path[-1]] = array
    return result


class _Leaf:
    """A field of plain numbers in a layout, with the array axes above it."""

    def __init__(self, path: tuple, place: np.ndarray, lengths: tuple, bits: int, signed: bool):
        self.path, self.lengths, self.bits, self.signed = path, lengths, bits, signed
        place = (place.reshape(-1, 1) + np.arange(bits)).ravel()  # the bits, element by element
        dense = len(place) and place[-1] - place[0] + 1 == len(place)
        self.place: Any = slice(int(place[0]), int(place[-1]) + 1) if dense else place
        if bits > 64:
            self.dtype = np.dtype(object)
        else:
            self.dtype = np.dtype(np.uint64 if bits == 64 and not signed else np.int64)

    def check(self, array: np.ndarray, total: int) -> None:
        name = ".".join(self.path) or "payload"
        if array.shape != (total, *self.lengths):
            raise ValueError(f"{name} has shape {array.shape}, not {(total, *self.lengths)}")
        if array.dtype.kind not in "biuO":
            raise ValueError(f"{name} has dtype {array.dtype}; beats are integers")
        low, high = _range(self.bits, self.signed)
        for extreme in (int(array.min()), int(array.max())) if array.size else ():
            if not low <= extreme <= high:
                raise ValueError(f"{name} holds {low}..{high}, not {extreme}")

    def to_bits(self, array: np.ndarray) -> np.ndarray:
        """``[beats, elements]`` to ``[beats, elements * bits]``, low bits first."""
        if self.bits <= 64:
            octets = array.astype(self.dtype).astype("<u8")[..., None].view(np.uint8)
        else:
            size, mask = -(-self.bits // 8), (1 << self.bits) - 1
            raw = b"".join((int(value) & mask).to_bytes(size, "little") for value in array.flat)
            octets = np.frombuffer(raw, dtype=np.uint8).reshape(*array.shape, size)
        grid = np.unpackbits(octets, axis=-1, count=self.bits, bitorder="little")
        return grid.reshape(len(array), -1)

    def from_bits(self, grid: np.ndarray) -> np.ndarray:
        """The numbers in ``[beats, elements * bits]``, flat."""
        octets = np.packbits(grid.reshape(-1, self.bits), axis=1, bitorder="little")
        if self.bits <= 64:
            full = np.zeros((len(octets), 8), dtype=np.uint8)
            full[:, : octets.shape[1]] = octets
            values = full.view("<u8")[:, 0]
            if self.signed:
                spare = 64 - self.bits
                return (values.view("<i8") << spare) >> spare
            return values
        numbers = np.empty(len(octets), dtype=object)
        for k, row in enumerate(octets):
            value = int.from_bytes(row.tobytes(), "little")
            numbers[k] = value - ((value >> (self.bits - 1)) << self.bits) * self.signed
        return numbers


def _leaves(
    layout: Mapping[str, Any], path: tuple = (), place: Any = None, lengths: tuple = ()
) -> list[_Leaf]:
    if place is None:
        place = np.zeros((), dtype=np.int64)  # lowest bit of each element so far
    if "fields" in layout:
        return [
            leaf
            for field in layout["fields"]
            for leaf in _leaves(field, (*path, field["name"]), place + field["offset"], lengths)
        ]
    if "element" in layout:
        steps = np.arange(layout["length"]) * layout["element"]["bits"]
        spread = place[..., None] + steps
        return _leaves(layout["element"], path, spread, (*lengths, layout["length"]))
    return [_Leaf(path, place, lengths, layout["bits"], layout["signed"])]


def _select(beats: Any, leaf: _Leaf) -> np.ndarray:
    for name in leaf.path:
        if not isinstance(beats, Mapping):
            if len(beats) == 0:
                return np.zeros((0, *leaf.lengths), dtype=np.int64)
            raise ValueError(f"a struct takes a dictionary of arrays, {name!r} among them")
        if name not in beats:
            raise KeyError(f"field {name!r} is missing; given: {', '.join(map(str, beats))}")
        beats = beats[name]
    array = np.asarray(beats)
    return array if array.size else np.zeros((len(array), *leaf.lengths), dtype=np.int64)


def _content(stream: Mapping[str, Any]) -> Mapping[str, Any]:
    """The layout of a stream's words: on AXI4-Stream with ``last`` right above ``tdata``."""
    layout = stream["layout"]
    if "mailbox" in stream:
        return layout
    bits = stream["tdata_bits"]
    if "tlast" not in stream["signals"]:
        return {**layout, "bits": bits}
    last = {"name": "last", "offset": bits, "bits": 1, "signed": False}
    return {"bits": bits + 1, "fields": [*layout["fields"], last]}


def _words(stream: Mapping[str, Any]) -> int:
    return max(-(-_content(stream)["bits"] // 32), 1)


def _range(bits: int, signed: bool) -> tuple[int, int]:
    if signed and bits:
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def _unknown(kind: str, name: str, known: Any) -> str:
    near = get_close_matches(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"
    return f"there is no {kind} {name!r}; {hint}"
