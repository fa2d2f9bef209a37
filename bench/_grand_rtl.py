"""What the generated GRAND engines do in simulation and cost in synthesis, as rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..fpga.devices import device
from ..fpga.resources import Resources
from ..fpga.results import measure
from ..fpga.yosys import synthesise
from ..hdl.engine import Engine, engine
from ..hdl.grand.cycles import busy
from ..models.codes.channel import Awgn, Quantiser
from ..models.codes.named import code
from ..models.grand.config import GrandConfig, OrbgrandConfig, StepGrandConfig
from ..models.grand.decoder import Grand
from ..models.grand.queueing import backlog, distribution
from ..sim.simulate import simulate
from ._cost import cost_rows
from ._runs import Runs
from .report import Bar, Progress, Row

PAPER = "GLOBECOM Workshops 2023"
WORDS = 40_000
"""Words of each average."""
ENGINES: dict[str, GrandConfig] = {"orbgrand": OrbgrandConfig(), "step_grand": StepGrandConfig()}
COMPARED: dict[str, GrandConfig] = {
    "ORBGRAND": ENGINES["orbgrand"],
    "step-GRAND": ENGINES["step_grand"],
    "ORBGRAND that skips by parity": OrbgrandConfig(checks=22, skip_parity=True),
    "step-GRAND by limits alone, best found": StepGrandConfig(
        limits=(87, 85, 58, 57, 48, 39), prefixes=(), reach=0
    ),
}
"""Engines for (128, 105), at the same parallelism: every pattern of one prefix and sum at once."""


def simulation_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Worst cases, averages, equality with the golden model."""
    runs, words = Runs(progress, "words", "abandoned"), WORDS
    longest = {name: runs(name, config, "longest", 1).cycles for name, config in ENGINES.items()}
    yield Row(
        "ORBGRAND (64, 6), RTL: cycles from LLRs to word, the last pattern forced",
        longest["orbgrand"], Bar("<=", 4260), "4,226 (ORBGRAND hardware, from memory)",
    )  # fmt: skip
    yield Row(
        "step-GRAND, RTL: the same", longest["step_grand"], Bar("<=", 621),
        "a worst case 6.8x shorter: 621",
    )  # fmt: skip
    yield Row(
        "worst case, ORBGRAND over step-GRAND", longest["orbgrand"] / longest["step_grand"],
        Bar(">=", 6.8), f"6.8x ({PAPER})",
    )  # fmt: skip
    for ebn0, workload, most in ((7.5, "polar_7db5", 1.24), (8.0, "polar_8db", 1.11)):
        report = runs("step_grand", ENGINES["step_grand"], workload, words)
        cycles = report.cycles / words
        yield Row(
            f"step-GRAND, RTL, {ebn0} dB: cycles a word, load and sort included ({words:,} words)",
            cycles, Bar("<=", most), f"1.00, which is 47.7 Gb/s at 454 MHz ({PAPER})",
        )  # fmt: skip
        yield Row(f"information bits a cycle at {ebn0} dB", 105 / cycles, None, "105 (bound)")
        yield _window(progress, ebn0, most)
    for name, config in ENGINES.items():
        for n, stall in enumerate(("none", "random", "alternate")):
            runs(name, config, "polar_6db", words // 4, stall, seed=n + 1)
            runs(name, config, "corners", 60, stall, seed=n)
        runs(name, config, "polar_5db", words // 8, "random", seed=9)
        runs(name, config, "bch", words // 8, "random")
    yield runs.row(
        f"words through RTL, bit for bit the golden model's ({runs.failed:,} abandoned, "
        "ties, zeros, saturation, stalls)",
        100_000,
    )
    yield _second_code()


def _window(progress: Progress, ebn0: float, interval: float) -> Row:
    """The backlog that a word meets, by the distribution of what words take."""
    progress(f"backlog at {ebn0} dB")
    config, chosen = ENGINES["step_grand"], code("polar-128-105-crc11")
    decoder = Grand(chosen, config.staircase, True)
    longest = max(config.staircase.worst_cycles(odd) for odd in (0, 1)) + 64
    taken = distribution(
        decoder,
        Awgn.at(ebn0, chosen.rate),
        lambda received, decoded: busy(config, received, decoded, True),
        longest,
        quantiser=Quantiser(),
        frames=100_000,
    )
    work = np.convolve(backlog(taken, 8 * longest, interval), taken)  # with the word's own
    beyond = work[::-1].cumsum()[::-1]
    words = int(np.argmax(beyond <= 1e-9) / interval) + 24  # 24: what a word takes to pass
    return Row(
        f"window that a word every {interval} cycles at {ebn0} dB fills once in 1e9, words", words
    )


def _second_code() -> Row:
    """Both run on one configuration, which is one Verilog: a code is data."""
    config = ENGINES["step_grand"]
    reports = [
        simulate("step_grand", config, workload, samples=500) for workload in ("polar_6db", "bch")
    ]
    return Row(
        "codes decoded by one bitstream: polar (128, 105) and BCH (127, 113)",
        sum(report.holds and report.config == config for report in reports), Bar("==", 2),
    )  # fmt: skip


def area_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """LUTs, storing ones included, times worst-case cycles of whole engines."""
    if quick:
        yield Row.skip("LUTs x worst-case cycles", "synthesis takes minutes; run with --full")
        return
    for family, unit in (("ecp5-85k", "LUT4"), ("xc7", "LUT6")):
        luts, cost = {}, {}
        for name, config in COMPARED.items():
            config = config.replace(lut_inputs=6 if family == "xc7" else 4)
            progress(f"{name}: synthesis for {family}")
            component = _engine(config).component(config)
            resources = synthesise(component, device(family), "grand").resources
            luts[name] = resources.lut + resources.lutram
            cycles = simulate(_engine(config), config, "longest", samples=1).cycles
            cost[name] = luts[name] * cycles
            yield Row(
                f"{family}: {name}, {unit}s and worst-case cycles",
                f"{luts[name]:,} x {cycles:,}", None, _text(resources),
            )  # fmt: skip
        best = cost["step-GRAND"]
        yield Row(
            f"{family}: {unit} x worst-case cycles, ORBGRAND over step-GRAND",
            cost["ORBGRAND"] / best, Bar(">=", 10), f"10x the area efficiency ({PAPER})",
        )  # fmt: skip
        for name in list(COMPARED)[2:]:
            yield Row(f"{family}: ORBGRAND over {name}", cost["ORBGRAND"] / cost[name])


def _text(resources: Resources) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in resources.to_json().items() if n)


def _engine(config: GrandConfig) -> Engine[Any]:
    return engine("orbgrand" if isinstance(config, OrbgrandConfig) else "step_grand")


def cost_of_presets(quick: bool, progress: Progress) -> Iterator[Row]:
    """Resources and Fmax of every preset."""
    if quick:
        yield Row.skip("resources and Fmax", "place and route takes long; run with --full")
        return
    for name in ENGINES:
        yield from cost_rows(measure([name], progress=progress))
