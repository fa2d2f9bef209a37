"""Gates, cell state and hidden state of each unit, in a pipeline."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...models.sparse_lstm.config import SparseLstmConfig
from ..lib.activation import TableFunction
from ..lib.fixed import round_shift, saturate
from ..lib.memory import Ram
from .results import Results, word_layout
from .sequencer import header_fields
from .shape import Shape
from .walker import Walker

DEPTH = 14
"""Pipeline stages from a position to its place in an emission."""


class Cell(wiring.Component):
    """``elements`` LSTM cells a cycle, from accumulators to pruned states.

    Follows the results of a step's last pass, group by group (see :class:`Results`), and
    delivers emissions of ``width`` units times the batch, one each
    ``folds`` cycles.  The arithmetic is that of
    :mod:`thresher.models.sparse_lstm.config`; ``h`` is the state, ``keep`` marks those
    that ``threshold`` spares, ``valid`` the slots that hold a unit.
    """

    def __init__(self, config: SparseLstmConfig):
        c = self.config = config
        sizes = self.sizes = Shape(config)
        context = unsigned(ceil_log2(c.contexts))
        slots = data.ArrayLayout(data.ArrayLayout(signed(c.state_bits), c.batch), sizes.width)
        self.bias_layout = data.ArrayLayout(data.ArrayLayout(signed(c.bias_bits), 4), sizes.units)
        self.bias_depth = sizes.bias_words * sizes.bias_rows
        super().__init__(
            {
                "token": In(stream.Signature(data.StructLayout(header_fields(c)))),
                "results_free": Out(1),
                "result": In(word_layout(c)),
                "result_write": In(1),
                "bias": In(self.bias_layout),
                "bias_address": In(range(max(2, self.bias_depth))),
                "bias_write": In(1),
                "threshold": In(unsigned(c.state_bits)),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "h": slots,
                                "keep": unsigned(sizes.width * c.batch),
                                "valid": unsigned(sizes.width),
                                "context": context,
                                "last": unsigned(1),
                            }
                        )
                    )
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        c, sizes = self.config, self.sizes
        lanes = sizes.lanes
        advance = self._advance = Signal()

        m.submodules.walker = walker = Walker(c)
        m.submodules.results = results = Results(c)
        at = walker.position
        pick = Cat(
            (walker.next.subset == subset) & (walker.next.batch_step == batch_step)
            for subset in range(sizes.subsets)
            for batch_step in range(sizes.batch_steps)
        )
        wiring.connect(m, walker.token, wiring.flipped(self.token))
        m.d.comb += [
            walker.advance.eq(advance),
            walker.there.eq(results.there),
            self.results_free.eq(walker.free),
            results.word.eq(self.result),
            results.write.eq(self.result_write),
            results.begin.eq(walker.begin),
            results.end.eq(walker.end),
            results.read.eq(advance),
            results.pick.eq(pick),
        ]
        position = {1: at}
        for n in range(2, DEPTH):
            position[n] = Signal.like(at, name=f"position_{n}")
            with m.If(advance):
                m.d.sync += position[n].eq(position[n - 1])

        accumulators = self._register(m, results.o, "accumulators", results.o.shape())
        bias = self._bias(m, walker.next, lanes)
        word = data.ArrayLayout(signed(c.cell_bits), sizes.units * lanes)
        depth = max(2, c.contexts * sizes.emissions * sizes.folds)
        # A cell is read again only in its context's next step, long after it was written.
        m.submodules.cells = memory = Ram(word, depth, collides=False)
        before = position[4]  # the cell state comes when the gates do
        restart = before.start.word_select(before.batch_step, lanes)
        restart = self._register(m, restart, "restart")
        m.d.comb += [memory.read_addr.eq(before.cell), memory.read_en.eq(advance)]

        cells, states = [], []
        for u in range(sizes.units):
            for b in range(lanes):
                gates = [accumulators[u][gate][b] for gate in range(4)]
                biases = [bias[b][u][gate] for gate in range(4)]
                cell = Mux(restart[b], 0, memory.read_data[u * lanes + b]).as_signed()
                cell = self._register(m, cell, f"cell_before_{u}_{b}", signed(c.cell_bits))
                new, state = self._element(m, f"{u}_{b}", gates, biases, cell)
                cells.append(new)
                states.append(state)
        m.d.comb += [
            memory.write_addr.eq(position[8].cell),
            memory.write_data.eq(Cat(cells)),
            memory.write_en.eq(advance & position[8].go),
        ]
        self._collect(m, position[DEPTH - 1], states, lanes)
        return m

    def _register(self, m, value, name, shape=None):
        """``value`` one pipeline stage later."""
        held = Signal(value.shape() if shape is None else shape, name=name, reset_less=True)
        with m.If(self._advance):
            m.d.sync += held.eq(value)
        return held

    def _name(self, m, value, name):
        """``value`` as a signal, so that what uses it twice does not repeat it."""
        named = Signal(value.shape(), name=name)
        m.d.comb += named.eq(value)
        return named

    def _bias(self, m, at, lanes):
        """[lane][unit][gate] biases of the elements at stage 0, in stage 2.

        An index picks its own word for each batch element: as many copies as lanes.
        """
        c, sizes = self.config, self.sizes
        by_index = c.input_kind == "index"
        read = []
        for lane in range(lanes if by_index else 1):
            # Written before the first step, read from then on.
            memory = Ram(self.bias_layout, max(2, self.bias_depth), collides=False)
            m.submodules[f"bias_{lane}"] = memory
            m.d.comb += [
                memory.write_addr.eq(self.bias_address),
                memory.write_data.eq(self.bias),
                memory.write_en.eq(self.bias_write),
                memory.read_en.eq(self._advance),
                memory.read_addr.eq(at.bias),
            ]
            if by_index:
                index = at.indices[0]
                with m.Switch(at.batch_step):
                    index = Signal.like(at.indices[0], name=f"index_{lane}")
                    for step in range(sizes.batch_steps):
                        with m.Case(step):
                            m.d.comb += index.eq(at.indices[step * lanes + lane])
                row = at.context * ((c.input_size - 1) * sizes.bias_words)
                m.d.comb += memory.read_addr.eq(at.bias + row + index * sizes.bias_words)
            # Block RAM is slow, and an adder comes next.
            read.append(self._register(m, memory.read_data, f"biases_{lane}", self.bias_layout))
        return read if by_index else read * lanes

    def _element(self, m, name, gates, biases, cell):
        """One cell: (c' in stage 8, h in stage 13) from stage 2's sums and stage 6's cell."""
        c = self.config

        def register(value, what):
            return self._register(m, value, f"{what}_{name}")

        frac = c.accumulator_frac - self.sizes.unused_bits
        tables = "sigmoid", "sigmoid", "tanh", "sigmoid"
        values = []
        for gate, (letter, table) in enumerate(zip("ifgo", tables, strict=True)):
            total = register(gates[gate] + (biases[gate] << (frac - c.bias_frac)), f"{letter}_sum")
            value = self._function(m, table, total, frac, f"{letter}_{name}")
            # Block RAM is slow, and so is a multiplier: a register in between.
            values.append(register(value, f"{letter}_value"))  # stage 6
        i, f, g, o = values
        kept, added = register(f * cell, "kept"), register(i * g, "added")  # stage 7
        shift = c.gate_bits + max(c.gate_bits, c.cell_frac) - c.cell_frac
        half = 1 << (shift - 1)  # summands of one sum: rounding it later costs a second carry
        total = self._name(
            m,
            (kept << max(c.gate_bits - c.cell_frac, 0))
            + (added << max(c.cell_frac - c.gate_bits, 0))
            + half,
            f"cell_sum_{name}",
        )
        cell = register(saturate(total >> shift, c.cell_bits), "cell")  # stage 8

        squashed = self._function(m, "tanh", cell, c.cell_frac, f"squash_{name}")
        squashed = register(squashed, "squashed")  # stage 11
        for n in range(7, 12):
            o = register(o, f"o_{n}")
        product = register(o * squashed, "output")  # stage 12
        rounded = round_shift(product, 2 * c.gate_bits - c.state_frac)
        return cell, register(saturate(rounded, c.state_bits), "state")

    def _function(self, m, function, value, frac, name):
        """``sigmoid`` or ``tanh`` of a value with ``frac`` fractional bits, two stages later."""
        c = self.config
        make, entries = {
            "sigmoid": (TableFunction.sigmoid, c.sigmoid_entries),
            "tanh": (TableFunction.tanh, c.tanh_entries),
        }[function]
        m.submodules[name] = table = make(entries, c.gate_bits, value.shape(), frac)
        m.d.comb += [table.en.eq(self._advance), table.x.eq(value)]
        return table.y

    def _collect(self, m, at, states, lanes):
        """Gather the elements of an emission and offer it."""
        c, sizes = self.config, self.sizes
        part = data.StructLayout({"h": signed(c.state_bits), "keep": unsigned(1)})
        parts = data.ArrayLayout(data.ArrayLayout(part, len(states)), sizes.folds)
        gathered = Signal(parts)
        now = Signal(data.ArrayLayout(part, len(states)))
        for n, state in enumerate(states):
            magnitude = Mux(state < 0, -state, state)[: c.state_bits]
            m.d.comb += [now[n].h.eq(state), now[n].keep.eq(magnitude >= self.threshold)]

        # Each cycle's part enters at the end and moves down until its emission is whole.
        valid, last, partial = Signal(), Signal(), Signal()
        context = Signal.like(at.context)
        m.d.comb += self._advance.eq(~valid | self.o.ready)
        with m.If(self._advance):
            m.d.sync += [
                valid.eq(at.go & at.emitted),
                last.eq(at.step_end),
                partial.eq(at.group_end),
                context.eq(at.context),
            ]
            with m.If(at.go):
                m.d.sync += gathered.eq(Cat(gathered.as_value()[now.shape().size :], now))
        full = sizes.width
        in_group = sizes.row_units - (sizes.group_emissions - 1) * full
        left = c.hidden_size - (c.groups - 1) * sizes.row_units
        in_step = left - (sizes.last_emissions - 1) * full
        m.d.comb += [
            self.o.valid.eq(valid),
            self.o.p.last.eq(last),
            self.o.p.context.eq(context),
            self.o.p.valid.eq(
                Mux(last, (1 << in_step) - 1, Mux(partial, (1 << in_group) - 1, (1 << full) - 1))
            ),
        ]
        for slot in range(sizes.width):
            for b in range(c.batch):
                unit_step, unit = divmod(slot, sizes.units)
                batch_step, lane = divmod(b, lanes)
                source = gathered[unit_step * sizes.batch_steps + batch_step][unit * lanes + lane]
                m.d.comb += [
                    self.o.p.h[slot][b].eq(source.h),
                    self.o.p.keep[slot * c.batch + b].eq(source.keep),
                ]
