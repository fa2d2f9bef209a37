"""When everything happens in a pipeline that nothing inside can stop.

Time is counted in *slots*.  A frame is a grid of them, row by row; a pixel of the input is taken in
each slot that lies in the image, ``beats`` cycles a slot.  A node whose windows are strided
has a pixel in every ``step``-th slot of every ``step``-th row, and this grid goes on without a
break from frame to frame, and where a frame is followed by none: there pass idle slots, in blocks
of so many rows that all grids repeat.  So windows of one frame's last rows are completed while
the next one's first rows come in, no pixel waits for padding, and only the slots are idle by which
the grids' least common multiple exceeds the image.

With slot ``n`` taken in the cycles ``n * beats`` to ``n * beats + beats - 1``, a pixel whose slot
is n leaves a node in the cycle ::

    max over paths of (n + slots) * beats + beats - 1 + cycles

where a path's ``slots`` are what windows wait for and its ``cycles`` its registers.  Where rows are
several slots apart, windows at the end of a row that are completed by the next row's first pixels
wait longer than the others: ``slots`` depend on the pixel's column.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import lcm

from ...models.amu.convolution import Convolution
from ...models.amu.network import Network
from ...models.windows import Windows

Pair = tuple[int, int]
"""Down, across."""


@dataclass(frozen=True)
class Raster:
    """The pixels of a node."""

    size: Pair
    """Of the image; a vector is one pixel."""
    step: Pair
    """Slots from one to the next."""

    def windows(self, windows: Windows) -> "Raster":
        """That of windows on it."""
        size = windows.grid((*self.size, 1))
        return Raster(size, (self.step[0] * windows.stride[0], self.step[1] * windows.stride[1]))


@dataclass(frozen=True)
class Frame:
    """The slots of a frame."""

    rows: int
    columns: int
    beats: int
    """Cycles of a slot."""
    block: int
    """Rows after which the grids of all nodes repeat."""

    @property
    def slots(self) -> int:
        """How many there are."""
        return self.rows * self.columns

    @property
    def vector(self) -> Raster:
        """What comes once a frame."""
        return Raster((1, 1), (self.rows, self.columns))

    def gap(self, raster: Raster) -> int:
        """Cycles from one pixel to the next, at least."""
        down, across = raster.step
        return (across if across < self.columns else down * across) * self.beats

    def columns_of(self, raster: Raster) -> int:
        """Pixels of a row, those beside the image included."""
        return self.columns // raster.step[1]

    def last(self, raster: Raster) -> int:
        """The slot of the image's last pixel."""
        (height, width), (down, across) = raster.size, raster.step
        return (height - 1) * down * self.columns + (width - 1) * across

    def most(self, raster: Raster, slots: int) -> int:
        """The greatest number of pixels in so many consecutive slots."""
        down, across = raster.step
        groups, rest = divmod(slots, down * self.columns)
        each = self.columns // across
        return groups * each + min(-(-rest // across), each)


Slots = tuple[int, ...]
"""How many slots after its own what a pixel waits for is taken: by the pixel's column, or a single
number for all columns."""


@dataclass(frozen=True)
class Arrival:
    """How much later than its slot a pixel is there, by each path that it depends on."""

    paths: frozenset[tuple[Slots, int]] = frozenset({((0,), 0)})
    """(slots, cycles), none of them less than another in both."""

    def later(self, cycles: int) -> "Arrival":
        """After registers."""
        return Arrival(frozenset((slots, c + cycles) for slots, c in self.paths))

    def behind(self, wait: Callable[[Slots], Slots]) -> "Arrival":
        """After what waits for other pixels: whose ``slots`` those are, it makes of theirs."""
        return Arrival(frozenset((wait(slots), cycles) for slots, cycles in self.paths))

    def slots(self, column: int) -> int:
        """How many a pixel of that column waits for, at most."""
        return max(at(slots, column) for slots, _ in self.paths)

    def cycles(self, frame: Frame, column: int) -> int:
        """Of a pixel of that column, from the last one of its slot, where nothing stalls."""
        return max(at(slots, column) * frame.beats + cycles for slots, cycles in self.paths)

    @staticmethod
    def of_all(arrivals: Iterable["Arrival"]) -> "Arrival":
        """Of the last one."""
        paths = {path for arrival in arrivals for path in arrival.paths}
        return Arrival(frozenset(p for p in paths if not any(_exceeds(q, p) for q in paths)))

    def waiting(self, other: "Arrival", frame: Frame, raster: Raster) -> int:
        """The most pixels that are there before their counterparts of ``other``, however the
        slots are held up; 0 where each comes no earlier than its counterpart.

        With a path of either and ``ahead`` what the other's slots, and ``late`` what its cycles are
        more, at most, those are the pixels of ::

            ahead + floor(late / beats) + 1   slots, late counted from 0 where ahead is positive;
            none where ahead is not and ahead * beats + late is not either

        (The slots that pixels wait for are as far apart as their own.)
        """
        most = 0
        for slots, cycles in self.paths:
            for other_slots, other_cycles in other.paths:
                ahead, late = max(_apart(other_slots, slots)), other_cycles - cycles
                if ahead <= 0:
                    ahead, late = 0, ahead * frame.beats + late
                    if late <= 0:
                        continue
                span = ahead + max(late, 0) // frame.beats + 1
                most = max(most, frame.most(raster, span))
        return most


def at(slots: Slots, column: int) -> int:
    """Those of a pixel of that column."""
    return slots[column % len(slots)]


def rasters(network: Network, beats: int) -> tuple[Frame, list[Raster | None]]:
    """The frame, and the pixels of each node; None: a vector, once a frame.

    Raises :class:`ValueError`, naming the node, where a window's padding is as large as the
    window, or branches of different strides meet.
    """
    found: list[Raster | None] = []
    rows = columns = 1
    for node, kind in zip(network.nodes, network.kinds, strict=True):
        if len(kind.shape) == 1:
            found.append(None)
            continue
        size = (kind.shape[0], kind.shape[1])
        sources = [raster for s in node.sources if (raster := found[s]) is not None]
        windows = windows_of(node.operation)
        if len(set(sources)) > 1:
            raise ValueError(
                f"node {node.name!r} joins branches whose pixels are not equally far apart; give "
                "both the same strides"
            )
        raster = sources[0] if sources else Raster(size, (1, 1))
        if windows is not None:
            try:
                behind = reach(windows)
            except ValueError as error:
                raise ValueError(f"node {node.name!r}: {error}") from error
            # Before the next frame's first pixel, the window must be counted by one of this.
            rows = max(rows, (behind[0] + 1) * raster.step[0])
            columns = max(columns, (behind[1] + 1) * raster.step[1])
            raster = raster.windows(windows)
        rows, columns = max(rows, size[0] * raster.step[0]), max(columns, size[1] * raster.step[1])
        found.append(raster)
    steps = [raster.step for raster in found if raster is not None]
    down, across = (lcm(*(step[axis] for step in steps)) for axis in (0, 1))
    return Frame(-(-rows // down) * down, -(-columns // across) * across, beats, down), found


def windows_of(operation: object) -> Windows | None:
    """What windows an operation looks through, if it does."""
    if isinstance(operation, Convolution):
        return operation.windows
    return operation if isinstance(operation, Windows) else None


def reach(windows: Windows) -> Pair:
    """How far a window's last pixel lies behind the one that it is counted by.

    Raises :class:`ValueError` where the padding is as large as the window.
    """
    down, across = (s - 1 - p for s, p in zip(windows.size, windows.padding, strict=True))
    if min(down, across) < 0:
        raise ValueError(
            f"padding {windows.padding} is not less than the window's size {windows.size}; leave "
            "out the windows that lie outside of the image"
        )
    return down, across


def _apart(a: Slots, b: Slots) -> list[int]:
    return [at(a, column) - at(b, column) for column in range(max(len(a), len(b)))]


def _exceeds(a: tuple[Slots, int], b: tuple[Slots, int]) -> bool:
    return a != b and min(_apart(a[0], b[0])) >= 0 and a[1] >= b[1]
