"""How fast frames can follow each other, and slow stages for where there is time.

A stage computes a frame's taps without a break.  One that is faster than the others would have to
wait until its source is nearly done, with most of a frame in its memory, and then flood those that
read it.  So it is spread over the time that the slowest takes, by null taps, which add nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .stages import Input, Stage, Tap

_NULL = Tap(0, 0, 0, 0, null=True)


def words(stages: Sequence[Input | Stage]) -> int:
    """Words of a frame as it comes."""
    source = stages[0]
    assert isinstance(source, Input)
    return source.kind.pixels * source.kind.channels // source.channels


def least_interval(stages: Sequence[Input | Stage]) -> int:
    """Cycles from one frame to the next, at least: each has one tap a cycle in every stage, and one
    word a cycle from outside and into every memory."""
    computing = [stage for stage in stages if isinstance(stage, Stage)]
    feeds = [feed for stage in computing for feed in stage.feeds]
    written = [feed.kind.pixels * feed.words for feed in feeds]
    return max(words(stages), *(stage.cycles for stage in computing), *written)


def paced(stages: Sequence[Input | Stage]) -> list[Input | Stage]:
    """``stages``, those spread over the least interval that need less memory so.

    Null taps in front of a group's others cost memory for weights, what waits for less.  Pools have
    no weights, and the same number of null taps in all groups.
    """
    interval = least_interval(stages)
    return [spread(stage, interval) if isinstance(stage, Stage) else stage for stage in stages]


def spread(stage: Stage, interval: int) -> Stage:
    """``stage``, or one of as many more taps as a pixel has time for, if they are worth it."""
    idle = interval // stage.pixels - stage.taps
    count = len(stage.groups)
    each, rest = divmod(idle, count)
    if stage.unit == "pool":
        idle, rest = each * count, 0
    if idle <= 0 or idle * _weight_bits(stage) > _waiting_bits(stage, interval):
        return stage
    extra = [each + (group < rest) for group in range(count)]
    groups = tuple((_NULL,) * n + taps for n, taps in zip(extra, stage.groups, strict=True))
    starts = np.cumsum([0, *map(len, stage.groups[:-1])])
    weights = np.insert(stage.weights, np.repeat(starts, extra), 1, axis=0)
    return replace(stage, groups=groups, weights=weights)


def _weight_bits(stage: Stage) -> int:
    """Of a tap."""
    return int(np.prod(stage.weights.shape[1:]))


def _waiting_bits(stage: Stage, interval: int) -> float:
    """What waits more, about, in front of a stage that has nothing to do for some of the interval,
    and behind it."""
    idle = 1 - stage.cycles / interval
    frames = [feed.kind.pixels * feed.words * feed.word_bits for feed in stage.feeds]
    bits = stage.kind.pixels * stage.kind.channels * (2 if stage.kind.complex else 1)
    return idle * (sum(frames) + bits)
