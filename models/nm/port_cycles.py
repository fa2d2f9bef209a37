"""Cycles of the units at the memory ports, nothing stalled."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Self, get_args, get_type_hints

from .config import NmConfig
from .program import Load, Pattern, Store

OUTSTANDING = 64
"""Beats that may be requested and not yet taken."""

MASTERS_AHEAD = 2
"""Beats of masters that a load passes on before an update takes any."""

MASTERS_LATENCY = 2
"""Cycles from taking a beat of masters to when an update can have it."""

STORE_FORMATS: tuple[str, ...] = get_args(get_type_hints(Store)["format"])

STORE_AHEAD = 8
"""Rows of sums that a store reads before they are made beats of."""

STORE_LATENCY = 5
"""Cycles from reading a row of sums to having it converted."""


def beats(pattern: Pattern) -> int:
    """Beats of a pattern."""
    return prod(count for count, _ in pattern.loops)


def beat_cycles(config: NmConfig, load: Load) -> int:
    """Cycles in which a beat's words are written: more than 1 if they share a bank."""
    shared = load.target == "left" and load.rows_in_beat == (load.dataflow == "weight")
    return config.port_words if shared else 1


@dataclass
class _Loaded:
    """An instruction that was taken in ``cycle``, and what is known of it."""

    load: Load
    cycle: int
    number: int
    """Of its first beat."""
    masters: int
    """Beats of masters before it."""
    begins: int | None = None
    """When it leaves the queue."""
    first: int | None = None
    """When its first beat is taken."""
    next_take: int = 0
    """When the next instruction's first beat can be."""


class LoadCycles:
    """The unit that loads, an instruction after the other.

    With B beats of p cycles each (:func:`beat_cycles`), an instruction taken in cycle t asks for
    beat k in ``t + 1 + k``, or later if :data:`OUTSTANDING` beats are, and takes it in ``f + k *
    p``: ``f = t + 2``, or p cycles (of their own) after the last beat before.  It ends in ``f + B *
    p + 1``.  A beat of masters also waits for the update to take the third before it.
    """

    def __init__(self, config: NmConfig):
        self._config = config
        self._all: list[_Loaded] = []
        self._passed: list[int] = []  # when updates took masters
        self._masters = 0  # beats of them
        self.ends: list[int] = []
        """When instructions end, in their order, as far as that is known."""

    @property
    def ready(self) -> int | None:
        """First cycle in which the next instruction can be taken; None where an update decides that
        has not begun: then it is later."""
        if not self._all:
            return 0
        latest = self._all[-1]
        count = beats(latest.load.pattern)
        freed = self._taken(latest.number + count - 1 - OUTSTANDING)
        queued = self._all[-2].begins if len(self._all) > 1 else 0
        if freed is None or queued is None:
            return None
        return max(latest.cycle + count, freed + 1, queued + 1)

    def run(self, load: Load, cycle: int) -> int:
        """Takes ``load``, which waits for no update, in ``cycle``, or when :attr:`ready`; when it
        ends."""
        return self.ends[self.accept(load, cycle)]

    def accept(self, load: Load, cycle: int) -> int:
        """Takes ``load`` in ``cycle``, or when :attr:`ready`; its number among all of them."""
        ready, number = self.ready, 0
        if ready is None:
            raise ValueError("the unit waits for an update; pass masters on first")
        if self._all:
            number = self._all[-1].number + beats(self._all[-1].load.pattern)
        self._all.append(_Loaded(load, max(cycle, ready), number, self._masters))
        if load.target == "masters":
            self._masters += beats(load.pattern)
        self._advance()
        return len(self._all) - 1

    def first_take(self, index: int) -> int | None:
        """When the first beat of that instruction is taken, where it is known."""
        return self._all[index].first

    def pass_on(self, taken: Sequence[int]) -> None:
        """An update takes the next masters, beat k in ``taken[k]``."""
        self._passed += taken
        self._advance()

    def _advance(self) -> None:
        """Finds out what can be known."""
        while len(self.ends) < len(self._all):
            loaded = self._all[len(self.ends)]
            before = self._all[len(self.ends) - 1].next_take if self.ends else 0
            loaded.begins = max(loaded.cycle + 1, before)
            loaded.first = max(loaded.cycle + 2, before)
            after = self._take(loaded, beats(loaded.load.pattern))
            if after is None:
                return
            loaded.next_take = after
            self.ends.append(after + 1)

    def _take(self, loaded: _Loaded, k: int) -> int | None:
        """When beat ``k`` is taken or, after the last one, could be; None where it is not known."""
        if loaded.first is None:
            return None
        if loaded.load.target != "masters":
            return loaded.first + k * beat_cycles(self._config, loaded.load)
        ahead = loaded.masters + k - MASTERS_AHEAD - 1
        if ahead >= len(self._passed):
            return None
        return max(loaded.first + k, self._passed[ahead] + 1 if ahead >= 0 else 0)

    def _taken(self, number: int) -> int | None:
        """When beat ``number`` is, where it is known; long ago if there is none."""
        if number < 0:
            return -1
        at = bisect_right(self._all, number, key=lambda each: each.number) - 1
        return self._take(self._all[at], number - self._all[at].number)


