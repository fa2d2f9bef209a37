"""Streams as words of an address map, so that one plain bus reaches all of an engine.

Byte addresses, for a register table of ``table.address_bits`` bits:

* below ``1 << table.address_bits``: the registers (:mod:`thresher.hdl.registers`);
* from there on a window of 16 bytes a stream, in order of declaration:

===  =====  ===========================================================================
+0   DATA   of an input stream, write only: a word of a beat, the low one first; the last
            word of the beat (its upper bits are ignored) completes it.
            Of an output stream, read only: the next word, low word of a beat first, the
            last one sign- or zero-extended.
+4   LEVEL  read only.  Input: words that may be written now; output: words that may be
            read now.  A DATA access beyond it is refused and does nothing.
===  =====  ===========================================================================

Everything else is refused.  A beat takes ``ceil(width / 32)`` words, at least one.  A
write to DATA has all its byte strobes or is refused.  Writing 1 to the register ``reset``
also empties all queues and forgets half-written and half-read beats; accesses that
follow count for what comes after.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..registers import RegisterBus, RegisterFile, RegisterTable
from ..verilog import Ports, StreamPort, ports, values
from .fifo import Fifo
from .stream import WidthConverter

DEPTH = 512
"""Words that a stream's queue holds unless asked otherwise: one block RAM of most devices."""

_WINDOW_BITS = 4  # of a byte address inside a window


@dataclass(frozen=True)
class Window:
    """A stream's place in the address map."""

    stream: StreamPort
    offset: int
    """Byte address of DATA."""
    words: int
    """That a beat takes."""
    depth: int
    """Words that its queue holds."""

    def json(self) -> dict[str, int]:
        """As plain data."""
        return {"offset": self.offset, "words": self.words, "depth_words": self.depth}


