# amaranth: UnusedElaboratable=no
"""The blocks that pixels pass: windows, maxima, vectors of images, each against plain NumPy."""

import numpy as np
import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator
from thresher.hdl.amu_network.flow import values
from thresher.hdl.amu_network.folded import Folded
from thresher.hdl.amu_network.gather import Flatten
from thresher.hdl.amu_network.join import depths
from thresher.hdl.amu_network.pool import Largest
from thresher.hdl.amu_network.schedule import Arrival, Frame, Raster
from thresher.hdl.amu_network.window import Window
from thresher.hdl.lib.delay import Delay
from thresher.models.amu.layer import Format
from thresher.models.windows import Windows

FORMAT = Format(5, signed=True)


def unpack(bits, count, format=FORMAT):
    numbers = bits >> format.bits * np.arange(count, dtype=object) & (1 << format.bits) - 1
    return np.where(
        numbers >> format.bits - 1 & format.signed, numbers - (1 << format.bits), numbers
    )


def pack(numbers, format=FORMAT):
    bits = ((int(n) & (1 << format.bits) - 1) << format.bits * i for i, n in enumerate(numbers))
    return sum(bits)


def passed(block, pixels, gaps):
    """What leaves a block: (cycle, first, payload's bits) of each pixel.

    ``pixels``: (first, bits), each after so many cycles as ``gaps`` says.  While nothing is valid
    the payload is all ones.
    """
    found, taken = [], np.cumsum(np.asarray(gaps) + 1) - 1
    cycles = []

    async def drive(ctx):
        for (first, bits), gap in zip(pixels, gaps, strict=True):
            ctx.set(block.i.valid, 0)
            ctx.set(Value.cast(block.i.payload), -1)
            for _ in range(gap):
                await ctx.tick()
            ctx.set(block.i.valid, 1)
            ctx.set(block.i.first, int(first))
            ctx.set(Value.cast(block.i.payload), bits)
            await ctx.tick()
        ctx.set(block.i.valid, 0)
        await ctx.tick().repeat(40)

    async def watch(ctx):
        async for _, _, valid, first, bits in ctx.tick().sample(
            block.o.valid, block.o.first, Value.cast(block.o.payload)
        ):
            if valid:
                found.append((len(cycles), first, bits))
            cycles.append(None)

    simulator = Simulator(block)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    return found, taken


