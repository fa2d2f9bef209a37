"""AXI adapters: names, widths, protocol (proved), and traffic through a wrapped component."""

from random import Random

import pytest
from amaranth.hdl import Assert, Cat, Elaboratable, Module, Mux, Shape, Signal, signed
from amaranth.lib import data, wiring
from amaranth.sim import Simulator
from thresher.hdl.lib.axi import OKAY, SLVERR, AxiLiteSlave, AxiWrapper, axi_stream
from thresher.hdl.lib.formal import RefutedError, anything, prove, sink, source
from thresher.hdl.registers import register_table
from thresher.hdl.verilog import StreamPort, ports


@pytest.fixture
def wrapper(accumulator):
    inner = accumulator()
    return AxiWrapper(inner, register_table("adder", ports(inner), accumulator.TEXTS))


def test_names_and_widths(wrapper):
    found = {
        name: (port.direction, port.width)
        for name, port in ports(wrapper).registers.items()
        if not name.startswith("s_axil")
    }
    assert found == {
        "s_axis_i_tdata": ("in", 16),
        "s_axis_i_tlast": ("in", 1),
        "s_axis_i_tvalid": ("in", 1),
        "s_axis_i_tready": ("out", 1),
        "m_axis_o_tdata": ("out", 48),
        "m_axis_o_tvalid": ("out", 1),
        "m_axis_o_tready": ("in", 1),
    }
    lite = {n.removeprefix("s_axil_"): p for n, p in ports(wrapper).registers.items()}
    assert lite["awaddr"].width == lite["araddr"].width == 12
    assert lite["wstrb"].width == 4
    assert lite["bresp"].direction == lite["rdata"].direction == "out"


@pytest.mark.parametrize(
    ("shape", "width", "last"),
    [
        (8, 8, None),
        (signed(9), 16, None),
        (data.ArrayLayout(signed(3), 3), 16, None),
        (data.StructLayout({"last": 1, "x": 8}), 8, 0),
        (data.StructLayout({"x": 9, "last": 1}), 16, 9),
        (data.StructLayout({"x": 7, "last": 2}), 16, None),
        (data.StructLayout({"last": 1}), 8, 0),
    ],
)
def test_stream_layout(shape, width, last):
    axis = axi_stream(StreamPort("x", "in", shape, Shape.cast(shape).width))
    assert (axis.name, axis.width, axis.last) == ("s_axis_x", width, last)


# What a master does, as Amaranth test benches over the wrapper's flat ports.


def chance(random, pause):
    return random.random() >= pause


async def send(ctx, dut, prefix, beats, pause=0.0, seed=0):
    """Offers ``beats``, mappings from signal to value, and keeps each until it is taken."""
    random = Random(seed)
    valid, ready = getattr(dut, f"{prefix}valid"), getattr(dut, f"{prefix}ready")
    for beat in beats:
        while not chance(random, pause):
            await ctx.tick()
        for name, value in beat.items():
            ctx.set(getattr(dut, prefix + name), value)
        ctx.set(valid, 1)
        *_, taken = await ctx.tick().sample(ready)
        while not taken:
            *_, taken = await ctx.tick().sample(ready)
        ctx.set(valid, 0)


async def receive(ctx, dut, prefix, names, count, pause=0.0, seed=0):
    """Takes ``count`` beats; returns tuples of the named signals."""
    random = Random(seed)
    valid, ready = getattr(dut, f"{prefix}valid"), getattr(dut, f"{prefix}ready")
    signals = [getattr(dut, prefix + name) for name in names]
    beats = []
    while len(beats) < count:
        ctx.set(ready, go := chance(random, pause))
        *_, offered, values = await ctx.tick().sample(valid, Cat(signals))
        if offered and go:
            beat = []
            for signal in signals:
                beat.append(values & ((1 << len(signal)) - 1))
                values >>= len(signal)
            beats.append(tuple(beat))
    ctx.set(ready, 0)
    return beats


