"""Orders, what stays and addresses together: the loop around search, programs and packing."""

import importlib.util
import itertools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Literal

from .. import backends, exact, pack
from ..fixed import FixedOrder
from ..plan import Plan, Residence, Result, Status, Watch, unwatched
from ..problem import BudgetError, Problem
from . import cpsat
from .program import Program, Stay
from .states import Found, Pattern, library, search

Backend = Literal["auto", "states", "cp-sat", "cbc", "highs"]

_BEAM = 64
_START = 0.1
"""Share of the time that one given order may take."""
_STATES = 0.6
"""Share of the time that the search over states may take where others can follow."""
_PACKING = 0.3
"""Share of the time left for one attempt at packing."""
_TRIED = 3
"""Orders without addresses at the least cost that are solved by themselves."""


def solve(
    problem: Problem,
    *,
    limit: float = 60.0,
    seed: int = 0,
    workers: int = 2,
    backend: Backend = "auto",
    start: Sequence[Sequence[int]] = (),
    watch: Watch = unwatched,
) -> Result:
    """The least non-compulsory bytes of any plan in any order.

    ``optimal`` is proved, addresses included.  ``limit``: seconds in all; what is found by then,
    or by Ctrl-C, comes back with the bound.  ``start``: orders that are tried first.  ``backend``:
    what decides on order and residences: ``"states"``, the search over executed steps; a program
    for ``"cp-sat"`` (extra ``ortools``), ``"cbc"`` or ``"highs"``; ``"auto"``, the search, and
    where it gives up CP-SAT, if it is there.  ``workers``: threads of CP-SAT.

    Raises :class:`ValueError` for an order that is none and an unknown backend,
    :class:`ModuleNotFoundError` without the extra, :class:`~...models.native.KernelMissing`
    without a C++ compiler.
    """
    known = ("auto", "states", "cp-sat", "cbc", "highs")
    if backend not in known:
        raise ValueError(f"backend {backend!r} is none of {', '.join(known)}")
    if backend == "cp-sat":
        cpsat.solver()
    for order in start:
        problem.check_order(order)
    if backend in ("auto", "states"):
        library()  # not on the clock
    joint = _Joint(problem, limit, seed, workers, backend, watch)
    try:
        joint.try_orders(start)
        if not joint.interrupted:
            joint.run()
    except KeyboardInterrupt:
        joint.interrupted = True
    return joint.result()


