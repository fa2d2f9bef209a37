"""Entries of one step after the other in, those of many steps in a beat out."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.config import NmConfig
from ..lib.memory import Ram


class Transpose(Component):
    """Makes beats of the backward operand (:func:`thresher.models.nm.update_cycles.backward_tile`).

    A tile of T steps, each of A words of w entries, becomes A beats of T * w = E entries.  Entry j
    of word a of step t lies in bank ``(row + t) * w + j`` modulo E, in a row for each a: the
    entries of a step are in different banks, and so are those of a beat.  So a step is turned by
    its number before it is written, and a beat is turned back.

    ``valid``
        There is a step: the selected entries in ``sparse`` or those of a dense operand in
        ``dense``, of which L / E cycles from there on each take E, where L > E.
    ``o``
        Beats of E entries, one a cycle.
    ``flow``, ``is_sparse``
        The kind of operand: ``flow`` is 1 where it is output-stationary.  They change with
        ``clear`` alone, when nothing is inside.

    There is room for ``ahead`` steps beyond a tile whose beats have not all left.
    """

    latency = 4
    """Cycles from the last ``valid`` of a tile (of L / E for a dense one) to its first beat."""

    def __init__(self, config: NmConfig, ahead: int):
        self.config = config
        rows = config.lanes + -(-config.lanes * ahead // config.beat_entries)
        self._row_bits = (rows - 1).bit_length()
        self._index_bits = (config.beat_entries - 1).bit_length()
        entry = config.entry_bits
        super().__init__(
            {
                "flow": In(1),
                "is_sparse": In(1),
                "clear": In(1),
                "valid": In(1),
                "sparse": In(data.ArrayLayout(entry, config.lanes * config.kept // config.group)),
                "dense": In(data.ArrayLayout(entry, config.lanes)),
                "o": Out(stream.Signature(data.ArrayLayout(entry, config.beat_entries))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c, o = self.config, self.o
        banks = []
        for b in range(c.beat_entries):
            m.submodules[f"bank_{b}"] = bank = Ram(
                c.entry_bits, 1 << self._row_bits, collides=False
            )
            banks.append(bank)
        written = self._write(m, banks)

        read = Signal.like(written)
        moves, there = Signal(), Signal()
        turned = Signal(self._index_bits, reset_less=True)
        m.d.comb += moves.eq(o.ready | ~o.valid)
        for bank in banks:
            m.d.comb += [bank.read_en.eq(moves), bank.read_addr.eq(read)]
        stored = Cat(bank.read_data for bank in banks)
        for bit in range(self._index_bits):
            by = c.entry_bits << bit
            stored = _chosen(m, f"back_{bit}", turned[bit], Cat(stored[by:], stored[:by]), stored)
        with m.If(moves):
            m.d.sync += [
                there.eq(read != written),
                read.eq(read + (read != written)),
                turned.eq(self._entries(read)),
                o.valid.eq(there),
                o.payload.as_value().eq(stored),
            ]
        with m.If(self.clear):
            m.d.sync += read.eq(0)
        return m

    def _entries(self, words: Value) -> Value:
        """Entries that so many words are, modulo E."""
        shift = self.config.kept.bit_length() - 1
        wide = Cat(words, Const(0, self._index_bits))
        return Mux(self.flow, wide, wide << shift)[: self._index_bits]

    def _write(self, m: Module, banks: list[Ram]) -> Signal:
        """Rows of the tiles that are complete, one bit more than an address has."""
        c = self.config
        width, shift = c.beat_entries, c.kept.bit_length() - 1
        parts = max(1, c.lanes // width)
        part, step = Signal(range(parts)), Signal(self._index_bits)
        first = Signal(self._row_bits + 1)  # row of the tile
        active, ends, complete = Signal(), Signal(), Signal()
        some = len(self.sparse.as_value()) // c.entry_bits
        lines = Mux(
            self.flow, Mux(self.is_sparse, some, c.lanes),
            Mux(self.is_sparse, some >> shift, c.lanes >> shift),
        )  # fmt: skip
        m.d.comb += [
            active.eq(self.valid | part.any()),
            ends.eq(active & (self.is_sparse | (part == parts - 1))),
            complete.eq(ends & (step == Mux(self.flow, width - 1, (width >> shift) - 1))),
        ]
        with m.If(active):
            m.d.sync += part.eq(Mux(ends, 0, part + 1))
        with m.If(ends):
            m.d.sync += step.eq(Mux(complete, 0, step + 1))
        with m.If(complete):
            m.d.sync += first.eq(first + lines)

        turn = Signal(self._index_bits)
        m.d.comb += turn.eq(self._entries((first + step)[: self._row_bits + 1]))
        bits = width * c.entry_bits
        taken = Mux(
            self.is_sparse,
            self.sparse.as_value(),
            self.dense.as_value().word_select(part, bits),
        )[:bits]
        for bit in range(self._index_bits):
            by = c.entry_bits << bit
            taken = _chosen(m, f"turn_{bit}", turn[bit], Cat(taken[-by:], taken[:-by]), taken)
        for b, bank in enumerate(banks):
            entry = Signal(self._index_bits, name=f"entry_{b}")  # which of the step's is for b
            word = Cat(Mux(self.flow, entry, entry >> shift), Const(0, self._row_bits))
            row = word + Mux(self.flow, part * width, part * (width >> shift))
            en = Signal(name=f"en_{b}")
            address = Signal(self._row_bits, name=f"row_{b}", reset_less=True)
            value = Signal(c.entry_bits, name=f"value_{b}", reset_less=True)
            m.d.comb += [
                entry.eq(b - turn),
                bank.write_en.eq(en),
                bank.write_addr.eq(address),
                bank.write_data.eq(value),
            ]
            m.d.sync += [
                en.eq(active & (~self.is_sparse | (entry < some))),
                address.eq(first | row),  # the tile starts at a multiple of its rows
                value.eq(taken.word_select(b, c.entry_bits)),
            ]
        written = Signal.like(first)  # a cycle later, as rows are
        m.d.sync += written.eq(first)
        with m.If(self.clear):
            m.d.sync += [first.eq(0), written.eq(0)]
        return written


def _chosen(m: Module, name: str, condition: Value, a: Value, b: Value) -> Signal:
    """Named, so that it is emitted once however often it is used."""
    signal = Signal(len(b), name=name)
    m.d.comb += signal.eq(Mux(condition, a, b))
    return signal
