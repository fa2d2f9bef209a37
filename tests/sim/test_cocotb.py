"""The cocotb bench: the same cycles as the in-process harness, and the AXI wrapper beside it."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from thresher.hdl.verilog import ports
from thresher.sim import Hang, Wave, beats, cocotb, simulate, stalls, verilator
from thresher.sim.cocotb import MismatchError

STALLED = {"none": (), "idle": ("taps", "x"), "pressure": ("y", "odd"), "both": None}


@pytest.fixture(scope="module")
def job(blend):
    """Makes, from a kind of stalls, the arguments of a run and its golden words."""
    task = blend.workloads["random"].build(blend.config(), 40, 7)
    known = ports(blend.component(task.config))
    golden = {name: beats.pack(known.outputs[name].shape, b) for name, b in task.outputs.items()}

    def arguments(stalled="none", **more):
        names = known.streams if STALLED[stalled] is None else STALLED[stalled]
        patterns = {name: stalls.pattern("random", name, 5) for name in names}
        options = {"registers": task.registers, "stalls": patterns, "golden": golden, **more}
        inputs = {n: beats.pack(known.inputs[n].shape, b) for n, b in task.inputs.items()}
        expect = {name: len(words) for name, words in golden.items()}
        return (blend.component(task.config), inputs, expect), options

    arguments.task, arguments.golden = task, golden
    return arguments


def check(result, job):
    for name, words in job.golden.items():
        np.testing.assert_array_equal(result.outputs[name], words)
    assert result.registers == dict(job.task.counters)


@pytest.mark.parametrize(
    ("stalled", "reset_at"), [*((stalled, None) for stalled in STALLED), ("both", 33)]
)
def test_streams_cycle_for_cycle(job, stalled, reset_at):
    positional, options = job(stalled, reset_at=reset_at)
    result = cocotb.run(*positional, **options)
    check(result, job)
    del options["golden"]
    reference = verilator.run(*positional, **options)
    assert result.cycles == reference.cycles
    for kind in ("input_cycles", "output_cycles"):
        for name, stamps in getattr(reference, kind).items():
            np.testing.assert_array_equal(getattr(result, kind)[name], stamps)


@pytest.mark.parametrize(
    ("stalled", "reset_at"), [("none", None), ("idle", None), ("pressure", None), ("both", 33)]
)
def test_axi_wrapper(job, stalled, reset_at):
    positional, options = job(stalled, reset_at=reset_at)
    result = cocotb.run_axi(*positional, **options)
    check(result, job)
    for name, stamps in (result.input_cycles | result.output_cycles).items():
        assert (np.diff(stamps) > 0).all()
        assert len(stamps) == len(positional[1].get(name, job.golden.get(name)))
    if stalled == "none":
        assert result.cycles < len(positional[1]["x"]) + 8 + 64 + 8, "no bubbles"


@pytest.mark.parametrize("run", [cocotb.run, cocotb.run_axi])
def test_scoreboard_names_the_first_wrong_beat(job, run):
    wrong = {name: words.copy() for name, words in job.golden.items()}
    wrong["y"][11, 3] ^= 1 << 5
    wrong["y"][12:] ^= 1
    positional, options = job(golden=wrong)
    with pytest.raises(MismatchError, match=r"output y: beat 11, at cycle \d+, is 0x.*expected 0x"):
        run(*positional, **options)


@pytest.mark.parametrize("run", [cocotb.run, cocotb.run_axi])
def test_missing_and_surplus_beats(job, run):
    (component, inputs, expect), options = job(drain=20, timeout=50)
    result = run(component, inputs, {**expect, "y": expect["y"] - 3}, **options)
    assert len(result.outputs["y"]) == expect["y"]
    with pytest.raises(Hang, match="output y: 40 of 41 beats delivered") as caught:
        run(component, inputs, {**expect, "y": expect["y"] + 1}, **options)
    assert len(caught.value.run.outputs["y"]) == expect["y"]


def test_simulate_on_cocotb(blend):
    seen = []
    report = simulate(
        blend, backend="cocotb", samples=700, progress=lambda now, total: seen.append((now, total))
    )
    assert report.holds, report.failures()
    assert seen[0] == (500, 701)


class Framed(wiring.Component):
    """Relays; the payload has a ``last`` and a bit above it, and a stream without bits."""

    SHAPE = data.StructLayout({"low": 4, "last": 1, "high": 40})

    def __init__(self):
        port = stream.Signature(self.SHAPE)
        bare = stream.Signature(0)
        super().__init__({"i": In(port), "o": Out(port), "tick": In(bare), "tock": Out(bare)})

    def elaborate(self, platform):
        m = Module()
        wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.tick), wiring.flipped(self.tock))
        return m


@pytest.fixture
def packets():
    rng = np.random.default_rng(1)
    last = np.array([0, 1, 1, 0, 0, 0, 1])
    given = {"low": rng.integers(0, 16, 7), "last": last, "high": rng.integers(0, 1 << 40, 7)}
    return beats.pack(Framed.SHAPE, given)


@pytest.mark.parametrize("run", [cocotb.run, cocotb.run_axi])
def test_packets_and_beats_without_bits(packets, run):
    nothing = np.zeros((3, 0), dtype=np.uint32)
    result = run(
        Framed(), {"i": packets, "tick": nothing}, {"o": 7, "tock": 3}, golden={"o": packets}
    )
    assert result.outputs["o"].shape == packets.shape
    assert result.outputs["tock"].shape == (3, 0)


def test_bad_arguments(job, packets, tmp_path):
    with pytest.raises(ValueError, match="'i' ends in an open packet"):
        cocotb.run_axi(Framed(), {"i": packets[:4]}, {"o": 4})
    positional, options = job(golden={"z": packets})
    with pytest.raises(ValueError, match="no output called z"):
        cocotb.run(*positional, **options)
    positional, options = job(wave=Wave(tmp_path / "a.vcd", begin=3))
    with pytest.raises(ValueError, match="cocotb writes whole runs"):
        cocotb.run(*positional, **options)


def test_waveform(packets, tmp_path):
    path = tmp_path / "run.vcd"
    cocotb.run(Framed(), {"i": packets}, {"o": 7}, wave=Wave(path))
    text = path.read_text()
    assert "i__payload" in text
    assert text.count("\n#") > 2 * 7
