# amaranth: UnusedElaboratable=no
"""The pipeline: its ends, when stages start, and networks that take every part of it."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from thresher.hdl.bcnn_conv.pipeline import Pipeline
from thresher.hdl.bcnn_conv.sink import Sink
from thresher.hdl.bcnn_conv.source import Source
from thresher.hdl.bcnn_conv.start import Later
from thresher.hdl.bcnn_conv.workloads import beats, results_of
from thresher.models.bcnn.drawn import chain, residual
from thresher.models.bcnn.stages import Fold
from thresher.sim import beats as words
from thresher.sim.verilator import run


def simulate(design, *benches):
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("cycles", "apart"), [(1, 1), (3, 1), (4, 9), (9, 9), (10, 9), (40, 7)])
def test_pulses_come_later(cycles, apart):
    later, rng = Later(cycles, apart), np.random.default_rng(cycles)
    pulses = set(np.cumsum(rng.integers(apart, apart + 4, 20)).tolist())

    async def bench(ctx):
        for cycle in range(max(pulses) + cycles + 2):
            ctx.set(later.i, int(cycle in pulses))
            assert ctx.get(later.o) == (cycle - cycles in pulses)
            await ctx.tick()

    simulate(later, bench)


def test_no_pulse_comes_sooner():
    with pytest.raises(ValueError, match="cycles = -1, apart = 3; at least 0 and 1"):
        Later(-1, 3)


@pytest.mark.parametrize(("words", "interval"), [(1, 1), (1, 5), (3, 3), (4, 11), (6, 12)])
def test_frames_start_and_are_given_out_evenly(words, interval):
    """Words come with pauses, and room at times; a model of counters says what is due."""
    source, rng = Source(8, words, interval), np.random.default_rng(words)
    sent, starts, due, waited = [], [], {}, 0
    frames = 12

    async def bench(ctx):
        nonlocal waited
        cycle, complete = 0, []
        while len(starts) < frames or cycle <= max(due):
            x, room = len(sent) % 256, int(rng.random() < 0.8)
            valid = int(rng.random() < 0.9 and len(sent) < frames * words)
            ctx.set(source.x.valid, valid)
            ctx.set(source.x.payload, x)
            ctx.set(source.room, room)
            may = len(complete) > len(starts) and (not starts or cycle >= starts[-1] + interval)
            assert ctx.get(source.start) == (may and room)
            assert ctx.get(source.waits) == (may and not room)
            if may and room:
                frame = sent[len(starts) * words :][:words]
                pace = interval // words
                due.update({cycle + 1 + pace * n: word for n, word in enumerate(frame)})
                starts.append(cycle)
            assert ctx.get(source.o.valid) == (cycle in due)
            if cycle in due:
                assert ctx.get(source.o.payload) == due[cycle]
            if valid and ctx.get(source.x.ready):
                sent.append(x)
                if len(sent) % words == 0:
                    complete.append(cycle)
            else:
                waited += valid
            await ctx.tick()
            cycle += 1

    simulate(source, bench)
    assert waited or interval <= 2 * words  # at times, both frames were full
    with pytest.raises(ValueError, match="5 words of a frame in 4 cycles"):
        Source(8, 5, 4)


def test_room_is_for_whole_frames():
    """A queue for two frames of three results takes no third one until results have left."""
    sink = Sink(8, 3, 2)

    async def bench(ctx):
        for _ in range(2):
            assert ctx.get(sink.room)
            ctx.set(sink.start, 1)
            await ctx.tick()
        ctx.set(sink.start, 0)
        assert not ctx.get(sink.room)
        for value in range(6):
            ctx.set(sink.i.valid, 1)
            ctx.set(sink.i.payload, value)
            await ctx.tick()
        ctx.set(sink.i.valid, 0)
        ctx.set(sink.y.ready, 1)
        for value in range(6):
            assert ctx.get(sink.room) == (value >= 3)
            assert ctx.get(sink.y.valid)
            assert ctx.get(sink.y.payload) == value
            assert ctx.get(sink.leaves) == (value % 3 == 2)
            await ctx.tick()
        assert not ctx.get(sink.y.valid)

    simulate(sink, bench)


@pytest.mark.parametrize(
    ("network", "how"),
    [
        (chain(1, 5, 4, 4), {"lanes": 64}),
        (residual(2, 8, (8, 16)), {"lanes": 300}),
        (chain(3, 4, 4, 4), {"interval": 2000, "lanes_in": 1}),
    ],
    ids=["chain", "residual", "slow"],
)
def test_networks_in_the_cycles_that_are_foreseen(network, how):
    made = Pipeline(network, **how)
    if "interval" in how:
        assert made.interval <= how["interval"]
    else:
        assert made.lanes <= how["lanes"]
    rng, kind = np.random.default_rng(0), network.input
    shape = (5, *kind.shape, *((2,) if kind.complex else ()))
    frames = rng.choice((-1, 1), shape)
    if kind.format != "bits":
        frames = rng.integers(kind.low, kind.high + 1, shape)
    given, result = made.x.payload.shape(), made.y.payload.shape()
    inputs = words.pack(given, beats(kind, frames, given.length))
    expected = beats(network.output, network(frames), result.length)
    found = run(made, {"x": inputs}, {"y": len(expected)}, timeout=made.cycles(len(frames)))
    results = words.unpack(result, found.outputs["y"])
    np.testing.assert_array_equal(results, expected)
    last, first = found.output_cycles["y"][-1], found.input_cycles["x"][0]
    assert last - first + 1 == made.cycles(len(frames))
    np.testing.assert_array_equal(results_of(network.output, results), network(frames))


def test_folds_that_do_not_divide_are_named():
    network = chain(0, 4, 4, 4)
    count = sum(node.operation.__class__.__name__ == "Convolution" for node in network.nodes)
    with pytest.raises(ValueError, match="3 outputs at once do not divide"):
        Pipeline(network, [Fold(3, 1)] * count)
    with pytest.raises(ValueError, match="lanes = 1; this network's stages have"):
        Pipeline(network, lanes=1)
