"""What every simulation backend takes and returns.

The protocol, the same cycle for cycle on every backend:

* ``rst`` is held for :data:`RESET_CYCLES`; cycle 0 is the first one after it.
* In each cycle the testbench drives ``valid`` and payload of the inputs and
  ``ready`` of the outputs as the stall patterns allow (:mod:`.stalls`); a transfer
  happens where both are high at the rising edge that ends the cycle.  While
  ``valid`` is low the payload is all ones, so that a component that looks at
  it anyway is found out.
* Once every input beat was taken and every expected output beat came, ``drain``
  more cycles catch surplus beats (at most :data:`SURPLUS` a port).
* ``reset_at``: at that cycle ``rst`` is asserted again, everything starts over, and
  the second attempt is the one that is reported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypedDict, Unpack

import numpy as np
from amaranth.lib.wiring import Component
from numpy.typing import NDArray

from ..hdl.verilog import Ports, ports
from .beats import Words

RESET_CYCLES = 4
"""Cycles that ``rst`` is held, with no stream offered or ready."""
SURPLUS = 16
"""Beats beyond the expected ones after which a port ends the run."""


@dataclass
class Run:
    """What a simulation delivered."""

    outputs: dict[str, Words]
    """By port, surplus beats included."""
    input_cycles: dict[str, NDArray[np.int64]]
    """Cycle in which each input beat was taken."""
    output_cycles: dict[str, NDArray[np.int64]]
    """Cycle in which each output beat was delivered."""
    registers: dict[str, int]
    """Status registers at the end."""
    cycles: int
    """Cycles simulated since reset was released, drain included."""
    seconds: float
    """Wall time spent simulating, builds not counted."""


class Hang(RuntimeError):  # noqa: N818  (a condition more than an error)
    """No transfer happened for too long; says which ports wait.  ``run`` is what came before."""

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run


@dataclass(frozen=True)
class Wave:
    """A waveform to write: ``.fst`` or ``.vcd``, cycles ``begin`` to ``end`` (exclusive).

    ``.saif`` holds no values, but how often each bit changes (IEEE 1801's switching activity).
    """

    path: Path
    begin: int = 0
    end: int | None = None


def trace_format(wave: Wave | None) -> Literal["", "fst", "vcd", "saif"]:
    """What a model must be built for; :class:`ValueError` for any other file name."""
    if wave is None:
        return ""
    for kind in ("fst", "vcd", "saif"):
        if wave.path.suffix == f".{kind}":
            return kind
    raise ValueError(f"waveform {wave.path} is none of .fst, .vcd and .saif")


@dataclass(frozen=True)
class Job:
    """The validated arguments of a run."""

    ports: Ports
    inputs: dict[str, Words]
    expect: dict[str, int]
    registers: dict[str, int]
    """Every control register, as the unsigned value of its bits."""
    stalls: dict[str, NDArray[np.bool_]]
    """Every stream has a pattern."""
    reset_at: int | None = None
    drain: int = 64
    timeout: int = 10_000
    wave: Wave | None = None
    progress: Callable[[int], object] = field(default=lambda cycles: None)


class Options(TypedDict, total=False):
    """What a run may be told besides; :func:`job` has the defaults."""

    registers: Mapping[str, int] | None
    """Control values, the initial ones where left out."""
    stalls: Mapping[str, NDArray[np.bool_]] | None
    """Patterns of streams (:mod:`.stalls`), none where left out."""
    reset_at: int | None
    drain: int
    timeout: int
    """Cycles without a transfer that raise :class:`Hang`."""
    wave: Wave | None
    progress: Callable[[int], object] | None
    """Called now and then with the cycles simulated."""


class Backend(Protocol):
    """Runs ``component``; see the module's protocol.

    ``inputs``: words of each input stream, none where a port is left out.
    ``expect``: beats that each output must deliver.
    Raises :class:`ValueError` for arguments that do not fit the component.
    """

    def __call__(
        self,
        component: Component,
        inputs: Mapping[str, Words],
        expect: Mapping[str, int],
        **options: Unpack[Options],
    ) -> Run: ...


def job(
    component: Component,
    inputs: Mapping[str, Words],
    expect: Mapping[str, int],
    *,
    registers: Mapping[str, int] | None = None,
    stalls: Mapping[str, NDArray[np.bool_]] | None = None,
    reset_at: int | None = None,
    drain: int = 64,
    timeout: int = 10_000,
    wave: Wave | None = None,
    progress: Callable[[int], object] | None = None,
) -> Job:
    """Validate the arguments of a run and fill in what was left out."""
    known = ports(component)
    _only("input", inputs, known.inputs)
    _only("output", expect, known.outputs)
    _only("control register", registers or {}, known.controls)
    _only("stream", stalls or {}, known.streams)
    for name, value in (("reset_at", reset_at or 0), ("drain", drain), ("timeout", timeout - 1)):
        if value < 0:
            raise ValueError(f"{name} = {value + (name == 'timeout')} is too small")
    trace_format(wave)
    words = {}
    for name, port in known.inputs.items():
        columns = -(-port.width // 32)
        given = inputs.get(name, np.zeros((0, columns), dtype=np.uint32))
        given = np.ascontiguousarray(given, dtype=np.uint32)
        if given.ndim != 2 or given.shape[1] != columns:
            raise ValueError(
                f"words of input {name!r} have shape {given.shape}; expected (beats, {columns})"
            )
        if port.width % 32 and (given[:, -1] >> (port.width % 32)).any():
            raise ValueError(f"words of input {name!r} have bits above its {port.width}")
        words[name] = given
    wants = {name: int(expect.get(name, 0)) for name in known.outputs}
    values = {}
    for name, port in known.controls.items():
        value = (registers or {}).get(name, port.init)
        low = -(1 << (port.width - 1)) if port.signed else 0
        high = (1 << (port.width - port.signed)) - 1
        if not low <= value <= high:
            raise ValueError(f"register {name} = {value} is outside {low}..{high}")
        values[name] = value & ((1 << port.width) - 1)
    patterns = {}
    for name in known.streams:
        pattern = np.ascontiguousarray((stalls or {}).get(name, [True]), dtype=bool)
        if pattern.ndim != 1 or not pattern.any():
            raise ValueError(f"stall pattern of {name!r} never lets a transfer happen")
        patterns[name] = pattern
    return Job(
        known, words, wants, values, patterns, reset_at, drain, timeout, wave,
        progress or (lambda cycles: None),
    )  # fmt: skip


def status(value: int, width: int, signed: bool) -> int:
    """The number that the bits ``value`` of a status register stand for."""
    return value - (1 << width) if signed and width and value >> (width - 1) else value


def waiting(task: Job, result: Run, timeout: int) -> str:
    """The message of a :class:`Hang`."""
    lines = [f"no transfer in {timeout} cycles (stopped at cycle {result.cycles}):"]
    for name, words in task.inputs.items():
        done = len(result.input_cycles[name])
        state = "complete" if done == len(words) else "next one not taken"
        lines.append(f"  input {name}: {done} of {len(words)} beats taken, {state}")
    for name, wanted in task.expect.items():
        done = len(result.output_cycles[name])
        state = "complete" if done >= wanted else "waiting for the next"
        lines.append(f"  output {name}: {done} of {wanted} beats delivered, {state}")
    return "\n".join(lines)


def _only(kind: str, given: Mapping[str, object], known: Mapping[str, object]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"no {kind} called {name!r}; there are: {', '.join(known) or 'none'}")
