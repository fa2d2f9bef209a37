"""The paths: their metrics, the order of all ways on, and the words that they decide.

Each path that is split has two ways on, which are *candidates*: of path l, candidate l keeps the
hard decision of the next-least reliable bit, candidate ``list_size + l`` flips it.  All pairs of
candidates are compared at once; a candidate's rank is how many come before it.

Candidates are chosen one-hot, by pairs: that needs no encoder and fits look-up tables of four
inputs.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ..lib.fixed import saturate
from .layout import half_sums, instruction
from .shape import Shape


class Paths(Component):
    """State of every path beside its LLRs and partial sums.

    A path's metric is that of the flips so far; next to it the path keeps what its next flip
    starts from, since in an SPC each flip toggles the least reliable bit, too.  With ``low`` the
    metric of slot 0 behind the last split, or 0 if ``enter`` came later, with ``u`` a bank's
    ``minimum`` and ``m`` its ``which``, both those of the bank in which the path began its leaf,
    ``negative`` and ``positive`` given as two halves, and with sums that saturate::

        enter   metric = metric - low + negative            (metric - low if no penalty)
                other  = metric - low + positive            (likewise)
                beta   = hard                               (0 with repeat)
        fix     metric, other = metric, metric + u          beta          (even)
                metric, other = metric + u, metric          beta ^ m      (odd)
        split   candidate keep:  metric,     other          beta
                candidate flip:  other + u,  metric + u     beta ^ m'

    ``positive`` is as ``negative`` but in a REP.  m' is ``m`` and the ``m`` of the leaf's ``fix``;
    in a REP u is 0 and m all bits.  Candidates
    are in the order of their metrics, of equals the one with the lower number first; slot i takes
    that of rank i, with ``worst`` that of rank ``list_size + i``.

    ``start`` (which outdoes the instruction beside it): slot 0 alone is active.  Each split
    doubles the ``active`` slots, which are the first ones, until all are; what inactive ones hold
    means nothing, and ``worst`` needs all of them active.

    ``parent``, in the cycle of a split: one-hot which slot's path each takes; else 0.
    ``dropped``, in the cycle after: the least metric that was not taken.  ``offset``: the sum of
    all ``low`` that were subtracted, saturating.
    """

    start: Any
    instruction: Any
    worst: Any
    negative: Any
    positive: Any
    hard: Any
    odd: Any
    minimum: Any
    which: Any
    beta: Any
    parent: Any
    active: Any
    metrics: Any
    dropped: Any
    offset: Any

    def __init__(self, shape: Shape):
        self.shape = shape
        config = shape.config
        lists, bits = config.list_size, config.metric_bits

        def slots(width: int) -> data.ArrayLayout:
            return data.ArrayLayout(width, lists)

        super().__init__(
            {
                "start": In(1),
                "instruction": In(instruction(shape)),
                "worst": In(1),
                "negative": In(data.ArrayLayout(half_sums(shape), lists)),
                "positive": In(data.ArrayLayout(half_sums(shape), lists)),
                "hard": In(slots(config.leaf)),
                "odd": In(slots(1)),
                "minimum": In(slots(shape.magnitude)),
                "which": In(slots(config.leaf)),
                "beta": Out(slots(config.leaf)),
                "parent": Out(slots(lists)),
                "active": Out(slots(1)),
                "metrics": Out(slots(bits)),
                "dropped": Out(bits),
                "offset": Out(bits + 4),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, do = self.shape.config, self.instruction
        lists, bits, leaf = config.list_size, config.metric_bits, config.leaf
        slots = range(lists)
        metric, other = _signals("metric", lists, bits), _signals("other", lists, bits)
        word = _signals("word", lists, leaf)
        root = _signals("root", lists, range(lists))  # the bank in which the path began its leaf
        active = Signal(lists, init=1)
        low = Signal(bits)

        flips, metrics, others = self._candidates(m, metric, other, root)
        entered = self._entered(m, metric, low)
        place = self._places(m, metric, flips, active)
        takes = [
            [_named(m, (p == slot) & do.split, f"takes{slot}_{c}") for c, p in enumerate(place)]
            for slot in slots
        ]
        masks = self._masks(m)
        flipped = self._flipped(m, place[lists:], root)
        for slot in slots:
            odd, even = do.fix & self.odd[slot], do.fix & ~self.odd[slot]
            keeps, turns = takes[slot][:lists], takes[slot][lists:]
            parent = [_named(m, k | t, "parent") for k, t in zip(keeps, turns, strict=True)]
            new_metric = Signal(bits, name=f"new_metric{slot}")
            new_other = Signal(bits, name=f"new_other{slot}")
            new_word = Signal(leaf, name=f"new_word{slot}")
            entered_metric, entered_other = entered[slot]
            # A fix takes the own path one way or the other.
            m.d.comb += [
                self.parent[slot].eq(Cat(parent)),
                new_metric.eq(
                    _gather(m, _or(m, keeps, slot, even) + _or(m, turns, slot, odd), metrics)
                    | entered_metric
                ),
                new_other.eq(
                    _gather(m, _or(m, keeps, slot, odd) + _or(m, turns, slot, even), others)
                    | entered_other
                ),
                new_word.eq(
                    _gather(m, _or(m, parent, slot, do.fix), word)
                    ^ _gather(m, _or(m, flipped[slot], slot, odd | (do.enter & ~do.repeat)), masks)
                ),
                self.metrics[slot].eq(metric[slot]),
                self.beta[slot].eq(word[slot]),
            ]
            with m.If(do.enter | do.fix | do.split):
                m.d.sync += [
                    metric[slot].eq(new_metric),
                    other[slot].eq(new_other),
                    word[slot].eq(new_word),
                ]
            with m.If(do.split):
                m.d.sync += root[slot].eq(_gather(m, parent, root))
                if slot == 0:
                    m.d.sync += low.eq(new_metric)
            with m.If(do.enter):
                m.d.sync += root[slot].eq(slot)
            with m.If(self.start):
                m.d.sync += [metric[slot].eq(0), other[slot].eq(0)]

        first = [_named(m, p == lists, "first_dropped") for p in place]
        total = Signal(bits + 5)
        m.d.comb += [total.eq(self.offset + low), self.active.as_value().eq(active)]
        with m.If(do.split):
            m.d.sync += [
                self.dropped.eq(_gather(m, first, metrics)),
                active.eq(Cat(active[slot // 2] for slot in slots)),
            ]
        with m.If(do.enter):
            m.d.sync += [low.eq(0), self.offset.eq(saturate(total, bits + 4))]
        with m.If(self.start):
            m.d.sync += [active.eq(1), low.eq(0), self.offset.eq(0)]
        return m

    def _candidates(
        self, m: Module, metric: list[Signal], other: list[Signal], root: list[Signal]
    ) -> tuple[list["_Sum"], list[Signal], list[Signal]]:
        """The flips' sums; and the metric and ``other`` of all candidates."""
        flips: list[_Sum] = []
        metrics, others = list(metric), list(other)
        for slot, bank in enumerate(root):
            least = _named(m, _pick(m, self.minimum, bank), f"least{slot}")
            flip = _sum(m, other[slot], least, "flip")
            back = _sum(m, metric[slot], least, "back")
            flips.append(flip)
            metrics.append(_named(m, flip.saturated, "flip_metric"))
            others.append(_named(m, back.saturated, "flip_other"))
        return flips, metrics, others

    def _entered(self, m: Module, metric: list[Signal], low: Signal) -> list[list[Signal]]:
        """Of each slot, in the cycle of ``enter``, the metric and ``other``; else 0."""
        do = self.instruction
        entered = []
        for slot, before in enumerate(metric):
            base = Signal.like(before, name=f"base{slot}")
            m.d.comb += base.eq(before - low)
            metric_sum, other_sum = (
                _sum_of_three(m, base, halves[slot], do.penalty)
                for halves in (self.negative, self.positive)
            )
            entered.append(
                [
                    _named(m, total.saturated & do.enter.replicate(len(before)), "entered")
                    for total in (metric_sum, other_sum)
                ]
            )
        return entered

    def _places(
        self, m: Module, metric: list[Signal], flips: list["_Sum"], active: Signal
    ) -> list[Signal]:
        """The place of each candidate: that of the slot that takes it, or ``list_size`` upwards.

        What is not active comes last: that is one more bit of its key.  Flips are compared before
        they saturate: a sum that is ``most`` or more comes before no other.
        """
        lists = len(metric)
        before: list[list[Value]] = [[] for _ in range(2 * lists)]

        def pair(first: int, second: int, swapped: Value) -> None:
            """``swapped``: the second one comes first."""
            value = _named(m, swapped, f"swapped{first}_{second}")
            before[first].append(value)
            before[second].append(~value)

        keys = [Cat(b.total, ~active[l]) for l, b in enumerate(flips)]
        more = Const(0, len(keys[0]) - len(metric[0]) - 1)
        keeps = [Cat(a, more, ~active[l]) for l, a in enumerate(metric)]
        for k, b in enumerate(flips):
            for l in range(lists):
                pair(l, lists + k, keys[k] < keeps[l])
                if k > l:
                    pair(l, k, keeps[k] < keeps[l])
                    pair(lists + l, lists + k, (keys[k] < keys[l]) & ~b.most)
        places = []
        for candidate, others in enumerate(before):
            *rank, last = _count(m, others)
            place = Signal(range(2 * lists), name=f"place{candidate}")
            m.d.comb += place.eq(Cat(rank, last ^ self.worst))
            places.append(place)
        return places

    def _masks(self, m: Module) -> list[Signal]:
        """Of each bank the bits that a flip turns; with ``enter`` the hard decisions."""
        do = self.instruction
        masks = []
        for bank, which in enumerate(self.which):
            toggled = Signal(len(which), name=f"toggled{bank}")  # with every flip
            with m.If(do.fix):
                m.d.sync += toggled.eq(which)
            with m.If(do.enter):
                m.d.sync += toggled.eq(0)
            masks.append(_named(m, Mux(do.enter, self.hard[bank], which ^ toggled), "mask"))
        return masks

    def _flipped(self, m: Module, place: list[Signal], root: list[Signal]) -> list[list[Signal]]:
        """Of each slot and bank whether the slot takes a flip by that bank's mask."""
        slots = range(len(root))
        begun = [
            [_named(m, (r == bank) & self.instruction.split, "begun") for bank in slots]
            for r in root
        ]
        return [
            [
                _any(
                    m,
                    [_named(m, (p == slot) & begun[l][bank], "flips") for l, p in enumerate(place)],
                )
                for bank in slots
            ]
            for slot in slots
        ]


