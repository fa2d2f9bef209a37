"""An engine at the end of a serial line: registers and streams over two wires.

8 data bits, no parity, 1 stop bit, low bit first; ``divisor`` clock cycles a bit.  The
host sends a frame:

===========  ====================================================================
byte 0       0x80 to write, 0 to read; plus 0x40 to add 4 to the address after
             each word.  A byte with any other bit set begins no frame.
byte 1       number of words - 1
bytes 2..5   byte address in the map of :mod:`thresher.hdl.lib.mailbox`, low byte first
then         to write: the words, low byte first
===========  ====================================================================

and gets, to a read, the words, low byte first, and to either a status byte: 0 where every
access was fine, 1 where at least one was refused (its word reads as 0).  A write's status
may be left unread while the next frame is sent; what comes during the answer to a read is
lost.  A frame whose next byte stays away for ``timeout`` cycles is forgotten, a byte with
a bad start or stop bit is dropped.
"""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from ..registers import RegisterBus, RegisterTable
from ..verilog import ports
from .mailbox import DEPTH, MemoryMap, windows

TIMEOUT = 1 << 20
"""Clock cycles after which the rest of a frame is no longer waited for."""

MIN_DIVISOR = 4
"""Fewer cycles a bit leave no middle to sample."""


@dataclass(frozen=True)
class Line:
    """Timing of a serial line, in clock cycles."""

    divisor: int = 100
    """Of a bit: 1 Mbaud at 100 MHz."""
    timeout: int = TIMEOUT
    """Until a frame that does not go on is forgotten."""

    def __post_init__(self) -> None:
        if self.divisor < MIN_DIVISOR:
            raise ValueError(
                f"divisor = {self.divisor} clock cycles a bit; at least {MIN_DIVISOR}: "
                "a lower baud rate or a faster clock"
            )
        if self.timeout < 10 * self.divisor:
            raise ValueError(
                f"timeout = {self.timeout} cycles; at least {10 * self.divisor}, what a byte takes"
            )


