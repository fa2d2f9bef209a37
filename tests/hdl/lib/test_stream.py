# amaranth: UnusedElaboratable=no
"""Stream blocks with structured payloads in simulation; order and pace are proved elsewhere."""

import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator
from thresher.hdl.lib.fifo import BLOCK_DEPTH, Fifo
from thresher.hdl.lib.stream import Fork, Join, SkidBuffer, WidthConverter

PAIR = data.StructLayout({"re": signed(5), "im": signed(3)})


async def send(ctx, port, payloads, rng):
    for payload in payloads:
        while rng.random() < 0.3:
            await ctx.tick()
        ctx.set(port.payload, payload)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)


async def receive(ctx, port, count, rng):
    received = []
    while len(received) < count:
        ctx.set(port.ready, int(rng.random() < 0.6))
        _, _, valid, ready, payload = await ctx.tick().sample(port.valid, port.ready, port.payload)
        if valid and ready:
            received.append(payload)
    return received


def test_structured_payloads_pass_a_chain_of_every_block():
    m = Module()
    m.submodules.fork = fork = Fork(data.ArrayLayout(PAIR, 2), 2)
    m.submodules.narrow = narrow = WidthConverter(PAIR, 2, 1)
    m.submodules.wide = wide = WidthConverter(PAIR, 1, 2)
    m.submodules.skid = skid = SkidBuffer(data.ArrayLayout(PAIR, 2))
    m.submodules.deep = deep = Fifo(data.ArrayLayout(PAIR, 2), BLOCK_DEPTH + 1)
    m.submodules.join = join = Join(dict.fromkeys(("a", "b"), data.ArrayLayout(PAIR, 2)))
    for source, sink in [
        (fork.o[0], narrow.i),
        (narrow.o, wide.i),
        (wide.o, skid.i),
        (skid.o, join.i.a),
        (fork.o[1], deep.i),
        (deep.o, join.i.b),
    ]:
        connect(m, source, sink)
    rng = np.random.default_rng(0)
    re, im = rng.integers(-16, 16, (200, 2)), rng.integers(-4, 4, (200, 2))
    payloads = [
        [{"re": int(r), "im": int(i)} for r, i in zip(*pair, strict=True)]
        for pair in zip(re, im, strict=True)
    ]

    async def source(ctx):
        await send(ctx, fork.i, payloads, np.random.default_rng(1))

    async def sink(ctx):
        received = await receive(ctx, join.o, len(payloads), np.random.default_rng(2))
        for got, want in zip(received, payloads, strict=True):
            for side in (got.a, got.b):
                assert [{"re": e.re, "im": e.im} for e in side] == want

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run()


def test_the_default_memory_follows_the_depth():
    assert not Fifo(8, BLOCK_DEPTH).block
    assert Fifo(8, BLOCK_DEPTH + 1).block


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Fifo(8, 0), "depth = 0; a Fifo holds at least 1"),
        (lambda: Fifo(8, 2, block=True), "depth = 2 is too small for block RAM; at least 3"),
        (lambda: WidthConverter(8, 3, 2), "3 elements to 2; one must be a multiple"),
        (lambda: WidthConverter(8, 0, 2), "0 elements to 2"),
        (lambda: Fork(8, 0), "count = 0; a Fork has at least 1 consumer"),
        (lambda: Join({}), "at least one input"),
    ],
)
def test_bad_parameters_name_the_way_out(build, message):
    with pytest.raises(ValueError, match=message):
        build()
