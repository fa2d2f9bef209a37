"""Positions of a word in the order of reliability, least reliable first, one a cycle.

Nothing is sorted beforehand: most words are mended by their first few ranks.  A value counts
up from 0; all positions are compared with it at once, and those that have it, a *bucket*,
leave by ascending index.
"""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out
from numpy.typing import ArrayLike, NDArray

from ...models.grand.config import GrandConfig
from ..lib.arith import find_first

FIRST = 4
"""Cycles from the transfer of a word's last row to its first rank, if that is of reliability 0."""


def emission(reliabilities: ArrayLike, taken: ArrayLike = 0) -> NDArray[np.int64]:
    """When each rank is transferred, in cycles after the transfer of the word's last row.

    ``reliabilities``, ``[..., ranks]``: those of the first ranks, ascending.  The first one is
    transferred in cycle ``taken``, ``[...]``, or once it is there, any other once it is there.
    Rank w stands on ``o`` from cycle d[w] on and is transferred in t[w], the first cycle from
    then on in which ``o`` is ready::

        d[1] = FIRST + r[1]
        d[w + 1] = max(t[w] + 1, d[w] + max(1, r[w + 1] - r[w]))
    """
    r = np.asarray(reliabilities, dtype=np.int64)
    first = FIRST + r[..., :1]
    at = np.maximum(first, np.expand_dims(taken, -1))
    steps = np.maximum(np.diff(r, axis=-1), 1)
    late = np.maximum(at + 1 - first - steps[..., :1], 0)
    return np.concatenate([at, first + np.cumsum(steps, axis=-1) + late], axis=-1)


class Ranker(Component):
    """Takes the rows of one word and delivers its positions by (reliability, index).

    Reliability: an LLR's bits below the sign, each XOR the sign.  A word has up to
    ``config.beats`` rows of ``config.lanes`` LLRs, ``last`` with its last one; rows that are
    not sent count as largest LLRs.  Then no row is taken until ``clear``.

    ``o`` gives all ``config.length`` positions, then nothing; :func:`emission` says when.

    ``clear`` forgets the word.  In its cycle nothing is transferred (it leads to
    ``llrs.ready`` and ``o.valid``), in the next one a row may be.
    """

    def __init__(self, config: GrandConfig):
        self.config = config
        llrs = data.ArrayLayout(signed(config.llr_bits), config.lanes)
        super().__init__(
            {
                "llrs": In(stream.Signature(data.StructLayout({"llrs": llrs, "last": 1}))),
                "clear": In(1),
                "o": Out(stream.Signature(range(config.length))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        complete = Signal()  # all rows are there
        llrs = self._rows(m, complete)

        # Stage 1: the positions that agree with `value` in all but the `low` bits.  To compare in
        # two steps takes fewer LUTs: mapped as one, the comparison is made for speed.
        value = Signal(c.llr_bits)  # its top bit means that all were
        agree = Signal(c.length)
        low = Signal(min(2, c.llr_bits - 1))
        equal = Signal(c.length)
        # Stage 2: a bucket, and those of its groups of positions that have not left yet.
        size = 1 << (c.length.bit_length() // 2)
        bucket = Signal(c.length, reset_less=True)
        waiting = Signal(-(-c.length // size))
        final = Signal()  # no other bucket comes
        # Stage 3: the group that leaves now, and what is left of it.
        leaving = Signal(size, reset_less=True)
        group = Signal(range(len(waiting)), reset_less=True)
        valid = Signal()

        take, over, free, advance = Signal(), Signal(), Signal(), Signal()
        lowest, position = find_first(waiting), find_first(leaving)
        m.d.comb += [
            equal.eq(
                Cat(_agrees(llr, 0, low, upper) for llr, upper in zip(llrs, agree, strict=True))
            ),
            self.o.valid.eq(valid & ~self.clear),
            self.o.payload.eq(Cat(position.index, group)),
            take.eq(self.o.ready | ~valid),
            over.eq(~valid | ~_several(leaving)),
            free.eq(take & over),
            # Past empty buckets also while the last rank of the one before stands on `o`.
            advance.eq(~final & Mux(waiting.any(), free & ~_several(waiting), over)),
        ]
        with m.If(take):
            m.d.sync += leaving.eq(leaving & ~position.one_hot)
        with m.If(free):
            m.d.sync += [
                leaving.eq(bucket.word_select(lowest.index, size)),
                group.eq(lowest.index),
                valid.eq(waiting.any()),
                waiting.eq(waiting & ~lowest.one_hot),
            ]
        with m.If(advance):
            m.d.sync += [
                agree.eq(Cat(_agrees(llr, len(low), value[len(low) : -1]) for llr in llrs)),
                low.eq(value),
                bucket.eq(equal),
                waiting.eq(Cat(equal[k : k + size].any() for k in range(0, c.length, size))),
                final.eq(value[-1]),
            ]
        with m.If(advance & complete):
            m.d.sync += value.eq(value + 1)
        with m.If(~complete | self.clear):
            m.d.sync += agree.eq(0)
        with m.If(self.clear):
            m.d.sync += [state.eq(0) for state in (value, waiting, final, valid)]
        return m

    def _rows(self, m: Module, complete: Signal) -> list[Signal]:
        """Takes the rows; the LLR of each position."""
        c = self.config
        row = Signal(range(c.beats))
        take = Signal()
        m.d.comb += [
            self.llrs.ready.eq(~complete & ~self.clear),
            take.eq(self.llrs.valid & self.llrs.ready),
        ]
        with m.If(take):
            m.d.sync += [row.eq(row + 1), complete.eq(self.llrs.p.last)]
        with m.If(self.clear):
            m.d.sync += [row.eq(0), complete.eq(0)]
        largest = (1 << (c.llr_bits - 1)) - 1
        llrs = []
        for position in range(c.length):
            number, lane = divmod(position, c.lanes)
            llr = Signal(signed(c.llr_bits), name=f"llr_{position}", reset_less=True)
            with m.If(take & (row == number)):
                m.d.sync += llr.eq(self.llrs.p.llrs[lane])
            if number:
                with m.If(take & (row == 0)):
                    m.d.sync += llr.eq(largest)
            llrs.append(llr)
        return llrs


def _agrees(llr: Value, start: int, value: Value, also: Value | None = None) -> Value:
    """Whether ``llr``'s reliability has the bits ``value`` from bit ``start`` on; ``also`` holds.

    As a chain: Yosys maps it to fewer LUTs than a comparison of numbers.
    """
    result = Const(1) if also is None else also
    for a, b in zip(llr[start:-1], value, strict=False):
        result = result & (a ^ llr[-1] ^ ~b)
    return result


def _several(mask: Value) -> Value:
    """Whether more than one bit of ``mask`` is set."""
    pairs = [(bit, Const(0)) for bit in mask]
    while len(pairs) > 1:
        joined = [
            (a | b, more_a | more_b | (a & b))
            for (a, more_a), (b, more_b) in zip(pairs[::2], pairs[1::2], strict=False)
        ]
        pairs = joined + pairs[2 * len(joined) :]
    return pairs[0][1]
