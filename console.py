"""What every verb of the ``thresher`` command shares: options, answers, errors, tables.

A verb is a function that takes a :class:`Screen` and options and returns an
:class:`Answer`; :func:`verb` makes a command of it.
"""

import contextlib
import functools
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

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

# Nothing heavy at the top: --help does not wait for PyTorch.
if TYPE_CHECKING:
    from .hdl.engine import Engine
    from .models.config import EngineConfig

Depth = Annotated[
    int, typer.Option(min=2, help="Words in the queue of each stream, where it has one.")
]


class Configured(NamedTuple):
    """An engine and its configuration, as ENGINE, --preset, --config and --set name them.

    A verb's parameter of this type becomes those options.
    """

    engine: "Engine[Any]"
    config: "EngineConfig"


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

    def share(self, text: str, done: float) -> None:
        """What comes next, and the share of all that is done."""
        self.say(text)
        self.advance(done, 1)


def verb(app: typer.Typer) -> Callable[[Callable[..., Answer]], Callable[..., None]]:
    """Registers ``function(screen, ...)`` as a verb of ``app``, with ``--json`` and ``--debug``."""

    def register(function: Callable[..., Answer]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(*, as_json: bool, debug: bool, **options: Any) -> None:
            try:
                # Whatever libraries and compilers print must not mix with the answer.
                with _stdout_to_stderr():
                    if configured:
                        given = {name: options.pop(name) for name in _parameters(_configure)}
                        options[configured] = _configure(**given)
                    answer = function(Screen(quiet=as_json), **options)
                text = json.dumps(answer.data, indent=2, default=_jsonable) if as_json else None
            except Exception as error:
                if debug:
                    traceback.print_exc()
                else:
                    complain(_paragraph(error))
                raise typer.Exit(1) from None
            if text is not None:
                print(text)
            else:
                console = Console()
                for part in answer.view:
                    console.print(part)
            if answer.failure:
                complain(answer.failure)
                raise typer.Exit(1)

        _, *own = _parameters(function).values()
        configured = next((p.name for p in own if p.annotation is Configured), None)
        shown: list[inspect.Parameter] = []
        for p in own:
            shown += _parameters(_configure).values() if p.name == configured else [p]
        shown += _parameters(_flags).values()
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in shown]
        command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return app.command(function.__name__)(command)

    return register


def complain(text: str) -> None:
    """An error, on standard error."""
    Console(stderr=True).print(Text("error: ", "bold red") + Text(text), soft_wrap=True)


def table(
    columns: Iterable[str], rows: Iterable[Iterable[RenderableType]], title: str | None = None
) -> Table:
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        # As Text, so that square brackets are no markup.
        table.add_row(
            *(Text(cell, overflow="fold") if isinstance(cell, str) else cell for cell in row)
        )
    return table


def records(title: str, records: Iterable[dict[str, Any]], *columns: str) -> Table:
    rows = [[cell(record[column]) for column in columns] for record in records]
    return table(columns, rows, title)


def cell(value: Any) -> str:
    from .bench.report import show

    if isinstance(value, dict):
        return "\n".join(f"{key}: {cell(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(item) for item in value)
    return show(value)


def _configure(
    name: Annotated[str, typer.Argument(metavar="ENGINE", help="See `thresher engines`.")],
    preset: Annotated[str, typer.Option(help="Named configuration to start from.")] = "default",
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.toml", help="Parameters over the preset."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One parameter over both; repeatable."),
    ] = None,
) -> Configured:
    from .hdl.engine import engine

    found = engine(name)
    return Configured(found, found.config.load(preset, config, settings or ()))


def _flags(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None: ...


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _paragraph(error: Exception) -> str:
    if isinstance(error, KeyError) and len(error.args) == 1:  # its str() is a repr
        return str(error.args[0])
    text = " ".join(str(error).split())
    if isinstance(error, (ValueError, LookupError, OSError, RuntimeError, ImportError)) and text:
        return text
    return f"internal error, please report it ({type(error).__name__}: {text}; --debug shows where)"


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
