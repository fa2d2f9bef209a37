"""Column passes: weights times one column of each bank, added into the accumulators."""

from itertools import pairwise, product
from math import ceil

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...models.sparse_lstm.config import SparseLstmConfig
from ..lib.arith import packed_products, tree_sum
from ..lib.fixed import round_shift
from ..lib.memory import Ram
from .results import word_layout
from .sequencer import header_fields, pass_layout
from .shape import Shape

FAN_OUT = 16
"""Multipliers, an even number, that share a register of their operand."""


def needs_sums(config: SparseLstmConfig) -> bool:
    """Whether anything happens to a product before it is added to the accumulator."""
    shifted = config.input_kind == "vector" and config.input_shift != 0
    return config.banks > 1 or config.product_shift != 0 or shifted


def latency(config: SparseLstmConfig) -> int:
    """Cycles from the issue of a group to the first in which its result counts as written."""
    return 5 if needs_sums(config) else 4


class Multiplier(wiring.Component):
    """``lanes`` multiply-accumulates a cycle, ``groups`` cycles a pass, back to back.

    In cycle ``g`` of a pass, lane (bank k, row r, batch b) multiplies the bank's weight
    of row ``g * rows + r`` by the bank's operand of element b; the banks' products are
    added to the accumulator of (g, r, b).  The first pass of a step starts from zero; the
    last writes not back but to ``result``, a group in each cycle with ``result_write``.

    The weight word of an address must stand on ``weights`` in the cycle after the address
    (``read`` high); ``stall`` high keeps a cycle from being issued.  ``token`` goes high
    in the cycle in which a last pass is taken; that waits for ``results_free``.
    """

    def __init__(self, config: SparseLstmConfig, address_bits: int):
        self.config, self.sizes, self.address_bits = config, Shape(config), address_bits
        c = config
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
                "result": Out(word_layout(c)),
                "result_write": Out(1),
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
        stages = [Signal(control, name=f"stage_{n}") for n in range(latency(c))]
        m.d.comb += [
            stages[0].go.eq(self.read),
            stages[0].first.eq(current.first),
            stages[0].last.eq(current.last),
            stages[0].is_input.eq(current.is_input),
            stages[0].group.eq(group),
        ]
        for before, after in pairwise(stages):
            m.d.sync += after.eq(before)

        weights = Signal.like(self.weights)
        m.d.sync += weights.eq(self.weights)
        products = self._products(m, weights, self._operands(m, current["values"]))
        sums = self._sums(m, products, stages[2]) if needs_sums(c) else products[0]
        self._accumulate(m, sums, stages[-2], stages[-1])
        return m

    def _operands(self, m, values):
        """[bank][batch][row] operands, two register stages after ``values``.

        Multipliers lie far apart: no register serves more than :data:`FAN_OUT` of them.
        Copies begin with different values, so that no tool takes them for one.
        """
        c = self.config
        before = Signal.like(values, name="operands")
        m.d.sync += before.eq(values)

        def copies(k, b):
            shape = values[k][b].shape()
            kept = [
                Signal(shape, name=f"operand_{k}_{b}_{n}", init=n % (1 << shape.width - 1))
                for n in range(ceil(c.rows / FAN_OUT))
            ]
            m.d.sync += [copy.eq(before[k][b]) for copy in kept]
            return [kept[r // FAN_OUT] for r in range(c.rows)]

        return [[copies(k, b) for b in range(c.batch)] for k in range(c.banks)]

    def _products(self, m, weights, operands):
        """[bank][row, batch] products, a register stage after the operands."""
        c = self.config

        def register(value):
            held = Signal(value.shape(), name=name, reset_less=True)
            m.d.sync += held.eq(value)
            return held

        products = []
        for k in range(c.banks):
            of_bank = {}
            for b in range(c.batch):
                for r in range(0, c.rows, 2):
                    w0, w1, x = weights[k][r], weights[k][r + 1], operands[k][b][r]
                    name = f"product_{k}_{r}_{b}"
                    if c.dsp_pack:
                        pair = packed_products(w0, w1, x, register)
                    else:
                        pair = register(w0 * x), register(w1 * x)
                    of_bank[r, b], of_bank[r + 1, b] = pair
            products.append([of_bank[key] for key in product(range(c.rows), range(c.batch))])
        return products

    def _sums(self, m, products, control):
        """[row, batch] sums over the banks, a register stage after the products."""
        c = self.config
        # Shift and rounding differ between inputs and states.
        state_shift, input_shift = c.product_shift, c.product_shift - c.input_shift
        two_kinds = c.input_kind == "vector" and state_shift != input_shift
        is_input = Signal()
        m.d.sync += is_input.eq(control.is_input)

        def rounded(product):
            state = round_shift(product, state_shift)
            return Mux(is_input, round_shift(product, input_shift), state) if two_kinds else state

        sums = []
        for n, of_row in enumerate(zip(*products, strict=True)):
            r, b = divmod(n, c.batch)
            total = Signal(signed(c.accumulator_bits), name=f"sum_{r}_{b}", reset_less=True)
            m.d.sync += total.eq(tree_sum([rounded(product) for product in of_row]))
            sums.append(total)
        return sums

    def _accumulate(self, m, sums, fetch: Value, store: Value):
        """Read, add and write back the accumulators, or hand them on."""
        c, groups = self.config, self.config.groups
        before = Signal(word_layout(c))
        if groups == 1:
            held = Signal.like(before)
            with m.If(store.go):
                m.d.sync += held.eq(self.result)
            with m.If(~store.first):
                m.d.comb += before.eq(held)
        else:
            # The group that is fetched is the one after the group that is stored.
            memory = Ram(before.shape(), groups, collides=False, clear=True)
            m.submodules.accumulators = memory
            m.d.comb += [
                memory.read_addr.eq(fetch.group),
                memory.read_en.eq(fetch.go),
                memory.read_clear.eq(fetch.first),
                before.eq(memory.read_data),
                memory.write_addr.eq(store.group),
                memory.write_data.eq(self.result),
                memory.write_en.eq(store.go & ~store.last),
            ]
        m.d.comb += [
            self.result.as_value().eq(
                Cat(
                    (total + old)[: c.accumulator_bits]
                    for total, old in zip(sums, _leaves(before), strict=True)
                )
            ),
            self.result_write.eq(store.go & store.last),
        ]


def _leaves(word):
    """The signed numbers of a [unit][gate][batch] word, in order."""
    return [value for unit in word for gate in unit for value in gate]
