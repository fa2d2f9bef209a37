"""Finished sums on their way from the multipliers to the cell unit."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...models.sparse_lstm.config import SparseLstmConfig
from ..lib.memory import Ram
from .shape import Shape


def word_layout(config: SparseLstmConfig) -> data.ArrayLayout:
    """The [unit][gate][batch] accumulators of a group."""
    number = signed(config.accumulator_bits)
    gates = data.ArrayLayout(data.ArrayLayout(number, config.batch), 4)
    return data.ArrayLayout(gates, Shape(config).row_units)


class Results(wiring.Component):
    """A queue of groups, written a row at once and read element by element.

    ``write`` appends ``word``.  ``there``: a group is in the queue that ``begin`` has not yet
    taken note of; ``end`` leaves its row.  A cycle after ``read``, ``o`` holds the elements of
    the row that ``pick`` (one-hot) chose, [unit][gate][lane], and keeps them.

    The next step's rows may be written as soon as this step's last group is begun: where a
    group is read more than once there is room for a row more than a step has.  Bits that no
    activation function looks at are not kept (:attr:`Shape.unused_bits`).
    """

    def __init__(self, config: SparseLstmConfig):
        self.config, self.sizes = config, Shape(config)
        sizes = self.sizes
        sources = sizes.subsets * sizes.batch_steps
        self.rows = max(2, config.groups + (sources > 1))
        number = signed(config.accumulator_bits - sizes.unused_bits)
        element = data.ArrayLayout(data.ArrayLayout(number, sizes.lanes), 4)
        super().__init__(
            {
                "word": In(word_layout(config)),
                "write": In(1),
                "there": Out(1),
                "begin": In(1),
                "end": In(1),
                "read": In(1),
                "pick": In(sources),
                "o": Out(data.ArrayLayout(element, sizes.units)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        waiting = Signal(range(self.rows + 1))
        m.d.comb += self.there.eq(waiting != 0)
        with m.If(self.write != self.begin):
            m.d.sync += waiting.eq(waiting + Mux(self.write, 1, -1))
        written, row = self._counter(m, self.write), self._counter(m, self.end)
        # Of all the memories one is read and the others give 0.
        sources = []
        for n in range(len(self.pick)):
            subset, batch_step = divmod(n, self.sizes.batch_steps)
            elements = Cat(self._elements(subset, batch_step))
            # A row that is read while it is written is not there yet: nobody looks.
            memory = Ram(len(elements), self.rows, collides=False, clear=len(self.pick) > 1)
            m.submodules[f"memory_{n}"] = memory
            m.d.comb += [
                memory.write_addr.eq(written),
                memory.write_data.eq(elements),
                memory.write_en.eq(self.write),
                memory.read_addr.eq(row),
                memory.read_en.eq(self.read),
            ]
            if len(self.pick) > 1:
                m.d.comb += memory.read_clear.eq(~self.pick[n])
            sources.append(memory.read_data)
        m.d.comb += self.o.as_value().eq(reduce(or_, sources))
        return m

    def _elements(self, subset: int, batch_step: int):
        """What a cycle of the cell unit reads; the last subset may have fewer units."""
        units, lanes = self.sizes.units, self.sizes.lanes
        for unit in range(subset * units, min((subset + 1) * units, self.sizes.row_units)):
            for gate in range(4):
                for lane in range(lanes):
                    yield self.word[unit][gate][batch_step * lanes + lane][self.sizes.unused_bits :]

    def _counter(self, m, step):
        row = Signal(range(self.rows))
        with m.If(step):
            m.d.sync += row.eq(Mux(row == self.rows - 1, 0, row + 1))
        return row
