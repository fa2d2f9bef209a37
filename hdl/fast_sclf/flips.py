"""Judges the selections of a frame's first decoding and tells which one to flip next.

A selection that keeps metrics from k and drops metrics from d upwards, both with what was
subtracted from all of them before, is judged by (``alpha`` in units of 1 / 32)::

    E = alpha * d - 32 * k

Attempt a flips the one with the a-th least E, of equals the earlier.  The least is found while
judging; each next one by a walk over all while the attempt before it runs.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..lib.memory import Ram
from .shape import Shape

WALK = 3
"""Cycles, and one for each selection, from a start until the walk for the next attempt is done."""


class Flips(wiring.Component):
    """Flip controller.

    ``start`` begins a decoding with the next cycle: of the frame in buffer ``frame``, its first
    one with ``first``, else the attempt after the one that was started before, or the first
    attempt with ``restart``.  ``selections`` is how many a decoding has.

    ``selection`` is high in every cycle that makes one; ``worst`` tells in that cycle that it is
    to be flipped, and in the next ``kept``, ``dropped`` and ``offset`` are those of it.

    ``busy``: the next attempt's selection is not known yet.
    """

    def __init__(self, shape: Shape):
        bits = shape.config.metric_bits
        self._bits, self._depth = bits, shape.selections
        super().__init__(
            {
                "alpha": In(8),
                "selections": In(range(self._depth + 1)),
                "start": In(1),
                "frame": In(1),
                "first": In(1),
                "restart": In(1),
                "selection": In(1),
                "kept": In(bits),
                "dropped": In(bits),
                "offset": In(bits + 4),
                "worst": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        judged = signed(self._bits + 14)
        number = range(self._depth)
        m.submodules.memory = memory = Ram(judged, 2 * self._depth, collides=False)

        frame, first = Signal(), Signal(init=1)  # of the decoding that runs
        count = Signal(number)  # the selection that comes next
        target = Signal(number)  # the one to flip
        value = Signal(judged)  # its E
        with m.If(self.start):
            m.d.sync += [frame.eq(self.frame), first.eq(self.first), count.eq(0)]
        with m.Elif(self.selection):
            m.d.sync += count.eq(count + 1)
        m.d.comb += self.worst.eq(self.selection & ~first & (count == target))

        # Three steps behind: the sums, E, and the memory and the least of all.
        steps = [Signal(2, name=f"step_{i}") for i in range(3)]  # a selection; of which frame
        at = [Signal(number, name=f"at_{i}") for i in range(3)]
        kept, dropped = (Signal(self._bits + 5, name=n) for n in ("kept_all", "dropped_all"))
        e = Signal(judged)
        m.d.sync += [
            *(later.eq(earlier) for later, earlier in zip(steps[1:], steps, strict=False)),
            *(later.eq(earlier) for later, earlier in zip(at[1:], at, strict=False)),
            steps[0].eq(Cat(self.selection & first, frame)),
            at[0].eq(count),
            kept.eq(self.kept + self.offset),
            dropped.eq(self.dropped + self.offset),
            e.eq(self.alpha * dropped - (kept << 5)),
        ]
        least = [Signal(judged, name=f"least_{i}") for i in range(2)]
        which = [Signal(number, name=f"which_{i}") for i in range(2)]
        m.d.comb += [
            memory.write_en.eq(steps[2][0]),
            memory.write_addr.eq(Cat(at[2], steps[2][1])),
            memory.write_data.eq(e),
        ]
        for i in range(2):
            here = steps[2][0] & (steps[2][1] == i)
            with m.If(here & ((at[2] == 0) | (e < least[i]))):
                m.d.sync += [least[i].eq(e), which[i].eq(at[2])]

        # The walk: everything above (value, target) in the order of (E, selection).
        walk, fetched = Signal(number), Signal()
        walking, there = Signal(), Signal()
        found, best, chosen = Signal(), Signal(judged), Signal(number)
        read = Signal(judged)
        m.d.comb += [
            self.busy.eq(walking | there | fetched),
            memory.read_addr.eq(Cat(walk, frame)),
            read.eq(memory.read_data),
        ]
        looked, considered = Signal(number), Signal(judged)  # one that was read
        seen = Signal(number)
        m.d.sync += [there.eq(walking), looked.eq(walk), fetched.eq(there)]
        m.d.sync += [considered.eq(read), seen.eq(looked)]
        with m.If(walking):
            m.d.sync += [walk.eq(walk + 1), walking.eq(walk + 1 != self.selections)]
        above = (considered > value) | ((considered == value) & (seen > target))
        with m.If(fetched & above & (~found | (considered < best))):
            m.d.sync += [found.eq(1), best.eq(considered), chosen.eq(seen)]
        with m.If(self.start & ~self.first):
            m.d.sync += [
                target.eq(Mux(self.restart, Mux(self.frame, which[1], which[0]), chosen)),
                value.eq(Mux(self.restart, Mux(self.frame, least[1], least[0]), best)),
                walk.eq(0),
                walking.eq(1),
                found.eq(0),
            ]
        with m.Elif(self.start):  # the walk of a frame that is done with
            m.d.sync += [walking.eq(0), there.eq(0), fetched.eq(0)]
        return m
