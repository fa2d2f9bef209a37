"""The ``thresher`` command.  Every verb asks the library one question and shows the answer.

With ``--json`` a verb prints one JSON object and nothing else on standard output.
The exit status is 0 only on success; an error is one paragraph on standard error.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text
from typer.exceptions import TyperException

from .cli_fpga import build, results, synth
from .cli_map import map as map_network
from .cli_montecarlo import montecarlo
from .cli_sweep import sweep
from .console import Answer, Configured, Depth, Screen, cell, complain, records, table, verb

# Each verb imports what it needs when it runs, so that --help does not wait for PyTorch.
if TYPE_CHECKING:
    from amaranth.lib.wiring import Component

    from .bench.report import Row

app = typer.Typer(
    name="thresher",
    help="Generate, simulate and measure accelerators that skip the chaff.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Wrapper = Literal["axi", "lite", "uart", "stream"]
Stall = Literal["none", "random", "alternate"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return app(given or ["--help"], prog_name="thresher", standalone_mode=False) or 0
    except TyperException as error:
        complain(f"{error.format_message()} (`thresher --help` shows what there is)")
        return 2
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        print(metadata.version("thresher"))
        raise typer.Exit


@verb(app)
def engines(screen: Screen) -> Answer:
    """List the engines that can be generated."""
    from .hdl.engine import ENGINES, engine

    found = [engine(name) for name in ENGINES]
    columns = ("name", "summary", "paper", "headline")
    rows = [[getattr(e, column) for column in columns] for e in found]
    data = [dict(zip(columns, row, strict=True)) for row in rows]
    return Answer({"engines": data}, [table(columns, rows)])


@verb(app)
def doctor(screen: Screen) -> Answer:
    """Look for every tool: version, what it is for, how to get it."""
    from .doctor import examine

    with screen.working("looking"):
        found = examine()
    rows: list[list[Any]] = []
    for tool in found.tools:
        if tool.found:
            state = Text(tool.version or "found", "green")
        else:
            state = Text("missing", "red") if tool.required else Text("missing, optional", "yellow")
        rows.append([tool.name, state, tool.purpose, "" if tool.found else tool.get])
    failure = "" if found.ok else "a required tool is missing; the table says how to get it"
    return Answer(
        found.to_json(), [table(("tool", "version", "what for", "how to get it"), rows)], failure
    )


@verb(app)
def generate(
    screen: Screen,
    configured: Configured,
    directory: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write.")
    ] = Path(),
    bus: Annotated[
        Wrapper,
        typer.Option(
            help="AXI4-Stream and AXI4-Lite, all on AXI4-Lite, all behind a UART, or the bare "
            "streams."
        ),
    ] = "axi",
    depth: Depth = 512,
    divisor: Annotated[int, typer.Option(min=4, help="Clock cycles a bit of the UART.")] = 100,
) -> Answer:
    """Write an engine as ENGINE.v, and ENGINE.json that describes it."""
    engine, config = configured
    from .hdl.generate import generate as write
    from .hdl.lib.uart import Line

    line = Line(divisor)
    with screen.working(f"generating {engine.name}"):
        found = write(engine, config, directory, bus, depth=depth, line=line)
    files = [str(file) for file in found]
    data = {"engine": engine.name, "config": config.model_dump(mode="json"), "files": files}
    return Answer(data, [Text(file) for file in files])


@verb(app)
def package(
    screen: Screen,
    configured: Configured,
    directory: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write.")
    ] = Path(),
    module: Annotated[
        str | None,
        typer.Option("--name", help="Of the module and its files; by default the engine's."),
    ] = None,
) -> Answer:
    """Write an engine with all that FuseSoC, Vivado, LiteX, SystemRDL, C and Python need of it."""
    engine, config = configured
    from .fpga.package import package as write

    with screen.working(f"packaging {engine.name}"):
        files = [str(file) for file in write(engine, config, directory, module)]
    data = {"engine": engine.name, "config": config.model_dump(mode="json"), "files": files}
    return Answer(data, [Text(file) for file in files])


@verb(app)
def simulate(
    screen: Screen,
    configured: Configured,
    workload: Annotated[
        str | None, typer.Option(help="Which data to run on; `thresher describe` lists them.")
    ] = None,
    backend: Annotated[str, typer.Option(help="verilator, cocotb or amaranth.")] = "verilator",
    samples: Annotated[
        int | None, typer.Option(min=1, help="How much of the workload; by default all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of random data and random stalls.")] = 0,
    stall: Annotated[
        Stall, typer.Option(case_sensitive=False, help="How the streams are held up.")
    ] = "none",
    wave: Annotated[Path | None, typer.Option(metavar="FILE.fst", help="Write a waveform.")] = None,
    netlist: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Run what Yosys maps to a device's cells.")
    ] = None,
    activity: Annotated[
        bool, typer.Option("--activity", help="Count how often registers change.")
    ] = False,
) -> Answer:
    """Run an engine's RTL, or its netlist, against its golden model."""
    engine, config = configured
    from .sim.simulate import simulate as run

    verilog = None if netlist is None else _mapper(netlist)
    with screen.working(f"simulating {engine.name}") as job:
        report = run(
            engine,
            config,
            workload,
            backend=backend,
            samples=samples,
            seed=seed,
            stall=stall,
            wave=wave,
            progress=job.advance,
            verilog=verilog,
            activity=activity,
        )
    data = report.to_json()
    apart = ("config", "failures", "activity")
    rows = [[key, cell(item)] for key, item in data.items() if key not in apart]
    view = [table(("", engine.name), rows)]
    if report.activity is not None:
        from .cli_activity import by_submodule

        view.append(by_submodule(report.activity))
    failure = "" if report.holds else f"{engine.name} does not hold: {'; '.join(report.failures())}"
    return Answer(data, view, failure)


