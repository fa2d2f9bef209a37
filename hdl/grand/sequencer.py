"""Which tests make up a search, one a cycle, in the golden order.

For each logistic weight LW upwards there is one test of all singles, pairs and triples with
that sum, then, for each number h > 3 of flipped bits, one for each *prefix*: the h - 3 smallest
ranks of the pattern, ascending, prefixes in lexicographic order.  The triple behind a prefix
sums to ``total = LW - sum(prefix)`` and starts above it.

The enumeration needs no table.  Let all ranks behind position t of a prefix be the least
possible, each one above the one before, the triple included; what is then left of LW is the
position's *slack*.  Raising the rank at t by one raises the c - 1 ranks behind it as well, so it
takes c off the slack and is possible iff ``slack >= c``; c is 4 for the last position of a
prefix, 5 for the one before, and so on.  All later positions then have this slack, too.  The
successor of a prefix raises its last position that can be raised; where the prefix's last rank
is bounded, no position may be raised so far that it exceeds the bound.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...models.grand.config import GrandConfig
from .shape import Shape


class Sequencer(wiring.Component):
    """Enumerates the tests of one word from the cycle after ``start`` until ``stop``.

    While ``issue`` is high a test stands on the outputs, and another one does in the next cycle:
    ``total``, ``prefix`` (from the front 0 where it is shorter) and ``classes``, which of singles,
    pairs and triples count.  After the one with ``last`` there is none.  The first test of a
    weight waits while ``rank``, the next rank to arrive, is this weight.

    ``odd`` and ``skip`` hold from ``start`` on: with ``skip`` only patterns of an odd, or even,
    number of bits are tested.
    """

    def __init__(self, config: GrandConfig):
        self.config, self.shape = config, Shape(config)
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "odd": In(1),
                "skip": In(1),
                "rank": In(self.shape.rank),
                "issue": Out(1),
                "last": Out(1),
                "total": Out(self.shape.total),
                "classes": Out(3),
                "prefix": Out(data.ArrayLayout(self.shape.part, self.shape.prefix)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        limits = self.config.staircase.limits
        running, dial = Signal(), Signal()  # dial: the test has no prefix
        lw = Signal.like(self.total)
        wanted = [Signal(name=f"wanted_{h}") for h in range(1, len(limits) + 1)]
        for h, (limit, tested) in enumerate(zip(limits, wanted, strict=True), 1):
            parity = self.odd if h % 2 else ~self.odd
            m.d.comb += tested.eq((~self.skip | parity) & (lw <= limit))
        m.d.comb += [
            self.issue.eq(running & ~(dial & (lw == self.rank))),
            self.classes.eq(Mux(dial, Cat(wanted[:3]), 0b100)),
        ]

        longer, begin = self._longer(m, lw, dial, wanted)
        succeeds, succeed = self._successor(m)
        even, odd = limits[1], max(limits[0], limits[2])
        end = Signal.like(lw)  # the last weight that has a test
        m.d.comb += end.eq(Mux(self.skip, Mux(self.odd, odd, even), max(even, odd)))
        m.d.comb += self.last.eq((lw == end) & ~longer & ~succeeds)

        following = Signal.like(lw)
        m.d.comb += following.eq(Mux(self.start, 1, lw + 1))
        with m.If(self.issue & succeeds):
            succeed()
        with m.Elif(self.issue & longer):
            begin()
        with m.Elif(self.issue | self.start):
            m.d.sync += [dial.eq(1), lw.eq(following), self.total.eq(following)]
            m.d.sync += [Cat(self.prefix).eq(0), Cat(self._slack).eq(0)]
        with m.If(self.start | self.stop | self.issue & self.last):
            m.d.sync += running.eq(self.start)
        return m

    def _longer(self, m, lw, dial, wanted):
        """Whether there are prefixes of more ranks for this weight, and how to begin there."""
        count = self.shape.prefix
        self._slack = [Signal.like(lw, name=f"slack_{t}") for t in range(count)]
        size = self._size = Signal(range(count + 1))  # ranks of the latest prefix
        there = [
            wanted[h - 1] & (lw >= h * (h + 1) // 2) & (dial | (size < h - 3))
            for h in range(4, 4 + count)
        ]

        def begin():
            condition = m.If
            for a, possible in enumerate(there, 1):
                with condition(possible):
                    first = count - a
                    least = a * (a + 1) // 2
                    m.d.sync += [dial.eq(0), size.eq(a), self.total.eq(lw - least)]
                    m.d.sync += [self.prefix[first + q].eq(1 + q) for q in range(a)]
                    slack = lw - (a + 3) * (a + 4) // 2
                    m.d.sync += [self._slack[first + q].eq(slack) for q in range(a)]
                condition = m.Elif

        return Cat(there).any(), begin

    def _successor(self, m):
        """Whether the present prefix has a successor of as many ranks, and how to step there."""
        count = self.shape.prefix
        # Positions that the prefix does not have, and all of them in a dial's test, have slack 0.
        can = [
            (self._slack[t] >= 3 + count - t) & (self.prefix[t] != self._highest(t))
            for t in range(count)
        ]

        def step():
            condition = m.If
            for t in reversed(range(count)):
                with condition(can[t]):
                    slack = Signal.like(self._slack[t], name=f"left_{t}")
                    m.d.comb += slack.eq(self._slack[t] - (3 + count - t))
                    for q in range(t, count):
                        m.d.sync += self.prefix[q].eq(self.prefix[t] + (1 + q - t))
                        m.d.sync += self._slack[q].eq(slack)
                    if t == count - 1:
                        m.d.sync += self.total.eq(self.total - 1)
                    else:
                        last = self.prefix[t] + (count - t)
                        # Not 3 * last, which would become a multiplier.
                        m.d.sync += self.total.eq(slack + (last + (last << 1)) + 6)
                condition = m.Elif

        return Cat(can).any(), step

    def _highest(self, t):
        """The rank of position ``t`` that leaves the last one at its bound."""
        count, staircase = self.shape.prefix, self.config.staircase
        if not staircase.prefixes:
            return 0  # which no position that can be raised has
        # Prefixes of fewer than ``count - t`` ranks do not have the position.
        highest = staircase.highest(3 + count) - (count - 1 - t)
        for size in range(count - 1, count - 1 - t, -1):
            bound = staircase.highest(3 + size) - (count - 1 - t)
            highest = Mux(self._size == size, bound, highest)
        return highest
