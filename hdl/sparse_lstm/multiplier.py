"""Column passes: weights times one column of each bank, added into the accumulators."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...models.sparse_lstm.config import SparseLstmConfig
from ..lib.arith import packed_products, tree_sum
from ..lib.fixed import round_shift
from ..lib.memory import Ram
from .sequencer import header_fields, pass_layout
from .shape import Shape

LATENCY = 5
"""Cycles from the issue of a group to the first in which its result counts as written."""


class Multiplier(wiring.Component):
    """``lanes`` multiply-accumulates a cycle, ``groups`` cycles a pass, back to back.

    In cycle ``g`` of a pass, lane (bank k, row r, batch b) multiplies the bank's weight
    of row ``g * rows + r`` by the bank's operand of element b; the banks' products are
    added to the accumulator of (g, r, b).  The first pass of a step starts from zero; the
    last writes not back but into the results, from which the cell unit reads while they
    come (``written`` of the step's groups are there) and while the next step goes on.

    The weight word of an address must stand on ``weights`` in the cycle after the address
    (``read`` high); ``stall`` high keeps a cycle from being issued.  ``token`` goes high
    in the cycle in which a last pass is taken; that waits for ``results_free``.
    """

    def __init__(self, config: SparseLstmConfig, address_bits: int):
        self.config, self.sizes, self.address_bits = config, Shape(config), address_bits
        c = config
        self.word = data.ArrayLayout(
            data.ArrayLayout(data.ArrayLayout(signed(c.accumulator_bits), c.batch), 4),
            self.sizes.row_units,
        )
        super().__init__(
            {
                "i": In(stream.Signature(pass_layout(c, address_bits))),
                "addresses": Out(data.ArrayLayout(unsigned(address_bits), c.banks)),
                "read": Out(1),
                "stall": In(1),
                "weights": In(
                    data.ArrayLayout(data.ArrayLayout(signed(c.weight_bits), c.rows), c.banks)
                ),
                "token": Out(stream.Signature(data.StructLayout(header_fields(c)))),
                "results_free": In(1),
                "written": Out(range(c.groups + 1)),
                "result_address": In(range(c.groups)),
                "result_read": In(1),
                "result": Out(self.word),
                "busy": Out(1),
                "wait_weights": Out(1),
                "wait_results": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        c, groups = self.config, self.config.groups

        # Issue: one cycle of the current pass.
        current = Signal(self.i.p.shape())
        active = Signal()
        group = Signal(range(groups))
        ending = Signal()
        blocked = Signal()
        m.d.comb += [
            self.read.eq(active & (~self.stall | current.idle)),
            self.busy.eq(self.read & ~current.idle),
            self.wait_weights.eq(active & ~self.read),
            ending.eq(self.read & (group == groups - 1)),
            blocked.eq(self.i.p.last & ~self.results_free),
            self.i.ready.eq((~active | ending) & ~blocked),
            self.wait_results.eq(~active & self.i.valid & blocked),
            self.addresses.eq(current.addresses),
            self.token.valid.eq(self.i.valid & self.i.ready & self.i.p.last),
            Cat(self.token.p[name] for name in header_fields(c)).eq(
                Cat(self.i.p[name] for name in header_fields(c))
            ),
        ]
        with m.If(self.read):
            m.d.sync += group.eq(Mux(ending, 0, group + 1))
            m.d.sync += [address.eq(address + 1) for address in current.addresses]
        with m.If(~active | ending):
            m.d.sync += active.eq(self.i.valid & ~blocked)
            with m.If(self.i.valid):
                m.d.sync += current.eq(self.i.payload)

        # What travels with the data, stage by stage.
        control = data.StructLayout(
            {"go": 1, "first": 1, "last": 1, "is_input": 1, "group": unsigned(ceil_log2(groups))}
        )
        stages = [Signal(control, name=f"stage_{n}") for n in range(5)]
        m.d.comb += [
            stages[0].go.eq(self.read),
            stages[0].first.eq(current.first),
            stages[0].last.eq(current.last),
            stages[0].is_input.eq(current.is_input),
            stages[0].group.eq(group),
        ]
        for before, after in pairwise(stages):
            m.d.sync += after.eq(before)

        operands = [Signal.like(current["values"], name=f"operands_{n}") for n in range(2)]
        weights = Signal.like(self.weights)
        m.d.sync += [
            operands[0].eq(current["values"]),
            operands[1].eq(operands[0]),
            weights.eq(self.weights),
        ]
        sums = self._sums(m, weights, operands[1], stages[2])
        self._accumulate(m, sums, stages[3], stages[4])
        return m

    def _sums(self, m, weights, operands, control):
        """[unit][gate][batch] sums over the banks, two register stages after ``operands``."""
        c = self.config
        # A last stage of shift and rounding differs between inputs and states.
        state_shift, input_shift = c.product_shift, c.product_shift - c.input_shift
        two_kinds = c.input_kind == "vector" and state_shift != input_shift
        is_input = Signal()
        m.d.sync += is_input.eq(control.is_input)

        def rounded(product):
            state = round_shift(product, state_shift)
            return Mux(is_input, round_shift(product, input_shift), state) if two_kinds else state

        sums = []
        products = {}
        for k in range(c.banks):
            for b in range(c.batch):
                for r in range(0, c.rows, 2):

                    def register(value, name=f"product_{k}_{r}_{b}"):
                        held = Signal(value.shape(), name=name, reset_less=True)
                        m.d.sync += held.eq(value)
                        return held

                    w0, w1, x = weights[k][r], weights[k][r + 1], operands[k][b]
                    if c.dsp_pack:
                        pair = packed_products(w0, w1, x, register)
                    else:
                        pair = register(w0 * x), register(w1 * x)
                    products[k, r, b], products[k, r + 1, b] = pair
        for r in range(c.rows):
            for b in range(c.batch):
                total = Signal(signed(c.accumulator_bits), name=f"sum_{r}_{b}", reset_less=True)
                m.d.sync += total.eq(tree_sum([rounded(products[k, r, b]) for k in range(c.banks)]))
                sums.append(total)
        return sums

    def _accumulate(self, m, sums, fetch: Value, store: Value):
        """Read, add and write back the accumulators; keep the results of last passes."""
        c, groups = self.config, self.config.groups
        before = Signal(self.word)
        after = Signal(self.word)
        m.d.comb += Cat(after.as_value()).eq(
            Cat(
                (total + Mux(store.first, 0, old).as_signed())[: c.accumulator_bits]
                for total, old in zip(sums, _leaves(before), strict=True)
            )
        )
        if groups == 1:
            m.d.comb += before.eq(self._register(m, after, store.go))
        else:
            # The group that is fetched is the one after the group that is stored.
            m.submodules.accumulators = memory = Ram(self.word, groups, collides=False)
            m.d.comb += [
                memory.read_addr.eq(fetch.group),
                memory.read_en.eq(fetch.go),
                before.eq(memory.read_data),
                memory.write_addr.eq(store.group),
                memory.write_data.eq(after),
                memory.write_en.eq(store.go & ~store.last),
            ]
        # Read only once they are ``written``.
        m.submodules.results = memory = Ram(self.word, max(2, groups), collides=False)
        m.d.comb += [
            memory.write_addr.eq(store.group),
            memory.write_data.eq(after),
            memory.write_en.eq(store.go & store.last),
            memory.read_addr.eq(self.result_address),
            memory.read_en.eq(self.result_read),
            self.result.eq(memory.read_data),
        ]
        with m.If(self.token.valid):
            m.d.sync += self.written.eq(0)
        with m.Elif(memory.write_en):
            m.d.sync += self.written.eq(self.written + 1)

    def _register(self, m, value, enable):
        held = Signal.like(value)
        with m.If(enable):
            m.d.sync += held.eq(value)
        return held


def _leaves(word):
    """The signed numbers of a [unit][gate][batch] word, in order."""
    return [value for unit in word for gate in unit for value in gate]
