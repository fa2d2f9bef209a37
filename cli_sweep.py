"""The verb ``sweep`` of the ``thresher`` command."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from .console import Answer, Screen, cell, table


def sweep(
    screen: Screen,
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC.toml", help="What to try, or the name of a shipped one.")
    ],
    directory: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="By default SPEC without .toml."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the sweep that DIR holds a part of.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="At once; by default as many as there are processors.")
    ] = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="Processes here, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster; by default one begins here.")
    ] = None,
) -> Answer:
    """Try many configurations of an engine, and report those that no other beats."""
    from .bench.sweeps import spec as specs
    from .bench.sweeps.output import write

    said = specs.read(spec)
    wanted = said.sweep()
    folder = directory or Path(spec.stem)
    total, done = len(wanted.found.configs) * len(wanted.stages), 0
    with screen.working(f"sweep {spec.stem}") as job:

        def seen(trial: Any, record: Any) -> None:
            nonlocal done
            done += 1
            job.say(f"{record.stage}, trial {trial.number}")
            job.advance(done, total)
            if record.error:
                screen.note(f"trial {trial.number}, {record.stage}: {record.error}")

        workers = _executor(executor, jobs, address)
        try:
            found = wanted.run(said.search.made(), workers, folder=folder, resume=resume, seen=seen)
        finally:
            workers.close()
        job.say("report")
        files = write(found, folder, spec.stem, said.summary)
    states = {state: sum(t.state == state for t in found)
              for state in sorted({t.state for t in found})}  # fmt: skip
    fields = _telling([name for name in wanted.space.fields if name not in wanted.space.fixed],
                      [t.config.model_dump() for t in found.front])  # fmt: skip
    figures = list(wanted.objectives)
    rows = [
        [str(t.number), *(cell(getattr(t.config, f)) for f in fields),
         *(cell(t.values[name]) for name in figures)]
        for t in found.front
    ]  # fmt: skip
    counted = ", ".join(f"{count} {state}" for state, count in states.items())
    skipped = sum(found.skipped.values())
    data = {
        "engine": wanted.engine,
        "trials": len(found.trials),
        "states": states,
        "skipped": dict(found.skipped),
        "front": [t.to_json() for t in found.front],
        "files": [str(file) for file in files],
    }
    title = (
        f"{wanted.engine}: {len(found.trials)} trials ({counted}), {skipped} combinations skipped"
    )
    view = [table(("trial", *fields, *figures), rows, title), *(Text(str(f)) for f in files)]
    return Answer(data, view, "" if found.front else "no trial came through all stages in bounds")


def _telling(fields: Sequence[str], front: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those that differ within the front, and not only as another one does."""
    told: list[str] = []
    for name in fields:
        values = [str(config[name]) for config in front]
        others = [[str(config[other]) for config in front] for other in told]
        follows = any(len(set(zip(o, values, strict=True))) == len(set(o)) for o in others)
        if len(set(values)) > 1 and not follows:
            told.append(name)
    return told


def _executor(kind: str, jobs: int | None, address: str | None) -> Any:
    if kind == "ray":
        from .bench.sweeps.cluster import Ray

        return Ray(jobs, address)
    if address is not None:
        raise ValueError("--address is of a Ray cluster; add --executor ray")
    from .bench.sweeps.local import Local

    return Local(jobs)
