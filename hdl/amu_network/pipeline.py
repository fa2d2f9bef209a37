# amaranth: UnusedElaboratable=no
"""A whole network as one pipeline: all layers at work at once, a frame right behind the other."""

from dataclasses import dataclass

from amaranth.hdl import Module, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.amu.network import Network
from ...models.amu.operations import Add, Concat
from ...models.amu.streamline import needed
from .ends import Sink, Source
from .flow import values
from .join import Join, Sum
from .schedule import Arrival, rasters
from .stages import OPTIONS, Options, Piped, Stage, stages


class Pipeline(Component):
    """Computes a :class:`~thresher.models.amu.network.Network`.

    ``x``
        Frames one after the other, pixel by pixel (a vector is one pixel), the channels of a pixel
        in ``ceil(channels / lanes)`` beats.  What the last beat has beyond them is ignored.
    ``y``
        The results likewise, with as many values a beat as it takes to keep up.
    ``delivered``
        Results that have left: vectors, or pixels of images.
    ``waits``
        Cycles in which the input was held up because nobody took the results.

    Nothing inside can stop (:mod:`.flow`), and nothing is decided at run time: when a pixel passes
    is known (:mod:`.schedule`).  Back to back, a frame takes as many cycles as its pixels have
    beats wherever the image's height and width are multiples of the strides.

    Raises :class:`ValueError`, naming the node, where a window's padding is as large as the
    window, or branches of different strides meet.
    """

    def __init__(self, network: Network, lanes: int = 8, options: Options = OPTIONS):
        self.network = network
        kind, result = network.input, network.output
        self.lanes = min(lanes, kind.channels)
        self.frame, found = rasters(network, -(-kind.channels // self.lanes))
        self._rasters = [raster or self.frame.vector for raster in found]
        wanted = needed(network)
        self._nodes = [_Node(None, [], Arrival().later(Source.latency))]
        for place in range(1, len(network.nodes)):
            self._nodes.append(self._node(place, wanted, options))

        raster, arrival = self._rasters[-1], self.arrival
        slots = self.frame.last(raster) + arrival.slots(raster.size[1] - 1)
        after = slots - (self.frame.slots - 1)
        idle = max(0, -(-after // (self.frame.block * self.frame.columns)))
        self._source = Source(
            kind.format, self.lanes, wanted[0], self._rasters[0].size, self.frame, idle
        )
        cycles = max(cycles for _, cycles in arrival.paths)
        self._sink = Sink(
            result.format,
            result.channels,
            min(self.frame.gap(raster), result.channels),
            self.frame.most(raster, -(-cycles // self.frame.beats)),
            raster,
            self.frame,
        )
        super().__init__(
            {
                "x": In(stream.Signature(values(kind.format, self.lanes))),
                "y": Out(stream.Signature(values(result.format, self._sink.lanes))),
                "delivered": Out(32),
                "waits": Out(32),
            }
        )

    @property
    def arrival(self) -> Arrival:
        """When results are there."""
        return self._nodes[-1].arrival

    def queues(self) -> dict[str, list[int]]:
        """The depths of its branches' queues, by each node's name where branches meet."""
        pairs = zip(self.network.nodes, self._nodes, strict=True)
        return {node.name: made.join.depths for node, made in pairs if made.join is not None}

    def cycles(self, frames: int) -> int:
        """From the first beat of so many frames to the last of their results, nothing stalled::

            ((frames - 1) * slots + last + 1) * beats + late + result_beats - 1

        where a result's last pixel is that of slot ``last`` and comes out ``late`` cycles after it.
        """
        raster = self._rasters[-1]
        last = (frames - 1) * self.frame.slots + self.frame.last(raster)
        late = self.arrival.cycles(self.frame, raster.size[1] - 1) + self._sink.latency
        return (last + 1) * self.frame.beats + late + self._sink.beats - 1

    def _node(self, place: int, wanted: list, options: Options) -> "_Node":
        node = self.network.nodes[place]
        sources = [self.network.kinds[s] for s in node.sources]
        arrivals = [self._nodes[s].arrival for s in node.sources]
        raster, arrival, join = self._rasters[node.sources[0]], arrivals[0], None
        if isinstance(node.operation, Add | Concat):
            layouts = [values(s.format, s.channels) for s in sources]
            join = Join(layouts, arrivals, raster, self.frame)
            arrival, parts = join.arrival, []
            if isinstance(node.operation, Add):
                parts = [Stage(Piped(Sum(node.operation, layouts)))]
        else:
            parts = list(
                stages(node.operation, sources[0], raster, self.frame, wanted[place], options)
            )
        for part in parts:
            arrival = part.arrival(arrival)
        return _Node(join, parts, arrival)

    def elaborate(self, platform):
        m = Module()
        m.submodules.source, m.submodules.sink = source, sink = self._source, self._sink
        connect(m, flipped(self.x), source.x)
        connect(m, sink.y, flipped(self.y))
        m.d.comb += source.room.eq(sink.room)
        with m.If(sink.leaves):
            m.d.sync += self.delivered.eq(self.delivered + 1)
        with m.If(source.waits):
            m.d.sync += self.waits.eq(self.waits + 1)
        flows = [_Flow.of(source.o)]
        for node, made in zip(self.network.nodes[1:], self._nodes[1:], strict=True):
            flow = flows[node.sources[0]]
            if made.join is not None:
                m.submodules[f"{node.name}_join"] = made.join
                for n, s in enumerate(node.sources):
                    flows[s].to(m, made.join.branches[n])
                flow = _Flow.of(made.join.o)
            for n, part in enumerate(made.parts):
                if part.component is None:
                    flow = _Flow(flow.valid, flow.first, part.wire(flow.payload))
                    continue
                m.submodules[f"{node.name}_{n}"] = part.component
                _Flow(flow.valid, flow.first, part.wire(flow.payload)).to(m, part.component.i)
                flow = _Flow.of(part.component.o)
            flows.append(flow)
        flows[-1].to(m, sink.i)
        return m


@dataclass(frozen=True)
class _Node:
    """What a node became."""

    join: Join | None
    parts: list[Stage]
    arrival: Arrival
    """Of its pixels."""


@dataclass(frozen=True)
class _Flow:
    """A flow's values."""

    valid: Value
    first: Value
    payload: Value

    @staticmethod
    def of(flow) -> "_Flow":
        return _Flow(flow.valid, flow.first, Value.cast(flow.payload))

    def to(self, m: Module, flow) -> None:
        assert len(self.payload) == len(Value.cast(flow.payload))
        m.d.comb += [
            flow.valid.eq(self.valid),
            flow.first.eq(self.first),
            Value.cast(flow.payload).eq(self.payload),
        ]
