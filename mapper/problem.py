"""What a scheduler decides on: steps that use buffers, in a scratchpad that is too small for all.

A buffer is what shares one piece of memory: a tensor with all its views, or the parameters of one
operator.  Off chip there is room for all.  The rules:

* Operators run one by one, one a *step*; step t is the t-th of the schedule.  All that it reads
  and writes lies in the scratchpad during it.
* A buffer's content is new (*dirty*) whenever a step writes it; a dirty buffer that leaves the
  scratchpad and comes back is *stored* (spilled) first.  What was stored, or came from off chip,
  and was not written since is clean: it leaves for nothing.  Buffers do not move within the
  scratchpad.
* *Compulsory* bytes: every buffer that begins off chip is fetched once (a ``load`` counts as that
  fetch), every buffer that must be off chip at the end is stored once after its last write (what
  began off chip and is never overwritten lies there already).  All other stores and fetches are
  *non-compulsory*, and their bytes are the objective.
* Transfers happen between steps: stores before fetches.  With ``Memory.double_buffered`` they
  happen during steps: what is fetched for a step occupies its place in the step before it too,
  what leaves with content that is needed again, or must be delivered, in the step after it.

After COSMA (Li, Gupta, Malik, arXiv 2311.18246).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .graph import LOAD, Graph


@dataclass(frozen=True)
class Memory:
    """A scratchpad."""

    budget: int
    """Bytes."""
    alignment: int = 1
    """Bytes: addresses are multiples of it; sizes are rounded up to it."""
    banks: int = 1
    """Equal parts.  What fits into one lies within one; what does not begins with one."""
    double_buffered: bool = False
    """Transfers go on while operators run."""

    def __post_init__(self) -> None:
        for name in ("budget", "alignment", "banks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is 1 at least")
        if self.budget % (self.banks * self.alignment):
            raise ValueError(
                f"a budget of {self.budget} bytes is not {self.banks} banks of whole multiples of "
                f"{self.alignment} bytes; take a multiple of {self.banks * self.alignment}"
            )

    @property
    def bank(self) -> int:
        """Bytes of a bank."""
        return self.budget // self.banks


@dataclass(frozen=True)
class Buffer:
    """One piece of memory."""

    name: str
    """Of the tensor that owns it, or of the operator whose parameters it holds and ``:weights``."""
    size: int
    """Bytes, a multiple of the alignment: what it takes in the scratchpad."""
    bytes: int
    """What is transferred."""
    clean: bool
    """Begins off chip: its first user, or its ``load``, costs a compulsory fetch."""
    delivered: bool
    """Must be off chip at the end."""


@dataclass(frozen=True)
class Step:
    """One operator, as schedulers see it."""

    name: str
    reads: tuple[int, ...]
    """Buffers whose content it needs; none twice."""
    writes: tuple[int, ...]
    """Buffers that it changes; one that is written for the first time needs no content, unless it
    began off chip and no ``load`` brings it: then it is among :attr:`reads`, as any may be."""

    @property
    def uses(self) -> tuple[int, ...]:
        """Every buffer once."""
        return tuple(dict.fromkeys((*self.reads, *self.writes)))


@dataclass(frozen=True)
class Problem:
    """Steps, in their default order, and buffers; made by :func:`lower`."""

    name: str
    memory: Memory
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    before: tuple[frozenset[int], ...]
    """For each step, those that must come before it (implied ones may be missing)."""
    parameters: bool
    """Whether operators' parameters lie in the scratchpad too."""

    @cached_property
    def loads(self) -> frozenset[int]:
        """Clean buffers that a step writes first: by a ``load``, whose result is clean."""
        return frozenset(
            b
            for b, buffer in enumerate(self.buffers)
            if buffer.clean
            for first in [next(step for step in self.steps if b in step.uses)]
            if b in first.writes and b not in first.reads
        )

    @cached_property
    def floor(self) -> int:
        """Bytes that the largest operator needs: the least budget without double buffering."""
        return max(sum(self.buffers[b].size for b in step.uses) for step in self.steps)

    @cached_property
    def compulsory(self) -> int:
        """Compulsory bytes of any schedule."""
        written = Counter(b for step in self.steps for b in step.writes)
        fetched = sum(b.bytes for b in self.buffers if b.clean)
        return fetched + sum(
            buffer.bytes
            for b, buffer in enumerate(self.buffers)
            if buffer.delivered and (not buffer.clean or written[b] > (b in self.loads))
        )

    def check_order(self, order: Sequence[int]) -> None:
        """Raises :class:`ValueError` unless it is every step once, each after its predecessors."""
        if sorted(order) != list(range(len(self.steps))):
            raise ValueError(f"an order has each of the {len(self.steps)} steps once")
        position = {step: p for p, step in enumerate(order)}
        for step, before in enumerate(self.before):
            for other in before:
                if position[other] > position[step]:
                    raise ValueError(
                        f"{self.steps[step].name!r} comes before {self.steps[other].name!r}, "
                        "whose result it needs"
                    )


class BudgetError(ValueError):
    """A budget that no schedule can keep."""


def lower(graph: Graph, memory: Memory, parameters: bool = False) -> Problem:
    """The problem of scheduling ``graph`` on ``memory``.

    ``parameters``: whether operators' parameters take room too, each in a buffer of its own.
    Raises :class:`BudgetError`, with the figure, where an operator does not fit; operators are not
    cut into tiles.
    """
    step = memory.alignment

    def sized(bytes: int) -> int:
        return -(-bytes // step) * step

    loaded = {t for op in graph.ops if op.kind == LOAD for t in op.outputs}
    outputs = {graph.root(t)[0] for t in graph.outputs}
    place: dict[str, int] = {}
    buffers: list[Buffer] = []
    for tensor in graph.tensors.values():
        if tensor.view is None:
            place[tensor.name] = len(buffers)
            clean = tensor.name in loaded or tensor.name in graph.inputs
            buffers.append(
                Buffer(
                    tensor.name, sized(tensor.bytes), tensor.bytes, clean, tensor.name in outputs
                )
            )
    steps = []
    for op in graph.ops:
        reads = [place[graph.root(t)[0]] for t in op.inputs]
        writes = [place[graph.root(t)[0]] for t in op.outputs]
        reads += [b for b in writes if buffers[b].name in graph.inputs]
        if parameters and op.weight_bytes:
            reads.append(len(buffers))
            size = sized(op.weight_bytes)
            buffers.append(Buffer(f"{op.name}:weights", size, op.weight_bytes, True, False))
        steps.append(Step(op.name, tuple(dict.fromkeys(reads)), tuple(dict.fromkeys(writes))))
    used = sorted({b for s in steps for b in s.uses})
    renamed = {b: i for i, b in enumerate(used)}
    steps = [
        Step(s.name, tuple(renamed[b] for b in s.reads), tuple(renamed[b] for b in s.writes))
        for s in steps
    ]
    found = Problem(
        graph.name, memory, tuple(buffers[b] for b in used), tuple(steps), graph.predecessors,
        parameters,
    )  # fmt: skip
    if memory.budget < found.floor:
        largest = max(steps, key=lambda s: sum(found.buffers[b].size for b in s.uses))
        raise BudgetError(
            f"{graph.name}: operator {largest.name!r} needs {found.floor} bytes at once, the "
            f"budget is {memory.budget}; operators are not cut into tiles (yet): take a budget of "
            f"{found.floor} bytes or more"
        )
    return found
