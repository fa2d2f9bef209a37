"""Orders of a problem's steps: the default one, of least peak, greedy ones.

Bytes are counted as if every buffer stayed from its first use to its last.
"""

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from .problem import Problem

Order = tuple[int, ...]


def default(problem: Problem) -> Order:
    """As the graph has it."""
    return tuple(range(len(problem.steps)))


def greedy(problem: Problem) -> Order:
    """Always the ready step after which the least lies in the scratchpad; among equals the one that
    needs least while it runs, then one that reads what the last step wrote, then the first."""
    lives, done, order = _Lives(problem), 0, []
    ready = {s for s in range(len(problem.steps)) if not lives.before[s]}
    live, last = 0, frozenset[int]()
    while ready:

        def merit(step: int) -> tuple[int, ...]:
            peak, after = lives.run(done, live, step)  # noqa: B023  (used within the turn)
            follows = bool(last & set(problem.steps[step].reads))  # noqa: B023
            return after, peak, not follows, step

        step = min(ready, key=merit)
        _, live = lives.run(done, live, step)
        done |= 1 << step
        order.append(step)
        last = frozenset(problem.steps[step].writes)
        ready.remove(step)
        ready |= {s for s in lives.after[step] if not lives.before[s] & ~done}
    return tuple(order)


def depth_first(problem: Problem) -> Order:
    """From the last steps backwards: each operand's makers just before its reader, the one that
    needs most first (Sethi and Ullman's rule, by bytes)."""
    lives = _Lives(problem)
    need: dict[int, int] = {}
    for step in default(problem):
        inputs = sorted((need[p] for p in problem.before[step]), reverse=True)
        own = sum(problem.buffers[b].size for b in problem.steps[step].uses)
        need[step] = max([own, *(n + i for i, n in enumerate(inputs))])
    order: list[int] = []
    seen = [False] * len(problem.steps)
    ends = [s for s in default(problem) if not lives.after[s]]
    stack = [(s, False) for s in reversed(ends)]
    while stack:
        step, ripe = stack.pop()
        if ripe:
            order.append(step)
        elif not seen[step]:
            seen[step] = True
            stack.append((step, True))
            makers = sorted(problem.before[step], key=lambda p: need[p])
            stack += [(p, False) for p in makers if not seen[p]]
    return tuple(order)


@dataclass(frozen=True)
class LeastPeak:
    """An order and the most bytes that lie in the scratchpad at one of its steps."""

    order: Order
    peak: int
    proved: bool
    """Whether no order has a lower peak."""

    def __iter__(self) -> Iterator:
        return iter((self.order, self.peak, self.proved))


def min_peak(problem: Problem, limit: float = 10.0, width: int = 200, seed: int = 0) -> LeastPeak:
    """The order of least peak, by best-first search over sets of steps that are done; where that
    takes more than half of ``limit`` seconds, the best of a beam of ``width`` sets and of the other
    orders here.

    A step after which no more lies there than before, and that raises no peak, is done at once:
    nothing is lost by it.
    """
    del seed  # nothing is drawn
    lives, start = _Lives(problem), time.monotonic()
    found = lives.best_first(start + limit / 2)
    if found is not None:
        return LeastPeak(found, lives.peak(found), True)
    orders = [default(problem), greedy(problem), depth_first(problem)]
    orders.append(lives.beam(width, start + limit))
    best = min((o for o in orders if o), key=lives.peak)
    peak = lives.peak(best)
    return LeastPeak(best, peak, peak == problem.floor)


