# amaranth: UnusedElaboratable=no
"""From the sums of all crossbars to results: bias, scale, activation, clip."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.reram.layer_config import ReramLayerConfig
from ..lib.arith import AdderTree, tree_sum
from ..lib.delay import Delay
from ..lib.fifo import Fifo
from ..lib.fixed import saturate
from ..lib.memory import Ram
from .accumulator import Drain, members, units

PART = 17
"""Bits of a sum that a multiplier takes, unsigned: what those of ECP5 and Xilinx hold."""
NEAR = 3
"""Bits of the shift by less than 8."""


def vector_layout(config: ReramLayerConfig) -> data.StructLayout:
    """A vector that all crossbars have converted: ``total``, the sum of its inputs, padding and
    offsets of signed inputs included; no bits but where the mapping is ``offset``."""
    most = config.inputs * ((1 << config.input_bits) - 1)
    return data.StructLayout({"total": most.bit_length() if config.offset else 0})


class Collect(Component):
    """``o``: the results of every ``vector``, features in order.

    Of a feature, rounded half up::

        sum = sum over planes and rows of crossbars + bias - offset*total
        y = round(sum * multiplier * 2**-shift)
        relu: 0 where y < 0;   beyond the threshold: the threshold, or 0 (``clip``)

    * ``vector`` says that a vector's sums are there, and is taken with its last feature.
    * ``drains``, of readout ``(plane*down + d)*across + a``, read bank 0, for the next vector bank
      1, and so on.  ``freed`` comes with the last read of a bank, which may be overwritten from
      the next cycle on.
    * ``clipped``: the threshold changes a result, in one cycle of each, before it leaves.
    * ``write`` stores a bias.  Biases and registers stand still while vectors are inside.

    A feature a cycle, also from vector to vector; from ``vector`` to its first result
    :attr:`latency` cycles.  What is under way has its place in the queue of results: nothing
    stalls behind the drains.
    """

    def __init__(self, config: ReramLayerConfig):
        self.config = c = config
        self._relu = c.activation == "relu"
        self._tree = AdderTree(signed(c.sum_bits), c.planes * c.down)
        self._made = self._tree.latency + 10
        self.latency = self._made + 1
        super().__init__(
            {
                "write": In(1),
                "write_address": In(range(c.features)),
                "bias": In(signed(c.bias_bits)),
                "multiplier": In(c.scale_bits),
                "shift": In(c.shift_bits),
                "threshold": In(c.output_bits if self._relu else c.output_bits - 1),
                "vector": In(stream.Signature(vector_layout(c))),
                "drains": Out(Drain(c)).array(c.planes * c.down * c.across),
                "freed": Out(1),
                "o": Out(stream.Signature(Shape(c.output_bits, not self._relu))),
                "clipped": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.results = results = Fifo(self.o.p.shape(), self._made + 2)
        room, go = Signal(range(results.depth + 1), init=results.depth), Signal()
        leave, there = Signal(), Signal(self._made)  # bit n: n + 1 cycles after the drain
        m.d.comb += [
            go.eq(self.vector.valid & (room != 0)),
            leave.eq(self.o.valid & self.o.ready),
        ]
        with m.If(go != leave):
            m.d.sync += room.eq(Mux(go, room - 1, room + 1))
        m.d.sync += there.eq(Cat(go, there))
        self._address(m, go)
        y = self._scale(m, self._multiply(m, self._add(m, there)))
        beyond, result = self._clip(y)
        changed = Signal(reset_less=True)
        kept = Signal.like(results.i.p, reset_less=True)
        m.d.sync += [changed.eq(beyond), kept.eq(result)]
        m.d.comb += [
            results.i.valid.eq(there[-1]),
            results.i.p.eq(kept),
            self.clipped.eq(there[-1] & changed),
        ]
        connect(m, results.o, flipped(self.o))
        return m

    def _address(self, m: Module, go: Signal) -> None:
        """A feature after the other: outputs of an ADC, members, units, crossbars."""
        c = self.config
        share, each = members(c), units(c)
        crossbar, within = divmod(c.features - 1, c.outputs)
        last_adc, last_output = divmod(within, c.adc_outputs)
        count = crossbar * each + last_adc // share + 1  # of units that are read
        select, bank = Signal(count, init=1), Signal()
        place = self.drains[0].place
        member, output = Signal(place.member.shape()), Signal(place.output.shape())
        next_member, next_unit = Signal(), Signal()
        # The last unit of a crossbar may have fewer members.
        few = (c.adcs - 1) % share
        is_few = Cat(select[n] for n in range(each - 1, count, each)).any()
        m.d.comb += [
            next_member.eq(output == c.adc_outputs - 1),
            next_unit.eq(next_member & (member == Mux(is_few, few, share - 1))),
            self.freed.eq(go & select[-1] & (member == last_adc % share) & (output == last_output)),
            self.vector.ready.eq(self.freed),
        ]
        with m.If(go):
            m.d.sync += output.eq(Mux(next_member, 0, output + 1))
            with m.If(next_member):
                m.d.sync += member.eq(Mux(next_unit, 0, member + 1))
            with m.If(next_unit):
                m.d.sync += select.eq(select << 1)
            with m.If(self.freed):
                m.d.sync += [select.eq(1), member.eq(0), output.eq(0), bank.eq(~bank)]
        for number, drain in enumerate(self.drains):
            first = number % c.across * each
            m.d.comb += [
                drain.select.eq(Mux(go, select[first : first + each], 0)),
                drain.place.member.eq(member),
                drain.place.output.eq(output),
                drain.place.bank.eq(bank),
            ]

    def _add(self, m: Module, there: Signal) -> Signal:
        """All that adds up to a sum."""
        c = self.config
        m.submodules.tree = tree = self._tree
        for n, term in enumerate(tree.i):
            # All but one are 0.
            row = [Value.cast(d.sum) for d in list(self.drains)[n * c.across :][: c.across]]
            gathered = Signal(c.sum_bits, name=f"gathered_{n}", reset_less=True)
            m.d.sync += gathered.eq(reduce(or_, row))
            m.d.comb += term.eq(gathered)
        m.submodules.biases = biases = Ram(signed(c.bias_bits), max(2, c.features), collides=False)
        feature, fetch = Signal(range(c.features)), there[tree.latency - 1]
        with m.If(fetch):
            m.d.sync += feature.eq(Mux(feature == c.features - 1, 0, feature + 1))
        m.d.comb += [
            biases.write_en.eq(self.write),
            biases.write_addr.eq(self.write_address),
            biases.write_data.eq(self.bias),
            biases.read_addr.eq(feature),
        ]
        shape = signed(c.total_bits)
        level, total = Signal(shape, reset_less=True), Signal(shape, reset_less=True)
        if c.offset:
            m.submodules.totals = late = Delay(vector_layout(c), tree.latency + 1)
            m.d.comb += late.i.eq(self.vector.p)
            m.d.sync += level.eq(biases.read_data - late.o.total * c.offset)
        else:
            m.d.sync += level.eq(biases.read_data)
        m.d.sync += total.eq(tree.o + level)
        return total

    def _multiply(self, m: Module, total: Signal) -> Signal:
        """Times the multiplier, in parts that fit one of a device's multipliers."""
        products = []
        for low in range(0, len(total), PART):
            part = total[low : low + PART] if low + PART < len(total) else total[low:].as_signed()
            exact = part * self.multiplier
            product = Signal(exact.shape(), name=f"product_{low}", reset_less=True)
            m.d.sync += product.eq(exact)
            products.append(product.shift_left(low))
        product = Signal(signed(len(total) + self.config.scale_bits), reset_less=True)
        m.d.sync += product.eq(tree_sum(products))
        return product

    def _scale(self, m: Module, product: Signal) -> Signal:
        """Shifted and rounded, exactly so where the result is not beyond all thresholds."""
        bits = self.config.output_bits + (1 << NEAR)  # after the shift's first part
        doubled = Cat(Const(0, 1), product).as_signed()  # the bit below decides the rounding
        far = doubled >> Cat(Const(0, NEAR), self.shift[NEAR:])
        coarse = Signal(doubled.shape(), reset_less=True)
        if self._relu:
            m.d.sync += coarse.eq(Mux(product[-1], 0, far))
            bounded = saturate(coarse, bits, signed=False)
        else:
            m.d.sync += coarse.eq(far)
            bounded = saturate(coarse, bits + 1)
        narrow = Signal(bounded.shape(), reset_less=True)
        fine = Signal(bounded.shape(), reset_less=True)
        y = Signal(bounded.shape(), reset_less=True)
        m.d.sync += [
            narrow.eq(bounded),
            fine.eq(narrow >> self.shift[:NEAR]),
            y.eq((fine + 1) >> 1),
        ]
        return y

    def _clip(self, y: Signal) -> tuple[Value, Value]:
        """Whether ``y`` is beyond the threshold, and the result."""
        above = y > self.threshold
        if self._relu:
            limit = self.threshold
            beyond = above
        else:
            below = y + self.threshold < 0
            limit = Mux(above, self.threshold, -self.threshold)
            beyond = above | below
        return beyond, Mux(beyond, limit if self.config.clip == "saturate" else 0, y)
