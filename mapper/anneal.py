"""Orders that need few transfers, by simulated annealing (``anneal.cpp``).

An order costs what a simple scheduler transfers under it: while a step needs room, the buffer
leaves whose next use is furthest, one that must be stored first counting half as far.  That is
never less than the least of that order, and mostly within a few per cent of it; it takes
microseconds.  Addresses are left to :mod:`.exact`.
"""

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..models import native
from .problem import BudgetError, Problem


@dataclass(frozen=True)
class Annealed:
    """The best order that was met."""

    order: tuple[int, ...]
    cost: int
    """Non-compulsory bytes that some scheduler needs for it: an upper bound, addresses aside."""


def anneal(
    problem: Problem,
    order: Sequence[int],
    *,
    moves: int,
    within: tuple[int, int] | None = None,
    hot: float | None = None,
    cold: float | None = None,
    seed: int = 0,
    deadline: float | None = None,
    told: Callable[[int], None] = lambda cost: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Annealed:
    """Anneals ``order`` by ``moves`` moves; the same for the same seed.

    ``within``: positions that may change, the first and the one after the last; None is all.
    ``hot`` and ``cold``: bytes at which a worsening is accepted e to 1, at the beginning and at
    the end; by default a tenth and a thousandth of the budget.  ``deadline``: by
    :func:`time.monotonic`; then what was met until then.  ``told`` hears now and then of the best
    cost.  Raises :class:`.problem.BudgetError` where this
    scheduler cannot keep the budget: what is in use at once exceeds it.
    """
    problem.check_order(order)
    budget = problem.memory.budget
    found = np.array(order, np.int32)
    low, high = within or (0, len(found))
    result, best, stop = ctypes.c_int64(-1), ctypes.c_int64(-1), ctypes.c_int32(0)
    arguments = _arguments(problem)

    def work() -> None:
        result.value = _library().anneal(
            len(problem.steps), len(problem.buffers), int(problem.memory.double_buffered),
            ctypes.c_int64(budget), *arguments,
            ctypes.c_void_p(found.ctypes.data), low, high, ctypes.c_int64(moves),
            ctypes.c_double(hot or budget / 10), ctypes.c_double(cold or budget / 1000),
            ctypes.c_uint64(seed), ctypes.byref(stop), ctypes.byref(best),
        )  # fmt: skip

    worker = threading.Thread(target=work)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(0.05)
            if best.value >= 0:
                told(best.value)
            if stopped() or (deadline is not None and time.monotonic() > deadline):
                stop.value = 1
    finally:  # the kernel writes into what goes with this frame
        stop.value = 1
        worker.join()
    if result.value < 0:
        raise BudgetError(
            f"{problem.name}: in this order, more lies in the scratchpad at once than the budget, "
            f"{budget} bytes; take a larger one, or another order"
        )
    return Annealed(tuple(map(int, found)), result.value)


def _arguments(problem: Problem) -> list[Any]:
    buffers, steps, loads = problem.buffers, problem.steps, problem.loads
    uses = [[(b, b in step.writes) for b in step.uses] for step in steps]
    arrays = [
        np.array([b.size for b in buffers], np.int64),
        np.array([b.bytes for b in buffers], np.int64),
        np.array([b.clean * (1 if i in loads else 2) for i, b in enumerate(buffers)], np.uint8),
        np.array([b.delivered for b in buffers], np.uint8),
        _starts(uses),
        np.array([b for step in uses for b, _ in step], np.int32),
        np.array([w for step in uses for _, w in step], np.uint8),
        _starts(problem.before),
        np.array([other for before in problem.before for other in sorted(before)], np.int32),
    ]
    # Pointers keep no arrays alive: the list of both does.
    return [_Pointer(array) for array in arrays]


class _Pointer:
    """An array as an argument of a C function."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._as_parameter_ = ctypes.c_void_p(array.ctypes.data)


def _starts(parts: Sequence[Any]) -> np.ndarray:
    return np.cumsum([0, *map(len, parts)]).astype(np.int32)


@cache
def _library() -> ctypes.CDLL:
    library = native.library(Path(__file__).with_name("anneal.cpp"))
    library.anneal.restype = ctypes.c_int64
    return library