@dataclass(frozen=True)
class Slab:
    """What a store makes beats of: ``rows`` rows of C sums, in ``pieces`` beats or, of several
    slabs, a part of one."""

    rows: int
    pieces: int
    parts: int
    """Slabs in a beat, where there are several."""

    @classmethod
    def of(cls, config: NmConfig, format: str) -> Self:
        """Those of a format."""
        words, entries = config.port_words, config.beat_entries
        rows = {"columns": config.group, "words": config.kept}.get(format, 1)
        columns = {
            "sums": config.beat_sums,
            "rows": words * config.group,
            "columns": words,
            "words": entries // config.kept,
            "entries": entries,
        }[format]
        return cls(rows, max(config.columns // columns, 1), max(columns // config.columns, 1))


def store_beats(config: NmConfig, store: Store) -> int:
    """Beats that ``store`` writes."""
    slab = Slab.of(config, store.format)
    return store.rows * store.blocks // slab.rows * slab.pieces // slab.parts


class StoreCycles:
    """The unit that stores, an instruction after the other.

    With S slabs of d rows, n beats each (or a part of one: n = 1), an instruction taken in cycle t
    has its first slab together in ``f``: ``t + 1 + STORE_LATENCY + d - 1``, or max(d, n) cycles
    (the d of its own, the n of the one before) after the last slab before.  The others follow every
    ``max(d, n)`` cycles; it ends ``n + 1`` cycles after the last one.
    """

    def __init__(self, config: NmConfig):
        self._config = config
        self.ready = 0
        """First cycle in which the next instruction can be taken."""
        self._rows = 0  # read
        self._runs: list[_SlabRun] = []

    def run(self, store: Store, cycle: int) -> int:
        """Takes ``store`` in ``cycle`` or, at the earliest, when :attr:`ready`; when it ends."""
        cycle = max(cycle, self.ready)
        slab = Slab.of(self._config, store.format)
        rows, before = store.rows * store.blocks, self._runs[-1] if self._runs else None
        first = cycle + STORE_LATENCY + slab.rows
        if before is not None:
            first = max(first, before.last + max(slab.rows, before.slab.pieces))
        run = _SlabRun(slab, self._rows, cycle + 1 + STORE_LATENCY, first, rows // slab.rows)
        if before is not None:
            run.arrived = max(run.arrived, before.last + 1)
        self._runs.append(run)
        self._rows += rows
        asked = max(cycle + rows, self._left(self._rows - 1 - STORE_AHEAD) + 1)
        self.ready = asked
        if before is not None:
            self.ready = max(asked, before.last + 1)
        if len(self._runs) > 2:
            self.ready = max(self.ready, self._runs[-3].end + 1)
        return run.end

    def _left(self, number: int) -> int:
        """When row ``number`` was made part of a slab; long ago if there is none."""
        if number < 0:
            return -1
        at = bisect_right(self._runs, number, key=lambda run: run.begin) - 1
        return self._runs[at].left(number)


@dataclass
class _SlabRun:
    """The slabs of an instruction."""

    slab: Slab
    begin: int
    """Number of its first row."""
    arrived: int
    """When that can be taken."""
    first: int
    """When its first slab is together."""
    slabs: int

    @property
    def period(self) -> int:
        return max(self.slab.rows, self.slab.pieces)

    @property
    def last(self) -> int:
        return self.first + (self.slabs - 1) * self.period

    @property
    def end(self) -> int:
        return self.last + self.slab.pieces + 1

    def left(self, number: int) -> int:
        slab, row = divmod(number - self.begin, self.slab.rows)
        whole = self.first + slab * self.period
        if row == self.slab.rows - 1:
            return whole
        began = whole - self.period + 1 + row
        return max(self.arrived + number - self.begin, began if slab else 0)
