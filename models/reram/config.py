"""Configuration of the ReRAM crossbar engine: FORMS, and what it is compared with.

A weight lies in ``slices`` neighbouring cells of ``cell_bits`` each, an input enters bit by bit.
In a step the rows of one fragment are driven with one bit of their inputs, and an ADC reads what
each column adds up.  How signs are dealt with is the ``mapping``:

=========== ================================================== ================================
polarised   all weights of a fragment share a sign, which one  cells hold magnitudes
            bit beside the crossbar holds (FORMS)
offset      ``2**(weight_bits-1)`` is added to every weight,   cells hold unsigned numbers
            and taken off again digitally (ISAAC)
dual        positive and negative weights lie in two           cells hold magnitudes, half of
            crossbars, whose results are subtracted            them 0
=========== ================================================== ================================

Sources: Yuan et al., FORMS, ISCA 2021; Shafiee et al., ISAAC, ISCA 2016.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from ..config import EngineConfig, parameter


class ReramConfig(EngineConfig):
    """Shape, formats and converters of ReRAM crossbars."""

    fragment_rows: int = parameter(8, unit="rows", ge=1, le=1024)
    """Rows that are driven at once, m; a column's weights in them share a sign where polarised."""
    rows: int = parameter(128, unit="rows", ge=1, le=1024)
    """Rows of a crossbar."""
    columns: int = parameter(128, unit="columns", ge=1, le=4096)
    """Columns of a crossbar, those of a weight's slices side by side."""

    mapping: Literal["polarised", "offset", "dual"] = parameter("polarised")
    """How signed weights lie in cells that are not."""
    cell_bits: int = parameter(2, unit="bits", ge=1, le=4)
    """Of a cell, which has ``2**cell_bits`` levels."""
    weight_bits: int = parameter(8, unit="bits", ge=1, le=16)
    """That cells hold of a weight: its magnitude, or with an offset all of it."""
    input_bits: int = parameter(16, unit="bits", ge=1, le=16)
    """Of an input, unsigned; one bit a step."""

    adc_bits: int = parameter(4, unit="bits", ge=1, le=12)
    """Of a converter, which saturates at ``2**adc_bits - 1`` levels."""
    flip: bool = parameter(True)
    """Columns whose cells hold more than half of what they could are stored inverted: half the
    range for the ADC, one bit per fragment and column beside the crossbar."""
    columns_per_adc: int = parameter(32, unit="columns", ge=1, le=4096)
    """Neighbouring columns that an ADC reads one after the other."""
    skip: Literal["none", "leading", "any"] = parameter("leading")
    """Bits that are not read since all rows of the fragment have 0 there: none, those above the
    highest 1, or all."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "forms4": {"fragment_rows": 4, "adc_bits": 3},
        "forms16": {"fragment_rows": 16, "adc_bits": 5},
        "small": {
            "rows": 16, "columns": 16, "weight_bits": 4, "input_bits": 4, "columns_per_adc": 8,
        },
        "isaac": {
            "mapping": "offset", "fragment_rows": 128, "weight_bits": 16, "adc_bits": 8,
            "columns_per_adc": 128, "skip": "none",
        },
        "dual": {
            "mapping": "dual", "fragment_rows": 128, "adc_bits": 8, "columns_per_adc": 128,
            "skip": "none",
        },
    }  # fmt: skip

    @property
    def top(self) -> int:
        """The highest level of a cell; the lowest is 0."""
        return (1 << self.cell_bits) - 1

    @property
    def slices(self) -> int:
        """Cells of a weight; slice s has the weight ``2**(s*cell_bits)``."""
        return -(-self.weight_bits // self.cell_bits)

    @property
    def planes(self) -> int:
        """Crossbars side by side that hold the same weights' signs: 2 where dual."""
        return 2 if self.mapping == "dual" else 1

    @property
    def outputs(self) -> int:
        """Weights side by side in a crossbar."""
        return self.columns // self.slices

    @property
    def fragments(self) -> int:
        """Fragments one below the other in a crossbar."""
        return self.rows // self.fragment_rows

    @property
    def weight_limits(self) -> tuple[int, int]:
        """The smallest and the largest weight."""
        if self.mapping == "offset":
            return -(1 << self.weight_bits - 1), (1 << self.weight_bits - 1) - 1
        return 1 - (1 << self.weight_bits), (1 << self.weight_bits) - 1

    @property
    def offset(self) -> int:
        """What is added to every weight before it is stored; 0 but where offset."""
        return 1 << self.weight_bits - 1 if self.mapping == "offset" else 0

    @property
    def adc_top(self) -> int:
        """The highest code of an ADC, in levels."""
        return (1 << self.adc_bits) - 1

    @property
    def full_scale(self) -> int:
        """The most that a column adds up in a step, in levels, whatever weights and inputs are.

        Without ``flip`` every row of the fragment at the highest level.  With it half of that:
        a column above it is stored inverted, and then lies below.
        """
        most = self.fragment_rows * self.top
        return most // 2 if self.flip else most

    @property
    def lossless(self) -> bool:
        """Whether no weights and inputs make an ADC saturate: :attr:`full_scale` has a code."""
        return self.full_scale <= self.adc_top

    @property
    def lossless_adc_bits(self) -> int:
        """The fewest ``adc_bits`` that are :attr:`lossless`."""
        return max(self.full_scale.bit_length(), 1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rows % self.fragment_rows:
            raise ValueError(
                f"fragment_rows = {self.fragment_rows} does not divide rows = {self.rows}; "
                f"{-(-self.rows // self.fragment_rows) * self.fragment_rows} rows hold whole "
                "fragments"
            )
        if self.slices > self.columns:
            raise ValueError(
                f"columns = {self.columns} do not hold the {self.slices} slices of a weight; set "
                "at least that many, fewer weight_bits or more cell_bits"
            )
        if self.columns_per_adc > self.columns:
            raise ValueError(
                f"columns_per_adc = {self.columns_per_adc} exceeds columns = {self.columns}; set "
                f"{self.columns} for one ADC"
            )
        return self
