"""A small component with everything that a register table or a bus adapter must carry."""

from typing import ClassVar

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out


class Accumulator(wiring.Component):
    """Adds up the values of a packet that reach ``threshold``, starting from ``start``."""

    i: In(stream.Signature(data.StructLayout({"value": signed(11), "last": 1, "tag": 2})))
    o: Out(stream.Signature(signed(45)))
    threshold: In(signed(11), init=-5)
    start: In(signed(45), init=-(1 << 40))
    flags: Out(data.StructLayout({"busy": 1, "tag": 2}))
    beats: Out(72)
    lowest: Out(signed(11))

    TEXTS: ClassVar = {
        "threshold": "Values below it do not count.",
        "start": "What the sum of a packet starts from.",
        "flags": "Whether a packet is open, and the last tag.",
        "beats": "Values taken, times 2**34 + 1. */",
        "lowest": "Least value so far.",
    }

    def elaborate(self, platform):
        m = Module()
        total = Signal(signed(45))
        value = self.i.payload.value
        added = Signal(signed(45))
        before = Signal(signed(45))
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            before.eq(self.start),
            added.eq(before),
        ]
        with m.If(self.flags.busy):
            m.d.comb += before.eq(total)
        with m.If(value >= self.threshold):
            m.d.comb += added.eq(before + value)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                total.eq(added),
                self.flags.busy.eq(~self.i.payload.last),
                self.flags.tag.eq(self.i.payload.tag),
                self.beats.eq(self.beats + (1 << 34) + 1),
                self.o.payload.eq(added),
                self.o.valid.eq(self.i.payload.last),
            ]
            with m.If(value < self.lowest):
                m.d.sync += self.lowest.eq(value)
        return m


@pytest.fixture
def accumulator():
    """The class :class:`Accumulator`."""
    return Accumulator
