"""The compiled search (``kernel.cpp``), on as many threads as are wanted."""

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import gcd
from pathlib import Path
from time import monotonic
from typing import Literal

import numpy as np

from ...models import native
from .rectangle import Rectangle

Status = Literal["packed", "infeasible", "unknown"]
_STATUS: dict[int, Status] = {0: "infeasible", 1: "packed", 2: "unknown"}
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Found:
    """What a search says."""

    status: Status
    offsets: tuple[int, ...]
    nodes: int


def unit(rectangles: Sequence[Rectangle], bank: int | None) -> int:
    """Bytes: some best packing has all its offsets at multiples of it."""
    common = gcd(bank or 0, *(r.size for r in rectangles), *(r.fixed or 0 for r in rectangles))
    return gcd(common, *(r.alignment for r in rectangles))


def search(
    rectangles: Sequence[Rectangle],
    capacity: int,
    bank: int | None,
    limit: float,
    seed: int,
    threads: int,
) -> Found:
    """Packs, or proves that there is no packing, unless ``limit`` seconds pass first.

    On ``threads`` threads, whose seeds follow ``seed``; the first that is done counts.  Stops on
    :class:`KeyboardInterrupt`, which it passes on.
    """
    common = gcd(bank or 0, *(r.size for r in rectangles), *(r.fixed or 0 for r in rectangles))
    # Where everything is a multiple of the alignments, they are kept by themselves.
    aligned = all(not common % r.alignment for r in rectangles)
    step = (common if aligned else unit(rectangles, bank)) or 1
    table = np.array(
        [
            (
                r.start,
                r.stop,
                r.size // step,
                1 if aligned else r.alignment // step,
                -1 if r.fixed is None else r.fixed // step,
            )
            for r in rectangles
        ],
        np.int64,
    ).reshape(-1, 5)
    compiled, stop, done = _library(), ctypes.c_int32(0), threading.Event()
    found: list[Found] = []
    nodes = [0] * threads
    until = monotonic() + limit

    def work(worker: int) -> None:
        offsets, count = np.zeros(len(table), np.int64), ctypes.c_int64(0)
        result = compiled.pack(
            len(table), table.ctypes.data, capacity // step, (bank or 0) // step,
            max(until - monotonic(), 0.0), seed + worker, ctypes.byref(stop),
            offsets.ctypes.data, ctypes.byref(count),
        )  # fmt: skip
        nodes[worker] = count.value
        status = _STATUS[result]
        packed = tuple((offsets * step).tolist()) if status == "packed" else ()
        found.append(Found(status, packed, count.value))
        if status != "unknown":
            stop.value = 1
        if stop.value or len(found) == threads:
            done.set()

    # Not in this thread: it answers to Ctrl-C.
    workers = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(threads)]
    try:
        for worker in workers:
            worker.start()
        _wait(done)
    finally:
        stop.value = 1
        for worker in workers:
            if worker.ident is not None:
                worker.join()
    best = next((f for f in found if f.status != "unknown"), found[0])
    return Found(best.status, best.offsets, sum(nodes))


def _wait(done: threading.Event) -> None:
    while not done.wait(0.1):  # a wait without an end cannot be interrupted everywhere
        pass


@cache
def _library() -> ctypes.CDLL:
    found = native.library(_FOLDER / "kernel.cpp", [_FOLDER / "state.h", _FOLDER / "search.h"])
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    found.pack.argtypes = [
        number, pointer, number, number, ctypes.c_double, ctypes.c_uint64, *[pointer] * 3,
    ]  # fmt: skip
    found.pack.restype = number
    return found
