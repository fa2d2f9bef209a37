# amaranth: UnusedElaboratable=no
"""The whole engine."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.reram.layer import register_bits
from ...models.reram.layer_config import ReramLayerConfig
from ..lib.counters import walk
from .core import Core
from .delays import row_planes
from .indicators import IndicatorLoad
from .load import Admission, CellLoad
from .window import Window

COUNTERS = ("steps", "sign_errors", "clipped")


class Reram(Component):
    """A layer on crossbars (:class:`thresher.models.reram.layer.Layer`).

    ``cells``
        Levels of a column's cells in a fragment, in the order of planes, crossbars' rows, crossbars
        across, fragments, ADCs, columns of an ADC; level 0 where nothing is held.
    ``indicators``
        Of each of a crossbar's fragments, and each ADC: which columns are stored inverted, which
        outputs are negative, and the parity of all these bits; in the order of ``cells``.
    ``biases``
        Of all features; with ``signed_inputs`` what the inputs' offset gives is taken off.
    ``activations``
        Pixels row by row, the channels of a pixel one after the other, frame after frame.
    ``results``
        Likewise, the features of a pixel one after the other.
    ``multiplier``, ``shift``, ``threshold``
        Registers; they stay while activations are inside.

    First of all every load is given, whole; a reset asks for them again.  Later each may be given
    again by itself: as soon as it is offered no new frame begins, it is taken once all results have
    left, and activations wait until it is complete.

    Cycles: :mod:`thresher.models.reram.layer_cycles`.
    """

    def __init__(self, config: ReramLayerConfig):
        self.config = c = config
        self._core = core = Core(c)
        self._loads = cells, indicators = CellLoad(c), IndicatorLoad(c)
        super().__init__(
            {
                "cells": In(stream.Signature(cells.i.p.shape())),
                "indicators": In(stream.Signature(indicators.i.p.shape())),
                "biases": In(stream.Signature(signed(c.bias_bits))),
                "activations": In(stream.Signature(Shape(c.input_bits, c.signed_inputs))),
                "results": Out(stream.Signature(core.o.p.shape())),
                **{name: In(bits) for name, bits in register_bits(c).items()},
                "vectors": Out(32),
                **{name: Out(32) for name in COUNTERS},
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.core = core = self._core
        m.submodules.admission = admission = Admission(self.config)
        m.submodules.window = window = Window(self.config)
        connect(m, core.o, flipped(self.results))
        m.d.comb += [
            window.i.payload.eq(self.activations.payload),
            window.i.valid.eq(self.activations.valid & admission.accept),
            self.activations.ready.eq(window.i.ready & admission.accept),
            admission.taken.eq(self.activations.valid & self.activations.ready),
            admission.delivered.eq(self.results.valid & self.results.ready),
            self.vectors.eq(admission.vectors),
            *(getattr(core, name).eq(getattr(self, name)) for name in register_bits(self.config)),
        ]
        self._load(m, admission)
        self._split(m, window)
        events = (core.stepped, core.sign_errors, core.clipped)
        for name, happened in zip(COUNTERS, events, strict=True):
            counter = getattr(self, name)
            m.d.sync += counter.eq(counter + happened)
        return m

    def _load(self, m: Module, admission: Admission) -> None:
        core, (cells, indicators) = self._core, self._loads
        m.submodules.cell_load, m.submodules.indicator_load = cells, indicators
        ports = (self.cells, self.indicators, self.biases)
        taken, whole = Signal(len(ports)), Signal(len(ports))
        m.d.comb += taken.eq(Cat(port.valid & port.ready for port in ports))
        feature, last_bias = walk(m, taken[2], {"feature": self.config.features}, "_due")
        for port, load in ((self.cells, cells), (self.indicators, indicators)):
            m.d.comb += [
                Value.cast(load.i.payload).eq(Value.cast(port.payload)),
                load.i.valid.eq(port.valid & admission.quiet),
                port.ready.eq(load.i.ready & admission.quiet),
            ]
        for number, last in ((0, cells.last), (2, last_bias)):
            with m.If(taken[number]):
                m.d.sync += whole[number].eq(last)
        # A word of indicators is written lane by lane, after it was taken.
        with m.If(taken[1]):
            m.d.sync += whole[1].eq(0)
        with m.Elif(indicators.last):
            m.d.sync += whole[1].eq(1)
        m.d.comb += [
            self.biases.ready.eq(admission.quiet),
            admission.wanted.eq(Cat(port.valid for port in ports).any()),
            admission.loaded.eq(whole.all()),
            core.cell_write.eq(cells.write),
            core.cell_number.eq(cells.number),
            core.cell_adc.eq(cells.adc),
            core.cell_address.eq(cells.address),
            Value.cast(core.cell_levels).eq(Value.cast(cells.levels)),
            core.indicator_write.eq(indicators.write),
            core.indicator_number.eq(indicators.number),
            core.indicator_load.eq(indicators.load),
            core.bias_write.eq(taken[2]),
            core.bias_address.eq(feature["feature"]),
            core.bias.eq(self.biases.payload),
        ]

    def _split(self, m: Module, window: Window) -> None:
        """Every row of crossbars has its part of the values under a window."""
        c = self.config
        units = row_planes(c)
        for d, unit in enumerate(units):
            m.submodules[f"planes_{d}"] = unit
            connect(m, unit.o, self._core.i[d])
        if len(units) == 1:
            connect(m, window.o, units[0].i)
            return
        turn = Signal(c.down, init=1)  # one bit: the row that values are for
        moves, row_ends = Signal(), Signal()
        m.d.comb += [
            window.o.ready.eq((turn & Cat(unit.i.ready for unit in units)).any()),
            moves.eq(window.o.valid & window.o.ready),
        ]
        place = Signal(range(c.rows))
        m.d.comb += row_ends.eq(window.o.p.last | (place == c.rows - 1))
        with m.If(moves):
            m.d.sync += place.eq(Mux(row_ends, 0, place + 1))
            with m.If(row_ends):
                m.d.sync += turn.eq(Mux(window.o.p.last, 1, turn << 1))
        for d, unit in enumerate(units):
            m.d.comb += [
                unit.i.valid.eq(window.o.valid & turn[d]),
                unit.i.p.value.eq(window.o.p.value),
                unit.i.p.last.eq(row_ends),
            ]
