# amaranth: UnusedElaboratable=no
"""Products of networks drawn at random: every stage alone, against the operations of its nodes."""

from itertools import product

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal, Value
from amaranth.sim import Simulator
from thresher.hdl.bcnn_conv.products import Products
from thresher.models.bcnn.drawn import drawn
from thresher.models.bcnn.lowering import lower, parts
from thresher.models.bcnn.network import Network, Node
from thresher.models.bcnn.operations import Add, Bias, Convolution, Input, Sum, Threshold
from thresher.models.bcnn.stages import Fold


def some_folds(rng, network):
    """Of every stage of products; one channel at a time now and then, which is odd."""
    folds = {}
    for part in parts(network):
        terms = getattr(part, "terms", ())
        blocks = [t.convolution.block or t.convolution.weights.shape[:4:3] for t in terms]
        if blocks:
            sizes = np.gcd.reduce(blocks).tolist()
            divisors = [[d for d in range(1, n + 1) if n % d == 0] for n in sizes]
            folds[terms[0].name] = Fold(*(int(rng.choice(d[-3:])) for d in divisors))
    return folds


def some_rows(rng, kind, frames):
    shape = (frames, *kind.shape, 2) if kind.complex else (frames, *kind.shape)
    if kind.format == "bits":
        return rng.choice((-1, 1), shape)
    return rng.integers(kind.low, kind.high + 1, shape)


def packed(values, bits):
    """Of integers [..., n] those of n times ``bits`` bits."""
    masked = np.asarray(values).astype(object) & ((1 << bits) - 1)
    return (masked << bits * np.arange(masked.shape[-1], dtype=object)).sum(axis=-1)


def held(reader, values):
    """[frames, height, width, words]: the words in the memory of ``reader``."""
    values = values.reshape(*values.shape[:1], *reader.kind.shape[:2], reader.words, -1)
    bits = reader.word_bits // values.shape[-1]
    return packed(values > 0 if reader.kind.format == "bits" else values, bits)


def walk(rng, stage, given):
    """What a walker gives, word by word, for sources that give ``given[their number]``."""
    memories = [held(r, given[r.source]) for r in stage.readers]
    shortcuts = [held(s.reader, given[s.reader.source]) for s in stage.shortcuts]
    taps = [(g, k, tap) for g, group in enumerate(stage.groups) for k, tap in enumerate(group)]
    for frame in range(len(memories[0])):
        for pixel in np.ndindex(*stage.grid):
            for place, (g, k, tap) in enumerate(taps):
                reader = stage.readers[tap.reader]
                y, x = np.multiply(pixel, reader.windows.stride).tolist()
                y, x = y + tap.row, x + tap.column
                there = 0 <= y < reader.kind.shape[0] and 0 <= x < reader.kind.shape[1]
                word = (1 << reader.word_bits) - 1 if reader.fill == "one" else rng.integers(2)
                yield {
                    "valid": 1,
                    "word": memories[tap.reader][frame, y, x, tap.word] if there else word,
                    "inside": not tap.null and (there or reader.fill == "one"),
                    "first": k == 0,
                    "last": k == len(stage.groups[g]) - 1,
                    "final": pixel == (stage.grid[0] - 1, stage.grid[1] - 1),
                    "shortcut": [memory[frame][pixel][g] for memory in shortcuts],
                    "tap": place,
                    "group": g,
                }


STYLES = "generic", "ecp5", "xilinx"
IDLE = {"valid": 0, "tap": 0, "group": 0}


def run(unit, schedule, resets):
    """(cycle, payload) of results.  ``schedule``: what enters in each cycle; ``resets``: when."""
    found, reset = [], Signal()

    async def bench(ctx):
        for cycle, (now, then) in enumerate(zip(schedule, [*schedule[1:], IDLE], strict=True)):
            ctx.set(reset, cycle in resets)
            for name, value in (now | {k: then[k] for k in ("tap", "group")}).items():
                ports = unit.i.shortcut if name == "shortcut" else [getattr(unit.i, name)]
                for port, word in zip(ports, value if name == "shortcut" else [value], strict=True):
                    ctx.set(port, int(word))
            if ctx.get(unit.o.valid):
                found.append((cycle, ctx.get(Value.cast(unit.o.payload))))
            await ctx.tick()

    simulator = Simulator(ResetInserter(reset)(unit))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def hold(rng, stage, given, wanted, style="generic"):
    """``stage`` to what it is to give, after a reset in mid-frame, with gaps between frames."""
    unit = Products(stage, style)
    frames = len(wanted)
    beats = list(walk(rng, stage, given))
    cut = int(rng.integers(1, stage.cycles + 1))
    schedule = [IDLE] * 2 + beats[:cut] + [IDLE]
    reset = len(schedule) - 1
    for frame in range(frames):
        schedule += [IDLE] * int(rng.choice([0, 0, 1, 7]))
        schedule += beats[frame * stage.cycles : (frame + 1) * stage.cycles]
    schedule += [IDLE] * (unit.latency + 2)

    if stage.thresholds is None:
        bits = len(unit.o.payload[0])
        assert -(1 << bits - 1) <= wanted.min()
        assert wanted.max() < 1 << bits - 1
    else:
        bits, wanted = 1, wanted > 0
    payloads = packed(wanted.reshape(frames, stage.beats, -1), bits)
    payloads = [*payloads[0], *payloads.ravel()]
    ends = [
        cycle for cycle, beat in enumerate(schedule)
        if beat["valid"] and beat["last"] and (beat["final"] or not stage.total)
    ]  # fmt: skip
    before = sum(end < reset for end in ends)
    payloads = payloads[:before] + payloads[stage.beats :]
    due = [
        (end + unit.latency, payload) for end, payload in zip(ends, payloads, strict=True)
        if end > reset or end + unit.latency <= reset
    ]  # fmt: skip
    assert run(unit, schedule, [reset]) == due
    return unit


