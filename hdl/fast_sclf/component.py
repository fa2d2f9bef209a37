"""The whole engine."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...models.fast_sclf.config import FastSclfConfig
from .beats import CODE, CONTROL, INSTRUCTION, llr_layout, program_layout
from .channel import Channel
from .deliver import Deliver
from .flips import Flips
from .layout import code
from .llrs import Llrs
from .minima import Minima
from .outbox import message_layout
from .paths import Paths
from .pointers import Pointers
from .sequencer import Sequencer
from .shape import Shape
from .sums import Sums

COUNTERS = ("frames", "attempts_made", "given_up", "steps", "splits", "wait_llr")


class FastSclf(wiring.Component):
    """Decodes polar codes by a list of paths, again with a path selection flipped if need be.

    ``program``
        Loads a code (:func:`.beats.program_beats`) while no frame is in flight.  Nothing else is
        taken before the first one.
    ``llr``
        Frames of n LLRs, ``lanes`` a beat, in order.  Two's complement; an LLR's sign bit is its
        hard decision and the other bits, each XOR the sign, its magnitude.
    ``message``
        The messages in the order of arrival, without their CRC, ``beat`` bits a beat, bit 0
        first, ``last`` on the final one.  Without ``found`` no decoding gave a word whose CRC is
        right, and the message is that of the first decoding's best path.

    ``attempts`` is how many path selections are flipped at most, one at a time; ``alpha``, in
    units of 1 / 32, the parameter of the error model that chooses them (:mod:`.flips`).  Both may
    change while no frame is in flight.

    A frame takes the program's cycles (:func:`.compiler.compile_program`) for each decoding; its
    CRC is checked while the next one is decoded.  :func:`.cycles.timing` counts exactly.
    """

    def __init__(self, config: FastSclfConfig):
        self.config = config
        self._shape = shape = Shape(config)
        super().__init__(
            {
                "program": In(stream.Signature(program_layout(shape))),
                "llr": In(stream.Signature(llr_layout(config))),
                "message": Out(stream.Signature(message_layout(config))),
                "attempts": In(8, init=50),
                "alpha": In(8, init=38),
            }
            | {name: Out(32) for name in COUNTERS}
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        m.submodules.channel = channel = Channel(shape)
        m.submodules.sequencer = sequencer = Sequencer(shape)
        m.submodules.flips = flips = Flips(shape)
        m.submodules.pointers = pointers = Pointers(shape)
        m.submodules.llrs = llrs = Llrs(shape)
        m.submodules.minima = minima = Minima(shape)
        m.submodules.paths = paths = Paths(shape)
        m.submodules.sums = sums = Sums(shape)
        m.submodules.deliver = deliver = Deliver(shape)
        about = Signal(code(shape))
        wiring.connect(m, wiring.flipped(self.llr), channel.llr)
        wiring.connect(m, deliver.message, wiring.flipped(self.message))

        # A program is taken when nothing is in flight; then everything else waits.
        loaded, loading, quiet = Signal(), Signal(), Signal()
        m.d.comb += [
            quiet.eq(channel.empty & ~sequencer.pending & deliver.ready & ~self.message.valid),
            self.program.ready.eq(loading | quiet),
            channel.accept.eq(loaded & ~loading & ~(self.program.valid & quiet)),
            sequencer.run.eq(loaded & ~loading),
        ]
        self._load(m, sequencer, deliver, about)
        with m.If(self.program.valid & self.program.ready):
            m.d.sync += [loading.eq(~self.program.p.last), loaded.eq(self.program.p.last)]

        # Which decoding runs.
        now = sequencer.now
        limit = Signal(8)
        m.d.sync += limit.eq(Mux(self.attempts < about.selections, self.attempts, about.selections))
        m.d.comb += [
            sequencer.limit.eq(limit),
            sequencer.there.eq(channel.there),
            sequencer.ready.eq(deliver.ready),
            sequencer.busy.eq(flips.busy),
            sequencer.verdict.eq(deliver.verdict),
            sequencer.passed.eq(deliver.passed),
            flips.alpha.eq(self.alpha),
            flips.selections.eq(about.selections),
            flips.start.eq(sequencer.start),
            flips.frame.eq(sequencer.start_frame),
            flips.first.eq(sequencer.start_first),
            flips.restart.eq(sequencer.start_flips),
            flips.selection.eq(now.selection),
            flips.kept.eq(paths.metrics[0]),
            flips.dropped.eq(paths.dropped),
            flips.offset.eq(paths.offset),
        ]

        # LLRs, from the channel down to the leaves.
        m.d.comb += [
            channel.rows.eq(about.rows),
            channel.release.eq(sequencer.release),
            channel.frame.eq(sequencer.frame),
            channel.instruction.eq(now),
            pointers.now.eq(now),
            pointers.next.eq(sequencer.next),
            pointers.held.eq(sequencer.held),
            pointers.parent.eq(paths.parent),
            llrs.instruction.eq(now),
            llrs.select.eq(pointers.select),
            llrs.lower.eq(pointers.lower),
            llrs.rows.eq(sums.rows),
            llrs.channel_low.eq(channel.channel_low),
            llrs.channel_high.eq(channel.channel_high),
            minima.instruction.eq(now),
            minima.results.eq(llrs.results),
            minima.checks.eq(llrs.checks),
        ]

        # Paths, and their partial sums on the way up again.
        m.d.comb += [
            paths.start.eq(sequencer.start),
            paths.instruction.eq(now),
            paths.worst.eq(flips.worst),
            *(
                getattr(paths, name).eq(getattr(minima, name))
                for name in ("negative", "positive", "hard", "odd", "minimum", "which")
            ),
            sums.instruction.eq(now),
            sums.beta.eq(paths.beta),
            sums.pointers.eq(pointers.pointers),
            sums.sums_select.eq(pointers.sums_select),
            sums.half.eq(sequencer.half),
        ]

        # Messages.
        m.d.comb += [
            deliver.rows.eq(about.rows),
            deliver.k.eq(about.k),
            deliver.finish.eq(sequencer.finish),
            deliver.half.eq(sequencer.half),
            deliver.pointers.eq(pointers.sums_pointers),
            deliver.active.eq(paths.active),
            deliver.first.eq(sequencer.first),
            deliver.give_up.eq(sequencer.give_up),
            sums.row_enable.eq(deliver.row_enable),
            sums.row_half.eq(deliver.row_half),
            sums.row_bank.eq(deliver.row_bank),
            sums.row_address.eq(deliver.row_address),
            deliver.row.eq(sums.row),
        ]
        self._count(m, sequencer, channel)
        return m

    def _load(self, m, sequencer, deliver, about):
        """Rows of each memory in order."""
        p = self.program.p
        taken = Signal()
        m.d.comb += [
            taken.eq(self.program.valid & self.program.ready),
            sequencer.write.eq(taken & (p.target == INSTRUCTION)),
            sequencer.write_data.eq(p.word),
            deliver.control_write.eq(taken & (p.target == CONTROL)),
            deliver.control.as_value().eq(p.word),
        ]
        with m.If(taken & (p.target == CODE)):
            m.d.sync += about.as_value().eq(p.word)
        for write, address in (
            (sequencer.write, sequencer.write_address),
            (deliver.control_write, deliver.control_address),
        ):
            row = Signal.like(address)
            m.d.comb += address.eq(row)
            with m.If(write):
                m.d.sync += row.eq(row + 1)
            with m.If(taken & p.last):
                m.d.sync += row.eq(0)

    def _count(self, m, sequencer, channel):
        """Counters, a cycle late: nothing waits for them."""
        events = {
            "frames": self.message.valid & self.message.ready & self.message.p.last,
            "attempts_made": sequencer.attempted,
            "given_up": sequencer.give_up,
            "steps": sequencer.executes,
            "splits": sequencer.now.split,
            "wait_llr": channel.waiting & (channel.frames == 2),
        }
        for name, event in events.items():
            seen = Signal(name=f"{name}_seen")
            counter = getattr(self, name)
            m.d.sync += [seen.eq(event), counter.eq(counter + seen)]
