"""cocotb on Verilator: an independent bench, and the way into cocotb's world of agents.

:func:`run` drives a component's streams, cycle for cycle as :mod:`..verilator` does.
:func:`run_axi` drives its AXI wrapper through the sources, sinks and masters of
cocotbext-axi.  Both take ``golden`` beats, which a scoreboard holds every output
beat against while the simulation runs.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib.wiring import Component

from ...hdl.lib.axi import AxiWrapper, axi_streams
from ...hdl.registers import register_table
from ...hdl.verilog import ports
from ..beats import Words
from ..build import pins
from ..run import (
    RESET_CYCLES,
    SURPLUS,
    Hang,
    Job,
    Options,
    Run,
    job,
    status,
    trace_format,
    waiting,
)
from ..substitute import Substitute
from .simulator import executable, launch


class MismatchError(AssertionError):
    """The scoreboard found a beat that differs; ``run`` is what came up to it."""

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run


def run(
    component: Component,
    inputs: Mapping[str, Words],
    expect: Mapping[str, int],
    *,
    golden: Mapping[str, Words] | None = None,
    substitutes: Sequence[Substitute] = (),
    **options: Unpack[Options],
) -> Run:
    """Simulate ``component``; see :class:`~thresher.sim.run.Backend`.

    ``substitutes`` run in place of its modules (:func:`~thresher.sim.build.build`).

    Writes whole waveforms only.  Raises :class:`MismatchError` at the first output beat
    that is not as in ``golden``.
    """
    task = job(component, inputs, expect, **options)
    return _run(component, task, _streams(task), golden or {}, [], substitutes)


def run_axi(
    component: Component,
    inputs: Mapping[str, Words],
    expect: Mapping[str, int],
    *,
    golden: Mapping[str, Words] | None = None,
    **options: Unpack[Options],
) -> Run:
    """The same through :class:`~thresher.hdl.lib.axi.AxiWrapper` and cocotbext-axi.

    Cycle 0 follows the writes of all control registers, each of which is read back;
    status registers are read over the bus once the run has ended.  A stall pattern
    pauses the agent of its stream, which may act on it a cycle late.

    Raises beside what :func:`run` does :class:`ValueError` for an input whose last
    beat ends no packet (cocotbext-axi sends whole packets), and :class:`MismatchError`
    for a register that does not answer as it should.
    """
    task = job(component, inputs, expect, **options)
    axes = axi_streams(task.ports)
    streams = _streams(task)
    for stream in streams:
        axis = axes[stream["name"]]
        shape = Shape.cast(axis.stream.shape)
        stream |= {
            "prefix": axis.name,
            "bytes": axis.width // 8,
            "last": axis.last,
            "signed": shape.signed,
        }
        words = task.inputs.get(stream["name"])
        if axis.last is not None and words is not None and len(words):
            word, bit = divmod(axis.last, 32)
            if not words[-1][word] >> bit & 1:
                raise ValueError(
                    f"input {stream['name']!r} ends in an open packet; set 'last' in its last beat"
                )
    table = register_table("top", task.ports, dict.fromkeys(task.ports.registers, "-"))
    return _run(AxiWrapper(component, table), task, streams, golden or {}, table.json())


def _streams(task: Job) -> list[dict[str, Any]]:
    due = {name: len(words) for name, words in task.inputs.items()} | task.expect
    return [
        {"name": p.name, "direction": p.direction, "width": p.width, "due": due[p.name]}
        for p in task.ports.streams.values()
    ]


def _run(
    top: Component,
    task: Job,
    streams: list[dict[str, Any]],
    golden: Mapping[str, Words],
    table: list[dict[str, Any]],
    substitutes: Sequence[Substitute] = (),
) -> Run:
    wave = task.wave
    if wave is not None and (wave.begin or wave.end is not None):
        raise ValueError('cocotb writes whole runs; use backend "verilator" for a window of cycles')
    if unknown := set(golden) - set(task.expect):
        raise ValueError(f"no output called {', '.join(sorted(unknown))}")
    visible = [pin.name for pin in pins(ports(top))]
    program = executable(top, visible, trace_format(wave), substitutes)
    given = [word for part in substitutes for word in part.arguments]
    orders = {
        "streams": streams,
        "map": table,
        "controls": {name: v for name, v in task.registers.items() if table or name in visible},
        "statuses": [name for name, port in task.ports.statuses.items() if port.width],
        "reset_cycles": RESET_CYCLES,
        "surplus": SURPLUS,
        "reset_at": task.reset_at,
        "drain": task.drain,
        "timeout": task.timeout,
    }
    arrays: dict[str, Any] = {"task": np.array(json.dumps(orders))}
    arrays |= {f"in:{name}": words for name, words in task.inputs.items()}
    arrays |= {f"golden:{name}": words for name, words in golden.items()}
    arrays |= {f"stall:{name}": pattern for name, pattern in task.stalls.items()}
    with TemporaryDirectory(prefix="thresher-") as scratch:
        folder = Path(scratch)
        np.savez(folder / "job.npz", **arrays)
        launch(program, folder, wave.path if wave else None, task.progress, given)
        with np.load(folder / "result.npz") as file:
            found = dict(file)
    outcome = json.loads(str(found["outcome"]))
    result = Run(
        outputs={name: found[f"out:{name}"] for name in task.expect},
        input_cycles={name: found[f"stamps:{name}"] for name in task.inputs},
        output_cycles={name: found[f"stamps:{name}"] for name in task.expect},
        registers={
            name: status(outcome["statuses"].get(name, 0), port.width, port.signed)
            for name, port in task.ports.statuses.items()
        },
        cycles=outcome["cycles"],
        seconds=outcome["seconds"],
    )
    if outcome["failure"]:
        raise MismatchError(outcome["failure"], result)
    if outcome["ending"] == "hang":
        raise Hang(waiting(task, result, task.timeout), result)
    return result
