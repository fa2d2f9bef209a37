"""The way in: each word's syndrome, the words as they came, and those that need guessing.

With ``c`` the cycle in which the last LLR beat of word k is transferred, and consumers that are
always ready, rows leave, one a cycle, in the cycles

* ``words``, the first row of word k: ``max(c + WORD, cycle of the row before + 1)``;
* ``suspects``, the first row of a suspect: ``c + STRAIGHT`` if the suspect before has left by
  ``c + STRAIGHT - 1``, else ``max(c + QUEUED, cycle of the row before + 1)``.

The cycle of the row before is that in which it was really taken, so that the same holds where a
consumer is not ready, a row then being offered from that cycle on.  LLR beats are taken one a
cycle.  Where ``window`` words are in flight the next beat is taken in the cycle after the last
row of the oldest word left ``words``, at the earliest.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.grand.config import GrandConfig
from ..lib.memory import Ram
from .backlog import Backlog
from .layout import column_layout, hard_layout, llr_layout, suspect_layout
from .syndrome import LATENCY, Syndrome

STRAIGHT = LATENCY + 1
"""Cycles from a suspect's last LLR beat to its first row, where nothing is in the way."""
QUEUED = LATENCY + 4
"""The same for a suspect that had to be noted down, at the least."""
WORD = LATENCY + 3
"""Cycles from a word's last LLR beat to its first row of hard bits, at the least."""


