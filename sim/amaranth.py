"""Amaranth's own simulator, for what needs no compiler and is small: some 1,000 cycles/s.

The same protocol, cycle for cycle, as :mod:`.verilator`.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Unpack

import numpy as np
from amaranth.hdl import ClockDomain, Module, Value
from amaranth.lib.wiring import Component
from amaranth.sim import Simulator
from numpy.typing import NDArray

from ..hdl.verilog import values
from .beats import Words
from .run import RESET_CYCLES, SURPLUS, Hang, Job, Options, Run, job, waiting

_PROGRESS_CYCLES = 256


def run(
    component: Component,
    inputs: Mapping[str, Words],
    expect: Mapping[str, int],
    **options: Unpack[Options],
) -> Run:
    """Simulate ``component``; see :class:`~thresher.sim.run.Backend`.

    Writes whole waveforms in VCD only.
    """
    task = job(component, inputs, expect, **options)
    wave = task.wave
    if wave is not None and (wave.path.suffix != ".vcd" or wave.begin or wave.end is not None):
        raise ValueError(
            "Amaranth's simulator writes whole runs as .vcd; "
            'use backend "verilator" for .fst or a window of cycles'
        )
    domain = ClockDomain("sync")
    top = Module()
    top.domains += domain
    top.submodules.dut = component
    bench = _Bench(component, domain, task)
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench.main)
    began = time.perf_counter()
    with ExitStack() as stack:
        if wave is not None:
            stack.enter_context(simulator.write_vcd(str(wave.path)))
        simulator.run()
    result = bench.result(time.perf_counter() - began)
    if bench.hung:
        raise Hang(waiting(task, result, task.timeout), result)
    return result


@dataclass
class _Stream:
    """One port in one attempt."""

    payload: Value
    valid: Value
    ready: Value
    pattern: NDArray[np.bool_]
    beats: int
    """To feed, or expected."""
    data: list[int]
    """Payloads to feed, or received."""
    cycles: list[int] = field(default_factory=list)
    offered: bool = False

    @property
    def due(self) -> bool:
        return len(self.cycles) < self.beats


class _Bench:
    def __init__(self, component: Component, domain: ClockDomain, task: Job) -> None:
        self.members, self.domain, self.task = values(component), domain, task
        self.hung = False
        self.cycle = 0
        self.statuses: dict[str, int] = {}
        self._begin()

    def _begin(self) -> None:
        task = self.task
        self.inputs = {
            name: self._stream(name, len(words), _integers(words))
            for name, words in task.inputs.items()
        }
        self.outputs = {name: self._stream(name, beats, []) for name, beats in task.expect.items()}

    def _stream(self, name: str, beats: int, data: list[int]) -> _Stream:
        port = self.members[name]
        pattern = self.task.stalls[name]
        return _Stream(Value.cast(port.payload), port.valid, port.ready, pattern, beats, data)

    async def main(self, ctx: Any) -> None:
        for name, value in self.task.registers.items():
            ctx.set(_bits(self.members[name]), value)
        if self.task.reset_at is not None:
            await self._attempt(ctx, self.task.reset_at)
            self.hung = False
            self._begin()
        await self._attempt(ctx, None)
        for name, port in self.task.ports.statuses.items():
            value = Value.cast(self.members[name])
            self.statuses[name] = int(ctx.get(value)) if port.width else 0

    async def _attempt(self, ctx: Any, limit: int | None) -> None:
        """Reset and run to the end, or for ``limit`` cycles."""
        for stream in self.inputs.values():
            _rest(ctx, stream)
        for stream in self.outputs.values():
            ctx.set(stream.ready, 0)
        ctx.set(self.domain.rst, 1)
        for _ in range(RESET_CYCLES):
            await ctx.tick()
        ctx.set(self.domain.rst, 0)
        self.cycle = idle = drained = 0
        while limit is None or self.cycle < limit:
            moved = self._cycle(ctx)
            await ctx.tick()
            self.cycle += 1
            if self.cycle % _PROGRESS_CYCLES == 0:
                self.task.progress(self.cycle)
            if any(len(s.cycles) == s.beats + SURPLUS for s in self.outputs.values()):
                return
            idle = 0 if moved else idle + 1
            if any(stream.due for stream in (*self.inputs.values(), *self.outputs.values())):
                if idle >= self.task.timeout:
                    self.hung = True
                    return
            else:
                if drained >= self.task.drain:
                    return
                drained += 1

    def _cycle(self, ctx: Any) -> bool:
        """Drive and sample all streams; returns whether anything moved."""
        for stream in self.inputs.values():
            if not stream.offered and stream.due and self._open(stream):
                ctx.set(_bits(stream.payload), stream.data[len(stream.cycles)])
                ctx.set(stream.valid, 1)
                stream.offered = True
            elif not stream.offered:
                _rest(ctx, stream)
        for stream in self.outputs.values():
            ctx.set(stream.ready, int(self._open(stream)))
        moved = False
        for stream in self.inputs.values():
            if stream.offered and ctx.get(stream.ready):
                stream.cycles.append(self.cycle)
                stream.offered, moved = False, True
        for stream in self.outputs.values():
            if ctx.get(stream.ready) and ctx.get(stream.valid):
                stream.cycles.append(self.cycle)
                stream.data.append(int(ctx.get(_bits(stream.payload))))
                moved = True
        return moved

    def _open(self, stream: _Stream) -> bool:
        return bool(stream.pattern[self.cycle % len(stream.pattern)])

    def result(self, seconds: float) -> Run:
        """What the last attempt delivered."""
        outputs = {}
        for name, stream in self.outputs.items():
            columns = -(-self.task.ports.outputs[name].width // 32)
            raw = b"".join(value.to_bytes(4 * columns, "little") for value in stream.data)
            outputs[name] = np.frombuffer(raw, dtype="<u4").reshape(len(stream.data), columns)
        return Run(
            outputs=outputs,
            input_cycles={n: np.array(s.cycles, dtype=np.int64) for n, s in self.inputs.items()},
            output_cycles={n: np.array(s.cycles, dtype=np.int64) for n, s in self.outputs.items()},
            registers=self.statuses,
            cycles=self.cycle,
            seconds=seconds,
        )


def _rest(ctx: Any, stream: _Stream) -> None:
    ctx.set(stream.valid, 0)
    ctx.set(_bits(stream.payload), (1 << len(stream.payload)) - 1)


def _bits(value: Any) -> Value:
    return Value.cast(value).as_unsigned()


def _integers(words: Words) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in words]
