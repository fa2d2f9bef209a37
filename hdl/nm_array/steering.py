"""What the MACs of a row of clusters do, cycle by cycle."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.config import NmConfig
from .cluster import MAC, Cluster, delayed

LATENCY = 2
"""Cycles from a left word's steering bits to the cluster in column 0."""

ORDERS = {"valid": 1, "swap": 1, "first": 1, "last": 1, "output": 1}
"""What comes with a left word."""

RIGHT = {"valid": 1, "load": 1, "odd": 1}
"""What comes with a right word; ``odd``, where it is to be loaded, changes from fold to fold."""


class Steering(Component):
    """Steps of the row's MACs in column 0; those of a column further are a cycle later.

    ``left`` comes ``LATENCY`` cycles before the word is at the cluster; ``right`` as the right word
    is there, and goes on to the row below without what this one captured: of each fold, the first
    that comes.  ``moved``: there is a
    sum below the cluster, of a word that was not ``output``.

    When the last MAC of the column has kept its sums (``kept``, as long as that takes, comes to all
    rows as ``drain``), all buffers begin to shift: each until the sums of those above have passed.
    So the next tile's may be kept as soon as a buffer has no others; ``draining`` is this of the
    row's last MAC, ``above`` that of the row above.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        right = data.StructLayout(RIGHT)
        super().__init__(
            {
                "left": In(data.StructLayout(ORDERS)),
                "right": In(right),
                "right_o": Out(right),
                "steps": Out(data.ArrayLayout(MAC, config.kept)),
                "kept": Out(1),
                "drain": In(1),
                "above": In(1),
                "draining": Out(1),
                "moved": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        left, turns = self.left, self.config.interleave
        swap = delayed(m, left.valid & left.swap, LATENCY, reset=True)
        stays = delayed(m, left.valid & left.output, LATENCY, reset=True)
        load, put = self._load(m), swap | stays
        ends = delayed(m, left.valid & left.output & left.last, LATENCY, reset=True)
        late = Cluster.latency
        above = delayed(m, ~left.output, LATENCY + late)
        own = delayed(m, left.output & ~left.first, LATENCY + late)
        ends = delayed(m, ends, late + turns, reset=True)
        for step in self.steps:
            m.d.comb += [
                step.load.eq(load),
                step.swap.eq(put),
                step.above.eq(above),
                step.own.eq(own),
                step.keep.eq(ends),
            ]
            load, put = delayed(m, load, turns), delayed(m, put, turns)
            above, own = delayed(m, above, turns), delayed(m, own, turns)
            ends = delayed(m, ends, turns, reset=True)
        m.d.comb += self.kept.eq(self.steps[-1].keep)
        moves = left.valid & ~left.output
        length = LATENCY + late + self.config.kept * turns
        m.d.comb += self.moved.eq(delayed(m, moves, length, reset=True))
        self._drain(m)
        return m

    def _load(self, m: Module):
        """Whether the shadow register takes the right word."""
        right = self.right
        odd, captures = Signal(), Signal()  # of the fold that is next here
        m.d.comb += captures.eq(right.valid & right.load & (right.odd == odd))
        m.d.sync += [
            odd.eq(odd ^ captures),
            self.right_o.eq(right),
            self.right_o.valid.eq(right.valid & ~captures),
        ]
        return captures | right.valid & ~right.load

    def _drain(self, m: Module) -> None:
        draining = self.above
        for step in self.steps:
            draining = self.drain | delayed(m, draining, self.config.interleave, reset=True)
            m.d.comb += step.shift.eq(step.keep | draining)
        m.d.comb += self.draining.eq(draining)
