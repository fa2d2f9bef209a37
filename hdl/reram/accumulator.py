"""Shifts what an output's codes come to by the step's bit, and adds it to the output's sum."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from ...models.reram.layer_config import ReramLayerConfig
from ..lib.fixed import fit
from ..lib.memory import Ram


def members(config: ReramLayerConfig) -> int:
    """ADCs that share an accumulator, at most: an output takes each as many cycles as slices."""
    return min(config.slices, config.adcs)


def units(config: ReramLayerConfig) -> int:
    """Accumulators of a crossbar; ADC q is member ``q % members`` of unit ``q // members``."""
    return -(-config.adcs // members(config))


def place_layout(config: ReramLayerConfig) -> data.StructLayout:
    """Where a sum lies in its unit."""
    return data.StructLayout(
        {"member": range(members(config)), "output": range(config.adc_outputs), "bank": 1}
    )


class Drain(wiring.Signature):
    """How sums are read: ``sum`` comes a cycle after ``select`` and ``place``.

    ``select`` has a bit a unit, at most one of which is set; without any the sum is 0.
    """

    def __init__(self, config: ReramLayerConfig):
        super().__init__(
            {
                "select": Out(units(config)),
                "place": Out(place_layout(config)),
                "sum": In(signed(config.sum_bits)),
            }
        )


class Accumulator(Component):
    """Two banks of sums of the outputs of :func:`members` ADCs.

    With ``go``, the sum at ``place`` becomes ``+-value << bit``, added to what it was unless
    ``first``; where ``negative``, ``value`` is given inverted, ``-value - 1``.  One a cycle; the
    same place again after ``config.scan`` cycles at the earliest.

    ``sum`` is what lay at ``drained`` a cycle ago, or 0 without ``select``.  It has all that was
    given :attr:`latency` cycles before it was addressed.
    """

    latency = 3

    def __init__(self, config: ReramLayerConfig, value: Shape):
        self.config = config
        super().__init__(
            {
                "go": In(1),
                "value": In(value),
                "negative": In(1),
                "bit": In(range(config.input_bits)),
                "first": In(1),
                "place": In(place_layout(config)),
                "select": In(1),
                "drained": In(place_layout(config)),
                "sum": Out(signed(config.sum_bits)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        shape = signed(self.config.sum_bits)

        def kept(value: Value, name: str, reset: bool = False) -> Signal:
            register = Signal(value.shape(), name=name, reset_less=not reset)
            m.d.sync += register.eq(value)
            return register

        # Two bits of the shift, then the others.  What enters from below is inverted too.
        near = kept(_shifted(self.value, self.negative, self.bit[:2], 1), "near")
        near_negative, far = kept(self.negative, "near_negative"), kept(self.bit[2:], "far_bits")
        near_first, near_go = kept(self.first, "near_first"), kept(self.go, "near_go", reset=True)
        near_place = kept(Value.cast(self.place), "near_place")
        addend = kept(fit(_shifted(near, near_negative, far, 4), shape), "addend")
        carry, go = kept(near_negative, "carry"), kept(near_go, "added", reset=True)
        first, place = kept(near_first, "added_first"), kept(near_place, "added_place")

        before, after = Signal(shape), Signal(shape)
        rows = 1 << len(place)
        m.submodules.drain = drain = Ram(shape, rows, collides=False, clear=True)
        m.d.comb += [
            # One adder, with the carry from a bit below.
            after.eq((Cat(carry, before).as_signed() + Cat(carry, addend).as_signed()) >> 1),
            drain.write_en.eq(go),
            drain.write_addr.eq(place),
            drain.write_data.eq(after),
            drain.read_addr.eq(self.drained),
            drain.read_clear.eq(~self.select),
            self.sum.eq(drain.read_data),
        ]
        # The same sums again: a block RAM is read in one place only.
        if self.config.scan < 3:  # they are needed before a block RAM has them
            m.submodules.sums = memory = Memory(
                shape=shape, depth=rows, init=[], attrs={"ram_style": "distributed"}
            )
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [
                write.en.eq(go),
                write.addr.eq(place),
                write.data.eq(after),
                read.addr.eq(place),
                before.eq(Mux(first, 0, read.data)),
            ]
            return m
        m.submodules.sums = sums = Ram(shape, rows, collides=False)
        found = Signal(shape, reset_less=True)
        m.d.comb += [
            sums.write_en.eq(go),
            sums.write_addr.eq(place),
            sums.write_data.eq(after),
            sums.read_addr.eq(self.place),
            before.eq(found),
        ]
        m.d.sync += found.eq(Mux(near_first, 0, sums.read_data))
        return m


def _shifted(value: Value, fill: Value, places: Value, unit: int) -> Value:
    """``value << unit*places``, with ``fill`` as the bits that enter."""
    for n, shift in enumerate(places):
        by = unit << n
        value = Mux(shift, Cat(fill.replicate(by), value).as_signed(), value)
    return value
