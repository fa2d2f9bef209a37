"""The array that tests all singles, pairs and triples of one sum in a cycle.

The columns that a slot (i, j) adds, ``h[i] ^ h[j]``, stand still while a word is searched, so
they are added once, when rank j arrives, by adders that all j share.  What is left for every
slot and cycle is to compare two words::

    h[i] ^ h[j] == h[total - i - j] ^ target

whose right side is the same for all slots of one ``x = i + j``.  A comparison of two words of c
bits takes ``(2 * c - 1) / 3`` look-up tables of four inputs, which is as few as have that many
inputs.  Synthesis finds this only where it is told which bits belong together (signals that are
to be kept), and takes up to half as many again where it is not.
"""

from collections.abc import Iterable

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...models.grand.config import GrandConfig
from ..lib.arith import find_first
from .shape import Shape

Slots = dict[tuple[int, int], Signal]
"""A signal for each slot (i, j)."""


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
        self.config, self.shape = config, Shape(config)
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
                "i": Out(self.shape.first),
                "j": Out(self.shape.second),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        matches = self._compare(m, self._pairs(m))
        single, rows = self._rows(m, matches)
        matches = {
            slot: _register(m, match, _name("held", slot)) for slot, match in matches.items()
        }
        self._choose(m, matches, single, rows)
        return m

    def _pairs(self, m: Module) -> Slots:
        """``h[i] ^ h[j]`` of every slot, and ``h[i]`` as (0, i), two cycles after the rank."""
        came = _register(m, self.rank_valid, "came")
        first = _register(m, self.rank_valid & self.first, "first_came")
        rank = Signal.like(self.rank, name="rank_1", reset_less=True)
        with m.If(self.rank_valid):
            m.d.sync += rank.eq(self.rank)
        # Ranks that have not come take every column that does: the last one stays in those
        # above n.  The set bits are also the initial ones, as FPGAs want it of a set input.
        due = Signal(self.shape.ranks + 1, init=(2 << self.shape.ranks) - 4, reset_less=True)
        with m.If(came):
            m.d.sync += due.eq(due << 1)
        with m.If(first):
            m.d.sync += due.eq(due.init)
        pairs: Slots = {}
        for i, js in self.shape.rows:
            added = rank
            if i:
                added = Signal.like(rank, name=f"added_{i}")
                m.d.comb += added.eq(pairs[0, i] ^ rank)
            for j in js if i else range(1, max(js[-1], self.shape.first[-1]) + 1):
                pair = pairs[i, j] = Signal.like(rank, name=_name("pair", (i, j)), reset_less=True)
                with m.If(first if j == 1 else due[j]):
                    m.d.sync += pair.eq(added)
        return pairs

    def _compare(self, m: Module, pairs: Slots) -> Slots:
        """Whether each slot matches, two cycles after the test, whatever its class."""
        target = _register(m, self.target, "target_1")
        columns, absent, wanted = [], [], []
        for x, entry in enumerate(self.dial):
            columns.append(_register(m, entry.column, f"column_{x}"))
            absent.append(_register(m, entry.absent, f"absent_{x}"))
            wanted.append(Signal.like(target, name=f"wanted_{x}"))
            m.d.comb += wanted[x].eq(columns[x] ^ target)
        matches: Slots = {}
        for slot in self.shape.slots:
            x = sum(slot)
            words = (pairs[slot], wanted[x]) if x else (columns[0], target)
            match = self._equal(m, *words, _name("equal", slot))
            matches[slot] = _register(m, match, _name("match", slot), unless=absent[x])
        return matches

    def _equal(self, m: Module, a: Value, b: Value, name: str) -> Value:
        """``a == b``, by as many bits as a look-up table compares."""
        bits = self.config.lut_inputs // 2
        whole = len(a) // bits * bits
        parts = _kept(
            m, Cat(a[k : k + bits] == b[k : k + bits] for k in range(0, whole, bits)), name
        )
        parts, rest = list(parts), a[whole:] == b[whole:]
        # What is left over shares a look-up table with the first results; where it would take
        # little of it, synthesis does better alone.
        if 4 * (len(a) - whole) >= self.config.lut_inputs:
            some = self.config.lut_inputs - 2 * (len(a) - whole)
            rest = _kept(m, Cat(rest, parts[:some]).all(), f"{name}_rest")
            parts = parts[some:]
        return Cat(rest, parts).all()

    def _rows(self, m: Module, matches: Slots) -> tuple[Signal, Signal]:
        """Whether the single matches and is to be tested, and whether any slot of each i is.

        A cycle after ``matches``, as is ``hit``.
        """
        classes = Signal(3, name="classes_1")
        singles, pairs, triples = enabled = Signal.like(classes, name="classes_2")
        m.d.sync += [classes.eq(Mux(self.valid, self.classes, 0)), enabled.eq(classes)]
        single = matches[0, 0] & singles
        first, *others = (_any(matches[i, j] for j in js if j) for i, js in self.shape.rows)
        rows = Cat(single | first & pairs, (row & triples for row in others))
        m.d.sync += self.hit.eq(rows.any())
        return _register(m, single, "single"), _register(m, rows, "rows")

    def _choose(self, m: Module, matches: Slots, single: Signal, rows: Signal) -> None:
        """The first of ``matches``, three cycles later."""
        row = find_first(rows)
        chosen = {
            (i, j): _register(m, match, _name("chosen", (i, j)), unless=~row.one_hot[i])
            for (i, j), match in matches.items()
            if j
        }
        columns = [_any(chosen[i, j] for i, js in self.shape.rows if j in js) for j in self._js]
        columns = Cat(_register(m, single, "single_1"), columns)
        j = find_first(_register(m, columns, "columns")).index
        i = _register(m, _register(m, row.index, "i_1"), "i_2")
        m.d.sync += [self.i.eq(i), self.j.eq(j)]

    @property
    def _js(self) -> range:
        return range(1, self.shape.ranks + 1)


def _name(name: str, slot: tuple[int, int]) -> str:
    return f"{name}_{slot[0]}_{slot[1]}"


def _any(values: Iterable[Value]) -> Value:
    return Cat(values).any()


def _register(m: Module, value: Value, name: str, unless: Value | None = None) -> Signal:
    """``value`` a cycle later; 0 where ``unless``, which is the register's reset: no logic."""
    register = Signal.like(value, name=name, reset_less=True)
    m.d.sync += register.eq(value)
    if unless is not None:
        with m.If(unless):
            m.d.sync += register.eq(0)
    return register


def _kept(m: Module, value: Value, name: str) -> Signal:
    """``value`` as a signal that synthesis keeps, and so what each of its bits is made of."""
    kept = Signal.like(value, name=name, attrs={"keep": 1})
    m.d.comb += kept.eq(value)
    return kept
