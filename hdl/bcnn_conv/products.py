"""A unit of products: a word meets the weights of P outputs every cycle, and is added up."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.bcnn.latency import products_latency
from ...models.bcnn.stages import Stage
from ..lib.fixed import bounds, fit, narrowest
from ..lib.memory import Rom
from .constants import Constants
from .flow import Beats, Words
from .mac import Mac
from .popcount import Style
from .total import Total

BLOCK = 64
"""Look-up tables of 64 bits that are worth a block RAM of 512 rows of 36."""


class Products(Component):
    """The results of ``stage``, :attr:`latency` cycles after the last word of each group.

    ``i`` is what a :class:`.walker.Walker` gives.  ``o`` is ``valid`` with a payload of P channels:
    bits as words have them, or sums, signed, real and imaginary parts in turn; where pixels are
    added up, only those of a frame's last pixel.  One word a cycle; reset at any time leaves a
    unit that waits for the first word of a frame.

    Thresholds take no comparators: accumulators begin with them, and signs are the results.
    """

    def __init__(self, stage: Stage, style: Style = "generic"):
        self._stage, self._style = stage, style
        self._constants = constants = Constants(stage)
        self.latency = products_latency(stage)
        if stage.thresholds is None:
            width = constants.shape.width + (constants.scale == 2)
            payload = data.ArrayLayout(signed(width), constants.parts)
        else:
            payload = constants.parts
        super().__init__({"i": In(Words(stage)), "o": Out(Beats(payload))})

    def elaborate(self, platform) -> Module:
        m = Module()
        stage, constants = self._stage, self._constants
        reader, width = stage.readers[0], constants.shape.width
        m.submodules.mac = mac = Mac(
            stage.arithmetic,
            stage.fold.outputs,
            stage.fold.channels,
            channel_bits=reader.channel_bits,
            signed=reader.signed,
            complex=stage.complex,
            style=self._style,
        )
        weights = Value.cast(mac.weights)
        m.d.comb += [
            mac.word.eq(self.i.word),
            weights.eq(_table(m, "weights", constants.weights, len(weights), self.i.tap)),
            mac.inside.eq(self.i.inside if constants.masked else 1),
        ]
        units, late = self._units(m, mac), mac.latency
        if stage.shortcuts:
            units, late = self._with_shortcuts(m, units, late)

        valid, first, last, final = (
            _later(m, f"{name}_then", getattr(self.i, name), late, reset_less=name != "valid")
            for name in ("valid", "first", "last", "final")
        )
        # The tables' addresses come a cycle early, and so do their rows.
        group = _later(m, "group_then", self.i.group, late)
        begins = _table(m, "begins", constants.begins, constants.parts * width, group)
        sums = [
            Signal(constants.shape, name=f"sum_{q}", reset_less=True) for q in range(len(units))
        ]
        load, values = first, begins
        if stage.total:
            m.submodules.total = total = Total(len(begins), len(stage.groups))
            here = _later(m, "group_now", group, 1)
            m.d.comb += [
                total.begin.eq(valid & first),
                total.end.eq(valid & last & (here == len(stage.groups) - 1)),
                total.final.eq(final),
                total.constants.eq(begins),
                total.sums.eq(Cat(sums)),
            ]
            load, values = total.load, total.value
        begins = [values[q * width : (q + 1) * width] for q in range(len(sums))]
        with m.If(valid):
            m.d.sync += [
                # The unit comes first: then a carry chain's LUTs have room for the choice.
                now.eq(fit(unit + Mux(load, begin.as_signed(), now), constants.shape))
                for unit, now, begin in zip(units, sums, begins, strict=True)
            ]
        done = Signal()
        m.d.sync += done.eq(valid & last & (final if stage.total else 1))
        m.d.comb += self.o.valid.eq(done)

        if stage.thresholds is not None:
            results = Cat(now[-1] for now in sums)
        elif constants.scale == 2:
            rests = _table(m, "rests", constants.rests, len(sums), group)
            rests = _later(m, "rests_then", rests, 1)
            results = Cat(Cat(rest, now) for rest, now in zip(rests, sums, strict=True))
        else:
            results = Cat(sums)
        m.d.comb += Value.cast(self.o.payload).eq(results)
        return m

    def _units(self, m: Module, mac: Mac) -> list[Value]:
        """What each sum is to get of a word."""
        if self._stage.arithmetic == "binary":
            if not self._constants.doubled:
                return list(mac.count)
            # Outside, twice half of an odd S: the count is (S - 1) / 2.
            inside = _later(m, "inside_then", self.i.inside, mac.latency)
            return [Cat(~inside, count) for count in mac.count]
        if not self._stage.complex:
            return list(mac.re)
        return [part for pair in zip(mac.re, mac.im, strict=True) for part in pair]

    def _with_shortcuts(self, m: Module, units: list[Value], late: int) -> tuple[list[Value], int]:
        """Units with those of the shortcuts' bits, in a register."""
        first = _later(m, "first_before", self.i.first, late)
        words = [
            _later(m, f"shortcut_{s}_then", word, late) for s, word in enumerate(self.i.shortcut)
        ]
        added = []
        for q, unit in enumerate(units):
            low, high = bounds(unit.shape())
            total = unit
            for word, step in zip(words, self._constants.step, strict=True):
                total = total + Mux(word[q] & first, step, 0)
                low, high = low + min(step, 0), high + max(step, 0)
            then = Signal(narrowest(low, high, low < 0), name=f"unit_{q}", reset_less=True)
            m.d.sync += then.eq(total)
            added.append(then)
        return added, late + 1


def _table(m: Module, name: str, rows: Sequence[int], width: int, address: Value) -> Value:
    """The row of the address of a cycle ago; a constant where all rows are alike."""
    if len(set(rows)) == 1:
        return Const(rows[0], width)
    blocks = -(-width // 36) * -(-len(rows) // 512)
    table = Rom(width, rows, block=width * -(-len(rows) // 64) >= BLOCK * blocks)
    m.submodules[name] = table
    m.d.comb += table.addr.eq(address)
    return table.data


def _later(m: Module, name: str, value: Value, cycles: int, reset_less: bool = True) -> Value:
    """``value`` of so many cycles ago."""
    for n in range(0 if isinstance(value, Const) else cycles):
        then = Signal(value.shape(), name=f"{name}_{n + 1}", reset_less=reset_less)
        m.d.sync += then.eq(value)
        value = then
    return value
