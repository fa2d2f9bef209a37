# amaranth: UnusedElaboratable=no
"""Fixed contents, everything at once: thresholds and tables as logic."""

from dataclasses import replace

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from ...models.amu.layer import Layer
from .contents import compared, fixed_layer
from .descent import comparable
from .shape import Shape
from .unrolled import Unrolled


class Constant(Component):
    """Rows in, results out, :func:`latency` cycles later; a row a cycle.

    Everything stands still while a result is not taken.
    """

    def __init__(self, shape: Shape):
        self._shape = shape
        super().__init__(
            {"i": In(stream.Signature(shape.row)), "o": Out(stream.Signature(shape.results))}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.unrolled = unrolled = _unrolled(self._shape)
        advance, busy = Signal(), Signal(unrolled.latency)
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(advance),
            self.o.valid.eq(busy[-1]),
            self.o.p.last.eq(1),
            unrolled.en.eq(advance),
        ]
        with m.If(advance):
            m.d.sync += busy.eq(Cat(self.i.valid, busy[:-1]))
        for lane, values in zip(unrolled.x, self.i.payload, strict=True):
            for inner, value in zip(lane, values, strict=True):
                m.d.comb += inner.eq(comparable(self._shape, value))
        for result, y in zip(self.o.p.values, unrolled.y, strict=True):
            m.d.comb += result.eq(y)
        return m


def latency(shape: Shape) -> int:
    """Cycles from a row to its results: at most ``levels + depth + 3``.

    Made for nothing but its latency, a component is not elaborated.
    """
    return _unrolled(shape).latency


def _unrolled(shape: Shape) -> Unrolled:
    config = shape.config
    layer: Layer = fixed_layer(config)
    trees = replace(layer.encoder, thresholds=compared(config, layer.encoder.thresholds))
    return Unrolled(replace(layer, encoder=trees), lut_inputs=config.lut_inputs)