def stages_of(network, folds, rows):
    """(stage, what all stages give, what it gives) of products."""
    stages = lower(network, folds)
    places = {node.name: k for k, node in enumerate(network.nodes)}
    values = network.trace(rows)
    given = [values[places[stage.name]] for stage in stages]
    return [(s, given, given[k]) for k, s in enumerate(stages) if k and s.unit == "products"]


@pytest.mark.parametrize("seed", range(12))
def test_drawn(seed):
    rng = np.random.default_rng(seed)
    network = drawn(seed)
    for stage, given, wanted in stages_of(
        network, some_folds(rng, network), some_rows(rng, network.input, 2)
    ):
        hold(rng, stage, given, wanted, STYLES[seed % len(STYLES)])


@pytest.mark.parametrize(
    ("channels", "complex", "low"), [(4, False, -4), (5, False, 3), (3, True, -6)]
)
def test_every_sum_at_every_threshold(channels, complex, low):
    """A fold of all outputs, whose weights are equal, and of one, whose tables have many rows."""
    pair, most = (2,) if complex else (), channels * (2 if complex else 1)
    limits = np.arange(low, most + 2)
    weights = np.ones((len(limits), 1, 1, channels, *pair), int)
    thresholds = np.stack([limits, limits[::-1]], axis=-1) if complex else limits
    flips = np.arange(thresholds.size).reshape(thresholds.shape) % 3 == 0
    net = Network((
        Node("in", Input((1, 1, channels), bits=1, complex=complex)),
        Node("sums", Convolution(weights), (0,)),
        Node("bits", Threshold(thresholds, flips), (1,)),
    ))  # fmt: skip
    rows = np.array(list(product((-1, 1), repeat=most))).reshape(-1, 1, 1, channels, *pair)
    rng = np.random.default_rng(channels)
    for outputs in 1, len(limits):
        for stage, given, wanted in stages_of(net, [Fold(outputs, channels)], rows):
            hold(rng, stage, given, wanted)


def network_of(rng, *, size, groups, complex, window=1, shortcuts=(), end="bias", total=True):
    """A convolution of bits whose 3 outputs a group, and as many channels, are folded by 3."""
    channels, pair = 3 * groups, (2,) if complex else ()
    weights = rng.choice((-1, 1), (channels, window, window, channels, *pair))
    padding = (window // 2, window // 2)
    nodes = [
        Node("in", Input((*size, channels), bits=1, complex=complex)),
        Node("sums", Convolution(weights, padding=padding), (0,)),
    ]
    if shortcuts:
        nodes.append(Node("add", Add(shortcuts), (1, *[0] * len(shortcuts))))
    if total:
        nodes.append(Node("sum", Sum(), (len(nodes) - 1,)))
    if end == "bias":
        made = Bias(rng.integers(-99, 99, (channels, *pair)))
    else:
        limit = int(np.prod(size)) ** 0.5 * 3
        values = rng.integers(-limit, limit + 1, (channels, *pair))
        made = Threshold(values, rng.random(values.shape) < 0.5)
    return Network((*nodes, Node("end", made, (len(nodes) - 1,))))


@pytest.mark.parametrize("end", ["bias", "threshold"])
@pytest.mark.parametrize(("groups", "complex"), [(1, True), (2, False), (3, True), (5, False)])
def test_totals(groups, complex, end):
    """Groups of a single tap, too, which take turns every cycle."""
    rng = np.random.default_rng(groups)
    channels = 3 * groups
    shortcuts = (-3, 2) if groups == 2 else ()
    size = (2, int(rng.integers(1, 4)))
    net = network_of(rng, size=size, groups=groups, complex=complex, end=end, shortcuts=shortcuts)
    for fold in Fold(3, channels), Fold(3, 3):
        for stage, given, wanted in stages_of(net, [fold], some_rows(rng, net.input, 3)):
            hold(rng, stage, given, wanted)


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("end", ["bias", "threshold"])
def test_shortcuts(end, complex):
    """With padding that adds nothing, and words of an odd number of channels."""
    rng = np.random.default_rng(complex)
    net = network_of(rng, size=(3, 2), groups=2, complex=complex, window=3,
                     shortcuts=(4, -7), end=end, total=False)  # fmt: skip
    for stage, given, wanted in stages_of(net, [Fold(3, 3)], some_rows(rng, net.input, 2)):
        hold(rng, stage, given, wanted)
