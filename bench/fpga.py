"""What engines cost on FPGAs, and that netlists, bitstreams and drivers compute the same."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..fpga.build import build
from ..fpga.devices import device
from ..fpga.netlist import simulation_verilog
from ..fpga.package import driver
from ..fpga.results import Results, changes, measure
from ..fpga.yosys import synthesise
from ..hdl.engine import ENGINES, Engine, Workload, engine
from ..hdl.generate import Bus, describe_top
from ..hdl.lib.uart import Line
from ..hdl.verilog import ports
from ..sim.beats import count
from ..sim.compare import compare
from ..sim.simulate import simulate
from ..sim.transport import Axi, Serial
from ._cost import cost_rows
from .report import Bar, Progress, Row

PAGE = Path(__file__).parents[1] / "fpga" / "RESULTS.md"
NETLISTS = ("ecp5-25k", "ice40-up5k")
BOARDS = ("ulx3s", "icebreaker")


def rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Every figure, each measured now; ``quick`` leaves out the larger presets."""
    parts: list[tuple[str, Callable[[], Iterator[Row]]]] = [
        ("resources", lambda: _costs(quick, progress)),
        ("netlists", lambda: _netlists(progress)),
        ("boards", lambda: _boards(progress)),
        ("driver", lambda: _drivers(progress)),
    ]
    for name, part in parts:
        try:
            yield from part()
        except ModuleNotFoundError as missing:
            yield Row.skip(name, str(missing), Bar("==", True))


def _costs(quick: bool, progress: Progress) -> Iterator[Row]:
    found = measure(presets=["small"] if quick else (), progress=progress)
    yield from cost_rows(found)
    if PAGE.is_file():
        different = changes(Results.parse(PAGE.read_text(encoding="utf-8")), found)
        yield Row(
            "figures above that differ by more than 5 % from the published ones",
            len(different), Bar("==", 0), "; ".join(different) or "fpga/RESULTS.md",
        )  # fmt: skip


def _netlists(progress: Progress) -> Iterator[Row]:
    for e in map(engine, ENGINES):
        config = e.config.preset("small")
        for where in NETLISTS:
            progress(f"{e.name} small: netlist for {where}")
            netlist = simulation_verilog(synthesise(e.component(config), device(where)))
            good = [
                simulate(e, config, name, samples=4, stall="random", verilog=netlist).holds
                for name, source in e.workloads.items()
                if source.takes_any
            ]
            yield Row(
                f"{e.name} small mapped to {where}: workloads equal to the golden model, "
                "under stalls",
                sum(good), Bar("==", len(good)),
            )  # fmt: skip


def _boards(progress: Progress) -> Iterator[Row]:
    for e in map(engine, ENGINES):
        config = e.config.preset("small")
        for board in BOARDS:
            progress(f"{e.name} small: bitstream for {board}")
            with tempfile.TemporaryDirectory() as scratch:
                built = build(e, config, board, Path(scratch))
                assert built.bitstream is not None
                size = built.bitstream.stat().st_size
            yield Row(
                f"{e.name} small on {board}, {size:,} bytes of bitstream: Fmax, MHz",
                built.fmax_mhz, Bar(">=", built.clock_mhz), "the board's clock",
            )  # fmt: skip


def _drivers(progress: Progress) -> Iterator[Row]:
    for e in map(engine, ENGINES):
        source = next(source for source in e.workloads.values() if source.takes_any)
        task = source.build(e.config.preset("small"), 8, 0)
        for bus in ("axi", "lite", "uart"):
            progress(f"{e.name} small: driver over {bus}")
            yield Row(
                f"{e.name} small driven over simulated {bus}: outputs and counters that are not "
                "the golden model's",
                _driven(e, task, bus), Bar("==", 0),
            )  # fmt: skip


def _driven(e: Engine[Any], task: Workload, bus: Bus) -> int:
    line = Line(4)
    top = describe_top(e, task.config, bus, line=line)
    if bus == "uart":
        with Serial(top.component, line.divisor) as port:
            return _wrong(driver.Engine(top.description, driver.Uart(port)), e, task)
    with Axi(top.component) as port:
        return _wrong(driver.Engine(top.description, port), e, task)


def _wrong(chip: driver.Engine, e: Engine[Any], task: Workload) -> int:
    """How many output numbers and counters differ from the golden model's."""
    for name, value in task.registers.items():
        chip.registers[name] = value
    found = chip.run(task.inputs, {name: count(beats) for name, beats in task.outputs.items()})
    shapes = ports(e.component(task.config)).outputs
    wrong = sum(
        compare(name, shapes[name].shape, found[name], beats)[0]
        for name, beats in task.outputs.items()
    )
    return wrong + sum(chip.registers[name] != value for name, value in task.counters.items())
