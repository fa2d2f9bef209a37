"""Decoders of channel codes by name, as commands and benches write them.

A new family adds its names to :data:`DECODERS`; its module holds ``KINDS``, a :class:`Kind` by
name.  Nothing else knows it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import torch

from .codes.linear import LinearCode
from .codes.montecarlo import Decoder
from .config import EngineConfig, unknown

DECODERS = {
    "orbgrand": ".grand.named",
    "step-grand": ".grand.named",
    "one-line": ".grand.named",
    "sc": ".fast_sclf.named",
    "scl": ".fast_sclf.named",
    "fast-scl": ".fast_sclf.named",
    "scl-flip": ".fast_sclf.named",
    "fast-sclf": ".fast_sclf.named",
}
"""The module of every decoder."""


class CodeDecoder(Decoder, Protocol):
    """A decoder of one code."""

    code: LinearCode


class Estimate(Protocol):
    """An error rate that was estimated; see :class:`.grand.estimate.Estimate`."""

    @property
    def fer(self) -> float: ...

    @property
    def means(self) -> Mapping[str, float]: ...

    @property
    def frames(self) -> int: ...

    def interval(self, z: float = 1.96) -> tuple[float, float]: ...


Estimator = Callable[..., Estimate]
"""``(decoder, channel, *, quantiser, frames, block, seed)``."""


@dataclass(frozen=True)
class Kind:
    """What is known of a decoder before there is a code."""

    summary: str
    options: type[EngineConfig]
    """Its parameters."""
    build: Callable[[str, Any, str], CodeDecoder]
    """Makes it for a code's name (:func:`.codes.named.code`), options and a device of PyTorch."""
    estimators: Mapping[str, Estimator] = field(default_factory=dict)
    """Ways to estimate rates that are too small to be counted, by name."""

    def estimator(self, name: str) -> Estimator:
        """The one called ``name``; :class:`ValueError` naming those there are otherwise."""
        if name not in self.estimators:
            raise ValueError(unknown("estimate of this decoder", name, self.estimators))
        return self.estimators[name]


def kind(name: str) -> Kind:
    """The decoder called ``name``; :class:`ValueError` naming near or known ones otherwise."""
    if name not in DECODERS:
        raise ValueError(unknown("decoder", name, DECODERS))
    return import_module(DECODERS[name], __package__).KINDS[name]


def describe() -> list[dict[str, Any]]:
    """Name, summary, estimates and options of every decoder."""
    return [
        {
            "name": name,
            "summary": (found := kind(name)).summary,
            "estimates": list(found.estimators),
            "options": [
                {"name": o.name, "value": o.default, "description": o.description}
                for o in found.options.parameters()
            ],
        }
        for name in DECODERS
    ]


def build(name: str, code: str, settings: Iterable[str] = (), device: str = "cpu") -> CodeDecoder:
    """The decoder ``name`` of the code of that name, with ``key=value`` settings.

    Raises :class:`ValueError` that says what is wrong and what there is.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise ValueError(f"there is no device {device!r} here; PyTorch finds the processor alone")
    found = kind(name)
    return found.build(code, found.options.load(settings=settings), device)
