"""Timelines against a simulation that knows of no formula: it moves words through memories in the
order of cycles, computes the network's result from what taps find there, and trips over every word
that is read before it is there, or after another has taken its place."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from thresher.models.bcnn import folds, latency, lowering, pacing
from thresher.models.bcnn.drawn import chain, drawn, residual
from thresher.models.bcnn.network import Network, Node
from thresher.models.bcnn.operations import Convolution, Input, Threshold
from thresher.models.bcnn.stages import Fold, Reader, Stage, Tap
from thresher.models.bcnn.stages import Input as Source
from thresher.models.bcnn.timing import Timeline
from thresher.models.windows import Pair


class MissedError(AssertionError):
    """A tap did not find its word."""


@dataclass
class Beat:
    cycle: int
    values: list[complex]


class Ring:
    """A memory, and what enters it, in the order of cycles."""

    def __init__(self, depth: int, writes: list[tuple[int, list[complex]]]):
        assert all(a < b for (a, _), (b, _) in pairwise(writes)), "two words at once"
        self.places: list[tuple[int, list[complex]] | None] = [None] * depth
        self.writes, self.done = writes, 0

    def read(self, cycle: int, word: int) -> list[complex]:
        """By a tap issued in that cycle; ``word`` counts on from frame to frame."""
        edge = cycle - latency.WRITE
        while self.done < len(self.writes) and self.writes[self.done][0] <= edge:
            self.places[self.done % len(self.places)] = (self.done, self.writes[self.done][1])
            self.done += 1
        found = self.places[word % len(self.places)]
        if found is None or found[0] != word:
            raise MissedError(f"word {word} is not there in cycle {cycle}, but {found}")
        if self.done < len(self.writes):
            now, place = self.writes[self.done][0], self.done % len(self.places)
            if now == edge + 1 and place == word % len(self.places):
                raise MissedError(f"word {word} is overwritten in the cycle in which it is read")
        return found[1]


def simulate(
    stages: list[Source | Stage],
    timeline: Timeline,
    images: np.ndarray,
    starts: list[int],
    shorter: tuple[int, int] | None = None,
    earlier: int | None = None,
) -> list[list[Beat]]:
    """The beats of every stage where frames start in the cycles ``starts``.  ``shorter``: a memory
    that has one word less than it should; ``earlier``: a stage that starts one cycle too early."""
    source = stages[0]
    assert isinstance(source, Source)
    beats = [_source(source, timeline, images, starts)]
    for place, stage in enumerate(stages[1:], 1):
        assert isinstance(stage, Stage)
        offset = timeline.offsets[place] - (earlier == place)
        rings = []
        for feed, (reader, depth) in enumerate(
            zip(stage.feeds, timeline.depths[place], strict=True)
        ):
            writes = timeline.feeds[place][feed].writes + timeline.offsets[reader.source]
            times = [s + w for s in starts for w in writes.tolist()]
            words = _words(reader, beats[reader.source], times)
            rings.append(Ring(depth - (shorter == (place, feed)), words))
        beats.append(_stage(stage, rings, [s + offset for s in starts]))
    return beats


def _source(
    source: Source, timeline: Timeline, images: np.ndarray, starts: list[int]
) -> list[Beat]:
    values = _complex(images) if source.kind.complex else images
    words = values.reshape(len(images), -1, source.channels)
    pace = timeline.interval // words.shape[1]
    return [
        Beat(start + n * pace + 1, word.tolist())
        for start, frame in zip(starts, words, strict=True)
        for n, word in enumerate(frame)
    ]


def _complex(values: np.ndarray) -> np.ndarray:
    return values[..., 0] + 1j * values[..., 1]


def _words(reader: Reader, beats: list[Beat], times: list[int]) -> list[tuple[int, list[complex]]]:
    """Beats as words: the same channels in the same order, none before it is known."""
    channels = [(beat.cycle, complex(value)) for beat in beats for value in beat.values]
    count = len(times) * reader.channels
    if 2 * len(channels) == count:  # Complex bits, whose parts are read as real ones.
        channels = [(c, part) for c, v in channels for part in (v.real, v.imag)]
    assert len(channels) == count
    found = []
    for n, time in enumerate(times):
        word = channels[n * reader.channels : (n + 1) * reader.channels]
        assert max(cycle for cycle, _ in word) <= time, "a word before its channels"
        found.append((time, [value for _, value in word]))
    return found


def _stage(stage: Stage, rings: list[Ring], starts: list[int]) -> list[Beat]:
    unit = latency.pool_latency if stage.unit == "pool" else latency.products_latency
    delay = latency.WINDOW + unit(stage)
    height, width = stage.grid
    weights = _complex(stage.weights) if stage.weights.ndim == 4 else stage.weights
    beats = []
    for frame, start in enumerate(starts):
        cycle, totals = start, np.zeros(stage.kind.channels, complex)
        for y in range(height):
            for x in range(width):
                tap_number = 0
                for group, taps in enumerate(stage.groups):
                    fold = stage.fold.outputs
                    sums = np.zeros(fold, complex)
                    pooled = np.full((fold, 2), -1.0)
                    for n, shortcut in enumerate(stage.shortcuts):
                        ring, pixel = rings[len(stage.readers) + n], frame * height * width
                        word = (pixel + y * width + x) * len(stage.groups) + group
                        sums += shortcut.factor * np.array(ring.read(cycle, word))
                    for tap in taps:
                        if not tap.null:
                            value = _tap(
                                stage.readers[tap.reader], rings, tap, (y, x), frame, cycle
                            )
                            if stage.unit == "products":
                                sums += weights[tap_number] @ value
                            else:
                                both = np.stack([value.real, value.imag], axis=1)
                                pooled = np.where(
                                    value[:, None] != 0, np.maximum(pooled, both), pooled
                                )
                        cycle += 1
                        tap_number += 1
                    if stage.unit == "pool":
                        result = pooled[:, 0] + (1j * pooled[:, 1] if stage.complex else 0)
                        beats.append(Beat(cycle - 1 + delay, result.tolist()))
                        continue
                    where = slice(group * fold, (group + 1) * fold)
                    totals[where] = sums + (totals[where] if stage.total else 0)
                    if not stage.total or (y, x) == (height - 1, width - 1):
                        result = _result(stage, totals[where], where)
                        beats.append(Beat(cycle - 1 + delay, result.tolist()))
    return beats


def _tap(
    reader: Reader, rings: list[Ring], tap: Tap, pixel: Pair, frame: int, cycle: int
) -> np.ndarray:
    row, column = (
        p * s + d
        for p, s, d in zip(pixel, reader.windows.stride, (tap.row, tap.column), strict=True)
    )
    height, width = reader.kind.shape[:2]
    if not (0 <= row < height and 0 <= column < width):
        outside = (1 + 1j if reader.kind.complex else 1) if reader.fill == "one" else 0
        return np.full(reader.channels, outside, complex)
    word = ((frame * height + row) * width + column) * reader.words + tap.word
    return np.array(rings[tap.reader].read(cycle, word), complex)


def _result(stage: Stage, sums: np.ndarray, where: slice) -> np.ndarray:
    parts = np.stack([sums.real, sums.imag], axis=1) if stage.complex else sums.real
    if stage.thresholds is None:
        parts = parts + (0 if stage.biases is None else stage.biases[where])
    else:
        assert stage.flips is not None
        parts = np.where((parts >= stage.thresholds[where]) != stage.flips[where], 1, -1)
    return _complex(parts) if stage.complex else parts


def results(stage: Stage, beats: list[Beat], frames: int) -> np.ndarray:
    """As the network gives them."""
    values = np.array([beat.values for beat in beats]).reshape(frames, *stage.kind.shape)
    if not stage.kind.complex:
        return values.real.astype(int)
    return np.stack([values.real, values.imag], axis=-1).astype(int)


def random_rows(rng: np.random.Generator, network: Network, rows: int) -> np.ndarray:
    kind = network.input
    shape = (rows, *kind.shape, 2) if kind.complex else (rows, *kind.shape)
    if kind.format == "bits":
        return rng.choice((-1, 1), shape)
    return rng.integers(kind.low, kind.high, shape, endpoint=True)


def folded(seed: int) -> tuple[Network, list[Source | Stage], np.random.Generator]:
    rng = np.random.default_rng(seed)
    network = drawn(seed)
    channels = network.input.channels
    lanes_in = int(rng.choice([d for d in range(1, channels + 1) if channels % d == 0]))
    lanes = int(rng.integers(16, 100))
    chosen = folds.choose(network, lanes=lanes, lanes_in=lanes_in)
    return network, lowering.lower(network, chosen, lanes_in), rng


@pytest.mark.parametrize("seed", range(24))
def test_taps_find_their_words_and_give_the_network_s_results(seed):
    network, stages, rng = folded(seed)
    interval = pacing.least_interval(stages) + int(rng.choice([0, 0, 1, 17]))
    timeline = Timeline(stages, interval)
    images = random_rows(rng, network, 4)
    starts = [0, interval, 2 * interval, 3 * interval + int(rng.integers(0, 2 * interval))]
    beats = simulate(stages, timeline, images, starts)
    last = stages[-1]
    assert isinstance(last, Stage)
    np.testing.assert_array_equal(results(last, beats[-1], 4), network(images))
    assert beats[-1][-1].cycle == starts[-1] + timeline.latency
    assert timeline.cycles(3) == timeline.cycles(1) + 2 * interval


@pytest.mark.parametrize("seed", range(100, 112))
def test_nothing_could_be_smaller_or_earlier(seed):
    network, stages, rng = folded(seed)
    timeline = Timeline(stages)
    images = random_rows(rng, network, 4)
    starts = [n * timeline.interval for n in range(4)]
    for place, depths in enumerate(timeline.depths):
        for feed, depth in enumerate(depths):
            if depth > 1:
                with pytest.raises(MissedError):
                    simulate(stages, timeline, images, starts, shorter=(place, feed))
        stage = stages[place]
        if isinstance(stage, Stage) and timeline.offsets[place] > max(
            timeline.offsets[reader.source] for reader in stage.feeds
        ):
            with pytest.raises(MissedError):
                simulate(stages, timeline, images, starts, earlier=place)


def test_an_interval_too_short():
    stages = lowering.lower(chain(), folds.choose(chain(), lanes=64))
    least = pacing.least_interval(stages)
    with pytest.raises(ValueError, match=f"interval = {least - 1}.* {least} cycles"):
        Timeline(stages, least - 1)


def test_words_that_are_late_when_the_next_frame_comes():
    """Of eight outputs at once the second ones come at a pixel's end and leave one by one."""
    kept = np.ones((2, 15), bool)
    kept[0, 1:] = False
    weights = kept.repeat(8, axis=0).repeat(4, axis=1)[:, None, None].astype(np.int8)
    network = Network(
        (
            Node("x", Input((3, 3, 60), 1)),
            Node("c", Convolution(weights, block=(8, 4)), (0,)),
            Node("t", Threshold(np.zeros(16, int), np.zeros(16, bool)), (1,)),
            Node("d", Convolution(np.ones((1, 1, 1, 16))), (2,)),
        )
    )
    stages = lowering.lower(network, {"c": Fold(8, 4), "d": Fold(1, 1)})
    with pytest.raises(ValueError, match="from 't' to 'd': words of a frame are still on"):
        Timeline(stages)
    assert Timeline(stages, 9 * 16 + 8).feeds[2][0].queue > 1


