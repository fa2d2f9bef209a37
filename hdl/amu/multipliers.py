"""The rival: an exact product with constant weights, as small as the same look-up tables do it."""

from typing import NamedTuple

import numpy as np
from amaranth.hdl import Cat, Module, Shape, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.amu.layer import Format
from ..lib.fixed import narrowest
from .encoder import CHAIN
from .lookup import Lookup
from .schedule import schedule


class Multipliers(Component):
    """``y[m] = bias[m] + sum over d of x[d] * weights[d, m]``, exactly, ``latency`` cycles later.

    By distributed arithmetic: a bit times a constant is a summand and no product, and a table
    holds what every choice of a few bits adds up to.  An output has tables of its own: without
    bits that weigh 0, and each of bits that weigh about the same, which makes it narrow.
    :class:`~thresher.hdl.amu.lookup.Lookup` adds them, a table's bit and an adder's in one look-up
    table, in a fraction of what one multiplier a weight takes.

    ``weights`` are integers [inputs, outputs], ``bias`` [outputs], by default 0.  ``max_latency``
    is by default 3 + ceil(log2 n) cycles, with n tables of the output that has most.
    ``lut_inputs``: for which look-up tables.  While ``en`` is low everything stands still.

    Raises :class:`ValueError` for weights that are no integers or of another shape, and where
    ``max_latency`` is too short.
    """

    def __init__(
        self,
        weights: np.ndarray,
        input: Format,
        *,
        bias: np.ndarray | None = None,
        lut_inputs: int = 6,
        max_latency: int | None = None,
    ):
        weights = np.asarray(weights)
        if weights.dtype.kind not in "iu" or weights.ndim != 2 or not weights.size:
            raise ValueError(
                f"weights are integers [inputs, outputs], not {weights.dtype} of the shape "
                f"{weights.shape}"
            )
        self._bias = np.zeros(weights.shape[1], np.int64) if bias is None else bias
        place_values = 1 << np.arange(input.bits)
        if input.signed:
            place_values[-1] *= -1
        size = lut_inputs - 1 if lut_inputs >= CHAIN else lut_inputs
        self._groups = [
            _groups(column[:, None] * place_values, size) for column in weights.astype(np.int64).T
        ]
        most = max(map(len, self._groups))
        if max_latency is None:
            max_latency = 3 + max(most - 1, 0).bit_length()
        self._latencies = [
            schedule(len(groups), max_latency).latency if groups else 0 for groups in self._groups
        ]
        self.latency = max(self._latencies)
        ends = np.stack([weights * end for end in input.limits])
        low, high = (
            int((self._bias + ends.min(0).sum(0)).min()),
            int((self._bias + ends.max(0).sum(0)).max()),
        )
        super().__init__(
            {
                "en": In(1, init=1),
                "x": In(data.ArrayLayout(Shape(input.bits, input.signed), len(weights))),
                "y": Out(data.ArrayLayout(narrowest(low, high, low < 0), weights.shape[1])),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # The inputs of so many cycles ago, for outputs that are faster than the slowest.
        past = [self.x.as_value()]
        for cycle in range(1, self.latency - min(self._latencies) + 1):
            past.append(Signal(len(past[0]), name=f"x_{cycle}"))
            with m.If(self.en):
                m.d.sync += past[-1].eq(past[-2])
        for output, (groups, latency) in enumerate(zip(self._groups, self._latencies, strict=True)):
            bias = self._bias[[output]]
            if not groups:
                m.d.comb += self.y[output].eq(int(bias[0]))
                continue
            tables = np.stack([group.table for group in groups])[:, :, None]
            lookup = Lookup(tables, bias, latency)
            m.submodules[f"output_{output}"] = lookup
            x = past[self.latency - latency]
            for code, group in zip(lookup.codes, groups, strict=True):
                m.d.comb += code.eq(Cat(x[bit] for bit in group.bits))
            m.d.comb += [lookup.en.eq(self.en), self.y[output].eq(lookup.sums[0])]
        return m


class _Group(NamedTuple):
    """Bits of the row and what every choice of them adds up to."""

    bits: list[int]
    table: np.ndarray


def _groups(weights: np.ndarray, size: int) -> list[_Group]:
    """The bits whose ``weights`` [inputs, bits] are not 0, in groups of ``size``."""
    flat = weights.ravel()
    place = np.tile(np.arange(weights.shape[1]), len(weights))
    order = np.lexsort((np.abs(flat), place))
    order = order[flat[order] != 0]
    choices = np.arange(1 << size)[:, None] >> np.arange(size) & 1
    groups = []
    for start in range(0, len(order), size):
        bits = order[start:][:size]
        groups.append(_Group(bits.tolist(), choices[:, : len(bits)] @ flat[bits]))
    return groups
