"""The order in which the cell unit goes through a step."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...models.sparse_lstm.config import SparseLstmConfig
from .sequencer import header_fields
from .shape import Shape


def position_layout(config: SparseLstmConfig) -> data.StructLayout:
    """What the cell unit works on in one cycle."""
    sizes = Shape(config)
    return data.StructLayout(
        {
            "go": unsigned(1),
            "subset": unsigned(ceil_log2(sizes.subsets)),
            "batch_step": unsigned(ceil_log2(sizes.batch_steps)),
            "bias": unsigned(ceil_log2(config.contexts * sizes.bias_words)),
            "cell": unsigned(ceil_log2(config.contexts * sizes.emissions * sizes.folds)),
            "emitted": unsigned(1),
            "group_end": unsigned(1),
            "step_end": unsigned(1),
            **header_fields(config),
        }
    )


class Walker(wiring.Component):
    """Walks a step's groups, their unit subsets and the batch subsets of each.

    ``next`` is where it stands, ``position`` is registered; nothing moves unless ``advance``.
    A group is begun (``begin``) once ``there`` says that its results are, and left with
    ``end``.  ``free``: all groups of all steps so far have been begun and no step waits, so
    that the next step's results may be written.
    ``subset`` and ``batch_step`` choose the elements; ``bias`` and ``cell`` count unit
    subsets and cycles (in context order); ``emitted``, ``group_end``, ``step_end`` mark the
    last cycle of an emission, a group, the step.
    """

    def __init__(self, config: SparseLstmConfig):
        self.config = config
        position = position_layout(config)
        super().__init__(
            {
                "token": In(stream.Signature(data.StructLayout(header_fields(config)))),
                "advance": In(1),
                "there": In(1),
                "begin": Out(1),
                "end": Out(1),
                "free": Out(1),
                "next": Out(position),
                "position": Out(position),
            }
        )

    def elaborate(self, platform):
        m = Module()
        c, sizes, at = self.config, Shape(self.config), self.next

        step = Signal(self.token.p.shape())
        running = Signal()
        pending = Signal(self.token.p.shape())
        waiting = Signal()
        group = Signal(range(c.groups))
        subset = Signal.like(at.subset)
        unit_step = Signal(range(sizes.unit_steps))
        batch_step = Signal.like(at.batch_step)
        bias = Signal.like(at.bias)
        cell = Signal.like(at.cell)
        fresh = Signal(init=1)  # the next cycle starts a group
        all_begun = Signal(init=1)

        move, last_group, batch_end = Signal(), Signal(), Signal()
        last_subset = Mux(
            last_group, sizes.last_emissions * sizes.unit_steps - 1, sizes.subsets - 1
        )
        m.d.comb += [
            move.eq(self.advance & at.go),
            last_group.eq(group == c.groups - 1),
            batch_end.eq(batch_step == sizes.batch_steps - 1),
            at.go.eq(running & (~fresh | self.there)),
            at.subset.eq(subset),
            at.batch_step.eq(batch_step),
            at.bias.eq(bias),
            at.cell.eq(cell),
            at.emitted.eq(batch_end & (unit_step == sizes.unit_steps - 1)),
            at.group_end.eq(at.emitted & (subset == last_subset)),
            at.step_end.eq(at.group_end & last_group),
            *(at[name].eq(step[name]) for name in header_fields(c)),
            self.begin.eq(move & fresh),
            self.end.eq(move & at.group_end),
            self.free.eq(all_begun & ~waiting),
            self.token.ready.eq(~waiting),
        ]
        with m.If(self.advance):
            m.d.sync += self.position.eq(at)
        with m.If(move):
            m.d.sync += [
                fresh.eq(at.group_end),
                cell.eq(cell + 1),
                batch_step.eq(Mux(batch_end, 0, batch_step + 1)),
            ]
            with m.If(last_group):
                m.d.sync += all_begun.eq(1)
            with m.If(batch_end):
                m.d.sync += [
                    bias.eq(bias + 1),
                    unit_step.eq(Mux(at.emitted, 0, unit_step + 1)),
                    subset.eq(Mux(at.group_end, 0, subset + 1)),
                ]
            with m.If(at.group_end):
                m.d.sync += group.eq(Mux(last_group, 0, group + 1))
            with m.If(at.step_end):
                m.d.sync += running.eq(0)
        with m.If(waiting & (~running | (move & at.step_end))):
            m.d.sync += [
                step.eq(pending),
                waiting.eq(0),
                running.eq(1),
                all_begun.eq(0),
                cell.eq(pending.context * (sizes.emissions * sizes.folds)),
                bias.eq(pending.context * sizes.bias_words),
            ]
        with m.If(self.token.valid & self.token.ready):
            m.d.sync += [pending.eq(self.token.payload), waiting.eq(1)]
        return m
