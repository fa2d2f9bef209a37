"""The compiled search over executed steps and what lies in the scratchpad (``states.cpp``)."""

import ctypes
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Literal

import numpy as np

from ...models import native
from ..fixed import FixedOrder
from ..problem import Problem
from .structure import Structure, members, slots, twins

_SOURCE = Path(__file__).with_name("states.cpp")
_WIDEST = 4096
_FAR = (1 << 63) // 4
MOST = 16_000_000
"""States that are kept, fewer where more than 64 buffers can be live: about 1.5 GB."""


@dataclass(frozen=True)
class Pattern:
    """Buffers that lie beside one another at some position, then at a later one (or there), and so
    on; no plan has them all."""

    levels: tuple[frozenset[int], ...]
    shared: tuple[frozenset[int], ...]
    """Buffers that stay from a level to the next one; one fewer."""


@dataclass(frozen=True)
class Found:
    """What a search says."""

    status: Literal["optimal", "feasible", "none", "unknown"]
    """``none``: proved that nothing is below the upper bound."""
    order: tuple[int, ...]
    """Empty where there is none."""
    left: frozenset[int]
    """Places in ``FixedOrder(problem, order).gaps``."""
    bound: int
    states: int
    sets: int
    """Of executed steps."""
    interrupted: bool = False
    """By Ctrl-C."""


def search(
    problem: Problem,
    *,
    upper: int | None = None,
    patterns: Sequence[Pattern] = (),
    beam: int = 0,
    limit: float = 60.0,
    most: int = MOST,
    watch: Callable[[int, int | None], None] | None = None,
) -> Found:
    """The least bytes, below ``upper``, of any order, as far as capacity and ``patterns`` say.

    ``beam``: how many states of each number of executed steps are kept, for a quick plan without
    proof; 0: all that matter.  ``most``: states at which it gives up.  Returns on
    :class:`KeyboardInterrupt`, with what it has.
    """
    structure = Structure.of(problem)
    structure = Structure.of(problem, twins(structure))
    places = slots(structure)
    count, wide = len(problem.steps), -(-(max(places) + 1) // 64)
    table = np.array(_table(problem, structure, places, patterns), np.int64)
    if max(places) >= _WIDEST:
        raise ValueError(
            f"{problem.name}: up to {max(places) + 1} buffers are needed at once, more than "
            f"{_WIDEST}; take backend 'cp-sat', or schedule it in parts"
        )
    order, left = np.full(count, -1, np.int32), np.zeros((count, wide), np.uint64)
    stop, progress = ctypes.c_int32(0), np.array([0, _FAR, 0, 0], np.int64)
    compiled, results, done = library(), list[int](), threading.Event()

    def work() -> None:
        try:
            results.append(
                compiled.search(
                    table.ctypes.data,
                    _FAR if upper is None else upper,
                    2 * most // (1 + wide),
                    beam,
                    max(limit, 0.0),
                    ctypes.byref(stop),
                    progress.ctypes.data,
                    order.ctypes.data,
                    left.ctypes.data,
                )
            )
        finally:
            done.set()

    worker = threading.Thread(target=work, daemon=True)  # not in this one: it answers to Ctrl-C
    began, said, interrupted = monotonic(), 0.0, False
    try:
        worker.start()
        while not done.wait(0.1):
            if watch and monotonic() - began > said + 0.5:
                said = monotonic() - began
                watch(int(progress[0]), None if progress[1] == _FAR else int(progress[1]))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        stop.value = 1
        done.wait()
    bound, _, states, sets = (int(n) for n in progress)
    if order[0] < 0:
        status = "none" if results[0] == 0 and not beam else "unknown"
        return Found(status, (), frozenset(), bound, states, sets, interrupted)
    steps = tuple(int(s) for s in order)
    fixed = FixedOrder(problem, steps)
    gone = _gaps(fixed, places, [sum(int(w) << 64 * i for i, w in enumerate(row)) for row in left],
                 bool(patterns))  # fmt: skip
    if results[0] == 1 and not beam:
        return Found("optimal", steps, gone, int(progress[1]), states, sets)
    return Found("feasible", steps, gone, bound, states, sets, interrupted)


def _gaps(
    fixed: FixedOrder, places: Sequence[int], masks: Sequence[int], eager: bool
) -> frozenset[int]:
    """The gaps in which slots were left, as the search tells it step by step."""
    margin = int(fixed.problem.memory.double_buffered)
    by_slot: dict[int, list[int]] = {}
    for place, gap in enumerate(fixed.gaps):
        by_slot.setdefault(places[gap.buffer], []).append(place)
    found = set()
    for position, mask in enumerate(masks):
        for slot in members(mask):
            for place in by_slot.get(slot, ()):
                gap = fixed.gaps[place]
                if position == gap.first if eager else position - margin in gap.freed:
                    found.add(place)
    return frozenset(found)


def _table(
    problem: Problem, structure: Structure, places: Sequence[int], patterns: Sequence[Pattern]
) -> list[int]:
    """As the source says it."""
    count = len(problem.steps)
    table = [
        count, len(problem.buffers), max(places) + 1, problem.memory.budget,
        int(problem.memory.double_buffered), int(bool(patterns)),
    ]  # fmt: skip
    for b, buffer in enumerate(problem.buffers):
        table += [
            buffer.size, buffer.bytes, int(buffer.clean), int(b in problem.loads),
            int(buffer.delivered), places[b],
        ]  # fmt: skip
    for place, step in enumerate(problem.steps):
        table.append(len(step.uses))
        for b in step.uses:
            table += [b, int(b in step.writes)]
        before = list(members(structure.before[place]))
        table += [len(before), *before]
    waists = set(structure.waists)
    table += [int(place in waists) for place in range(count + 1)]
    table.append(len(patterns))
    for pattern in patterns:
        table.append(len(pattern.levels))
        for some in (*pattern.levels, *pattern.shared):
            table += [len(some), *sorted(some)]
    return table


@cache
def library() -> ctypes.CDLL:
    """Compiled when it is first asked for, which takes some seconds."""
    found = native.library(_SOURCE)
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    found.search.argtypes = [
        pointer, number, number, number, ctypes.c_double, *[pointer] * 4,
    ]  # fmt: skip
    found.search.restype = number
    return found
