"""The list decoders of polar codes by name (:mod:`..decoders`) and their options."""

from typing import Any

from ..codes.named import polar
from ..config import EngineConfig, parameter
from ..decoders import Kind
from .decoder import ALPHA, Decoder, Options
from .formats import Formats


class ScOptions(EngineConfig):
    """Of successive cancellation: number formats alone."""

    llr_bits: int = parameter(0, unit="bits", ge=0, le=16)
    """Width of every LLR inside an engine, sign included; 0: floating point."""
    metric_bits: int = parameter(0, unit="bits", ge=0, le=24)
    """Width of a path metric, unsigned and saturating; 0: floating point."""


class SclOptions(ScOptions):
    """Of list decoding."""

    lists: int = parameter(4, unit="paths", ge=1, le=64)
    """Paths that are followed side by side, a power of two."""


class FastSclOptions(SclOptions):
    """Of list decoding by leaves."""

    leaf: int = parameter(0, unit="bits", ge=0, le=1024)
    """Largest special node, a power of two; 0: any."""


class SclFlipOptions(SclOptions):
    """Of list decoding with flips."""

    attempts: int = parameter(50, ge=0, le=1000)
    """Most decodings, each with a flipped path selection, where no path has the right CRC."""
    alpha: float = parameter(ALPHA, ge=0, le=16)
    """The error model's parameter: weight of the paths that a selection dropped."""


class FastSclfOptions(SclFlipOptions):
    """Of list decoding by leaves with flips."""

    leaf: int = parameter(0, unit="bits", ge=0, le=1024)
    """Largest special node, a power of two; 0: any."""


def _kind(summary: str, options: type[EngineConfig], **fixed: int) -> Kind:
    def build(name: str, chosen: EngineConfig, device: str) -> Decoder:
        values: dict[str, Any] = {**chosen.model_dump(), **fixed}
        values["formats"] = Formats.of_bits(values.pop("llr_bits"), values.pop("metric_bits"))
        values["leaf"] = values["leaf"] or None
        return Decoder(polar(name), Options(**values), device)

    return Kind(summary, options, build)


KINDS = {
    "sc": _kind("successive cancellation", ScOptions, lists=1, attempts=0, leaf=1),
    "scl": _kind("list decoding, bit by bit", SclOptions, attempts=0, leaf=1),
    "fast-scl": _kind(
        "the same by special nodes: equal words, fewer steps", FastSclOptions, attempts=0
    ),
    "scl-flip": _kind("scl that tries again with a path selection flipped", SclFlipOptions, leaf=1),
    "fast-sclf": _kind("fast-scl that tries again with a path selection flipped", FastSclfOptions),
}
