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
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:KEY=VALUE,...]",
            help="An engine that operators may run on, and "
            "its configuration; repeatable. What none takes runs on the host.",
        ),
    ] = None,
    bytes_per_cycle: Annotated[
        float, typer.Option(min=0.01, help="Of transfers, where there are engines.")
    ] = 16.0,
    clock_mhz: Annotated[float, typer.Option(min=0.001, help="Of the engines.")] = 100.0,
    limit: Annotated[float, typer.Option(min=0.0, help="Seconds.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="The schedule.")
    ] = None,
    commands: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="The commands: transfers, engines, waits."),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="A page that shows it.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Memory, traffic and order as SVG.")
    ] = None,
) -> Answer:
    """Schedule a network on a scratchpad: order, addresses, what leaves and comes back."""
    from .mapper import networks, solve
    from .mapper.coverage import coverage
    from .mapper.problem import Memory, lower

    if method == "list":
        rows = list(solve.METHODS.items())
        return Answer({"methods": dict(solve.METHODS)}, [table(("method", "what it does"), rows)])
    targets = _targets(engine or ())
    with screen.working(f"reading {model}"):
        graph = networks.load(
            model,
            targets,
            element_bytes=element_bytes or None,
            dimensions=_sizes(dimension or ()),
        )
    covered = coverage(graph, targets)
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
    assigned, program = None, None
    if targets:
        from .mapper import commands as listed
        from .mapper.engines import assign
        from .mapper.targets import Host

        assigned = assign(
            graph, [*targets, Host()], bytes_per_cycle=bytes_per_cycle, clock_mhz=clock_mhz
        )
        schedule = listed.filled(graph, schedule, assigned)
    if targets or commands is not None:
        from .mapper import commands as listed

        program = listed.lower(graph, schedule, assigned)
    files = _written(schedule, found, covered, assigned, program, output, commands, page, pictures)
    figures = found.to_json()
    shown = {
        "operators": len(graph.ops), "budget, bytes": bytes, "status": found.status,
        "non-compulsory bytes": found.objective, "bound": found.bound, "gap": found.gap,
        "compulsory bytes": problem.compulsory, "total bytes": found.total,
        "highest address": found.plan.peak, "solver": found.solver, "seconds": figures["seconds"],
    }  # fmt: skip
    view: list[Any] = [covered]
    if assigned is not None and program is not None:
        rows = [[name, cell(cycles)] for name, cycles in assigned.engines.items()]
        view.append(table(("engine", "cycles, transfers beside"), rows))
        shown |= {
            "cycles, as scheduled": program.cycles, "of them engines": program.compute,
            "transfers": program.transfer,
            "milliseconds": program.cycles / clock_mhz / 1000,
        }  # fmt: skip
        figures |= {"engines": assigned.to_json(), "cycles": program.cycles}
    view += [
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


def _targets(texts: Any) -> list[Any]:
    if not texts:
        return []
    from .mapper.targets import target

    return [target(text) for text in texts]


def _written(
    schedule: Any, found: Any, covered: Any, assigned: Any, program: Any, output: Path | None,
    commands: Path | None, page: Path | None, pictures: Path | None,
) -> list[Path]:  # fmt: skip
    """Each file whole or not at all."""
    import json

    files = []
    for path, text in (
        (output, lambda: schedule.model_dump_json(indent=1) + "\n"),
        (commands, lambda: json.dumps(program.to_json(), indent=1) + "\n"),
        (page, lambda: _page(schedule, found, covered, assigned)),
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


def _page(schedule: Any, found: Any, covered: Any, assigned: Any) -> str:
    from .mapper.page import Cost, page

    rows = [
        {"operator": line.op, "kind": " + ".join((line.kind, *line.fused)), "runs on": line.runs,
         "MACs": line.macs, "bytes": line.bytes}
        for line in covered.lines
    ]  # fmt: skip
    lines = () if assigned is None else assigned.lines
    costs = [Cost(line.op, line.engine, line.cost.cycles, line.transfer) for line in lines]
    return page(schedule, found, rows, costs)
