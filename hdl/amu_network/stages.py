# amaranth: UnusedElaboratable=no
"""The parts that nodes of a network are made of, in the order in which pixels pass them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.amu.convolution import Convolution, MaxPool, Patches
from ...models.amu.encoder import Encoder
from ...models.amu.layer import Format, Layer
from ...models.amu.network import Operation
from ...models.amu.operations import Dense, Flatten, Kind, Lookup, Select
from ...models.windows import Windows
from ..amu.encoder import Trees
from ..amu.lookup import Lookup as Sums
from ..amu.multipliers import Multipliers
from ..amu.unrolled import Unrolled
from ..lib.fixed import saturate
from .flow import Flow, Tags, values
from .folded import Folded
from .gather import Flatten as Flattened
from .pool import Largest
from .schedule import Arrival, Frame, Raster
from .window import Window


@dataclass(frozen=True)
class Stage:
    """A component from flow to flow."""

    component: Any
    """None: nothing but wires."""
    wire: Callable[[Value], Value] = lambda payload: payload
    """The bits of its input, of those that the stage before gives."""

    def arrival(self, arrival: Arrival) -> Arrival:
        """Of what it gives."""
        if self.component is None:
            return arrival
        if hasattr(self.component, "behind"):
            arrival = arrival.behind(self.component.behind)
        return arrival.later(self.component.latency)


@dataclass(frozen=True)
class Options:
    """How nodes are built."""

    lut_inputs: int = 6
    """Of the device's look-up tables."""
    folds: int = 1
    """Cycles over which a layer may share its adders."""

    def of(self, raster: Raster, frame: Frame, layer: Layer) -> int:
        """Those of a layer that gives these pixels: it must be done when the next one comes."""
        return min(self.folds, frame.gap(raster), layer.encoder.codebooks)


OPTIONS = Options()
"""Everything at once, on Xilinx."""


