"""A layer by table lookup, all of it at once: a row in and a row out every cycle."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.amu.layer import Layer
from ..lib.fixed import fit, narrowest, saturate
from .encoder import Trees, tree_order
from .lookup import Lookup
from .schedule import schedule


class Unrolled(Component):
    """``y`` = the :class:`~thresher.models.amu.layer.Layer` of the row ``x``, ``latency`` later.

    ``x[c][l]`` is what level l of codebook c looks at.  ``y`` has the format ``layer.output``, or
    the shape that the widest sum needs.  ``latency`` counts the cycles in which ``en`` is high;
    while it is low everything stands still.  It is at most ``max_latency``, by default::

        levels + ceil(log2 codebooks) + 3

    of which a register after saturation takes 1 where a sum can be outside the output's format,
    and the adders no more than makes them fewer.  ``lut_inputs`` is as of
    :class:`~thresher.hdl.amu.encoder.Trees`.  Raises :class:`ValueError` where ``max_latency`` is
    too short.
    """

    def __init__(self, layer: Layer, *, lut_inputs: int = 6, max_latency: int | None = None):
        self.layer, self._lut_inputs = layer, lut_inputs
        encoder, output = layer.encoder, layer.output
        if max_latency is None:
            max_latency = encoder.levels + (encoder.codebooks - 1).bit_length() + 3
        # To round is to add one half, which the bias can do, and to cut.
        self._shift = layer.shift if output is not None else 0
        half = 1 << self._shift >> 1
        low, high = ((bound + half) >> self._shift for bound in layer.bounds)
        self._ranges = list(zip(low.tolist(), high.tolist(), strict=True))
        self._saturates = output is not None and not (output.holds(low) and output.holds(high))
        before_and_after = encoder.levels + self._saturates
        self._adders = schedule(encoder.codebooks, max_latency - before_and_after).latency
        self.latency = before_and_after + self._adders
        least, most = int(low.min()), int(high.max())
        shape = (
            narrowest(least, most, least < 0)
            if output is None
            else Shape(output.bits, output.signed)
        )
        super().__init__(
            {
                "en": In(1, init=1),
                "x": In(tree_order(encoder, layer.input)),
                "y": Out(data.ArrayLayout(shape, layer.outputs)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layer, half = self.layer, 1 << self._shift >> 1
        m.submodules.trees = trees = Trees(layer.encoder, layer.input, lut_inputs=self._lut_inputs)
        m.submodules.lookup = lookup = Lookup(layer.tables, layer.bias + half, self._adders)
        m.d.comb += [
            trees.en.eq(self.en),
            trees.x.eq(self.x),
            lookup.en.eq(self.en),
            lookup.codes.eq(trees.codes),
        ]
        output = layer.output
        for number, (total, (low, high)) in enumerate(zip(lookup.sums, self._ranges, strict=True)):
            y = fit(total.shift_right(self._shift), narrowest(low, high, low < 0))
            if output is not None:
                y = saturate(y, output.bits, output.signed)
            if not self._saturates:
                m.d.comb += self.y[number].eq(y)
                continue
            register = Signal(y.shape(), name=f"y_{number}", reset_less=True)
            with m.If(self.en):
                m.d.sync += register.eq(y)
            m.d.comb += self.y[number].eq(register)
        return m
