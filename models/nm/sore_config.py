"""Configuration of SORE, which selects the N largest of every M weights."""

from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from ..config import EngineConfig, parameter


class SoreConfig(EngineConfig):
    """Lanes, sparsity and direction of a selector of weights."""

    lanes: int = parameter(32, unit="weights/beat", ge=1, le=256)
    """Weights in a beat; a multiple of ``group`` where groups lie across lanes."""
    kept: int = parameter(2, ge=1, le=16)
    """N: weights kept of every group."""
    group: int = parameter(8, ge=1, le=32)
    """M: weights of a group."""
    format: Literal["int8", "fp16", "bf16"] = parameter("fp16")
    """Of the values that go with the magnitudes and are kept."""
    direction: Literal["along", "across"] = parameter("along")
    """A group lies along the beats of a lane, or across neighbouring lanes of a beat."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "small": {"lanes": 4, "group": 4},
        "large": {"lanes": 32, "group": 16},
        "across": {"direction": "across"},
    }

    @property
    def element_bits(self) -> int:
        """Width of a value."""
        return 8 if self.format == "int8" else 16

    @property
    def entry_bits(self) -> int:
        """Width of an entry: the value in the low bits, the index within its group above."""
        return self.element_bits + (self.group - 1).bit_length()

    @property
    def groups(self) -> int:
        """Groups that leave in a beat."""
        return self.lanes if self.direction == "along" else self.lanes // self.group

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kept > self.group:
            raise ValueError(
                f"kept = {self.kept} exceeds group = {self.group}; no more than all can be kept"
            )
        if self.direction == "across" and self.lanes % self.group:
            raise ValueError(
                f"lanes = {self.lanes} is not a multiple of group = {self.group}; take "
                f"{-(-self.lanes // self.group) * self.group}"
            )
        return self
