"""The verb ``montecarlo`` of the ``thresher`` command."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from .console import Answer, Screen, cell, records, table

if TYPE_CHECKING:
    from .models.error_rates import Point


def montecarlo(
    screen: Screen,
    decoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which; without it, lists them.")
    ] = None,
    code: Annotated[
        str,
        typer.Option(metavar="NAME", help="FAMILY-n-k[-OPTION], the family such as polar or bch."),
    ] = "polar-128-105-crc11",
    ebn0: Annotated[
        str, typer.Option(metavar="DB[,DB...]", help="Eb/N0, of information bits alone.")
    ] = "4.0,4.5,5.0",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the decoder; repeatable."),
    ] = None,
    llr_bits: Annotated[int, typer.Option(help="Bits of a quantised LLR.")] = 5,
    step: Annotated[float, typer.Option(help="Of the quantiser, the signal being 1.")] = 0.1,
    unquantised: Annotated[bool, typer.Option("--float", help="Do not quantise.")] = False,
    errors: Annotated[int, typer.Option(min=1, help="Frame errors to stop at.")] = 300,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Most frames: 10 million, or the million of an estimate."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of words and noise.")] = 0,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep counts there, and go on from those there are."),
    ] = None,
    estimate: Annotated[
        str | None, typer.Option(help="Do not count, but estimate: stratified or noise-only.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> Answer:
    """Count a decoder's frame errors and what it takes, over Eb/N0."""
    from dataclasses import asdict

    from .models.codes.channel import Quantiser
    from .models.decoders import build, describe, kind
    from .models.error_rates import error_rates

    if decoder is None:
        found = describe()
        view = [records("decoders", found, "name", "summary", "estimates")]
        columns = ("name", "value", "description")
        view += [records(f"{one['name']} --set", one["options"], *columns) for one in found]
        return Answer({"decoders": found}, view)
    built = build(decoder, code, settings or (), device)
    quantiser = None if unquantised else Quantiser(llr_bits, step)
    points = []
    with screen.working(f"{decoder}, {code}") as job:
        for point in error_rates(
            built,
            _numbers("--ebn0", ebn0),
            estimator=kind(decoder).estimator(estimate) if estimate else None,
            quantiser=quantiser,
            errors=errors,
            frames=frames,
            seed=seed,
            state=state,
            progress=job.share,
        ):
            points.append(point)
            screen.note(f"{point.ebn0:g} dB: FER {point.fer:.3g}")
    data = {
        "code": built.code.name,
        "decoder": str(built),
        "quantiser": None if quantiser is None else asdict(quantiser),
        "estimate": estimate,
        "seed": seed,
        "points": [asdict(point) for point in points],
    }
    return Answer(data, list(_error_rates(f"{built}, {built.code.name}", points)))


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{option} {text!r} is not numbers with commas between, as 4,4.5"
        ) from None


def _error_rates(title: str, points: Sequence["Point"]) -> Iterator[RenderableType]:
    columns = ("dB", "frames", "errors", "FER", "95 %", "undetected", "abandoned")
    rows = [
        [
            f"{point.ebn0:g}",
            cell(point.frames),
            cell(point.errors),
            _rate(point.fer),
            f"{_rate(point.low)} to {_rate(point.high)}",
            _rate(point.undetected),
            _rate(point.abandoned),
        ]
        for point in points
    ]
    yield table(columns, rows, title)
    columns = ("dB", "cost", "average", "99.9 %", "worst")
    rows = [
        [f"{point.ebn0:g}", name, *(cell(of.get(k)) for k in ("average", "quantile", "worst"))]
        for point in points
        for name, of in point.costs.items()
    ]
    if rows:
        yield table(columns, rows)


def _rate(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.3g}"
