"""Which column is multiplied next."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...models.sparse_lstm.config import SparseLstmConfig
from ..lib.memory import Ram
from .compactor import entry_layout
from .shape import Shape

PASSES = 4
"""Passes queued between sequencer and multipliers."""


def header_fields(config: SparseLstmConfig) -> dict[str, Any]:
    """What a step carries besides its columns: context, restarted elements, indices."""
    fields = {"context": unsigned(ceil_log2(config.contexts)), "start": unsigned(config.batch)}
    if config.input_kind == "index":
        index = unsigned(max(1, ceil_log2(config.input_size)))
        fields["indices"] = data.ArrayLayout(index, config.batch)
    return fields


def operand_bits(config: SparseLstmConfig) -> int:
    """Width of a lane's column operand: an input or a state."""
    if config.input_kind == "index":
        return config.state_bits
    return max(config.input_bits, config.state_bits)


def pass_layout(config: SparseLstmConfig, address_bits: int) -> data.StructLayout:
    """One pass of the multipliers over a column of each bank.

    ``first`` and ``last`` of a step; ``idle``: no column at all (an all-zero step still
    takes one pass); ``is_input``: operands are inputs, not states.
    """
    return data.StructLayout(
        {
            "first": unsigned(1),
            "last": unsigned(1),
            "idle": unsigned(1),
            "is_input": unsigned(1),
            "addresses": data.ArrayLayout(unsigned(address_bits), config.banks),
            "values": data.ArrayLayout(
                data.ArrayLayout(signed(operand_bits(config)), config.batch), config.banks
            ),
            **header_fields(config),
        }
    )


