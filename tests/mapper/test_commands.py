"""Commands of schedules, carried out by a small machine of our own."""

import pytest
from thresher.mapper import commands, exact
from thresher.mapper.engines import assign
from thresher.mapper.problem import Memory, lower
from thresher.mapper.schedule import Schedule
from thresher.mapper.targets import Host, Lstm

from .test_contract import diamond


@pytest.mark.parametrize("double_buffered", [False, True])
def test_commands_carry_the_bytes(double_buffered) -> None:
    graph = diamond()
    memory = Memory(30 if double_buffered else 22, double_buffered=double_buffered)
    problem = lower(graph, memory, True)
    schedule = Schedule.of(graph, exact.solve(problem).plan)
    engines = assign(graph, [Lstm(), Host()], bytes_per_cycle=4)
    program = commands.lower(graph, schedule, engines)

    chip, begun = {}, []
    off = dict.fromkeys(("x", "a:weights", "b:weights", "c:weights"), "given")
    begins = {address: name for name, address in program.dram.items()}
    assert len(begins) == len(problem.buffers)

    def settle() -> None:
        for where, what in begun:
            chip[where] = what
        begun.clear()

    for command in program.commands:
        if command["do"] == "wait":
            settle()
        elif command["do"] == "fetch":
            assert begins[command["from"]] == command["buffer"]
            begun.append((command["to"], (command["buffer"], off[command["buffer"]])))
        elif command["do"] == "store":
            off[command["buffer"]] = chip[command["from"]][1]
        else:
            for name, (address, bytes) in command["reads"].items():
                assert chip[address][0] == name
                assert bytes == graph.tensors[name].bytes
            if command["weights"] is not None:
                assert chip[command["weights"]][0] == f"{command['operator']}:weights"
            for name, (address, _) in command["writes"].items():
                begun.append((address, (name, "made")))
            assert command["engine"] == "host"
    settle()
    assert off["d"] == "made"
    moved = sum(c["bytes"] for c in program.commands if c["do"] in ("fetch", "store"))
    assert moved == exact.solve(problem).total
    both = program.compute + program.transfer
    assert program.cycles < both if double_buffered else program.cycles == both


def test_schedules_hold_their_commands(tmp_path) -> None:
    graph = diamond()
    schedule = Schedule.of(graph, exact.solve(lower(graph, Memory(14))).plan)
    found = commands.filled(graph, schedule, assign(graph, [Host()]))
    found.write(tmp_path / "s.json")
    again = Schedule.read(tmp_path / "s.json")
    assert [len(step.commands) for step in again.steps] == [0, 1, 1, 1, 1, 1]
    assert again.steps[1].commands[0]["reads"] == {"x": [schedule.steps[1].placed["x"], 4]}
    open_ended = commands.lower(graph, schedule)
    assert {c["engine"] for c in open_ended.commands if c["do"] == "run"} == {None}
