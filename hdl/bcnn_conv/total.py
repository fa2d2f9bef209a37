"""Sums over all pixels of a frame."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from ..lib.delay import Delay


class Total(Component):
    """What the accumulators of ``groups``, which take turns, go on with.

    ``begin`` marks the first word of a group, ``end`` the last one of a pixel, ``final`` the
    frame's last pixel; ``sums`` are what the accumulators hold before the word is added.  With
    ``load`` they take ``value`` instead: ``constants`` in a frame's first pixel, then what they
    held when the group was last done.
    """

    def __init__(self, width: int, groups: int):
        self._width, self._groups = width, groups
        super().__init__(
            {
                "begin": In(1),
                "end": In(1),
                "final": In(1),
                "constants": In(width),
                "sums": In(width),
                "load": Out(1),
                "value": Out(width),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        fresh = Signal(init=1)
        with m.If(self.end):
            m.d.sync += fresh.eq(self.final)
        if self._groups == 1:  # the accumulators just go on
            m.d.comb += [self.load.eq(self.begin & fresh), self.value.eq(self.constants)]
            return m
        # When a group begins, the accumulators hold those of the group before it.
        m.submodules.held = held = Delay(self._width, self._groups - 1)
        m.d.comb += [
            held.en.eq(self.begin),
            held.i.eq(self.sums),
            self.load.eq(self.begin),
            self.value.eq(Mux(fresh, self.constants, held.o)),
        ]
        return m
