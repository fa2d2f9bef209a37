"""Partial sums: the bits of the left children, and the rows that g takes of them.

Nothing is copied when paths split.  Each slot writes what it decodes into its own bank, short
words into registers, rows into LUT RAM, and reads the banks that its pointers tell: so the
late choice of a split's parents never comes near these many bits.
"""

from functools import reduce
from operator import xor

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from ..lib.memory import Ram
from .layout import instruction
from .shape import Shape


class Sums(Component):
    """Each slot's row, in the cycle of the instruction (:func:`.layout.instruction`).

    What an instruction stores can be read from the next cycle on.  ``half`` chooses which of two
    sets of rows it reads and stores, so that the rows of a decoding last through the next one.

    These are read a second time: ``row`` is in bank ``row_bank`` what ``row_half`` and
    ``row_address`` told in the last cycle with ``row_enable``.  In that cycle no such row of any
    bank may be stored.
    """

    def __init__(self, shape: Shape):
        self.shape = shape
        config = shape.config
        slot = range(config.list_size)
        slots = data.ArrayLayout(slot, config.list_size)
        super().__init__(
            {
                "instruction": In(instruction(shape)),
                "beta": In(data.ArrayLayout(config.leaf, config.list_size)),
                "pointers": In(data.ArrayLayout(slots, shape.row_level)),
                "sums_select": In(slots),
                "half": In(1),
                "rows": Out(data.ArrayLayout(config.pes, config.list_size)),
                "row_enable": In(1),
                "row_half": In(1),
                "row_bank": In(slot),
                "row_address": In(range(shape.rows)),
                "row": Out(config.pes),
            }
        )
        self.pointers: data.View
        """[row_level, list_size]: the banks of the left children of each level below."""
        self.sums_select: data.View
        """[list_size]: the bank of the instruction's ``sums_level``."""

    def elaborate(self, platform) -> Module:
        m = Module()
        shape, config, now = self.shape, self.shape.config, self.instruction
        below = Signal()  # the row is stored as a left child in registers
        m.d.comb += below.eq(now.level < shape.row_level)
        lefts = [self._left(m, j, now.store & (now.level == j)) for j in range(shape.row_level)]
        sums = self._memories(m, now.store & ~below)
        # With only one or two levels of rows no row has two of them to add.
        accumulates = shape.levels - shape.row_level > 2
        for slot in range(config.list_size):
            chosen = _choose(sums, self.sums_select[slot])
            added = Mux(now.sums, chosen, 0)
            if accumulates:
                term = Signal(config.pes, name=f"term{slot}")
                accumulator = Signal(config.pes, name=f"accumulator{slot}", reset_less=True)
                m.d.comb += term.eq(added ^ Mux(now.accumulated, accumulator, 0))
                with m.If(now.accumulate):
                    m.d.sync += accumulator.eq(term)
                added = term
            m.d.comb += self.rows[slot].eq(self._chain(m, slot, lefts) ^ added)
        return m

    def _left(self, m: Module, level: int, store: Value) -> list[Value]:
        """What each slot's chain takes of the left children of a level: 0 where not in it."""
        count = self.shape.config.list_size
        banks = [Signal(1 << level, name=f"left{level}_{b}", reset_less=True) for b in range(count)]
        with m.If(store):
            m.d.sync += [bank.eq(self.rows[slot]) for slot, bank in enumerate(banks)]
        return [
            Mux(self.instruction.chain[level], _choose(banks, self.pointers[level][slot]), 0)
            for slot in range(count)
        ]

    def _chain(self, m: Module, slot: int, lefts: list[list[Value]]) -> Value:
        """The leaf's bits and those of ``chain`` added to them."""
        beta, base = self.beta[slot], self.instruction.base
        word = beta[:1]
        for level in range(self.shape.leaf_level):
            word = Cat(word, Mux(base > level, beta[1 << level : 2 << level], word))
        leaf = Signal(self.shape.config.pes, name=f"leaf{slot}")
        m.d.comb += leaf.eq(word.replicate(self.shape.config.pes // len(word)))
        return leaf ^ reduce(xor, (_spread(left[slot], self.shape.config.pes) for left in lefts))

    def _memories(self, m: Module, store: Value) -> list[Value]:
        """Each bank's row ``sums_row``; the second port, too."""
        shape, config, now = self.shape, self.shape.config, self.instruction
        shown = []
        for bank in range(config.list_size):
            # Of each memory two copies: the second one is read at any time, and as a block
            # RAM gives 0 for free where its bank is not meant.
            m.submodules[f"rows{bank}"] = rows = Memory(
                shape=config.pes, depth=2 * shape.rows, init=[]
            )
            m.submodules[f"copy{bank}"] = copy = Ram(
                config.pes, 2 * shape.rows, collides=False, clear=True, block=True
            )
            read, write = rows.read_port(domain="comb"), rows.write_port()
            address = Cat(now.store_row, self.half)
            m.d.comb += [
                read.addr.eq(Cat(now.sums_row, self.half)),
                write.en.eq(store),
                write.addr.eq(address),
                write.data.eq(self.rows[bank]),
                copy.write_en.eq(store),
                copy.write_addr.eq(address),
                copy.write_data.eq(self.rows[bank]),
                copy.read_en.eq(self.row_enable),
                copy.read_addr.eq(Cat(self.row_address, self.row_half)),
                copy.read_clear.eq(self.row_bank != bank),
            ]
            shown.append((read.data, copy.read_data))
        m.d.comb += self.row.eq(reduce(xor, (copy for _, copy in shown)))
        return [value for value, _ in shown]


def _choose(values: list[Value], index: Value) -> Value:
    """The value of this index, of a power of two of them."""
    for bit in index:
        values = [Mux(bit, high, low) for low, high in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def _spread(left: Value, width: int) -> Value:
    """What a left child adds to each bit of a row: nothing to those of right ones."""
    return Cat(left, left & 0).replicate(width // (2 * len(left)))
