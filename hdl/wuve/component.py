"""The whole engine: the arithmetic between two streams."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.nm.wuve_config import WuveConfig
from ..lib.fifo import Fifo
from .lanes import REGISTER_MEMBERS, Lanes
from .layout import updated_layout, weights_layout

QUEUED = 2
"""Cycles from an updated beat to its transfer, through block RAM."""


class Wuve(Component):
    """Updates weights by momentum SGD; a beat a cycle.

    ``weights``
        FP32 weights and velocities with their gradients (int32 where copies are int8).
    ``updated``
        New weights and velocities, in the same order, and the weights' copies for the array.
    ``rate``, ``momentum``, ``decay``, ``scale``, ``weight_shift``
        Registers of :mod:`thresher.models.nm.update`.  They may change while nothing is in flight.
    ``count``
        Weights delivered, modulo 2**32.

    Every rounding is that of the golden model.  The pipeline never stands still: as many beats are
    in flight as a queue behind it has room for.
    """

    def __init__(self, config: WuveConfig):
        self.config = config
        super().__init__(
            {
                "weights": In(stream.Signature(weights_layout(config))),
                "updated": Out(stream.Signature(updated_layout(config))),
            }
            | REGISTER_MEMBERS
            | {"count": Out(32)}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        m.submodules.lanes = lanes = Lanes(c)
        # Room for what leaves the pipeline, the queue, and the cycle until room is known.
        depth = lanes.latency + QUEUED + 1
        m.submodules.queue = queue = Fifo(updated_layout(c), depth, block=True)
        connect(m, queue.o, flipped(self.updated))
        room = Signal(range(depth + 1), init=depth)
        there = Signal(lanes.latency)
        enters, leaves = Signal(), Signal()
        m.d.comb += [
            *(getattr(lanes, name).eq(getattr(self, name)) for name in REGISTER_MEMBERS),
            self.weights.ready.eq(room.any()),
            enters.eq(self.weights.valid & self.weights.ready),
            leaves.eq(self.updated.valid & self.updated.ready),
            lanes.i.eq(self.weights.payload),
            queue.i.valid.eq(there[-1]),
            queue.i.payload.eq(lanes.o),
        ]
        m.d.sync += [
            there.eq(Cat(enters, there)),
            room.eq(room - enters + leaves),
        ]
        with m.If(leaves):
            m.d.sync += self.count.eq(self.count + c.lanes)
        return m


def cycles(config: WuveConfig, beats: int) -> int:
    """From the first beat in to the last one out."""
    return beats + config.latency + QUEUED