@verb(app)
def describe(
    screen: Screen,
    configured: Configured,
    toml: Annotated[
        bool, typer.Option("--toml", help="Show the parameters as a --config file.")
    ] = False,
) -> Answer:
    """Show an engine's parameters, workloads, ports and registers."""
    engine, config = configured
    from .hdl.describe import describe as ask
    from .hdl.describe import words

    data = ask(engine, config)
    if toml:
        return Answer(data, [Text(config.to_toml().rstrip())])
    streams = [{**stream, "payload": words(stream["layout"])} for stream in data["streams"]]
    registers = [
        {**row, "offset": f"{row['offset']:#05x}", "init": f"{row['init']:#x}"}
        for row in data["registers"]
    ]
    view = [
        Text(f"{engine.name}: {engine.summary}\n{engine.paper}: {engine.headline}\n"),
        records("parameters", data["parameters"], "name", "value", "domain", "description"),
        Text(f"presets: {', '.join(data['presets'])}\n"),
        records("workloads", data["workloads"], "name", "summary"),
        records("streams", streams, "name", "direction", "bits", "payload"),
        records("registers", registers, "offset", "name", "access", "bits", "init", "text"),
    ]
    return Answer(data, view)


for _verb in (synth, build, map_network, sweep, montecarlo, results):
    verb(app)(_verb)


@verb(app)
def bench(
    screen: Screen,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Which; without it, lists them.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="Within ten minutes on two cores, or all.")
    ] = True,
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw curves there, where there are any.")
    ] = None,
) -> Answer:
    """Measure this project: every figure beside its bar and its reference."""
    from .bench import report

    if name is None:
        found = report.benches()
        return Answer({"benches": found}, [table(("name", "what it measures"), found.items())])
    with screen.working(f"bench {name}") as job:
        result = report.run(
            name, quick, job.say, lambda row: screen.note(f"{row.what}: {_figure(row)}"), pictures
        )
    judged = {None: Text("–"), True: Text("yes", "green"), False: Text("NO", "red")}
    rows = [
        [row.what, _figure(row), str(row.bar or ""), row.reference, judged[row.holds]]
        for row in result.rows
    ]
    failing = [row.what for row in result.rows if row.holds is False]
    failure = f"{len(failing)} of {len(rows)} rows do not hold: {'; '.join(failing)}"
    columns = ("what", "measured", "bar", "reference", "holds")
    return Answer(result.to_json(), [table(columns, rows, name)], failure if failing else "")


@verb(app)
def cache(
    screen: Screen,
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything in it.")] = False,
) -> Answer:
    """Show or clear the cache of compiled simulators, netlists and layouts."""
    from .hdl import cache as builds

    freed = builds.clear() if clear else 0
    entries = builds.entries()
    data = {
        "folder": str(builds.folder()),
        "entries": len(entries),
        "bytes": sum(entry.bytes for entry in entries),
        "limit": builds.limit(),
        "freed": freed,
    }
    size, limit, gone = (f"{data[key] / 2**20:,.1f} MiB" for key in ("bytes", "limit", "freed"))
    lines = [f"{data['folder']}: {len(entries)} results, {size} of at most {limit}"]
    return Answer(data, [Text(line) for line in ([f"{gone} freed"] if clear else []) + lines])


def _mapper(name: str) -> Callable[["Component"], str]:
    """Makes the netlist of a component for the device ``name``."""
    from .fpga.devices import device
    from .fpga.netlist import simulation_verilog
    from .fpga.yosys import synthesise

    target = device(name)
    return lambda component: simulation_verilog(synthesise(component, target))


def _figure(row: "Row") -> Text:
    from .bench.report import show

    return Text(f"skipped: {row.skipped}", "yellow") if row.skipped else Text(show(row.measured))