def windows(described: Ports, address_bits: int, depth: int = DEPTH) -> dict[str, Window]:
    """The window of every stream above registers of ``address_bits``, by the stream's name.

    A queue holds ``depth`` words, or one beat where that is more.  Raises
    :class:`ValueError` for a depth below 2 or more streams than there are windows.
    """
    if depth < 2:  # a queue of one would join the bus to the engine's ready
        raise ValueError(f"depth = {depth} words; a stream's queue holds at least 2")
    most = 1 << (address_bits - _WINDOW_BITS)
    if len(described.streams) > most:
        raise ValueError(
            f"{len(described.streams)} streams, but the address map has windows for {most}; "
            "merge streams, or use AXI4-Stream ports"
        )
    found = {}
    for number, (name, port) in enumerate(described.streams.items()):
        offset = (1 << address_bits) + (number << _WINDOW_BITS)
        words = max(-(-port.width // 32), 1)
        found[name] = Window(port, offset, words, max(depth, words))
    return found


class Mailbox(wiring.Component):
    """A queue between each stream and the accesses of a register bus.

    ``bus`` addresses count words from the first window on.  ``streams`` has a member for
    each window, of the opposite direction.  ``clear`` empties all queues: what is written
    in that cycle is lost, what is written in the next one is kept.  While ``hold`` is
    high, nothing passes between queues and streams.
    """

    bus: Any
    streams: Any
    clear: Any
    hold: Any

    def __init__(self, windows: Mapping[str, Window], address_bits: int):
        self._windows = windows
        members = {}
        for name, window in windows.items():
            signature = stream.Signature(window.stream.shape)
            members[name] = Out(signature) if window.stream.direction == "in" else In(signature)
        super().__init__(
            {
                "bus": In(RegisterBus(address_bits - 2)),
                "streams": Out(wiring.Signature(members)),
                "clear": In(1),
                "hold": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        queues: dict[str, Fifo] = {}
        for name, window in self._windows.items():
            # A queue of words, whatever the width of a beat: the bus is no wider.
            width = 32 if window.words > 1 else max(window.stream.width, 1)
            queues[name] = Fifo(width, window.depth)
            m.submodules[f"queue_{name}"] = ResetInserter(self.clear)(queues[name])
            connect = self._give if window.stream.direction == "in" else self._take
            connect(m, name, queues[name])
        self._write(m, queues)
        self._read(m, queues)
        return m

    def _give(self, m: Module, name: str, queue: Fifo) -> None:
        """From ``queue`` to the component's input."""
        words, outside = self._windows[name].words, getattr(self.streams, name)
        source = queue.o
        if words > 1:
            gather = WidthConverter(32, 1, words)
            m.submodules[f"gather_{name}"] = ResetInserter(self.clear)(gather)
            wiring.connect(m, queue.o, gather.i)
            source = gather.o
        m.d.comb += [
            Value.cast(outside.payload).eq(Value.cast(source.payload)),
            outside.valid.eq(source.valid & ~self.hold),
            source.ready.eq(outside.ready & ~self.hold),
        ]

    def _take(self, m: Module, name: str, queue: Fifo) -> None:
        """From the component's output to ``queue``."""
        words, outside = self._windows[name].words, getattr(self.streams, name)
        sink = queue.i
        if words > 1:
            spread = WidthConverter(32, words, 1)
            m.submodules[f"spread_{name}"] = ResetInserter(self.clear)(spread)
            wiring.connect(m, spread.o, queue.i)
            sink = spread.i
        m.d.comb += [
            Value.cast(sink.payload).eq(Value.cast(outside.payload)),
            sink.valid.eq(outside.valid & ~self.hold),
            outside.ready.eq(sink.ready & ~self.hold),
        ]

    def _write(self, m: Module, queues: Mapping[str, Fifo]) -> None:
        bus = self.bus
        whole = bus.write_strobe.all()
        with m.Switch(bus.write_address):
            for number, (name, window) in enumerate(self._windows.items()):
                if window.stream.direction == "in":
                    queue = queues[name]
                    m.d.comb += queue.i.payload.eq(bus.write_data)
                    with m.Case(_register(number, 0)):
                        m.d.comb += [
                            bus.write_ok.eq(queue.i.ready & whole),
                            queue.i.valid.eq(bus.write & whole),
                        ]

    def _read(self, m: Module, queues: Mapping[str, Fifo]) -> None:
        bus = self.bus
        level, depth = (
            Signal(range(max((w.depth for w in self._windows.values()), default=0) + 1))
            for _ in range(2)
        )
        free, word = Signal.like(level), Signal(32)
        m.d.comb += free.eq(depth - level)  # once for all inputs
        with m.Switch(bus.read_address):
            for number, (name, window) in enumerate(self._windows.items()):
                queue = queues[name]
                incoming = window.stream.direction == "in"
                with m.Case(_register(number, 1)):
                    m.d.comb += [
                        bus.read_ok.eq(1),
                        level.eq(queue.level),
                        depth.eq(window.depth),
                        word.eq(free if incoming else level),
                    ]
                if not incoming:
                    payload = queue.o.payload
                    signed = (
                        window.words == 1
                        and Value.cast(getattr(self.streams, name).payload).shape().signed
                    )
                    with m.Case(_register(number, 0)):
                        m.d.comb += [
                            bus.read_ok.eq(queue.o.valid),
                            word.eq(payload.as_signed() if signed else payload),
                            queue.o.ready.eq(bus.read),
                        ]
        m.d.comb += bus.read_data.eq(Mux(bus.read_ok, word, 0))


class MemoryMap(wiring.Component):
    """``component`` behind one bus: the registers of ``table``, its streams in windows.

    ``bus`` addresses count words; the accesses answer in the same cycle
    (:class:`~thresher.hdl.registers.RegisterBus`).
    """

    bus: Any

    def __init__(self, component: wiring.Component, table: RegisterTable, depth: int = DEPTH):
        self._component = component
        self._table = table
        self.windows = windows(ports(component), table.address_bits, depth)
        """By name of the component's stream."""
        self.address_bits = table.address_bits + 1
        """Of a byte address."""
        super().__init__({"bus": In(RegisterBus(self.address_bits - 2))})

    def elaborate(self, platform) -> Module:
        m = Module()
        table = self._table
        m.submodules.registers = registers = RegisterFile(table)
        m.submodules.mailbox = mailbox = Mailbox(self.windows, table.address_bits)
        m.submodules.engine = ResetInserter(registers.reset)(self._component)
        registers.join(m, self._component)
        self._decode(m, registers.bus, mailbox.bus)
        # The engine is in reset the cycle after the register is written.  The queues are
        # cleared at once, so that a word written right behind is kept.
        bus, reset = registers.bus, table["reset"].offset // 4
        m.d.comb += [
            mailbox.clear.eq(
                bus.write & (bus.write_address == reset) & bus.write_strobe[0] & bus.write_data[0]
            ),
            mailbox.hold.eq(registers.reset),
        ]
        inside = values(self._component)
        for name, window in self.windows.items():
            inner, outer = inside[name], getattr(mailbox.streams, name)
            source, sink = (outer, inner) if window.stream.direction == "in" else (inner, outer)
            m.d.comb += [
                Value.cast(sink.payload).eq(Value.cast(source.payload)),
                sink.valid.eq(source.valid),
                source.ready.eq(sink.ready),
            ]
        return m

    def _decode(self, m: Module, low: Any, high: Any) -> None:
        """The upper half of the addresses goes to ``high``."""
        bus = self.bus
        for kind, forward, back in (
            ("write", ("write_data", "write_strobe"), ("write_ok",)),
            ("read", (), ("read_ok", "read_data")),
        ):
            address, access = getattr(bus, f"{kind}_address"), getattr(bus, kind)
            upper = address[-1]
            for part, chosen in ((low, ~upper), (high, upper)):
                m.d.comb += getattr(part, kind).eq(access & chosen)
                m.d.comb += getattr(part, f"{kind}_address").eq(address)
                for signal in forward:
                    m.d.comb += getattr(part, signal).eq(getattr(bus, signal))
            for signal in back:
                m.d.comb += getattr(bus, signal).eq(
                    Mux(upper, getattr(high, signal), getattr(low, signal))
                )


def _register(window: int, number: int) -> int:
    """Word address, from the first window on, of a window's register."""
    return (window << (_WINDOW_BITS - 2)) + number