class _Sum(NamedTuple):
    """Of two numbers."""

    total: Value
    """All of it, at least a bit more than the first number has."""
    saturated: Value
    """As wide as the first number."""
    most: Value
    """That is all ones."""


def _sum(m: Module, a: Value, b: Value, name: str) -> _Sum:
    total = Signal(max(len(a), len(b)) + 1, name=name)
    m.d.comb += total.eq(a + b)
    return _saturated(total, len(a))


def _sum_of_three(m: Module, a: Value, halves: Any, adds: Value) -> _Sum:
    """``a`` and, where ``adds``, both halves: a carry-save adder, one round less than two sums."""
    bits, width = len(a), max(len(a), len(halves[0]))
    a = Cat(a, Const(0, width - len(a)))
    low, high = (Cat(half, Const(0, width - len(half))) for half in halves)
    mask = adds.replicate(width)
    sums = _named(m, a ^ ((low ^ high) & mask), "sums")
    carries = _named(m, ((low & high) | (a & (low | high))) & mask, "carries")
    total = Signal(width + 2, name="three")
    m.d.comb += total.eq(sums + (carries << 1))
    return _saturated(total, bits)


def _saturated(total: Value, width: int) -> _Sum:
    low, over = total[:width], total[width:].any()
    return _Sum(total, low | over.replicate(width), over | low.all())


