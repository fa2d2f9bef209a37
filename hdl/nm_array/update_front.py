"""The way into an update: masters, each with its gradient."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.config import NmConfig
from ...models.nm.program import COUNT_BITS, WIDTHS
from ...models.nm.update_cycles import MASTER_BITS, in_flight, row_beats, row_lanes, wuve_config
from ..wuve.layout import weights_layout
from .banks import sums_members
from .load import beat_layout
from .update_writes import JOB, MODE


class Front(Component):
    """Takes instructions and masters, reads gradients and puts both together.

    ``row`` is new where ``valid``, two cycles after the beat that completes it was taken; masters
    are taken while fewer than :func:`thresher.models.nm.update_cycles.in_flight` rows were not
    ``released``.  ``jobs`` has the instructions for the other end, which says when one has
    ``finished``.  ``mode`` changes, with ``clear``, when all before have.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(WIDTHS["update"]))),
                "masters": In(stream.Signature(beat_layout(config))),
                **sums_members(config),
                "jobs": Out(stream.Signature(JOB)),
                "mode": Out(MODE),
                "clear": Out(1),
                "released": In(1),
                "finished": In(1),
                "valid": Out(1),
                "row": Out(weights_layout(wuve_config(config))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c, i, jobs = self.config, self.i, self.jobs
        wanted = Signal(MODE, reset_less=True)
        busy, taken, runs, ends = Signal(), Signal(), Signal(), Signal()
        unfinished = Signal(
            range(8)
        )  # the one that is taken, two in the queue, one that is written
        m.d.comb += [
            i.ready.eq(~busy & jobs.ready),
            jobs.valid.eq(i.valid & ~busy),
            taken.eq(i.valid & i.ready),
            *(jobs.p[name].eq(i.p[name]) for name in JOB.members),
            runs.eq(busy & (wanted.as_value() == self.mode.as_value())),
            self.clear.eq(busy & ~runs & (unfinished == 1)),
        ]
        m.d.sync += unfinished.eq(unfinished + taken - self.finished)
        with m.If(taken):
            m.d.sync += [
                busy.eq(1),
                wanted.forward_flow.eq(i.p.forward_dataflow),
                wanted.backward_flow.eq(i.p.backward_dataflow),
                wanted.forward_sparse.eq(i.p.forward_sparse),
                wanted.backward_sparse.eq(i.p.backward_sparse),
            ]
        with m.Elif(ends):
            m.d.sync += busy.eq(0)
        with m.If(self.clear):
            m.d.sync += self.mode.eq(wanted)

        room = Signal(range(in_flight(c) + 1), init=in_flight(c))
        fires, row = self._beats(m, runs, room)
        m.d.sync += room.eq(room - fires + self.released)
        self._gradients(m, taken, fires, row, ends)
        return m

    def _beats(self, m: Module, runs: Signal, room: Signal) -> tuple[Signal, Signal]:
        """Whether a row of masters is complete, and the row, a cycle later."""
        c, masters = self.config, self.masters
        width = row_lanes(c) * MASTER_BITS
        row = Signal(width, reset_less=True)
        accepts, fires = Signal(), Signal()
        m.d.comb += [masters.ready.eq(runs & room.any()), accepts.eq(masters.valid & masters.ready)]
        if row_beats(c) == 1:
            m.d.comb += fires.eq(accepts)
            m.d.sync += row.eq(masters.payload.as_value()[:width])
            return fires, row
        half = Signal()
        m.d.comb += fires.eq(accepts & half)
        with m.If(accepts):
            m.d.sync += half.eq(~half)
            m.d.sync += row.eq(Cat(row[c.beat_bits :], masters.payload.as_value()))
        return fires, row

    def _gradients(
        self, m: Module, taken: Signal, fires: Signal, row: Signal, ends: Signal
    ) -> None:
        """Reads them with each row; a cycle later those of its lanes are chosen."""
        c, i = self.config, self.i
        lanes = row_lanes(c)
        parts, segments = c.lanes // lanes, c.columns // c.lanes
        half = Signal(reset_less=True)
        stride, rows, blocks, k, block = (
            Signal(COUNT_BITS, name=name, reset_less=True)
            for name in ("stride", "rows", "blocks", "k", "block")
        )
        here, start = (Signal(COUNT_BITS, name=name, reset_less=True) for name in ("here", "start"))
        part, segment = Signal(range(parts)), Signal(range(segments))
        step, tail, block_ends = Signal(), Signal(), Signal()
        m.d.comb += [
            step.eq(fires & (part == parts - 1)),
            tail.eq(step & (k == rows - 1)),
            block_ends.eq(tail & (segment == segments - 1)),
            ends.eq(block_ends & (block == blocks - 1)),
            self.sums_en.eq(fires),
            self.sums_half.eq(half),
            self.sums_address.eq(here),
        ]
        with m.If(taken):
            m.d.sync += [half.eq(i.p.half), here.eq(i.p.sums), start.eq(i.p.sums)]
            m.d.sync += [stride.eq(i.p.stride), rows.eq(i.p.rows), blocks.eq(i.p.blocks)]
            m.d.sync += [k.eq(0), block.eq(0)]
        with m.If(fires):
            m.d.sync += part.eq(Mux(step, 0, part + 1))
        with m.If(step):
            m.d.sync += [k.eq(Mux(tail, 0, k + 1)), here.eq(Mux(tail, start, here + 1))]
        with m.If(tail):
            m.d.sync += segment.eq(Mux(block_ends, 0, segment + 1))
        with m.If(block_ends):
            m.d.sync += [block.eq(block + 1), start.eq(start + stride), here.eq(start + stride)]

        chosen, read = Signal(range(c.columns // lanes), reset_less=True), Signal()
        m.d.sync += [
            chosen.eq(Cat(part, segment)),
            read.eq(fires),
            self.valid.eq(read),
        ]
        gradients = self.sums_data.as_value().word_select(chosen, 32 * lanes)
        for lane, weight in enumerate(self.row):
            masters = row.word_select(lane, MASTER_BITS)
            m.d.sync += [
                weight.gradient.eq(gradients.word_select(lane, 32)),
                weight.weight.eq(masters[:32]),
                weight.velocity.eq(masters[32:]),
            ]
