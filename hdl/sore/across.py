"""Groups of neighbouring lanes: all weights of a beat are ranked at once."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.sore_config import SoreConfig
from ..lib.arith import count_ones
from .layout import entries_layout, weights_layout


class Across(Component):
    """``entries`` has a beat for every beat of ``weights``, :attr:`latency` cycles later.

    A beat a cycle; ``entries.ready`` leads to ``weights.ready``.  Every two weights of a group are
    compared; one that fewer than ``kept`` others beat remains; the one with s kept weights before
    it becomes entry s.
    """

    latency = 4
    """Comparisons, who remains, as which entry, the entries."""

    def __init__(self, config: SoreConfig):
        self.config = config
        super().__init__(
            {
                "weights": In(stream.Signature(weights_layout(config))),
                "entries": Out(stream.Signature(entries_layout(config))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c, i, o = self.config, self.weights, self.entries
        valid = Signal(self.latency)
        m.d.comb += [o.valid.eq(valid[-1]), i.ready.eq(~o.valid | o.ready)]
        with m.If(i.ready):
            m.d.sync += valid.eq(Cat(i.valid, valid))
            for g in range(c.groups):
                self._group(m, g)
        return m

    def _group(self, m: Module, g: int) -> None:
        """Its stages, inside a condition that lets them move."""
        c = self.config
        places = range(c.group)
        weights = [self.weights.payload[g * c.group + p] for p in places]
        values = [w.value for w in weights]
        for stage in range(self.latency - 1):
            before = values
            values = [
                Signal(c.element_bits, name=f"value_{g}_{stage}_{p}", reset_less=True)
                for p in places
            ]
            m.d.sync += [x.eq(y) for x, y in zip(values, before, strict=True)]

        # Of i < j: weight j beats i.
        beats = {}
        for j in places:
            for i in range(j):
                beats[i, j] = Signal(name=f"beats_{g}_{i}_{j}", reset_less=True)
                m.d.sync += beats[i, j].eq(weights[j].magnitude >= weights[i].magnitude)

        kept = Signal(c.group, name=f"kept_{g}", reset_less=True)
        for p in places:
            losses = [beats[p, j] for j in range(p + 1, c.group)] + [~beats[i, p] for i in range(p)]
            m.d.sync += kept[p].eq(count_ones(Cat(losses)) < c.kept if losses else 1)

        # Entry s is one of the weights s to s + (group - kept).
        picks = [range(s, s + c.group - c.kept + 1) for s in range(c.kept)]
        chosen = [
            {p: Signal(name=f"chosen_{g}_{s}_{p}", reset_less=True) for p in picks[s]}
            for s in range(c.kept)
        ]
        for p in places:
            ahead = count_ones(kept[:p]) if p else Const(0, 1)
            for s in range(c.kept):
                if p in picks[s]:
                    m.d.sync += chosen[s][p].eq(kept[p] & (ahead == s))

        for s in range(c.kept):
            found = (
                Mux(chosen[s][p], Cat(values[p], Const(p, c.entry_bits - c.element_bits)), 0)
                for p in picks[s]
            )
            entry = Signal(c.entry_bits, name=f"entry_{g}_{s}", reset_less=True)
            m.d.sync += entry.eq(reduce(or_, found))
            m.d.comb += self.entries.payload[g][s].eq(entry)
