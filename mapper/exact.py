"""The exact decomposition at a given order: what stays, by an integer program; where, by search.

The *master* (:mod:`.master`) decides what stays.  It knows capacity, not addresses, so its least
is a bound.  *Packing* (:mod:`.pack`) then looks for addresses of what stays.  Where there are
none, a conflict comes back, which becomes a *cut* (:mod:`.cuts`): of some gaps, one at least must
be left.  Then again, until it packs.
"""

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from . import pack, rolling
from .backends import Backend, Outcome, SolverError, run
from .cuts import (
    LENGTHS,
    Conflict,
    Cut,
    clash,
    hull,
    inside,
    lifted,
    rectangles,
    searched,
    shortened,
    unplaced,
)
from .fixed import FixedOrder
from .master import Master
from .plan import Plan, Result, Status, Watch, unwatched
from .problem import Problem

__all__ = ["rectangles", "solve"]

_PATIENCE = 0.1
"""Share of the limit that one attempt at packing may take at first; it doubles."""
_SHORTENING = 0.02
"""Share of the limit for making one cut stronger."""
_QUICK = 0.3
"""Seconds after which an attempt at packing turns to single positions and short stretches."""
_STRETCH = 0.05
"""Seconds for one of them, and for making its cut stronger."""
_TIES = 3
"""Other solutions of the master for each time that patience grows."""
_SHARES = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2, 0.35)
"""Of the budget, that the master is denied to find what packs more easily."""


def solve(
    problem: Problem,
    order: Sequence[int] | None = None,
    *,
    backend: Backend = "cbc",
    limit: float = 60.0,
    seed: int = 0,
    watch: Watch = unwatched,
) -> Result:
    """The least non-compulsory bytes of any plan in this order (None: the default one).

    ``optimal`` is proved, addresses included.  Where packing is not decided in a share of ``limit``
    seconds, other optima of the master are tried, plans that leave more, and the same with more
    patience; what is found then is ``feasible``, with the bound.  ``infeasible`` where not even
    what is in use can be packed, with the buffers in conflict.  Ctrl-C gives what is known.

    Notes: ``gaps`` and ``rows`` of the first master, ``rounds`` (masters solved), ``conflicts``
    (for each cut, its ``gaps`` as buffer, use before, use after; how many of them ``need`` to
    be left, and from which to before which ``positions`` that shows), ``cuts`` (how many),
    ``undecided`` (packings), seconds of both parts.  Raises
    :class:`.problem.BudgetError` where what is in use exceeds the budget.
    """
    search = _Search(FixedOrder(problem, order), backend, limit, seed, watch)
    try:
        status = search.run()
    except KeyboardInterrupt:
        status = search.interrupted()
    return search.result(status)


class _NoPlanError(Exception):
    """There is no plan."""


