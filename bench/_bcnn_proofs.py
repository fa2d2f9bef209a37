# amaranth: UnusedElaboratable=no
"""That two popcounts are as good as four, and that trees of cells count: proofs, as rows."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from amaranth.hdl import Assert, Cat, Elaboratable, Module, Mux, Signal, Value
from amaranth.sim import Simulator

from ..fpga import tools
from ..hdl.bcnn_conv.cells import later
from ..hdl.bcnn_conv.mac import Mac
from ..hdl.bcnn_conv.popcount import Popcount, Style
from ..hdl.lib import formal
from ..hdl.lib.arith import count_ones
from ..hdl.verilog import emit
from .report import Bar, Progress, Row

STYLES: tuple[Style, ...] = ("generic", "ecp5", "xilinx")
CHANNELS = (1, 3, 2, 4)
"""Of complex words whose products are proved."""
BITS = (3, 4, 7, 2, 5, 6, 1)
"""That trees count, proved to be counts."""
CELL_BITS = (4, 13, 1, 2, 3, 7, 16, 23)
"""Of trees of cells, proved to be equal to a tree of sums."""
QUICK = 2
"""So many of the sizes above."""
LARGE = (64, 144, 256)
"""That are counted in a simulator."""
TIMEOUT = 300
"""Seconds of a proof."""
MODELS: dict[Style, str] = {"ecp5": "+/ecp5/cells_sim.v", "xilinx": "+/xilinx/cells_sim.v"}
"""What Yosys says that the vendors' cells do."""


