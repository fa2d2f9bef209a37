"""Whole binary complex networks, pruned: how often frames come, and how busy lanes are."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch import nn

from ..models.bcnn import folds, lowering, nets, plan
from ..models.bcnn.config import BcnnConfig
from ..models.bcnn.convert import convert
from ..models.bcnn.files import save
from ..models.bcnn.network import Network
from ..models.bcnn.operations import (
    Input,
)
from ..models.bcnn.stages import Stage
from ..models.bcnn.timing import Timeline
from ..sim.simulate import simulate
from . import _bars
from .report import Bar, Progress, Row

RATIO = 20
_FRAMES = 3
_PEER = "Peng et al., ASAP 2021, on a U280: {:,} frames/s, {:,} cycles at 200 MHz"


@dataclass(frozen=True)
class Case:
    """A network of the paper's."""

    name: str
    make: Callable[[nets.Sort], nn.Module]
    interval: int
    """Cycles at 200 MHz that the paper's frames are apart."""
    rate: int
    """Its frames a second."""
    first: float
    """What is kept of the first layer's weights; of the last one's all are."""

    @cached_property
    def network(self) -> Network:
        """Dense and not trained: its weights do not matter."""
        return convert(self.make("complex").eval(), Input((32, 32, 3)))

    @property
    def shares(self) -> dict[str, float]:
        """Of layers that are not pruned like the others."""
        first, *_, last = plan.layers_of(self.network)
        return {first.name: self.first, last.name: 1}


CASES = (
    # All of its first layer would be more products than a network pruned 20x has.
    Case("complex NIN-Net", nets.nin, 34_000, 5_882, 0.2),
    Case("complex ResNet-18", nets.resnet18, 40_500, 4_938, 1),
)


def frame_rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Cycles of pruned networks beside dense ones', intervals beside the paper's."""
    for case in CASES:
        progress(f"{case.name}: pruned, folded and timed")
        network = yield from _formula(case, pictures)
        if not quick:
            progress(f"{case.name}: {_FRAMES} frames through RTL")
            yield from _simulated(case, network)


def _formula(case: Case, pictures: Path | None) -> Generator[Row, None, Network]:
    """What is known without a simulation; returns the pruned network."""
    layers = plan.layers_of(case.network)
    pruned = plan.plan(layers, RATIO, case.interval, case.shares)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, *case.network.input.shape))
    network = plan.randomly_pruned(rng, case.network, pruned, images)
    stages = lowering.lower(network, folds.choose(network, interval=case.interval))
    timeline = Timeline(stages)
    lanes = sum(stage.lanes for stage in stages if isinstance(stage, Stage))
    what = f"{case.name}, 32 x 32 pixels, pruned {RATIO}x"
    left = {y.name: pruned[y.name].kept * _product(pruned[y.name].block) for y in layers}
    for kind, weight in (("weights", lambda y: 1), ("products", lambda y: y.pixels)):
        dense = sum(y.weights * weight(y) for y in layers)
        kept = sum(left[y.name] * weight(y) for y in layers)
        yield Row(
            f"{case.name}: {kind}, dense over pruned", dense / kept, Bar(">=", RATIO),
            f"{dense:,} and {kept:,}; {case.first:.0%} of the first layer and all of the last kept",
        )  # fmt: skip
    best = _shortest(case.network, layers, lanes)
    busy = sum(y.weights * y.pixels for y in layers) / lanes
    for which, cycles in (("folded at its best", best), ("if no lane ever were idle", busy)):
        yield Row(
            f"{what}: cycles of a frame, dense over pruned, {lanes} lanes both, the dense one "
            f"{which}", cycles / timeline.interval, Bar(">=", 18), f"{cycles:,.0f}, dense",
        )  # fmt: skip
    yield Row(
        f"{what}: cycles from frame to frame, {lanes} lanes, all but the last layer's complex",
        timeline.interval, Bar("<=", case.interval), _PEER.format(case.rate, case.interval),
    )  # fmt: skip
    yield Row(
        f"{what}: mean utilisation of lanes", timeline.utilisation, Bar(">=", 0.9),
        "over 0.9 (Peng et al.), of one unit; 0.80 (FINN's CNV)",
    )  # fmt: skip
    yield Row(
        f"{what}: the same, without products with padding", _inside(timeline) / timeline.interval
    )
    yield Row(
        f"{what}: intervals from a frame's start to its last result",
        timeline.latency / timeline.interval,
    )  # fmt: skip
    yield Row(f"{what}: Kibit of memories between stages", _waiting(timeline) / 1024)
    if pictures is not None:
        _draw(case, timeline, pictures)
    return network


def _simulated(case: Case, network: Network) -> Iterator[Row]:
    """The same, out of RTL."""
    what = f"{case.name}, pruned {RATIO}x, {_FRAMES} frames through RTL"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "network.npz"
        save(network, file)
        config = BcnnConfig(file=str(file), interval=case.interval)
        report = simulate("bcnn_conv", config, "random", samples=_FRAMES)
    scores = np.asarray(report.outputs["y"])
    yield Row(f"{what}: scores that differ from the golden model's", report.mismatches,
              Bar("==", 0), "; ".join(report.failures()) or f"{scores.size} compared")  # fmt: skip
    last = report.run.output_cycles["y"].reshape(_FRAMES, -1)[:, -1]
    yield Row(
        f"{what}: cycles from one frame's last score to the next one's",
        int(np.diff(last).max()), Bar("<=", case.interval), _PEER.format(case.rate, case.interval),
    )  # fmt: skip
    yield Row(
        f"{what}: cycles from the first pixel to the last score, less the formula's",
        report.cycles - report.cycles_formula, Bar("==", 0), f"{report.cycles:,} cycles",
    )  # fmt: skip
    yield Row(f"{what}: simulated cycles a second", report.cycles_per_second)


def _product(pair: tuple[int, int]) -> int:
    return pair[0] * pair[1]


def _shortest(network: Network, layers: list[plan.Layer], lanes: int) -> int:
    """The dense network's least interval on so many lanes."""
    chosen = folds.choose(network, lanes=lanes)
    cycles: dict[str, int] = {}
    for layer in layers:
        fold, stage = chosen[layer.name], layer.beside or layer.name
        taps = layer.weights // (fold.outputs * fold.channels)
        cycles[stage] = cycles.get(stage, 0) + taps * layer.pixels
    return max(cycles.values())


