"""Groups of one lane, a weight a beat: a stack in each lane takes what beats its least."""

from functools import reduce
from operator import and_, or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.sore_config import SoreConfig
from .layout import entries_layout, weights_layout


class Along(Component):
    """``entries`` has a beat for every ``group`` beats of ``weights``, in the next cycle.

    A beat a cycle, without a bubble between groups; ``entries.ready`` leads to ``weights.ready``.

    A stack lies in the order of arrival.  A weight that is no smaller than the least one pushes it
    out: those behind it move up.  How the stack's weights compare with each other is remembered,
    so that a beat costs one comparison with each of them, and registers need no multiplexer.

    With ``dense=True`` (N and M powers of two), while ``keep_all`` is high all weights enter, and
    the latest N of each lane leave after every N beats or, with ``each``, after every beat.  Both
    change between groups alone.
    """

    latency = 1
    """From the transfer of a group's last beat to that of its entries."""

    def __init__(self, config: SoreConfig, dense: bool = False):
        self.config, self._dense = config, dense
        super().__init__(
            {
                "weights": In(stream.Signature(weights_layout(config))),
                "entries": Out(stream.Signature(entries_layout(config))),
            }
            | ({"keep_all": In(1), "each": In(1)} if dense else {})
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c, i, o = self.config, self.weights, self.entries
        position = Signal(range(c.group))
        step, last, filling, leaves = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            i.ready.eq(~o.valid | o.ready),
            step.eq(i.valid & i.ready),
            last.eq(position == c.group - 1),
            # The first weights of a group push out what the group before left.
            filling.eq(1 if c.kept == c.group else position < c.kept),
            leaves.eq(last),
        ]
        if self._dense:
            kept = (position & (c.kept - 1)) == c.kept - 1  # a power of two
            with m.If(self.keep_all):
                m.d.comb += [filling.eq(1), leaves.eq(kept | self.each)]
        with m.If(step):
            m.d.sync += position.eq(Mux(last, 0, position + 1))
        with m.If(i.ready):
            m.d.sync += o.valid.eq(step & leaves)
        for lane in range(c.lanes):
            self._lane(m, lane, position, step, filling)
        return m

    def _lane(self, m: Module, lane: int, position: Signal, step: Signal, filling: Signal) -> None:
        c, weight = self.config, self.weights.payload[lane]
        slots = range(c.kept)
        least = [Signal(31, name=f"magnitude_{lane}_{j}", reset_less=True) for j in slots]
        stack = [Signal(c.entry_bits, name=f"entry_{lane}_{j}", reset_less=True) for j in slots]
        # Of i < j: slot i is no larger than slot j, so it would have to go first.
        before = {
            (i, j): Signal(name=f"before_{lane}_{i}_{j}", reset_less=True)
            for j in slots
            for i in range(j)
        }
        larger = Signal(c.kept, name=f"larger_{lane}")  # the weight is no smaller than the slot's
        goes = Signal(c.kept, name=f"goes_{lane}")  # the slot to go, one-hot
        moves = Signal(c.kept, name=f"moves_{lane}")  # it and those behind it
        enters = Signal(name=f"enters_{lane}")
        for j in slots:
            ahead = [before[j, k] for k in range(j + 1, c.kept)] + [~before[i, j] for i in range(j)]
            first = reduce(and_, ahead) if ahead else 1
            m.d.comb += [
                larger[j].eq(weight.magnitude >= least[j]),
                goes[j].eq(Mux(filling, j == 0, first)),
                moves[j].eq(reduce(or_, goes[: j + 1])),
            ]
        m.d.comb += enters.eq(step & (filling | (goes & larger).any()))
        entry = Cat(weight.value, position)[: c.entry_bits]
        for j in slots:
            above = j == c.kept - 1
            with m.If(enters & moves[j]):
                m.d.sync += [
                    least[j].eq(weight.magnitude if above else least[j + 1]),
                    stack[j].eq(entry if above else stack[j + 1]),
                ]
                for i in range(j):
                    stays = larger[i] if above else before[i, j + 1]
                    moved = larger[i + 1] if above else before[i + 1, j + 1]
                    m.d.sync += before[i, j].eq(Mux(moves[i], moved, stays))
            m.d.comb += self.entries.payload[lane][j].eq(stack[j])
