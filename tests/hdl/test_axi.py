"""AXI adapters: names, widths, and traffic through a wrapped component."""

from random import Random

import pytest
from amaranth.hdl import Cat, Shape, signed
from amaranth.lib import data
from amaranth.sim import Simulator
from thresher.hdl.lib.axi import OKAY, SLVERR, AxiLiteWrapper, AxiWrapper, axi_stream
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


# Streams and registers on AXI4-Lite alone.


@pytest.fixture
def lite(accumulator):
    inner = accumulator()
    table = register_table("adder", ports(inner), accumulator.TEXTS)
    return AxiLiteWrapper(inner, table, depth=16), table


def test_lite_ports(lite):
    wrapper, _ = lite
    described = ports(wrapper)
    assert not described.streams
    assert all(name.startswith("s_axil_") for name in described.registers)
    assert described.registers["s_axil_awaddr"].width == 13
    assert described.registers["s_axil_araddr"].width == 13


@pytest.mark.parametrize(("idle", "pressure"), [(0, 0), (0.6, 0), (0, 0.6), (0.5, 0.5)])
def test_packets_pass_as_words(lite, idle, pressure):
    """What is refused, because a queue is full or empty, is asked for again."""
    wrapper, table = lite
    random = Random(2)
    values = [(random.randrange(-1024, 1024), k % 4 == 3) for k in range(100)]
    start = table["start"].offset
    requests = [(start, 7), (start + 4, 0), (table["threshold"].offset, -1024)]
    requests += [(0x1000, value & 0x7FF | last << 11) for value, last in values]
    sums = [7 + sum(value for value, _ in values[k : k + 4]) for k in range(0, 100, 4)]
    words = [part & 0xFFFFFFFF for value in sums for part in (value, value >> 32)]
    got, refused = [], []

    async def writes(ctx):
        for offset, value in requests:
            while await write(ctx, wrapper, offset, value) == SLVERR:
                refused.append(offset)
            while not chance(random, idle):
                await ctx.tick()

    async def reads(ctx):
        while len(got) < len(words):
            value, response = await read(ctx, wrapper, 0x1010)
            if response == OKAY:
                got.append(value)
            else:
                assert value == 0
            while not chance(random, pressure):
                await ctx.tick()

    simulate(wrapper, writes, reads)
    assert got == words
    assert set(refused) <= {0x1000}


def test_a_word_right_behind_a_reset_is_kept(lite):
    """A posted write may reach the mailbox in the cycle after the reset register."""
    wrapper, table = lite
    addresses = [0x1000, table["reset"].offset, 0x1000, 0x1000]
    data = [1 << 11 | 5, 1, 1 << 11 | 6, 1 << 11 | 7]
    got = []

    async def master(ctx):
        await write(ctx, wrapper, table["start"].offset, 0)
        await write(ctx, wrapper, table["start"].offset + 4, 0)
        ctx.set(wrapper.s_axil_wstrb, 0b1111)
        ctx.set(wrapper.s_axil_awvalid, 1)
        ctx.set(wrapper.s_axil_wvalid, 1)
        for offset, value in zip(addresses, data, strict=True):
            ctx.set(wrapper.s_axil_awaddr, offset)
            ctx.set(wrapper.s_axil_wdata, value)
            await ctx.tick()
        ctx.set(wrapper.s_axil_awvalid, 0)
        ctx.set(wrapper.s_axil_wvalid, 0)
        await ctx.tick().repeat(20)
        level, _ = await read(ctx, wrapper, 0x1014)
        got.extend([level, *[(await read(ctx, wrapper, 0x1010))[0] for _ in range(level)]])

    simulate(wrapper, master)
    assert got == [4, 6, 0, 7, 0]
