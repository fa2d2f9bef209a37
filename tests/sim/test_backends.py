"""Every backend keeps the protocol, and all show the same outputs in the same cycles."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from thresher.hdl.verilog import ports
from thresher.sim import amaranth, beats, stalls, verilator
from thresher.sim.run import SURPLUS, Hang, Wave

BACKENDS = [verilator.run, amaranth.run]


def job(engine, samples=60, seed=0, config=None):
    task = engine.workloads["random"].build(config or engine.config(), samples, seed)
    known = ports(engine.component(task.config))
    inputs = {n: beats.pack(known.inputs[n].shape, b) for n, b in task.inputs.items()}
    return task, inputs, {n: beats.count(b) for n, b in task.outputs.items()}


def assert_same(a, b):
    for field in ("outputs", "input_cycles", "output_cycles"):
        mine, other = getattr(a, field), getattr(b, field)
        assert mine.keys() == other.keys()
        for port in mine:
            np.testing.assert_array_equal(mine[port], other[port], err_msg=f"{field} {port}")
    assert (a.registers, a.cycles) == (b.registers, b.cycles)


@pytest.mark.parametrize("kind", ["none", "random", "alternate"])
@pytest.mark.parametrize("reset_at", [None, 1, 37, 100_000])
def test_backends_agree(blend, kind, reset_at):
    task, inputs, expect = job(blend)
    patterns = {port: stalls.pattern(kind, port, 5) for port in (*inputs, *expect)}
    first, second = (
        run(
            blend.component(task.config), inputs, expect, registers=task.registers,
            stalls=patterns, reset_at=reset_at, drain=9,
        )
        for run in BACKENDS
    )  # fmt: skip
    assert_same(first, second)
    assert len(first.output_cycles["y"]) == 60
    assert first.registers["beats"] == 60


@pytest.mark.parametrize("run", BACKENDS)
def test_surplus_beats_are_caught(blend, run):
    task, inputs, expect = job(blend)
    component = blend.component(task.config)
    late = run(component, inputs, {**expect, "y": 59}, registers=task.registers)
    assert len(late.outputs["y"]) == 60
    many = run(blend.component(task.config), inputs, {**expect, "y": 3}, registers=task.registers)
    assert len(many.outputs["y"]) == 3 + SURPLUS


@pytest.mark.parametrize("run", BACKENDS)
def test_a_hang_names_the_ports_that_wait(blend, run):
    task, inputs, expect = job(blend)
    with pytest.raises(Hang) as caught:
        run(blend.component(task.config), inputs, {**expect, "y": 61}, timeout=40)
    message = str(caught.value)
    assert "no transfer in 40 cycles" in message
    assert "input x: 60 of 60 beats taken, complete" in message
    assert "output y: 60 of 61 beats delivered, waiting for the next" in message
    assert len(caught.value.run.outputs["y"]) == 60
    starved = {"x": inputs["x"]}
    with pytest.raises(Hang, match="input x: 0 of 60 beats taken, next one not taken"):
        run(blend.component(task.config), starved, expect, timeout=40)


@pytest.mark.parametrize("run", BACKENDS)
def test_patterns_gate_offers_and_readiness(blend, run):
    task, inputs, expect = job(blend)
    patterns = {"x": np.array([0, 0, 1], bool), "y": np.array([1, 0, 0, 0, 0], bool)}
    result = run(blend.component(task.config), inputs, expect, stalls=patterns)
    assert set(result.output_cycles["y"] % 5) == {0}
    # What is offered stays: a beat offered while y stalls is taken in any phase.
    assert set(result.input_cycles["x"] % 3) == {0, 1, 2}
    free = run(blend.component(task.config), inputs, expect, stalls={"x": patterns["x"]})
    assert set(free.input_cycles["x"] % 3) == {2}


class Watch(wiring.Component):
    """Adds up its payload whether valid or not, and passes beats through combinationally."""

    i: In(stream.Signature(signed(33)))
    o: Out(stream.Signature(signed(33)))
    go: In(stream.Signature(0))
    ones: Out(16)
    total: Out(signed(40))

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.o.payload.eq(self.i.payload),
            self.o.valid.eq(self.i.valid & self.go.valid),
            self.i.ready.eq(self.o.ready & self.go.valid),
            self.go.ready.eq(self.o.ready & self.i.valid),
        ]
        with m.If(~self.i.valid):
            m.d.sync += self.ones.eq(self.ones + (self.i.payload == -1))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.total.eq(self.total + self.i.payload)
        return m


@pytest.mark.parametrize("reset_at", [None, 3])
def test_combinational_paths_empty_payloads_and_idle_payload(reset_at):
    numbers = np.array([-(1 << 32), 5, -7, (1 << 32) - 1])
    inputs = {"i": beats.pack(signed(33), numbers), "go": np.zeros((4, 0), np.uint32)}
    patterns = {"i": np.array([0, 1, 0], bool), "go": np.array([0, 1], bool)}
    results = [
        run(Watch(), inputs, {"o": 4}, stalls=patterns, reset_at=reset_at, drain=10)
        for run in BACKENDS
    ]
    assert_same(*results)
    result = results[0]
    np.testing.assert_array_equal(beats.unpack(signed(33), result.outputs["o"]), numbers)
    np.testing.assert_array_equal(result.output_cycles["o"], result.input_cycles["i"])
    assert result.registers["total"] == numbers.sum()
    valid = next_free = 0
    for taken in result.input_cycles["i"]:
        offered = next(cycle for cycle in range(next_free, 1000) if cycle % 3 == 1)
        valid += taken - offered + 1
        next_free = taken + 1
    assert result.registers["ones"] == result.cycles - valid


class Free(wiring.Component):
    """No clock in use at all."""

    a: In(4, init=3)
    b: Out(signed(6))

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.b.eq(-self.a)
        return m


def test_registers_of_a_component_without_streams():
    for run in BACKENDS:
        assert run(Free(), {}, {}, drain=3).registers == {"b": -3}
        result = run(Free(), {}, {}, registers={"a": 15}, drain=3)
        assert (result.registers, result.cycles) == ({"b": -15}, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"inputs": {"z": np.zeros((1, 1), np.uint32)}}, "no input called 'z'; there are: taps, x"),
        ({"expect": {"x": 1}}, "no output called 'x'; there are: y, odd"),
        ({"inputs": {"x": np.zeros((1, 9), np.uint32)}}, r"shape \(1, 9\); expected \(beats, 3\)"),
        ({"inputs": {"x": np.full((1, 3), 1 << 31, np.uint32)}}, "bits above its 87"),
        ({"registers": {"offset": 32}}, r"register offset = 32 is outside -32\.\.31"),
        ({"stalls": {"x": np.zeros(3, bool)}}, "never lets a transfer happen"),
        ({"timeout": 0}, "timeout = 0"),
        ({"wave": Wave(Path("a.png"))}, r"a\.png is none of \.fst, \.vcd and \.saif"),
    ],
)
def test_bad_arguments_are_named(blend, arguments, words):
    for run in BACKENDS:
        with pytest.raises(ValueError, match=words):
            run(
                blend.component(blend.config()),
                **{"inputs": {}, "expect": {}, **arguments},
            )


def test_instances_are_independent_and_run_side_by_side(blend):
    jobs = [job(blend, samples=3000, seed=seed) for seed in range(4)]

    def one(entry):
        task, inputs, expect = entry
        return verilator.run(blend.component(task.config), inputs, expect, registers=task.registers)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(one, jobs))
    for entry, result in zip(jobs, together, strict=True):
        assert_same(one(entry), result)
        task = entry[0]
        y = beats.unpack(
            ports(blend.component(task.config)).outputs["y"].shape, result.outputs["y"]
        )
        np.testing.assert_array_equal(y["products"], task.outputs["y"]["products"])


def test_progress_is_told_and_may_interrupt(blend):
    task, inputs, expect = job(blend, samples=30_000)
    for run in BACKENDS:
        seen = []

        def stop(cycles, seen=seen):
            seen.append(cycles)
            if len(seen) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(blend.component(task.config), inputs, expect, progress=stop)
        assert 0 < seen[0] < seen[1]
