"""The verb ``map`` of the ``thresher`` command."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from .console import Answer, Screen, cell, table


def map(
    screen: Screen,
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="FILE.onnx, FILE.json or package.module:callable."),
    ],
    budget: Annotated[
        str,
        typer.Option(
            metavar="BYTES|M_R|M_H|M_P",
            help="Of the scratchpad: bytes, what the largest "
            "operator needs, what needs no transfers, or half way.",
        ),
    ] = "M_R",
    parameters: Annotated[
        bool, typer.Option("--parameters", help="Operators' parameters take room too.")
    ] = False,
    method: Annotated[str, typer.Option(help="How; `--method list` shows what there is.")] = "auto",
    order: Annotated[
        str, typer.Option(help="default, min-peak, greedy or depth-first, where it is not chosen.")
    ] = "default",
    alignment: Annotated[int, typer.Option(min=1, help="Bytes, of addresses.")] = 1,
    banks: Annotated[int, typer.Option(min=1, help="Equal parts of the scratchpad.")] = 1,
    double_buffered: Annotated[
        bool, typer.Option("--double-buffered", help="Transfers go on while operators run.")
    ] = False,
    element_bytes: Annotated[
        int, typer.Option(min=0, help="Bytes of an element; 0: as the model has it.")
    ] = 1,
    dimension: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SIZE", help="Of an ONNX model that leaves it open; repeatable."),
    ] = None,
    limit: Annotated[float, typer.Option(min=0.0, help="Seconds.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="The schedule.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="A page that shows it.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Memory, traffic and order as SVG.")
    ] = None,
) -> Answer:
    """Schedule a network on a scratchpad: order, addresses, what leaves and comes back."""
    from .mapper import importers, solve
    from .mapper.coverage import coverage
    from .mapper.problem import Memory, lower

    if method == "list":
        rows = list(solve.METHODS.items())
        return Answer({"methods": dict(solve.METHODS)}, [table(("method", "what it does"), rows)])
    with screen.working(f"reading {model}"):
        graph = importers.load(
            model, element_bytes=element_bytes or None, dimensions=_sizes(dimension or ())
        )
    covered = coverage(graph, ())
    covered.check()
    wanted = _budget(budget)
    bytes = solve.budget(
        graph, wanted, Memory(alignment * banks, alignment, banks, double_buffered), parameters
    )
    problem = lower(graph, Memory(bytes, alignment, banks, double_buffered), parameters)
    with screen.working(f"scheduling {graph.name}") as job:

        def watch(bound: int, incumbent: int | None, seconds: float) -> None:
            found = "none yet" if incumbent is None else f"{incumbent:,}"
            job.share(f"bound {bound:,}, best {found} bytes", min(seconds / max(limit, 1e-9), 1))

        found = solve.solve(problem, method, order, limit=limit, seed=seed, watch=watch)
    if found.plan is None:
        why = (
            f"; these cannot lie there together: {', '.join(found.conflict)}"
            if found.conflict
            else ""
        )
        return Answer(found.to_json(), [], f"no plan: {found.status}{why}")
    schedule = solve.schedule(graph, found)
    files = _written(schedule, found, covered, output, page, pictures)
    figures = found.to_json()
    shown = {
        "operators": len(graph.ops), "budget, bytes": bytes, "status": found.status,
        "non-compulsory bytes": found.objective, "bound": found.bound, "gap": found.gap,
        "compulsory bytes": problem.compulsory, "total bytes": found.total,
        "highest address": found.plan.peak, "solver": found.solver, "seconds": figures["seconds"],
    }  # fmt: skip
    view = [
        covered,
        table(("figure", graph.name), [[name, cell(value)] for name, value in shown.items()]),
        *(Text(str(file)) for file in files),
    ]
    data = {**figures, "coverage": covered.to_json(), "files": [str(file) for file in files]}
    return Answer(data, view)


def _budget(text: str) -> Any:
    if text in ("M_R", "M_H", "M_P"):
        return text
    try:
        bytes = int(text.replace("_", ""))
    except ValueError:
        bytes = 0
    if bytes < 1:
        raise ValueError(f"budget {text!r} is neither bytes nor M_R, M_H or M_P")
    return bytes


def _sizes(texts: Any) -> dict[str, int]:
    found = {}
    for text in texts:
        name, separator, size = text.partition("=")
        if not separator or not size.isdecimal() or int(size) < 1:
            raise ValueError(f"dimension {text!r} is not of the form name=size")
        found[name] = int(size)
    return found


def _written(
    schedule: Any, found: Any, covered: Any, output: Path | None, page: Path | None,
    pictures: Path | None,
) -> list[Path]:  # fmt: skip
    """Each file whole or not at all."""
    files = []
    for path, text in (
        (output, lambda: schedule.model_dump_json(indent=1) + "\n"),
        (page, lambda: _page(schedule, found, covered)),
    ):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.part")
            try:
                part.write_text(text(), encoding="utf-8")
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            files.append(path)
    if pictures is not None:
        from .mapper.pictures import draw

        files += draw(schedule, pictures)
    return files


def _page(schedule: Any, found: Any, covered: Any) -> str:
    from .mapper.page import page

    rows = [
        {"operator": line.op, "kind": " + ".join((line.kind, *line.fused)), "runs on": line.runs,
         "MACs": line.macs, "bytes": line.bytes}
        for line in covered.lines
    ]  # fmt: skip
    return page(schedule, found, rows)
