"""Configuration of the table lookup engine.

A row goes through ``codebooks`` trees of ``levels`` levels; the entries that its codes choose are
added to the bias, exactly, and requantised if asked for: :class:`~.layer.Layer` is the golden
model.  What is loaded differs from a layer's in order to be narrower:

* Tables are unsigned: minus their column's minimum, which the bias takes.
* The bias takes what rounds, half of ``2**shift``, too.
* A threshold is in the format of the inputs.  A node that sends everything right (its threshold
  lies below every input) is loaded as one that sends everything left, to a copy of its right half.
* Inputs may be IEEE half-precision numbers, compared as such (the two zeros are equal; no NaN).
"""

import hashlib
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from ..config import EngineConfig, parameter
from ..fixed import limits
from .layer import Format, Layer

_STORED_BITS = 1 << 27
"""Of tables, at most: about what the largest devices hold."""


class AmuConfig(EngineConfig):
    """Shape, formats and parallelism of a matrix product by table lookup."""

    codebooks: int = parameter(16, ge=1, le=1024)
    """Trees, C; each gives a code."""
    levels: int = parameter(4, ge=2, le=6)
    """Comparisons on the way to a code; a codebook has ``2**levels`` prototypes."""
    outputs: int = parameter(32, ge=1, le=4096)
    """Results of a row, M."""
    parallel_codebooks: int = parameter(4, unit="codebooks/cycle", ge=1, le=1024)
    """Codebooks encoded and looked up at once; the last group may be smaller."""
    parallel_outputs: int = parameter(8, unit="outputs/cycle", ge=1, le=4096)
    """Outputs summed at once and delivered in a beat; the last group may be smaller."""

    input_kind: Literal["unsigned", "signed", "float16"] = parameter("unsigned")
    """How inputs are compared: as integers or as IEEE half-precision numbers."""
    input_bits: int = parameter(8, unit="bits", ge=1, le=16)
    """Width of an input; 16 where it is a half-precision number."""
    table_bits: int = parameter(8, unit="bits", ge=1, le=16)
    """Width of a table entry, unsigned."""
    bias_bits: int = parameter(16, unit="bits", ge=1, le=32)
    """Width of a bias, signed."""
    sum_bits: int = parameter(0, unit="bits", ge=0, le=32)
    """Width of a sum, signed; 0 = enough for any tables and biases."""
    output_bits: int = parameter(0, unit="bits", ge=0, le=32)
    """Width of a result, which saturates; 0 = sums as they are."""
    output_signed: bool = parameter(False)
    """Sign of a result; unsigned is a ReLU.  Without meaning for sums as they are."""
    shift: int = parameter(0, unit="bits", ge=0, le=31)
    """Low bits that a sum is rounded by, half up; 0 for sums as they are."""

    contents: Literal["loaded", "fixed"] = parameter("loaded")
    """Thresholds, tables and biases are loaded at run time, or fixed when the engine is made."""
    load_port: int = parameter(0, unit="values/beat", ge=0, le=4096)
    """Table entries, or biases, in a beat of their ports; divides ``parallel_outputs``; 0 = all."""
    file: str = parameter("")
    """Fixed contents: a network file that holds the layer; none: drawn from ``seed``."""
    node: str = parameter("")
    """Name of the layer's node in ``file``; may be left out where there is but one."""
    digest: str = parameter("")
    """SHA-256 of ``file``, found when left out; another file is refused."""
    seed: int = parameter(0, ge=0, le=2**31 - 1)
    """Fixed contents without a file are drawn at random from it."""
    lut_inputs: Literal[4, 6] = parameter(6, unit="inputs")
    """Of the device's look-up tables, for which contents that are fixed are laid out where
    everything happens at once."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "small": {
            "codebooks": 8, "outputs": 8, "parallel_codebooks": 1, "parallel_outputs": 4,
            "table_bits": 6, "bias_bits": 12, "output_bits": 8, "shift": 2, "load_port": 1,
        },
        "large": {
            "codebooks": 64, "outputs": 256, "parallel_codebooks": 16, "parallel_outputs": 32,
            "output_bits": 8, "shift": 5, "load_port": 8,
        },
    }  # fmt: skip

    @classmethod
    def fit(cls, layer: Layer, **overrides: Any) -> Self:
        """The configuration whose shape and formats are those of ``layer``, all at once parallel.

        ``overrides`` are set on top.  Raises :class:`ValueError` where no engine fits.
        """
        tables = layer.tables.max(axis=1) - layer.tables.min(axis=1)
        output = layer.output
        half = 1 << layer.shift >> 1 if output else 0
        bias = layer.bias + layer.tables.min(axis=1).sum(axis=0) + half
        fields = {
            "codebooks": layer.encoder.codebooks,
            "levels": layer.encoder.levels,
            "outputs": layer.outputs,
            "parallel_codebooks": layer.encoder.codebooks,
            "parallel_outputs": layer.outputs,
            "input_kind": "signed" if layer.input.signed else "unsigned",
            "input_bits": layer.input.bits,
            "table_bits": max(1, int(tables.max()).bit_length()),
            "bias_bits": max(int(bias.max()).bit_length(), int(~bias.min()).bit_length()) + 1,
            "output_bits": output.bits if output else 0,
            "output_signed": output.signed if output else False,
            "shift": layer.shift if output else 0,
        }
        return cls._build(fields | overrides)

    @property
    def input(self) -> Format:
        """The integers that thresholds are compared with."""
        return Format(self.input_bits, self.input_kind != "unsigned")

    @property
    def sum(self) -> Format:
        """The sums."""
        if self.sum_bits:
            return Format(self.sum_bits, signed=True)
        most = limits(self.bias_bits)[1] + self.codebooks * ((1 << self.table_bits) - 1)
        return Format(most.bit_length() + 1, signed=True)

    @property
    def output(self) -> Format | None:
        """The results; None: they are the sums."""
        return Format(self.output_bits, self.output_signed) if self.output_bits else None

    @property
    def port(self) -> int:
        """Values in a beat that loads tables or biases."""
        return self.load_port or self.parallel_outputs

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("codebooks", "outputs"):
            there, at_once = getattr(self, name), getattr(self, f"parallel_{name}")
            if at_once > there:
                raise ValueError(
                    f"parallel_{name} = {at_once} exceeds {name} = {there}; set it to {there} "
                    "for all at once"
                )
        if self.input_kind == "float16" and self.input_bits != 16:
            raise ValueError(f"input_bits = {self.input_bits}, but float16 has 16; set 16")
        if self.parallel_outputs % self.port:
            raise ValueError(
                f"load_port = {self.load_port} does not divide parallel_outputs = "
                f"{self.parallel_outputs}; 0 takes all of them in a beat"
            )
        if 0 < self.sum_bits < self.bias_bits:
            raise ValueError(
                f"sum_bits = {self.sum_bits} does not hold a bias of {self.bias_bits} bits; "
                "raise it or lower bias_bits"
            )
        if self.shift >= self.bias_bits:
            raise ValueError(
                f"bias_bits = {self.bias_bits} do not hold half of 2**shift, which a bias takes; "
                f"set at least {self.shift + 1}"
            )
        if not self.output_bits and self.shift:
            raise ValueError(f"shift = {self.shift} needs results of output_bits, not sums")
        bits = (self.codebooks * self.outputs * self.table_bits) << self.levels
        if bits > _STORED_BITS:
            raise ValueError(
                f"the tables take {bits:,} bits, more than {_STORED_BITS:,}; split the outputs "
                "or the codebooks over several engines"
            )
        self._check_file()
        return self

    def _check_file(self) -> None:
        if self.contents == "loaded" and (self.file or self.node or self.digest):
            raise ValueError("file, node and digest are for contents = 'fixed'; leave them out")
        if self.node and not self.file:
            raise ValueError(f"node = {self.node!r} needs the file that it is in")
        if not self.file:
            return
        try:
            found = hashlib.sha256(Path(self.file).read_bytes()).hexdigest()
        except OSError as error:
            raise ValueError(f"file = {self.file!r} cannot be read: {error}") from error
        if self.digest and self.digest != found:
            raise ValueError(
                f"{self.file} has the digest {found}, not {self.digest}: it has changed; "
                "leave digest out to take it as it is"
            )
        object.__setattr__(self, "digest", found)
