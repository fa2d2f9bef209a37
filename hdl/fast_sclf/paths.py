"""The paths: their metrics, the order of all ways on, and the words that they decide.

Each path that is split has two ways on, which are *candidates*: of path l, candidate l keeps the
hard decision of the next-least reliable bit, candidate ``list_size + l`` flips it.  All pairs of
candidates are compared at once; a candidate's rank is how many come before it.  Multiplexers take
ranks one-hot, which needs no encoder and costs fewer look-up tables of four inputs.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ..lib.fixed import saturate
from .layout import instruction
from .shape import Shape


class Paths(Component):
    """State of every path beside its LLRs and partial sums.

    A path's metric is that of the flips so far; next to it the path keeps what its next flip
    starts from, since in an SPC each flip toggles the least reliable bit, too.  With ``low`` the
    metric of slot 0 behind the last split, or 0 if ``enter`` came later, with ``u`` a bank's
    ``minimum`` and ``m`` its ``which``, both those of the bank in which the path began its leaf,
    and with sums that saturate::

        enter   base   = metric - low                       (only with renormalise)
                metric = base + negative                    (base without penalty)
                other  = base + positive                    (metric without repeat)
                beta   = hard                               (0 with repeat)
        fix     metric, other = metric, metric + u          beta          (even)
                metric, other = metric + u, metric          beta ^ m      (odd)
        split   candidate keep:  metric,     other          beta
                candidate flip:  other + u,  metric + u     beta ^ m'

    m' is ``m`` and the ``m`` of the leaf's ``fix``, in a REP all bits; there u is 0.  Candidates
    are in the order of their metrics, of equals the one with the lower number first; slot i takes
    that of rank i, with ``worst`` that of rank ``list_size + i``.

    ``start`` (beside no ``enter``, ``fix`` or ``split``): slot 0 alone is active.  Each split
    doubles the ``active`` slots, which are the first ones, until all are; what inactive ones hold
    means nothing, and ``worst`` needs all of them active.

    ``parent``, in the cycle of a split: one-hot which slot's path each takes; else 0.
    ``dropped``, in the cycle after: the metric of rank ``list_size``.  ``offset``: sum of all
    ``low`` that were subtracted.
    """

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
                "negative": In(slots(bits)),
                "positive": In(slots(bits)),
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
        change = Signal()
        m.d.comb += change.eq(do.enter | do.fix | do.split)
        active = Signal(lists, init=1)
        metric, other = _signals("metric", lists, bits), _signals("other", lists, bits)
        root = _signals("root", lists, range(lists))  # the bank in which the path began its leaf
        repetition = Signal()  # the leaf is a REP
        word = _signals("word", lists, leaf)
        low = Signal(bits)

        # Candidates, and what enter makes of a path: it takes the place of the flip.
        drop = Signal(bits)
        m.d.comb += drop.eq(Mux(do.renormalise, low, 0))
        flips: list[_Sum] = []
        ways: list[tuple[Value, Value]] = []  # metric and other, of each candidate
        for l in slots:
            least = Signal(self.shape.magnitude, name=f"least{l}")
            base = Signal(bits, name=f"base{l}")
            m.d.comb += least.eq(_pick(self.minimum, root[l]) & ~repetition.replicate(len(least)))
            m.d.comb += base.eq(metric[l] - drop)
            flip = _Sum(m, other[l], least, f"flip{l}")
            back = _Sum(m, metric[l], least, f"back{l}")
            negative = _Sum(m, base, self.negative[l], f"negative{l}")
            positive = _Sum(m, base, self.positive[l], f"positive{l}")
            penalised, opposed = (
                Signal(bits, name=f"penalised{l}"),
                Signal(bits, name=f"opposed{l}"),
            )
            m.d.comb += [
                penalised.eq(Mux(do.penalty, negative.saturated, base)),
                opposed.eq(Mux(do.repeat, positive.saturated, penalised)),
            ]
            flips.append(flip)
            ways.append(
                (
                    Mux(do.enter, penalised, flip.saturated),
                    Mux(do.enter, opposed, back.saturated),
                )
            )
        metrics = metric + [way for way, _ in ways]
        others = other + [way for _, way in ways]

        # Who takes which candidate.
        ranks = _ranks(m, metric, flips, active)
        place = [Signal(range(2 * lists), name=f"place{c}") for c in range(2 * lists)]
        for p, rank in zip(place, ranks, strict=True):
            m.d.comb += p.eq(rank ^ Cat(Const(0, len(rank) - 1), self.worst))
        takes = [
            [_named(m, (p == l) & do.split, f"takes{l}_{c}") for c, p in enumerate(place)]
            for l in slots
        ]
        for l in slots:
            m.d.comb += self.parent[l].eq(Cat(takes[l][p] | takes[l][lists + p] for p in slots))

        from_root = [
            [_named(m, (root[p] == b) & do.split, f"root{p}_is{b}") for b in slots] for p in slots
        ]
        toggle, masks = _signals("toggle", lists, leaf), []
        for b in slots:
            mask = Signal(leaf, name=f"mask{b}")
            m.d.comb += mask.eq(Mux(do.enter, self.hard[b], self.which[b] ^ toggle[b]))
            masks.append(mask)
            with m.If(do.fix):
                m.d.sync += toggle[b].eq(self.which[b])
            with m.If(do.enter):
                m.d.sync += toggle[b].eq(0)

        for l in slots:
            keeps = [
                t | (do.fix & ~self.odd[l] if p == l else 0) for p, t in enumerate(takes[l][:lists])
            ]
            flipsx = [
                t | (do.enter | do.fix & self.odd[l] if p == l else 0)
                for p, t in enumerate(takes[l][lists:])
            ]
            keepsz = [
                t | (do.fix & self.odd[l] if p == l else 0) for p, t in enumerate(takes[l][:lists])
            ]
            flipsz = [
                t | (do.enter | do.fix & ~self.odd[l] if p == l else 0)
                for p, t in enumerate(takes[l][lists:])
            ]
            stays = [t | (do.fix if p == l else 0) for p, t in enumerate(self.parent[l])]
            applies = []
            for b in slots:
                hit = reduce(or_, ((place[lists + p] == l) & from_root[p][b] for p in slots))
                if b == l:
                    hit |= do.enter & ~do.repeat | do.fix & self.odd[l]
                applies.append(_named(m, hit, f"applies{l}_{b}"))
            taken = reduce(or_, takes[l][lists:])
            new_metric = Signal(bits, name=f"new_metric{l}")
            m.d.comb += new_metric.eq(_gather(keeps + flipsx, metrics))
            with m.If(change):
                m.d.sync += [
                    metric[l].eq(new_metric),
                    other[l].eq(_gather(keepsz + flipsz, others)),
                    word[l].eq(_gather(stays, word) ^ _gather(applies, masks)),
                ]
            with m.If(repetition & taken):
                m.d.sync += word[l].eq(-1)
            with m.If(do.split):
                m.d.sync += root[l].eq(_gather(self.parent[l], root))
            with m.If(do.enter):
                m.d.sync += root[l].eq(l)
            with m.If(self.start):
                m.d.sync += [metric[l].eq(0), other[l].eq(0)]
            if l == 0:
                with m.If(do.split):
                    m.d.sync += low.eq(new_metric)
            m.d.comb += [self.metrics[l].eq(metric[l]), self.beta[l].eq(word[l])]

        first_left = [_named(m, p == lists, f"left{c}") for c, p in enumerate(place)]
        total = Signal(bits + 5)
        m.d.comb += [total.eq(self.offset + low), self.active.as_value().eq(active)]
        with m.If(do.split):
            m.d.sync += [
                self.dropped.eq(_gather(first_left, metrics)),
                active.eq(Cat(active[l // 2] for l in slots)),
            ]
        with m.If(do.enter):
            m.d.sync += repetition.eq(do.repeat)
        with m.If(do.enter & do.renormalise):
            m.d.sync += [low.eq(0), self.offset.eq(saturate(total, bits + 4))]
        with m.If(self.start):
            m.d.sync += [active.eq(1), low.eq(0), self.offset.eq(0)]
        return m


class _Sum:
    def __init__(self, m: Module, a: Value, b: Value, name: str):
        bits = len(a)
        total = Signal(max(bits, len(b)) + 1, name=name)
        self.over = Signal(name=f"{name}_over")
        self.saturated = Signal(bits, name=f"{name}_saturated")
        self.low = total[:bits]
        self.all = self.low.all()
        m.d.comb += [
            total.eq(a + b),
            self.over.eq(total[bits:].any()),
            self.saturated.eq(self.low | self.over.replicate(bits)),
        ]


def _ranks(m, metric, flips, active):
    lists = len(metric)
    before = [[] for _ in range(2 * lists)]

    def pair(first, second, swapped, name):
        value = _named(m, swapped, name)
        before[first].append(value)
        before[second].append(~value)

    for l in range(lists):
        for k in range(lists):
            none = flips[k].over | ~active[k]
            smaller = flips[k].low < metric[l]
            swapped = ~none & smaller
            if k < l:
                swapped |= active[k] & ~active[l]
            pair(l, lists + k, swapped, f"flip{k}_before{l}")
            if k > l:
                pair(l, k, active[k] & (metric[k] < metric[l]), f"keep{k}_before{l}")
                a, b = flips[l], flips[k]
                smaller = b.low < a.low
                swapped = ~none & (smaller | (a.over & ~b.all))
                pair(lists + l, lists + k, swapped, f"flip{k}_before_flip{l}")
    return [_count(b) for b in before]


def _count(bits: Sequence[Value]) -> Value:
    """How many of ``bits``, up to 2**k - 1 of them, are set: a tree of full adders."""
    if len(bits) <= 1:
        return Cat(bits)
    half = len(bits) // 2
    a, b = _count(bits[:half]), _count(bits[half : 2 * half])
    carry, total = bits[-1], []
    for x, y in zip(a, b, strict=True):
        total.append(x ^ y ^ carry)
        carry = (x & y) | (carry & (x | y))
    return Cat(total, carry)


def _gather(one_hot: Iterable[Value], values: Iterable[Value]) -> Value:
    return reduce(or_, (v & h.replicate(len(v)) for h, v in zip(one_hot, values, strict=True)))


def _pick(values, index):
    values = list(values)
    for bit in index:
        values = [Mux(bit, high, low) for low, high in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def _named(m, value, name):
    s = Signal(name=name)
    m.d.comb += s.eq(value)
    return s


def _signals(name, count, shape):
    return [Signal(shape, name=f"{name}{k}") for k in range(count)]
