"""The buses of a simulated top level, for a driver that takes them for hardware.

:class:`Axi` and :class:`Serial` have the methods that the driver in a package
(:mod:`thresher.fpga.package.driver`) expects of a transport or of a serial port; the same
driver then runs the simulated engine and the real one.

    from thresher.fpga.package import driver

    with Axi(AxiWrapper(component, table)) as bus:
        engine = driver.Engine("NAME.json", bus)

    with Axi(AxiLiteWrapper(component, table)) as bus:
        engine = driver.Engine("NAME_lite.json", bus)

    with Serial(UartWrapper(component, table, Line(divisor=4)), divisor=4) as line:
        engine = driver.Engine("NAME_uart.json", driver.Uart(line))
"""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from amaranth.hdl import Module, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out
from numpy.typing import NDArray

from ..hdl.verilog import RegisterPort, ports
from . import beats
from .beats import Words
from .build import build
from .run import Wave, trace_format
from .verilator import Instance, Port

_OPEN, _SHUT = np.ones(1, dtype=bool), np.zeros(1, dtype=bool)
_NEVER = 1 << 62
"""More cycles than any simulation has."""

_SAMPLES = 8
"""Of a bit on a serial line, at least, where it takes that many cycles."""

_SIGNALS = ("addr", "prot", "data", "strb", "resp", "last")
"""What AXI4-Lite and AXI4-Stream channels carry beside valid and ready."""


