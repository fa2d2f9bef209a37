"""The command: answers, JSON that is nothing but JSON, errors that are one paragraph."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import thresher.hdl.engine
from amaranth.hdl import Module, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from thresher import cli, doctor
from thresher.bench import report
from thresher.hdl.engine import Engine, Workload, WorkloadSource
from thresher.models.config import EngineConfig, parameter


class DoublerConfig(EngineConfig):
    """A doubler's widths."""

    bits: int = parameter(8, unit="bits", ge=1, le=16)
    """Width of a number."""

    presets: ClassVar = {"default": {}, "small": {"bits": 4}, "large": {"bits": 16}}


class Doubler(wiring.Component):
    """Doubles numbers, counts them, and says whether it is told to."""

    def __init__(self, config):
        super().__init__(
            {
                "i": In(stream.Signature(signed(config.bits))),
                "o": Out(stream.Signature(signed(config.bits + 1))),
                "enable": In(1, init=1),
                "count": Out(unsigned(32)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.o.valid.eq(self.i.valid & self.enable),
            self.i.ready.eq(self.o.ready & self.enable),
            self.o.payload.eq(self.i.payload << 1),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.count.eq(self.count + 1)
        return m


def _doubling(wrong):
    def build(config, samples, seed):
        n = samples or 100
        bound = 1 << (config.bits - 1)
        x = np.random.default_rng(seed).integers(-bound, bound, n)
        y = 2 * x
        y[wrong:] += 1
        return Workload(
            name="random", config=config, inputs={"i": x}, outputs={"o": y}, start="i", stop="o",
            cycles=n, ideal_cycles=n, registers={"enable": 1}, counters={"count": n},
            evaluate=lambda outputs: {"mean": float(np.mean(outputs["o"]))},
        )  # fmt: skip

    return build


DOUBLER = Engine(
    name="doubler",
    summary="Doubles [every] number",
    paper="Euclid, Elements",
    headline="twice as much",
    config=DoublerConfig,
    component=Doubler,
    workloads={
        "random": WorkloadSource("uniform numbers", _doubling(1 << 30)),
        "wrong": WorkloadSource("a golden model in error", _doubling(7)),
    },
    registers={"enable": "Works while 1", "count": "Numbers doubled"},
    random_config=lambda rng: DoublerConfig(),
)


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs the command with one toy engine in the registry: status, stdout, stderr."""
    known = {"doubler": DOUBLER}

    def engine(name):
        if name not in known:
            raise KeyError(thresher.hdl.engine.unknown("engine", name, known))
        return known[name]

    monkeypatch.setattr(thresher.hdl.engine, "ENGINES", tuple(known))
    monkeypatch.setattr(thresher.hdl.engine, "engine", engine)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        status = cli.main(arguments)
        out, err = capfd.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    return call


class TestAnswers:
    def test_engines(self, run):
        result = run("engines")
        assert result.status == 0
        assert "Doubles [every] number" in result.out
        assert json.loads(run("engines", "--json").out) == {
            "engines": [
                {
                    "name": "doubler",
                    "summary": "Doubles [every] number",
                    "paper": "Euclid, Elements",
                    "headline": "twice as much",
                }
            ]
        }

    def test_describe(self, run):
        result = run("describe", "doubler", "--preset", "small", "--json")
        data = json.loads(result.out)
        (bits,) = data["parameters"]
        assert (bits["value"], bits["default"], bits["unit"]) == (4, 8, "bits")
        assert (bits["minimum"], bits["maximum"]) == (1, 16)
        assert [stream["name"] for stream in data["streams"]] == ["i", "o"]
        assert data["streams"][1]["layout"] == {"bits": 5, "signed": True}
        registers = {register["name"]: register for register in data["registers"]}
        assert registers["enable"]["access"] == "rw"
        assert registers["count"]["text"] == "Numbers doubled"
        shown = run("describe", "doubler").out
        for word in ("an integer from 1 to 16, in bits", "Numbers doubled", "s9", "presets: "):
            assert word in shown

    def test_describe_writes_a_configuration_file(self, run, tmp_path):
        file = tmp_path / "c.toml"
        file.write_text(run("describe", "doubler", "--set", "bits=5", "--toml").out)
        data = json.loads(run("describe", "doubler", "--config", str(file), "--json").out)
        assert data["parameters"][0]["value"] == 5

    def test_generate(self, run, tmp_path):
        result = run("generate", "doubler", "--set", "bits=3", "-o", str(tmp_path), "--json")
        data = json.loads(result.out)
        assert data["config"] == {"bits": 3}
        assert str(tmp_path / "doubler.v") in data["files"]
        assert json.loads((tmp_path / "doubler.json").read_text())["configuration"] == {"bits": 3}
        first = (tmp_path / "doubler.v").read_bytes()
        assert run("generate", "doubler", "--set", "bits=3", "-o", str(tmp_path)).status == 0
        assert (tmp_path / "doubler.v").read_bytes() == first

    def test_simulate(self, run):
        result = run("simulate", "doubler", "--samples", "50", "--seed", "3", "--json")
        data = json.loads(result.out)
        assert result.status == 0
        assert data["bit_exact"] is True
        assert data["cycles"] == data["cycles_formula"] == 50
        assert {
            "engine", "config", "backend", "samples", "bit_exact", "mismatches", "cycles",
            "cycles_formula", "utilisation", "cycles_per_second", "metrics",
        } <= data.keys()  # fmt: skip

    def test_simulate_stalled_on_amaranth(self, run):
        flags = ("--backend", "amaranth", "--stall", "RANDOM", "--samples", "20")
        result = run("simulate", "doubler", *flags)
        assert result.status == 0
        assert "amaranth" in result.out

    def test_simulate_a_netlist(self, run):
        pytest.importorskip("pyosys", reason="needs the extra [fpga]")
        result = run("simulate", "doubler", "--netlist", "ice40-up5k", "--samples", "20", "--json")
        assert result.status == 0
        assert json.loads(result.out)["cycles"] == 20
        result = run("simulate", "doubler", "--netlist", "ice40")
        assert result.status == 1
        assert "ice40-up5k" in result.err

    def test_simulate_fails_where_rtl_and_model_differ(self, run):
        result = run(
            "simulate", "doubler", "--workload", "wrong", "--backend", "amaranth", "--json"
        )
        assert result.status == 1
        assert json.loads(result.out)["mismatches"] == 93
        assert result.err.startswith("error: doubler does not hold: 93 mismatches; first: ")

    def test_doctor(self, run, monkeypatch):
        missing = doctor.Tool("abacus", "counting", True, False, "", "pip install abacus[beads]")
        monkeypatch.setattr(doctor, "examine", lambda: doctor.Examination((missing,)))
        result = run("doctor")
        assert result.status == 1
        assert "pip install abacus[beads]" in result.out
        assert json.loads(run("doctor", "--json").out)["tools"][0]["found"] is False

    def test_cache(self, run, monkeypatch, tmp_path):
        monkeypatch.setenv("THRESHER_CACHE", str(tmp_path))
        (tmp_path / "build").mkdir()
        (tmp_path / "build" / "file").write_bytes(bytes(1 << 20))
        (tmp_path / ".locks").mkdir()
        assert "1 results, 1.0 MiB" in run("cache").out
        assert json.loads(run("cache", "--clear", "--json").out)["freed"] == 1 << 20
        assert json.loads(run("cache", "--json").out)["entries"] == 0

    def test_bench(self, run, monkeypatch):
        rows = (
            report.Row("speed [x]", 3.5, report.Bar(">=", 3), "paper: 3.2"),
            report.Row.skip("Fmax", "no nextpnr", report.Bar(">=", 50)),
        )

        def fake(name, quick, progress, on_row, pictures):
            print("a library that talks")
            os.system("echo a compiler that talks")
            progress("the first")
            for row in rows:
                on_row(row)
            return report.BenchReport(name, rows[: 1 + quick])

        monkeypatch.setattr(report, "run", fake)
        result = run("bench", "fake")
        assert result.status == 1
        assert "speed [x]" in result.out
        assert "skipped: no nextpnr" in result.out
        assert "error: 1 of 2 rows do not hold: Fmax" in result.err
        result = run("bench", "fake", "--full", "--json")
        assert result.status == 0
        assert json.loads(result.out)["rows"][0]["holds"] is True

    def test_montecarlo(self, run, tmp_path):
        flags = ("--code", "bch-32-21", "--ebn0", "4,5", "--frames", "8192")
        flags += ("--set", "p=4", "--llr-bits", "4", "--step", "0.2", "--state", str(tmp_path))
        result = run("montecarlo", "--decoder", "orbgrand", *flags, "--json")
        assert result.status == 0
        data = json.loads(result.out)
        assert (data["code"], data["quantiser"]) == ("bch-32-21", {"bits": 4, "step": 0.2})
        first, second = data["points"]
        assert (first["ebn0"], second["ebn0"], second["frames"]) == (4, 5, 8192)
        assert first["fer"] > second["fer"] > 0
        assert len(list(tmp_path.iterdir())) == 2
        result = run("montecarlo", "--decoder", "orbgrand", *flags)
        assert f"{first['fer']:.3g}" in result.out
        assert "abandoned" in result.out
        assert "4 dB: FER" in result.err
        flags = (*flags[:6], "--float", "--estimate", "stratified", "--json")
        data = json.loads(run("montecarlo", "--decoder", "step-grand", *flags).out)
        assert (data["quantiser"], data["points"][0]["errors"]) == (None, None)
        assert "step-grand --set" in run("montecarlo").out

    def test_version(self, run):
        assert run("--version").out.startswith("0.")

    def test_help(self, run):
        for arguments in ([], ["--help"]):
            result = run(*arguments)
            assert result.status == 0
            for verb in ("engines", "doctor", "generate", "simulate", "describe", "bench", "cache"):
                assert verb in result.out


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["simulate", "dubler"], "there is no engine 'dubler'; did you mean doubler?", 1),
        (
            ["generate", "doubler", "--set", "bits=17"],
            "bits = 17 is not an integer from 1 to 16",
            1,
        ),
        (["generate", "doubler", "--set", "bit=7"], "there is no parameter 'bit'", 1),
        (["generate", "doubler", "--preset", "smal"], "did you mean small?", 1),
        (["generate", "doubler", "--config", "none.toml"], "none.toml", 1),
        (
            ["generate", "doubler", "--bus", "pci"],
            "'pci' is not one of 'axi', 'lite', 'uart', 'stream'",
            2,
        ),
        (["simulate", "doubler", "--workload", "randon"], "did you mean random?", 1),
        (["simulate", "doubler", "--backend", "amarant"], "did you mean amaranth?", 1),
        (["simulate", "doubler", "--samples", "0"], "--samples", 2),
        (["bench", "nothing"], "there is no bench 'nothing'", 1),
        (["montecarlo", "--decoder", "orbgrant"], "did you mean orbgrand?", 1),
        (["montecarlo", "--decoder", "orbgrand", "--ebn0", "4:5"], "'4:5' is not numbers", 1),
        (["montecarlo", "--decoder", "orbgrand", "--llr-bits", "99"], "LLRs of 99 bits", 1),
        (["montecarlo", "--decoder", "orbgrand", "--errors", "0"], "--errors", 2),
        (["simulat"], "Did you mean 'simulate'?", 2),
        (["simulate"], "ENGINE", 2),
        (["simulate", "doubler", "--sample", "3"], "--samples", 2),
    ],
)
def test_an_error_is_one_paragraph(run, arguments, message, status):
    for extra in ([], ["--json"]):
        result = run(*arguments, *extra)
        assert result.status == status
        assert result.out == ""
        assert result.err.startswith("error: ")
        assert result.err.count("\n") == 1
        assert message in result.err


def test_traceback_only_with_debug(run):
    assert "Traceback" not in run("generate", "doubler", "--set", "bits=0").err
    assert "Traceback" in run("generate", "doubler", "--set", "bits=0", "--debug").err


def test_a_defect_is_called_one(run, monkeypatch):
    def broken():
        raise AttributeError("no attribute 'x'")

    monkeypatch.setattr(doctor, "examine", broken)
    result = run("doctor")
    assert result.status == 1
    assert "internal error, please report it (AttributeError: no attribute 'x';" in result.err


def test_help_does_not_wait_for_the_library():
    code = "import sys, thresher.cli as c; c.main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "thresher.cli" in loaded
    assert not loaded & {"torch", "numpy", "amaranth", "cocotb"}
