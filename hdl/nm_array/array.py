"""The systolic array: rows x columns multiply-accumulate units (MACs), without a stall.

Names as in :mod:`...models.nm.program`: R ``rows``, C ``columns``, N ``kept``, G ``clusters``, I
``interleave``.  All ports are sampled or valid in every cycle; whoever feeds the array keeps time
by the properties of :class:`Array`.  "At t" is: in the t-th cycle.

Skew.  What belongs together is presented

* at ``left[g]`` ``g * row_skew`` cycles after ``left[0]`` where sums move ("weight": ``row_skew =
  N * I``), ``g`` cycles where sums stay ("output");
* at ``right[c]``, ``top[c]`` c cycles after ``right[0]``, ``top[0]``; and so ``bottom[c]`` comes.

Weight-stationary
-----------------
A fold has G right words with ``load``, whose bit ``odd`` is 0 and 1 in turn from fold to fold, 0
after reset.  They go down their column, a cluster a cycle, and each is captured (and taken out) by
the first cluster that has none of its fold: the words of a fold may still come down while the fold
has begun above.  A left word with ``swap`` uses, and so do all that follow it in its row, what was
in the shadow register.  It is the first left word of its fold, at ``left[0]`` at T.  With that of
the fold before at S, the word for cluster g is presented at ``right[0]`` from ``S + 1 + g *
(row_skew - 1)`` to ``T + g * (row_skew - 1)``: not before its cluster's last swap, nor after its
next one.  So swaps that keep one distance are ``fold_period`` or more apart.  The sum of a left
word presented at ``left[0]`` at t starts from ``top[0]`` at ``t + top_offset`` and is at
``bottom[0]`` at ``t + weight_latency``, valid if the word was.

Output-stationary
-----------------
A tile is ``steps * I`` left words without a gap, those of I rows in turn, all with ``output``;
``first`` with the first I, ``last`` with the last I of them.  A word multiplies the right word
(without ``load``) that was presented last, at the latest with it: that may be repeated I times, or
not.  The finished sums, R * I of each column, leave without a gap while the next tile runs: with
the first word that has ``last`` at ``left[0]`` at t, they are at ``bottom[0]`` from ``t +
output_latency`` on; of the MACs from the last row to the first, of each the I rows in their order.
The first words with ``last`` of two tiles are ``tile_period`` or more apart.

From one to the other
---------------------
The first left word of a tile comes ``weight_to_output`` or more after the last one of a fold.  All
shadow registers are empty then; its first right word comes with it, or earlier, but after ``S +
(G - 1) * (row_skew - 1)``.  The first left word of a fold comes ``output_to_weight`` or more after
the last one of a tile; its right words after that last one.
"""

from itertools import pairwise

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.config import NmConfig
from ..lib.floating import operand_layout, unpack
from ..lib.repeated import Repeated
from .cluster import Cluster, delayed
from .steering import LATENCY, ORDERS, RIGHT, Steering

LEFT_LATENCY = LATENCY
"""Cycles from ``left[0]`` to the first column."""

RIGHT_LATENCY = LATENCY - 1
"""Cycles from ``right[0]`` to the first row: a right word goes through the shadow register too."""


def left_layout(config: NmConfig) -> data.StructLayout:
    """A left word and what the MACs of its row do with it."""
    return data.StructLayout({"word": data.ArrayLayout(config.element_bits, config.group)} | ORDERS)


def right_layout(config: NmConfig) -> data.StructLayout:
    """A right word, to be loaded or used as it passes."""
    return data.StructLayout({"entries": data.ArrayLayout(config.entry_bits, config.kept)} | RIGHT)


