"""The sparse-state LSTM engine."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...models.sparse_lstm.config import SparseLstmConfig
from ..lib.fifo import Fifo
from ..lib.memory import Ram
from ..lib.stream import Fork
from .cell import Cell
from .compactor import Compactor, columns_layout
from .multiplier import Multiplier
from .sequencer import PASSES, Sequencer, header_fields
from .shape import Shape

COUNTERS = (
    "steps", "input_passes", "state_passes",
    "wait_input", "wait_state", "wait_weights", "wait_results", "wait_output",
)  # fmt: skip


def input_layout(config: SparseLstmConfig) -> data.StructLayout:
    """Payload of ``x``: a window of columns, or one index a batch element."""
    c = config
    if c.input_kind == "index":
        return data.StructLayout(header_fields(c))
    return data.StructLayout(
        {
            "values": columns_layout(c.window, c.banks, c.batch, c.input_bits),
            **header_fields(c),
            "last": unsigned(1),
        }
    )


class SparseLstm(wiring.Component):
    """An LSTM engine that multiplies only columns that are nonzero.

    Its arithmetic is that of :mod:`thresher.models.sparse_lstm.config`, its data are laid
    out as :mod:`thresher.hdl.sparse_lstm.layout` does it:

    ``weights``, ``biases``
        First of all both are loaded, whole; a reset asks for them again.  Streamed weights
        are not loaded but delivered as ``fetch`` asks for them, the column's ``groups``
        words for each address, in order.
    ``x``
        Steps: the columns of a vector for each batch element, ``window`` of every bank a
        beat (``last`` on the final one), or one beat with an index for each element.
        ``context`` says whose weights and states, ``start`` which elements begin anew; both
        are looked at throughout the step.
    ``h``
        The states of each step in the order of the steps, ``last`` on the final beat.

    ``threshold`` and ``skip_*`` may change while no step is under way.

    A step takes ``groups`` cycles for each pass, a pass being one nonzero column of every
    bank, and no cycle besides while the next input is there and the cell unit (``folds``
    cycles an emission) is not slower than the multipliers: the first columns of the next
    step are multiplied while the last states are computed.
    :func:`thresher.hdl.sparse_lstm.cycles.timing` counts exactly.
    """

    def __init__(self, config: SparseLstmConfig):
        c = self.config = config
        sizes = self.sizes = Shape(config)
        states = data.ArrayLayout(data.ArrayLayout(signed(c.state_bits), c.batch), sizes.width)
        bias = data.ArrayLayout(data.ArrayLayout(signed(c.bias_bits), 4), sizes.units)
        members = {
            "weights": In(stream.Signature(data.ArrayLayout(signed(c.weight_bits), c.port))),
            "biases": In(stream.Signature(bias)),
            "x": In(stream.Signature(input_layout(c))),
            "h": Out(
                stream.Signature(
                    data.StructLayout(
                        {
                            "values": states,
                            "context": unsigned(ceil_log2(c.contexts)),
                            "last": unsigned(1),
                        }
                    )
                )
            ),
            "threshold": In(unsigned(c.state_bits), init=c.threshold),
            "skip_inputs": In(1, init=c.skip_inputs),
            "skip_states": In(1, init=c.skip_states),
            **{name: Out(32) for name in COUNTERS},
        }
        if c.weights == "streamed":
            address = unsigned(max(1, ceil_log2(sizes.weight_words)))
            members["fetch"] = Out(stream.Signature(address))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        c = self.config
        m.submodules.sequencer = sequencer = Sequencer(c)
        m.submodules.multiplier = multiplier = Multiplier(c, sequencer.address_bits)
        m.submodules.cell = cell = Cell(c)

        loaded = Signal(2)
        self._weights(m, multiplier, loaded[0])
        self._biases(m, cell, loaded[1])
        self._inputs(m, sequencer, loaded.all())
        self._passes(m, sequencer, multiplier)
        wiring.connect(m, multiplier.token, cell.token)
        m.d.comb += [
            multiplier.results_free.eq(cell.results_free),
            cell.result.eq(multiplier.result),
            cell.result_write.eq(multiplier.result_write),
            cell.threshold.eq(self.threshold),
            sequencer.skip_states.eq(self.skip_states),
        ]
        self._states(m, cell, sequencer)
        self._count(m, sequencer, multiplier)
        return m

    def _weights(self, m, multiplier, loaded):
        """Weight words from block RAM (loaded once), or from the stream as they come."""
        c, sizes = self.config, self.sizes
        beats = c.rows * c.banks // c.port
        word = Signal(data.ArrayLayout(data.ArrayLayout(signed(c.weight_bits), c.rows), c.banks))
        # ``weights`` beats are put together to a word; the last one passes through.
        whole = Signal()
        take = Signal()
        m.d.comb += [
            self.weights.ready.eq(take),
            word.eq(self.weights.payload),
            whole.eq(self.weights.valid),
        ]
        if beats > 1:
            parts = Signal((beats - 1) * c.port * c.weight_bits)
            part = Signal(range(beats))
            m.d.comb += [
                word.eq(Cat(parts, self.weights.payload)),
                whole.eq(self.weights.valid & (part == beats - 1)),
                self.weights.ready.eq((part != beats - 1) | take),
            ]
            with m.If(self.weights.valid & self.weights.ready):
                m.d.sync += [
                    part.eq(Mux(part == beats - 1, 0, part + 1)),
                    parts.eq(Cat(parts, self.weights.payload)[-len(parts) :]),
                ]
        if c.weights == "streamed":
            m.d.comb += [
                loaded.eq(1),
                multiplier.stall.eq(~whole),
                take.eq(multiplier.busy),
            ]
            m.d.sync += multiplier.weights.eq(word)
            return
        address = Signal(range(sizes.weight_words + 1))
        m.d.comb += [loaded.eq(address == sizes.weight_words), take.eq(~loaded)]
        with m.If(whole & take):
            m.d.sync += address.eq(address + 1)
        for k in range(c.banks):
            # Written before the first step, read from then on.
            memory = Ram(word[k].shape(), max(2, sizes.weight_words), collides=False)
            m.submodules[f"weights_{k}"] = memory
            m.d.comb += [
                memory.write_addr.eq(address),
                memory.write_data.eq(word[k]),
                memory.write_en.eq(whole & take),
                memory.read_addr.eq(multiplier.addresses[k]),
                memory.read_en.eq(multiplier.read),
                multiplier.weights[k].eq(memory.read_data),
            ]

    def _biases(self, m, cell, loaded):
        address = Signal(range(cell.bias_depth + 1))
        m.d.comb += [
            loaded.eq(address == cell.bias_depth),
            self.biases.ready.eq(~loaded),
            cell.bias.eq(self.biases.payload),
            cell.bias_address.eq(address),
            cell.bias_write.eq(self.biases.valid & ~loaded),
        ]
        with m.If(cell.bias_write):
            m.d.sync += address.eq(address + 1)

    def _inputs(self, m, sequencer, loaded):
        """Compact the input's columns into one queue a bank."""
        c, sizes = self.config, self.sizes
        if c.input_kind == "index":
            m.submodules.queue = queue = Fifo(self.x.p.shape(), c.queue)
            wiring.connect(m, queue.o, sequencer.header)
            m.d.comb += [
                queue.i.payload.eq(self.x.payload),
                queue.i.valid.eq(self.x.valid & loaded),
                self.x.ready.eq(queue.i.ready & loaded),
            ]
            return
        columns = max(map(sizes.input_columns, range(c.contexts)))
        m.submodules.inputs = inputs = Compactor(
            c.window, c.banks, c.batch, c.input_bits, c.groups, columns
        )
        slots = c.window * c.banks
        header = Signal(data.StructLayout(header_fields(c)))
        tails = [
            (1 << (c.context_inputs(k) - (sizes.input_beats(k) - 1) * slots)) - 1
            for k in range(c.contexts)
        ]
        tail = Signal(slots, init=tails[0])
        if len(set(tails)) > 1:
            with m.Switch(self.x.p.context):
                for context, mask in enumerate(tails):
                    with m.Case(context):
                        m.d.comb += tail.eq(mask)
        else:
            m.d.comb += tail.eq(tails[0])
        m.d.comb += [
            inputs.i.valid.eq(self.x.valid & loaded),
            self.x.ready.eq(inputs.i.ready & loaded),
            inputs.i.p["values"].eq(self.x.p["values"]),
            inputs.i.p.keep.eq(~self.skip_inputs),
            inputs.i.p.last.eq(self.x.p.last),
            inputs.i.p.valid.eq(Mux(self.x.p.last, tail, (1 << slots) - 1)),
        ]
        with m.If(self.x.valid & self.x.ready):
            m.d.sync += [header[name].eq(self.x.p[name]) for name in header_fields(c)]
        queues = []
        for k in range(c.banks):
            entry = sequencer.inputs[k].payload
            m.submodules[f"queue_{k}"] = queue = Fifo(entry.shape(), c.queue)
            queues.append(queue)
            wiring.connect(m, queue.o, sequencer.inputs[k])
            m.d.comb += [
                queue.i.p.entry.eq(inputs.o.p.entries[k]),
                queue.i.p.end.eq(inputs.o.p.last),
            ]
            m.d.comb += [queue.i.p[name].eq(header[name]) for name in header_fields(c)]
        room = Signal()
        m.d.comb += [
            room.eq(Cat(queue.i.ready for queue in queues).all()),
            inputs.o.ready.eq(room),
            sequencer.inputs_full.eq(~room),
        ]
        for k, queue in enumerate(queues):
            wanted = inputs.o.p.entries[k].has | inputs.o.p.last
            m.d.comb += queue.i.valid.eq(inputs.o.valid & room & wanted)

    def _passes(self, m, sequencer, multiplier):
        """A short queue between sequencer and multiplier; streamed columns are asked for."""
        c = self.config
        passes = sequencer.o.payload
        m.submodules.passes = queue = Fifo(passes.shape(), PASSES)
        wiring.connect(m, queue.o, multiplier.i)
        ready = queue.i.ready
        if c.weights == "streamed":
            m.submodules.fetches = fetches = Fifo(self.fetch.p.shape(), 2 * PASSES)
            wiring.connect(m, fetches.o, wiring.flipped(self.fetch))
            ready = queue.i.ready & fetches.i.ready
            m.d.comb += [
                fetches.i.payload.eq(passes.addresses[0]),
                fetches.i.valid.eq(sequencer.o.valid & ready & ~passes.idle),
            ]
        m.d.comb += [
            queue.i.payload.eq(passes),
            queue.i.valid.eq(sequencer.o.valid & ready),
            sequencer.o.ready.eq(ready),
        ]

    def _states(self, m, cell, sequencer):
        """Emissions go out on ``h`` and, compacted, into the state lists."""
        c, sizes = self.config, self.sizes
        m.submodules.states = states = Compactor(
            sizes.window, c.banks, c.batch, c.state_bits, c.groups, sizes.state_columns
        )
        m.submodules.emissions = emissions = Fork(cell.o.p.shape(), 2)
        wiring.connect(m, cell.o, emissions.i)
        out, listed = emissions.o
        context = Signal.like(cell.o.p.context)
        m.d.comb += [
            self.h.valid.eq(out.valid),
            self.h.p.context.eq(out.p.context),
            self.h.p.last.eq(out.p.last),
            out.ready.eq(self.h.ready),
            states.i.valid.eq(listed.valid),
            states.i.p.valid.eq(listed.p.valid),
            states.i.p.keep.eq(~self.skip_states),
            states.i.p.last.eq(listed.p.last),
            listed.ready.eq(states.i.ready),
        ]
        for slot in range(sizes.width):
            for b in range(c.batch):
                h = cell.o.p.h[slot][b]
                pruned = Mux(cell.o.p.keep[slot * c.batch + b], h, 0).as_signed()
                m.d.comb += [
                    states.i.p["values"][slot][b].eq(pruned),
                    self.h.p["values"][slot][b].eq(pruned if c.prune_output else h),
                ]
        with m.If(states.i.valid & states.i.ready):
            m.d.sync += context.eq(listed.p.context)
        m.d.comb += [
            states.o.ready.eq(1),
            sequencer.states_context.eq(context),
            sequencer.states_done.eq(states.o.valid & states.o.p.last),
        ]
        for k in range(c.banks):
            entry, append = states.o.p.entries[k], sequencer.states[k]
            m.d.comb += [append.eq(entry), append.has.eq(entry.has & states.o.valid)]

    def _count(self, m, sequencer, multiplier):
        taken = Signal()
        idle = Signal()
        started = Signal()  # nothing is waited for before the first input
        passes = multiplier.i.payload
        m.d.comb += [
            taken.eq(multiplier.i.valid & multiplier.i.ready),
            idle.eq(started & ~multiplier.read & ~multiplier.i.valid),
        ]
        with m.If(self.x.valid & self.x.ready):
            m.d.sync += started.eq(1)
        events = {
            "steps": taken & passes.last,
            "input_passes": taken & ~passes.idle & passes.is_input,
            "state_passes": taken & ~passes.idle & ~passes.is_input,
            "wait_input": idle & sequencer.wait_input,
            "wait_state": idle & sequencer.wait_state,
            "wait_weights": multiplier.wait_weights,
            "wait_results": multiplier.wait_results,
            "wait_output": self.h.valid & ~self.h.ready,
        }
        for name, event in events.items():
            counter, seen = getattr(self, name), Signal(name=f"{name}_seen")
            m.d.sync += [seen.eq(event), counter.eq(counter + seen)]
