"""The channel's LLRs: two frames, one of which may still be on its way."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from .layout import instruction, llrs
from .shape import Shape


class Channel(Component):
    """Receives frames in order and keeps up to two, to be read a word a cycle.

    ``llr``
        Frames in two's complement, ``lanes`` LLRs a beat; negative means a bit of 1.  An LLR's
        magnitude is its other bits, each XOR the sign: -1 is as unreliable as 0.
    ``accept``
        Whether beats may be taken.  They are unless two complete frames are kept.
    ``rows``
        Rows of ``pes`` LLRs in a frame, a power of two from 2; stands still while a frame is kept
        or on its way.
    ``release``
        The oldest frame, a complete one, is done with.
    ``instruction``, ``frame``, ``channel_low``, ``channel_high``
        Rows ``instruction.read`` and ``instruction.read + rows / 2`` of frame 0 or 1, in the same
        cycle.  Frames take turns, 0 is the first.
    ``there``
        Whether these two rows have come, for the oldest frame kept and those after it.  A row has
        in the cycle after its last beat was transferred.
    ``frames``
        How many complete frames are kept.
    ``empty``
        No frame is kept or on its way.
    ``waiting``
        A beat is offered and not taken.
    """

    def __init__(self, shape: Shape):
        self.shape = shape
        config = shape.config
        beat = data.ArrayLayout(signed(config.llr_bits), config.lanes)
        word = llrs(shape, config.pes)
        super().__init__(
            {
                "llr": In(stream.Signature(beat)),
                "accept": In(1),
                "rows": In(range(shape.rows + 1)),
                "release": In(1),
                "instruction": In(instruction(shape)),
                "frame": In(1),
                "channel_low": Out(word),
                "channel_high": Out(word),
                "there": Out(1),
                "frames": Out(range(3)),
                "empty": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        shape, config = self.shape, self.shape.config
        beat = Signal(range(config.pes // config.lanes))
        row = Signal(range(shape.rows))
        frame = Signal()  # the one that beats go to
        half, word = Signal.like(row), Signal(range(shape.channel_words))
        upper, taken, ends, complete = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.llr.ready.eq(self.accept & (self.frames != 2)),
            self.empty.eq((self.frames == 0) & (row == 0) & (beat == 0)),
            self.waiting.eq(self.llr.valid & ~self.llr.ready),
            taken.eq(self.llr.valid & self.llr.ready),
            ends.eq(taken & beat.all()),
            complete.eq(ends & (row + 1 == self.rows)),
            half.eq(self.rows >> 1),
            upper.eq((row & half).any()),
            word.eq(row & ~half),
        ]
        with m.If(taken):
            m.d.sync += beat.eq(beat + 1)
        with m.If(ends):
            m.d.sync += row.eq(Mux(complete, 0, row + 1))
        m.d.sync += [
            frame.eq(frame ^ complete),
            self.frames.eq(self.frames + complete - self.release),
        ]

        read = self.instruction.read[: len(word)]
        # A frame other than the one to be written is complete; that one is, too, after two.
        begun = (self.frames == 2) | (upper & (word > read))
        m.d.comb += self.there.eq(Mux(self.frame == frame, begun, self.frames.any()))

        llrs = Signal(config.lanes * config.llr_bits)
        m.d.comb += llrs.eq(Cat(_sign_magnitude(value) for value in self.llr.payload))
        for name, out, here in (
            ("low", self.channel_low, ~upper),
            ("high", self.channel_high, upper),
        ):
            m.submodules[name] = memory = Memory(
                shape=len(out.as_value()), depth=2 * shape.channel_words, init=[]
            )
            writes, reads = (
                memory.write_port(granularity=len(llrs)),
                memory.read_port(domain="comb"),
            )
            m.d.comb += [
                writes.en.eq(Mux(taken & here, 1 << beat, 0)),
                writes.addr.eq(Cat(word, frame)),
                writes.data.eq(llrs.replicate(config.pes // config.lanes)),
                reads.addr.eq(Cat(read, self.frame)),
                out.as_value().eq(reads.data),
            ]
        return m


def _sign_magnitude(value: Value) -> Value:
    """An LLR as :func:`.layout.llr` has it."""
    low, sign = value[:-1], value[-1]
    return Cat(low ^ sign.replicate(len(low)), sign)
