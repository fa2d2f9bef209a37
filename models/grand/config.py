"""Configurations of the two engines that guess noise: ORBGRAND and step-GRAND.

Both are one architecture; they differ in which patterns they test (:mod:`.patterns`).
"""

from typing import ClassVar, Self

from pydantic import model_validator

from ..config import EngineConfig, parameter
from .patterns import Staircase


class GrandConfig(EngineConfig):
    """What ORBGRAND and step-GRAND engines have in common."""

    length: int = parameter(128, unit="bits", ge=8, le=1024)
    """Longest code: n at most; the code itself is loaded at run time."""
    checks: int = parameter(23, unit="bits", ge=2, le=64)
    """Most checks of a code: n - k, the parity check left out where ``skip_parity`` is set."""
    llr_bits: int = parameter(5, unit="bits", ge=2, le=8)
    """Width of a quantised LLR, two's complement; negative means 1."""
    lanes: int = parameter(128, unit="LLR/beat", ge=1, le=1024)
    """LLRs in a beat, a power of two; a word takes ``ceil(n / lanes)`` beats."""
    window: int = parameter(512, unit="words", ge=8, le=4096)
    """Words in flight, a power of two: what arrives while a long search is under way."""
    cores: int = parameter(1, ge=1, le=8)
    """Words that are guessed at the same time."""
    skip_parity: bool = parameter(False)
    """Can skip patterns of the wrong parity for codes of even weight; a register turns it off."""

    @property
    def staircase(self) -> Staircase:
        """Which patterns are tested."""
        raise NotImplementedError

    @property
    def beats(self) -> int:
        """Beats of the longest word."""
        return -(-self.length // self.lanes)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("lanes", "window"):
            value = getattr(self, name)
            if value & (value - 1):
                raise ValueError(
                    f"{name} = {value} is not a power of two; the next are "
                    f"{1 << value.bit_length() - 1} and {1 << value.bit_length()}"
                )
        if self.lanes >= 2 * self.length:
            raise ValueError(
                f"lanes = {self.lanes} is at least twice length = {self.length}; "
                f"{1 << (self.length - 1).bit_length()} lanes take a word a beat"
            )
        limits = self.staircase.limits
        if not 3 <= len(limits) <= 8:
            raise ValueError(
                f"patterns of up to {len(limits)} flipped bits; the hardware tests up to 3 to 8"
            )
        for h, limit in enumerate(limits[2:], 3):
            fewer = h - 2
            every = fewer * self.length - fewer * (fewer - 1) // 2  # no sum of so few is larger
            if limit > limits[fewer - 1] < every:
                raise ValueError(
                    f"limit {limit} of Hamming weight {h} exceeds {limits[fewer - 1]}, that of "
                    f"{fewer}: a pattern would be tested before one that it contains; lower it"
                )
        if limits[2] == 0:
            raise ValueError("limit 0 of Hamming weight 3 leaves no triples; it is at least 6")
        return self


class OrbgrandConfig(GrandConfig):
    """Shape and search of an ORBGRAND engine."""

    lw_max: int = parameter(64, ge=6, le=1023)
    """Largest logistic weight, the sum of the flipped bits' ranks."""
    p: int = parameter(6, unit="bits", ge=3, le=8)
    """Most bits flipped."""

    presets: ClassVar[dict[str, dict[str, object]]] = {
        "default": {},
        "small": {
            "length": 32, "checks": 12, "lanes": 8, "window": 16, "lw_max": 16, "p": 4,
        },
    }  # fmt: skip

    @property
    def staircase(self) -> Staircase:
        return Staircase.orbgrand(self.length, self.lw_max, self.p)


class StepGrandConfig(GrandConfig):
    """Shape and search of a step-GRAND engine."""

    checks: int = parameter(22, unit="bits", ge=2, le=64)
    """Most checks of a code: n - k, the parity check left out where ``skip_parity`` is set."""
    skip_parity: bool = parameter(True)
    """Can skip patterns of the wrong parity for codes of even weight; a register turns it off."""
    limits: tuple[int, ...] = parameter((72, 72, 72, 64, 49, 38))
    """Largest logistic weight for each number of flipped bits from 1; 0: none of that number."""

    presets: ClassVar[dict[str, dict[str, object]]] = {
        "default": {},
        "small": {
            "length": 32, "checks": 12, "lanes": 8, "window": 16, "limits": [20, 20, 18, 14],
        },
    }  # fmt: skip

    @property
    def staircase(self) -> Staircase:
        return Staircase(self.length, self.limits)
