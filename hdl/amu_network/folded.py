# amaranth: UnusedElaboratable=no
"""Sums of tables in turn, where pixels come slowly enough for adders to be shared."""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ..amu.lookup import Lookup
from ..lib.fixed import fit, narrowest
from .flow import Flow, Tags


class Folded(Component):
    """``o[m] = bias[m] + sum over c of tables[c, i[c], m]``, ``latency`` cycles later.

    Adders are shared over ``folds`` cycles, or fewer if that does as well: in the n-th, the n-th
    group of codes is looked up, in tables that hold all groups' entries one behind the other, and
    added to what the groups before gave.  Pixels come no less than ``folds`` cycles apart.

    ``tables`` are integers [codebooks, K, outputs], ``bias`` [outputs].
    """

    def __init__(self, tables: np.ndarray, bias: np.ndarray, folds: int):
        books, prototypes, outputs = tables.shape
        self._group = -(-books // folds)
        self.folds = -(-books // self._group)
        self._code = (prototypes - 1).bit_length()
        least, most = tables.min(axis=1).sum(axis=0), tables.max(axis=1).sum(axis=0)
        low, high = int((bias + least).min()), int((bias + most).max())
        grouped, self._bias = _grouped(tables, bias, self.folds, self._group)
        self._lookup = Lookup(grouped, np.zeros(outputs, np.int64))
        self.latency = 1 + self._lookup.latency + self.folds
        codes = data.ArrayLayout(self._code, books)
        sums = data.ArrayLayout(narrowest(low, high, low < 0), outputs)
        super().__init__({"i": In(Flow(codes)), "o": Out(Flow(sums))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.lookup = lookup = self._lookup
        # When a pixel's first group is added to the bias, and when its last one has been added.
        m.submodules.begins = begins = Tags(1 + lookup.latency)
        m.submodules.ends = ends = Tags(self.folds)
        width = self._group * self._code
        held = Signal(self.folds * width, reset_less=True)
        group = Signal(range(self.folds), reset_less=True)
        m.d.sync += [
            held.eq(Mux(self.i.valid, Value.cast(self.i.payload), held[width:])),
            group.eq(Mux(self.i.valid, 0, group + 1)),
        ]
        m.d.comb += [
            code.eq(Cat(held.word_select(n, self._code), group))
            for n, code in enumerate(lookup.codes)
        ]
        m.d.comb += [
            begins.i.valid.eq(self.i.valid),
            begins.i.first.eq(self.i.first),
            ends.i.valid.eq(begins.o.valid),
            ends.i.first.eq(begins.o.first),
            self.o.valid.eq(ends.o.valid),
            self.o.first.eq(ends.o.first),
        ]
        # Sums before the last may exceed the range; they wrap, and the last one fits again.
        for total, term, bias in zip(self.o.payload, lookup.sums, self._bias, strict=True):
            shape = total.shape()
            m.d.sync += total.eq(fit(Mux(begins.o.valid, int(bias), total) + term, shape))
        return m


def _grouped(
    tables: np.ndarray, bias: np.ndarray, folds: int, group: int
) -> tuple[np.ndarray, np.ndarray]:
    """Tables [group, groups times K, outputs], the number of groups a power of two, and the bias.

    Entries of codebooks that there are not are the least of their column, which makes no table
    wider, and the bias takes back those that are added.
    """
    books, prototypes, outputs = tables.shape
    rows = 1 << (folds - 1).bit_length()
    filled = np.zeros((rows * group, prototypes, outputs), np.int64)
    there = np.arange(rows * group) < books
    filled[:books] = tables
    filled, there = (a.reshape(rows, group, *a.shape[1:]) for a in (filled, there))
    far = np.iinfo(np.int64).max
    least = np.where(there[:, :, None, None], filled, far).min(axis=(0, 2))
    filled = np.where(there[:, :, None, None], filled, least[:, None])
    missing = (~there[:folds]).sum(axis=0)
    grouped = filled.transpose(1, 0, 2, 3).reshape(group, rows * prototypes, outputs)
    return grouped, bias - (missing[:, None] * least).sum(axis=0)
