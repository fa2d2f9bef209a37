"""Walkers give every tap's word in its cycle, whatever else happens; gears theirs; pools."""

from functools import reduce
from operator import or_

import numpy as np
import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator
from thresher.hdl.bcnn_conv import ring, walker
from thresher.hdl.bcnn_conv.gear import Gear
from thresher.hdl.bcnn_conv.pool import Pool
from thresher.hdl.bcnn_conv.walker import Walker
from thresher.models.bcnn import folds, gears, latency, lowering
from thresher.models.bcnn.drawn import drawn
from thresher.models.bcnn.stages import Stage
from thresher.models.bcnn.timing import Timeline


def cases(seeds, most=150):
    """Stages of random networks, with the cycles in which their words enter and are due."""
    for seed in seeds:
        network = drawn(seed)
        rng = np.random.default_rng(seed)
        chosen = folds.choose(network, lanes=int(rng.integers(200, 2000)))
        stages = lowering.lower(network, chosen)
        timeline = Timeline(stages)
        for place, stage in enumerate(stages[1:], 1):
            if isinstance(stage, Stage) and stage.cycles <= most:
                yield pytest.param(timeline, place, id=f"{seed}-{stage.name}")


def taken(words, cycles):
    """Words by the cycles in which they come."""
    return dict(zip(np.asarray(cycles).tolist(), words, strict=True))


def expected(stage, words, number):
    """What the walker gives in a frame, tap by tap, of its memories' words."""
    starts = {sum(map(len, stage.groups[:g])): g for g in range(len(stage.groups))}
    for pixel in range(stage.pixels):
        y, x = divmod(pixel, stage.grid[1])
        taps = [(g, k, tap) for g, group in enumerate(stage.groups) for k, tap in enumerate(group)]
        for tap_number, (group, k, tap) in enumerate(taps):
            reader = stage.readers[tap.reader]
            height, width = reader.kind.shape[:2]
            row = y * reader.windows.stride[0] + tap.row
            column = x * reader.windows.stride[1] + tap.column
            inside = 0 <= row < height and 0 <= column < width
            word = (1 << reader.word_bits) - 1
            if inside:
                word = words[tap.reader][(row * width + column) * reader.words + tap.word]
            counts = not tap.null and (inside or reader.fill == "one")
            yield {
                "tap": tap_number, "group": group, "first": k == 0,
                "last": k == len(stage.groups[group]) - 1, "final": pixel == stage.pixels - 1,
                "inside": counts, "word": word if counts else None,
                "shortcut": [
                    words[len(stage.readers) + s][pixel * len(stage.groups) + group]
                    for s in range(len(stage.shortcuts))
                ] if tap_number in starts else None,
            }  # fmt: skip


@pytest.mark.parametrize(("timeline", "place"), list(cases(range(24))))
def test_words_of_taps(timeline, place, monkeypatch):
    """Frames behind each other and later; a reset, and frames again from the beginning.

    Memories as small as can be, or a little larger; of half of the stages no powers of two.
    """
    stage = timeline.stages[place]
    rng = np.random.default_rng([timeline.interval, place])
    if place % 2:
        monkeypatch.setattr(walker, "rows", lambda depth, bits: max(depth, 2))
    depths = [
        depth + int(rng.integers(3)) * int(rng.integers(2)) for depth in timeline.depths[place]
    ]
    waits = [timeline.offsets[place] - timeline.offsets[feed.source] for feed in stage.feeds]
    early = max(waits)
    gaps = [0, 0, int(rng.integers(1, 30))]
    starts = np.cumsum([early, *(timeline.interval + gap for gap in gaps)])
    reset = ResetSignalled(Walker(stage, depths))

    async def bench(ctx):
        for turn in range(2):
            writes, due = [{} for _ in stage.feeds], {}
            for number, start in enumerate(starts.tolist()):
                words = []
                for n, feed in enumerate(stage.feeds):
                    cycles = timeline.feeds[place][n].writes + start - waits[n]
                    bits = rng.integers(0, 2, (len(cycles), feed.word_bits))
                    values = [int("".join(map(str, row)), 2) for row in bits]
                    writes[n] |= taken(values, cycles)
                    words.append(values)
                due |= dict(enumerate(expected(stage, words, number), start + latency.WINDOW))
            end = 2 + (starts[1] if turn == 0 else max(due))  # the first turn ends by a reset
            for cycle in range(end):
                await hold(ctx, cycle, writes, due)
            ctx.set(reset.reset, 1)
            await ctx.tick()
            ctx.set(reset.reset, 0)

    async def hold(ctx, cycle, writes, due):
        walker = reset.component
        ctx.set(walker.start, int(cycle in starts))
        for n, entering in enumerate(writes):
            feed = getattr(walker, f"feed{n}")
            ctx.set(feed.en, int(cycle in entering))
            ctx.set(feed.word, entering.get(cycle, 0))
        if cycle + 1 in due:
            early = due[cycle + 1]
            assert (ctx.get(walker.o.tap), ctx.get(walker.o.group)) == (
                early["tap"], early["group"],
            )  # fmt: skip
        assert ctx.get(walker.o.valid) == (cycle in due)
        if cycle in due:
            now = due[cycle]
            for name in ("first", "last", "final", "inside"):
                assert ctx.get(getattr(walker.o, name)) == now[name], name
            if now["word"] is not None:
                assert ctx.get(walker.o.word) == now["word"]
            elif stage.unit == "pool":
                assert ctx.get(walker.o.word) == 0
            for s, word in enumerate(now["shortcut"] or ()):
                assert ctx.get(walker.o.shortcut[s]) == word
        await ctx.tick()

    run(reset.whole, bench)