def flow(rng, images, frame, raster, idle):
    """Pixels of images [frames, height, width, channels] on their grid, with junk beside them, and
    ``idle`` blocks behind each second frame."""
    frames, height, width, channels = images.shape
    rows, columns = frame.rows // raster.step[0], frame.columns_of(raster)
    pixels = []

    def junk(rows):
        return rng.integers(*FORMAT.limits, (rows, columns, channels))

    for n in range(frames):
        grid = junk(rows)
        grid[:height, :width] = images[n]
        blocks = [grid] + [junk(frame.block // raster.step[0])] * (n % 2 * idle)
        whole = np.concatenate(blocks).reshape(-1, channels)
        pixels += [(int(k == 0), pack(pixel)) for k, pixel in enumerate(whole)]
    return pixels


def multiple(number, of):
    return -(-number // of) * of


def some_image(rng, size=(1, 1), padding=(0, 0)):
    """A grid in which windows of an image's pixels have room, also two pixels apart."""
    steps, sides, slots = rng.integers(1, 3, 2).tolist(), [], []
    for s, w, p in zip(steps, size, padding, strict=True):
        sides.append(max(int(rng.integers(1, 6)), w - 2 * p))
        slots.append(multiple(max(sides[-1] + p, w) + int(rng.integers(2)), 2) * s)
    frame = Frame(slots[0], slots[1], 1, 2 * steps[0])
    return frame, Raster((sides[0], sides[1]), (steps[0], steps[1]))


@pytest.mark.parametrize("seed", range(12))
def test_windows(seed):
    rng = np.random.default_rng(seed)
    size, stride = rng.integers(1, 5, 2).tolist(), rng.integers(1, 3, 2).tolist()
    padding = [int(rng.integers(s)) for s in size]
    frame, raster = some_image(rng, size, padding)
    windows = Windows(tuple(size), tuple(stride), tuple(padding))
    (height, width), channels = raster.size, 2
    outside = [3, -7] if seed % 3 else [0, 0]
    images = rng.integers(*FORMAT.limits, (3, height, width, channels))
    constant = outside if seed % 3 else None
    block = Window(values(FORMAT, channels), windows, raster, frame, constant)
    pixels = flow(rng, images, frame, raster, idle=3)
    # What windows of the last frame wait for
    pixels += [(0, pack(rng.integers(*FORMAT.limits, channels))) for _ in range(block.pixels)]
    found, taken = passed(block, pixels, rng.integers(0, 3, len(pixels)) * (seed % 2))

    padded = np.empty((3, height + 2 * padding[0], width + 2 * padding[1], channels), int)
    padded[:] = outside
    inner = (slice(padding[0], padding[0] + height), slice(padding[1], padding[1] + width))
    padded[:, inner[0], inner[1]] = images
    down, across = ((padded.shape[1 + axis] - size[axis]) // stride[axis] + 1 for axis in (0, 1))
    want = [
        padded[n, y * stride[0] : y * stride[0] + size[0], x * stride[1] : x * stride[1] + size[1]]
        for n in range(3) for y in range(down) for x in range(across)
    ]  # fmt: skip
    # Windows come in a grid themselves, of which those of the image are at the beginning.
    each = frame.columns_of(raster) // stride[1]
    place, got = None, []
    for cycle, first, bits in found:
        place = 0 if first else place + 1
        if place // each < down and place % each < across:
            got.append((cycle, bits))
    assert len(got) == len(want)
    numbers = size[0] * size[1] * channels
    for (_, bits), pixel in zip(got, want, strict=True):
        np.testing.assert_array_equal(unpack(bits, numbers), pixel.ravel())
    # The first one, behind its last pixel
    assert got[0][0] == taken[block.pixels] + block.latency


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_delay(count):
    delay = Delay(8, count)
    rng = np.random.default_rng(count)
    sent, seen = [], []

    async def bench(ctx):
        for _ in range(60):
            ctx.set(delay.en, int(en := rng.integers(2)))
            ctx.set(delay.i, int(value := rng.integers(256)))
            if en:
                seen.append(ctx.get(delay.o))
                sent.append(value)
            await ctx.tick()

    simulator = Simulator(delay)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen[count:] == sent[:-count]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_largest(count):
    block, rng = Largest(FORMAT, 3, count), np.random.default_rng(count)
    rows = rng.integers(*FORMAT.limits, (40, count, 3))

    async def bench(ctx):
        for n in range(len(rows) + block.latency):
            ctx.set(Value.cast(block.i), pack(rows[min(n, len(rows) - 1)].ravel()))
            if n >= block.latency:
                await ctx.delay(1e-9)
                got = unpack(ctx.get(Value.cast(block.o)), 3)
                np.testing.assert_array_equal(got, rows[n - block.latency].max(axis=0))
            await ctx.tick()

    simulator = Simulator(block)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("seed", range(6))
def test_an_image_becomes_a_vector_of_what_is_wanted(seed):
    rng = np.random.default_rng(seed)
    frame, raster = some_image(rng)
    channels = int(rng.integers(1, 4))
    images = rng.integers(*FORMAT.limits, (3, *raster.size, channels))
    wanted = rng.random(images[0].size) < 0.6
    block = Flatten(FORMAT, channels, raster, frame, wanted)
    pixels = flow(rng, images, frame, raster, idle=2)
    found, _ = passed(block, pixels, rng.integers(0, 3, len(pixels)) * (seed % 2))
    assert len(found) == 3
    for (_, first, bits), image in zip(found, images, strict=True):
        assert first
        np.testing.assert_array_equal(unpack(bits, wanted.size)[wanted], image.ravel()[wanted])


@pytest.mark.parametrize(("books", "folds"), [(1, 1), (5, 2), (7, 3), (9, 4), (6, 6), (5, 4)])
def test_sums_in_turn(books, folds):
    rng = np.random.default_rng(books)
    tables = rng.integers(-9, 60, (books, 4, 3)) * rng.integers(0, 2, 3)  # one may be all 0
    bias = rng.integers(-300, 300, 3)
    block = Folded(tables, bias, folds)
    codes = rng.integers(4, size=(40, books))
    pixels = [(n % 5 == 0, pack(row, Format(2))) for n, row in enumerate(codes)]
    gaps = folds - 1 + rng.integers(0, 3, len(codes)) * (np.arange(len(codes)) > 20)
    found, taken = passed(block, pixels, gaps)
    want = bias + tables[np.arange(books), codes].sum(axis=1)
    sums = block.o.payload.shape().elem_shape
    for (cycle, first, bits), (mark, _), at, row in zip(found, pixels, taken, want, strict=True):
        assert (cycle, first) == (at + block.latency, mark)
        np.testing.assert_array_equal(unpack(bits, 3, Format(sums.width, sums.signed)), row)


def test_only_branches_that_may_be_early_have_queues():
    frame, raster = Frame(4, 5, 2, 1), Raster((4, 5), (1, 1))
    start = Arrival()
    waits = start.behind(lambda slots: (slots[0] + 12,))
    assert depths([start, waits.later(7)], raster, frame) == [12 + 7 // 2 + 1, 0]
    assert depths([start.later(4), start], raster, frame) == [0, 4 // 2 + 1]
    assert depths([start, start, start], raster, frame) == [0, 0, 0]
    # Either may be early, depending on stalls; a queue makes its branch late, too.
    crossed = depths([start.later(33), waits], raster, frame)
    assert min(crossed) > 0
    # A cycle more is less than a queue takes.
    assert depths([start, start.later(1)], raster, frame) == [2, 1]
