"""The verbs ``synth``, ``build`` and ``results`` of the ``thresher`` command."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType
from rich.text import Text

from .console import Answer, Configured, Depth, Screen, cell, table

if TYPE_CHECKING:
    from .fpga.synth import Report

Bus = Literal["axi", "stream"]


def synth(
    screen: Screen,
    configured: Configured,
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE",
            help="ecp5-25k, -45k, -85k, ice40-up5k, -hx8k, gowin-9k, xc7 or xcup.",
        ),
    ],
    bus: Annotated[Bus, typer.Option(help="The bare streams, or with AXI around them.")] = "stream",
    seed: Annotated[int, typer.Option(min=1, help="Of place and route.")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="Layouts, of which the fastest counts.")] = 1,
    mhz: Annotated[float, typer.Option(min=1, help="What place and route strives for.")] = 200,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a tool may take.")] = 1800,
) -> Answer:
    """Say what an engine costs on a device, how fast it runs there, and what limits it."""
    engine, config = configured
    from .fpga.devices import device as find
    from .fpga.synth import synth as run

    target = find(device)
    with screen.working(f"{engine.name} on {device}") as job:
        report = run(
            engine,
            config,
            target,
            bus=bus,
            seed=seed,
            seeds=seeds,
            mhz=mhz,
            timeout=timeout,
            progress=job.say,
        )
    return Answer(report.to_json(), list(_synthesised(report)))


def build(
    screen: Screen,
    configured: Configured,
    board: Annotated[
        str,
        typer.Option(
            metavar="BOARD",
            help="Any of amaranth-boards: ulx3s, icebreaker, orangecrab, arty_a7, ...",
        ),
    ],
    directory: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write.")
    ] = Path(),
    baud: Annotated[
        int | None, typer.Option(min=1, help="Of the serial line; by default up to 1,000,000.")
    ] = None,
    uart: Annotated[
        str | None,
        typer.Option(
            metavar="RX,TX", help="The serial line's pins: package pins or CONNECTOR:PIN."
        ),
    ] = None,
    depth: Depth = 512,
    seed: Annotated[int, typer.Option(min=1, help="Of place and route.")] = 1,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a tool may take.")] = 1800,
) -> Answer:
    """Put an engine behind a board's serial line: a bitstream, or a vendor's project."""
    engine, config = configured
    from .fpga.build import build as run

    with screen.working(f"{engine.name} on {board}") as job:
        built = run(
            engine,
            config,
            board,
            directory,
            baud=baud,
            uart=uart,
            depth=depth,
            seed=seed,
            timeout=timeout,
            say=job.say,
        )
    data = built.to_json()
    rows = [[key, cell(value)] for key, value in data.items() if value is not None]
    return Answer(data, [table(("", engine.name), rows)])


def results(
    screen: Screen,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the page.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Fail where it differs from this page by over 5 %."),
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="Only engines of this name; repeatable.")
    ] = None,
    preset: Annotated[
        list[str] | None, typer.Option(help="Only presets of this name; repeatable.")
    ] = None,
) -> Answer:
    """Measure what every engine and preset costs: resources, Fmax, cycles."""
    from dataclasses import asdict

    from .fpga.results import Results, changes, measure

    published = Results.parse(check.read_text(encoding="utf-8")) if check else None
    with screen.working("results") as job:
        found = measure(engine or (), preset or (), progress=job.say)
    page = found.markdown()
    if output:
        output.write_text(page, encoding="utf-8")
    different = changes(published, found) if published else []
    data = {**asdict(found), "changes": different}
    failure = f"{check} is not what was measured: {'; '.join(different)}" if different else ""
    return Answer(data, [Text(page)], failure)


def _synthesised(report: "Report") -> Iterator[RenderableType]:
    path, layout = report.critical_path, report.layout
    yield Text(f"{report.engine} on {report.device.name}: {report.device.part}; out of context")
    yield table(("resource", "used", "there", "share", "in"), report.rows())
    if layout is None or path is None:
        yield Text("no Fmax: this device is laid out by its vendor's tools alone")
    else:
        sites = layout.utilisation.items()
        yield table(("site", "placed", "there"), [[name, *map(str, both)] for name, both in sites])
        if path.steps:
            yield Text(
                f"Fmax {report.fmax_mhz:.1f} MHz (seed {layout.seed}): {path.nanoseconds:.2f} ns, "
                f"{path.spent('routing'):.2f} ns of them routing, {path.levels} levels of logic"
            )
            rows = [[*words, f"{ns:.2f}"] for *words, ns in path.condensed()]
            yield table(("critical path", "through", "source", "ns"), rows)
    when = "earlier, now from the cache" if report.cached else "now"
    yield Text(f"the tools took {report.seconds:.1f} s, {when}")