def test_rings_are_powers_of_two_where_that_is_free():
    """Of one block RAM, or of any number that are not deeper than they would be anyway."""
    assert [ring.rows(depth, 64) for depth in (1, 2, 3, 600, 1024, 1025)] == [
        2, 2, 4, 1024, 1024, 1025,
    ]  # fmt: skip
    assert [ring.rows(depth, 4) for depth in (2049, 4096, 4097)] == [4096, 4096, 4097]
    assert ring.rows(9000, 1) == 16384


class ResetSignalled:
    """A component with a signal that resets it."""

    def __init__(self, component):
        self.component, self.reset = component, Signal()
        self.whole = ResetInserter(self.reset)(component)


def run(design, bench):
    m = Module()
    m.submodules.design = design
    m.d.sync += Signal().eq(0)  # a design of wires has no clock
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


SIZES = [
    (4, 4, 8),
    (2, 6, 6),
    (6, 2, 12),
    (6, 4, 12),
    (3, 5, 15),
    (8, 1, 8),
    (1, 8, 8),
    (10, 4, 20),
]


@pytest.mark.parametrize(("outputs", "channels", "pixel"), SIZES)
@pytest.mark.parametrize("apart", [1, 2, 5])
def test_gears(outputs, channels, pixel, apart):
    rng = np.random.default_rng(outputs * 100 + channels)
    pixels, bits = 12, 2
    values = rng.integers(0, 1 << bits, (pixels * pixel // outputs, outputs))
    beats = np.cumsum(rng.integers(1, 2 * apart, len(values)))
    sizes = {"outputs": outputs, "channels": channels, "pixel_channels": pixel}
    due = gears.times(beats, **sizes)
    words = values.reshape(-1, channels)
    depth = gears.depth(beats, **sizes)

    def packed(row):
        return sum(int(value) << n * bits for n, value in enumerate(row))

    gear = Gear(bits, outputs, channels, depth)
    given, expected_words = taken(map(packed, values), beats), taken(map(packed, words), due)

    async def bench(ctx):
        for cycle in range(int(due.max()) + 3):
            ctx.set(gear.i.valid, int(cycle in given))
            ctx.set(gear.i.payload, given.get(cycle, 0))
            assert ctx.get(gear.o.en) == (cycle in expected_words)
            if cycle in expected_words:
                assert ctx.get(gear.o.word) == expected_words[cycle]
            await ctx.tick()

    run(gear, bench)


def test_gears_know_how_much_waits():
    """Beats that come at once wait for words of those before, and no longer."""
    sizes = {"outputs": 4, "channels": 1, "pixel_channels": 4}
    beats = np.array([10, 11, 12, 40])
    found = gears.times(beats, **sizes)
    assert found.tolist() == [*range(11, 23), 41, 42, 43, 44]
    assert gears.depth(beats, **sizes) == 3
    assert gears.depth(np.array([0, 4, 8]), **sizes) == 1
    assert gears.depth(beats, outputs=1, channels=4, pixel_channels=4) == 0
    with pytest.raises(ValueError, match="3 channels at once, or 4, do not divide a pixel of 8"):
        gears.times(beats, outputs=3, channels=4, pixel_channels=8)
    with pytest.raises(ValueError, match="5 beats of 1 channels do not fill words of 4"):
        gears.times(np.arange(5), outputs=1, channels=4, pixel_channels=4)


@pytest.mark.parametrize(
    ("timeline", "place"),
    [case for case in cases(range(30)) if case.values[0].stages[case.values[1]].unit == "pool"][:3],
)
def test_pools(timeline, place):
    stage = timeline.stages[place]
    pool = Pool(stage)
    rng = np.random.default_rng(place)

    async def bench(ctx):
        for group in stage.groups * 3:
            words = rng.integers(0, 1 << min(stage.readers[0].word_bits, 30), len(group))
            insides = [int(not tap.null and rng.random() < 0.8) for tap in group]
            for k, (word, inside) in enumerate(zip(words.tolist(), insides, strict=True)):
                ctx.set(pool.i.valid, 1)
                ctx.set(pool.i.word, word)
                ctx.set(pool.i.inside, inside)
                ctx.set(pool.i.first, int(k == 0))
                ctx.set(pool.i.last, int(k == len(group) - 1))
                await ctx.tick()
                assert ctx.get(pool.o.valid) == (k == len(group) - 1)
            counted = [word for word, inside in zip(words.tolist(), insides, strict=True) if inside]
            assert ctx.get(pool.o.payload) == reduce(or_, counted, 0)
            ctx.set(pool.i.valid, 0)
            for _ in range(int(rng.integers(3))):
                await ctx.tick()
                assert not ctx.get(pool.o.valid)

    run(pool, bench)
