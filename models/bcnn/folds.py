"""Which folds: as few lanes as keep up with an interval, or as short an interval as lanes allow.

Every stage by itself takes the fewest lanes whose cycles fit the interval.  Most numbers of lanes
can be had by several folds; of those are taken the ones whose neighbours pass results on most
simply: as many outputs at once as the next stage reads channels, or one a multiple of the other.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd, lcm

import numpy as np

from .lowering import Part, Pool, View, parts, word_channels
from .network import Network
from .operations import Convolution, Kind
from .stages import Fold


@dataclass(frozen=True)
class Option:
    """A fold that divides all that a stage folds."""

    fold: Fold
    lanes: int
    cycles: int
    """Of a frame, no fewer than memories take to be written."""
    apart: int
    """Cycles from one of its results to the next, at least."""


@dataclass(frozen=True)
class Edge:
    """From a stage to one that reads what it gives."""

    source: int
    """The stage; 0 is the input."""
    reader: int
    bits: int
    """Of a channel."""
    twice: int = 1
    """Channels of what is read in one of what is given."""
    shortcut: bool = False

    def cost(self, source: Option, reader: Option) -> float:
        """Bits that a gear holds; a great many where it would lose some."""
        given = source.fold.outputs * self.twice
        taken = reader.fold.outputs if self.shortcut else reader.fold.channels
        if given == taken:
            return 0
        whole = lcm(given, taken)
        if whole == taken:
            return whole * self.bits
        # What has been collected waits while it leaves, word by word.
        lost = _LOST if source.apart * (whole // given) < whole // taken else 0
        return lost + (2 if whole == given else 3) * whole * self.bits


_LOST = 1e9


def _bits(kind: Kind) -> int:
    """Of a channel."""
    if kind.format == "bits":
        return 2 if kind.complex else 1
    return (kind.high - kind.low).bit_length()


def choose(
    network: Network, *, interval: int = 0, lanes: int = 0, lanes_in: int = 0
) -> dict[str, Fold]:
    """Folds by the names of Convolutions and MaxPools, as :func:`.lowering.lower` takes them.

    Of ``interval`` and ``lanes`` one is given: the fewest lanes that take no more than so many
    cycles a frame; or the fewest cycles that no more than so many products a cycle take, those of
    all stages together.  ``lanes_in``: as of :func:`.lowering.lower`.

    Raises :class:`ValueError` where no folds do that, and says what is possible.
    """
    return Choices(network, lanes_in).of(interval=interval, lanes=lanes)


class Choices:
    """What :func:`choose` finds for a network, for many intervals and lanes: each interval that
    makes a difference is looked at once."""

    def __init__(self, network: Network, lanes_in: int = 0):
        self._parts = parts(network)
        self._options = [_options(part) for part in self._parts]
        self._channels = word_channels(network, lanes_in)
        self._words = network.input.pixels * (network.input.channels // self._channels)
        slowest = max(self._words, *(min(o.cycles for o in those) for those in self._options))
        every = {o.cycles for those in self._options for o in those} | {self._words}
        self._intervals = sorted(i for i in every if i >= slowest)
        """That folds can have, from the least on."""
        self._least: dict[int, int] = {}
        self._arranged: dict[tuple[int, int], list[Option] | None] = {}

    def of(self, *, interval: int = 0, lanes: int = 0) -> dict[str, Fold]:
        """Folds; raises :class:`ValueError` as :func:`choose`."""
        if bool(interval) == bool(lanes):
            raise ValueError(f"interval = {interval} and lanes = {lanes}; give one of them")
        chosen = self._fastest(lanes) if lanes else self._fewest(interval)
        each = zip(self._parts, chosen, strict=True)
        return {name: option.fold for part, option in each for name in _names(part)}

    def _fewest(self, interval: int) -> list[Option]:
        """The fewest lanes that keep up."""
        if interval < self._words:
            raise ValueError(
                f"interval = {interval}, but {self._words} words of a frame come from outside; "
                "raise lanes_in or the interval"
            )
        for part, those in zip(self._parts, self._options, strict=True):
            least = min(option.cycles for option in those)
            if least > interval:
                raise ValueError(
                    f"interval = {interval}, but {_names(part)[0]!r} takes {least} cycles a frame "
                    "at least, whatever its fold; raise it"
                )
        chosen = self._arrange(interval)
        if chosen is None:
            raise ValueError(
                f"interval = {interval}: whatever the folds, results come faster than they are "
                "passed on; raise it"
            )
        return chosen

    def _fastest(self, lanes: int) -> list[Option]:
        """The least interval that these lanes allow."""
        needed = self._lanes(self._intervals[-1])
        if lanes < needed:
            raise ValueError(f"lanes = {lanes}; this network's stages have {needed} at least")
        first = bisect_left(self._intervals, True, key=lambda i: self._lanes(i) <= lanes)
        # Where gears ask for more lanes than the least, a longer interval may do with fewer.
        for interval in self._intervals[first:]:
            chosen = self._arrange(interval)
            if chosen is not None and sum(option.lanes for option in chosen) <= lanes:
                return chosen
        raise ValueError(
            f"lanes = {lanes}: with so few, stages cannot pass on what they give; raise it"
        )

    def _lanes(self, interval: int) -> int:
        """The fewest that keep up, whatever gears ask for."""
        if interval not in self._least:
            least = (min(o.lanes for o in _within(those, interval)) for those in self._options)
            self._least[interval] = sum(least)
        return self._least[interval]

    def _arrange(self, interval: int) -> list[Option] | None:
        """For that interval; None where gears would lose results."""
        # Words of the input that are further apart lose nothing in any gear.
        apart = min(interval // self._words, 2 * self._channels)
        place = bisect_right(self._intervals, interval), apart
        if place not in self._arranged:
            self._arranged[place] = self._found(interval, apart)
        return self._arranged[place]

    def _found(self, interval: int, apart: int) -> list[Option] | None:
        first = Option(Fold(self._channels, self._channels), 0, self._words, apart)
        reading = edges(self._parts)
        chosen = arrange(reading, [_within(those, interval) for those in self._options], first)
        every = [first, *chosen]
        lost = any(edge.cost(every[edge.source], every[edge.reader]) >= _LOST for edge in reading)
        return None if lost else chosen


def _within(options: list[Option], interval: int) -> list[Option]:
    return [option for option in options if option.cycles <= interval]


def _names(part: Part) -> list[str]:
    return [part.name] if isinstance(part, Pool) else [term.name for term in part.terms]


def _options(part: Part) -> list[Option]:
    """Every fold of a stage."""
    if isinstance(part, Pool):
        channels = part.kind.channels
        window = part.windows.size[0] * part.windows.size[1]
        return [
            Option(
                Fold(s, s),
                0,
                max(part.kind.pixels * window, part.view.kind.pixels) * (channels // s),
                window,
            )
            for s in divisors(channels)
        ]
    kept = sum(
        t.convolution.kept.reshape(t.convolution.outputs, -1).sum(axis=1) for t in part.terms
    )
    assert isinstance(kept, np.ndarray)
    pixels = part.grid[0] * part.grid[1]
    whole = [_block(term.convolution) for term in part.terms]
    found = []
    for p, s in product(
        divisors(gcd(*(rows for rows, _ in whole))), divisors(gcd(*(c for _, c in whole)))
    ):
        taps = np.maximum(kept[::p] // s, 1)
        written = [t.view.kind.pixels * (t.convolution.channels // s) for t in part.terms]
        cycles = max(pixels * int(taps.sum()), *written)
        found.append(Option(Fold(p, s), p * s, cycles, int(taps.min())))
    return found


def _block(convolution: Convolution) -> tuple[int, int]:
    """What P and S divide."""
    if convolution.block is None or convolution.kept.all():
        return convolution.outputs, convolution.channels
    return convolution.block


def divisors(number: int) -> list[int]:
    """In order."""
    return [n for n in range(1, number + 1) if number % n == 0]


def edges(found: Sequence[Part]) -> list[Edge]:
    """Who reads what."""
    made = []
    for place, part in enumerate(found, 1):
        views: list[tuple[View, bool]]
        if isinstance(part, Pool):
            views = [(part.view, False)]
        else:
            views = [(term.view, False) for term in part.terms]
            views += [(view, True) for view, _ in part.shortcuts]
        for view, shortcut in views:
            given = found[view.stage - 1].kind if view.stage else view.kind
            twice = 2 if given.complex and not view.kind.complex else 1
            made.append(Edge(view.stage, place, _bits(view.kind), twice, shortcut))
    return made


def arrange(
    reading: Sequence[Edge], options: Sequence[Sequence[Option]], first: Option
) -> list[Option]:
    """One of each stage's options: no gear that loses results, the fewest lanes, simple gears.

    Local search: single stages, then stages with their readers, until nothing is better.
    ``first``: words of the input.
    """
    touching: list[list[Edge]] = [[] for _ in range(len(options) + 1)]
    for edge in reading:
        touching[edge.source].append(edge)
        touching[edge.reader].append(edge)
    ordered = [sorted(those, key=_own) for those in options]
    chosen = [first, *(those[0] for those in ordered)]

    def cost(places: tuple[int, ...]) -> float:
        near = {edge for place in places for edge in touching[place]}
        gears = sum(edge.cost(chosen[edge.source], chosen[edge.reader]) for edge in near)
        return gears + sum(_own(chosen[place]) for place in places)

    def improve(places: tuple[int, ...], choices: Sequence[Sequence[Option]]) -> bool:
        best = before = cost(places)
        kept = [chosen[place] for place in places]
        for those in product(*choices):
            for place, option in zip(places, those, strict=True):
                chosen[place] = option
            if (now := cost(places)) < best:
                best, kept = now, list(those)
        for place, option in zip(places, kept, strict=True):
            chosen[place] = option
        return best < before

    fewest = [[o for o in those if o.lanes == those[0].lanes] for those in ordered]
    pairs = [(e.source, e.reader) for e in reading if e.source]
    better = True
    while better:
        better = False
        for place, those in enumerate(ordered, 1):
            better |= improve((place,), (those,))
        for one, other in pairs:
            better |= improve((one, other), (fewest[one - 1], fewest[other - 1]))
    return chosen[1:]


def _own(option: Option) -> float:
    """Lanes first, but for gears that lose results; then what outputs have: adders of their sums,
    of pools two bits."""
    return 1e3 * option.lanes + (16 if option.lanes else 2) * option.fold.outputs
