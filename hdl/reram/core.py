# amaranth: UnusedElaboratable=no
"""The crossbars of a layer with their controllers and what puts their codes together."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.reram.layer_config import ReramLayerConfig
from ..lib.arith import count_ones, tree_sum
from ..lib.repeated import Repeated
from . import planes, readout
from .array import Array
from .collect import Collect
from .readout import Readout

BANKS = 2
"""Vectors of which a readout keeps sums: one is added up, one is read."""


class Sequencer(Component):
    """Controls the crossbars of a row, which all convert the same steps.

    ``i``
        Steps (:func:`.planes.step_layout`), one every ``scan`` cycles.  One that is ``empty``
        takes a cycle.  The first of a vector waits for a bank of sums.
    ``freed``
        A bank has been read; banks are, in order.
    ``sample``, ``column``, ``vector``
        For :class:`.array.Array`: ``i``'s lines are sampled; the column that is read then; how
        many vectors came before.
    ``go``, ``step``
        For :class:`.readout.Readout`, ``Array.LATENCY`` cycles after the step was taken.
    ``finished``
        Vectors whose sums are there and not yet fetched, that is those of which ``fetched`` was
        high for a cycle.
    ``total``
        Where weights have an offset: of the oldest of these.
    """

    def __init__(self, config: ReramLayerConfig, latency: int):
        """``latency``: cycles from a vector's last code until sums are there."""
        self.config, self._latency = config, latency
        layout = planes.step_layout(config)
        self._has_total = "total" in layout.members
        members = {
            "i": In(stream.Signature(layout)),
            "freed": In(1),
            "fetched": In(1),
            "sample": Out(1),
            "column": Out(range(config.scan)),
            "vector": Out(32),
            "go": Out(1),
            "step": Out(readout.step_layout(config)),
            "finished": Out(range(BANKS + 1)),
        }
        if self._has_total:
            members["total"] = Out(layout.members["total"])
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        c, step = self.config, self.i.p
        taken, busy = Signal(), Signal()
        ends = Signal(init=1)  # the step under way, if any, is in its last cycle
        last = Signal(reset_less=True)  # and whether it is its vector's last
        begun = Signal(range(BANKS + 1))  # vectors that a bank is taken by
        m.d.comb += [
            self.i.ready.eq(ends & (~step.first | (begun != BANKS))),
            taken.eq(self.i.valid & self.i.ready),
            self.sample.eq(taken & ~step.empty),
        ]
        with m.If(taken):
            m.d.sync += [
                busy.eq(1),
                ends.eq(step.empty | (c.scan == 1)),
                self.column.eq(0),
                last.eq(step.last),
                self.vector.eq(self.vector + step.last),
            ]
        with m.Elif(ends):
            m.d.sync += busy.eq(0)
        with m.Else():
            m.d.sync += [self.column.eq(self.column + 1), ends.eq(self.column == c.scan - 2)]
        enters = Signal()
        m.d.comb += enters.eq(taken & step.first)
        with m.If(enters != self.freed):
            m.d.sync += begun.eq(Mux(enters, begun + 1, begun - 1))
        self._follow(m, taken)
        # The counter adds a cycle of its own.
        finishes = _late(m, busy & ends & last, Array.LATENCY + self._latency - 1, "finishes")
        with m.If(finishes != self.fetched):
            m.d.sync += self.finished.eq(Mux(finishes, self.finished + 1, self.finished - 1))
        if self._has_total:
            self._keep_total(m, taken)
        return m

    def _follow(self, m: Module, taken: Signal) -> None:
        """What readouts must know of the step goes along with the array's work on it."""
        m.d.comb += self.go.eq(_late(m, taken, Array.LATENCY, "going"))
        before = Signal(self.step.shape(), name="step_0")
        m.d.comb += [before[name].eq(self.i.p[name]) for name in before.shape().members]
        for k in range(1, Array.LATENCY + 1):
            before, earlier = Signal(self.step.shape(), name=f"step_{k}", reset_less=True), before
            m.d.sync += before.eq(earlier)
        m.d.comb += self.step.eq(before)

    def _keep_total(self, m: Module, taken: Signal) -> None:
        """As vectors have no more than banks, a total a bank."""
        kept = [
            Signal(self.total.shape(), name=f"total_{k}", reset_less=True) for k in range(BANKS)
        ]
        write, read = Signal(range(BANKS)), Signal(range(BANKS))
        for k, total in enumerate(kept):
            with m.If(taken & self.i.p.last & (write == k)):
                m.d.sync += total.eq(self.i.p.total)
        with m.If(taken & self.i.p.last):
            m.d.sync += write.eq(write + 1)
        with m.If(self.fetched):
            m.d.sync += read.eq(read + 1)
        m.d.comb += self.total.eq(Mux(read, kept[1], kept[0]))