class Array(Component):
    """R x C MACs; see the module.  What comes with entries of ``right[c]`` counts at c = 0 only."""

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "left": In(left_layout(config)).array(config.clusters),
                "right": In(right_layout(config)).array(config.columns),
                "top": In(32).array(config.columns),
                "bottom": Out(data.StructLayout({"sum": 32, "valid": 1})).array(config.columns),
            }
        )

    @property
    def row_skew(self) -> int:
        """Cycles that a sum takes through a cluster."""
        return self.config.kept * self.config.interleave

    @property
    def top_offset(self) -> int:
        """Cycles from a left word at ``left[0]`` to the sum at ``top[0]`` that it starts from."""
        return LEFT_LATENCY + Cluster.latency

    @property
    def weight_latency(self) -> int:
        """Cycles from a left word at ``left[0]`` to its sum at ``bottom[0]``."""
        return self.top_offset + self.config.rows * self.config.interleave + 1

    @property
    def fold_period(self) -> int:
        """Cycles, at least, from a left word with ``swap`` to the next one, if always so many."""
        clusters = self.config.clusters
        return max(clusters, (clusters - 1) * (self.row_skew - 1) // -2 * -1 + 1)

    @property
    def output_latency(self) -> int:
        """Cycles from the first word with ``last`` at ``left[0]`` to a sum at ``bottom[0]``."""
        return self.top_offset + self._last_finished + 2 * self.config.interleave + 1

    @property
    def tile_period(self) -> int:
        """Cycles, at least, from the first left word with ``last`` to that of the next tile."""
        return self.config.rows * self.config.interleave

    @property
    def weight_to_output(self) -> int:
        """Cycles, at least, from the last left word of a fold to the first of a tile."""
        return (self.config.clusters - 1) * (self.row_skew - 1) + 1

    @property
    def output_to_weight(self) -> int:
        """Cycles, at least, from the last left word of a tile to the first of a fold."""
        return self._last_finished + self.config.interleave + 1

    @property
    def _last_finished(self) -> int:
        """Cycles by which the last MAC of a column has its sums later than the first."""
        return self.config.clusters - 1 + (self.config.kept - 1) * self.config.interleave

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        clusters = [[Cluster(config) for _ in self.right] for _ in self.left]
        steerings = [Steering(config) for _ in self.left]
        for g, row in enumerate(clusters):
            m.submodules[f"steering{g}"] = steerings[g]  # not repeated: it has state to reset
            for c, cluster in enumerate(row):
                m.submodules[f"cluster{g}_{c}"] = Repeated(cluster, config)
        self._rows(m, clusters, steerings)
        self._columns(m, clusters)
        self._steer(m, steerings)
        self._bottom(m, clusters[-1], steerings[-1])
        return m

    def _rows(self, m: Module, clusters: list[list[Cluster]], steerings: list[Steering]) -> None:
        """Left words and steps, from column to column."""
        for g, (left, row) in enumerate(zip(self.left, clusters, strict=True)):
            m.d.comb += row[0].steps.eq(steerings[g].steps)
            for k, element in enumerate(row[0].left):
                raw = delayed(m, left.word[k], LEFT_LATENCY - 1)
                m.d.comb += Value.cast(element).eq(self._unpacked(m, f"left{g}_{k}", raw))
            for one, other in pairwise(row):
                m.d.comb += [other.left.eq(one.left_o), other.steps.eq(one.steps_o)]

    def _columns(self, m: Module, clusters: list[list[Cluster]]) -> None:
        """Right words, whose values j are as late as MACs j are, sums and what is drained."""
        for c, (right, top) in enumerate(zip(self.right, self.top, strict=True)):
            column = [row[c] for row in clusters]
            m.d.comb += column[0].sum.eq(top)
            for j, raw in enumerate(right.entries):
                bits = self.config.element_bits
                operand = self._unpacked(m, f"right{c}_{j}", raw[:bits])
                late = delayed(m, operand, j * self.config.interleave)
                m.d.comb += [
                    column[0].right.index[j].eq(delayed(m, raw[bits:], RIGHT_LATENCY)),
                    Value.cast(column[0].right.value[j]).eq(late),
                ]
            for one, other in pairwise(column):
                m.d.comb += [
                    other.right.eq(one.right_o),
                    other.sum.eq(one.sum_o),
                    other.drain.eq(one.drain_o),
                ]

    def _unpacked(self, m: Module, name: str, raw: Value) -> Value:
        """The operand that ``raw`` was a cycle ago."""
        unpacked = Unpack(self.config)
        m.submodules[f"unpack_{name}"] = Repeated(unpacked, self.config)
        m.d.comb += unpacked.i.eq(raw)
        return Value.cast(unpacked.o)

    def _steer(self, m: Module, steerings: list[Steering]) -> None:
        """What comes with the words, and control that goes up and down the rows."""
        first, last = steerings[0], steerings[-1]
        for name in RIGHT:
            bit = delayed(m, self.right[0][name], RIGHT_LATENCY, reset=True)
            m.d.comb += first.right[name].eq(bit)
        drain = delayed(m, last.kept, self.config.interleave, reset=True)
        for left, steering in zip(self.left, steerings, strict=True):
            m.d.comb += [steering.left[name].eq(left[name]) for name in ORDERS]
            m.d.comb += steering.drain.eq(drain)
        for one, other in pairwise(steerings):
            m.d.comb += [
                other.right.eq(one.right_o),
                other.above.eq(one.draining),
            ]

    def _bottom(self, m: Module, row: list[Cluster], steering: Steering) -> None:
        """Sums that moved through the last row, or were drained."""
        moved, drained = steering.moved, steering.draining
        for cluster, bottom in zip(row, self.bottom, strict=True):
            m.d.sync += [
                bottom.sum.eq(Mux(moved, cluster.sum_o, cluster.drain_o)),
                bottom.valid.eq(moved | drained),
            ]
            moved, drained = delayed(m, moved, 1, reset=True), delayed(m, drained, 1, reset=True)


class Unpack(Component):
    """``o`` is the operand of a multiplication that ``i`` was the element of, a cycle later."""

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__({"i": In(config.element_bits), "o": Out(operand_layout(config.format))})

    def elaborate(self, platform) -> Module:
        m = Module()
        operand = Signal.like(self.o, reset_less=True)
        m.d.sync += Value.cast(operand).eq(Value.cast(unpack(self.config.format, self.i)))
        m.d.comb += self.o.eq(operand)
        return m
