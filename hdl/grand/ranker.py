"""Positions of a word in the order of reliability, least reliable first, one a cycle.

Nothing is sorted beforehand: most words are mended by their first few ranks.  A value counts
up from 0; all positions are compared with it at once, and those that equal it, a *bucket*,
leave by ascending index.
"""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out
from numpy.typing import NDArray

from ...models.grand.config import GrandConfig
from ..lib.arith import find_first

FIRST = 4
"""Cycles from the transfer of a word's last row to its first rank, if that is of reliability 0."""


def emission(
    reliabilities: NDArray[np.integer], taken: NDArray[np.integer] | int = 0
) -> NDArray[np.int64]:
    """When each rank is transferred, in cycles after the transfer of the word's last row.

    ``reliabilities``, ``[..., ranks]``: those of the first ranks, ascending.  The first rank is
    transferred in cycle ``taken``, ``[...]``, or as soon as it is there; from then on ``o`` is
    ready.  Between d and t rank w stands on ``o``::

        d[1] = FIRST + r[1]                 d[w + 1] = max(d[w] + max(1, r[w + 1] - r[w]), t[w] + 1)
        t[w] = the first cycle from d[w] on in which o is ready

    so that t[w + 1] = d[w + 1] for an ``o`` that is ready then.
    """
    r = np.asarray(reliabilities, dtype=np.int64)
    there = np.cumsum(np.maximum(np.diff(r, axis=-1, prepend=0), 1), axis=-1)
    there += FIRST - np.maximum(1 - r[..., :1], 0)
    late = np.maximum(np.expand_dims(taken, -1) - there[..., :1], 0)
    # A rank late, the second one is there already where it is of another bucket.
    gap = np.maximum(there[..., 1:2] - there[..., :1] - 1, 0)
    return np.concatenate([there[..., :1] + late, there[..., 1:] + np.maximum(late - gap, 0)], -1)


class Ranker(Component):
    """Takes the rows of one word and delivers its positions by (reliability, index).

    Reliability: an LLR's bits below the sign, each XOR the sign.  A word has
    ``config.beats`` rows of ``config.lanes`` LLRs, or fewer: ``last`` marks its last one, and
    rows that are not sent count as largest LLRs.  After ``last`` no row is taken until
    ``clear``.

    ``o`` gives all ``config.length`` positions, then falls silent.  :func:`emission` says
    when.

    ``clear`` forgets the word: in its cycle nothing is transferred on either stream (it
    holds back ``llrs.ready`` and ``o.valid`` by combinational paths), in the next one a row
    may be.
    """

    def __init__(self, config: GrandConfig):
        self.config = config
        llr = data.StructLayout(
            {"llrs": data.ArrayLayout(signed(config.llr_bits), config.lanes), "last": 1}
        )
        super().__init__(
            {
                "llrs": In(stream.Signature(llr)),
                "clear": In(1),
                "o": Out(stream.Signature(range(config.length))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.config
        size = 1 << (c.length.bit_length() // 2)  # positions of a group, a power of two
        groups = -(-c.length // size)

        complete = Signal()  # all rows are there
        llrs = self._rows(m, complete)

        # Stage 1: which positions equal `value`, whose top bit means that all values were.
        value = Signal(c.llr_bits)
        equal = Signal(c.length)
        # Stage 2: a bucket, and its groups that have not left yet; no bucket where none.
        bucket = Signal(c.length)
        waiting = Signal(groups)
        # Stage 3: the group that leaves now, what is left of it.
        leaving = Signal(size)
        group = Signal(range(groups))
        valid = Signal()

        walking, take, free, advance = Signal(), Signal(), Signal(), Signal()
        first = find_first(waiting)
        lowest = find_first(leaving)
        over = ~_several(leaving)
        m.d.comb += [
            walking.eq(complete & ~value[-1]),
            self.o.valid.eq(valid & ~self.clear),
            self.o.payload.eq(Cat(lowest.index, group)),
            take.eq(self.o.ready | ~valid),
            free.eq(take & over),
            # Past empty buckets also while the last rank of the one before waits.
            advance.eq(Mux(waiting.any(), free & ~_several(waiting), over)),
        ]
        with m.If(advance):
            m.d.sync += [
                equal.eq(Cat(_equals(llr, value[:-1]) for llr in llrs)),
                bucket.eq(equal),
                waiting.eq(Cat(equal[k : k + size].any() for k in range(0, c.length, size))),
                value.eq(value + walking),
            ]
        with m.Elif(free):
            m.d.sync += waiting.eq(waiting & ~first.one_hot)
        with m.If(take):
            m.d.sync += leaving.eq(leaving & ~lowest.one_hot)
        with m.If(free):
            m.d.sync += [
                leaving.eq(bucket.word_select(first.index, size)),  # none of an empty bucket
                group.eq(first.index),
                valid.eq(waiting.any()),
            ]
        with m.If(advance & ~walking):
            m.d.sync += equal.eq(0)
        with m.If(self.clear):
            m.d.sync += [s.eq(0) for s in (value, equal, bucket, waiting, leaving, valid)]
        return m

    def _rows(self, m: Module, complete: Signal) -> list[Value]:
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
            llr = Signal(signed(c.llr_bits), name=f"llr{position}", reset_less=True)
            with m.If(take & (row == number)):
                m.d.sync += llr.eq(self.llrs.p.llrs[lane])
            if number:
                with m.If(take & (row == 0)):
                    m.d.sync += llr.eq(largest)
            llrs.append(llr)
        return llrs


def _equals(llr: Value, value: Value) -> Value:
    """Whether the reliability of ``llr`` is ``value``."""
    return (llr[:-1] ^ value) == llr[-1].replicate(len(value))


def _several(mask: Value) -> Value:
    """Whether more than one bit of ``mask`` is set."""
    pairs = [(bit, Const(0)) for bit in mask]
    while len(pairs) > 1:
        joined = [
            (low | high, more | most | (low & high))
            for (low, more), (high, most) in zip(pairs[::2], pairs[1::2], strict=False)
        ]
        pairs = joined + pairs[2 * len(joined) :]
    return pairs[0][1]