class Core(Component):
    """All crossbars, ``planes`` x ``down`` x ``across`` of them, and their results.

    ``i``
        Steps of every row of crossbars (:class:`.planes.Planes`).
    ``o``
        Results (:class:`.collect.Collect`).
    ``cell_...``
        A column's levels, for the crossbar ``cell_number`` (:class:`.array.Array`).
    ``indicator_...``
        A lane of indicators, for the readout ``indicator_number`` (:class:`.readout.Readout`).
    ``bias_...``
        A bias.
    ``stepped``, ``sign_errors``, ``clipped``
        Of the present cycle: steps that crossbars' rows have sampled, words of indicators with a
        wrong parity, whether the threshold has changed a result.
    """

    def __init__(self, config: ReramLayerConfig):
        self.config = c = config
        self._collect = collect = Collect(c)
        self._readouts = [Readout(c) for _ in range(c.planes * c.down * c.across)]
        self._arrays = [Array(c) for _ in self._readouts]
        number = range(len(self._arrays))
        array, reader = self._arrays[0], self._readouts[0]
        super().__init__(
            {
                "i": In(stream.Signature(planes.step_layout(c))).array(c.down),
                "o": Out(stream.Signature(collect.o.p.shape())),
                "cell_write": In(1),
                "cell_number": In(number),
                "cell_adc": In(array.write_adc.shape()),
                "cell_address": In(array.write_address.shape()),
                "cell_levels": In(array.levels_shape),
                "indicator_write": In(1),
                "indicator_number": In(number),
                "indicator_load": In(reader.load.shape()),
                "bias_write": In(1),
                "bias_address": In(range(c.features)),
                "bias": In(collect.bias.shape()),
                "multiplier": In(collect.multiplier.shape()),
                "shift": In(collect.shift.shape()),
                "threshold": In(collect.threshold.shape()),
                "stepped": Out(range(c.down + 1)),
                "sign_errors": Out(range(len(self._readouts) * c.adcs + 1)),
                "clipped": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        m.submodules.collect = collect = self._collect
        rows = [Sequencer(c, self._readouts[0].latency) for _ in range(c.down)]
        for d, row in enumerate(rows):
            m.submodules[f"row_{d}"] = row
            connect(m, flipped(self.i[d]), row.i)
            m.d.comb += [
                row.freed.eq(collect.freed),
                row.fetched.eq(collect.vector.valid & collect.vector.ready),
            ]
        for number in range(len(self._arrays)):
            self._crossbar(m, number, rows[number // c.across % c.down])
        connect(m, collect.o, flipped(self.o))
        m.d.comb += [
            collect.vector.valid.eq(Cat(row.finished.any() for row in rows).all()),
            collect.write.eq(self.bias_write),
            collect.write_address.eq(self.bias_address),
            *(
                getattr(collect, name).eq(getattr(self, name))
                for name in ("bias", "multiplier", "shift", "threshold")
            ),
            self.clipped.eq(collect.clipped),
        ]
        if c.offset:
            m.d.comb += collect.vector.p.total.eq(tree_sum(row.total for row in rows))
        m.d.sync += [
            self.stepped.eq(count_ones(Cat(row.sample for row in rows))),
            self.sign_errors.eq(count_ones(Cat(each.sign_errors for each in self._readouts))),
        ]
        return m

    def _crossbar(self, m: Module, number: int, row: Sequencer) -> None:
        """A crossbar of ``row``, and its readout."""
        array, reader = self._arrays[number], self._readouts[number]
        m.submodules[f"array_{number}"] = Repeated(array, self.config)
        m.submodules[f"readout_{number}"] = reader
        connect(m, self._collect.drains[number], reader.drain)
        step = row.i.p
        m.d.comb += [
            array.write.eq(self.cell_write & (self.cell_number == number)),
            array.write_adc.eq(self.cell_adc),
            array.write_address.eq(self.cell_address),
            Value.cast(array.levels).eq(Value.cast(self.cell_levels)),
            array.sample.eq(row.sample),
            array.fragment.eq(step.fragment),
            array.lines.eq(step.lines),
            array.bit.eq(step.bit),
            array.vector.eq(row.vector),
            array.number.eq(number),
            array.column.eq(row.column),
            reader.write.eq(self.indicator_write & (self.indicator_number == number)),
            reader.load.eq(self.indicator_load),
            reader.go.eq(row.go),
            reader.step.eq(row.step),
            Value.cast(reader.codes).eq(Value.cast(array.codes)),
        ]


def _late(m: Module, event: Value, cycles: int, name: str) -> Value:
    """``event`` some cycles later, none after a reset."""
    if not cycles:
        return event
    past = Signal(cycles, name=name)
    m.d.sync += past.eq(Cat(event, past))
    return past[-1]
