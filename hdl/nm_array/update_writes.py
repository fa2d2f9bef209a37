"""An update's writes, in their order."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.nm.config import NmConfig
from ...models.nm.program import ADDRESS_BITS, WIDTHS
from ...models.nm.update_cycles import (
    MASTER_BITS,
    backward_tile,
    forward_tile,
    in_flight,
    row_beats,
    row_lanes,
    step_beats,
)
from ..lib.fifo import Fifo
from .store import write_layout
from .update_addresses import BackwardAddresses, ForwardAddresses, by_kind

MODE = data.StructLayout(
    {"forward_flow": 1, "backward_flow": 1, "forward_sparse": 1, "backward_sparse": 1}
)
"""The kinds of both operands; a flow is 1 where it is output-stationary."""

JOB = data.StructLayout(
    {name: WIDTHS["update"][name] for name in ("masters", "forward", "backward", "rows", "blocks")}
)
"""What of an instruction matters to its writes."""


class Writes(Component):
    """Puts masters and beats of both operands in the order of :mod:`thresher.models.nm.update`.

    ``jobs``
        Instructions; the next one's writes follow without a bubble.
    ``push``, ``row``
        Updated masters; there is room for :func:`thresher.models.nm.update_cycles.in_flight` rows,
        ``released`` is high when one leaves.
    ``forward``, ``backward``
        Beats of E entries.
    ``mode``
        Stands still while writes are under way.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        entries = data.ArrayLayout(config.entry_bits, config.beat_entries)
        super().__init__(
            {
                "jobs": In(stream.Signature(JOB)),
                "mode": In(MODE),
                "push": In(1),
                "row": In(row_lanes(config) * MASTER_BITS),
                "released": Out(1),
                "forward": In(stream.Signature(entries)),
                "backward": In(stream.Signature(entries)),
                "write": Out(stream.Signature(write_layout(config))),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c, mode = self.config, self.mode
        job, active, ends = Signal(JOB, reset_less=True), Signal(), Signal()
        m.submodules.jobs = jobs = Fifo(JOB, 2)
        connect(m, flipped(self.jobs), jobs.i)
        begin, following = jobs.o.ready, jobs.o.payload
        m.d.comb += begin.eq(~active | ends)
        with m.If(begin):
            m.d.sync += [active.eq(jobs.o.valid), job.eq(following)]

        # A register before the port.
        valid, address, beat = Signal(), Signal(ADDRESS_BITS), Signal(c.beat_bits)
        opens, take, last = Signal(), Signal(), Signal()
        m.d.comb += [
            opens.eq(~self.write.valid | self.write.ready),
            take.eq(opens & valid & active),
            self.finished.eq(self.write.valid & self.write.ready & last),
        ]
        with m.If(opens):
            m.d.sync += [
                self.write.valid.eq(take),
                self.write.p.address.eq(address),
                self.write.p.data.as_value().eq(beat),
                last.eq(ends),
            ]

        step_ends = Signal()  # with its last beat
        forward_due, backward_due, tail, block_ends = self._count(m, job, step_ends, ends)
        m.submodules.forward = forward = ForwardAddresses(c)
        m.submodules.backward = backward = BackwardAddresses(c)
        masters, part = Signal(ADDRESS_BITS), Signal(range(step_beats(c)))
        masters_leave = Signal()
        queued, row = self._queue(m, part, masters_leave)
        m.d.comb += [
            forward.flow.eq(mode.forward_flow),
            forward.sparse.eq(mode.forward_sparse),
            forward.base.eq(following.forward),
            forward.tail.eq(tail),
            forward.block_ends.eq(block_ends),
            backward.flow.eq(mode.backward_flow),
            backward.sparse.eq(mode.backward_sparse),
            backward.base.eq(following.backward),
            backward.tail.eq(tail),
            backward.blocks.eq(job.blocks),
            forward.begin.eq(begin),
            backward.begin.eq(begin),
        ]
        with m.FSM():
            with m.State("MASTERS"):
                done = part == step_beats(c) - 1
                m.d.comb += [valid.eq(queued), address.eq(masters), beat.eq(row)]
                m.d.comb += masters_leave.eq(take)
                with m.If(take):
                    m.d.sync += [masters.eq(masters + 1), part.eq(Mux(done, 0, part + 1))]
                with m.If(take & done):
                    with m.If(forward_due):
                        m.next = "FORWARD"
                    with m.Elif(backward_due):
                        m.next = "BACKWARD"
                    with m.Else():
                        m.d.comb += step_ends.eq(1)
            with m.State("FORWARD"):
                m.d.comb += [
                    valid.eq(self.forward.valid),
                    self.forward.ready.eq(take),
                    forward.take.eq(take),
                    address.eq(forward.address),
                    beat.eq(self.forward.payload.as_value()),
                ]
                with m.If(take & forward.last):
                    m.d.comb += step_ends.eq(~backward_due)
                    with m.If(backward_due):
                        m.next = "BACKWARD"
                    with m.Else():
                        m.next = "MASTERS"
            with m.State("BACKWARD"):
                m.d.comb += [
                    valid.eq(self.backward.valid),
                    self.backward.ready.eq(take),
                    backward.take.eq(take),
                    address.eq(backward.address),
                    beat.eq(self.backward.payload.as_value()),
                ]
                with m.If(take & backward.last):
                    m.d.comb += step_ends.eq(1)
                    m.next = "MASTERS"
        with m.If(begin):
            m.d.sync += masters.eq(following.masters)
        return m

    def _count(
        self, m: Module, job: data.View, step_ends: Signal, ends: Signal
    ) -> tuple[Signal, Signal, Signal, Signal]:
        """What is due in this step; whether a segment ends with it, and a block."""
        c, mode = self.config, self.mode
        segments = c.columns // c.lanes
        step, block = Signal.like(job.rows), Signal.like(job.blocks)
        segment = Signal(range(segments))
        due = []
        for flow, sparse, tile in (
            (mode.forward_flow, mode.forward_sparse, forward_tile),
            (mode.backward_flow, mode.backward_sparse, backward_tile),
        ):
            # A power of two; K is a multiple, so that tiles end with segments.
            below = by_kind(flow, sparse, lambda *kind, tile=tile: tile(c, *kind).steps - 1)
            due.append(Signal(name=f"due_{len(due)}"))
            m.d.comb += due[-1].eq((step & below) == below)
        tail, block_ends = Signal(), Signal()
        m.d.comb += [
            tail.eq(step_ends & (step == job.rows - 1)),
            block_ends.eq(tail & (segment == segments - 1)),
            ends.eq(block_ends & (block == job.blocks - 1)),
        ]
        with m.If(step_ends):
            m.d.sync += step.eq(Mux(tail, 0, step + 1))
        with m.If(tail):
            m.d.sync += segment.eq(Mux(block_ends, 0, segment + 1))
        with m.If(block_ends):
            m.d.sync += block.eq(Mux(ends, 0, block + 1))
        return due[0], due[1], tail, block_ends

    def _queue(self, m: Module, part: Signal, take: Signal) -> tuple[Value, Value]:
        """Updated masters that wait: whether there are any, and their next beat."""
        c = self.config
        beats = row_beats(c)  # a power of two, as those of a step are
        m.submodules.queue = queue = Fifo(len(self.row), in_flight(c), block=True)
        number = part[: (beats - 1).bit_length()]
        m.d.comb += [
            queue.i.valid.eq(self.push),
            queue.i.payload.eq(self.row),
            queue.o.ready.eq(take & (number == beats - 1)),
            self.released.eq(queue.o.valid & queue.o.ready),
        ]
        return queue.o.valid, queue.o.payload.word_select(number, len(self.row) // beats)
