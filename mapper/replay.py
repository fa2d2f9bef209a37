"""Executes a schedule byte range by byte range and checks every rule of :mod:`.problem`.

It shares nothing with what makes schedules: it knows the graph and the schedule's file.  The
scratchpad is a map from addresses to what lies there: which byte of which buffer, in which
version.  A version is the operator that wrote the byte.  Off chip lies, of each buffer, what the
last store (or a ``load``, or whoever made the inputs) put there.  The default order of the graph
says which version each operator must find; reads of other versions break the order's rules, a
stale copy's, a missing transfer's, or are overlaps.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from .graph import LOAD, Graph, Op
from .schedule import Operation, Schedule, Transfer
from .versions import OUTSIDE, DefaultOrder, Ranges, parts, spans, started

_SHOWN = 5
"""Violations that an error's text says."""


class ReplayError(ValueError):
    """A schedule that breaks rules."""

    def __init__(self, name: str, violations: Sequence[str]) -> None:
        """``violations``: at least one."""
        shown = "; ".join(violations[:_SHOWN])
        more = len(violations) - _SHOWN
        super().__init__(f"{name}: {shown}" + (f"; and {more} more" if more > 0 else ""))
        self.violations = tuple(violations)
        """Each with the step, the buffer and the addresses."""


@dataclass(frozen=True)
class Replay:
    """Bytes that a schedule moves and holds, counted."""

    compulsory: int
    """What ``load`` operators bring is among them."""
    non_compulsory: int
    fetched: int
    stored: int
    peak: int
    """The highest address in use, plus one."""
    live: tuple[int, ...]
    """Sizes of all that lies in the scratchpad, step by step."""
    traffic: tuple[int, ...]
    """Bytes moved, step by step; the prologue's are the first step's, the epilogue's the last's."""

    @property
    def total(self) -> int:
        """All bytes."""
        return self.compulsory + self.non_compulsory


def replay(graph: Graph, schedule: Schedule, *, parameters: bool | None = None) -> Replay:
    """What ``schedule`` of ``graph`` moves; raises :class:`ReplayError` with all that is wrong.

    ``parameters``: whether operators' parameters take room; None: whether the schedule has a
    buffer for those of any.  Transfers that nobody needs break no rule; their bytes count.
    A buffer may be stored and fetched between the same two steps.
    """
    if parameters is None:
        parameters = any(f"{op.name}:weights" in schedule.buffers for op in graph.ops)
    run = _Run(graph, schedule, parameters)
    run.described()
    if run.ordered():
        run.executed()
    if run.violations:
        raise ReplayError(schedule.name, run.violations)
    return Replay(
        run.counted["compulsory"], run.counted["non-compulsory"], run.counted["fetch"],
        run.counted["store"], run.peak, tuple(run.live), tuple(run.traffic),
    )  # fmt: skip