def test_utilisation_counts_products_alone():
    network = residual()
    stages = lowering.lower(network, folds.choose(network, interval=4000))
    timeline = Timeline(stages, 4000)
    products = lanes = 0
    for part, stage in zip(lowering.parts(network), stages[1:], strict=True):
        assert isinstance(part, lowering.Sums)
        assert isinstance(stage, Stage)
        pixels = part.grid[0] * part.grid[1]
        products += sum(term.convolution.products for term in part.terms) * pixels
        lanes += stage.fold.outputs * stage.fold.channels
    assert timeline.utilisation == pytest.approx(products / lanes / 4000)
    assert max(timeline.utilisations) <= 1


def test_fast_stages_are_spread_so_that_less_waits():
    network = chain(height=32, width=32, channels=16)
    chosen = folds.choose(network, lanes=256) | {"maxpool3": Fold(16, 16)}
    stages = lowering.lower(network, chosen)
    hasty = [_without_null_taps(stage) for stage in stages]
    assert [s.name for s, h in zip(stages, hasty, strict=True) if s is not h] == ["maxpool3"]
    pool = stages[2]
    assert isinstance(pool, Stage)
    interval = pacing.least_interval(stages)
    assert 0.9 * interval < pool.cycles <= interval == pacing.least_interval(hasty)
    assert len({len(group) for group in pool.groups}) == 1
    bits, more = (_waiting(those) for those in (stages, hasty))
    assert bits < 0.5 * more


def _without_null_taps(stage: Source | Stage) -> Source | Stage:
    if isinstance(stage, Source) or not any(tap.null for group in stage.groups for tap in group):
        return stage
    groups = tuple(tuple(tap for tap in group if not tap.null) for group in stage.groups)
    return replace(stage, groups=groups)


def _waiting(stages: list[Source | Stage]) -> int:
    """Bits of all memories."""
    computing = [(s, d) for s, d in zip(stages, Timeline(stages).depths, strict=True) if d]
    return sum(
        reader.word_bits * depth
        for stage, depths in computing
        if isinstance(stage, Stage)
        for reader, depth in zip(stage.feeds, depths, strict=True)
    )
