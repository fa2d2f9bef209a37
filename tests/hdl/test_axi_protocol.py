"""AXI4-Lite's protocol, proved."""

import pytest
from amaranth.hdl import Assert, Cat, Elaboratable, Module, Mux, Signal
from amaranth.lib import wiring
from thresher.hdl.lib.axi import OKAY, SLVERR, AxiLiteSlave
from thresher.hdl.lib.formal import RefutedError, anything, prove, sink, source


class LiteSpec(Elaboratable):
    """What an AXI4-Lite slave owes, over any master and registers that answer anything."""

    def __init__(self, slave):
        self.slave = slave

    def elaborate(self, platform):
        m = Module()
        m.submodules.slave = slave = self.slave
        for port in (slave.aw, slave.w, slave.ar):
            source(m, port)
        for port in (slave.b, slave.r):
            sink(m, port)  # holds it to: valid and stable until taken
        bus = slave.bus
        anything(m, bus.write_ok)
        # A read answers with its address, so that answers can be told apart.
        m.d.comb += [bus.read_data.eq(bus.read_address), bus.read_ok.eq(bus.read_address[0])]
        addresses, payloads = self.pending(m, slave.aw), self.pending(m, slave.w)
        requests = self.pending(m, slave.ar)
        self.one_answer_each(m, slave.b, [addresses, payloads], bus.write)
        self.one_answer_each(m, slave.r, [requests], bus.read)
        self.in_order(m, requests)
        return m

    def pending(self, m, port):
        """Requests on ``port`` that were not answered yet."""
        count = Signal(4)
        answer = self.slave.r if port is self.slave.ar else self.slave.b
        m.d.sync += count.eq(count + (port.valid & port.ready) - (answer.valid & answer.ready))
        return count

    def one_answer_each(self, m, answer, pending, access):
        ready = Cat(count != 0 for count in pending).all()
        m.d.comb += Assert(~answer.valid | ready)  # none that nobody asked for
        for count in pending:
            m.d.comb += Assert(count <= 3)
        waiting = Signal(3)
        m.d.sync += waiting.eq(Mux(ready & ~answer.valid, waiting + 1, 0))
        m.d.comb += Assert(waiting <= 1)  # no request waits for its answer
        accessed = Signal()  # each answer comes from exactly one access
        m.d.sync += accessed.eq(access | (accessed & ~answer.ready))
        m.d.comb += [
            Assert(answer.valid == accessed),
            Assert(~access | ~answer.valid | answer.ready),
        ]

    def in_order(self, m, requests):
        slave = self.slave
        mark, marked, ahead = Signal(), Signal(), Signal.like(requests)
        address = Signal.like(slave.ar.payload)
        anything(m, mark)
        answered = slave.r.valid & slave.r.ready
        with m.If(mark & ~marked & slave.ar.valid & slave.ar.ready):
            m.d.sync += [
                marked.eq(1),
                address.eq(slave.ar.payload),
                ahead.eq(requests - answered),
            ]
        with m.Elif(marked & answered):
            m.d.sync += ahead.eq(ahead - 1)
            with m.If(ahead == 0):
                m.d.comb += [
                    Assert(slave.r.payload.data == address[2:]),
                    Assert(slave.r.payload.resp == Mux(address[2], OKAY, SLVERR)),
                ]
                m.d.sync += marked.eq(0)


@pytest.mark.formal
def test_lite_protocol_holds_in_every_state():
    prove(LiteSpec(AxiLiteSlave(4)))


@pytest.mark.formal
def test_the_proof_would_notice_a_lost_answer():
    class Forgetful(wiring.Component):
        """Drops a read's answer where the master is slow."""

        def __init__(self):
            self.real = AxiLiteSlave(4)
            super().__init__(self.real.signature)

        def elaborate(self, platform):
            m = Module()
            m.submodules.real = self.real
            for name in ("aw", "w", "ar"):
                wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(self.real, name))
            wiring.connect(m, wiring.flipped(self.b), self.real.b)
            wiring.connect(m, wiring.flipped(self.bus), self.real.bus)
            late = Signal(3)
            m.d.sync += late.eq(Mux(self.r.valid & ~self.r.ready, late + 1, 0))
            m.d.comb += [
                self.r.payload.eq(self.real.r.payload),
                self.r.valid.eq(self.real.r.valid & (late != 5)),
                self.real.r.ready.eq(self.r.ready | (late == 5)),
            ]
            return m

    with pytest.raises(RefutedError):
        prove(LiteSpec(Forgetful()))