def proofs_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Each kind of proof: of single products all cases, of words by solvers, of large ones random
    words."""
    what = "complex products (of 16) with u + v = Re and u - v = Im"
    yield Row(what, exact_products(), Bar("==", 16))
    channels, bits = (CHANNELS[:QUICK], BITS[:QUICK]) if quick else (CHANNELS, BITS)
    for style in STYLES:
        progress(f"proofs, {style}")
        what = f"{style}: two popcounts are four, and words outside are 0, proved of"
        what = f"{what} {_list(channels)} channels"
        yield _proved(what, [TwoAreFour(n, style) for n in channels])
        what = f"{style}: a tree is the number of bits that agree with weights, proved of"
        yield _proved(f"{what} {_list(bits)} bits", [Counts(n, style) for n in bits])
    for style in MODELS:
        progress(f"cells, {style}")
        sizes = CELL_BITS[:QUICK] if quick else CELL_BITS
        same = sum(cells_agree(n, style) for n in sizes)
        what = f"{style}: with Yosys' models of the cells equal to the generic one, proved of"
        yield Row(f"{what} {_list(sizes)} bits", same, Bar("==", len(sizes)))
    words = 100 if quick else 2000
    for style in STYLES:
        progress(f"random words, {style}")
        wrong = sum(miscounted(n, style, words) for n in LARGE)
        what = f"{style}: wrong of {words:,} random words each of {_list(LARGE)} bits"
        yield Row(what, wrong, Bar("==", 0))


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _proved(what: str, specs: Sequence[Elaboratable]) -> Row:
    """How many of ``specs`` are proved."""
    done = 0
    for spec in specs:
        with suppress(formal.RefutedError, TimeoutError):
            formal.prove(spec, TIMEOUT)
            done += 1
    return Row(what, done, Bar("==", len(specs)))


def cells_agree(bits: int, style: Style) -> bool:
    """Whether a popcount of instances is equal to a generic one from any state on, as soon as
    words have come through."""
    both: tuple[Style, Style] = "generic", style
    counts = {name: Popcount(bits, weighted=True, style=name) for name in both}
    cycles = counts[style].latency + 1
    with TemporaryDirectory() as folder:
        for name, count in counts.items():
            Path(folder, f"{name}.v").write_text(emit(count, name), encoding="utf-8")
        commands = []
        for name in counts:
            commands += [
                f"read_verilog {name}.v",
                f"read_verilog -overwrite -D NO_INCLUDES {MODELS[style]}",
                f"prep -flatten -top {name}",
                f"design -stash {name}",
            ]
        commands += [f"design -copy-from {name} {name}" for name in counts]
        commands += [
            f"miter -equiv -flatten generic {style} miter",
            f"sat -verify -set-def-inputs -set in_rst 0 -seq {cycles + 1} -prove-skip {cycles} "
            "-prove trigger 0 miter",
        ]
        try:
            tools.yosys(Path(folder), commands, TIMEOUT)
        except tools.ToolFailed as failure:
            if "proof did fail" not in failure.log:
                raise
            return False
    return True


def miscounted(bits: int, style: Style, words: int) -> int:
    """How many random ``words``, many and few bits of which agree with weights, have a wrong
    count."""
    rng = np.random.default_rng(bits)
    count = Popcount(bits, weighted=True, style=style)
    share = rng.random((words, 1))
    weights = rng.random((words, bits)) < 0.5
    agree = rng.random((words, bits)) < np.round(2 * share, 1) - 0.5
    given = [[_word(row) for row in rows] for rows in (weights == agree, weights)]
    wanted, found = agree.sum(axis=1).tolist(), []

    async def bench(ctx) -> None:
        for n in range(words + count.latency):
            ctx.set(count.i, given[0][min(n, words - 1)])
            ctx.set(count.w, given[1][min(n, words - 1)])
            await ctx.tick()
            found.append(ctx.get(count.o))

    simulator = Simulator(count)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    found = found[count.latency - 1 :]
    return sum(a != b for a, b in zip(wanted, found[:words], strict=True))


def _word(bits: np.ndarray) -> int:
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def exact_products() -> int:
    """How many products of 1 and -1, real and imaginary, have u + v = Re and u - v = Im."""
    exact = 0
    for xr, xi, wr, wi in product((-1, 1), repeat=4):
        z = complex(xr, xi) * complex(wr, wi)
        k = wr == wi
        u, v = wr * (xr if k else xi), wr * (-xi if k else xr)
        exact += z == complex(u + v, u - v)
    return exact


class TwoAreFour(Elaboratable):
    """A complex Mac's results are what four popcounts make of the same word."""

    def __init__(self, channels: int, style: Style):
        self.channels = channels
        self.style: Style = style

    def elaborate(self, platform) -> Module:
        m, n = Module(), self.channels
        m.submodules.mac = mac = Mac("complex", 1, n, style=self.style)
        for port in (mac.word, Value.cast(mac.weights), mac.inside):
            formal.anything(m, port)
        weights = Value.cast(mac.weights)
        xr, xi, wr, k = mac.word[::2], mac.word[1::2], weights[::2], weights[1::2]
        wi = ~(wr ^ k)
        agree = [count_ones(~(a ^ b)) for a, b in ((xr, wr), (xi, wi), (xr, wi), (xi, wr))]
        real = Mux(mac.inside, 2 * agree[0] - n - (2 * agree[1] - n), 0)
        imaginary = Mux(mac.inside, 2 * agree[2] - n + (2 * agree[3] - n), 0)
        results = Cat(
            2 * mac.re[0] - 2 * n == _then(m, real, mac.latency),
            2 * mac.im[0] == _then(m, imaginary, mac.latency),
        )
        _claim(m, results.all(), mac.latency)
        return m


class Counts(Elaboratable):
    """A popcount is the sum of the bits that agree with weights."""

    def __init__(self, bits: int, style: Style):
        self.bits = bits
        self.style: Style = style

    def elaborate(self, platform) -> Module:
        m, n = Module(), self.bits
        m.submodules.count = count = Popcount(n, weighted=True, outside=n // 2, style=self.style)
        for port in (count.i, count.w, count.inside):
            formal.anything(m, port)
        agree = Mux(count.inside, count_ones(~(count.i ^ count.w)), n // 2)
        _claim(m, count.o == _then(m, agree, count.latency), count.latency)
        return m


def _then(m: Module, value: Value, cycles: int) -> Value:
    named = Signal(value.shape())
    m.d.comb += named.eq(value)
    return later(m, named, cycles)


def _claim(m: Module, holds: Value, cycles: int) -> None:
    """From ``cycles`` after power-up on."""
    filled = Signal(range(cycles + 1))
    with m.If(filled != cycles):
        m.d.sync += filled.eq(filled + 1)
    m.d.comb += Assert(holds | (filled != cycles))
