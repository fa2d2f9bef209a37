"""Configuration of WUVE, which updates weights."""

from typing import Any, ClassVar, Literal

from ..config import EngineConfig, parameter

CONVERT = 2
"""Cycles of a conversion of an int32 to FP32."""

COPY = 2
"""Cycles of a rounding to the array's format."""


class WuveConfig(EngineConfig):
    """Lanes, formats and pipeline of an update of weights."""

    lanes: int = parameter(8, unit="weights/beat", ge=1, le=128)
    """Weights that are updated in a cycle."""
    format: Literal["int8", "fp16", "bf16"] = parameter("fp16")
    """Of the copies for the array; with int8, gradients are int32, else FP32."""
    multiply_stages: int = parameter(5, unit="cycles", ge=1, le=8)
    """Latency of a product."""
    add_stages: int = parameter(4, unit="cycles", ge=1, le=8)
    """Latency of a sum."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "small": {"lanes": 2, "format": "bf16"},
        "large": {"lanes": 32},
    }

    @property
    def element_bits(self) -> int:
        """Width of a copy."""
        return 8 if self.format == "int8" else 16

    @property
    def latency(self) -> int:
        """Cycles from weights to updated ones."""
        convert = CONVERT if self.format == "int8" else 0
        return convert + 2 * self.multiply_stages + 3 * self.add_stages + COPY