@dataclass
class _Joint:
    problem: Problem
    limit: float
    seed: int
    workers: int
    backend: Backend
    watch: Watch
    begun: float = field(default_factory=time.monotonic)
    best: Plan | None = None
    bound: int = 0
    sure: bool = True
    """Whether all that was forbidden has been proved to be impossible."""
    none: bool = False
    """Whether it was proved that nothing is below the best."""
    stays: list[list[Stay]] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)
    conflict: tuple[str, ...] = ()
    rounds: int = 0
    undecided: int = 0
    states: int = 0
    sets: int = 0
    used: str = ""
    packing: float = 0.0
    interrupted: bool = False

    def left(self) -> float:
        return self.limit - (time.monotonic() - self.begun)

    @property
    def upper(self) -> int | None:
        return None if self.best is None else self.best.objective

    def say(self, bound: int, incumbent: int | None = None) -> None:
        """To the watcher; ``incumbent``, of capacity alone, is none."""
        if self.sure:
            self.bound = max(self.bound, bound if self.upper is None else min(bound, self.upper))
        self.watch(self.bound, self.upper, time.monotonic() - self.begun)

    def run(self) -> None:
        if self.backend in ("auto", "states"):
            self.beam()
            more = self.backend == "auto" and importlib.util.find_spec("ortools") is not None
            self.loop("states", lambda left: self.search(left * (_STATES if more else 1)))
            if self.none or self.interrupted or not more or self.left() <= 0:
                return
            self.loop("CP-SAT", self.program)
        else:
            names = {"cp-sat": "CP-SAT", "cbc": "CBC", "highs": "HiGHS"}
            self.loop(names[self.backend], self.program)

    def loop(self, name: str, relaxed: Callable[[float], Found]) -> None:
        """Solves without addresses, packs, forbids what cannot be packed, again and again."""
        self.used = f"{self.used}, {name}" if self.used else name
        while self.left() > 0 and not self.interrupted:
            self.rounds += 1
            found = relaxed(self.left())
            self.interrupted |= found.interrupted
            if found.status == "none":
                self.none = self.sure
                return
            self.say(found.bound)
            outcome = self.place(found) if found.order else "none"
            if found.status != "optimal":
                return
            if outcome in ("placed", "worse") or self.bound == self.upper:
                self.none = self.sure
                return

    def beam(self) -> None:
        found = search(self.problem, beam=_BEAM, limit=self.left() / 4)
        self.interrupted |= found.interrupted
        if found.order and self.place(found, forbid=False) == "none":
            self.try_orders([found.order])

    def search(self, limit: float) -> Found:
        found = search(
            self.problem, upper=self.upper, patterns=self.patterns, limit=limit, watch=self.say
        )
        self.states, self.sets = max(self.states, found.states), max(self.sets, found.sets)
        return found

    def program(self, limit: float) -> Found:
        model = Program(self.problem, self.stays)
        if self.backend in ("cbc", "highs"):
            lp = model.pulp()
            scale = model.scale
            got = backends.run(
                lp, self.backend, limit=limit, threads=self.workers, seed=self.seed,
                watch=lambda bound, *_: self.say(bound * scale),
            )  # fmt: skip
        else:
            got = cpsat.run(
                model, limit=limit, workers=self.workers, seed=self.seed, upper=self.upper,
                hint=self.best.order if self.best else (), watch=self.say,
            )  # fmt: skip
            scale = 1
        bound = math.ceil(got.bound * scale - 1e-6) if math.isfinite(got.bound) else 0
        self.interrupted |= got.interrupted
        if got.status == "infeasible":
            return Found("none", (), frozenset(), self.bound, 0, 0)
        if got.status == "unknown":
            return Found("unknown", (), frozenset(), bound, 0, 0)
        order, left = model.read([got.values[f"v_{i}"] for i in range(len(model.names))])
        status = "optimal" if got.status == "optimal" else "feasible"
        return Found(status, order, left, bound, 0, 0)

    def try_orders(self, orders: Sequence[Sequence[int]]) -> None:
        """Takes the best plan of each, if it is better."""
        for order in orders:
            limit = min(self.limit * _START, self.left())
            if self.interrupted or limit <= 0:
                return
            try:
                with _heard() as heard:
                    found = exact.solve(self.problem, order, limit=limit, seed=self.seed)
            except BudgetError:
                continue
            if found.plan is not None:
                self.keep(found.plan)
            self.interrupted |= bool(heard)

    def keep(self, plan: Plan) -> None:
        if self.best is None or plan.objective < self.best.objective:
            self.best = plan
            self.watch(self.bound, plan.objective, time.monotonic() - self.begun)

    def place(self, found: Found, forbid: bool = True) -> Literal["placed", "worse", "none"]:
        """Looks for addresses, unless there is a better plan; keeps the plan or, if told to,
        forbids what has none."""
        fixed, memory = FixedOrder(self.problem, found.order), self.problem.memory
        plan = fixed.plan(found.left, [0] * len(fixed.residences(found.left)))
        if self.best is not None and plan.objective >= self.best.objective:
            return "worse"
        began = time.monotonic()
        packed = pack.pack(
            exact.rectangles(plan), memory.budget, bank=memory.bank if memory.banks > 1 else None,
            limit=max(self.left() * _PACKING, 0.05), seed=self.seed,
        )  # fmt: skip
        self.packing += time.monotonic() - began
        if packed.status == "packed":
            self.keep(fixed.plan(found.left, packed.offsets))
            return "placed"
        if not forbid:
            return "none"
        places = packed.conflict
        if packed.status == "unknown":
            self.sure, self.undecided = False, self.undecided + 1
            places = range(len(plan.residences))
        residences = [plan.residences[i] for i in places]
        self.conflict = tuple(self.problem.buffers[r.buffer].name for r in residences)
        self.stays.append([(r.buffer, plan.occupied(r)) for r in residences])
        self.patterns.append(pattern(plan, residences))
        if self.best is None or len(self.patterns) <= _TRIED:
            self.try_orders([found.order])
        return "none"

    def result(self) -> Result:
        status: Status = "unknown"
        if self.best is not None:
            if self.none or self.bound >= self.best.objective:
                self.bound = self.best.objective
            status = "optimal" if self.bound == self.best.objective else "feasible"
        elif self.none:
            status = "infeasible"
        notes = {
            "rounds": self.rounds, "conflicts": len(self.patterns), "undecided": self.undecided,
            "states": self.states, "sets": self.sets, "packing_seconds": round(self.packing, 3),
            "interrupted": self.interrupted,
        }  # fmt: skip
        return Result(
            self.problem, status, self.best, self.bound, f"free order ({self.used}, pack)",
            time.monotonic() - self.begun, self.seed, notes,
            self.conflict if status == "infeasible" else (),
        )  # fmt: skip


@contextmanager
def _heard() -> Iterator[list[int]]:
    """Ctrl-C that is caught inside, as signals; empty outside the main thread."""
    heard: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield heard
        return

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, hear)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, before)


def pattern(plan: Plan, residences: Sequence[Residence]) -> Pattern:
    """Which of these lie beside one another, position by position, where that says more than
    what comes before or after.

    Where a conflict's residences have no placement, no plan has this pattern: it would have
    residences that begin no later, end no earlier and meet at least as often, at one address
    each, and cut down these would place the conflict.
    """
    when = [plan.occupied(r) for r in residences]
    levels: list[frozenset[int]] = []
    for position in range(len(plan.order)):
        beside = frozenset(i for i, span in enumerate(when) if position in span)
        if not beside or (levels and beside <= levels[-1]):
            continue
        if levels and levels[-1] < beside:
            levels.pop()
        levels.append(beside)

    def buffers(places: frozenset[int]) -> frozenset[int]:
        return frozenset(residences[i].buffer for i in places)

    return Pattern(
        tuple(map(buffers, levels)),
        tuple(buffers(a & b) for a, b in itertools.pairwise(levels)),
    )
