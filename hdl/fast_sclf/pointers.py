"""In which bank each path's LLRs and partial sums lie.

A slot writes its own bank alone.  When paths change slots the memories stay as they are, and
pointers of every level follow the paths instead.
"""

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from .layout import instruction
from .shape import Shape


class Pointers(Component):
    """For each level and slot the bank of the path's LLRs and left child's partial sums there.

    ``now`` is this cycle's instruction, ``next`` the next cycle's, which while ``held`` is this
    one again (without flags, now).  With the end of the cycle

    * of a split, slot i takes the pointers of the slot that ``parent[i]`` tells, one-hot;
    * of f or g, those of the results' level all point to the slot's own bank.

    No instruction is both; outside of splits ``parent`` is 0.  Nothing is read of a level before
    f or g write it, so that a decoding need not begin with anything.

    All outputs are registers.  ``select``: where ``next`` has its source LLRs, one level above
    its results, 0 with ``channel``, and ``lower`` where that has bit 1 clear; ``sums_select``: of
    its ``sums_level``;
    ``pointers`` and ``sums_pointers``: of each level below ``row_level`` and from there on.
    """

    now: Any
    next: Any
    held: Any
    parent: Any
    select: Any
    lower: Any
    sums_select: Any
    pointers: Any
    sums_pointers: Any

    def __init__(self, shape: Shape):
        self.shape = shape
        lists = shape.config.list_size
        slots = data.ArrayLayout(range(lists), lists)
        super().__init__(
            {
                "now": In(instruction(shape)),
                "next": In(instruction(shape)),
                "held": In(1),
                "parent": In(data.ArrayLayout(lists, lists)),
                "select": Out(slots),
                "lower": Out(lists),
                "sums_select": Out(slots),
                "pointers": Out(data.ArrayLayout(slots, shape.row_level)),
                "sums_pointers": Out(data.ArrayLayout(slots, shape.levels - shape.row_level)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        shape, now, next = self.shape, self.now, self.next
        lists = shape.config.list_size
        levels = [
            [Signal(range(lists), name=f"level{level}_{slot}") for slot in range(lists)]
            for level in range(shape.levels)
        ]
        for level, banks in enumerate(levels):
            with m.If(now.split):
                m.d.sync += [bank.eq(self._follow(banks, slot)) for slot, bank in enumerate(banks)]
            with m.If(now.pe & (now.level == level)):
                m.d.sync += [bank.eq(slot) for slot, bank in enumerate(banks)]
        shown = [*self.pointers, *self.sums_pointers]
        for level, banks in enumerate(levels):
            for slot, bank in enumerate(banks):
                m.d.comb += shown[level][slot].eq(bank)
        select = self._coming(m, levels, 1, next.level, ~next.channel)
        sums_select = self._coming(m, levels, shape.row_level, next.sums_level, Const(1))
        with m.If(~self.held):
            m.d.sync += [
                self.select.eq(Cat(select)),
                self.lower.eq(Cat(bank[1:2] == 0 for bank in select)),
                self.sums_select.eq(Cat(sums_select)),
            ]
        return m

    def _coming(
        self, m: Module, levels: list[list[Signal]], first: int, index: Value, reads: Value
    ) -> list[Value]:
        """What ``levels[first + index]`` will be, 0 unless ``reads``.

        The late ``parent`` is the last to count.
        """
        now, levels = self.now, levels[first:]
        here = ((now.level == first + i) & (index == i) for i in range(len(levels)))
        written = reads & Cat(here).any()  # the level that is read next
        coming = []
        banks = [Signal.like(bank, name=f"bank{slot}") for slot, bank in enumerate(levels[0])]
        for slot, bank in enumerate(banks):
            m.d.comb += bank.eq(Mux(reads, _pick([level[slot] for level in levels], index), 0))
        for slot, bank in enumerate(banks):
            stays = Signal.like(bank, name=f"stays{slot}")
            m.d.comb += stays.eq(Mux(now.split, 0, Mux(now.pe & written, slot, bank)))
            coming.append(self._follow(banks, slot) | stays)
        return coming

    def _follow(self, banks: list[Signal], slot: int) -> Value:
        chosen = zip(self.parent[slot], banks, strict=True)
        return reduce(or_, (bank & parent.replicate(len(bank)) for parent, bank in chosen))


def _pick(values: list[Value], index: Value) -> Value:
    """``values[index]``, any of them where there are not as many."""
    for bit in index:
        if len(values) > 1:
            odd = values[1::2] if len(values) % 2 == 0 else [*values[1::2], values[-1]]
            values = [Mux(bit, b, a) for a, b in zip(values[::2], odd, strict=True)]
    return values[0]