@dataclass
class _Run:
    """A schedule, as far as it has been executed."""

    graph: Graph
    schedule: Schedule
    parameters: bool
    violations: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    live: list[int] = field(default_factory=list)
    traffic: list[int] = field(default_factory=list)
    peak: int = 0

    def __post_init__(self) -> None:
        graph = self.graph
        self.ops = {op.name: op for op in graph.ops}
        self.weights = {
            f"{op.name}:weights": op for op in graph.ops if self.parameters and op.weight_bytes
        }
        self.loaded = {t for op in graph.ops if op.kind == LOAD for t in op.outputs}
        self.loaded &= {t.name for t in graph.tensors.values() if t.view is None}
        self.default = DefaultOrder(graph)
        self.newest = started(graph)
        """The content that each buffer has to have now, wherever it lies."""
        self.off = started(graph)
        """What lies off chip."""
        for name, op in self.weights.items():
            for content in (self.default.last, self.newest, self.off):
                content[name] = Ranges((0, op.weight_bytes, OUTSIDE))
        self.pad: Ranges[tuple[str, int, str] | None] = Ranges()
        """By address: the buffer, where its first byte would be, the version; None: nothing."""
        self.held: dict[str, int] = {}
        """Addresses of what lies in the scratchpad."""
        self.fetched: set[str] = set()

    def wrong(self, where: str, text: str) -> None:
        self.violations.append(f"{where}: {text}")

    def uses(self, op: Op) -> list[str]:
        """Buffers that it reads or writes."""
        found = [self.graph.root(t)[0] for t in (*op.inputs, *op.outputs)]
        if f"{op.name}:weights" in self.weights:
            found.append(f"{op.name}:weights")
        return list(dict.fromkeys(found))

    @cached_property
    def used(self) -> set[str]:
        """Buffers that any operator uses."""
        return {b for op in self.graph.ops for b in self.uses(op)}

    @cached_property
    def delivered(self) -> set[str]:
        """Buffers that must be off chip at the end."""
        return {self.graph.root(t)[0] for t in self.graph.outputs} & self.used

    @cached_property
    def last_use(self) -> dict[str, int]:
        return {
            b: number
            for number, step in enumerate(self.schedule.steps)
            for b in self.uses(self.ops[step.name])
        }

    def size(self, buffer: str) -> int:
        """What it takes in the scratchpad."""
        return -(-self.content(buffer) // self.schedule.alignment) * self.schedule.alignment

    def content(self, buffer: str) -> int:
        """Its bytes."""
        if buffer in self.weights:
            return self.weights[buffer].weight_bytes
        return self.graph.tensors[buffer].bytes

    def described(self) -> None:
        """Checks what the file says of memory, buffers and tensors."""
        said = self.schedule
        for name in ("budget", "alignment", "banks"):
            if getattr(said, name) < 1:
                self.wrong("memory", f"{name} is {getattr(said, name)}")
        if said.alignment > 0 and said.banks > 0 and said.budget % (said.alignment * said.banks):
            self.wrong("memory", f"{said.budget} bytes are not {said.banks} banks of whole "
                       f"multiples of {said.alignment} bytes")  # fmt: skip
        for buffer, whole in said.buffers.items():
            if buffer not in self.newest:
                self.wrong("buffers", f"{buffer!r} is no buffer of the graph")
            elif (whole.bytes, whole.size) != (self.content(buffer), self.size(buffer)):
                self.wrong("buffers", f"{buffer!r} has {whole.bytes} bytes in {whole.size}, not "
                           f"{self.content(buffer)} in {self.size(buffer)}")  # fmt: skip
        for buffer in self.used - said.buffers.keys():
            self.wrong("buffers", f"{buffer!r} is missing")
        for tensor in self.graph.tensors.keys() | said.tensors.keys():
            place, known = said.tensors.get(tensor), self.graph.tensors.get(tensor)
            if place is None or known is None:
                whose = "schedule" if place is None else "graph"
                self.wrong("tensors", f"{tensor!r} is none of the {whose}")
                continue
            right = (*self.graph.root(tensor), known.bytes)
            if (place.buffer, place.offset, place.bytes) != right:
                there = f"{place.bytes} bytes at {place.offset} of {place.buffer!r}"
                self.wrong(
                    "tensors", f"{tensor!r} is {there}; it is (buffer, offset, bytes) {right}"
                )

    def ordered(self) -> bool:
        """Whether it runs every operator once; only then can it be executed."""
        before = len(self.violations)
        number = {op.name: n for n, op in enumerate(self.graph.ops)}
        for name, count in Counter(step.name for step in self.schedule.steps).items():
            if name not in self.ops:
                self.wrong("steps", f"{name!r} is no operator of the graph")
            elif count > 1:
                self.wrong("steps", f"{name!r} runs {count} times")
        for name in number.keys() - {step.name for step in self.schedule.steps}:
            self.wrong("steps", f"{name!r} never runs")
        if len(self.violations) > before:
            return False
        for n, step in enumerate(self.schedule.steps):
            where = f"step {n} ({step.name})"
            if step.kind != self.ops[step.name].kind:
                self.wrong(where, f"is a {self.ops[step.name].kind!r}, not a {step.kind!r}")
            if step.place not in (None, number[step.name]):
                self.wrong(where, f"is number {number[step.name]} of the graph, not {step.place}")
        return self.schedule.alignment > 0 and self.schedule.banks > 0

    def executed(self) -> None:
        steps, double = self.schedule.steps, self.schedule.double_buffered
        first = steps[0].placed if steps else {}
        self.moved("prologue", self.schedule.prologue, first)
        early = sum(t.bytes for t in self.schedule.prologue)
        for n, step in enumerate(steps):
            where, op = f"step {n} ({step.name})", self.ops[step.name]
            self.traffic.append(sum(t.bytes for t in step.transfers) + early)
            early = 0
            placed = {b: a for b, a in step.placed.items() if b in self.newest}
            for buffer in step.placed.keys() - placed.keys():
                self.wrong(where, f"{buffer!r} is no buffer of the graph")
            self.placed(where, placed)
            if double:
                self.freed(where, n, placed)
                self.together(where, step, placed, op)
            else:
                self.moved(where, step.transfers, placed)
                self.settled(where, placed, op, ())
                self.operate(where, op)
            self.live.append(sum(map(self.size, placed)))
        self.moved("epilogue", self.schedule.epilogue, {})
        if self.traffic:
            self.traffic[-1] += sum(t.bytes for t in self.schedule.epilogue)
        for buffer in sorted(self.delivered):
            if not self.off[buffer].holds(self.default.last[buffer]):
                self.wrong("end", f"what lies off chip of output {buffer!r} is not its content")
        said = self.schedule.result.get("objective")
        if isinstance(said, int) and said != self.counted["non-compulsory"]:
            self.wrong("result", f"says {said} non-compulsory bytes; they are "
                       f"{self.counted['non-compulsory']}")  # fmt: skip

    def placed(self, where: str, placed: dict[str, int]) -> None:
        """Checks the addresses of one step for themselves."""
        end, last = 0, ""
        bank = max(self.schedule.budget // self.schedule.banks, 1)
        for buffer, start in sorted(placed.items(), key=lambda x: x[1]):
            stop = start + self.size(buffer)
            lies = f"{buffer!r} at {start} to {stop}"
            if start < 0 or stop > self.schedule.budget:
                self.wrong(where, f"{lies} is not within 0 to {self.schedule.budget}")
            if start % self.schedule.alignment:
                self.wrong(where, f"{lies} is not aligned to {self.schedule.alignment}")
            whole = stop - start <= bank
            if self.schedule.banks > 1 and (
                start // bank != (stop - 1) // bank if whole else start % bank
            ):
                self.wrong(where, f"{lies} {'crosses' if whole else 'does not begin with'} a bank; "
                           f"these have {bank} bytes")  # fmt: skip
            if start < end:
                self.wrong(where, f"{lies} lies over {last!r}, which ends at {end}")
            if stop > end:
                end, last = stop, buffer
        self.peak = max(self.peak, end)

    def moved(self, where: str, transfers: Sequence[Transfer], placed: dict[str, int]) -> None:
        """Transfers between two steps; ``placed``: where things lie after them."""
        stores = [t for t in transfers if t.direction == "store"]
        if any(t.direction == "fetch" for t in transfers[: len(stores)]):
            self.wrong(where, "fetches before it stores")
        for t in stores:
            self.store(where, t, self.held)
        self.held = {b: a for b, a in self.held.items() if b in placed}
        for t in transfers:
            if t.direction == "fetch":
                self.fetch(where, t, placed)

    def together(self, where: str, step: Operation, placed: dict[str, int], op: Op) -> None:
        """An operator and the transfers while it runs."""
        self.held = {b: a for b, a in self.held.items() if b in placed}
        uses = self.uses(op)
        for t in step.transfers:
            if t.buffer in uses:
                self.wrong(where, f"{t.buffer!r} at {t.address} is moved ({t.direction}) while it "
                           "is in use")  # fmt: skip
        for t in step.transfers:
            if t.direction == "store":
                self.store(where, t, self.held)
        coming = {t.buffer for t in step.transfers if t.direction == "fetch"}
        for buffer in coming & {t.buffer for t in step.transfers if t.direction == "store"}:
            self.wrong(where, f"{buffer!r} is stored and fetched at once")
        self.settled(where, placed, op, coming)
        self.operate(where, op)
        for t in step.transfers:
            if t.direction == "fetch":
                self.fetch(where, t, placed)

    def freed(self, where: str, number: int, placed: dict[str, int]) -> None:
        """With double buffering, what leaves waits for a step; checks what is gone by now."""
        if not number:
            return
        before = self.uses(self.ops[self.schedule.steps[number - 1].name])
        for buffer, address in self.held.items():
            if placed.get(buffer) == address:
                continue
            again = self.last_use.get(buffer, -1) >= number or buffer in self.delivered
            if again and buffer in before:
                self.wrong(where, f"{buffer!r} at {address} leaves at once, and is "
                           "needed again or delivered")  # fmt: skip

    def settled(self, where: str, placed: dict[str, int], op: Op, coming: Iterable[str]) -> None:
        """Nothing moves by itself, and what is new is made here or ``coming``."""
        made = {self.graph.root(t)[0] for t in op.outputs}
        for buffer, address in placed.items():
            if buffer in coming:
                continue
            lies = self.held.get(buffer)
            if lies is None:
                fresh = not any(v for _, _, v in self.newest[buffer][0 : self.content(buffer)])
                if buffer not in made or not fresh:
                    self.wrong(where, f"{buffer!r} at {address} was neither fetched nor made")
                self.pad[address : address + self.size(buffer)] = None
                self.held[buffer] = address
            elif lies != address:
                self.wrong(where, f"{buffer!r} moves from {lies} to {address}")
                self.held[buffer] = address

    def store(self, where: str, t: Transfer, held: dict[str, int]) -> None:
        if not self.counts(where, t):
            return
        lies = held.get(t.buffer)
        if lies != t.address:
            where_it_is = "nowhere" if lies is None else f"at {lies}"
            self.wrong(where, f"stores {t.buffer!r} from {t.address}; it lies {where_it_is}")
        before = self.off[t.buffer].holds(self.default.last[t.buffer])
        self.off[t.buffer] = Ranges(*(
            (start - t.address, stop - t.address, piece[2])
            for start, stop, piece in self.pad[t.address : t.address + t.bytes]
            if piece is not None and piece[:2] == (t.buffer, t.address)
        ))  # fmt: skip
        after = self.off[t.buffer].holds(self.default.last[t.buffer])
        due = t.buffer in self.delivered and after and not before
        if t.compulsory != due:
            self.wrong(where, f"the store of {t.buffer!r} from {t.address} is "
                       f"{'not ' if t.compulsory else ''}compulsory")  # fmt: skip

    def fetch(self, where: str, t: Transfer, placed: dict[str, int]) -> None:
        if not self.counts(where, t):
            return
        if placed.get(t.buffer) != t.address:
            self.wrong(where, f"fetches {t.buffer!r} to {t.address}; its place is "
                       f"{placed.get(t.buffer, 'nowhere')}")  # fmt: skip
        if not self.off[t.buffer].holds(self.newest[t.buffer]):
            self.wrong(where, f"fetches {t.buffer!r} to {t.address}; its copy off chip is old")
        begins = t.buffer in self.weights or t.buffer in self.graph.inputs
        if t.compulsory != (begins and t.buffer not in self.fetched):
            self.wrong(where, f"the fetch of {t.buffer!r} to {t.address} is "
                       f"{'not ' if t.compulsory else ''}compulsory")  # fmt: skip
        self.fetched.add(t.buffer)
        self.held[t.buffer] = t.address
        self.pad[t.address : t.address + self.size(t.buffer)] = None
        for start, stop, version in self.off[t.buffer].pieces:
            self.pad[t.address + start : t.address + stop] = (t.buffer, t.address, version)

    def counts(self, where: str, t: Transfer) -> bool:
        """Counts a transfer; whether it is of a buffer at all."""
        if t.buffer not in self.newest:
            self.wrong(where, f"{t.direction} of {t.buffer!r}, which is no buffer of the graph")
            return False
        if t.bytes != self.content(t.buffer):
            self.wrong(where, f"{t.direction} of {t.bytes} bytes of {t.buffer!r}, which has "
                       f"{self.content(t.buffer)}")  # fmt: skip
        self.counted[t.direction] += t.bytes
        self.counted["compulsory" if t.compulsory else "non-compulsory"] += t.bytes
        return True

    def operate(self, where: str, op: Op) -> None:
        """Reads, then writes."""
        for buffer in self.uses(op):
            if buffer not in self.held:
                self.wrong(where, f"{buffer!r} is in use and not in the scratchpad")
        wanted = self.default.reads[op.name]
        if f"{op.name}:weights" in self.weights:
            wanted = [*wanted, (f"{op.name}:weights", 0, op.weight_bytes, OUTSIDE)]
        for buffer, start, stop, version in wanted:
            base = self.held.get(buffer)
            if base is None:
                continue
            for first, last, piece in self.pad[base + start : base + stop]:
                if piece != (buffer, base, version):
                    lies = (
                        f"byte {first - piece[1]} of {piece[0]!r} by {piece[2]!r}"
                        if piece
                        else "nothing"
                    )
                    self.wrong(where, f"reads bytes {start} to {stop} of {buffer!r} as {version!r} "
                               f"left it; at {first} to {last} lies {lies}")  # fmt: skip
        if parts(self.graph, op.outputs, self.newest) != self.default.over[op.name]:
            self.wrong(where, "writes over what the default order overwrites earlier or later")
        for root, start, stop in spans(self.graph, op.outputs):
            self.newest[root][start:stop] = op.name
            if root in self.held:
                base = self.held[root]
                self.pad[base + start : base + stop] = (root, base, op.name)
        for buffer in self.loaded & {*op.outputs} if op.kind == LOAD else ():
            self.off[buffer][0 : self.content(buffer)] = op.name
            self.counted["compulsory"] += self.content(buffer)
            self.counted["fetch"] += self.content(buffer)
            self.traffic[-1] += self.content(buffer)
