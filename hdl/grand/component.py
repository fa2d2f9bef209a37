"""The whole engine: one front end, decode cores, one back end."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...models.grand.config import GrandConfig
from ..lib.arith import count_ones
from .back import Back
from .core import Core
from .front import Front
from .layout import column_layout, llr_layout, word_layout

COUNTERS = ("words", "suspects", "abandoned", "tests", "wait_window")


class GrandEngine(wiring.Component):
    """Decodes words of any linear code by guessing their noise.

    ``columns``
        Loads a code: the columns of H, bit i of each being row i, ``last`` on the n-th.  With
        ``skip_parity`` they leave out the row of ones (:attr:`LinearCode.beside_parity`).  A code
        is taken while no word is in flight; it takes :func:`.syndrome.load_cycles`.
    ``llr``
        Words, ``lanes`` LLRs a beat, ``ceil(n / lanes)`` beats each; LLRs beyond n are to be the
        largest.  The hard decision of an LLR is its sign bit, its reliability the other bits, each
        XOR the sign; of equal ones the lower position counts as less reliable.
    ``word``
        The decoded words in the order of arrival, the same number of beats each, ``last`` on the
        final one.  Without ``found`` the word is abandoned: the bits are the hard decision.

    ``skip_parity`` may change while no word is in flight.

    What fails its check waits in a window of ``window`` words, and is given to the ``cores`` in
    turn; a beat a cycle enters and leaves.  :func:`.cycles.timing` counts exactly.
    """

    def __init__(self, config: GrandConfig):
        self.config = config
        members = {
            "columns": In(stream.Signature(column_layout(config))),
            "llr": In(stream.Signature(llr_layout(config))),
            "word": Out(stream.Signature(word_layout(config))),
        }
        if config.skip_parity:
            members["skip_parity"] = In(1, init=1)
        super().__init__(members | {name: Out(32) for name in COUNTERS})

    def elaborate(self, platform):
        m = Module()
        c = self.config
        skip = self.skip_parity if c.skip_parity else Const(0)
        m.submodules.front = front = Front(c)
        m.submodules.back = back = Back(c)
        wiring.connect(m, wiring.flipped(self.columns), front.columns)
        wiring.connect(m, wiring.flipped(self.llr), front.llr)
        wiring.connect(m, front.words, back.words)
        wiring.connect(m, back.word, wiring.flipped(self.word))
        m.d.comb += front.skip_parity.eq(skip)

        cores = []
        given, collected = Signal(range(c.cores)), Signal(range(c.cores))  # whose turn it is
        for n in range(c.cores):
            m.submodules[f"core_{n}"] = core = Core(c)
            cores.append(core)
            m.d.comb += [
                core.skip_parity.eq(skip),
                core.length.eq(front.length),
                core.column_write.eq(front.column_write),
                core.column_address.eq(front.column_address),
                core.column.eq(front.column),
                core.suspects.valid.eq(front.suspects.valid & (given == n)),
                core.suspects.payload.eq(front.suspects.payload),
                core.flips.ready.eq(back.flips.ready & (collected == n)),
            ]
        m.d.comb += [
            front.suspects.ready.eq(Array(core.suspects.ready for core in cores)[given]),
            back.flips.valid.eq(Array(core.flips.valid for core in cores)[collected]),
            back.flips.payload.eq(Array(core.flips.payload for core in cores)[collected]),
        ]
        for turn, transfer in ((given, front.suspects), (collected, back.flips)):
            with m.If(transfer.valid & transfer.ready & transfer.p.last):
                m.d.sync += turn.eq(Mux(turn == c.cores - 1, 0, turn + 1))
        self._count(m, front, cores)
        return m

    def _count(self, m, front, cores):
        """Counters, a cycle late: nothing waits for them."""
        one = {
            "words": self.word.valid & self.word.ready & self.word.p.last,
            "wait_window": front.wait_window,
        }
        each = {
            "suspects": [core.end for core in cores],
            "abandoned": [core.end & ~core.found for core in cores],
            "tests": [core.test for core in cores],
        }
        for name, events in ({name: [event] for name, event in one.items()} | each).items():
            counter = getattr(self, name)
            seen = Signal(len(events), name=f"{name}_seen")
            m.d.sync += [seen.eq(Cat(events)), counter.eq(counter + count_ones(seen))]