class Receiver(wiring.Component):
    """Bytes from a line: ``arrived`` is high for one cycle with each in ``byte``.

    A bit is sampled in its middle, as the majority of three samples in a row, so that a
    spike of one cycle does nothing.  A line that is low where the stop bit should be must
    go high before the next byte can begin.
    """

    rx: Any
    byte: Any
    arrived: Any

    def __init__(self, divisor: int):
        self._divisor = divisor
        super().__init__({"rx": In(1, init=1), "byte": Out(8), "arrived": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        line, past = Signal(init=1), Signal(2, init=0b11)
        level, before = Signal(init=1), Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.rx, line, init=1)
        m.d.comb += level.eq((line & past[0]) | (line & past[1]) | (past[0] & past[1]))
        m.d.sync += [past.eq(Cat(line, past)), before.eq(level), self.arrived.eq(0)]
        busy, bit, timer = Signal(), Signal(range(10)), Signal(range(self._divisor))
        with m.If(~busy):
            m.d.sync += [busy.eq(before & ~level), bit.eq(0), timer.eq(self._divisor // 2 - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [timer.eq(self._divisor - 1), bit.eq(bit + 1)]
            with m.Switch(bit):
                with m.Case(0):  # the start bit, unless it was noise
                    m.d.sync += busy.eq(~level)
                with m.Case(9):  # the stop bit
                    m.d.sync += [busy.eq(0), self.arrived.eq(level)]
                with m.Default():
                    m.d.sync += self.byte.eq(Cat(self.byte[1:], level))
        return m


class Transmitter(wiring.Component):
    """Bytes to a line, back to back; ``tx`` is a register."""

    i: Any
    tx: Any

    def __init__(self, divisor: int):
        self._divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        rest, left, timer = Signal(8), Signal(range(11)), Signal(range(self._divisor))
        m.d.comb += self.i.ready.eq((left == 0) | ((left == 1) & (timer == 0)))
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [left.eq(left - 1), timer.eq(self._divisor - 1)]
            m.d.sync += Cat(self.tx, rest).eq(Cat(rest, 1))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [left.eq(10), timer.eq(self._divisor - 1)]
            m.d.sync += [self.tx.eq(0), rest.eq(self.i.payload)]
        return m


class Bridge(wiring.Component):
    """Frames of bytes to accesses of a register bus, and their answers to bytes.

    ``active`` is high from each byte on for ``timeout`` cycles.  Each word is one access;
    addresses beyond the bus are refused.
    """

    byte: Any
    arrived: Any
    o: Any
    bus: Any
    active: Any

    def __init__(self, address_bits: int, timeout: int):
        self._address_bits, self._timeout = address_bits, timeout
        super().__init__(
            {
                "byte": In(8),
                "arrived": In(1),
                "o": Out(stream.Signature(8)),
                "bus": Out(RegisterBus(address_bits - 2)),
                "active": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        bus, out = self.bus, self.o
        write, step, failed = Signal(), Signal(), Signal()
        address, outside = Signal(self._address_bits - 2), Signal()
        word, shifted = Signal(32), Signal(32)
        place = Signal(2)  # of a byte in its word
        left, last = Signal(8), Signal()  # words behind this one; none
        ok, expired = Signal(), self._patience(m)
        m.d.comb += [
            self.active.eq(~expired),
            shifted.eq(Cat(word[8:], self.byte)),
            bus.write_address.eq(address),
            bus.write_data.eq(word),
            bus.write_strobe.eq(0b1111),
            bus.read_address.eq(address),
            ok.eq(Mux(write, bus.write_ok, bus.read_ok) & ~outside),
        ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [place.eq(0), failed.eq(0)]
                with m.If(self.arrived & ~self.byte[:6].any()):
                    m.d.sync += Cat(step, write).eq(self.byte[6:])
                    m.next = "COUNT"
            with m.State("COUNT"):
                with m.If(self.arrived):
                    m.d.sync += left.eq(self.byte)
                    m.next = "ADDRESS"
                with m.Elif(expired):
                    m.next = "IDLE"
            with m.State("ADDRESS"):
                with m.If(self.arrived):
                    m.d.sync += [word.eq(shifted), place.eq(place + 1)]
                    with m.If(place == 3):
                        m.d.sync += address.eq(shifted[2:])
                        m.d.sync += outside.eq(shifted[self._address_bits :].any())
                        with m.If(write):
                            m.next = "DATA"
                        with m.Else():
                            m.next = "ACCESS"
                with m.Elif(expired):
                    m.next = "IDLE"
            with m.State("DATA"):
                with m.If(self.arrived):
                    m.d.sync += [word.eq(shifted), place.eq(place + 1)]
                    with m.If(place == 3):
                        m.next = "ACCESS"
                with m.Elif(expired):
                    m.next = "IDLE"
            with m.State("ACCESS"):
                m.d.comb += [bus.write.eq(write & ~outside), bus.read.eq(~write & ~outside)]
                m.d.sync += [failed.eq(failed | ~ok), left.eq(left - 1), last.eq(left == 0)]
                with m.If(step):
                    m.d.sync += [address.eq(address + 1), outside.eq(outside | address.all())]
                with m.If(~write):
                    m.d.sync += word.eq(Mux(outside, 0, bus.read_data))
                    m.next = "ANSWER"
                with m.Elif(left == 0):
                    m.next = "STATUS"
                with m.Else():
                    m.next = "DATA"
            with m.State("ANSWER"):
                m.d.comb += [out.valid.eq(1), out.payload.eq(word)]
                with m.If(out.ready):
                    m.d.sync += [word.eq(word[8:]), place.eq(place + 1)]
                    with m.If(place == 3):
                        m.next = "ACCESS"
                        with m.If(last):
                            m.next = "STATUS"
            with m.State("STATUS"):
                m.d.comb += [out.valid.eq(1), out.payload.eq(failed)]
                with m.If(out.ready):
                    m.next = "IDLE"
        return m

    def _patience(self, m: Module) -> Signal:
        """High from ``timeout`` cycles after a byte on."""
        quiet, expired = Signal(range(self._timeout)), Signal(init=1)
        with m.If(self.arrived):
            m.d.sync += [quiet.eq(0), expired.eq(0)]
        with m.Elif(quiet == self._timeout - 1):
            m.d.sync += expired.eq(1)
        with m.Else():
            m.d.sync += quiet.eq(quiet + 1)
        return expired


class UartWrapper(wiring.Component):
    """``component`` behind a serial line, with the registers of ``table``.

    Ports beside ``clk`` and ``rst``: ``rx``, which may change at any time, ``tx``, and
    ``active``, which lights a lamp while bytes come in.
    """

    rx: Any
    tx: Any
    active: Any

    def __init__(
        self,
        component: wiring.Component,
        table: RegisterTable,
        line: Line,
        depth: int = DEPTH,
    ):
        self._line, self._content = line, (component, table, depth)
        self.windows = windows(ports(component), table.address_bits, depth)
        """By name of the component's stream."""
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "active": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.map = inside = MemoryMap(*self._content)
        m.submodules.receiver = receiver = Receiver(self._line.divisor)
        m.submodules.bridge = bridge = Bridge(inside.address_bits, self._line.timeout)
        m.submodules.transmitter = transmitter = Transmitter(self._line.divisor)
        wiring.connect(m, bridge.bus, inside.bus)
        wiring.connect(m, bridge.o, transmitter.i)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            bridge.byte.eq(receiver.byte),
            bridge.arrived.eq(receiver.arrived),
            self.tx.eq(transmitter.tx),
            self.active.eq(bridge.active),
        ]
        return m