class Channels(Component):
    """A top level with AXI pins, each channel of theirs regrouped into a stream.

    ``s_axil_awaddr``, ``s_axil_awprot``, ``s_axil_awvalid`` and ``s_axil_awready`` become the
    stream ``s_axil_aw`` of a struct ``{addr, prot}``, and so on for every pin whose name
    ends in ``valid``: wires alone, so that the compiled clock loop can drive them.  Other
    inputs of the top level stay 0.
    """

    def __init__(self, top: Component) -> None:
        self._top = top
        pins = ports(top).registers
        self._channels = {
            name.removesuffix("valid"): _signals(name.removesuffix("valid"), pins)
            for name in pins
            if name.endswith("valid")
        }
        super().__init__(
            {
                name: (In if pins[f"{name}valid"].direction == "in" else Out)(
                    stream.Signature(data.StructLayout({s: pins[name + s].width for s in signals}))
                )
                for name, signals in self._channels.items()
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.top = top = self._top
        for name, signals in self._channels.items():
            channel: Any = getattr(self, name)
            pairs = [(getattr(top, name + s), channel.payload[s]) for s in signals]
            pairs.append((getattr(top, f"{name}valid"), channel.valid))
            ready = (getattr(top, f"{name}ready"), channel.ready)
            if self.signature.members[name].flow == In:
                m.d.comb += [inside.eq(Value.cast(outside)) for inside, outside in pairs]
                m.d.comb += ready[1].eq(ready[0])
            else:
                m.d.comb += [Value.cast(outside).eq(inside) for inside, outside in pairs]
                m.d.comb += ready[0].eq(ready[1])
        return m


def _signals(name: str, pins: Mapping[str, RegisterPort]) -> list[str]:
    return [signal for signal in _SIGNALS if name + signal in pins]


class _Simulated:
    """A simulated top level: close it, or use it as a context manager."""

    def __init__(self, top: Component, wave: Wave | None, verilog: str | None = None) -> None:
        self._instance = Instance(build(top, trace_format(wave), verilog))
        if wave is not None:
            self._instance.trace(wave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation and complete its waveform."""
        self._instance.close()

    @property
    def cycle(self) -> int:
        """Cycles since power-up."""
        return self._instance.cycle


class Axi(_Simulated):
    """A simulated top level behind its AXI4-Lite port, and its AXI4-Stream ports if it has any.

    Beats that were sent wait in a queue, as in a DMA engine's memory, and enter whenever
    the clock runs: during any access to a register, while beats are received, and in
    :meth:`advance`.
    """

    def __init__(self, top: Component, wave: Wave | None = None, patience: int = 1000) -> None:
        """``patience``: cycles without a beat (or an answer) after which there is none now."""
        super().__init__(Channels(top), wave)
        known = self._instance.build.ports
        self._patience = patience
        self._shapes = {name: port.shape for name, port in known.streams.items()}
        self._inputs, self._outputs = (Port * len(known.inputs))(), (Port * len(known.outputs))()
        self._states = dict(zip(known.inputs, self._inputs, strict=True))
        self._states |= dict(zip(known.outputs, self._outputs, strict=True))
        self._buffers: dict[str, tuple[Words, NDArray[np.int64]]] = {}
        for name in known.inputs:
            self._load(name, np.zeros((0, self._columns(name)), dtype=np.uint32), _OPEN)
        for name in known.outputs:
            self._load(name, np.zeros((1, self._columns(name)), dtype=np.uint32), _SHUT)
        self._instance.reset()

    def advance(self, cycles: int) -> None:
        """Let the clock run; beats that were sent enter."""
        self._instance.advance(self._inputs, self._outputs, cycles, _NEVER, _NEVER)

    def read(self, address: int, count: int = 1, increment: bool = True) -> Words:
        """Words of the address map, from consecutive addresses or all from one.

        Raises :class:`OSError` where the bus refuses, :class:`TimeoutError` where it does not
        answer.
        """
        addresses = self._addresses(address, count, increment)
        self._queue("s_axil_ar", {"addr": addresses, "prot": np.zeros_like(addresses)})
        answers = self._answers("s_axil_r", addresses)
        return answers["data"].astype(np.uint32)

    def write(self, address: int, words: Any, increment: bool = True) -> None:
        """Stores words at consecutive addresses or all at one.  Raises as :meth:`read`."""
        values = np.asarray(words, dtype=np.uint32).astype(np.int64)
        addresses = self._addresses(address, len(values), increment)
        self._queue("s_axil_aw", {"addr": addresses, "prot": np.zeros_like(addresses)})
        self._queue("s_axil_w", {"data": values, "strb": np.full_like(values, 0b1111)})
        self._answers("s_axil_b", addresses)

    def send(self, stream: Mapping[str, Any], words: Words) -> int:
        """Queues beats (``tdata``, right above it ``tlast``) on a stream of the description."""
        self._append(self._channel(stream), words)
        return len(words)

    def receive(self, stream: Mapping[str, Any], count: int) -> Words:
        """The next beats of a stream of the description, ``count`` or as many as come."""
        return self._collect(self._channel(stream), count)

    def clear(self) -> None:
        """Drops beats that were sent and have not entered."""
        for name, state in self._states.items():
            if name.startswith("s_axis_"):
                state.beats = state.done
                state.offered = 0

    def _channel(self, stream: Mapping[str, Any]) -> str:
        return stream["signals"]["tdata"].removesuffix("data")

    def _columns(self, name: str) -> int:
        return -(-beats.width(self._shapes[name]) // 32)

    def _load(self, name: str, words: Words, pattern: NDArray[np.bool_]) -> None:
        """Give the clock loop a buffer: of beats to feed, or for beats to come."""
        stamps = np.zeros(len(words), dtype=np.int64)
        self._buffers[name] = words, stamps  # keeps them alive
        state = self._states[name]
        state.words, state.stamps = words.ctypes.data, stamps.ctypes.data
        state.pattern, state.period = pattern.ctypes.data, 1
        state.beats = state.room = len(words)
        state.done = 0

    def _append(self, name: str, words: Words) -> None:
        waiting, _ = self._buffers[name]
        rest = waiting[self._states[name].done : self._states[name].beats]
        self._load(name, np.concatenate([rest, words]), _OPEN)

    def _collect(self, name: str, count: int) -> Words:
        words = np.zeros((count, self._columns(name)), dtype=np.uint32)
        self._load(name, words, _OPEN)
        state, before = self._states[name], -1
        while before < state.done < count:
            before = state.done
            self.advance(self._patience)  # the clock loop stops by itself when all came
        state.pattern = _SHUT.ctypes.data
        return words[: state.done]

    def _queue(self, name: str, values: beats.Beats) -> None:
        self._append(name, beats.pack(self._shapes[name], values))

    def _answers(self, name: str, addresses: NDArray[np.int64]) -> Any:
        words = self._collect(name, len(addresses))
        if len(words) < len(addresses):
            raise TimeoutError(
                f"no answer from address {addresses[len(words)]:#x} in {self._patience} cycles"
            )
        answers = beats.unpack(self._shapes[name], words)
        if answers["resp"].any():
            raise OSError(f"access to address {addresses[answers['resp'].argmax()]:#x} was refused")
        return answers

    def _addresses(self, address: int, count: int, increment: bool) -> NDArray[np.int64]:
        return address + 4 * increment * np.arange(count, dtype=np.int64)


class Serial(_Simulated):
    """The host's end of a serial line to a simulated top level, as an open serial port.

    8 data bits, no parity, 1 stop bit.  The bytes' bits are put on and taken off the pins
    here, by time alone, as any UART does it.
    """

    def __init__(
        self,
        top: Component,
        divisor: int,
        timeout: int = 1 << 16,
        pins: tuple[str, str] = ("rx", "tx"),
        wave: Wave | None = None,
        verilog: str | None = None,
    ) -> None:
        """``divisor``: clock cycles a bit.  ``timeout``: cycles that :meth:`read` waits for a
        byte.  ``pins``: the top level's input and output.  ``verilog`` runs in place of the
        top level's own (:func:`~thresher.sim.build.build`)."""
        super().__init__(top, wave, verilog)
        numbers = {pin.name: number for number, pin in enumerate(self._instance.build.pins)}
        self._to, self._from = (numbers[name] for name in pins)
        self._divisor, self._timeout = divisor, timeout
        self._step = max(divisor // _SAMPLES, 1)
        self._came = bytearray()
        self._bits: list[int] = []
        self._look = 0
        """Cycle of the next bit's middle; 0 between bytes."""
        self._instance.poke(self._to, 1)
        self._instance.reset()

    def write(self, data: bytes) -> int:
        """Sends bytes, back to back; returns when the last stop bit is over."""
        for byte in data:
            for bit in (0, *(byte >> k & 1 for k in range(8)), 1):
                self._instance.poke(self._to, bit)
                self._advance(self._divisor)
        return len(data)

    def read(self, size: int = 1) -> bytes:
        """The next ``size`` bytes, fewer if they stop coming."""
        waited = 0
        while len(self._came) < size and waited < self._timeout:
            before = len(self._came)
            self._advance(self._step)
            waited = waited + self._step if len(self._came) == before else 0
        taken = bytes(self._came[:size])
        del self._came[:size]
        return taken

    def reset_input_buffer(self) -> None:
        """Drops what came and was not read."""
        self._came.clear()

    def _advance(self, cycles: int) -> None:
        end = self._instance.cycle + cycles
        while (now := self._instance.cycle) < end:
            self._instance.tick(min(self._step, end - now))
            self._sample()

    def _sample(self) -> None:
        level, now = self._instance.peek(self._from), self._instance.cycle
        if not self._look:
            if not level:  # a start bit began
                self._look = now + self._divisor + self._divisor // 2
        elif now >= self._look:
            self._bits.append(level)
            self._look += self._divisor
            if len(self._bits) == 9:
                if level:
                    self._came.append(sum(bit << k for k, bit in enumerate(self._bits[:8])))
                self._bits, self._look = [], 0
