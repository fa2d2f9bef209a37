"""The one contract that every engine keeps, and the registry of engines.

Tools know an engine through its :class:`Engine` object alone.  Rules that every
component obeys:

* It is an :class:`amaranth.lib.wiring.Component`.  Members that are
  ``stream.Signature`` are its data ports; every other ``In`` member is a control
  register and every other ``Out`` member a status register or counter (their
  texts stand in :attr:`Engine.registers`).
* It holds under any pattern of ``valid``/``ready`` stalls, after a reset at any
  cycle, and back to back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Generic, TypeVar

import numpy as np
from amaranth.lib.wiring import Component

from ..models.config import EngineConfig, unknown

C = TypeVar("C", bound=EngineConfig)

Beats = Any
"""Payloads of one port, beat by beat: an integer array whose first axis is the
beat and whose further axes follow the payload's ``ArrayLayout``; for a
``StructLayout`` a mapping from field name to such an array."""


@dataclass(frozen=True)
class Workload:
    """What to feed a component, what must come out, and how to judge it.

    ``cycles`` counts from the first transfer on port ``start`` to the last on
    port ``stop``, both included, with nothing stalled.
    """

    name: str
    config: EngineConfig
    inputs: Mapping[str, Beats]
    """Beats of every input stream; empty arrays where a port carries nothing."""
    outputs: Mapping[str, Beats]
    """Beats that every output stream must deliver, from the golden model."""
    start: str
    stop: str
    cycles: int
    """Closed-form cycle count."""
    ideal_cycles: int
    """Work bound: cycles if the engine's scarcest resource never idled."""
    registers: Mapping[str, int] = field(default_factory=dict)
    """Values of control registers, held from before the first beat."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """Values that status registers must show at the end (those that are known)."""
    evaluate: Callable[[Mapping[str, Beats]], dict[str, Any]] = lambda outputs: {}
    """Application figures (accuracy, text read, error rate) of given outputs."""


@dataclass(frozen=True)
class WorkloadSource(Generic[C]):
    """A named family of workloads."""

    summary: str
    build: Callable[[C, int | None, int], Workload]
    """``build(config, samples, seed)``; ``samples=None`` is the whole workload.

    Raises :class:`thresher.models.data.MissingData` where it needs a file that
    is absent."""
    configure: Callable[[C], C] = lambda config: config
    """Fits shape and formats of a configuration to the workload."""

    @property
    def takes_any(self) -> bool:
        """Whether it runs on every configuration as it is."""
        return self.configure is WorkloadSource.configure


@dataclass(frozen=True)
class Engine(Generic[C]):
    """Everything that the tools know of one engine."""

    name: str
    summary: str
    paper: str
    headline: str
    config: type[C]
    component: Callable[[C], Component]
    workloads: Mapping[str, WorkloadSource[C]]
    """By name; the first is the default."""
    registers: Mapping[str, str]
    """What each control and status member means."""
    random_config: Callable[[np.random.Generator], C]
    """A small random configuration, for the verification suite."""
    cycles: str = ""
    """The closed form behind :attr:`Workload.cycles`, as text for people."""
    estimate: Callable[[C], Mapping[str, float]] | None = None
    """Figures of a configuration in closed form, without generating anything: ``cycles`` of the
    engine's unit of work, which its ``hdl/NAME/estimate.py`` names, in the worst case where they
    depend on data; ``lut`` (6-input tables), ``ff`` and ``dsp`` (DSP48) of Xilinx 7, by formulas
    that were fitted to Yosys' counts (:class:`.estimates.Fit`); ``memory_bits`` that are stored."""


ENGINES = (
    "sparse_lstm",
    "orbgrand",
    "step_grand",
    "fast_sclf",
    "amu",
    "amu_network",
    "sore",
    "wuve",
    "nm_array",
    "reram",
    "bcnn_conv",
)
"""The registry: engine NAME lives in ``hdl/NAME`` as the object ``ENGINE``."""


@cache
def engine(name: str) -> Engine[Any]:
    """The engine called ``name``; :class:`KeyError` naming near or known ones otherwise."""
    if name not in ENGINES:
        raise KeyError(unknown("engine", name, ENGINES))
    return import_module(f".{name}", __package__).ENGINE