class Piped(Component):
    """A block of a fixed ``latency`` from the port ``source`` to the port ``result``, as a part of
    a flow."""

    def __init__(self, block: Any, source: str = "i", result: str = "o"):
        self._block, self._source, self._result = block, source, result
        self.latency = block.latency
        shapes = [block.signature.members[name].shape for name in (source, result)]
        super().__init__({"i": In(Flow(shapes[0])), "o": Out(Flow(shapes[1]))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self._block
        m.submodules.tags = tags = Tags(self.latency)
        m.d.comb += [
            tags.i.valid.eq(self.i.valid),
            tags.i.first.eq(self.i.first),
            Value.cast(getattr(block, self._source)).eq(Value.cast(self.i.payload)),
            self.o.valid.eq(tags.o.valid),
            self.o.first.eq(tags.o.first),
            Value.cast(self.o.payload).eq(Value.cast(getattr(block, self._result))),
        ]
        return m


class Requantised(Component):
    """``o`` = ``sums >> shift``, saturated to ``output``, a cycle later."""

    latency = 1

    def __init__(self, sums: data.ArrayLayout, shift: int, output: Format):
        self._shift, self._output = shift, output
        super().__init__({"i": In(sums), "o": Out(values(output, sums.length))})

    def elaborate(self, platform):
        m = Module()
        output = self._output
        for o, total in zip(self.o, self.i, strict=True):
            m.d.sync += o.eq(saturate(total >> self._shift, output.bits, output.signed))
        return m


def stages(
    operation: Operation,
    source: Kind,
    raster: Raster,
    frame: Frame,
    wanted: np.ndarray,
    options: Options,
) -> Iterator[Stage]:
    """Those of an operation on one source, whose pixels are ``raster``'s.

    ``wanted``: which of a vector's values are read.
    """
    match operation:
        case Lookup(layer):
            if (folds := options.of(raster, frame, layer)) == 1:
                block = Unrolled(layer, lut_inputs=options.lut_inputs)
                yield Stage(Piped(block, "x", "y"), wire=_trees(layer.encoder, source))
            else:
                yield _encoded(layer.encoder, source, options)
                yield from _sums(layer, folds)
        case Convolution():
            yield from _convolution(operation, source, raster, frame, options)
        case Dense():
            yield from _dense(operation, options)
        case Flatten() if len(source.shape) == 3:
            yield Stage(Flattened(source.format, source.channels, raster, frame, wanted))
        case MaxPool():
            yield from _pool(operation, source, raster, frame)
        case Patches():
            pixel = values(source.format, source.channels)
            yield Stage(Window(pixel, operation, raster, frame))
        case Select(channels):
            yield Stage(None, wire=_pick(channels, source))


def _pick(channels: Iterable[int], source: Kind) -> Callable[[Value], Value]:
    """These channels of a pixel."""
    bits = source.format.bits
    return lambda payload: Cat(payload[c * bits : (c + 1) * bits] for c in channels)


def _trees(encoder: Encoder, source: Kind) -> Callable[[Value], Value]:
    """The channels that trees look at, in their order."""
    return _pick(encoder.dims.ravel().tolist(), source)


def _encoded(encoder: Encoder, source: Kind, options: Options) -> Stage:
    trees = Trees(encoder, source.format, lut_inputs=options.lut_inputs)
    return Stage(Piped(trees, "x", "codes"), wire=_trees(encoder, source))


def _sums(layer: Layer, folds: int) -> Iterator[Stage]:
    """From codes on."""
    bias = layer.bias + _half(layer)
    if folds == 1:
        sums = Piped(Sums(layer.tables, bias), "codes", "sums")
    else:
        sums = Folded(layer.tables, bias, folds)
    yield Stage(sums)
    yield from _requantised(sums.o.payload.shape(), layer)


def _convolution(
    operation: Convolution, source: Kind, raster: Raster, frame: Frame, options: Options
) -> Iterator[Stage]:
    """Pixels are encoded once each; what waits for the rest of a window are codes."""
    encoder, layer = operation.encoder, operation.window(source.channels)
    yield _encoded(encoder, source, options)
    codes = data.ArrayLayout(encoder.levels, encoder.codebooks)
    outside = encoder(np.zeros((1, source.channels), np.int64))[0].tolist()
    yield Stage(Window(codes, operation.windows, raster, frame, outside))
    yield from _sums(layer, options.of(raster.windows(operation.windows), frame, layer))


def _dense(operation: Dense, options: Options) -> Iterator[Stage]:
    products = Multipliers(
        operation.weights,
        operation.input,
        bias=operation.bias + _half(operation),
        lut_inputs=options.lut_inputs,
    )
    yield Stage(Piped(products, "x", "y"))
    yield from _requantised(products.signature.members["y"].shape, operation)


def _half(operation: Layer | Dense) -> int:
    """Rounding is to add one half and to cut; the bias does the former."""
    return 0 if operation.output is None else 1 << operation.shift >> 1


def _requantised(sums: data.ArrayLayout, operation: Layer | Dense) -> Iterator[Stage]:
    if operation.output is not None:
        yield Stage(Piped(Requantised(sums, operation.shift, operation.output)))


def _pool(operation: MaxPool, source: Kind, raster: Raster, frame: Frame) -> Iterator[Stage]:
    """Along the rows first: then fewer values wait for the rows below."""
    pixel = values(source.format, source.channels)
    least = [source.format.limits[0]] * source.channels
    (height, width), (down, across), (above, beside) = (
        operation.size, operation.stride, operation.padding
    )  # fmt: skip
    for windows in (
        Windows((1, width), (1, across), (0, beside)),
        Windows((height, 1), (down, 1), (above, 0)),
    ):
        if windows == Windows((1, 1)):
            continue
        yield Stage(Window(pixel, windows, raster, frame, least))
        if (count := max(windows.size)) > 1:
            yield Stage(Piped(Largest(source.format, source.channels, count)))
        raster = raster.windows(windows)
