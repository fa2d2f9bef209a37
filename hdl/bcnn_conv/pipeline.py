# amaranth: UnusedElaboratable=no
"""A whole binary network as one pipeline: all layers at work at once, nothing waits inside."""

from functools import cached_property

from amaranth.hdl import Module, Value, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.bcnn import folds, lowering
from ...models.bcnn.network import Network
from ...models.bcnn.pacing import words
from ...models.bcnn.stages import Input, Stage, beat_channels
from ...models.bcnn.timing import Timeline
from .gear import Gear
from .pool import Pool
from .popcount import Style
from .products import Products
from .sink import Sink
from .source import Source
from .start import Later
from .walker import Walker


class Pipeline(Component):
    """Computes a :class:`~thresher.models.bcnn.network.Network`.

    ``x``
        Frames one after the other, pixel by pixel, ``lanes_in`` channels of a pixel in a beat: the
        integers, or bits, 1 for 1 and 0 for -1, where complex the real part in front of the
        imaginary one.
    ``y``
        The results, pixel by pixel, P outputs in a beat: bits likewise, or sums.
    ``delivered``
        Frames whose results have all left.
    ``waits``
        Cycles in which a frame did not start because results of others were not taken.

    Frames follow each other :attr:`interval` cycles apart where they come as fast and results are
    taken; from a frame's last beat to its last result is constant.  When anything happens is known
    beforehand (:mod:`thresher.models.bcnn.timing`), so that there are no handshakes inside.

    ``folds``: as of :func:`thresher.models.bcnn.lowering.lower`; by default chosen for ``lanes``
    products a cycle in all, or for ``interval`` cycles a frame.  Raises :class:`ValueError` as
    these do.
    """

    def __init__(
        self,
        network: Network,
        chosen: lowering.Folds | None = None,
        *,
        lanes: int = 0,
        interval: int = 0,
        lanes_in: int = 0,
        style: Style = "generic",
    ):
        if chosen is None:
            chosen = folds.choose(network, lanes=lanes, interval=interval, lanes_in=lanes_in)
        self.network = network
        self._style: Style = style
        self.stages = lowering.lower(network, chosen, lanes_in)
        self.timeline = Timeline(self.stages)
        first, last = self.stages[0], self.stages[-1]
        assert isinstance(first, Input)
        assert isinstance(last, Stage)
        self._units = [self._unit(stage) for stage in self.stages[1:]]
        self.interval = self.timeline.interval
        self._words = words(self.stages)
        each = beat_channels(last, last.kind) * (2 if last.kind.complex else 1)
        shape = self._units[-1].o.payload.shape()
        if last.kind.format == "bits":
            shape = data.ArrayLayout(1, each)
        self._sink = Sink(shape, last.beats, flying(self.timeline))
        super().__init__(
            {
                "x": In(stream.Signature(_word(first))),
                "y": Out(stream.Signature(shape)),
                "delivered": Out(32),
                "waits": Out(32),
            }
        )

    def _unit(self, stage: Input | Stage) -> Products | Pool:
        assert isinstance(stage, Stage)
        return Pool(stage) if stage.unit == "pool" else Products(stage, self._style)

    def cycles(self, frames: int) -> int:
        """From the first beat of so many frames to the last of their results, nothing stalled::

        words + 1 + (frames - 1) * interval + latency
        """
        return self.timeline.cycles(frames) + self._sink.latency

    @cached_property
    def lanes(self) -> int:
        """Products a cycle, of all stages."""
        return sum(stage.lanes for stage in self.stages if isinstance(stage, Stage))

    def elaborate(self, platform) -> Module:
        m = Module()
        timeline = self.timeline
        m.submodules.source = source = Source(
            self.x.payload.shape(), self._words, timeline.interval
        )
        m.submodules.sink = sink = self._sink
        connect(m, flipped(self.x), source.x)
        connect(m, sink.y, flipped(self.y))
        m.d.comb += [source.room.eq(sink.room), sink.start.eq(source.start)]
        with m.If(sink.leaves):
            m.d.sync += self.delivered.eq(self.delivered + 1)
        with m.If(source.waits):
            m.d.sync += self.waits.eq(self.waits + 1)

        starts = self._starts(m, source.start)
        beats = [source.o]
        for place, unit in enumerate(self._units, 1):
            stage = self.stages[place]
            assert isinstance(stage, Stage)
            walker = Walker(stage, timeline.depths[place])
            m.submodules[f"{stage.name}_walker"] = walker
            m.submodules[f"{stage.name}_{stage.unit}"] = unit
            m.d.comb += walker.start.eq(starts[place])
            connect(m, walker.o, unit.i)
            for n, reader in enumerate(stage.feeds):
                gear = self._gear(place, n)
                m.submodules[f"{stage.name}_gear{n}"] = gear
                given = beats[reader.source]
                m.d.comb += [gear.i.valid.eq(given.valid), gear.i.payload.eq(given.payload)]
                connect(m, gear.o, getattr(walker, f"feed{n}"))
            beats.append(unit.o)
        m.d.comb += [
            sink.i.valid.eq(beats[-1].valid),
            Value.cast(sink.i.payload).eq(beats[-1].payload),
        ]
        return m

    def _starts(self, m: Module, start: Value) -> list[Value]:
        """When each stage starts, each later than the one that starts before it."""
        offsets = self.timeline.offsets
        starts, before, pulse = [start] * len(offsets), 0, start
        for place in sorted(range(1, len(offsets)), key=lambda place: offsets[place]):
            later = Later(offsets[place] - before, self.interval)
            m.submodules[f"{self.stages[place].name}_start"] = later
            m.d.comb += later.i.eq(pulse)
            starts[place] = pulse = later.o
            before = offsets[place]
        return starts

    def _gear(self, place: int, n: int) -> Gear:
        stage = self.stages[place]
        assert isinstance(stage, Stage)
        reader = stage.feeds[n]
        outputs = beat_channels(self.stages[reader.source], reader.kind)
        depth = self.timeline.feeds[place][n].queue
        return Gear(reader.channel_bits, outputs, reader.channels, depth)


_QUEUE = 3
"""Cycles that a result is on its way through the sink, and its place is taken."""


def flying(timeline: Timeline) -> int:
    """Frames whose results are on their way, at most, or wait to be taken."""
    return -(-(timeline.latency + _QUEUE) // timeline.interval) + 1


def _word(first: Input) -> data.ArrayLayout:
    """A beat of the input."""
    kind, channels = first.kind, first.channels
    if kind.format == "bits":
        return data.ArrayLayout(1, channels * (2 if kind.complex else 1))
    bits = (kind.high - kind.low).bit_length()
    return data.ArrayLayout(signed(bits) if kind.low < 0 else unsigned(bits), channels)
