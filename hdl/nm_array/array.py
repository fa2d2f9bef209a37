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
A right word with ``load`` goes down its column, a cluster a cycle, and is captured (and taken out)
by the first cluster whose shadow register is empty.  A left word with ``swap`` uses, and so do all
that follow it in its row, what was in the shadow register, which is then empty.  With ``swap`` of a
fold at ``left[0]`` at T, the word of cluster g for the *next* fold is presented at ``right[0]``

* at ``T + g * (row_skew - 1)`` or later, when its cluster swaps;
* before the next fold's ``swap``, at most at ``T' - 1``.

So swaps are ``fold_period`` cycles or more apart.  The first G words after reset may come at any
time before the first ``swap``; a fold has exactly G words.  The sum of a left word presented at
``left[0]`` at t starts from ``top[0]`` at ``t + top_offset`` and is at ``bottom[0]`` at ``t +
weight_latency``, valid if the word was (at ``left[G - 1]``).

Output-stationary
-----------------
A tile is ``steps * I`` left words without a gap, those of I rows in turn, all with ``output``;
``first`` with the first I, ``last`` with the last I of them.  A word multiplies the right word
(``valid``, not ``load``) that came last, at the latest in the same cycle: it may be repeated I
times, or not.  The finished sums, R * I of each column, leave at ``bottom`` without a gap, while
the next tile runs: with the first word that has ``last`` at t, from ``t + output_latency`` on; the
MACs from the last row of the array to the first, of each the I rows in their order.  Words with
``last`` of one tile and of the next are ``tile_period`` cycles or more apart.

From one to the other
---------------------
The first left word of a tile comes ``weight_to_output`` cycles or more after the last of a fold,
and finds shadow registers empty; the first right word a cycle or more after the last ``swap``'s
left word... no earlier than the tile's first left word.  The first left word of a fold comes
``output_to_weight`` cycles or more after the last one of a tile; its ``load`` a cycle or more
after that last one.
"""

from amaranth.hdl import Module
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.config import NmConfig


def left_layout(config: NmConfig) -> data.StructLayout:
    """A left word and what the MACs of its row do with it."""
    return data.StructLayout(
        {
            "word": data.ArrayLayout(config.element_bits, config.group),
            "valid": 1,
            "swap": 1,
            "first": 1,
            "last": 1,
            "output": 1,
        }
    )


def right_layout(config: NmConfig) -> data.StructLayout:
    """A right word, to be loaded or used as it passes."""
    return data.StructLayout(
        {"entries": data.ArrayLayout(config.entry_bits, config.kept), "valid": 1, "load": 1}
    )


class Array(Component):
    """R x C MACs; see the module.  ``valid`` and ``load`` of ``right[c]`` count at c = 0 only."""

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
        return self._element_latency + self._product_latency

    @property
    def weight_latency(self) -> int:
        """Cycles from a left word at ``left[0]`` to its sum at ``bottom[0]``."""
        return self.top_offset + self.config.rows * self.config.interleave + 1

    @property
    def fold_period(self) -> int:
        """Cycles, at least, from a left word with ``swap`` to the next one."""
        clusters = self.config.clusters
        return max(clusters, (clusters - 1) * (self.row_skew - 1) + 1)

    @property
    def output_latency(self) -> int:
        """Cycles from the first word with ``last`` at ``left[0]`` to a sum at ``bottom[0]``."""
        return self.top_offset + self._last_finished + 2 * self.config.interleave + 2

    @property
    def tile_period(self) -> int:
        """Cycles, at least, from the first left word with ``last`` to that of the next tile."""
        rows, turns = self.config.rows, self.config.interleave
        return max(rows * turns, self._last_finished + (rows - 1) * (turns - 1) + turns)

    @property
    def weight_to_output(self) -> int:
        """Cycles, at least, from the last left word of a fold to the first of a tile."""
        return (self.config.clusters - 1) * (self.row_skew - 1) + 1

    @property
    def output_to_weight(self) -> int:
        """Cycles, at least, from the last left word of a tile to the first of a fold."""
        return max(self.config.clusters, self._last_finished + self.config.interleave) + 1

    @property
    def _last_finished(self) -> int:
        """Cycles by which the last MAC of a column has its sums later than the first."""
        return self.config.clusters - 1 + (self.config.kept - 1) * self.config.interleave

    _element_latency = 3
    _product_latency = 3

    def elaborate(self, platform) -> Module:
        return Module()
