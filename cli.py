"""The ``thresher`` command.  Every verb asks the library one question and shows the answer.

With ``--json`` a verb prints one JSON object and nothing else on standard output.
The exit status is 0 only on success; an error is one paragraph on standard error.
"""

import contextlib
import functools
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text
from typer.exceptions import TyperException

# Each verb imports what it needs when it runs, so that --help does not wait for PyTorch.
if TYPE_CHECKING:
    from .bench.report import Row
    from .hdl.engine import Engine
    from .models.config import EngineConfig

app = typer.Typer(
    name="thresher",
    help="Generate, simulate and measure accelerators that skip the chaff.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="ENGINE", help="See `thresher engines`.")]
Preset = Annotated[str, typer.Option(help="Named configuration to start from.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.toml", help="Parameters over the preset.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One parameter over both; repeatable."),
]


Bus = Literal["axi", "stream"]
Stall = Literal["none", "random", "alternate"]


@dataclass(frozen=True)
class Answer:
    """What a verb found out."""

    data: dict[str, Any]
    """The one object that ``--json`` prints."""
    view: Sequence[RenderableType]
    """The same for people."""
    failure: str = ""
    """Why the exit status is 1, if it is."""


class Screen:
    """Standard error: what a verb is doing while it takes its time."""

    def __init__(self, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)

    @contextlib.contextmanager
    def working(self, what: str) -> Iterator["Job"]:
        """Shows ``what`` and the time it takes, until the block ends."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
        )
        console = self._console
        live = console.is_terminal and not console.quiet
        with Progress(*columns, console=console, transient=True, disable=not live) as bar:
            yield Job(bar, bar.add_task(what, total=None), what)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(Text(text), soft_wrap=True)


@dataclass(frozen=True)
class Job:
    """Something under way."""

    _bar: Progress
    _task: TaskID
    _what: str

    def say(self, text: str) -> None:
        """What comes next."""
        self._bar.update(self._task, description=f"{self._what}: {text}")

    def advance(self, done: float, total: float) -> None:
        """How far it is."""
        self._bar.update(self._task, completed=done, total=total)


def verb(function: Callable[..., Answer]) -> Callable[..., None]:
    """Registers ``function(screen, ...)`` as a verb, with ``--json`` and ``--debug``."""

    @functools.wraps(function)
    def command(*, as_json: bool, debug: bool, **options: Any) -> None:
        try:
            # Whatever libraries and compilers print must not mix with the answer.
            with _stdout_to_stderr():
                answer = function(Screen(quiet=as_json), **options)
            text = json.dumps(answer.data, indent=2, default=_jsonable) if as_json else None
        except Exception as error:
            if debug:
                traceback.print_exc()
            else:
                _complain(_paragraph(error))
            raise typer.Exit(1) from None
        if text is not None:
            print(text)
        else:
            console = Console()
            for part in answer.view:
                console.print(part)
        if answer.failure:
            _complain(answer.failure)
            raise typer.Exit(1)

    flags = {
        "as_json": typer.Option("--json", help="Print one JSON object and nothing else."),
        "debug": typer.Option("--debug", help="Show the traceback of an error."),
    }
    _, *own = inspect.signature(function).parameters.values()
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
        )
        for name, option in flags.items()
    ]
    parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *added]
    command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return app.command(function.__name__)(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return app(given or ["--help"], prog_name="thresher", standalone_mode=False) or 0
    except TyperException as error:
        _complain(f"{error.format_message()} (`thresher --help` shows what there is)")
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


@verb
def engines(screen: Screen) -> Answer:
    """List the engines that can be generated."""
    from .hdl.engine import ENGINES, engine

    found = [engine(name) for name in ENGINES]
    columns = ("name", "summary", "paper", "headline")
    rows = [[getattr(e, column) for column in columns] for e in found]
    data = [dict(zip(columns, row, strict=True)) for row in rows]
    return Answer({"engines": data}, [_table(columns, rows)])


@verb
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
        found.to_json(), [_table(("tool", "version", "what for", "how to get it"), rows)], failure
    )


@verb
def generate(
    screen: Screen,
    name: Name,
    preset: Preset = "default",
    config: ConfigFile = None,
    settings: Settings = None,
    directory: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write.")
    ] = Path(),
    bus: Annotated[
        Bus, typer.Option(help="AXI4-Stream and AXI4-Lite, or the bare streams.")
    ] = "axi",
) -> Answer:
    """Write an engine as ENGINE.v, and ENGINE.json that describes it."""
    engine, configuration = _configured(name, preset, config, settings)
    from .hdl.generate import generate as write

    with screen.working(f"generating {name}"):
        files = [str(file) for file in write(engine, configuration, directory, bus)]
    data = {"engine": name, "config": configuration.model_dump(mode="json"), "files": files}
    return Answer(data, [Text(file) for file in files])


@verb
def simulate(
    screen: Screen,
    name: Name,
    preset: Preset = "default",
    config: ConfigFile = None,
    settings: Settings = None,
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
) -> Answer:
    """Run an engine's RTL against its golden model."""
    engine, configuration = _configured(name, preset, config, settings)
    from .sim.simulate import simulate as run

    with screen.working(f"simulating {name}") as job:
        report = run(
            engine,
            configuration,
            workload,
            backend=backend,
            samples=samples,
            seed=seed,
            stall=stall,
            wave=wave,
            progress=job.advance,
        )
    data = report.to_json()
    rows = [[key, _cell(item)] for key, item in data.items() if key not in ("config", "failures")]
    failure = "" if report.holds else f"{name} does not hold: {'; '.join(report.failures())}"
    return Answer(data, [_table(("", name), rows)], failure)


@verb
def describe(
    screen: Screen,
    name: Name,
    preset: Preset = "default",
    config: ConfigFile = None,
    settings: Settings = None,
    toml: Annotated[
        bool, typer.Option("--toml", help="Show the parameters as a --config file.")
    ] = False,
) -> Answer:
    """Show an engine's parameters, workloads, ports and registers."""
    engine, configuration = _configured(name, preset, config, settings)
    from .hdl.describe import describe as ask
    from .hdl.describe import words

    data = ask(engine, configuration)
    if toml:
        return Answer(data, [Text(configuration.to_toml().rstrip())])
    streams = [{**stream, "payload": words(stream["layout"])} for stream in data["streams"]]
    registers = [
        {**row, "offset": f"{row['offset']:#05x}", "init": f"{row['init']:#x}"}
        for row in data["registers"]
    ]
    view = [
        Text(f"{engine.name}: {engine.summary}\n{engine.paper}: {engine.headline}\n"),
        _records("parameters", data["parameters"], "name", "value", "domain", "description"),
        Text(f"presets: {', '.join(data['presets'])}\n"),
        _records("workloads", data["workloads"], "name", "summary"),
        _records("streams", streams, "name", "direction", "bits", "payload"),
        _records("registers", registers, "offset", "name", "access", "bits", "init", "text"),
    ]
    return Answer(data, view)


@verb
def bench(
    screen: Screen,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Which; without it, lists them.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="Within ten minutes on two cores, or all.")
    ] = True,
) -> Answer:
    """Measure this project: every figure beside its bar and its reference."""
    from .bench import report

    if name is None:
        found = report.benches()
        return Answer({"benches": found}, [_table(("name", "what it measures"), found.items())])
    with screen.working(f"bench {name}") as job:
        result = report.run(
            name, quick, job.say, lambda row: screen.note(f"{row.what}: {_figure(row)}")
        )
    judged = {None: Text("–"), True: Text("yes", "green"), False: Text("NO", "red")}
    rows = [
        [row.what, _figure(row), str(row.bar or ""), row.reference, judged[row.holds]]
        for row in result.rows
    ]
    failing = [row.what for row in result.rows if row.holds is False]
    failure = f"{len(failing)} of {len(rows)} rows do not hold: {'; '.join(failing)}"
    columns = ("what", "measured", "bar", "reference", "holds")
    return Answer(result.to_json(), [_table(columns, rows, name)], failure if failing else "")


