"""Packing of buffers with fixed lifetimes, beside minimalloc."""

import time
from collections.abc import Iterator

from ..mapper import pack
from ..models import data, native
from .report import Bar, Progress, Row

MINIMALLOC = {"A": 11.9, "B": 10.0, "C": 2.0, "D": 13.5, "E": 13.1, "F": 19.4}
"""Seconds of google/minimalloc, built on two cores like these, one thread, the best of three."""

SECONDS = 60.0
"""For all six."""

D_KNOWN = 1_046_528
"""Bytes: the smallest capacity for D that minimalloc found; 986,112 is a lower bound."""


def packing_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Every problem at its capacity; with ``quick`` D is not made smaller."""
    try:
        pack.pack([pack.Rectangle(0, 1, 1)], 1)  # compiled when first used
    except native.KernelMissing as missing:
        yield Row.skip("packing", str(missing), Bar("<=", SECONDS))
        return
    wall = cpu = 0.0
    solved = 0
    for name, peer in MINIMALLOC.items():
        progress(f"packing {name}")
        rectangles, capacity = pack.read_csv(data.path(f"packing/{name}.1048576.csv"))
        began, busy = time.perf_counter(), time.process_time()
        found = pack.pack(rectangles, capacity, limit=SECONDS, seed=0)
        seconds = time.perf_counter() - began
        wall, cpu = wall + seconds, cpu + time.process_time() - busy
        if found.status == "packed":
            pack.validate(rectangles, found.offsets, capacity)
            solved += 1
        yield Row(
            f"packing {name}, {len(rectangles)} buffers in {capacity:,} bytes [s]", seconds,
            Bar("<=", SECONDS), f"{found.status}; minimalloc: {peer} s",
        )  # fmt: skip
    yield Row("packings found, each validated", solved, Bar("==", len(MINIMALLOC)))
    peers = f"minimalloc: {sum(MINIMALLOC.values()):.1f} s on a machine like this one"
    yield Row("packing A to F, wall clock [s]", wall, Bar("<=", SECONDS), peers)
    yield Row("packing A to F, processor [s]", cpu, Bar("<=", SECONDS), "one thread")
    if quick:
        return
    progress("the smallest capacity for D")
    rectangles, _ = pack.read_csv(data.path("packing/D.1048576.csv"))
    least = pack.minimise(rectangles, limit=60, threads=2)
    pack.validate(rectangles, least.offsets, least.capacity)
    proved = "proved least" if least.bound == least.capacity else f"bound {least.bound:,}"
    yield Row("the smallest capacity found for D [bytes]", least.capacity,
              None if least.bound == least.capacity else Bar("<", D_KNOWN),
              f"{proved}; minimalloc: {D_KNOWN:,}")  # fmt: skip
