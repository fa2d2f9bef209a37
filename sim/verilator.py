"""Verilator in this process: the clock loop stays in compiled code.

:func:`run` is a :class:`~thresher.sim.run.Backend`; :class:`Instance` is one
simulated component, for whoever needs to drive it in another way.  Instances are
independent of each other, and the interpreter lock is free while they run.
"""

import ctypes as c
import time
from collections.abc import Mapping, Sequence
from functools import cache
from os import fsencode
from pathlib import Path
from typing import Self, Unpack

import numpy as np
from amaranth.lib.wiring import Component

from .beats import Words
from .build import Build, build
from .run import (
    RESET_CYCLES,
    SURPLUS,
    Hang,
    Job,
    Options,
    Run,
    Wave,
    job,
    status,
    trace_format,
    waiting,
)
from .substitute import Substitute

_MORE, _COMPLETE, _HANG, _SURPLUS, _FAILED = range(5)
_SLICE_SECONDS = 0.2
"""How long compiled code runs between looks at signals and progress."""


class Port(c.Structure):
    """A stream's state in the clock loop; ``harness.cpp`` says what the fields mean."""

    _fields_ = [
        ("words", c.c_void_p),
        ("stamps", c.c_void_p),
        ("pattern", c.c_void_p),
        *((name, c.c_int64) for name in ("period", "beats", "room", "done", "phase", "offered")),
    ]


class Instance:
    """One simulated component.  Close it, or use it as a context manager."""

    def __init__(self, built: Build) -> None:
        self.build = built
        self._library = _load(built.library)
        self._handle: int | None = self._library.thresher_open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation and complete its waveform."""
        if self._handle is not None:
            self._library.thresher_trace_close(self._handle)
            self._library.thresher_close(self._handle)
            self._handle = None

    @property
    def cycle(self) -> int:
        """Cycles since reset was released."""
        return self._library.thresher_cycle(self._open)

    def arguments(self, words: Sequence[str]) -> None:
        """What ``$value$plusargs`` finds; before the first cycle."""
        given = [fsencode(word) for word in ("top", *words)]
        self._library.thresher_arguments(self._open, len(given), (c.c_char_p * len(given))(*given))

    def trace(self, wave: Wave) -> None:
        """Write a waveform from now on; the build must have been made for its format."""
        end = np.iinfo(np.int64).max if wave.end is None else wave.end
        path = fsencode(wave.path)
        self._check(self._library.thresher_trace(self._open, path, wave.begin, end))

    def reset(self, cycles: int = RESET_CYCLES, pending: int = 0) -> None:
        """Hold reset for ``cycles`` with every stream quiet; cycle 0 comes next."""
        self._check(self._library.thresher_reset(self._open, cycles, pending))

    def tick(self, cycles: int = 1) -> None:
        """Clock the component with its pins as they are."""
        self._check(self._library.thresher_tick(self._open, cycles))

    def poke(self, pin: int, value: int) -> None:
        """Drive pin number ``pin`` of ``build.pins`` with the low bits of ``value``."""
        width = self.build.pins[pin].width
        size = -(-width // 32) * 4
        data = (value & ((1 << width) - 1)).to_bytes(max(size, 8), "little")
        self._library.thresher_poke(self._open, pin, data)

    def peek(self, pin: int) -> int:
        """The bits of pin number ``pin`` as an unsigned number."""
        buffer = c.create_string_buffer(max(-(-self.build.pins[pin].width // 32) * 4, 8))
        self._library.thresher_peek(self._open, pin, buffer)
        return int.from_bytes(buffer.raw, "little")

    def eval(self) -> None:
        """Settle combinational logic after :meth:`poke`."""
        self._check(self._library.thresher_eval(self._open))

    def advance(
        self, inputs: c.Array[Port], outputs: c.Array[Port], cycles: int, timeout: int, drain: int
    ) -> int:
        """Run the clock loop for at most ``cycles``; returns the harness's ``Status``."""
        return self._check(
            self._library.thresher_advance(self._open, inputs, outputs, cycles, timeout, drain)
        )

    @property
    def _open(self) -> int:
        if self._handle is None:
            raise ValueError("the simulation is closed")
        return self._handle

    def _check(self, code: int) -> int:
        if code == _FAILED:
            words = self._library.thresher_error(self._open).decode(errors="replace")
            raise RuntimeError(f"the simulated model failed: {words}")
        return code


def run(
    component: Component,
    inputs: Mapping[str, Words],
    expect: Mapping[str, int],
    *,
    verilog: str | None = None,
    substitutes: Sequence[Substitute] = (),
    **options: Unpack[Options],
) -> Run:
    """Simulate ``component``; see :class:`~thresher.sim.run.Backend`.

    ``verilog`` runs in place of the component's own, ``substitutes`` in place of its modules
    (:func:`~thresher.sim.build.build`).
    """
    task = job(component, inputs, expect, **options)
    with Instance(build(component, trace_format(task.wave), verilog, substitutes)) as instance:
        instance.arguments([word for part in substitutes for word in part.arguments])
        return _run(instance, task)


