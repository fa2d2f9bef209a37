"""How a configuration is folded in time.

Codebook ``c`` is looked up in lane ``c % parallel_codebooks`` of group ``c // parallel_codebooks``,
output ``m`` is summed in lane ``m % parallel_outputs`` of fold ``m // parallel_outputs``.  A row
takes its folds one after the other, each of them all groups: ``folds * groups`` cycles.
"""

from dataclasses import dataclass

from amaranth.hdl import Shape as Bits
from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from ...models.amu.config import AmuConfig


@dataclass(frozen=True)
class Shape:
    """Derived sizes of one configuration."""

    config: AmuConfig

    @property
    def prototypes(self) -> int:
        """Entries of a table."""
        return 1 << self.config.levels

    @property
    def groups(self) -> int:
        """Beats of a row."""
        return -(-self.config.codebooks // self.config.parallel_codebooks)

    @property
    def folds(self) -> int:
        """Beats of a row's results."""
        return -(-self.config.outputs // self.config.parallel_outputs)

    @property
    def parts(self) -> int:
        """Beats that load a word of ``parallel_outputs`` table entries or biases."""
        return self.config.parallel_outputs // self.config.port

    @property
    def unrolled(self) -> bool:
        """Whether there is a cycle a row and nothing is loaded: logic instead of memories."""
        return self.groups == self.folds == 1 and self.config.contents == "fixed"

    @property
    def serial(self) -> bool:
        """Whether one comparator does all levels: there is time as codes are used so often."""
        return self.folds >= self.config.levels

    @property
    def buffered(self) -> bool:
        """Whether a register follows the tables: deep ones may be block RAM, which is slow."""
        return self.groups * self.folds > 1

    @property
    def pairs(self) -> int:
        """Words of two thresholds in a tree."""
        return self.prototypes // 2

    @property
    def depth(self) -> int:
        """Stages of the adders over the lanes."""
        return (self.config.parallel_codebooks - 1).bit_length()

    @property
    def threshold(self) -> Bits:
        """A threshold, or an input as it is compared."""
        return Bits(self.config.input_bits, self.config.input.signed)

    @property
    def value(self) -> Bits:
        """An input on its port; a half-precision number goes by its bits."""
        return unsigned(16) if self.config.input_kind == "float16" else self.threshold

    @property
    def row(self) -> data.ArrayLayout:
        """A beat of a row: for each lane, what its tree looks at, level by level."""
        lane = data.ArrayLayout(self.value, self.config.levels)
        return data.ArrayLayout(lane, self.config.parallel_codebooks)

    @property
    def codes(self) -> data.ArrayLayout:
        """The codes of a beat."""
        return data.ArrayLayout(unsigned(self.config.levels), self.config.parallel_codebooks)

    @property
    def pair(self) -> data.ArrayLayout:
        """Thresholds of both children of a node."""
        return data.ArrayLayout(self.threshold, 2)

    @property
    def results(self) -> data.StructLayout:
        """A beat of results, ``last`` with the row's last one."""
        form = self.config.output or self.config.sum
        lane = Bits(form.bits, form.signed)
        return data.StructLayout(
            {"values": data.ArrayLayout(lane, self.config.parallel_outputs), "last": unsigned(1)}
        )

    @property
    def entries(self) -> data.ArrayLayout:
        """A beat that loads tables."""
        return data.ArrayLayout(unsigned(self.config.table_bits), self.config.port)

    @property
    def biases(self) -> data.ArrayLayout:
        """A beat that loads biases."""
        return data.ArrayLayout(signed(self.config.bias_bits), self.config.port)
