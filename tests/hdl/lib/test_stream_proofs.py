# amaranth: UnusedElaboratable=no
"""Proofs, without a bound on time, of what the stream blocks owe; and that proofs can fail."""

import pytest
from amaranth.hdl import Assert, Assume, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out
from thresher.hdl.lib.fifo import Fifo
from thresher.hdl.lib.formal import QueueSpec, RefutedError, anything, prove, sink, source
from thresher.hdl.lib.stream import Fork, Join, SkidBuffer, WidthConverter

pytestmark = pytest.mark.formal
W = 2  # bits of an element; blocks treat every bit alike


def test_skid_buffer():
    prove(QueueSpec(SkidBuffer(W), capacity=2, warm_up=1))


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_fifo_in_registers(depth):
    prove(QueueSpec(Fifo(W, depth, block=False), capacity=depth, warm_up=1))


@pytest.mark.parametrize("depth", [3, 4, 5, 6])
def test_fifo_in_block_ram(depth):
    prove(QueueSpec(Fifo(W, depth, block=True), capacity=depth, latency=2, warm_up=2))


@pytest.mark.parametrize(("i", "o"), [(1, 1), (1, 2), (1, 3), (2, 4), (2, 1), (3, 1), (4, 2)])
def test_width_converter(i, o):
    converter = WidthConverter(W, i, o)
    prove(QueueSpec(converter, capacity=max(i, o), warm_up=1, i_width=i, o_width=o))


class ForkSpec(Elaboratable):
    """Each consumer gets each payload once, as soon as it wants, and the source moves on
    when all have it."""

    def __init__(self, count: int):
        self.fork = Fork(W, count)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.fork = fork = self.fork
        source(m, fork.i)
        enter = fork.i.valid & fork.i.ready
        for o in fork.o:
            sink(m, o)
            had = Signal()
            leave = o.valid & o.ready
            m.d.sync += had.eq(~enter & (had | leave))
            m.d.comb += [
                Assert(o.valid == (fork.i.valid & ~had)),
                Assert(~o.valid | (o.payload == fork.i.payload)),
                Assert(~enter | had | leave),
            ]
        everyone = Value.cast(1)
        for o in fork.o:
            everyone = everyone & (o.ready | ~o.valid)
        m.d.comb += Assert(~(fork.i.valid & everyone) | enter)
        return m


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fork(count):
    prove(ForkSpec(count))


class JoinSpec(Elaboratable):
    """A payload leaves exactly when, and with what, all inputs give one."""

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.join = join = Join({"a": W, "b": 1, "c": W})
        inputs = {name: getattr(join.i, name) for name in "abc"}
        for i in inputs.values():
            source(m, i)
        sink(m, join.o)
        valid = inputs["a"].valid & inputs["b"].valid & inputs["c"].valid
        m.d.comb += Assert(join.o.valid == valid)
        for name, i in inputs.items():
            m.d.comb += Assert((i.valid & i.ready) == (join.o.valid & join.o.ready))
            m.d.comb += Assert(~join.o.valid | (join.o.payload[name] == i.payload))
        return m


def test_join():
    prove(JoinSpec())


@pytest.mark.parametrize(
    ("block", "claims"),
    [
        (Fifo(W, 4), {"capacity": 3}),
        (Fifo(W, 4, block=True), {"capacity": 3, "latency": 2}),
        (Fifo(W, 4, block=True), {"capacity": 4, "latency": 1}),
        (SkidBuffer(W), {"capacity": 2, "warm_up": 0}),
        (WidthConverter(W, 1, 2), {"capacity": 1, "o_width": 2}),
    ],
)
def test_claims_are_tight(block, claims):
    """The depth is used to the full, and the latency is not shorter than stated."""
    with pytest.raises(RefutedError):
        prove(QueueSpec(block, **claims))


class BrokenBuffer(Component):
    """A skid buffer with one of several mistakes."""

    def __init__(self, fault: str):
        self.fault = fault
        super().__init__({"i": In(stream.Signature(W)), "o": Out(stream.Signature(W))})

    def elaborate(self, platform) -> Module:
        m = Module()
        skid, skidded, payload = Signal(W), Signal(), Signal(W)
        m.d.comb += [self.i.ready.eq(~skidded), self.o.payload.eq(payload)]
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [
                self.o.valid.eq(self.i.valid | skidded),
                skidded.eq(skidded & (self.fault == "doubles")),
                payload.eq(Mux(skidded & (self.fault != "loses"), skid, self.i.payload)),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += skidded.eq(1)
            if self.fault == "reorders":
                m.d.sync += payload.eq(self.i.payload)
                m.d.sync += skid.eq(payload)
        if self.fault != "reorders":
            with m.If(~skidded):
                m.d.sync += skid.eq(self.i.payload)
        if self.fault == "withdraws":
            with m.If(skidded & ~self.o.ready):
                m.d.sync += self.o.valid.eq(0)
        if self.fault == "hangs":
            with m.If(skidded):
                m.d.sync += skidded.eq(1)
        return m


@pytest.mark.parametrize("fault", ["loses", "doubles", "reorders", "withdraws", "hangs"])
def test_a_broken_buffer_is_caught(fault):
    with pytest.raises(RefutedError):
        prove(QueueSpec(BrokenBuffer(fault), capacity=2))


class Counter(Elaboratable):
    """Counts to 5, in cycles that the adversary chooses within what ``assume`` allows."""

    def __init__(self, assume):
        self.assume = assume

    def elaborate(self, platform) -> Module:
        m = Module()
        go, count = Signal(), Signal(3)
        anything(m, go)
        m.d.sync += count.eq(count + (go & (count != 5)))
        m.d.comb += [Assume(self.assume(go, count)), Assert(count != 5)]
        return m


def test_a_refutation_names_the_cycle():
    with pytest.raises(RefutedError, match="cycle 5") as refuted:
        prove(Counter(lambda go, count: go | ~go))
    assert refuted.value.cycle == 5


def test_an_assumption_binds_every_earlier_cycle():
    prove(Counter(lambda go, count: ~(go & (count == 3))))