def _inside(timeline: Timeline) -> float:
    """Lanes' cycles with products inside the image, of all lanes' cycles, times the interval."""
    used = lanes = 0
    for stage, feeds in zip(timeline.stages, timeline.feeds, strict=True):
        if isinstance(stage, Stage) and stage.lanes:
            readers = feeds[: len(stage.readers)]
            used += sum(len(feed.cycles) for feed in readers) * stage.lanes
            lanes += stage.lanes
    return used / lanes


def _waiting(timeline: Timeline) -> int:
    """Bits of all memories between stages."""
    return sum(
        feed.word_bits * depth
        for stage, depths in zip(timeline.stages, timeline.depths, strict=True)
        if isinstance(stage, Stage)
        for feed, depth in zip(stage.feeds, depths, strict=True)
    )


def _draw(case: Case, timeline: Timeline, folder: Path) -> None:
    """Cycles of every stage's frame."""
    stages = [stage for stage in timeline.stages if isinstance(stage, Stage) and stage.lanes]
    used = [u * timeline.interval for u in timeline.utilisations]
    busy = [n for s, n in zip(timeline.stages, used, strict=True) if s in stages]
    bars = _bars.Bars(
        title=f"{case.name}, pruned {RATIO}x: frames {timeline.interval:,} cycles apart; "
        f"{case.interval:,} (Peng et al.)",
        y_title="cycles of a frame",
        names=[f"{n}\n{s.fold.outputs}x{s.fold.channels}" for n, s in enumerate(stages, 1)],
        parts={
            "products": busy,
            "idle": [timeline.interval - n for n in busy],
        },
    )
    _bars.draw(bars, folder, f"bcnn_frames_{case.name.split()[-1].lower().replace('-', '_')}")
