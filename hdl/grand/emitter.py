"""From the ranks of a pattern to the positions to flip."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...models.grand.config import GrandConfig
from ..lib.arith import find_first
from ..lib.fifo import Fifo
from ..lib.memory import Ram
from .layout import flip_layout
from .shape import Shape

WORDS = 4
"""Words, at most, whose ranks are noted and whose flips have not all left."""


def pattern_layout(config: GrandConfig) -> data.StructLayout:
    """What became of a search: the ranks of the pattern, 0 where there is none.

    The third rank of the triple is ``total - i - j``.
    """
    shape = Shape(config)
    return data.StructLayout(
        {
            "found": 1,
            "prefix": data.ArrayLayout(shape.part, shape.prefix),
            "i": shape.first,
            "j": shape.second,
            "total": shape.total,
        }
    )


class Emitter(wiring.Component):
    """Looks up the position of each rank of a pattern, one a cycle.

    ``note`` keeps the ``position`` of ``rank`` of the present word, until ``end`` moves on to the
    next word.  There is ``room`` for that while fewer than :data:`WORDS` words have begun
    (``begin``) whose last flip has not left.  ``pattern_valid`` brings their patterns in order;
    the first flip is on ``flips`` two cycles later, where no flips of other words are in the way.
    """

    def __init__(self, config: GrandConfig):
        self.config = config
        super().__init__(
            {
                "note": In(1),
                "rank": In(Shape(config).rank),
                "position": In(range(config.length)),
                "begin": In(1),
                "end": In(1),
                "room": Out(1),
                "pattern_valid": In(1),
                "pattern": In(pattern_layout(config)),
                "flips": Out(stream.Signature(flip_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A queue never overflows: there are at most WORDS words.
        m.submodules.queue = queue = Fifo(self.pattern.shape(), WORDS, block=False)
        m.d.comb += [queue.i.valid.eq(self.pattern_valid), queue.i.payload.eq(self.pattern)]

        pattern = queue.o.payload
        third = Signal.like(pattern.total)
        m.d.comb += third.eq(pattern.total - pattern.i - pattern.j)
        ranks = [*pattern.prefix, pattern.i, pattern.j, third]
        left = Signal(len(ranks))  # ranks whose position is still to be read
        sent = Signal(len(ranks))
        first = find_first(left)
        last, step, leave = Signal(), Signal(), Signal()
        m.d.comb += [
            left.eq(Cat(rank.any() for rank in ranks) & ~sent),
            last.eq((left == first.one_hot) | ~pattern.found),
            step.eq(queue.o.valid & (self.flips.ready | ~self.flips.valid)),
            leave.eq(step & last),
            queue.o.ready.eq(leave),
        ]
        with m.If(step):
            m.d.sync += [
                sent.eq(Mux(last, 0, sent | first.one_hot)),
                self.flips.p.found.eq(pattern.found),
                self.flips.p.last.eq(last),
                self.flips.valid.eq(1),
            ]
        with m.Elif(self.flips.ready):
            m.d.sync += self.flips.valid.eq(0)

        written, read = Signal(range(WORDS)), Signal(range(WORDS))
        words = Signal(range(WORDS + 1))
        m.submodules.positions = positions = Ram(
            self.position.shape(), WORDS << len(self.rank), collides=False
        )
        chosen = (Mux(bit, rank, 0) for bit, rank in zip(first.one_hot, ranks, strict=True))
        m.d.comb += [
            positions.write_en.eq(self.note),
            positions.write_addr.eq(Cat(self.rank, written)),
            positions.write_data.eq(self.position),
            positions.read_en.eq(step),
            positions.read_addr.eq(Cat(_wide(reduce(or_, chosen), len(self.rank)), read)),
            self.flips.p.position.eq(positions.read_data),
            self.room.eq(~words[-1]),
        ]
        m.d.sync += words.eq(words + self.begin - leave)
        with m.If(self.end):
            m.d.sync += written.eq(written + 1)
        with m.If(leave):
            m.d.sync += read.eq(read + 1)
        return m


def _wide(value, width):
    return Cat(value, *([0] * (width - len(value))))[:width]