def _run(instance: Instance, task: Job) -> Run:
    if task.wave is not None:
        instance.trace(task.wave)
    numbers = {pin.name: i for i, pin in enumerate(instance.build.pins)}
    for name, value in task.registers.items():
        if name in numbers:
            instance.poke(numbers[name], value)
    began = time.perf_counter()
    if task.reset_at is not None:
        _attempt(instance, _Streams(task), task, task.reset_at)
    streams = _Streams(task)
    code = _attempt(instance, streams, task, None)
    seconds = time.perf_counter() - began
    statuses = {
        name: status(instance.peek(numbers[name]), port.width, port.signed) if port.width else 0
        for name, port in task.ports.statuses.items()
    }
    result = streams.result(statuses, instance.cycle, seconds)
    if code == _HANG:
        raise Hang(waiting(task, result, task.timeout), result)
    return result


def _attempt(instance: Instance, streams: "_Streams", task: Job, limit: int | None) -> int:
    """Reset and run to the end, or for ``limit`` cycles."""
    instance.reset(pending=streams.pending)
    code, slice_cycles = _MORE, 10_000
    while code == _MORE and (limit is None or instance.cycle < limit):
        cycles = slice_cycles if limit is None else min(slice_cycles, limit - instance.cycle)
        began = time.perf_counter()
        code = instance.advance(streams.inputs, streams.outputs, cycles, task.timeout, task.drain)
        rate = cycles / (time.perf_counter() - began)
        slice_cycles = int(min(max(rate * _SLICE_SECONDS, 100), 10 * slice_cycles))
        task.progress(instance.cycle)
    return code


class _Streams:
    """Buffers of one attempt, as the harness sees them."""

    def __init__(self, task: Job) -> None:
        self._task = task
        self._words = {
            name: np.zeros((beats + SURPLUS, -(-port.width // 32)), dtype=np.uint32)
            for (name, port), beats in zip(
                task.ports.outputs.items(), task.expect.values(), strict=True
            )
        }
        self._words |= task.inputs
        self._stamps = {
            name: np.zeros(len(words), dtype=np.int64) for name, words in self._words.items()
        }
        self.inputs = self._array({name: len(words) for name, words in task.inputs.items()})
        self.outputs = self._array(task.expect)
        self.pending = sum(port.beats > 0 for port in (*self.inputs, *self.outputs))

    def result(self, statuses: dict[str, int], cycles: int, seconds: float) -> Run:
        taken = {n: p.done for n, p in zip(self._task.inputs, self.inputs, strict=True)}
        given = {n: p.done for n, p in zip(self._task.expect, self.outputs, strict=True)}
        return Run(
            outputs={name: self._words[name][:done] for name, done in given.items()},
            input_cycles={name: self._stamps[name][:done] for name, done in taken.items()},
            output_cycles={name: self._stamps[name][:done] for name, done in given.items()},
            registers=statuses,
            cycles=cycles,
            seconds=seconds,
        )

    def _array(self, beats: Mapping[str, int]) -> c.Array[Port]:
        ports = (Port * len(beats))()
        for port, (name, number) in zip(ports, beats.items(), strict=True):
            pattern = self._task.stalls[name]
            port.words = self._words[name].ctypes.data
            port.stamps = self._stamps[name].ctypes.data
            port.pattern = pattern.ctypes.data
            port.period, port.beats, port.room = len(pattern), number, len(self._words[name])
        return ports


@cache
def _load(library: Path) -> c.CDLL:
    loaded = c.CDLL(str(library))
    simulation, pin = c.c_void_p, c.c_int
    for name, result, *arguments in (
        ("open", simulation),
        ("close", None, simulation),
        ("arguments", None, simulation, c.c_int, c.c_void_p),
        ("error", c.c_char_p, simulation),
        ("trace", c.c_int, simulation, c.c_char_p, c.c_int64, c.c_int64),
        ("trace_close", None, simulation),
        ("reset", c.c_int, simulation, c.c_int64, c.c_int64),
        ("advance", c.c_int, simulation, c.c_void_p, c.c_void_p, *[c.c_int64] * 3),
        ("cycle", c.c_int64, simulation),
        ("poke", None, simulation, pin, c.c_char_p),
        ("peek", None, simulation, pin, c.c_char_p),
        ("eval", c.c_int, simulation),
        ("tick", c.c_int, simulation, c.c_int64),
    ):
        function = getattr(loaded, f"thresher_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded
