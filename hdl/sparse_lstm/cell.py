"""Gates, cell state and hidden state of each unit, in a pipeline."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...models.sparse_lstm.config import SparseLstmConfig
from ..lib.activation import TableFunction
from ..lib.fixed import round_shift, saturate
from ..lib.memory import Ram
from .sequencer import header_fields
from .shape import Shape
from .walker import Walker

DEPTH = 14
"""Pipeline stages from a position to its place in an emission."""


class Cell(wiring.Component):
    """``elements`` LSTM cells a cycle, from accumulators to pruned states.

    Follows the results of a step's last pass (``written`` groups of it stand in the
    result memory) and delivers emissions of ``width`` units times the batch, one each
    ``folds`` cycles.  The arithmetic is that of
    :mod:`thresher.models.sparse_lstm.config`; ``h`` is the state, ``keep`` marks those
    that ``threshold`` spares, ``valid`` the slots that hold a unit.
    """

    def __init__(self, config: SparseLstmConfig, word: data.ArrayLayout):
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
                "written": In(range(c.groups + 1)),
                "result_address": Out(range(c.groups)),
                "result_read": Out(1),
                "result": In(word),
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
        lanes = min(c.elements, c.batch)  # batch elements of a unit in one cycle
        advance = self._advance = Signal()

        m.submodules.walker = walker = Walker(c)
        at = walker.position
        wiring.connect(m, walker.token, wiring.flipped(self.token))
        m.d.comb += [
            walker.advance.eq(advance),
            walker.written.eq(self.written),
            self.result_address.eq(walker.address),
            self.result_read.eq(walker.read),
            self.results_free.eq(walker.free),
        ]
        position = {1: at}
        for n in range(2, DEPTH):
            position[n] = Signal.like(at, name=f"position_{n}")
            with m.If(advance):
                m.d.sync += position[n].eq(position[n - 1])

        # Stage 1: choose; fetch bias and cell state.
        accumulators = self._choose(m, at, lanes)
        bias = self._bias(m, at, lanes)
        word = data.ArrayLayout(signed(c.cell_bits), sizes.units * lanes)
        depth = max(2, c.contexts * sizes.emissions * sizes.folds)
        # A cell is read again only in its context's next step, long after it was written.
        m.submodules.cells = memory = Ram(word, depth, collides=False)
        restart = self._register(m, at.start.word_select(at.batch_step, lanes), "restart")
        m.d.comb += [memory.read_addr.eq(at.cell), memory.read_en.eq(advance)]

        cells, states = [], []
        for u in range(sizes.units):
            for b in range(lanes):
                gates = [accumulators[u][gate][b] for gate in range(4)]
                biases = [bias[b][u][gate] for gate in range(4)]
                cell = Mux(restart[b], 0, memory.read_data[u * lanes + b]).as_signed()
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

    def _choose(self, m, at, lanes):
        """[unit][gate][lane] accumulators of this cycle's elements, in stage 2."""
        c, sizes = self.config, self.sizes
        per_unit = 4 * c.batch * c.accumulator_bits
        subset_bits = sizes.units * per_unit
        padding = sizes.group_emissions * sizes.width - sizes.row_units
        padded = Cat(self.result.as_value(), Signal(padding * per_unit, name="no_units"))
        subset = Signal(subset_bits)
        m.d.comb += subset.eq(padded.word_select(at.subset, subset_bits))
        chosen = [
            subset.word_select(n, c.batch * c.accumulator_bits).word_select(
                at.batch_step, lanes * c.accumulator_bits
            )
            for n in range(sizes.units * 4)
        ]
        lane_layout = data.ArrayLayout(signed(c.accumulator_bits), lanes)
        layout = data.ArrayLayout(data.ArrayLayout(lane_layout, 4), sizes.units)
        return self._register(m, Cat(chosen), "accumulators", layout)

    def _bias(self, m, at, lanes):
        """[lane][unit][gate] biases of this cycle's elements, in stage 2.

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
            read.append(memory.read_data)
        return read if by_index else read * lanes

    def _element(self, m, name, gates, biases, cell):
        """One cell: (c' in stage 8, h in stage 13) from stage 2's accumulators."""
        c = self.config

        def register(value, what):
            return self._register(m, value, f"{what}_{name}")

        frac = c.accumulator_frac
        tables = "sigmoid", "sigmoid", "tanh", "sigmoid"
        values = []
        for gate, (letter, table) in enumerate(zip("ifgo", tables, strict=True)):
            total = register(gates[gate] + (biases[gate] << (frac - c.bias_frac)), f"{letter}_sum")
            value = self._function(m, table, total, frac, f"{letter}_{name}")
            # Block RAM is slow, and so is a multiplier: a register in between.
            values.append(register(value, f"{letter}_value"))  # stage 6
        i, f, g, o = values
        for n in range(3, 7):
            cell = register(cell, f"cell_{n}")

        kept, added = register(f * cell, "kept"), register(i * g, "added")  # stage 7
        total = self._name(
            m,
            (kept << max(c.gate_bits - c.cell_frac, 0))
            + (added << max(c.cell_frac - c.gate_bits, 0)),
            f"cell_sum_{name}",
        )
        shift = c.gate_bits + max(c.gate_bits, c.cell_frac) - c.cell_frac
        cell = register(saturate(round_shift(total, shift), c.cell_bits), "cell")  # stage 8

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
