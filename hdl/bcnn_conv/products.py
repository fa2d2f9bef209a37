"""A unit of products: a word meets the weights of P outputs every cycle, and is added up."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.bcnn.latency import products_latency
from ...models.bcnn.stages import Stage
from ..lib.fixed import bounds, fit, narrowest
from .cells import Ccu2cChain, table
from .constants import Constants
from .flow import Beats, Words
from .mac import Mac
from .popcount import Style
from .tables import Table
from .total import Total


class Products(Component):
    """The results of ``stage``, :attr:`latency` cycles after the last word of each group.

    ``i`` is what a :class:`.walker.Walker` gives.  ``o`` is ``valid`` with a payload of P channels:
    bits as words have them, or sums, signed, real and imaginary parts in turn; where pixels are
    added up, only those of a frame's last pixel.  One word a cycle; reset at any time leaves a
    unit that waits for the first word of a frame.

    Thresholds take no comparators, and flips nothing: accumulators begin with them, and their
    highest bits are the results (:mod:`.constants`).
    """

    def __init__(self, stage: Stage, style: Style = "generic"):
        self._stage = stage
        self._style: Style = style
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
            weights.eq(self._table(m, "weights", constants.weights, len(weights), self.i.tap)),
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
        here = _later(m, "group_now", group, 1)
        begins = self._table(m, "begins", constants.begins, constants.parts * width, group)
        sums = [
            Signal(constants.shape, name=f"sum_{q}", reset_less=True) for q in range(len(units))
        ]
        load, values = first, begins
        if stage.total:
            m.submodules.total = total = Total(len(begins), len(stage.groups))
            m.d.comb += [
                total.begin.eq(valid & first),
                total.end.eq(valid & last & (here == len(stage.groups) - 1)),
                total.final.eq(final),
                total.constants.eq(begins),
                total.sums.eq(Cat(sums)),
            ]
            load, values = total.load, total.value
        begins = [values[q * width : (q + 1) * width] for q in range(len(sums))]
        after = [
            self._added(m, fit(unit, constants.shape), load, now, begin)
            for unit, now, begin in zip(units, sums, begins, strict=True)
        ]
        with m.If(valid):
            m.d.sync += [now.eq(then) for now, then in zip(sums, after, strict=True)]
        done = Signal()
        m.d.sync += done.eq(valid & last & (final if stage.total else 1))
        m.d.comb += self.o.valid.eq(done)

        if stage.thresholds is not None:
            results = Cat(now[-1] for now in sums)
        elif constants.scale == 2:
            rests = self._table(m, "rests", constants.rests, len(sums), here)
            results = Cat(Cat(rest, now) for rest, now in zip(rests, sums, strict=True))
        else:
            results = Cat(sums)
        m.d.comb += Value.cast(self.o.payload).eq(results)
        return m

    def _added(self, m: Module, unit: Value, load: Value, now: Value, begin: Value) -> Value:
        """``unit`` plus what a sum begins with, or what it is now.

        The unit comes first: then the look-up tables of a carry chain have room for the choice,
        as Yosys finds by itself for Xilinx' devices.
        """
        if self._style != "ecp5":
            return unit + Mux(load, begin, now)
        m.submodules += (chain := _Choice())
        return Cat(chain.add_one(u, load, n, b) for u, n, b in zip(unit, now, begin, strict=True))

    def _table(
        self, m: Module, name: str, rows: Sequence[int], width: int, address: Value
    ) -> Value:
        """The row of the address of a cycle ago."""
        m.submodules[name] = table = Table(width, rows, self._style)
        m.d.comb += table.addr.eq(address)
        return table.data

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


class _Choice(Ccu2cChain):
    """An addition of one number and one of two others, in as many positions as there are bits."""

    def add_one(self, one: Value, second: Value, *others: Value) -> Value:
        """The sum's next bit, of ``one`` and of the ``others`` the first, or the second."""
        # Of zeros it gives ``one``, which so is what the chain takes for the carry.
        init = table(4, lambda one, second, *others: one ^ others[second])
        return self._position(init, [one, second, *others])


def _later(m: Module, name: str, value: Value, cycles: int, reset_less: bool = True) -> Value:
    """``value`` of so many cycles ago."""
    for n in range(cycles):
        then = Signal(value.shape(), name=f"{name}_{n + 1}", reset_less=reset_less)
        m.d.sync += then.eq(value)
        value = then
    return value