def simulate(dut, *benches):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


async def write(ctx, dut, offset, value, strobe=0b1111):
    """One write; address and data at once."""
    ctx.set(dut.s_axil_bready, 1)
    ctx.set(dut.s_axil_awaddr, offset)
    ctx.set(dut.s_axil_wdata, value & 0xFFFFFFFF)
    ctx.set(dut.s_axil_wstrb, strobe)
    ctx.set(dut.s_axil_awvalid, 1)
    ctx.set(dut.s_axil_wvalid, 1)
    await ctx.tick()  # both skid buffers are empty: they accept
    ctx.set(dut.s_axil_awvalid, 0)
    ctx.set(dut.s_axil_wvalid, 0)
    *_, response = await ctx.tick().sample(dut.s_axil_bresp).until(dut.s_axil_bvalid)
    return response


async def read(ctx, dut, offset):
    """One read: value and response."""
    ctx.set(dut.s_axil_rready, 1)
    ctx.set(dut.s_axil_araddr, offset)
    ctx.set(dut.s_axil_arvalid, 1)
    await ctx.tick()
    ctx.set(dut.s_axil_arvalid, 0)
    *_, value, response = (
        await ctx.tick().sample(dut.s_axil_rdata, dut.s_axil_rresp).until(dut.s_axil_rvalid)
    )
    return value, response


def beat_of(value, tag, last):
    """``tdata`` without ``last``, its padding set, and ``tlast``."""
    return {"data": (value & 0x7FF) | tag << 11 | 0b101 << 13, "last": last}


@pytest.mark.parametrize(("idle", "pressure"), [(0, 0), (0.6, 0), (0, 0.6), (0.5, 0.5)])
def test_packets_pass_and_counters_tell(wrapper, idle, pressure):
    random = Random(1)
    values = [(random.randrange(-1024, 1024), random.random() < 0.2) for _ in range(100)]
    values[-1] = values[-1][0], True
    sums, total = [], 7
    for value, last in values:
        total += value if value >= -100 else 0
        if last:
            sums.append(total & ((1 << 48) - 1))
            total = 7
    table, got = wrapper._table, {}

    async def driver(ctx):
        offset = table["start"].offset
        assert await write(ctx, wrapper, table["threshold"].offset, -100) == OKAY
        assert await write(ctx, wrapper, offset, 7) == OKAY
        assert await write(ctx, wrapper, offset + 4, 0) == OKAY
        beats = [beat_of(value, 3, last) for value, last in values]
        await send(ctx, wrapper, "s_axis_i_t", beats, idle)
        await ctx.tick()
        offset = table["beats"].offset
        words = [await read(ctx, wrapper, offset + 4 * k) for k in range(3)]
        got["beats"] = sum(word << 32 * k for k, (word, _) in enumerate(words))
        got["lowest"], _ = await read(ctx, wrapper, table["lowest"].offset)
        got["flags"], _ = await read(ctx, wrapper, table["flags"].offset)

    async def sink(ctx):
        got["sums"] = await receive(ctx, wrapper, "m_axis_o_t", ["data"], len(sums), pressure)

    simulate(wrapper, driver, sink)
    assert got["sums"] == [(value,) for value in sums], "sign-extended to whole bytes"
    assert got["beats"] == 100 * ((1 << 34) + 1)
    assert got["lowest"] == min(value for value, _ in values) & 0xFFFFFFFF
    assert got["flags"] == 3 << 1


def test_refusals(wrapper):
    table = wrapper._table

    async def driver(ctx):
        for offset in (table.bytes, 0xFFC):
            assert await read(ctx, wrapper, offset) == (0, SLVERR)
            assert await write(ctx, wrapper, offset, 1) == SLVERR
        assert await write(ctx, wrapper, table["beats"].offset, 1) == SLVERR
        assert await read(ctx, wrapper, table["id"].offset + 3) == (table["id"].init, OKAY)

    simulate(wrapper, driver)


