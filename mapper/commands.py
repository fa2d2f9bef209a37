"""A schedule as a list of commands: what a driver, or a sequencer, does one after the other.

``fetch`` and ``store`` move bytes between an address off chip and one in the scratchpad; ``run``
starts an engine on addresses; ``wait`` ends a step: all that was begun in it is done.  Without
double buffering a ``wait`` also stands between a step's transfers and its ``run``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .engines import Assigned, Assignment
from .graph import LOAD, Graph, Op
from .schedule import Operation, Schedule, Transfer

Command = Mapping[str, Any]


@dataclass(frozen=True)
class Program:
    """Commands, and what they take."""

    commands: tuple[Command, ...]
    dram: Mapping[str, int]
    """Address of every buffer off chip."""
    dram_bytes: int
    """That they take there."""
    compute: int
    """Cycles of the engines."""
    transfer: int
    """Cycles of the transfers, loads included."""
    cycles: int
    """From the first to the last: one after the other, or, double-buffered, the longer of both at
    each step."""

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        commands = [dict(command) for command in self.commands]
        return {**self.__dict__, "commands": commands, "dram": dict(self.dram)}


def lower(graph: Graph, schedule: Schedule, assignment: Assignment | None = None) -> Program:
    """The commands of ``schedule`` of ``graph``.

    ``assignment``: the engines, and cycles; None leaves engines open and counts transfers of 16
    bytes a cycle alone.
    """
    pace = 16.0 if assignment is None else assignment.bytes_per_cycle
    lines = {} if assignment is None else {line.op: line for line in assignment.lines}
    ops = {op.name: op for op in graph.ops}
    dram, end = {}, 0
    for name, buffer in schedule.buffers.items():
        dram[name] = end
        end += -(-buffer.bytes // 64) * 64  # whole bursts
    commands: list[Command] = []
    compute = transfer = cycles = 0

    def move(transfers: tuple[Transfer, ...]) -> int:
        taken = 0
        for t in transfers:
            commands.append(_move(t, dram))
            taken += _cycles(t.bytes, pace)
        return taken

    def wait() -> None:
        if commands and commands[-1]["do"] != "wait":
            commands.append({"do": "wait"})

    taken = move(schedule.prologue)
    transfer, cycles = transfer + taken, cycles + taken
    wait()
    for step in schedule.steps:
        op = ops[step.name]
        moved = move(step.transfers)
        if not schedule.double_buffered:
            wait()
        line = lines.get(op.name)
        if op.kind == LOAD:
            for tensor in op.outputs:
                place = schedule.tensors[tensor]
                bytes = schedule.buffers[place.buffer].bytes
                commands.append(_fetch(place.buffer, dram, step.placed[place.buffer], bytes))
                moved += _cycles(bytes, pace)
        else:
            commands.append(_run(op, step, schedule, line))
        wait()
        run = line.cost.cycles if line is not None else 0
        compute, transfer = compute + run, transfer + moved
        cycles += max(run, moved) if schedule.double_buffered else run + moved
    taken = move(schedule.epilogue)
    wait()
    return Program(tuple(commands), dram, end, compute, transfer + taken, cycles + taken)


def filled(graph: Graph, schedule: Schedule, assignment: Assignment) -> Schedule:
    """``schedule`` with every operator's command in its step."""
    lines = {line.op: line for line in assignment.lines}
    ops = {op.name: op for op in graph.ops}
    steps = tuple(
        step
        if ops[step.name].kind == LOAD
        else step.model_copy(
            update={"commands": (dict(_run(ops[step.name], step, schedule, lines.get(step.name))),)}
        )
        for step in schedule.steps
    )
    return schedule.model_copy(update={"steps": steps})


def _cycles(bytes: int, pace: float) -> int:
    return int(-(-bytes // pace))


def _move(t: Transfer, dram: Mapping[str, int]) -> Command:
    if t.direction == "fetch":
        return _fetch(t.buffer, dram, t.address, t.bytes)
    return {"do": "store", "buffer": t.buffer, "from": t.address, "to": dram[t.buffer],
            "bytes": t.bytes}  # fmt: skip


def _fetch(buffer: str, dram: Mapping[str, int], address: int, bytes: int) -> Command:
    return {"do": "fetch", "buffer": buffer, "from": dram[buffer], "to": address, "bytes": bytes}


def _run(op: Op, step: Operation, schedule: Schedule, line: Assigned | None) -> Command:
    def addresses(names: tuple[str, ...]) -> dict[str, list[int]]:
        """Address and bytes of each tensor."""
        found = {}
        for name in names:
            place = schedule.tensors[name]
            found[name] = [step.placed[place.buffer] + place.offset, place.bytes]
        return found

    weights = f"{op.name}:weights"
    return {
        "do": "run",
        "engine": None if line is None else line.engine,
        "operator": op.name,
        "kind": " + ".join((op.kind, *op.fused)),
        "reads": addresses(op.inputs),
        "writes": addresses(op.outputs),
        "weights": step.placed.get(weights),
        "cycles": None if line is None else line.cost.cycles,
    }
