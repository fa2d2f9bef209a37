"""One word at a time from its LLRs to the positions to flip."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...models.grand.config import GrandConfig
from .dials import Dials
from .emitter import Emitter
from .layout import flip_layout, suspect_layout
from .ranker import Ranker
from .sequencer import Sequencer
from .tester import Tester

READ = 2
"""Cycles from taking a rank from the ranker to the first test of its logistic weight."""
KNOWN = 1 + Tester.latency
"""Cycles from a test to the end of the search, if it matches or is the last one."""
OUT = Tester.found_latency - Tester.latency + 2
"""Cycles from the end of a search to its first flip."""


class Core(wiring.Component):
    """Guesses the noise of suspects, in order.

    The ``columns`` of H, ``length`` of them, are written before the first word.  A word's flips
    come one a cycle; a word that is abandoned has one with ``found`` low.

    Two rankers take the words in turn, so that the first rank of the next word stands ready when
    a search ends.  It is taken in the cycle after ``end``, where it is there and fewer than
    :data:`.emitter.WORDS` words have flips that have not left.

    ``test`` is high for each test up to the one that matches, ``end`` once a word, ``found`` with
    it where one did.
    """

    def __init__(self, config: GrandConfig):
        self.config = config
        super().__init__(
            {
                "column_write": In(1),
                "column_address": In(range(config.length)),
                "column": In(config.checks),
                "length": In(range(config.length + 1)),
                "skip_parity": In(1),
                "suspects": In(stream.Signature(suspect_layout(config))),
                "flips": Out(stream.Signature(flip_layout(config))),
                "test": Out(1),
                "end": Out(1),
                "found": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.sequencer = sequencer = Sequencer(self.config)
        m.submodules.dials = dials = Dials(self.config)
        m.submodules.tester = tester = Tester(self.config)
        m.submodules.emitter = emitter = Emitter(self.config)

        busy, take, valid = Signal(), Signal(), Signal()
        position = Signal.like(dials.position)
        syndrome, odd = Signal(self.config.checks), Signal()
        self._words(m, take, valid, position, syndrome, odd)
        m.d.comb += take.eq(valid & dials.open & (busy | emitter.room) & ~self.end)
        m.d.sync += busy.eq((busy | take) & ~self.end)

        m.d.comb += [
            dials.column_write.eq(self.column_write),
            dials.column_address.eq(self.column_address),
            dials.column_data.eq(self.column),
            dials.length.eq(self.length),
            dials.restart.eq(self.end),
            dials.take.eq(take),
            dials.position.eq(position),
            sequencer.start.eq(take & ~busy),
            sequencer.stop.eq(self.end),
            sequencer.skip.eq(self.skip_parity),
            sequencer.odd.eq(odd),
            sequencer.rank.eq(dials.rank),
            dials.read.eq(sequencer.issue),
            dials.total.eq(sequencer.total),
            dials.prefix.eq(sequencer.prefix),
            tester.rank_valid.eq(dials.arrived),
            tester.first.eq(dials.first),
            tester.rank.eq(dials.column),
            tester.dial.eq(dials.dial),
            tester.target.eq(dials.offset ^ syndrome),
        ]
        m.d.sync += tester.valid.eq(sequencer.issue), tester.classes.eq(sequencer.classes)

        # Tests of which nothing is known yet; those behind the end of a search do not count.
        live, last = Signal(KNOWN), Signal(KNOWN)
        m.d.comb += [
            self.test.eq(live[-1]),
            self.found.eq(live[-1] & tester.hit),
            self.end.eq(live[-1] & (tester.hit | last[-1])),
        ]
        m.d.sync += [
            live.eq(Mux(self.end, 0, Cat(sequencer.issue, live))),
            last.eq(Cat(sequencer.last, last)),
        ]
        pattern = emitter.pattern
        tests = Cat(sequencer.total, sequencer.prefix)
        for n in range(KNOWN):
            delayed = Signal.like(tests, name=f"test_{n}", reset_less=True)
            m.d.sync += delayed.eq(tests)
            tests = delayed
        with m.If(self.end):
            m.d.sync += Cat(pattern.total, pattern.prefix).eq(tests)
            m.d.sync += pattern.found.eq(self.found)
        chosen = Signal(Tester.found_latency - Tester.latency)
        m.d.sync += chosen.eq(Cat(self.end, chosen))
        m.d.comb += [
            pattern.i.eq(tester.i),
            pattern.j.eq(tester.j),
            emitter.pattern_valid.eq(chosen[-1]),
            emitter.note.eq(take),
            emitter.rank.eq(dials.taken),
            emitter.position.eq(position),
            emitter.begin.eq(take & ~busy),
            emitter.end.eq(self.end),
        ]
        wiring.connect(m, emitter.flips, wiring.flipped(self.flips))
        return m

    def _words(self, m, take, valid, position, syndrome, odd):
        """Two rankers: one is loaded while the other's word is searched."""
        filled, searched = Signal(), Signal()  # which of them
        rankers, syndromes, odds = [], [], []
        for n in range(2):
            m.submodules[f"ranker_{n}"] = ranker = Ranker(self.config)
            rankers.append(ranker)
            syndromes.append(Signal.like(syndrome, name=f"syndrome_{n}", reset_less=True))
            odds.append(Signal(name=f"odd_{n}", reset_less=True))
            m.d.comb += [
                ranker.llrs.valid.eq(self.suspects.valid & (filled == n)),
                ranker.llrs.p.llrs.eq(self.suspects.p.llrs),
                ranker.llrs.p.last.eq(self.suspects.p.last),
                ranker.clear.eq(self.end & (searched == n)),
                ranker.o.ready.eq(take & (searched == n)),
            ]
            with m.If(ranker.llrs.valid & ranker.llrs.ready):
                m.d.sync += [
                    filled.eq(filled ^ self.suspects.p.last),
                    syndromes[n].eq(self.suspects.p.syndrome),
                    odds[n].eq(self.suspects.p.odd),
                ]
        with m.If(self.end):
            m.d.sync += searched.eq(~searched)
        m.d.comb += [
            self.suspects.ready.eq(Array(ranker.llrs.ready for ranker in rankers)[filled]),
            valid.eq(Array(ranker.o.valid for ranker in rankers)[searched]),
            position.eq(Array(ranker.o.payload for ranker in rankers)[searched]),
            syndrome.eq(Array(syndromes)[searched]),
            odd.eq(Array(odds)[searched]),
        ]
