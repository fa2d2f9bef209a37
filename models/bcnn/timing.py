"""When everything happens in a pipeline of stages: known beforehand, for nothing in it waits.

Cycles of a stage are counted from the start of a frame in it, ``offsets`` cycles after the frame
has left the input's memory; frames start ``interval`` cycles apart, or later.  ::

    tap k of a frame is issued                          in cycle k
    a group's results leave         WINDOW + unit's latency later than its last tap is issued
    a word of a reader enters its memory                when its gear says so (:mod:`.gears`)
    and may be read                 by taps that are issued WRITE cycles later, or after that

A stage starts as early as all that it reads is there in time; its memories hold as much as is
written before the oldest word has been read, frames following each other as fast as they may.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import gears, latency
from .pacing import least_interval, words
from .stages import Input, Stage, beat_channels

START = 1
"""From the cycle in which a frame's last beat is taken to that in which it starts."""


@dataclass(frozen=True, eq=False)
class Feed:
    """What passes a gear and a memory in a frame."""

    queue: int
    """What waits in the gear, as :func:`.gears.depth` counts."""
    writes: np.ndarray
    """The cycle in which each word enters, counted from its source's start."""
    cycles: np.ndarray
    """Those in which a word is read, counted from the reader's start."""
    words: np.ndarray
    """Which one: as many."""

    def wait(self) -> int:
        """Cycles that the reader starts after the source, at least, for words to be there."""
        if not len(self.cycles):
            return 0
        return int((self.writes[self.words] + latency.WRITE - self.cycles).max())

    def depth(self, wait: int, interval: int) -> int:
        """Words of a memory in which none is overwritten before it has been read for the last time,
        nor in that cycle, where the reader starts ``wait`` cycles after the source."""
        last = np.full(len(self.writes), np.iinfo(np.int64).min)
        np.maximum.at(last, self.words, self.cycles)
        read = np.flatnonzero(last >= 0)
        if not len(read):
            return 1
        # The first word that enters late enough may take the place.
        free = last[read] + wait - latency.WRITE + 2
        frames = 2 + max(int(free.max() - self.writes[0]) // interval, 0)
        writes = (self.writes + interval * np.arange(frames)[:, None]).ravel()
        return int((np.searchsorted(writes, free) - read).max(initial=1))


class Timeline:
    """Cycles and memories of ``stages``, frames ``interval`` cycles apart; by default the least.

    Raises :class:`ValueError` where ``interval`` is less than that, or results come so late in
    a frame that the last words of them have not passed a gear when the next frame's come.
    """

    interval: int
    offsets: list[int]
    """Of each stage, from the frame's start; the input's is 0."""
    depths: list[tuple[int, ...]]
    """Words of the memories of each stage: of its :attr:`.stages.Stage.feeds`."""
    latency: int
    """From a frame's start to its last result."""
    feeds: list[tuple[Feed, ...]]
    """Of each stage."""
    beats: list[np.ndarray]
    """The cycles in which each stage's results leave, counted from its start."""

    def __init__(self, stages: Sequence[Input | Stage], interval: int | None = None):
        least = least_interval(stages)
        self.stages = list(stages)
        self.interval = least if interval is None else interval
        if self.interval < least:
            raise ValueError(
                f"interval = {interval}: these folds take {least} cycles a frame; take larger ones"
            )
        self.beats = [source_beats(self.stages, self.interval)]
        self.offsets, self.feeds, self.depths = [0], [()], [()]
        for stage in self.stages[1:]:
            assert isinstance(stage, Stage)
            feeds = tuple(self._feed(stage, place) for place in range(len(stage.feeds)))
            starts = [self.offsets[reader.source] for reader in stage.feeds]
            offset = max(s + feed.wait() for s, feed in zip(starts, feeds, strict=True))
            offset = max(offset, *starts)
            self.offsets.append(offset)
            self.feeds.append(feeds)
            self.depths.append(
                tuple(
                    feed.depth(offset - start, self.interval)
                    for start, feed in zip(starts, feeds, strict=True)
                )
            )
            self.beats.append(stage_beats(stage))
        self.latency = self.offsets[-1] + int(self.beats[-1][-1])

    def _feed(self, stage: Stage, place: int) -> Feed:
        reader = stage.feeds[place]
        source = self.stages[reader.source]
        beats = self.beats[reader.source]
        shape = {
            "outputs": beat_channels(source, reader.kind),
            "channels": reader.channels,
            "pixel_channels": reader.kind.channels,
        }
        # Two frames: where one ends, the gear must be ready for the next.
        twice = np.concatenate([beats, beats + self.interval])
        writes = gears.times(twice, **shape).reshape(2, -1)
        if (writes[1] != writes[0] + self.interval).any():
            raise ValueError(
                f"from {source.name!r} to {stage.name!r}: words of a frame are still on their "
                "way when the next one comes; take a longer interval or other folds"
            )
        return Feed(gears.depth(twice, **shape), writes[0], *reads(stage, place))

    @property
    def utilisation(self) -> float:
        """Products by lanes and cycles: how much of all lanes' time is spent on products that are
        not pruned, those with padding counted."""
        lanes = sum(stage.lanes for stage in self.stages if isinstance(stage, Stage))
        return sum(map(_products, self.stages)) / max(lanes * self.interval, 1)

    @property
    def utilisations(self) -> list[float]:
        """That of each stage; 0 where it has no lanes."""
        return [
            _products(stage) / (stage.lanes * self.interval)
            if isinstance(stage, Stage) and stage.lanes
            else 0.0
            for stage in self.stages
        ]

    def cycles(self, frames: int) -> int:
        """From the first beat of the input to the last result, both counted, where the input's
        beats follow each other and results are taken at once."""
        return words(self.stages) + START + (frames - 1) * self.interval + self.latency


def _products(stage: Input | Stage) -> int:
    """Of a frame."""
    if isinstance(stage, Input):
        return 0
    used = sum(not tap.null for group in stage.groups for tap in group)
    return used * stage.pixels * stage.lanes


def source_beats(stages: Sequence[Input | Stage], interval: int) -> np.ndarray:
    """The cycles in which the input gives its words, evenly over the interval."""
    count = words(stages)
    return np.arange(count) * (interval // count) + 1


def stage_beats(stage: Stage) -> np.ndarray:
    """The cycles in which the stage's results leave."""
    unit = latency.pool_latency if stage.unit == "pool" else latency.products_latency
    last = np.cumsum([len(group) for group in stage.groups]) - 1
    pixels = np.arange(stage.pixels - 1 if stage.total else 0, stage.pixels)
    return (pixels[:, None] * stage.taps + last).ravel() + latency.WINDOW + unit(stage)


def reads(stage: Stage, place: int) -> tuple[np.ndarray, np.ndarray]:
    """When a frame's words are read from the memory of the stage's feed ``place``, and which."""
    reader = stage.feeds[place]
    if place < len(stage.readers):
        taps = [
            (cycle, tap.row, tap.column, tap.word)
            for cycle, tap in enumerate(tap for group in stage.groups for tap in group)
            if tap.reader == place and not tap.null
        ]
    else:
        firsts = np.cumsum([0, *(len(group) for group in stage.groups[:-1])]).tolist()
        taps = [(cycle, 0, 0, group) for group, cycle in enumerate(firsts)]
    cycle, row, column, word = np.array(taps, np.int64).reshape(-1, 4).T
    down, across = np.divmod(np.arange(stage.pixels)[:, None], stage.grid[1])
    down = down * reader.windows.stride[0] + row
    across = across * reader.windows.stride[1] + column
    height, width = reader.kind.shape[:2]
    inside = (down >= 0) & (down < height) & (across >= 0) & (across < width)
    issued = np.arange(stage.pixels)[:, None] * stage.taps + cycle
    return issued[inside], ((down * width + across) * reader.words + word)[inside]
