"""Configuration of the N:M sparse training array.

A systolic array of ``rows`` x ``columns`` multiply-accumulate units (MACs) multiplies a *left*
operand by a *right* one: ``sums[r, n] = sum over k of left[r, k] * right[k, n]``.

* The left operand is dense: *words* of ``group`` elements, consecutive along k.
* The right operand is a set of *entries*, a value and the index, within its group, of the left
  element that it multiplies.  Sparse N:M: ``kept`` entries of every group, a choice of its own in
  each column.  Dense: an entry for every k.  So the array has no dense mode: a dense product is
  entries with regular indices.

``kept`` MACs that are neighbours in a column make a *cluster*, which shares one left word; a word
passes along a row of clusters, a cluster a cycle.  ``kept = group = 1`` makes a plain dense array.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from ..config import EngineConfig, parameter


class NmConfig(EngineConfig):
    """Shape, number format, sparsity and memories of an N:M sparse training array."""

    rows: int = parameter(16, unit="MACs", ge=1, le=128)
    """MACs in a column of the array; a multiple of ``kept``."""
    columns: int = parameter(16, unit="MACs", ge=1, le=128)
    """MACs in a row of the array; a power of two, a multiple of ``group``."""
    kept: int = parameter(2, ge=1, le=16)
    """N: right values kept of every group; a power of two."""
    group: int = parameter(8, ge=1, le=16)
    """M: consecutive values along the reduction axis of which ``kept`` remain; a power of two."""
    format: Literal["int8", "fp16", "bf16"] = parameter("fp16")
    """Operands; sums are int32 (which wraps) or FP32."""
    add_stages: int = parameter(4, unit="cycles", ge=1, le=8)
    """Latency of a MAC's addition, which interleaving hides; 1 for int8."""
    left_depth: int = parameter(512, unit="words", ge=4, le=65536)
    """Left words that each row of clusters has room for."""
    right_depth: int = parameter(512, unit="words", ge=4, le=65536)
    """Right words (of ``kept`` entries) that each column has room for."""
    sums_depth: int = parameter(512, unit="words", ge=4, le=65536)
    """Sums that each column has room for, in each of two halves."""
    port_words: int = parameter(4, unit="words/beat", ge=1, le=128)
    """Left words in a beat of the memory port; a power of two that divides ``clusters``."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "small": {
            "rows": 4, "columns": 8, "group": 4, "format": "int8", "add_stages": 1,
            "left_depth": 64, "right_depth": 64, "sums_depth": 64, "port_words": 1,
        },
        "large": {
            "rows": 32, "columns": 32, "left_depth": 4096, "right_depth": 1024,
            "sums_depth": 4096, "port_words": 16,
        },
    }  # fmt: skip

    @property
    def clusters(self) -> int:
        """Clusters in a column."""
        return self.rows // self.kept

    @property
    def element_bits(self) -> int:
        """Width of an operand's element."""
        return 8 if self.format == "int8" else 16

    @property
    def index_bits(self) -> int:
        """Width of an index into a group; 0 where a group is one element."""
        return (self.group - 1).bit_length()

    @property
    def entry_bits(self) -> int:
        """Width of an entry: the value in the low bits, the index above."""
        return self.element_bits + self.index_bits

    @property
    def word_bits(self) -> int:
        """Width of a left word."""
        return self.group * self.element_bits

    @property
    def beat_bits(self) -> int:
        """Width of the memory port.  Memory is addressed in beats."""
        return self.port_words * self.word_bits

    @property
    def beat_entries(self) -> int:
        """Right entries in a beat, from its low bits: a power of two, at most ``columns``."""
        fits = min(self.beat_bits // self.entry_bits, self.columns)
        return 1 << fits.bit_length() - 1 if fits else 0

    @property
    def beat_sums(self) -> int:
        """Sums (32 bits) in a beat, from its low bits: a power of two, at most ``columns``."""
        fits = min(self.beat_bits // 32, self.columns)
        return 1 << fits.bit_length() - 1 if fits else 0

    @property
    def lanes(self) -> int:
        """Weights that an update takes at once."""
        return max(self.beat_entries, self.group)

    @property
    def interleave(self) -> int:
        """Rows that a MAC takes in turn where sums stay in it, so that its addition never waits."""
        return self.add_stages

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("group", "kept", "columns", "port_words"):
            value = getattr(self, name)
            if value & value - 1:
                raise ValueError(
                    f"{name} = {value} is not a power of two; take {1 << value.bit_length()}"
                )
        if self.kept > self.group:
            raise ValueError(
                f"kept = {self.kept} exceeds group = {self.group}; no more than all can be kept"
            )
        for name, value, part, unit in (
            ("rows", self.rows, self.kept, "kept"),
            ("columns", self.columns, self.group, "group"),
            ("clusters (rows / kept)", self.rows // self.kept, self.port_words, "port_words"),
        ):
            if value % part:
                raise ValueError(
                    f"{name} = {value} is not a multiple of {unit} = {part}; take "
                    f"{-(-value // part) * part}"
                )
        if self.format == "int8" and self.add_stages != 1:
            raise ValueError(f"add_stages = {self.add_stages}, but int8 adds in 1 cycle; set 1")
        if self.format != "int8" and self.add_stages < 2:
            raise ValueError(f"add_stages = {self.add_stages}; {self.format} needs 2 or more")
        if self.beat_bits < 32 or self.beat_entries < self.kept:
            raise ValueError(
                f"a beat of port_words = {self.port_words} words has {self.beat_bits} bits; it "
                f"must hold a sum (32) and kept = {self.kept} entries of {self.entry_bits}: raise "
                "port_words, or columns"
            )
        if self.columns < self.lanes:
            raise ValueError(
                f"columns = {self.columns} < {self.lanes} lanes of an update; lower port_words"
            )
        return self
