"""The way in: each word's syndrome, the words as they came, and those that need guessing.

With ``c`` the cycle in which a word's last LLR beat is taken, its first row is offered

* on ``words`` in cycle ``max(c + WORD, 1 + that in which the row before was taken)``;
* on ``suspects``, if it is one, in ``c + STRAIGHT`` if all suspects before have left by then, their
  last row taken by ``c + STRAIGHT - 1``; else in ``max(c + QUEUED, 1 + that in which the row
  before was taken)``.

Any other row is offered in the cycle after the row before was taken.  LLR beats are taken one a
cycle; where ``window`` words are in flight, from the cycle on after the oldest one's last row was
taken on ``words``.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.grand.config import GrandConfig
from ..lib.backlog import Backlog
from ..lib.memory import Ram
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
        self._slot = range(config.window)
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

        # In comes a beat, into the slot and row that are next.  A slot's number has a bit more
        # than its address, which tells a window of words from none.
        slot, row = Signal(range(2 * c.window)), Signal(range(c.beats))
        used = Signal.like(slot)  # slots; the top bit means all of them
        take, leave = Signal(), Signal()
        m.d.comb += [
            self.llr.ready.eq(syndrome.loaded & ~used[-1] & ~(self.columns.valid & ~row.any())),
            self.wait_window.eq(self.llr.valid & syndrome.loaded & used[-1]),
            take.eq(self.llr.valid & self.llr.ready),
            leave.eq(self.words.valid & self.words.ready & self.words.p.last),
            syndrome.valid.eq(take),
            syndrome.row.eq(row),
            syndrome.bits.eq(Cat(llr[-1] for llr in self.llr.payload)),
            syndrome.last.eq(self._is_last(row, syndrome)),
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
        self._words(m, bits, syndrome, failed, at[LATENCY], at[LATENCY + 1])
        llrs = self._ring(m, "llrs", self.llr.payload, take, slot, row)
        self._suspects(m, llrs, syndrome, syndrome.done & failed, at[LATENCY - 1], at[LATENCY])
        return m

    def _is_last(self, row, syndrome):
        return Const(1) if self.config.beats == 1 else row == syndrome.last_row

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

    def _words(self, m, bits, syndrome, failed, slot, decided):
        """Notes whether the word in ``slot`` failed; shows the words before slot ``decided``."""
        c, out = self.config, self.words
        verdicts = Ram(1, c.window, collides=False, block=c.window > 64)
        m.submodules.verdicts = verdicts
        now, then = Signal.like(slot), Signal.like(slot)
        row = Signal(range(c.beats))
        step, last = Signal(), Signal()
        m.d.comb += [
            verdicts.write_en.eq(syndrome.done),
            verdicts.write_addr.eq(slot[:-1]),
            verdicts.write_data.eq(failed),
            step.eq((now != decided) & (out.ready | ~out.valid)),
            last.eq(self._is_last(row, syndrome)),
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
        """Shows the words that failed; ``found`` tells that the word in ``slot`` did.

        While nothing waits, the first LLRs of every word are read while it is judged, and shown if
        it has failed.  Where they cannot be shown the word is noted down.  The next one to be
        judged is that in slot ``coming``.
        """
        out = self.suspects
        entry = data.StructLayout({"slot": self._slot, "syndrome": self.config.checks, "odd": 1})
        # There is room: where words pile up in its memory three more have been read from it.
        m.submodules.noted = noted = Backlog(entry, self.config.window)
        reading = Signal(entry, reset_less=True)  # the word whose LLRs are read
        sure = Signal()  # that it has failed: it was noted down, or has rows that were shown
        row = Signal(range(self.config.beats))
        free, straight, show, last = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            free.eq(out.ready | ~out.valid),
            straight.eq(found & free & ~sure & noted.empty),
            show.eq(sure | straight),
            last.eq(self._is_last(row, syndrome)),
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
