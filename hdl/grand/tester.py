"""The array that tests all singles, pairs and triples of one sum in a cycle.

The columns of two ranks that a slot (i, j) adds, ``h[i] ^ h[j]``, stand still while a word is
searched, so they are added when rank j arrives, by adders that all j share, and kept.  What
stays to be done in every slot and cycle is to compare two words::

    h[i] ^ h[j] == h[total - i - j] ^ target

whose right side all slots of one ``x = i + j`` have in common.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...models.grand.config import GrandConfig
from ..lib.arith import find_first
from .shape import Shape


def dial_layout(config: GrandConfig) -> data.ArrayLayout:
    """A dial: ``h[total]`` down to ``h[total - reach]``, and which of these ranks are not there."""
    entry = data.StructLayout({"column": config.checks, "absent": 1})
    return data.ArrayLayout(entry, Shape(config).reach + 1)


class Tester(wiring.Component):
    """Tests the slots of :class:`.shape.Shape`, all of one ``total`` a cycle.

    ``rank_valid``, ``rank``, ``first``
        The columns of a word's ranks as they arrive: in order, one a cycle at most, ``first``
        with rank 1.  Those above :attr:`.shape.Shape.ranks` may follow and are ignored.
    ``valid``, ``classes``, ``target``, ``dial``
        A test, one a cycle: of singles, pairs and triples where bit 0, 1, 2 of ``classes`` is
        set.  ``dial[x]`` is the column of rank ``total - x``; where it is ``absent``, as it must
        be where that rank is below 1, the slots of this x do not match.
    ``hit``
        Whether a slot matched, :attr:`latency` cycles after the test.
    ``i``, ``j``
        The first that did: the single, the pairs, the triples by i, then j.  They follow
        :attr:`found_latency` cycles after the test, whatever is tested meanwhile.

    All inputs may come straight from memories: each is registered first.  A test may come with
    rank ``total`` of its word or later, not sooner than ``total - 1`` cycles after rank 1, and
    not later than with rank 1 of the next word.

    Where i or j is above the code's n, the column of a smaller rank stands in, of rank n in the
    end.  The slot then tests a pattern of a smaller sum, one that failed before.
    """

    latency = 3
    found_latency = 6

    def __init__(self, config: GrandConfig):
        self.config = config
        self.sizes = Shape(config)
        super().__init__(
            {
                "rank_valid": In(1),
                "rank": In(config.checks),
                "first": In(1),
                "valid": In(1),
                "classes": In(3),
                "target": In(config.checks),
                "dial": In(dial_layout(config)),
                "hit": Out(1),
                "i": Out(range(self.sizes.rows[-1][0] + 1)),
                "j": Out(range(self.sizes.ranks + 1)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        matches = self._compare(m, self._pairs(m))
        self._choose(m, matches)
        return m

    def _register(self, m: Module, value, name: str, unless=0) -> Signal:
        """``value`` a cycle later; 0 where ``unless``, which costs no logic: it is a reset."""
        register = Signal.like(value, name=name, reset_less=True)
        m.d.sync += register.eq(value)
        with m.If(unless):
            m.d.sync += register.eq(0)
        return register

    def _pairs(self, m: Module) -> dict[tuple[int, int], Signal]:
        """``h[i] ^ h[j]`` of every slot that has a j."""
        came = self._register(m, self.rank_valid, "came")
        first = self._register(m, self.rank_valid & self.first, "first_came")
        rank = Signal.like(self.rank, reset_less=True)
        with m.If(self.rank_valid):
            m.d.sync += rank.eq(self.rank)
        # Which ranks are yet to come.  Until then they take whatever comes: the last column
        # that does is the one that stands in for ranks beyond the code's.
        due = Signal(self.sizes.ranks + 1)
        with m.If(came):
            m.d.sync += due.eq(Mux(first, ~3, due << 1))
        pairs = {}
        for i, js in self.sizes.rows:
            added = rank
            if i:
                added = Signal.like(rank, name=f"added_{i}")
                m.d.comb += added.eq(pairs[0, i] ^ rank)
            for j in filter(None, js):
                pair = pairs[i, j] = Signal.like(rank, name=f"pair_{i}_{j}", reset_less=True)
                with m.If(first if j == 1 else due[j]):
                    m.d.sync += pair.eq(added)
        return pairs

    def _compare(self, m: Module, pairs) -> dict[tuple[int, int], Signal]:
        """Whether each slot matches, two cycles after the test."""
        target = self._register(m, self.target, "target_0")
        wanted, absent = [], []
        for x, entry in enumerate(self.dial):
            column = self._register(m, entry.column, f"column_{x}")
            want = Signal.like(column, name=f"wanted_{x}")
            m.d.comb += want.eq(column ^ target)
            wanted.append(want)
            absent.append(self._register(m, entry.absent, f"absent_{x}"))
        matches = {}
        for i, j in self.sizes.slots:
            pair = pairs.get((i, j), 0)
            matches[i, j] = self._register(
                m, wanted[i + j] == pair, f"match_{i}_{j}", absent[i + j]
            )
        return matches

    def _choose(self, m: Module, matches) -> None:
        """The first slot that matches."""
        enabled = self._register(m, Mux(self.valid, self.classes, 0), "classes_0")
        enabled = self._register(m, enabled, "classes_1")
        singles, pairs, triples = enabled
        single = Signal()
        rows = Signal(len(self.sizes.rows))
        masked = Signal.like(rows)
        m.d.comb += single.eq(matches[0, 0] & singles)
        for i, js in self.sizes.rows:
            m.d.comb += rows[i].eq(Cat(matches[i, j] for j in js if j).any())
        m.d.comb += masked.eq(
            Cat(rows[0] & pairs | single, (rows[1:] & triples.replicate(len(rows) - 1)))
        )
        m.d.sync += self.hit.eq(masked.any())

        kept = self._register(m, masked, "rows_2")
        single = self._register(m, single, "single_2")
        held = {
            slot: self._register(m, match, f"match2_{slot[0]}_{slot[1]}")
            for slot, match in matches.items()
        }
        first = find_first(kept)
        i = self._register(m, first.index, "i_3")
        single = self._register(m, single, "single_3")
        chosen = {
            slot: self._register(m, match, f"match3_{slot[0]}_{slot[1]}", ~first.one_hot[slot[0]])
            for slot, match in held.items()
            if slot[1]
        }
        columns = [single] + [
            Cat(c for (_, b), c in chosen.items() if b == j).any()
            for j in range(1, self.sizes.ranks + 1)
        ]
        columns = self._register(m, Cat(columns), "columns_4")
        i = self._register(m, i, "i_4")
        m.d.sync += [self.i.eq(i), self.j.eq(find_first(columns).index)]