def test_reset_register_abandons_a_packet(wrapper):
    table = wrapper._table

    async def driver(ctx):
        ctx.set(wrapper.m_axis_o_tready, 1)
        await write(ctx, wrapper, table["threshold"].offset, 33)
        await send(ctx, wrapper, "s_axis_i_t", [beat_of(50, 1, 0)])
        await ctx.tick()
        assert (await read(ctx, wrapper, table["flags"].offset))[0] == 0b011
        await write(ctx, wrapper, table["reset"].offset, 1)
        await ctx.tick()
        assert (await read(ctx, wrapper, table["flags"].offset))[0] == 0
        assert (await read(ctx, wrapper, table["beats"].offset))[0] == 0
        assert (await read(ctx, wrapper, table["threshold"].offset))[0] == 33

    simulate(wrapper, driver)


@pytest.mark.parametrize("seed", range(3))
def test_channels_in_any_order(wrapper, seed):
    """Addresses and data arrive independently, answers wait: nothing is lost or mixed up."""
    random = Random(seed)
    table = wrapper._table
    offsets = [table["threshold"].offset, table["id"].offset, table["start"].offset, 0x800]
    requests = [(random.choice(offsets), random.getrandbits(11)) for _ in range(60)]
    pauses = [random.choice([0, 0.3, 0.8]) for _ in range(5)]
    writable = {table["threshold"].offset, table["start"].offset}
    readable = writable | {table["id"].offset}
    got = {}

    async def address(ctx):
        beats = [{"addr": offset} for offset, _ in requests]
        await send(ctx, wrapper, "s_axil_aw", beats, pauses[0], 1)

    async def payload(ctx):
        beats = [{"data": value, "strb": 15} for _, value in requests]
        await send(ctx, wrapper, "s_axil_w", beats, pauses[1], 2)

    async def answers(ctx):
        got["b"] = await receive(ctx, wrapper, "s_axil_b", ["resp"], 60, pauses[2], 3)
        while "r" not in got:
            await ctx.tick()
        got["final"], _ = await read(ctx, wrapper, offsets[0])

    async def reads(ctx):
        beats = [{"addr": offset} for offset, _ in requests]
        await send(ctx, wrapper, "s_axil_ar", beats, pauses[3], 4)

    async def data_read(ctx):
        got["r"] = await receive(ctx, wrapper, "s_axil_r", ["data", "resp"], 60, pauses[4], 5)

    simulate(wrapper, address, payload, answers, reads, data_read)
    assert [resp for (resp,) in got["b"]] == [
        OKAY if offset in writable else SLVERR for offset, _ in requests
    ]
    assert [resp for _, resp in got["r"]] == [
        OKAY if offset in readable else SLVERR for offset, _ in requests
    ]
    identity = {word for (word, _), (offset, _) in zip(got["r"], requests, strict=True)
                if offset == table["id"].offset}  # fmt: skip
    assert identity == {table["id"].init}
    final = [value for offset, value in requests if offset == offsets[0]][-1]
    assert got["final"] == (final - 2048 if final & 1024 else final) & 0xFFFFFFFF


def test_one_transfer_a_cycle(wrapper):
    table = wrapper._table
    cycles = {}

    async def master(ctx):
        ctx.set(wrapper.s_axil_awaddr, table["threshold"].offset)
        ctx.set(wrapper.s_axil_araddr, table["threshold"].offset)
        for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
            ctx.set(getattr(wrapper, f"s_axil_{name}"), 1)
        seen = {"bvalid": 0, "rvalid": 0}
        for _ in range(100):
            for name in seen:
                seen[name] += ctx.get(getattr(wrapper, f"s_axil_{name}"))
            await ctx.tick()
        cycles.update(seen)

    simulate(wrapper, master)
    assert cycles == {"bvalid": 98, "rvalid": 98}, "latency 2, then one a cycle"


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
