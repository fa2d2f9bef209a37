"""The memories beside the crossbars: words of indicators, taken apart for them."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.reram.layer_config import ReramLayerConfig
from ..lib.counters import walk
from ..lib.memory import Ram


def indicators_layout(config: ReramLayerConfig) -> data.StructLayout:
    """A word: what an ADC must know of a fragment.

    ``flips``: which columns are stored inverted.  ``signs``: which outputs are negative.
    ``parity``: the exclusive or of all these bits.
    """
    return data.StructLayout({"flips": config.scan, "signs": config.adc_outputs, "parity": 1})


def lane_layout(config: ReramLayerConfig) -> data.StructLayout:
    """An output's part of a word; parities of a word's lanes have the word's as their parity."""
    return data.StructLayout({"flips": config.slices, "sign": 1, "parity": 1})


def load_layout(config: ReramLayerConfig) -> data.StructLayout:
    """A lane and its place beside a crossbar."""
    return data.StructLayout(
        {
            "fragment": range(config.fragments),
            "adc": range(config.adcs),
            "output": range(config.adc_outputs),
            "lane": lane_layout(config),
        }
    )


class IndicatorLoad(Component):
    """Takes words apart: each cycle with ``write``, the readout ``number`` stores ``load``.

    Words come in the order of readouts (plane, row, across), fragments, ADCs, and take as many
    cycles as an ADC has outputs.  After the last one the first is due again; ``last`` while its
    last lane is stored.
    """

    def __init__(self, config: ReramLayerConfig):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(indicators_layout(config))),
                "write": Out(1),
                "number": Out(range(config.planes * config.down * config.across)),
                "load": Out(load_layout(config)),
                "last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        flips, signs = Signal(c.scan, reset_less=True), Signal(c.adc_outputs, reset_less=True)
        parity = Signal(reset_less=True)
        order = {
            "output": c.adc_outputs,
            "adc": c.adcs,
            "fragment": c.fragments,
            "number": c.planes * c.down * c.across,
        }
        place, at_end = walk(m, self.write, order, "_loaded")
        last = Signal()  # lane of the word
        m.d.comb += [
            last.eq(place["output"] == c.adc_outputs - 1),
            self.number.eq(place["number"]),
            self.load.output.eq(place["output"]),
            self.load.adc.eq(place["adc"]),
            self.load.fragment.eq(place["fragment"]),
            self.last.eq(self.write & at_end),
            self.i.ready.eq(~self.write | last),
            self.load.lane.flips.eq(flips),
            self.load.lane.sign.eq(signs),
            self.load.lane.parity.eq(parity & last),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                self.write.eq(self.i.valid),
                flips.eq(self.i.payload.flips),
                signs.eq(self.i.payload.signs),
                parity.eq(self.i.payload.parity),
            ]
        with m.Else():
            m.d.sync += [flips.eq(flips >> c.slices), signs.eq(signs >> 1)]
        return m


class IndicatorMemory(Component):
    """The lanes of a crossbar's ADCs, an output after the other.

    ``begin`` starts a step with ``fragment``: ``lanes`` are those of output 0 from two cycles
    later on, and of the following one from two cycles after ``advance``.  ``fresh`` comes a cycle
    after either, with ``final`` where they are the step's last: three cycles later, ``errors`` has
    a bit for every ADC whose word does not fit its parity.

    ``write`` stores ``load``; no steps meanwhile.
    """

    def __init__(self, config: ReramLayerConfig):
        self.config = config
        super().__init__(
            {
                "write": In(1),
                "load": In(load_layout(config)),
                "begin": In(1),
                "fragment": In(range(config.fragments)),
                "advance": In(1),
                "fresh": In(1),
                "final": In(1),
                "lanes": Out(data.ArrayLayout(lane_layout(config), config.adcs)),
                "errors": Out(config.adcs),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        row = data.StructLayout(
            {"output": range(c.adc_outputs), "fragment": range(c.fragments)}
        )  # a power of two of outputs: no multiplication
        following = Signal(row, reset_less=True)
        address = Signal(row)
        m.submodules.memory = memory = Ram(
            self.lanes.shape(), max(2, 1 << len(Value.cast(address))), c.adcs, collides=False
        )
        m.d.comb += [
            memory.write_addr.eq(Cat(self.load.output, self.load.fragment)),
            memory.write_data.eq(Value.cast(self.load.lane).replicate(c.adcs)),
            memory.read_en.eq(self.begin | self.advance),
            memory.read_addr.eq(address),
            address.eq(following),
        ]
        m.d.comb += [
            en.eq(self.write & (self.load.adc == q)) for q, en in enumerate(memory.write_en)
        ]
        with m.If(self.begin):
            m.d.comb += [address.output.eq(0), address.fragment.eq(self.fragment)]
        with m.If(memory.read_en):
            m.d.sync += [
                following.fragment.eq(address.fragment),
                following.output.eq(address.output + 1),
            ]

        # Parities of halves of the lanes, and then of a step's.
        lanes = Signal(self.lanes.shape(), reset_less=True)
        rows = [Value.cast(lane) for lane in lanes]
        half = len(rows[0]) // 2
        low, high = Signal(c.adcs, reset_less=True), Signal(c.adcs, reset_less=True)
        odd, now = Signal(c.adcs), Signal(c.adcs)
        fresh, final = Signal(2), Signal(2, reset_less=True)
        m.d.comb += [self.lanes.eq(lanes), now.eq(odd ^ low ^ high)]
        m.d.sync += [
            lanes.eq(memory.read_data),
            low.eq(Cat(row[:half].xor() for row in rows)),
            high.eq(Cat(row[half:].xor() for row in rows)),
            fresh.eq(Cat(self.fresh, fresh)),
            final.eq(Cat(self.final, final)),
            self.errors.eq(Mux(fresh[-1] & final[-1], now, 0)),
        ]
        with m.If(fresh[-1]):
            m.d.sync += odd.eq(Mux(final[-1], 0, now))
        return m
