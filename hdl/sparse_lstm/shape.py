"""How a configuration is laid out in time and memory.

Rows: gate row ``r`` of group ``g`` is gate ``r % 4`` (i, f, g, o) of unit
``g * row_units + r // 4``, so a group that leaves the multipliers holds whole units.

Columns: the cell unit emits units in slots of ``width = banks * window``; the unit in
slot ``w * banks + k`` of emission ``n`` becomes column ``n * window + w`` of bank ``k``.
A group whose units do not fill its last emission leaves slots empty.  Input column
``j`` is column ``j // banks`` of bank ``j % banks``.

Weight memory: a column of a bank is ``groups`` consecutive words of ``rows`` weights;
context by context, its input columns and then its state columns.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, log2

import numpy as np

from ...models.activation import SIGMOID_SPAN, TANH_SPAN
from ...models.sparse_lstm.config import SparseLstmConfig


@dataclass(frozen=True)
class Shape:
    """Derived sizes of one configuration."""

    config: SparseLstmConfig

    @property
    def row_units(self) -> int:
        """Units whose four gates share a group."""
        return self.config.rows // 4

    @cached_property
    def units(self) -> int:
        """Units that the cell unit evaluates (wholly or in part) in a cycle."""
        return max(1, self.config.elements // self.config.batch)

    @cached_property
    def window(self) -> int:
        """State columns of a bank in one emission."""
        return max(1, self.units // self.config.banks)

    @property
    def width(self) -> int:
        """Slots of an emission."""
        return self.window * self.config.banks

    @cached_property
    def unit_steps(self) -> int:
        """Unit subsets of an emission, evaluated one after the other."""
        return self.width // self.units

    @cached_property
    def batch_steps(self) -> int:
        """Cycles in which the cell unit goes through the batch of one unit subset."""
        return self.config.batch // self.lanes

    @property
    def lanes(self) -> int:
        """Batch elements of a unit that the cell unit evaluates in a cycle."""
        return min(self.config.elements, self.config.batch)

    @property
    def folds(self) -> int:
        """Cycles an emission takes."""
        return self.unit_steps * self.batch_steps

    @cached_property
    def group_emissions(self) -> int:
        """Emissions of a full group."""
        return ceil(self.row_units / self.width)

    @property
    def subsets(self) -> int:
        """Unit subsets of a full group."""
        return self.group_emissions * self.unit_steps

    @cached_property
    def last_emissions(self) -> int:
        """Emissions of the last group, which may hold fewer units."""
        rest = self.config.hidden_size - (self.config.groups - 1) * self.row_units
        return ceil(rest / self.width)

    @property
    def emissions(self) -> int:
        """Emissions of a step."""
        return (self.config.groups - 1) * self.group_emissions + self.last_emissions

    @property
    def state_columns(self) -> int:
        """Column slots of a bank for one context's state."""
        return self.emissions * self.window

    def input_columns(self, context: int) -> int:
        """Column slots of a bank for one context's input."""
        return ceil(self.config.context_inputs(context) / self.config.banks)

    def input_beats(self, context: int) -> int:
        """Beats of one input vector."""
        return ceil(self.input_columns(context) / self.config.window)

    @cached_property
    def bases(self) -> list[tuple[int, int]]:
        """Word address of each context's first input column and first state column."""
        bases, at = [], 0
        for context in range(self.config.contexts):
            state = at + self.input_columns(context) * self.config.groups
            bases.append((at, state))
            at = state + self.state_columns * self.config.groups
        return bases

    @property
    def weight_words(self) -> int:
        """Words of each bank's weight memory."""
        return self.bases[-1][1] + self.state_columns * self.config.groups

    @property
    def bias_words(self) -> int:
        """Words of bias (``units`` times four gates) of one context or one index."""
        return self.emissions * self.unit_steps

    @property
    def bias_rows(self) -> int:
        """Sets of biases: one a context, or one an index and direction."""
        c = self.config
        return c.contexts * (c.input_size if c.input_kind == "index" else 1)

    @cached_property
    def unused_bits(self) -> int:
        """Low bits of a finished accumulator that cannot change a gate.

        They are below those of a bias and below half a step of either table's grid.
        """
        c = self.config
        steps = (
            log2(SIGMOID_SPAN) - log2(c.sigmoid_entries),
            log2(TANH_SPAN) - log2(c.tanh_entries),
        )
        half = c.accumulator_frac + int(min(steps)) - 1
        return max(0, min(half, c.accumulator_frac - c.bias_frac, c.accumulator_bits - 1))

    @cached_property
    def unit_of_slot(self) -> np.ndarray:
        """[emissions, width]: the unit in each slot, -1 where there is none."""
        c = self.config
        group = np.minimum(np.arange(self.emissions) // self.group_emissions, c.groups - 1)
        within = np.arange(self.emissions) - group * self.group_emissions
        local = within[:, None] * self.width + np.arange(self.width)
        unit = group[:, None] * self.row_units + local
        return np.where((local < self.row_units) & (unit < c.hidden_size), unit, -1)
