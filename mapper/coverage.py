"""What runs where: which operators engines take, which stay on the host, which nobody knows."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .fusion import DEFAULT, Rules, fuse
from .graph import LOAD, Graph, Op
from .importers import kinds

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

HOST = "host"
UNKNOWN = "unknown"
MEMORY = "memory"
"""Where a ``load`` runs: it is a transfer and nobody's operator."""
HOST_KINDS = kinds.VOCABULARY - {LOAD}
"""Kinds that a processor beside the engines computes: all that have a meaning here."""


class Target(Protocol):
    """An engine in one configuration."""

    @property
    def name(self) -> str:
        """As the report calls it."""
        ...

    def supports(self, graph: Graph, op: Op) -> str | None:
        """None where it runs ``op`` with all that is fused into it, otherwise the reason why it
        does not."""
        ...


@dataclass(frozen=True)
class Line:
    """One operator."""

    op: str
    kind: str
    fused: tuple[str, ...]
    runs: str
    """The first engine that takes it, :data:`HOST`, :data:`MEMORY` or :data:`UNKNOWN`."""
    engines: tuple[str, ...]
    """All that take it."""
    reasons: dict[str, str]
    """Why others do not, by engine."""
    macs: int
    bytes: int
    """Of what it reads and writes, parameters included."""


@dataclass(frozen=True)
class Share:
    """What runs in one place."""

    operators: int
    macs: int
    bytes: int
    of_operators: float
    """Of all, 0 to 1; likewise the next two, 0 where all have none."""
    of_macs: float
    of_bytes: float


@dataclass(frozen=True)
class Coverage:
    """Where each operator of a graph runs; printed by rich as a table."""

    graph: str
    lines: tuple[Line, ...]

    @property
    def shares(self) -> dict[str, Share]:
        """Of engines in the order of their first operator, then host and unknown; loads are not
        counted."""
        lines = [line for line in self.lines if line.runs != MEMORY]
        places = dict.fromkeys(line.runs for line in lines)
        ordered = [p for p in places if p not in (HOST, UNKNOWN)]
        ordered += [p for p in (HOST, UNKNOWN) if p in places]
        macs, moved = sum(line.macs for line in lines), sum(line.bytes for line in lines)
        found = {}
        for place in ordered:
            own = [line for line in lines if line.runs == place]
            own_macs, own_bytes = sum(x.macs for x in own), sum(x.bytes for x in own)
            found[place] = Share(
                len(own), own_macs, own_bytes, len(own) / len(lines), own_macs / max(macs, 1),
                own_bytes / max(moved, 1),
            )  # fmt: skip
        return found

    def of(self, runs: str) -> tuple[Line, ...]:
        """The operators that run there."""
        return tuple(line for line in self.lines if line.runs == runs)

    def check(self, allow_host: bool = True) -> None:
        """Raises :class:`ValueError`, with names and reasons, for operators that nobody knows;
        without ``allow_host`` for those too that no engine takes."""
        unknown = self.of(UNKNOWN)
        if unknown:
            raise ValueError(
                f"{self.graph}: unknown operators {_named(unknown)}; rewrite them with known ones, "
                "add a target that supports them, or name their kinds in `host` to run them there"
            )
        left = self.of(HOST)
        if left and not allow_host:
            raise ValueError(
                f"{self.graph}: no engine takes {_named(left)}; choose another configuration or "
                "engine, or allow operators on the host"
            )

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "graph": self.graph,
            "shares": {place: vars(share) for place, share in self.shares.items()},
            "operators": [
                {**vars(line), "fused": list(line.fused), "engines": list(line.engines)}
                for line in self.lines
            ],
        }

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.table import Table

        table = Table(title=f"{self.graph}: where operators run")
        for title in ("runs on", "operators", "kinds", "MACs", "bytes", "why not on an engine"):
            right = title in ("operators", "MACs", "bytes")
            table.add_column(title, justify="right" if right else "left")
        for place, share in self.shares.items():
            own = self.of(place)
            count = Counter(line.kind for line in own)
            reasons = Counter(
                f"{engine}: {why}" for line in own for engine, why in line.reasons.items()
            )
            table.add_row(
                place,
                f"{share.operators} ({share.of_operators:.0%})",
                ", ".join(f"{kind} {n}" for kind, n in count.most_common()),
                f"{share.macs:,} ({share.of_macs:.0%})",
                f"{share.bytes:,} ({share.of_bytes:.0%})",
                "\n".join(f"{n} × {why}" for why, n in reasons.most_common(4))
                if place in (HOST, UNKNOWN)
                else "",
            )
        yield table


def coverage(
    graph: Graph,
    targets: Sequence[Target],
    host: Collection[str] = HOST_KINDS,
) -> Coverage:
    """Where each operator can run: the first of ``targets`` that supports it, or the host if it
    computes its kind and all that is fused into it.

    Raises :class:`ValueError` where two targets have one name, or one of a place's.
    """
    names = [target.name for target in targets]
    for name in names:
        if names.count(name) > 1 or name in (HOST, UNKNOWN, MEMORY):
            raise ValueError(f"a target is called {name!r}, as another place; rename it")
    lines = []
    for op in graph.ops:
        reasons: dict[str, str] = {}
        engines: list[str] = []
        for target in targets if op.kind != LOAD else ():
            reason = target.supports(graph, op)
            if reason is None:
                engines.append(target.name)
            else:
                reasons[target.name] = reason
        runs: str
        if op.kind == LOAD:
            runs = MEMORY
        elif engines:
            runs = engines[0]
        else:
            runs = HOST if all(k in host for k in (op.kind, *op.fused)) else UNKNOWN
        moved = {*op.inputs, *op.outputs}
        lines.append(
            Line(
                op.name, op.kind, op.fused, runs, tuple(engines), reasons,
                int(op.attributes.get("macs", 0)),
                sum(graph.tensors[t].bytes for t in moved) + op.weight_bytes,
            )
        )  # fmt: skip
    return Coverage(graph.name, tuple(lines))


def fuse_for(graph: Graph, targets: Sequence[Target], rules: Rules = DEFAULT) -> Graph:
    """``graph`` fused as far as engines go along: an operator that one of ``targets`` takes stays
    one that one of them takes."""

    def taken(op: Op) -> bool:
        return any(target.supports(graph, op) is None for target in targets)

    return fuse(graph, rules, lambda base, merged: taken(merged) or not taken(base))


def _named(lines: Sequence[Line]) -> str:
    """Names, kinds and reasons, the first few."""
    few = [
        f"{line.op!r} ({' + '.join((line.kind, *line.fused))}"
        + "".join(f"; {engine}: {why}" for engine, why in line.reasons.items())
        + ")"
        for line in lines[:8]
    ]
    more = len(lines) - len(few)
    return ", ".join(few) + (f" and {more} more" if more else "")
