"""Sigmoid and tanh, by table and by straight lines; the twins of what ``models`` defines."""

from itertools import pairwise

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, signed, unsigned
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models import activation
from ...models.piecewise import Piecewise
from .fixed import fit, narrowest, round_shift, saturate
from .memory import Rom


class TableFunction(Component):
    """``y = table[a]`` for the ``a`` nearest to ``x``, as :mod:`thresher.models.activation` has it.

    ``x`` has ``frac`` fractional bits, ``table`` a power of two of entries over
    ``[-span/2, span/2)``, entry ``a`` at ``a mod len(table)``::

        y  =  table[S(R(x, frac - log2(len(table)) + log2(span)), log2(len(table)))]

    A new ``x`` every cycle; latency 2 cycles with ``en``, while which is low it stands
    still.  The whole table is stored although tanh is odd: up to 2048 entries of 8 bits
    half of it would take the same block RAM of 18 Kbit.
    """

    latency = 2

    def __init__(self, table, shape: ShapeLike, span: int, x: ShapeLike, frac: int):
        if len(table) < 2 or len(table) & (len(table) - 1):
            raise ValueError(f"a table of {len(table)} entries; needs a power of two")
        self._table, self._shape = [int(value) for value in table], shape
        self._bits = len(table).bit_length() - 1
        self._shift = frac - self._bits + span.bit_length() - 1
        super().__init__({"en": In(1, init=1), "x": In(x), "y": Out(shape)})

    @classmethod
    def sigmoid(cls, entries: int, bits: int, x: ShapeLike, frac: int) -> "TableFunction":
        """Over [-8, 8); ``y`` is unsigned, ``bits`` wide, all of them fractional."""
        table = activation.sigmoid_table(entries, bits)
        return cls(table, unsigned(bits), activation.SIGMOID_SPAN, x, frac)

    @classmethod
    def tanh(cls, entries: int, bits: int, x: ShapeLike, frac: int) -> "TableFunction":
        """Over [-4, 4); ``y`` is signed, ``bits + 1`` wide with ``bits`` fractional ones."""
        table = activation.tanh_table(entries, bits)
        return cls(table, signed(bits + 1), activation.TANH_SPAN, x, frac)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.rom = rom = Rom(self._shape, self._table)
        entry = Signal(signed(self._bits), reset_less=True)
        with m.If(self.en):
            m.d.sync += entry.eq(saturate(round_shift(self.x, self._shift), self._bits, True))
        m.d.comb += [rom.en.eq(self.en), rom.addr.eq(entry), self.y.eq(rom.data)]
        return m


class PiecewiseLinear(Component):
    """``y = model(x)``, see :class:`thresher.models.piecewise.Piecewise`.

    One multiplier, a ROM of ``model.segments`` words.  A new ``x`` every cycle;
    latency 4 cycles with ``en``, while which is low it stands still.  ``y`` is unsigned
    for the sigmoid, signed for tanh.
    """

    latency = 4

    def __init__(self, model: Piecewise, x: ShapeLike):
        self._model = model
        low, high = model.limits
        super().__init__({"en": In(1, init=1), "x": In(x), "y": Out(narrowest(low, high, low < 0))})

    def elaborate(self, platform) -> Module:
        m = Module()
        model, w = self._model, self._model.segment_bits
        joints = model.joints.tolist()
        rises = [b - a for a, b in pairwise(joints)]
        line = data.StructLayout(
            {
                "joint": narrowest(min(joints), max(joints), min(joints) < 0),
                "rise": narrowest(0, max(rises), False),
            }
        )
        rows = [{"joint": a, "rise": b} for a, b in zip(joints, rises, strict=False)]
        half = model.segments // 2
        m.submodules.rom = rom = Rom(line, rows[half:] + rows[:half])  # segment s at s mod size

        def register(value, name: str) -> Signal:
            stage = Signal(value.shape(), name=name, reset_less=True)
            with m.If(self.en):
                m.d.sync += stage.eq(value)
            return stage

        u = register(saturate(self.x, model.argument_bits, True), "u")
        m.d.comb += [rom.en.eq(self.en), rom.addr.eq(u[w:])]
        dx = register(u[:w], "dx")
        product = register(rom.data.rise * dx, "product")
        joint = register(rom.data.joint, "joint")
        low, high = model.limits
        y = round_shift(joint.shift_left(w) + product, w + model.guard)
        clamped = Mux(y > high, high, Mux(y < low, low, y))
        m.d.comb += self.y.eq(register(fit(clamped, Shape.cast(self.y.shape())), "result"))
        return m