def _count(m: Module, bits: Sequence[Value]) -> list[Value]:
    """How many of 2**k - 1 ``bits`` are set, in k bits: a tree of full adders."""
    if len(bits) == 1:
        return list(bits)
    half = len(bits) // 2
    total, carry = [], bits[-1]
    for a, b in zip(_count(m, bits[:half]), _count(m, bits[half:-1]), strict=True):
        total.append(_named(m, a ^ b ^ carry, "sum"))
        carry = _named(m, (a & b) | (carry & (a | b)), "carry")
    return [*total, carry]


def _gather(m: Module, one_hot: Sequence[Value], values: Sequence[Value]) -> Value:
    """The value that is chosen; 0 if none is."""
    chosen = [v & h.replicate(len(v)) for h, v in zip(one_hot, values, strict=True)]
    pairs = zip(chosen[::2], chosen[1::2], strict=True)
    return _any(m, [_named(m, a | b, "pair") for a, b in pairs]) if len(chosen) > 1 else chosen[0]


def _any(m: Module, values: list[Any]) -> Any:
    """The OR of ``values``, by fours."""
    while len(values) > 1:
        fours = [reduce(or_, values[i : i + 4]) for i in range(0, len(values), 4)]
        values = [_named(m, four, "any") for four in fours] if len(fours) > 1 else fours
    return values[0]


def _or(m: Module, one_hot: Sequence[Value], place: int, value: Value) -> list[Value]:
    """``one_hot`` with ``value`` added at a place."""
    return [_named(m, bit | value, "taken") if i == place else bit for i, bit in enumerate(one_hot)]


def _pick(m: Module, values: Iterable[Value], index: Value) -> Value:
    """``values[index]``."""
    values = list(values)
    for bit in index:
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [_named(m, Mux(bit, b, a), "picked") for a, b in pairs]
    return values[0]


def _named(m: Module, value: Value, name: str) -> Signal:
    """``value`` as a signal, and so only once."""
    named = Signal.like(value, name=name)
    m.d.comb += named.eq(value)
    return named


def _signals(name: str, count: int, shape: Any) -> list[Signal]:
    return [Signal(shape, name=f"{name}{k}") for k in range(count)]