class StateList(wiring.Component):
    """The nonzero states of a bank, one list a context: written by the cell, read by the next step.

    ``clear`` empties the list of ``read_context``; entries are appended to the list of
    ``write_context``.  While ``read`` is high the list of ``read_context`` is offered on
    ``o``, a register, entry by entry (II 1).  An entry appended in cycle t is offered in t + 1
    if it was being read and none before it was left, else in t + 3.
    ``drained``: every entry appended so far has been taken.
    """

    def __init__(self, config: SparseLstmConfig, columns: int, offset_bits: int):
        self.columns, self.contexts = columns, config.contexts
        entry = entry_layout(config.batch, config.state_bits, offset_bits)
        context = unsigned(ceil_log2(config.contexts))
        super().__init__(
            {
                "append": In(entry),
                "write_context": In(context),
                "read_context": In(context),
                "read": In(1),
                "clear": In(1),
                "o": Out(stream.Signature(entry)),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self.append.shape()
        # Only entries that were appended before are read.
        m.submodules.memory = memory = Ram(
            shape, max(2, self.columns * self.contexts), collides=False
        )
        level = data.ArrayLayout(unsigned(ceil_log2(self.columns + 1)), self.contexts)
        counts = Signal(level)
        at = Signal(ceil_log2(self.columns + 1))
        more, fetch, fetched, passing, take = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            memory.write_addr.eq(self.write_context * self.columns + counts[self.write_context]),
            memory.write_data.eq(self.append),
            memory.write_en.eq(self.append.has),
            more.eq(at != counts[self.read_context]),
            take.eq(~self.o.valid | self.o.ready),
            # Block RAM is slow: what it gave goes into a register, what is late passes it by.
            fetch.eq(self.read & more & (~fetched | take)),
            passing.eq(
                self.read
                & self.append.has
                & (self.write_context == self.read_context)
                & ~more
                & ~fetched
                & take
            ),
            memory.read_addr.eq(self.read_context * self.columns + at),
            memory.read_en.eq(fetch),
            self.drained.eq(~self.o.valid & ~fetched & ~more),
        ]
        with m.If(self.append.has):
            m.d.sync += counts[self.write_context].eq(counts[self.write_context] + 1)
        with m.If(fetch | passing):
            m.d.sync += at.eq(at + 1)
        with m.If(fetch):
            m.d.sync += fetched.eq(1)
        with m.Elif(take):
            m.d.sync += fetched.eq(0)
        with m.If(take):
            m.d.sync += [
                self.o.valid.eq(fetched | passing),
                self.o.payload.eq(Mux(fetched, memory.read_data, self.append)),
            ]
        with m.If(self.clear):
            m.d.sync += [
                counts[self.read_context].eq(0),
                at.eq(0),
                fetched.eq(0),
                self.o.valid.eq(0),
            ]
        return m


class Sequencer(wiring.Component):
    """Merges a step's input columns and the state columns of its context into passes.

    A pass takes one kept column of every bank that has one left.  Inputs go first: they
    are known while the state is still being computed.  A pass leaves only when it is
    known whether another follows, so that ``last`` is right from its first cycle.
    """

    def __init__(self, config: SparseLstmConfig):
        self.config, self.sizes = config, Shape(config)
        c, sizes = config, self.sizes
        self.address_bits = max(1, ceil_log2(sizes.weight_words))
        self.offset_bits = max(1, ceil_log2(sizes.state_columns * c.groups))
        members = {
            "o": Out(stream.Signature(pass_layout(c, self.address_bits))),
            "skip_states": In(1),
            "states": In(
                data.ArrayLayout(entry_layout(c.batch, c.state_bits, self.offset_bits), c.banks)
            ),
            "states_context": In(unsigned(ceil_log2(c.contexts))),
            "states_done": In(1),
            "wait_input": Out(1),
            "wait_state": Out(1),
        }
        if c.input_kind == "index":
            members["header"] = In(stream.Signature(data.StructLayout(header_fields(c))))
        else:
            self.input_offset_bits = max(
                1, ceil_log2(max(map(sizes.input_columns, range(c.contexts))) * c.groups)
            )
            members["inputs"] = In(stream.Signature(self.input_entry())).array(c.banks)
            members["inputs_full"] = In(1)  # some bank's queue is
        super().__init__(members)

    def input_entry(self) -> data.StructLayout:
        """A queued input column; ``end`` marks a bank's last entry of the step."""
        c = self.config
        entry = entry_layout(c.batch, c.input_bits, self.input_offset_bits)
        return data.StructLayout({"entry": entry, "end": unsigned(1), **header_fields(c)})

    def elaborate(self, platform):
        m = Module()
        c, banks = self.config, range(self.config.banks)

        header = Signal(data.StructLayout(header_fields(c)))
        held = Signal(self.o.p.shape())  # formed, but not yet known to be last
        has_held = Signal()
        formed = Signal.like(held)
        form = Signal()  # a pass is formed in this cycle
        finish = Signal()  # the step has no further pass
        room = Signal()
        m.d.comb += [
            self.o.payload.eq(held),
            room.eq(~has_held | self.o.ready),
            self.o.valid.eq(has_held & (form | finish)),
        ]
        with m.If(finish):
            m.d.comb += self.o.p.last.eq(1)
            with m.If(~has_held):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.p.first.eq(1),
                    self.o.p.idle.eq(1),
                    Cat(self.o.p[name] for name in header_fields(c)).eq(header),
                ]
        with m.If(finish & self.o.ready):
            m.d.sync += [has_held.eq(0), held.eq(0)]  # an idle pass has zero operands
        with m.If(form):
            m.d.sync += [held.eq(formed), has_held.eq(1)]

        complete = Signal(c.contexts, init=-1)  # this context's states are all in their lists
        lists = []
        clear = Signal()
        for k in banks:
            columns = self.sizes.state_columns
            lists.append(states := StateList(c, columns, self.offset_bits))
            m.submodules[f"states_{k}"] = states
            m.d.comb += [
                states.append.eq(self.states[k]),
                states.write_context.eq(self.states_context),
                states.read_context.eq(header.context),
                states.clear.eq(clear),
            ]
        with m.If(self.states_done):
            m.d.sync += complete.bit_select(self.states_context, 1).eq(1)
        with m.If(clear):
            m.d.sync += complete.bit_select(header.context, 1).eq(0)

        with m.FSM() as phases:
            if c.input_kind == "index":
                with m.State("INPUT"):
                    m.d.comb += self.header.ready.eq(1)
                    m.d.sync += header.eq(self.header.payload)
                    with m.If(self.header.valid):
                        m.next = "STATE"
            else:
                with m.State("INPUT"):
                    self._input_phase(m, formed, form, room, header)
            with m.State("STATE"):
                known = Signal()  # the lists are complete
                m.d.comb += known.eq(complete.bit_select(header.context, 1))
                ended = self._state_phase(m, lists, known, formed, form, room, header)
                m.d.comb += finish.eq(ended & known)
                with m.If(finish & self.o.ready):
                    m.d.comb += clear.eq(1)
                    m.next = "INPUT"
        m.d.comb += [
            formed.first.eq(~has_held),
            self.wait_input.eq(phases.ongoing("INPUT")),
            self.wait_state.eq(phases.ongoing("STATE")),
        ]
        return m

    def _input_phase(self, m, formed, form, room, header):
        """Form passes from the heads of the input queues until every bank's step ended.

        A bank that offers nothing yet is waited for, unless that would never end because
        another bank's queue is full.
        """
        c, banks = self.config, range(self.config.banks)
        done = Signal(c.banks)  # banks whose inputs of this step are all taken
        now = Signal.like(header)
        heads = [self.inputs[k].payload for k in banks]
        has = Signal(c.banks)
        offered = Signal(c.banks)
        ready = Signal()
        after = Signal(c.banks)
        m.d.comb += [
            offered.eq(Cat(self.inputs[k].valid & ~done[k] for k in banks)),
            has.eq(offered & Cat(heads[k].entry.has for k in banks)),
            ready.eq((offered | done).all() | self.inputs_full),
            form.eq(ready & has.any() & room),
            after.eq(done | (offered & Cat(heads[k].end for k in banks))),
            formed.is_input.eq(1),
            Cat(formed[name] for name in header_fields(c)).eq(now),
        ]
        for k in reversed(banks):  # any bank that offers a column knows the step
            with m.If(offered[k]):
                m.d.comb += now.eq(Cat(heads[k][name] for name in header_fields(c)))
        bases = _constants(m, now.context, [base for base, _ in self.sizes.bases])
        for k in banks:
            m.d.comb += [
                formed.addresses[k].eq(bases + heads[k].entry.offset),
                self.inputs[k].ready.eq(ready & offered[k] & (room | ~has.any())),
            ]
            for b in range(c.batch):
                m.d.comb += formed.values[k][b].eq(
                    Mux(has[k], heads[k].entry.values[b], Const(0, 1)).as_signed()
                )
        with m.If(ready & (room | ~has.any())):
            m.d.sync += [header.eq(now), done.eq(after)]
            with m.If(after.all()):
                m.d.sync += done.eq(0)
                m.next = "STATE"

    def _state_phase(self, m, lists, known, formed, form, room, header):
        """Form passes from the state lists; returns whether all entries so far are taken.

        A bank without an entry is waited for until it is known to get none.

        Columns that matter only to restarted elements are dropped, one a bank and cycle.
        """
        c, banks = self.config, range(self.config.banks)
        restart = Signal()
        useful = Signal(c.banks)
        ready = Signal()
        m.d.comb += [
            restart.eq(header.start.all()),
            ready.eq(Cat(useful[k] | (lists[k].drained & known) for k in banks).all()),
            form.eq(ready & useful.any() & room),
            Cat(formed[name] for name in header_fields(c)).eq(header),
        ]
        bases = _constants(m, header.context, [base for _, base in self.sizes.bases])
        for k, states in enumerate(lists):
            head = states.o.payload
            values, matters = list(head["values"]), Const(1)
            if c.batch > 1:  # else a restart leaves the list unread
                values = [Mux(header.start[b], 0, values[b]).as_signed() for b in range(c.batch)]
                matters = Cat(value.any() for value in values).any() | ~self.skip_states
            m.d.comb += [
                states.read.eq(~restart),
                useful[k].eq(states.o.valid & matters),
                states.o.ready.eq(~useful[k] | form),
                formed.addresses[k].eq(bases + head.offset),
            ]
            for b in range(c.batch):
                m.d.comb += formed.values[k][b].eq(Mux(useful[k], values[b], 0).as_signed())
        return restart | Cat(states.drained for states in lists).all()


def _constants(m: Module, select, values: list[int]):
    """``values[select]`` for a list of constants."""
    if len(values) == 1:
        return values[0]
    chosen = Signal(range(max(values) + 1))
    with m.Switch(select):
        for at, value in enumerate(values):
            with m.Case(at):
                m.d.comb += chosen.eq(value)
    return chosen