@verb
def cache(
    screen: Screen,
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything in it.")] = False,
) -> Answer:
    """Show or clear the cache of compiled simulators."""
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
    lines = [f"{data['folder']}: {len(entries)} builds, {size} of at most {limit}"]
    return Answer(data, [Text(line) for line in ([f"{gone} freed"] if clear else []) + lines])


def _configured(
    name: str, preset: str, file: Path | None, settings: list[str] | None
) -> "tuple[Engine[Any], EngineConfig]":
    from .hdl.engine import engine

    found = engine(name)
    return found, found.config.load(preset, file, settings or ())


def _table(
    columns: Iterable[str], rows: Iterable[Iterable[RenderableType]], title: str | None = None
) -> Table:
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        # As Text, so that square brackets are no markup.
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def _records(title: str, records: Iterable[dict[str, Any]], *columns: str) -> Table:
    rows = [[_cell(record[column]) for column in columns] for record in records]
    return _table(columns, rows, title)


def _figure(row: "Row") -> Text:
    from .bench.report import show

    return Text(f"skipped: {row.skipped}", "yellow") if row.skipped else Text(show(row.measured))


def _cell(value: Any) -> str:
    from .bench.report import show

    if isinstance(value, dict):
        return "\n".join(f"{key}: {_cell(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    return show(value)


def _paragraph(error: Exception) -> str:
    if isinstance(error, KeyError) and len(error.args) == 1:  # its str() is a repr
        return str(error.args[0])
    text = " ".join(str(error).split())
    if isinstance(error, (ValueError, LookupError, OSError, RuntimeError, ImportError)) and text:
        return text
    return f"internal error, please report it ({type(error).__name__}: {text}; --debug shows where)"


def _complain(text: str) -> None:
    Console(stderr=True).print(Text("error: ", "bold red") + Text(text), soft_wrap=True)


def _jsonable(value: Any) -> Any:
    """NumPy's and other types in JSON's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
