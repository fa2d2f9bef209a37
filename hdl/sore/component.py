"""The whole engine: a selector of one direction, and a counter."""

from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.nm.sore_config import SoreConfig
from .across import Across
from .along import Along
from .layout import entries_layout, weights_layout


def latency(config: SoreConfig) -> int:
    """Cycles from the transfer of the beat that completes groups to that of their entries."""
    return (Along if config.direction == "along" else Across).latency


class Sore(Component):
    """Selects the ``kept`` weights of largest magnitude of every group of ``group``.

    ``weights``
        A beat has a weight for each lane.  Groups follow each other from reset on.
    ``entries``
        The kept ones in ascending order of their position, which is the entry's index.  Of equal
        magnitudes the later weight is kept.  Magnitudes are compared as integers, so that infinity
        is large and a NaN is larger.

    A beat a cycle either way; :func:`latency` counts.  ``groups`` counts beats of entries times
    the groups of one.
    """

    def __init__(self, config: SoreConfig):
        self.config = config
        super().__init__(
            {
                "weights": In(stream.Signature(weights_layout(config))),
                "entries": Out(stream.Signature(entries_layout(config))),
                "groups": Out(32),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        m.submodules.selector = selector = (Along if c.direction == "along" else Across)(c)
        connect(m, flipped(self.weights), selector.weights)
        connect(m, selector.entries, flipped(self.entries))
        with m.If(self.entries.valid & self.entries.ready):
            m.d.sync += self.groups.eq(self.groups + c.groups)
        return m