class _Lives:
    """What lies in the scratchpad when a set of steps (bits of an integer) is done."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.sizes = [b.size for b in problem.buffers]
        self.users = [0] * len(problem.buffers)
        for s, step in enumerate(problem.steps):
            for b in step.uses:
                self.users[b] |= 1 << s
        self.before = [sum(1 << p for p in before) for before in problem.before]
        self.after: list[list[int]] = [[] for _ in problem.steps]
        for s, before in enumerate(problem.before):
            for p in before:
                self.after[p].append(s)

    def run(self, done: int, live: int, step: int) -> tuple[int, int]:
        """Bytes while ``step`` runs, and after it."""
        peak, freed, with_it = live, 0, done | 1 << step
        for b in self.problem.steps[step].uses:
            if not self.users[b] & done:
                peak += self.sizes[b]
            if not self.users[b] & ~with_it:
                freed += self.sizes[b]
        return peak, peak - freed

    def peak(self, order: Order) -> int:
        """Of a whole order."""
        done = live = most = 0
        for step in order:
            peak, live = self.run(done, live, step)
            done |= 1 << step
            most = max(most, peak)
        return most

    @cached_property
    def every(self) -> int:
        """All steps."""
        return (1 << len(self.problem.steps)) - 1

    def ready(self, done: int, among: tuple[int, ...]) -> tuple[int, ...]:
        """Those of ``among`` that can run, and are not done."""
        return tuple(s for s in among if not done >> s & 1 and not self.before[s] & ~done)

    def forced(
        self, done: int, live: int, ready: tuple[int, ...], most: int
    ) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
        """With all steps done that cost nothing under a peak of ``most``."""
        ran: list[int] = []
        again = True
        while again:
            again = False
            for step in ready:
                peak, after = self.run(done, live, step)
                if peak <= most and after <= live:
                    done, live, again = done | 1 << step, after, True
                    ran.append(step)
                    more = self.ready(done, tuple(self.after[step]))
                    ready = (*(s for s in ready if s != step), *more)
                    break
        return done, live, ready, tuple(ran)

    def best_first(self, deadline: float) -> Order | None:
        """The order of least peak; None where time is up."""
        first = self.ready(0, tuple(range(len(self.problem.steps))))
        floor = self.problem.floor
        done, live, ready, ran = self.forced(0, 0, first, floor)
        came: dict[int, tuple[int, tuple[int, ...]]] = {done: (-1, ran)}
        # Sets are met in the order of their peaks: the first time is the best.
        heap = [(floor, -done.bit_count(), done, live, ready)]
        closed: set[int] = set()
        best = {done: floor}
        count = 0
        while heap:
            most, _, done, live, ready = heapq.heappop(heap)
            if done in closed:
                continue
            closed.add(done)
            if done == self.every:
                return self._path(came, done)
            count += 1
            if not count & 63 and time.monotonic() > deadline:
                return None
            for step in ready:
                peak, after = self.run(done, live, step)
                reached = max(most, peak)
                more = self.ready(done | 1 << step, tuple(self.after[step]))
                left = (*(s for s in ready if s != step), *more)
                then, now, left, ran = self.forced(done | 1 << step, after, left, reached)
                if then not in closed and reached < best.get(then, 1 << 62):
                    best[then] = reached
                    came[then] = done, (step, *ran)
                    heapq.heappush(heap, (reached, -then.bit_count(), then, now, left))
        return None

    def beam(self, width: int, deadline: float) -> Order:
        """A low peak: so many sets of each size are kept, those of the lowest peaks; empty where
        time is up."""
        first = self.ready(0, tuple(range(len(self.problem.steps))))
        level = {0: (0, 0, first, ())}
        while 0 not in level or len(level) > 1 or self.every:
            following: dict[int, tuple[int, int, tuple[int, ...], tuple]] = {}
            for done, (most, live, ready, path) in level.items():
                for step in ready:
                    peak, after = self.run(done, live, step)
                    reached, then = max(most, peak), done | 1 << step
                    if then in following and following[then][:2] <= (reached, after):
                        continue
                    more = self.ready(then, tuple(self.after[step]))
                    left = (*(s for s in ready if s != step), *more)
                    following[then] = reached, after, left, (path, step)
            kept = sorted(following.items(), key=lambda item: item[1][:2])[:width]
            level = dict(kept)
            if time.monotonic() > deadline:
                return ()
            if self.every in level:
                return _unrolled(level[self.every][3])
        return ()

    def _path(self, came: dict[int, tuple[int, tuple[int, ...]]], done: int) -> Order:
        parts = []
        while done != -1:
            done, ran = came[done]
            parts.append(ran)
        return tuple(step for ran in reversed(parts) for step in ran)


def _unrolled(path: tuple) -> Order:
    order = []
    while path:
        path, step = path
        order.append(step)
    return tuple(reversed(order))
