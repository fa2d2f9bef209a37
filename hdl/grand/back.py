"""The way out: hard decisions in order, with the bits flipped that were guessed.

A row is taken, goes through one step, or one for each of its flips if it failed, and is offered;
one row a cycle, one of f flips ``max(1, f)``.  Of the cycles

* ``w``, in which the row is taken from ``words``: the first one in which it is offered there
  and the row before is in its last step or past it;
* ``t[1], t[2], ...``, in which its flips, or the entry that abandons it, are taken;
* ``s[1], s[2], ...``, those of its steps; a row that did not fail has s[1] alone,

each comes as early as this allows::

    t[1] >= w        t[i] >= s[i-1]
    s[1]  = max(t[1] + 1 or, of a row that did not fail, w + 1; when the row before was delivered)
    s[i]  = t[i] + 1

and the row is offered on ``word`` in the cycle after its last step.  So nothing waits for
flips in vain: those that come late are out two cycles later.

Where words have several rows, the flips of a word are gathered first, one a cycle.  With ``g``
the cycle in which its last one is taken, ``t`` are no transfers on ``flips``, but each of the
word's rows takes entries by the same rules from g + 1 on: one a flip, one if it has none.  The next
word's flips are taken after the last entry.
"""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.grand.config import GrandConfig
from ..lib.arith import find_first
from ..lib.memory import Rom
from .layout import flip_layout, hard_layout, word_layout


def _lane_layout(config: GrandConfig) -> data.StructLayout:
    """What to do with a row: the ``lane`` to ``flip``, if any; ``last`` of the row."""
    return data.StructLayout({"lane": range(config.lanes), "flip": 1, "found": 1, "last": 1})


class Back(Component):
    """Delivers the words in order.

    For each word that ``failed``, ``flips`` has the positions to flip, in any order and ``last``
    with the last of them; or a single entry that is not ``found``, and the word leaves as it came,
    not ``found`` either.  Flips are taken when their word is, not earlier; they may come straight
    from a memory.

    A flip costs a look-up table a lane: the row goes round through an XOR with a mask, of which
    a memory has one for each lane.
    """

    def __init__(self, config: GrandConfig):
        self.config = config
        super().__init__(
            {
                "words": In(stream.Signature(hard_layout(config))),
                "flips": In(stream.Signature(flip_layout(config))),
                "word": Out(stream.Signature(word_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self.config.lanes
        i, o = self.words, self.word
        ends = Signal()  # the row that flips are for is its word's last one
        flips = self._by_row(m, ends)

        # The row at work, if any: one that leaves as it is, or one that waits for its flips.
        row = Signal(i.p.shape(), reset_less=True)
        plain, waits, part = Signal(), Signal(), Signal()
        # The flip at work, if any; `final`: the last one of the row.
        ready, final, found = Signal(), Signal(), Signal()
        opens, step, done, free = Signal(), Signal(), Signal(), Signal()
        wanted, take = Signal(), Signal()
        m.d.comb += [
            opens.eq(o.ready | ~o.valid),
            step.eq(opens & (plain | ready)),
            done.eq(opens & (plain | final)),
            free.eq(done | ~(plain | waits)),
            i.ready.eq(free),
            # The next flip is chosen now, for the row that will be at work then.
            wanted.eq(Mux(free, i.valid & i.p.failed, waits)),
            ends.eq(Mux(free, i.p.last, row.last)),
            flips.ready.eq(wanted & (opens | ~ready)),
            take.eq(flips.valid & flips.ready),
        ]
        with m.If(free):
            m.d.sync += [
                row.eq(i.payload),
                plain.eq(i.valid & ~i.p.failed),
                waits.eq(i.valid & i.p.failed),
            ]
        # One mask for each lane, and as many that flip nothing.
        rows = [1 << lane for lane in range(lanes)] + [0] * lanes
        m.submodules.masks = masks = Rom(lanes, rows, block=lanes > 32)
        m.d.comb += [
            masks.en.eq(opens | ~ready),
            masks.addr.eq(Cat(flips.p.lane, ~(take & flips.p.flip))),
        ]
        with m.If(opens | ~ready):
            m.d.sync += [
                ready.eq(take),
                final.eq(take & flips.p.last),
                found.eq(flips.p.found),
            ]
        with m.If(step):
            m.d.sync += [
                part.eq(~done),
                o.p.bits.eq(Mux(part, o.p.bits.as_value(), row.bits) ^ masks.data),
                o.p.found.eq(found | plain),
                o.p.last.eq(row.last),
            ]
        with m.If(opens):
            m.d.sync += o.valid.eq(done)
        return m

    def _by_row(self, m, ends):
        """The stream of what to do with the rows that failed."""
        if self.config.beats > 1:
            m.submodules.by_row = by_row = ByRow(self.config)
            connect(m, flipped(self.flips), by_row.i)
            m.d.comb += by_row.ends.eq(ends)
            return by_row.o
        flips = stream.Signature(_lane_layout(self.config)).create()
        m.d.comb += [
            flips.valid.eq(self.flips.valid),
            flips.p.lane.eq(self.flips.p.position),
            flips.p.flip.eq(self.flips.p.found),
            flips.p.found.eq(self.flips.p.found),
            flips.p.last.eq(self.flips.p.last),
            self.flips.ready.eq(flips.ready),
        ]
        return flips


class ByRow(Component):
    """Serves the flips of a word row by row.

    Takes the flips of a word, then no more.  ``o`` has an entry for each flip of a row, or one that
    flips nothing, ``last`` with the row's last one; then those of the next row, until ``ends`` says
    that the row was the word's last one.  One flip, one entry a cycle.
    """

    def __init__(self, config: GrandConfig):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(flip_layout(config))),
                "o": Out(stream.Signature(_lane_layout(config))),
                "ends": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lane_bits = (self.config.lanes - 1).bit_length()
        count = len(self.config.staircase.limits)
        positions = Signal(data.ArrayLayout(self.i.p.position.shape(), count), reset_less=True)
        left = Signal(count)  # which of them are still to be flipped
        row = Signal(range(self.config.beats))
        mine, chosen = Signal(count), Signal(count)
        lanes = (Mux(bit, p[:lane_bits], 0) for bit, p in zip(chosen, positions, strict=True))
        m.d.comb += [
            mine.eq(Cat(p[lane_bits:] == row for p in positions) & left),
            chosen.eq(find_first(mine).one_hot),
            self.i.ready.eq(~self.o.valid),
            self.o.p.lane.eq(reduce(or_, lanes)),
            self.o.p.flip.eq(mine.any()),
            self.o.p.last.eq(mine == chosen),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                positions.as_value().eq(Cat(self.i.p.position, positions)),
                left.eq(Cat(self.i.p.found, left)),
                self.o.p.found.eq(self.i.p.found),
                self.o.valid.eq(self.i.p.last),
            ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += left.eq(left & ~chosen)
            with m.If(self.o.p.last):
                m.d.sync += [row.eq(Mux(self.ends, 0, row + 1)), self.o.valid.eq(~self.ends)]
        return m
