"""Configurations of the two engines that guess noise: ORBGRAND and step-GRAND.

Both are one architecture; they differ in which patterns they test (:mod:`.patterns`).
"""

from abc import abstractmethod
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from ..codes import gf2
from ..codes.linear import LinearCode
from ..config import EngineConfig, parameter
from .patterns import STEP_GRAND, Staircase


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
    lut_inputs: Literal[4, 6] = parameter(4)
    """Inputs of the device's look-up tables, 6 on Xilinx; for area alone."""
    skip_parity: bool = parameter(False)
    """Can skip patterns of the wrong parity for codes of even weight; a register turns it off."""

    @property
    @abstractmethod
    def staircase(self) -> Staircase:
        """Which patterns are tested."""

    @property
    def beats(self) -> int:
        """Beats of the longest word."""
        return self.beats_of(self.length)

    def beats_of(self, n: int) -> int:
        """Beats of a word of n bits."""
        return -(-n // self.lanes)

    def takes(self, code: LinearCode, skip_parity: bool) -> np.ndarray:
        """int64 [n]: the columns of H that load ``code``, to be searched by parity or not.

        Raises :class:`ValueError` where the code does not fit the engine.
        """
        if code.n > self.length:
            raise ValueError(
                f"{code.name} has n = {code.n} bits, more than length = {self.length}; generate "
                f"the engine with length={code.n}"
            )
        if skip_parity and not self.skip_parity:
            raise ValueError("the engine is generated without skip_parity; set skip_parity=true")
        H = code.beside_parity if skip_parity else code.H
        if len(H) > self.checks:
            raise ValueError(
                f"{code.name} has {len(H)} checks{' beside parity' if skip_parity else ''}, more "
                f"than checks = {self.checks}; generate the engine with checks={len(H)}"
            )
        return gf2.pack(H.T)

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
        limits, prefixes = self.staircase.limits, self.staircase.prefixes
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
        for h, rank in enumerate(prefixes[2:], 6):
            if rank > prefixes[h - 6] + 1:
                raise ValueError(
                    f"prefixes of Hamming weight {h} up to rank {rank} exceed those of {h - 2}, "
                    f"up to {prefixes[h - 6]}, by more than 1: a pattern would be tested before "
                    "one that it contains; lower it"
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
        "large": {"cores": 2, "window": 1024},
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
    limits: tuple[int, ...] = parameter(STEP_GRAND.limits)
    """Largest logistic weight for each number of flipped bits from 1; 0: none of that number."""
    prefixes: tuple[int, ...] = parameter(STEP_GRAND.prefixes)
    """Largest rank in a prefix (all but a pattern's three largest ranks), for each number of
    flipped bits from 4, surplus ones ignored; none given: any."""
    reach: int = parameter(STEP_GRAND.reach, ge=0, le=2046)
    """Largest sum of the second and third largest rank, the third counted as the largest of
    ``prefixes`` at least; 0: any."""

    presets: ClassVar[dict[str, dict[str, object]]] = {
        "default": {},
        "small": {
            "length": 32, "checks": 12, "lanes": 8, "window": 16, "limits": [20, 20, 18, 14],
        },
        "large": {"cores": 2, "window": 1024},
    }  # fmt: skip

    @property
    def staircase(self) -> Staircase:
        return Staircase(
            self.length, self.limits, self.prefixes[: len(self.limits[3:])], self.reach
        )
