"""Sums of constant tables: one look-up in each, and all of them added, every cycle."""

from typing import NamedTuple

import numpy as np
from amaranth.hdl import Module, Shape, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from ..lib.fixed import fit, narrowest
from .schedule import schedule


class Lookup(Component):
    """``sums[m] = bias[m] + sum over c of tables[c, codes[c], m]``, ``latency`` cycles later.

    Exact; all ``sums`` have the shape that the widest needs.  Tables are taken relative to the
    minima of their columns, which leaves them unsigned and narrow, and nothing of a column that is
    constant; what is taken away goes with the bias into the first table of each output.  A bit of
    a table and the bit of the adder that takes it are one look-up table where that has inputs for
    the code and one more; :mod:`.schedule` says when tables are added.

    ``tables`` are integers [codebooks, K, outputs], ``bias`` [outputs].  ``max_latency`` is what
    the adders may take, by default 3 + ceil(log2 codebooks) cycles; the more, the fewer look-up
    tables.  While ``en`` is low everything stands still.

    Raises :class:`ValueError` where ``max_latency`` is too short.
    """

    def __init__(self, tables: np.ndarray, bias: np.ndarray, max_latency: int | None = None):
        books, prototypes, outputs = tables.shape
        least = tables.min(axis=1)
        self._tables = tables - least[:, None]
        self._most = self._tables.max(axis=1)
        self._bias = bias + least.sum(axis=0)
        default = 3 + (books - 1).bit_length()
        self._schedule = schedule(books, default if max_latency is None else max_latency)
        # Small tables first, so that sums grow late.
        order = np.argsort(self._most.sum(axis=1), kind="stable").tolist()
        self._books = dict(zip(self._schedule.slots, order, strict=True))
        self.latency = self._schedule.latency
        low, high = int(self._bias.min()), int((self._bias + self._most.sum(axis=0)).max())
        super().__init__(
            {
                "en": In(1, init=1),
                "codes": In(data.ArrayLayout((prototypes - 1).bit_length(), books)),
                "sums": Out(data.ArrayLayout(narrowest(low, high, low < 0), outputs)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        depths = list(self._schedule.depths)
        numbers = list(range(len(depths)))
        chains: list[_Row] = [[None] * len(self.sums) for _ in depths]
        codes = dict(enumerate(self.codes))
        offsets = self._offsets()
        for cycle in range(1, self.latency + 1):
            # Chains deeper than what the tree has left to do meet, the others take a table.
            left = self.latency - cycle
            meeting = sum(depth > left for depth in depths)
            added: list[_Row] = [
                [_both(a, b) for a, b in zip(*pair, strict=True)]
                for pair in zip(chains[0:meeting:2], chains[1:meeting:2], strict=True)
            ]
            for number, chain in zip(numbers[meeting:], chains[meeting:], strict=True):
                book = self._books.get((cycle, number))
                if book is not None:
                    words = self._words(m, book, codes.pop(book), offsets[cycle, number])
                    chain = [_with_table(a, w) for a, w in zip(chain, words, strict=True)]
                added.append(chain)
            numbers = numbers[: meeting // 2] + numbers[meeting:]
            depths = [left] * (meeting // 2) + depths[meeting:]
            chains = [
                self._registers(m, row, f"sum_{cycle}_{number}")
                for row, number in zip(added, numbers, strict=True)
            ]
            codes = self._delayed(m, codes, cycle)
        for out, total, bias in zip(self.sums, chains[0], self._bias.tolist(), strict=True):
            m.d.comb += out.eq(bias if total is None else total.value)
        return m

    def _offsets(self) -> dict[tuple[int, int], np.ndarray]:
        """By slot, what each output's table of that slot takes with it.

        The first table of an output takes its bias, and minus 1 for each adder of a table to come
        (:func:`_with_table`).
        """
        counts = self._most > 0
        offset, offsets = self._bias - counts.sum(axis=0), {}
        for chain in range(len(self._schedule.depths)):
            books = [book for (_, of), book in self._books.items() if of == chain]
            offset += counts[books].any(axis=0)  # a chain's first table takes no adder
        waits = np.ones(len(offset), bool)
        for slot, book in self._books.items():
            offsets[slot] = np.where(waits & counts[book], offset, 0)
            waits &= ~counts[book]
        return offsets

    def _words(self, m: Module, book: int, code: Value, offsets: np.ndarray) -> "_Row":
        """What each output looks up, ``offsets`` added; None where there is nothing to add."""
        entries = self._tables[book] + offsets
        words: _Row = [None] * len(offsets)
        rows, width = [0] * len(entries), 0
        places = []
        for output in np.flatnonzero(self._most[book]).tolist():
            column = entries[:, output].tolist()
            low, high = min(column), max(column)
            shape = narrowest(low, high, low < 0)
            mask = (1 << shape.width) - 1
            rows = [row | (entry & mask) << width for row, entry in zip(rows, column, strict=True)]
            places.append((output, low, high, shape, width))
            width += shape.width
        if not width:
            return words
        m.submodules[f"table_{book}"] = memory = Memory(shape=width, depth=len(rows), init=rows)
        read = memory.read_port(domain="comb")
        m.d.comb += read.addr.eq(code)
        for output, low, high, shape, start in places:
            words[output] = _Sum(fit(read.data[start:][: shape.width], shape), low, high)
        return words

    def _registers(self, m: Module, row: "_Row", name: str) -> "_Row":
        registers: _Row = []
        loads = []
        for number, total in enumerate(row):
            if total is None:
                registers.append(None)
                continue
            shape = narrowest(total.low, total.high, total.low < 0)
            register = Signal(shape, name=f"{name}_{number}", reset_less=True)
            loads.append(register.eq(total.value))
            registers.append(total._replace(value=register))
        with m.If(self.en):
            m.d.sync += loads
        return registers

    def _delayed(self, m: Module, codes: dict[int, Value], cycle: int) -> dict[int, Value]:
        # With a reset: a shift register would take as many look-up tables as bits.
        delayed = {
            book: Signal(len(code), name=f"code_{book}_{cycle}") for book, code in codes.items()
        }
        with m.If(self.en):
            m.d.sync += [register.eq(codes[book]) for book, register in delayed.items()]
        return dict(delayed)


class _Sum(NamedTuple):
    """A partial sum and its range."""

    value: Value
    low: int
    high: int


_Row = list[_Sum | None]
"""Of each output; None: nothing yet."""


def _both(a: _Sum | None, b: _Sum | None) -> _Sum | None:
    if a is None or b is None:
        return a or b
    return _Sum(a.value + b.value, a.low + b.low, a.high + b.high)


def _with_table(total: _Sum | None, word: _Sum | None) -> _Sum | None:
    """Their sum and 1 more, ``total - ~word``.

    Both operands' bits decide about the sum, but only those of the first about the carry.  Yosys
    makes the narrower operand of an addition the first one, but leaves a subtraction's where they
    are: so the table is read once a bit, and not twice.
    """
    if total is None or word is None:
        return total or word
    low, high = total.low + word.low + 1, total.high + word.high + 1
    shape = narrowest(low, high, low < 0)
    bits = Shape(shape.width)
    value = fit(total.value, shape).as_unsigned() - ~fit(word.value, bits)
    return _Sum(fit(value.as_unsigned(), shape), low, high)