@dataclass
class _Search:
    fixed: FixedOrder
    backend: Backend
    limit: float
    seed: int
    watch: Watch
    begun: float = field(default_factory=time.monotonic)
    best: Plan | None = None
    kept: frozenset[int] = frozenset()
    """The gaps that the best plan leaves."""
    bound: int = 0
    cuts: list[Cut] = field(default_factory=list)
    fresh: list[Cut] = field(default_factory=list)
    """Those of the newest attempt at packing."""
    undecided: dict[frozenset[int], float] = field(default_factory=dict)
    """Sets of left gaps whose packing is not decided after so many seconds."""
    conflict: tuple[str, ...] = ()
    rows: int = 0
    rounds: int = 0
    mastering: float = 0.0
    packing: float = 0.0

    def rest(self) -> float:
        return self.limit - (time.monotonic() - self.begun)

    def told(self, bound: int) -> None:
        self.bound = max(self.bound, bound)
        found = None if self.best is None else self.best.objective
        self.watch(self.bound, found, time.monotonic() - self.begun)

    @property
    def done(self) -> bool:
        return self.best is not None and self.best.objective <= self.bound

    def run(self) -> Status:
        patience = max(self.limit * _PATIENCE, 0.05)
        try:
            for trial in count():
                self.retried(patience)
                self.candidates(patience, trial)
                if self.done or self.rest() <= 0:
                    break
                self.easier(patience / 2)
                patience *= 2
        except _NoPlanError:
            return "infeasible"
        return self.status

    @property
    def status(self) -> Status:
        if self.best is None:
            return "unknown"
        return "optimal" if self.done else "feasible"

    def interrupted(self) -> Status:
        """Whatever there is; a plan that leaves everything if that is quickly packed."""
        try:
            if self.best is None:
                self.place(frozenset(range(len(self.fixed.gaps))), 1.0)
        except _NoPlanError:
            return "infeasible"
        except KeyboardInterrupt:
            pass
        return self.status

    def candidates(self, patience: float, trial: int) -> None:
        """Solutions of the master, the best first, until one is packed, or enough are undecided."""
        more = _TIES if trial else 1  # some better plan first
        while more and self.rest() > 0 and not self.done:
            left = self.candidate(trial)
            if left is None:
                return
            if self.repaired(left, patience) is None:
                self.assured(patience)
                more -= 1

    def candidate(self, trial: int) -> frozenset[int] | None:
        """What the master leaves, of what is not undecided; None if that cannot improve."""
        found = self.master(Master(self.fixed, self.budget, self.rows_of_cuts, self.undecided))
        if found is None:
            return None
        master, outcome = found
        left = master.chosen(outcome.values)
        if self.undecided:
            # Of those that cost as much, what frees the most bytes for the longest: mostly.
            some = random.Random((self.seed, trial, len(self.undecided)).__hash__())

            def weight(i: int) -> float:
                gap = self.fixed.gaps[i]
                area = self.fixed.problem.buffers[gap.buffer].size * len(gap.freed)
                return -area * (some.uniform(0.2, 1.0) if len(self.undecided) > 1 else 1.0)

            model = master.model(self.fixed.cost(left), weight)
            other = self.asked(model, min(self.rest(), max(self.limit * _SHORTENING, 1.0)))
            if other.values:
                left = master.chosen(other.values)
        if self.best is not None and self.fixed.cost(left) >= self.best.objective:
            return None
        return left

    @property
    def rows_of_cuts(self) -> list[tuple[tuple[int, ...], int]]:
        return [(cut.gaps, cut.need) for cut in self.cuts]

    @property
    def budget(self) -> int:
        return self.fixed.problem.memory.budget

    def master(self, master: Master) -> tuple[Master, Outcome] | None:
        """The master solved, and the bound raised; None where there is no solution in time."""
        self.rounds += 1
        if self.rounds == 1:
            self.rows = len(master.rows)
        if not master.rows and not master.seen:
            return master, Outcome("optimal", 0.0, 0.0, {}, 0.0)
        least = min((self.fixed.cost(left) for left in self.undecided), default=math.inf)
        full = master.budget == self.budget

        def heard(bound: int, incumbent: int | None, seconds: float) -> None:
            if full:
                self.told(int(min(bound * master.scale, least)))

        start = master.start(self.kept) if self.best is not None and full else None
        outcome = self.asked(master.model(), max(self.rest(), 0.1), heard, start)
        if outcome.status == "infeasible" and not self.undecided and full:
            raise SolverError(f"{self.backend} finds no solution; leaving everything is one")
        if full:
            proved = outcome.bound * master.scale
            proved = math.ceil(proved - 1e-6) if math.isfinite(proved) else proved
            if self.best is not None:
                least = min(least, self.best.objective)
            if math.isfinite(min(proved, least)):
                self.told(int(min(proved, least)))
        return (master, outcome) if outcome.values else None

    def asked(
        self, model: Any, limit: float, watch: Watch = unwatched, start: Any = None
    ) -> Outcome:
        found = run(
            model, self.backend, limit=limit, seed=self.seed, start=start, watch=watch
        )  # fmt: skip
        self.mastering += found.seconds
        if found.interrupted:
            raise KeyboardInterrupt
        return found

    def retried(self, patience: float) -> None:
        """Undecided packings that would improve, the cheapest first, with more patience."""
        for left in sorted(self.undecided, key=self.fixed.cost):
            if self.rest() <= 0 or self.done:
                return
            if self.best is None or self.fixed.cost(left) < self.best.objective:
                self.repaired(left, patience)

    def easier(self, patience: float) -> None:
        """Plans that improve on the best so far, as if there were ever less memory."""
        for share in _SHARES:
            if self.rest() <= 0:
                return
            found = self.master(
                Master(self.fixed, int(self.budget * (1 - share)), self.rows_of_cuts)
            )
            if found is None:
                return
            left = found[0].chosen(found[1].values)
            if self.best is not None and self.fixed.cost(left) >= self.best.objective:
                return
            if left not in self.undecided and self.repaired(left, patience):
                return

    def repaired(self, left: frozenset[int], patience: float) -> bool | None:
        """Places ``left``, or what is left besides until it packs: a cut for each attempt.

        True if it is placed as it is, False if it is impossible, None if that is undecided.
        """
        first: bool | None = None
        until = min(time.monotonic() + 2 * patience, self.begun + self.limit)
        for attempt in count():
            answer = self.place(left, patience)
            first = answer if not attempt else first
            if answer is not False or time.monotonic() > until:
                break
            fresh = self.fresh
            self.assured(patience)
            for cut in fresh:
                need = cut.need - len(left.intersection(cut.gaps))
                if need <= 0:
                    continue
                kept = [i for i in cut.gaps if i not in left]
                kept.sort(key=lambda i: (self.fixed.cost({*left, i}), i))
                left |= {*kept[: need + attempt // 4]}  # in time, no more than that is too slow
            if self.best is not None and self.fixed.cost(left) >= self.best.objective:
                break
        return first

    def assured(self, patience: float) -> None:
        """Some plan, if there is none yet: all that can be is left."""
        every = frozenset(range(len(self.fixed.gaps)))
        if self.best is None and every not in self.undecided:
            self.place(every, patience)

    def place(self, left: frozenset[int], patience: float) -> bool | None:
        """Looks for addresses: keeps a plan that improves, or cuts, or that it is undecided."""
        start, wanted, self.fresh = time.monotonic(), rectangles(unplaced(self.fixed, left)), []
        try:
            new = left not in self.undecided
            if new and self.fixed.problem.memory.banks > 1:
                # Most conflicts with banks are of one position.
                for conflict in searched(self.fixed, left, _STRETCH, patience, LENGTHS[:1]):
                    self.learn(conflict, left, _STRETCH)
                if self.fresh:
                    return False
            if new:
                answer = self.attempted(left, wanted, min(patience, _QUICK))
                if answer is not None:
                    return answer
            # What few positions say at once, the whole may hide.
            seconds = _STRETCH if new else max(patience / 20, _STRETCH)
            for conflict in searched(self.fixed, left, seconds, min(patience, self.rest()) / 2):
                self.learn(conflict, left, 2 * seconds)
            if self.fresh:
                self.undecided.pop(left)
                return False
            return self.attempted(left, wanted, patience)
        finally:
            self.packing += time.monotonic() - start

    def attempted(
        self, left: frozenset[int], wanted: list[pack.Rectangle], limit: float
    ) -> bool | None:
        memory = self.fixed.problem.memory
        found = rolling.place(
            wanted, memory.budget, bank=memory.bank if memory.banks > 1 else None,
            limit=max(min(limit, self.rest()), 0.05), seed=self.seed + len(self.undecided),
        )  # fmt: skip
        if found.status == "unknown":
            self.undecided[left] = self.undecided.get(left, 0.0) + found.seconds
            return None
        self.undecided.pop(left, None)
        if found.status == "packed":
            plan = self.fixed.plan(left, found.offsets)
            if self.best is None or plan.objective < self.best.objective:
                self.best, self.kept = plan, left
                self.told(self.bound)
            return True
        plan = unplaced(self.fixed, left)
        residences = tuple(plan.residences[i] for i in found.conflict)
        seconds = min(self.limit * _SHORTENING, max(10 * found.seconds, 0.2), self.rest())
        self.learn(Conflict(residences, hull(plan, residences)), left, seconds)
        return False

    def learn(self, conflict: Conflict, left: frozenset[int], seconds: float) -> None:
        """Adds the cut of a conflict; raises :class:`_NoPlanError` where it has no gaps."""
        gaps = inside(self.fixed, conflict, left)
        if gaps:
            gaps = shortened(self.fixed, conflict.window, gaps, seconds)
        cut = lifted(self.fixed, gaps, conflict.window)
        self.cuts.append(cut)
        self.fresh.append(cut)
        if gaps:
            return
        names = [self.fixed.problem.buffers[r.buffer].name for r in conflict.residences]
        if left != frozenset(range(len(self.fixed.gaps))):
            names = self.explained(conflict.window) or names
        self.conflict = tuple(dict.fromkeys(names))
        raise _NoPlanError

    def explained(self, window: range) -> list[str]:
        """The buffers in conflict in ``window`` if all that can be is left."""
        every = frozenset(range(len(self.fixed.gaps)))
        found = clash(self.fixed, every, window, max(self.rest(), 1.0))
        buffers = self.fixed.problem.buffers
        return [buffers[r.buffer].name for r in found.residences] if found else []

    def named(self) -> Iterator[dict[str, Any]]:
        """The cuts, in JSON's types."""
        buffers, gaps = self.fixed.problem.buffers, self.fixed.gaps
        for cut in self.cuts:
            found = [[buffers[gaps[i].buffer].name, gaps[i].first, gaps[i].last] for i in cut.gaps]
            window = [cut.window.start, cut.window.stop]
            yield {"gaps": found, "need": cut.need, "positions": window}

    def result(self, status: Status) -> Result:
        notes = {
            "gaps": len(self.fixed.gaps), "rows": self.rows, "rounds": self.rounds,
            "cuts": len(self.cuts), "undecided": len(self.undecided),
            "master_seconds": round(self.mastering, 3),
            "packing_seconds": round(self.packing, 3), "conflicts": [*self.named()],
        }  # fmt: skip
        return Result(
            self.fixed.problem, status, None if status == "infeasible" else self.best, self.bound,
            f"exact ({self.backend}, pack)", time.monotonic() - self.begun, self.seed, notes,
            self.conflict if status == "infeasible" else (),
        )  # fmt: skip
