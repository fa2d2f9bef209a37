"""Configuration of the Fast-SCLF engine."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from ..codes.crc import Crc, crc
from ..config import EngineConfig, parameter


class FastSclfConfig(EngineConfig):
    """Shape and number formats of a Fast-SCLF engine; the code itself is loaded at run time."""

    length: int = parameter(512, unit="bits", ge=16, le=1024)
    """Longest code, a power of two."""
    list_size: Literal[1, 2, 4, 8] = parameter(4, unit="paths")
    """Paths that are followed side by side."""
    pes: int = parameter(64, unit="LLR/cycle", ge=4, le=512)
    """Processing elements of each path, a power of two."""
    leaf: int = parameter(32, unit="bits", ge=2, le=128)
    """Largest special node, a power of two; larger ones are decoded as several."""
    llr_bits: int = parameter(6, unit="bits", ge=3, le=8)
    """Width of every LLR, sign included: from -(2**(b-1) - 1) to 2**(b-1) - 1."""
    metric_bits: int = parameter(8, unit="bits", ge=4, le=16)
    """Width of a path metric, unsigned and saturating."""
    lanes: int = parameter(64, unit="LLR/beat", ge=1, le=512)
    """LLRs in a beat, a power of two."""
    beat: int = parameter(32, unit="bits", ge=4, le=128)
    """Message bits in a beat, a power of two; as many bits of u are checked in a cycle."""
    crc: str = parameter("crc24c")
    """CRC behind the message: of TS 38.212 by name, or LENGTHxPOLYNOMIAL, as in crc11x621."""
    program: int = parameter(512, ge=32, le=4096)
    """Instructions that fit: those of one code's node program, a power of two."""
    lut_inputs: Literal[4, 6] = parameter(4)
    """Inputs of the device's look-up tables, 6 on Xilinx; for area alone."""

    presets: ClassVar[dict[str, dict[str, object]]] = {
        "default": {},
        "small": {
            "length": 32, "list_size": 2, "pes": 4, "leaf": 4, "lanes": 4, "beat": 4,
            "crc": "crc6", "program": 128,
        },
        "large": {"length": 1024, "list_size": 8, "program": 1024},
    }  # fmt: skip

    @property
    def check(self) -> Crc:
        """The CRC."""
        return crc(self.crc)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("length", "pes", "leaf", "lanes", "beat", "program"):
            value = getattr(self, name)
            if value & (value - 1):
                raise ValueError(
                    f"{name} = {value} is not a power of two; the next are "
                    f"{1 << value.bit_length() - 1} and {1 << value.bit_length()}"
                )
        if 2 * self.pes > self.length:
            raise ValueError(
                f"pes = {self.pes} is more than half of length = {self.length}; "
                f"{self.length // 2} do all of a step at once"
            )
        for name in ("leaf", "lanes", "beat"):
            if (value := getattr(self, name)) > self.pes:
                raise ValueError(
                    f"{name} = {value} exceeds pes = {self.pes}; lower it or raise pes"
                )
        if self.check.length >= self.length - 1:
            raise ValueError(
                f"{self.crc} has {self.check.length} bits, too many for codes of at most "
                f"length = {self.length}; choose a shorter one, as crc6"
            )
        return self
