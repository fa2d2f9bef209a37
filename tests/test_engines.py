"""The verification that every engine of the registry must pass, written once.

Golden model against RTL, beat for beat, and closed form against counted cycles, over the
engine's workloads and random configurations, with streams stalled on either side and a
reset in mid-stream.
"""

from functools import cache

import numpy as np
import pytest
from thresher.hdl.engine import ENGINES, engine
from thresher.hdl.verilog import ports
from thresher.sim import simulate

STALLS = [("none", "both")] + [
    (kind, where) for kind in ("random", "alternate") for where in ("inputs", "outputs", "both")
]
LARGE = ("fast_sclf", "nm_array")
"""Engines whose simulators take longest to be made."""
WORKLOADS = [(name, workload) for name in ENGINES for workload in engine(name).workloads]


@pytest.mark.parametrize(("name", "workload"), WORKLOADS)
def test_workloads(name, workload):
    """One sample of every workload on the configuration that it asks for."""
    hold(name, _small(name), workload, samples=1)
    hold(name, _small(name), workload, samples=1, stall="random", reset_at=50, seed=1)


@pytest.mark.parametrize(
    ("name", "seed"),
    [(name, seed) for name in ENGINES for seed in range(2) if not (seed and name in LARGE)],
)
def test_random_configurations(name, seed):
    stress(name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 80))
@pytest.mark.parametrize("name", ENGINES)
def test_more_random_configurations(name, seed):
    """With the above over a thousand configurations and inputs."""
    stress(name, seed)


@pytest.mark.parametrize("name", ENGINES)
def test_cocotb(name):
    config, workload = _random(name, 1)
    for stall, reset_at in (("none", None), ("random", 100)):
        report = hold(name, config, workload, "cocotb", stall=stall, reset_at=reset_at)
        assert_same(report, hold(name, config, workload, stall=stall, reset_at=reset_at))


@pytest.mark.parametrize("name", ENGINES)
def test_amaranth(name):
    config, workload = _random(name, 0)
    how = {"stall": "random", "samples": 3}  # it is a thousand times slower than Verilator
    report = hold(name, config, workload, "amaranth", **how)
    assert_same(report, hold(name, config, workload, **how))


@pytest.mark.parametrize("name", ENGINES)
def test_every_register_is_explained(name):
    component = engine(name).component(_small(name))
    assert list(engine(name).registers) == list(ports(component).registers)


def stress(name, seed):
    """A random configuration: other data under every pattern of stalls, reset or not."""
    config, workload = _random(name, seed)
    whole = hold(name, config, workload, seed=seed).run.cycles
    resets = np.random.default_rng(seed).integers(1, whole, len(STALLS))
    for number, (stall, where) in enumerate(STALLS):
        for reset_at in (None, int(resets[number])):
            data = 2 * number + (reset_at is not None)
            hold(name, config, workload, seed=data, stall=stall, where=where, reset_at=reset_at)


def hold(name, config, workload, backend="verilator", **how):
    report = simulate(name, config, workload, backend=backend, **how)
    assert report.holds, f"{report.failures()} {how} {report.config.model_dump_json()}"
    assert report.bit_exact
    return report


def assert_same(report, other):
    """Cycle for cycle."""
    assert report.run.registers == other.run.registers
    for field in ("outputs", "input_cycles", "output_cycles"):
        for port, values in getattr(report.run, field).items():
            np.testing.assert_array_equal(values, getattr(other.run, field)[port], err_msg=port)


@cache
def _random(name, seed):
    """A random configuration, and the first workload that takes any as it is."""
    chosen = engine(name)
    config = chosen.random_config(np.random.default_rng(seed))
    return config, next(
        workload for workload, source in chosen.workloads.items() if source.takes_any
    )


def _small(name):
    kind = engine(name).config
    return kind.preset("small" if "small" in kind.presets else "default")
