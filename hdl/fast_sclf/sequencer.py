"""Runs the node program: one instruction a cycle, one decoding after the other.

What comes after a decoding depends on its verdict, which is some tens of cycles away.  Meanwhile
the likelier goes on: after a frame's first decoding the next frame, which is begun anew should
the frame have to be decoded again; after a flip the next flip, which is dropped should the frame
be saved.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..lib.memory import Ram
from .layout import instruction
from .shape import Shape

FETCH = 2
"""Cycles without an instruction when a decoding is begun out of turn."""

_ACTS = (
    *("pe", "low", "high", "leaf", "accumulate", "store"),
    *("enter", "fix", "split", "selection", "last"),
)
"""Without these flags an instruction leaves everything as it is."""


class Sequencer(wiring.Component):
    """Instruction memory, fetching, and the order of decodings.

    ``write``, ``write_address``, ``write_data``: the program, while not ``run``.  ``run``: go on
    with the frame in turn, whose buffer is ``frame``; a rise begins at the first instruction.
    ``now`` is this cycle's instruction, without its flags where there is none or it is held up;
    ``next`` that of the next cycle in which nothing is held up.  Held up is one whose channel
    LLRs are not ``there``, and the last one until the verdict of the decoding before came, the
    back end is ``ready`` and the flip controller not ``busy``; ``held`` then, and ``next`` waits.

    ``start``: a decoding begins with the next cycle, in channel buffer ``start_frame``; it is
    a frame's first with ``start_first``, its first flip with ``start_flips``.  ``finish``: this
    cycle ends one, ``first`` or not, whose partial sums lie in ``half``; its ``verdict`` follows,
    and upon it, in the same cycle, ``release`` when the frame is done with and ``give_up`` where
    that is because ``limit`` flips failed.  ``pending``: a verdict is awaited.

    For counters: ``executes``, an instruction is executed; ``attempted``, the verdict is that of a
    flip.
    """

    def __init__(self, shape: Shape):
        self._shape = shape
        layout, address = instruction(shape), range(shape.config.program)
        super().__init__(
            {
                "write": In(1),
                "write_address": In(address),
                "write_data": In(layout.size),
                "run": In(1),
                "limit": In(8),
                "there": In(1),
                "ready": In(1),
                "busy": In(1),
                "verdict": In(1),
                "passed": In(1),
                "now": Out(layout),
                "next": Out(layout),
                "held": Out(1),
                "frame": Out(1),
                "half": Out(1),
                "start": Out(1),
                "start_frame": Out(1),
                "start_first": Out(1),
                "start_flips": Out(1),
                "finish": Out(1),
                "first": Out(1),
                "release": Out(1),
                "give_up": Out(1),
                "pending": Out(1),
                "executes": Out(1),
                "attempted": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        layout = instruction(self._shape)
        size, depth = layout.size, self._shape.config.program
        m.submodules.memory = memory = Ram(size, depth, collides=False)
        jump, hold = Signal(), self.held

        # Fetching: `next` is at the memory's output, its address is `at`.
        at, read = Signal(range(depth)), Signal(range(depth))
        fetched, waiting = Signal(), Signal()  # `next` and `current` are instructions
        current = Signal(layout)
        m.d.comb += [
            memory.write_en.eq(self.write),
            memory.write_addr.eq(self.write_address),
            memory.write_data.eq(self.write_data),
            read.eq(Mux(jump | ~fetched | self.next.last, 0, at + 1)),
            memory.read_addr.eq(read),
            memory.read_en.eq(jump | ~hold),
            self.next.as_value().eq(memory.read_data),
        ]
        with m.If(jump | ~self.run):
            m.d.sync += [at.eq(0), fetched.eq(jump & self.run), waiting.eq(0)]
        with m.Elif(~hold):
            m.d.sync += [at.eq(read), fetched.eq(1), waiting.eq(fetched), current.eq(self.next)]

        channel = current.pe & current.channel & ~self.there
        end = current.last & (self.pending | ~self.ready | self.busy)
        m.d.comb += [
            hold.eq(waiting & (channel | end)),
            self.now.eq(current),
            self.executes.eq(waiting & ~hold & ~jump),
            self.finish.eq(current.last & waiting & ~hold),
        ]
        with m.If(hold | ~waiting | jump):
            m.d.comb += [getattr(self.now, flag).eq(0) for flag in _ACTS]

        # Decodings: which one runs, which one awaits its verdict.
        attempt, awaited = Signal(8), Signal(8)
        others = Signal()  # the frame that awaits its verdict is not the one that is decoded
        m.d.comb += self.first.eq(attempt == 0)
        turns = self.first | (attempt == self.limit)  # the next frame is up
        failed = self.verdict & ~self.passed
        m.d.comb += [
            self.release.eq(self.verdict & (self.passed | (awaited == self.limit))),
            self.give_up.eq(failed & (awaited == self.limit)),
            self.start.eq(self.finish | jump),
            self.attempted.eq(self.verdict & (awaited != 0)),
        ]
        following = Signal(8)  # the attempt that is begun
        with m.If(self.finish):
            m.d.comb += [
                following.eq(Mux(turns, 0, attempt + 1)),
                self.start_frame.eq(self.frame ^ turns),
            ]
            m.d.sync += [
                self.pending.eq(1), awaited.eq(attempt), others.eq(turns), self.half.eq(~self.half),
            ]  # fmt: skip
        with m.Elif(self.verdict):
            again = failed & (awaited == 0) & (self.limit != 0)
            m.d.comb += [
                jump.eq(again | self.passed & ~others),
                following.eq(again),
                self.start_frame.eq(~self.frame),
            ]
            m.d.sync += self.pending.eq(0)
        m.d.comb += [self.start_first.eq(following == 0), self.start_flips.eq(following == 1)]
        with m.If(self.start):
            m.d.sync += [self.frame.eq(self.start_frame), attempt.eq(following)]
        return m
