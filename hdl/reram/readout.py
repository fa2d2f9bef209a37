"""What stands behind a crossbar's ADCs: from codes to the sums of its outputs."""

from functools import reduce
from itertools import pairwise
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.reram.layer_config import ReramLayerConfig
from .accumulator import Accumulator, Drain, members, units
from .combine import Combine
from .indicators import IndicatorMemory, load_layout


def step_layout(config: ReramLayerConfig) -> data.StructLayout:
    """What a readout must know of a step.

    ``ones``: how many lines are driven.  ``first``: of a vector.  ``empty``: a vector all of
    whose steps are skipped; no codes follow.
    """
    return data.StructLayout(
        {
            "fragment": range(config.fragments),
            "bit": range(config.input_bits),
            "ones": range(config.fragment_rows + 1),
            "first": 1,
            "empty": 1,
        }
    )


class Readout(Component):
    """Codes of a crossbar's ADCs, decoded, combined and added up.

    Of every vector, ADC and output::

        sum over its steps of +-(sum over slices s of read(s) << s*cell_bits) << bit

        read(s) = code, or top*ones - code where the column is stored inverted

    negative where the fragment's indicator says so.

    * ``step`` comes with ``go`` in cycle t, :attr:`.array.Array.LATENCY` cycles after the array's
      sample; the codes of columns 0, 1, ... ``scan - 1`` come in t + 1 to t + ``scan``, those of
      an output's slices one after the other, the lowest first.  The next step may come in t +
      ``scan``; after an ``empty`` one, without codes, in t + 1.
    * A vector starts with a step that is ``first``, which changes the bank of sums; from reset the
      first vector has bank 0.  An empty step makes the bank's sums 0.
    * ``drain`` reads sums from :attr:`latency` cycles after the last code on (after an empty step
      from the next cycle on), until the bank's next first step.
    * With ``write`` the indicator memory takes ``load``; no steps meanwhile.
    * ``sign_errors``: of which ADCs the indicators of a step had the wrong parity, in one cycle of
      the step.  They are used as they are.

    The one shifter of a unit, with the accumulator behind it, serves its ADCs in turn
    (:func:`.accumulator.members`).
    """

    def __init__(self, config: ReramLayerConfig):
        self.config = config
        self.latency = Combine.latency + members(config) + Accumulator.latency
        super().__init__(
            {
                "write": In(1),
                "load": In(load_layout(config)),
                "go": In(1),
                "step": In(step_layout(config)),
                "codes": In(data.ArrayLayout(config.adc_bits, config.adcs)),
                "drain": In(Drain(config)),
                "sign_errors": Out(config.adcs),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        point = data.StructLayout(
            {"bit": range(c.input_bits), "first": 1, "output": range(c.adc_outputs), "bank": 1}
        )
        # Where the codes that come now belong.
        busy, here = Signal(), Signal(point, reset_less=True)
        slice, last = Signal(range(c.slices)), Signal()
        final = Signal()  # output of the step
        ones = Signal(range(c.fragment_rows * c.top + 1), reset_less=True)  # times the top level
        begin, bank, void = Signal(), Signal(init=1), Signal(2)
        m.d.comb += [
            begin.eq(self.go & ~self.step.empty),
            last.eq(slice == c.slices - 1),
            final.eq(here.output == c.adc_outputs - 1),
        ]
        with m.If(busy):
            m.d.sync += slice.eq(Mux(last, 0, slice + 1))
            with m.If(last):
                m.d.sync += [here.output.eq(here.output + 1), busy.eq(~final)]
        with m.If(begin):
            m.d.sync += [
                busy.eq(1),
                slice.eq(0),
                ones.eq((self.step.ones << c.cell_bits) - self.step.ones),
                here.bit.eq(self.step.bit),
                here.first.eq(self.step.first),
                here.output.eq(0),
                here.bank.eq(bank ^ self.step.first),
            ]
        with m.If(self.go & self.step.first):
            m.d.sync += [bank.eq(~bank), void.bit_select(~bank, 1).eq(self.step.empty)]

        m.submodules.indicators = indicators = IndicatorMemory(c)
        m.d.comb += [
            indicators.write.eq(self.write),
            indicators.load.eq(self.load),
            indicators.begin.eq(begin),
            indicators.fragment.eq(self.step.fragment),
            indicators.advance.eq(busy & last),
            indicators.fresh.eq(busy & (slice == 0)),
            indicators.final.eq(final),
            self.sign_errors.eq(indicators.errors),
        ]

        late_slice, late_ones = (Signal.like(v, reset_less=True) for v in (slice, ones))
        m.d.sync += [late_slice.eq(slice), late_ones.eq(ones)]
        more, complete, place = self._follow(m, busy, last, here)
        outputs = []
        for q, (code, lane) in enumerate(zip(self.codes, indicators.lanes, strict=True)):
            m.submodules[f"combine_{q}"] = combine = Combine(c)
            m.d.comb += [
                combine.code.eq(code),
                combine.flip.eq(lane.flips.bit_select(late_slice, 1)),
                combine.ones.eq(late_ones),
                combine.negative.eq(lane.sign),
                combine.more.eq(more),
            ]
            outputs.append(Cat(combine.inverted, combine.value))
        self._accumulate(m, outputs, complete, place, void)
        return m

    def _follow(
        self, m: Module, busy: Value, last: Value, here: data.View
    ) -> tuple[Value, Value, data.View]:
        """Whether, behind the ADCs, an output goes on; is complete; and where it then belongs."""
        stages = Combine.latency
        moving, ending = Signal(stages), Signal(stages, reset_less=True)
        points = [Signal(here.shape(), name=f"point_{n}", reset_less=True) for n in range(stages)]
        more, complete = Signal(), Signal()
        m.d.sync += [
            moving.eq(Cat(busy, moving)),
            ending.eq(Cat(last, ending)),
            *(after.eq(before) for before, after in pairwise([here, *points])),
        ]
        m.d.comb += [more.eq(moving[-1] & ~ending[-1]), complete.eq(moving[-1] & ending[-1])]
        return more, complete, points[-1]

    def _accumulate(
        self, m: Module, outputs: list[Value], complete: Value, here: data.View, void: Value
    ) -> None:
        """Adds the outputs of all ADCs, the members of each unit one after the other."""
        c = self.config
        share = members(c)
        serving, member = Signal(), Signal(range(share))
        served = Signal(here.shape(), reset_less=True)
        with m.If(serving):
            m.d.sync += [member.eq(member + 1), serving.eq(member != share - 1)]
        with m.If(complete):
            m.d.sync += [member.eq(0), serving.eq(1), served.eq(here)]
        bank = self.drain.place.bank
        sums = []
        for u in range(units(c)):
            value = self._queue(m, outputs[u * share : (u + 1) * share], complete, f"waits_{u}")
            m.submodules[f"accumulator_{u}"] = unit = Accumulator(c, signed(len(value) - 1))
            m.d.comb += [
                unit.go.eq(serving),
                Cat(unit.negative, unit.value).eq(value),
                unit.bit.eq(served.bit),
                unit.first.eq(served.first),
                unit.place.member.eq(member),
                unit.place.output.eq(served.output),
                unit.place.bank.eq(served.bank),
                unit.drained.eq(self.drain.place),
                unit.select.eq(self.drain.select[u] & ~void.bit_select(bank, 1)),
            ]
            sums.append(Value.cast(unit.sum))
        m.d.comb += self.drain.sum.eq(reduce(or_, sums))

    @staticmethod
    def _queue(m: Module, values: list[Value], load: Value, name: str) -> Value:
        """All ``values`` at ``load``, one a cycle from the next on."""
        after: Value | None = None
        for n, value in reversed(list(enumerate(values))):
            waits = Signal(len(value), name=f"{name}_{n}", reset_less=True)
            with m.If(load):
                m.d.sync += waits.eq(value)
            if after is not None:
                with m.Else():
                    m.d.sync += waits.eq(after)
            after = waits
        assert after is not None
        return after