class Front(Component):
    """Finds the words whose hard decision is not a word of the code, and keeps all in flight.

    ``columns`` loads a code (:class:`.syndrome.Syndrome`).  While a column is offered no new
    word is taken; it is taken itself once all words have left.

    ``llr`` brings a word in ``ceil(n / lanes)`` beats, surplus positions of the last one as the
    largest LLR.  ``words`` gives the hard bits of all words, ``suspects`` the LLRs, straight from
    block RAM, and the syndrome of those that ``failed``: those of a syndrome other than 0 or, with
    ``skip_parity``, of odd weight.

    A word is in flight until its last row leaves ``words``, which for one that failed must be
    after its last row left ``suspects``.  ``wait_window`` is high while a beat waits because
    ``config.window`` words are in flight.
    """

    def __init__(self, config: GrandConfig):
        self.config = config
        super().__init__(
            {
                "columns": In(stream.Signature(column_layout(config))),
                "llr": In(stream.Signature(llr_layout(config))),
                "skip_parity": In(1),
                "words": Out(stream.Signature(hard_layout(config))),
                "suspects": Out(stream.Signature(suspect_layout(config))),
                "column_write": Out(1),
                "column_address": Out(range(config.length)),
                "column": Out(config.checks),
                "length": Out(range(config.length + 1)),
                "wait_window": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        c = self.config
        m.submodules.syndrome = syndrome = Syndrome(c)
        self.slots = (c.window - 1).bit_length()  # bits of a slot's number
        self.last_row = syndrome.last_row

        # In comes a beat, into the slot and row that are next.
        slot, row = Signal(self.slots + 1), Signal(range(c.beats))
        used = Signal(self.slots + 1)  # slots; the top bit means all of them
        take, leave = Signal(), Signal()
        m.d.comb += [
            self.llr.ready.eq(syndrome.loaded & ~used[-1] & ~(self.columns.valid & ~row.any())),
            self.wait_window.eq(self.llr.valid & syndrome.loaded & used[-1]),
            take.eq(self.llr.valid & self.llr.ready),
            leave.eq(self.words.valid & self.words.ready & self.words.p.last),
            syndrome.valid.eq(take),
            syndrome.row.eq(row),
            syndrome.bits.eq(Cat(llr[-1] for llr in self.llr.payload)),
            syndrome.last.eq(self._is_last(row)),
            syndrome.idle.eq(~used.any() & ~row.any()),
            syndrome.columns.valid.eq(self.columns.valid),
            syndrome.columns.payload.eq(self.columns.payload),
            self.columns.ready.eq(syndrome.columns.ready),
            self.column_write.eq(syndrome.column_write),
            self.column_address.eq(syndrome.column_address),
            self.column.eq(syndrome.column),
            self.length.eq(syndrome.length),
        ]
        complete = take & syndrome.last
        with m.If(complete != leave):
            m.d.sync += used.eq(used + Mux(leave, -1, 1))
        with m.If(take):
            m.d.sync += [row.eq(Mux(syndrome.last, 0, row + 1)), slot.eq(slot + syndrome.last)]

        # The slot of the beat that is in each stage of the syndrome, and in the next one.
        at = [slot]
        for stage in range(1, LATENCY + 2):
            at.append(Signal.like(slot, name=f"slot{stage}"))
            m.d.sync += at[stage].eq(at[stage - 1])
        failed = Signal()
        m.d.comb += failed.eq(syndrome.syndrome.any() | (self.skip_parity & syndrome.odd))

        bits = self._ring(m, "bits", syndrome.bits, take, slot, row)
        self._words(m, bits, syndrome.done, failed, at[LATENCY], at[LATENCY + 1])
        llrs = self._ring(m, "llrs", self.llr.payload, take, slot, row)
        self._suspects(m, llrs, syndrome, syndrome.done & failed, at[LATENCY - 1], at[LATENCY])
        return m

    def _is_last(self, row):
        return Const(1) if self.config.beats == 1 else row == self.last_row

    def _ring(self, m, name, beat, write, slot, row):
        """A memory of all words in flight."""
        # Nobody looks at a row that is read before it is complete.
        ring = Ram(beat.shape(), self.config.window << len(row), collides=False)
        m.submodules[name] = ring
        m.d.comb += [
            ring.write_en.eq(write),
            ring.write_addr.eq(Cat(row, slot[:-1])),
            ring.write_data.eq(beat),
        ]
        return ring

    def _words(self, m, bits, done, failed, slot, decided):
        """Reads the hard bits of all words up to slot ``decided``."""
        out = self.words
        verdicts = Ram(1, self.config.window, collides=False)
        m.submodules.verdicts = verdicts
        now, then = Signal(self.slots + 1), Signal(self.slots + 1)
        row = Signal(range(self.config.beats))
        step, last = Signal(), Signal()
        m.d.comb += [
            verdicts.write_en.eq(done),
            verdicts.write_addr.eq(slot[:-1]),
            verdicts.write_data.eq(failed),
            step.eq((now != decided) & (out.ready | ~out.valid)),
            last.eq(self._is_last(row)),
            then.eq(now + (step & last)),
            # The verdict is read a cycle before the bits.
            verdicts.read_addr.eq(then[:-1]),
            bits.read_addr.eq(Cat(row, now[:-1])),
            bits.read_en.eq(step),
            out.p.bits.eq(bits.read_data),
        ]
        m.d.sync += now.eq(then)
        with m.If(out.ready):
            m.d.sync += out.valid.eq(0)
        with m.If(step):
            m.d.sync += [
                out.valid.eq(1),
                out.p.failed.eq(verdicts.read_data),
                out.p.last.eq(last),
                row.eq(Mux(last, 0, row + 1)),
            ]

    def _suspects(self, m, llrs, syndrome, found, coming, slot):
        """Reads the LLRs of the words that failed.

        While nothing waits, the LLRs of any word are read as soon as its syndrome is known, and
        shown if it has failed.  Where they cannot be shown the word is noted down.
        """
        out = self.suspects
        entry = data.StructLayout({"slot": self.slots, "syndrome": self.config.checks, "odd": 1})
        # While it holds anything three suspects at least stand before it.
        m.submodules.noted = noted = Backlog(entry, self.config.window)
        reading = Signal(entry)  # whose LLRs are read: of a word noted down, or of any
        sure = Signal()  # that it has failed
        row = Signal(range(self.config.beats))
        free, straight, show, last = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            free.eq(out.ready | ~out.valid),
            straight.eq(found & free & ~sure & noted.empty),
            show.eq(sure | straight),
            last.eq(self._is_last(row)),
            noted.push.eq(found & ~straight),
            noted.i.slot.eq(slot[:-1]),
            noted.i.syndrome.eq(syndrome.syndrome),
            noted.i.odd.eq(syndrome.odd),
            noted.o.ready.eq(~sure | (free & last)),
            llrs.read_addr.eq(Cat(row, reading.slot)),
            llrs.read_en.eq(free),
            out.p.llrs.eq(llrs.read_data),
        ]
        with m.If(free):
            m.d.sync += [out.valid.eq(show), out.p.last.eq(last)]
            with m.If(~row.any()):
                m.d.sync += [
                    out.p.syndrome.eq(Mux(sure, reading.syndrome, syndrome.syndrome)),
                    out.p.odd.eq(Mux(sure, reading.odd, syndrome.odd)),
                ]
        with m.If(show & free & ~last):
            m.d.sync += [sure.eq(1), row.eq(row + 1)]
        with m.Elif(~sure | free):
            m.d.sync += [
                sure.eq(noted.o.valid),
                row.eq(0),
                reading.eq(noted.o.payload),
            ]
            with m.If(~noted.o.valid):
                m.d.sync += reading.slot.eq(coming[:-1])
