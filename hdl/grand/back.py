"""The way out: hard decisions in order, with the bits flipped that were guessed.

A row takes a cycle, and one of ``f`` flips ``max(1, f)``.  With ``w`` the cycle in which a row
is transferred on ``words``, ``t`` those in which its flips are, and ``o`` that in which it is
offered on ``word``, a consumer that is always ready given::

    step 1           =  max(w, t[1]) + 1  for a row that failed,  w + 1  for others
    step i           =  max(step i-1, t[i]) + 1
    o                =  last step + 1
    w of the next    >= last step

Flips are taken from the cycle on in which their row is: nothing waits for one that came late.
Where a word has several rows its flips are gathered first; see :class:`ByRow`.
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
    """Delivers all words, rows and words in order.

    ``flips`` has the positions to flip for each word that ``failed``, one at least, and ``last``
    with the last of them; a single one that is not ``found`` abandons the word, whose rows leave
    as they came, not ``found`` either.
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

        row = Signal(i.p.shape(), reset_less=True)
        filled, part = Signal(), Signal()  # there is a row; some of its flips are done
        step, done, free = Signal(), Signal(), Signal()
        ready = Signal()  # the flip in `mask` is for the row
        found, last = Signal(), Signal()  # with it
        wanted, hold, take = Signal(), Signal(), Signal()
        m.d.comb += [
            step.eq(filled & (ready | ~row.failed) & (o.ready | ~o.valid)),
            done.eq(step & (last | ~row.failed)),
            free.eq(done | ~filled),
            i.ready.eq(free),
            # The next cycle's flip is chosen now, since the mask is read from a memory.
            wanted.eq(Mux(free, i.valid & i.p.failed, row.failed)),
            ends.eq(Mux(free, i.p.last, row.last)),
            hold.eq(ready & ~step),
            flips.ready.eq(wanted & ~hold),
            take.eq(flips.ready & flips.valid),
        ]
        with m.If(free):
            m.d.sync += [row.eq(i.payload), filled.eq(i.valid)]
        with m.If(~hold):
            m.d.sync += [ready.eq(take), found.eq(flips.p.found), last.eq(flips.p.last)]

        # Of the masks the lower half have one bit set, the others none.
        masks = [1 << lane for lane in range(lanes)]
        m.submodules.masks = masks = Rom(lanes, masks + [0] * lanes)
        m.d.comb += [
            masks.en.eq(~hold),
            masks.addr.eq(Cat(flips.p.lane, ~(take & flips.p.flip))),
        ]
        with m.If(step):
            m.d.sync += [
                part.eq(~done),
                o.p.bits.eq(Mux(part, o.p.bits.as_value(), row.bits) ^ masks.data),
                o.p.found.eq(found | ~row.failed),
                o.p.last.eq(row.last),
            ]
        m.d.sync += o.valid.eq(done | (o.valid & ~o.ready))
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
    """Puts the flips of a word in the order of its rows.

    Gathers them, one a cycle; from the cycle after its last one came the word's rows are served:
    each has one entry a flip, or one that flips nothing.  ``ends`` tells that the row is the
    word's last one; with its last entry the word is forgotten, and the next word's flips are
    taken from the cycle after.
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
        mine = Signal(count)
        first = find_first(mine)
        m.d.comb += [
            mine.eq(Cat(p[lane_bits:] == row for p in positions) & left),
            self.i.ready.eq(~self.o.valid),
            self.o.p.lane.eq(
                reduce(
                    or_,
                    (
                        Mux(chosen, p[:lane_bits], 0)
                        for chosen, p in zip(first.one_hot, positions, strict=True)
                    ),
                )
            ),
            self.o.p.flip.eq(first.valid),
            self.o.p.last.eq(mine == first.one_hot),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                positions.as_value().eq(Cat(self.i.p.position, positions)),
                left.eq(Cat(self.i.p.found, left)),
                self.o.p.found.eq(self.i.p.found),
                self.o.valid.eq(self.i.p.last),
            ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += left.eq(left & ~first.one_hot)
            with m.If(self.o.p.last):
                m.d.sync += [row.eq(Mux(self.ends, 0, row + 1)), self.o.valid.eq(~self.ends)]
        return m
