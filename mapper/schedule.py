"""Schedule files: what happens, step by step, with every address and every transfer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from .graph import Graph
from .plan import Plan


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Transfer(_Part):
    """A buffer's way on or off chip."""

    direction: Literal["fetch", "store"]
    buffer: str
    address: int = Field(ge=0)
    bytes: int = Field(ge=1)
    compulsory: bool


class Operation(_Part):
    """An operator's run."""

    name: str
    kind: str
    placed: dict[str, int]
    """Address of every buffer in the scratchpad during this step."""
    transfers: tuple[Transfer, ...] = ()
    """In this order: before the operator, stores first; with double buffering, while it runs: what
    was fetched counts from the next step on, what is stored was last used before this step."""
    commands: tuple[dict[str, Any], ...] = ()
    """What the engine is told; empty where none was chosen."""
    place: int | None = None
    """In the default order, from 0; None where that is not known."""


class Place(_Part):
    """Where a tensor lies."""

    buffer: str
    offset: int = Field(ge=0)
    bytes: int = Field(ge=1)


class Whole(_Part):
    """A buffer."""

    size: int = Field(ge=1)
    """Bytes that it takes in the scratchpad."""
    bytes: int = Field(ge=1)
    """Bytes that a transfer moves."""


class Schedule(_Part):
    """A plan as a file says it."""

    version: Literal[1] = 1
    name: str
    budget: int
    alignment: int = 1
    banks: int = 1
    double_buffered: bool = False
    buffers: dict[str, Whole]
    tensors: dict[str, Place]
    prologue: tuple[Transfer, ...] = ()
    """Before the first step."""
    steps: tuple[Operation, ...]
    epilogue: tuple[Transfer, ...] = ()
    """After the last step."""
    result: dict[str, Any] = Field(default_factory=dict)
    """Status, objective, bound, gap, solver, seed, time."""

    @classmethod
    def of(cls, graph: Graph, plan: Plan, result: dict[str, Any] | None = None) -> Self:
        """The schedule that ``plan`` of ``lower(graph, …)`` describes."""
        problem, memory = plan.problem, plan.problem.memory
        moves: list[list[tuple[bool, Transfer]]] = [[] for _ in range(len(plan.order) + 2)]
        for direction, residence, compulsory in plan.transfers():
            buffer = problem.buffers[residence.buffer]
            # Place 0 is the prologue, place p + 1 position p, the last one the epilogue.
            if direction == "fetch":
                place = residence.first + (0 if memory.double_buffered else 1)
            else:
                place = residence.last + 2
            moves[place].append(
                (
                    direction == "fetch",
                    Transfer(
                        direction=direction, buffer=buffer.name, address=residence.address,
                        bytes=buffer.bytes, compulsory=compulsory,
                    ),
                )
            )  # fmt: skip
        ordered = [tuple(m for _, m in sorted(group, key=lambda x: x[0])) for group in moves]
        here: list[dict[str, int]] = [{} for _ in plan.order]
        for residence in plan.residences:
            for position in plan.occupied(residence):
                here[position][problem.buffers[residence.buffer].name] = residence.address
        steps = tuple(
            Operation(
                name=graph.ops[step].name, kind=graph.ops[step].kind, placed=here[position],
                transfers=ordered[position + 1], place=step,
            )
            for position, step in enumerate(plan.order)
        )  # fmt: skip
        return cls(
            name=graph.name, budget=memory.budget, alignment=memory.alignment, banks=memory.banks,
            double_buffered=memory.double_buffered,
            buffers={b.name: Whole(size=b.size, bytes=b.bytes) for b in problem.buffers},
            tensors=_places(graph), prologue=ordered[0], steps=steps, epilogue=ordered[-1],
            result=result or {},
        )  # fmt: skip

    @property
    def transfers(self) -> Iterator[Transfer]:
        """All, in the order in which they happen."""
        yield from self.prologue
        for step in self.steps:
            yield from step.transfers
        yield from self.epilogue

    def write(self, path: str | Path) -> None:
        """As JSON."""
        Path(path).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """What :meth:`write` wrote; raises :class:`ValueError` where the file is none."""
        return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))


def _places(graph: Graph) -> dict[str, Place]:
    found = {}
    for tensor in graph.tensors.values():
        root, offset = graph.root(tensor.name)
        found[tensor.name] = Place(buffer=root, offset=offset, bytes=tensor.bytes)
    return found
