"""Beats over AMD's AXI DMA, for the driver beside this file: large data on Zynq and PYNQ.

    from pynq import Overlay, allocate
    from thresher_dma import Dma
    from thresher_driver import Engine, MemoryMapped

    overlay = Overlay("design.bit")

    def at(name):
        return MemoryMapped("/dev/mem", overlay.ip_dict[name]["phys_addr"])

    def buffer():
        return allocate((1 << 20,), "u1")

    dma = {"x": (at("dma_0"), buffer())}, {"y": (at("dma_0"), buffer())}
    engine = Engine("NAME.json", Dma(at("NAME_0"), *dma, length_bits=26))

In the design each stream is joined to one channel of an AXI DMA in direct register mode
(no scatter-gather), through an AXI4-Stream data width converter where a beat is not 1, 2,
4, ... bytes wide.  A DMA ends every transfer with ``tlast``, and its receiving side needs
``tlast`` to end: a transfer is a packet.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

SEND, RECEIVE = 0x00, 0x30
"""Where the registers of the two channels of a DMA begin (MM2S, S2MM)."""

_CONTROL, _STATUS, _ADDRESS, _LENGTH = 0x00, 0x04, 0x18, 0x28
_RUN, _RESET = 1 << 0, 1 << 2
_IDLE = 1 << 1
_ERRORS = {
    1 << 4: "more came than its buffer holds",
    1 << 5: "memory refused an access",
    1 << 6: "nothing lies at the address of its buffer",
}


class Dma:
    """A transport for :class:`Engine`: registers over ``registers``, streams over DMAs.

    ``sends`` and ``receives``: for each stream the registers of its DMA, as another
    transport, and a buffer: an array of bytes that lies in one piece in memory, with its
    address in ``physical_address``, and with ``flush`` and ``invalidate`` where caches need
    them (``pynq.allocate`` makes such).  ``length_bits``: the DMAs' width of buffer length
    register.  Raises :class:`OSError` for a DMA that fails.
    """

    def __init__(
        self,
        registers: Any,
        sends: Mapping[str, tuple[Any, Any]],
        receives: Mapping[str, tuple[Any, Any]],
        length_bits: int = 14,
    ):
        self.read, self.write = registers.read, registers.write
        limit = (1 << length_bits) - 1
        self._sends = {n: _Channel(n, *c, SEND, limit) for n, c in sends.items()}
        self._receives = {n: _Channel(n, *c, RECEIVE, limit) for n, c in receives.items()}
        self._came: dict[str, np.ndarray] = {}
        self.clear()

    def send(self, stream: Mapping[str, Any], words: np.ndarray) -> int:
        """Starts the next packet, if the one before is gone."""
        channel = _of(self._sends, stream)
        if channel.busy():
            return 0
        size = stream["tdata_bits"] // 8
        octets = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
        count, room = len(words), channel.room // size
        if "tlast" in stream["signals"]:
            (ends,) = np.nonzero(octets[:, size] & 1)
            if not len(ends):
                raise ValueError(f"the last beat of {channel.name} needs last = 1 to go by DMA")
            count = int(ends[0]) + 1
            if count > room:
                raise ValueError(
                    f"a packet of {channel.name} has {count} beats, but its buffer and the "
                    f"length register allow {room}"
                )
        count = min(count, room)
        channel.put(octets[:count, :size].ravel())
        return count

    def receive(self, stream: Mapping[str, Any], count: int) -> np.ndarray:
        """Beats of packets that came; an idle DMA is made to wait for the next one."""
        channel, size = _of(self._receives, stream), stream["tdata_bits"] // 8
        if "tlast" not in stream["signals"]:
            raise ValueError(f"{channel.name} has no tlast, without which no DMA ends")
        came = self._came.pop(channel.name, np.zeros((0, size // 4 + 1), dtype=np.uint32))
        if not len(came) and not channel.busy():
            octets = channel.got()
            came = np.zeros((len(octets) // size, size // 4 + 1), dtype="<u4")
            if len(came):
                rows = came.view(np.uint8)
                rows[:, :size] = octets.reshape(-1, size)
                rows[-1, size] = 1
            channel.wait_for(channel.room // size * size)
        self._came[channel.name] = came[count:]
        return came[:count]

    def clear(self) -> None:
        """Stops all transfers and forgets what came."""
        self._came.clear()
        channels = [*self._sends.values(), *self._receives.values()]
        for channel in channels:  # which resets the other channel of the same DMA, too
            channel.reset()
        for channel in channels:
            channel.run()


class _Channel:
    """One direction of a DMA, and its buffer."""

    def __init__(self, name: str, dma: Any, buffer: Any, base: int, limit: int):
        self.name, self._dma, self._buffer, self._base = name, dma, buffer, base
        self.room = min(len(buffer), limit)
        self._under_way = self._complete = False

    def reset(self, timeout: float = 1.0) -> None:
        self._under_way = self._complete = False
        self._set(_CONTROL, _RESET)
        end = time.monotonic() + timeout
        while self._get(_CONTROL) & _RESET:
            if time.monotonic() > end:
                raise TimeoutError(f"the DMA of {self.name} does not come out of reset")

    def run(self) -> None:
        self._set(_CONTROL, _RUN)

    def busy(self) -> bool:
        """A transfer is under way.  (The idle bit is low before the first one.)"""
        if self._under_way:
            status = self._get(_STATUS)
            wrong = [text for bit, text in _ERRORS.items() if status & bit]
            if wrong:
                raise OSError(f"the DMA of {self.name} stopped: {', '.join(wrong)}")
            if status & _IDLE:
                self._under_way, self._complete = False, True
        return self._under_way

    def put(self, octets: np.ndarray) -> None:
        self._buffer[: len(octets)] = octets
        if hasattr(self._buffer, "flush"):
            self._buffer.flush()
        self.wait_for(len(octets))

    def got(self) -> np.ndarray:
        """What the transfer that ended last brought; nothing before the first one."""
        if not self._complete:
            return np.zeros(0, dtype=np.uint8)
        if hasattr(self._buffer, "invalidate"):
            self._buffer.invalidate()
        return np.array(self._buffer[: self._get(_LENGTH)], dtype=np.uint8)

    def wait_for(self, size: int) -> None:
        """Starts a transfer of at most ``size`` bytes."""
        address = self._buffer.physical_address
        self._set(_ADDRESS, address & 0xFFFFFFFF)
        self._set(_ADDRESS + 4, address >> 32)
        self._set(_LENGTH, size)
        self._under_way, self._complete = True, False

    def _get(self, register: int) -> int:
        return int(self._dma.read(self._base + register)[0])

    def _set(self, register: int, value: int) -> None:
        self._dma.write(self._base + register, [value])


def _of(channels: Mapping[str, _Channel], stream: Mapping[str, Any]) -> _Channel:
    if stream["name"] not in channels:
        raise KeyError(f"no DMA was given for {stream['name']}; there is: {', '.join(channels)}")
    return channels[stream["name"]]
