"""Choosing folds against trying all; pruning so that all stages take as long."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from thresher.models.bcnn import folds, lowering, pacing, plan
from thresher.models.bcnn.drawn import chain, drawn, residual
from thresher.models.bcnn.network import Network, Node
from thresher.models.bcnn.operations import Convolution, Input, Threshold
from thresher.models.bcnn.stages import Fold, Stage
from thresher.models.bcnn.timing import Timeline


def taken(network: Network, chosen: dict[str, Fold]) -> tuple[int, int]:
    """The least interval, and lanes."""
    stages = lowering.lower(network, chosen)
    lanes = sum(stage.lanes for stage in stages if isinstance(stage, Stage))
    return pacing.least_interval(stages), lanes


def every(network: Network) -> list[tuple[int, int]]:
    """Of all folds of a network's convolutions, one by one."""
    sizes = {
        node.name: node.operation.weights.shape
        for node in network.nodes
        if isinstance(node.operation, Convolution)
    }
    choices = [
        [Fold(p, s) for p in folds.divisors(shape[0]) for s in folds.divisors(shape[3])]
        for shape in sizes.values()
    ]
    return [taken(network, dict(zip(sizes, those, strict=True))) for those in product(*choices)]


def two(outputs: int, channels: int) -> Network:
    rng = np.random.default_rng(outputs)
    shapes = ((outputs, 3, 3, channels), (4, 1, 1, outputs))
    first, second = (Convolution(rng.choice((-1, 1), shape)) for shape in shapes)
    threshold = Threshold(np.zeros(outputs, int), np.zeros(outputs, bool))
    return Network(
        (
            Node("x", Input((6, 5, channels), 1)),
            Node("one", first, (0,)),
            Node("bits", threshold, (1,)),
            Node("two", second, (2,)),
        )
    )


@pytest.mark.parametrize(("outputs", "channels"), [(6, 4), (4, 3), (5, 2)])
def test_no_folds_are_better(outputs, channels):
    network = two(outputs, channels)
    all_folds = every(network)
    for interval in sorted({i for i, _ in all_folds})[::3]:
        found, lanes = taken(network, folds.choose(network, interval=interval))
        assert found <= interval
        assert lanes == min(n for i, n in all_folds if i <= interval)
    for most in sorted({n for _, n in all_folds})[::3]:
        interval, lanes = taken(network, folds.choose(network, lanes=most))
        assert lanes <= most
        assert interval == min(i for i, n in all_folds if n <= most)


@pytest.mark.parametrize("seed", range(60))
def test_chosen_folds_have_a_timeline(seed):
    rng = np.random.default_rng(seed)
    network = drawn(seed)
    lanes = int(rng.integers(16, 200))
    chosen = folds.choose(network, lanes=lanes)
    stages = lowering.lower(network, chosen)
    assert sum(s.lanes for s in stages if isinstance(s, Stage)) <= lanes
    interval = Timeline(stages).interval
    again = Timeline(lowering.lower(network, folds.choose(network, interval=interval)))
    assert again.interval <= interval


@pytest.mark.parametrize("lanes", [60, 200, 700])
def test_neighbours_fit(lanes):
    """One gives a multiple of what the other takes at once, or takes one of what it gives."""
    for network in (chain(channels=16), residual()):
        found = lowering.parts(network)
        chosen = folds.choose(network, lanes=lanes)
        part_folds = [chosen[name] for name in (_name(part) for part in found)]
        for edge in folds.edges(found):
            if edge.source:
                given, fold = part_folds[edge.source - 1].outputs, part_folds[edge.reader - 1]
                take = fold.outputs if edge.shortcut else fold.channels
                assert max(given, take) % min(given, take) == 0


def _name(part: lowering.Part) -> str:
    return part.name if isinstance(part, lowering.Pool) else part.terms[0].name


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "interval = 0 and lanes = 0; give one"),
        ({"interval": 1, "lanes": 1}, "interval = 1 and lanes = 1"),
        ({"interval": 100}, "interval = 100, but 'convolution1' takes 576 cycles"),
        ({"lanes": 2}, "lanes = 2; .* have 3 at least"),
        ({"interval": 63}, "interval = 63, but 64 words"),
    ],
)
def test_what_no_folds_do(asked, message):
    with pytest.raises(ValueError, match=message):
        folds.choose(chain(), **asked)


LAYERS = [
    plan.Layer("first", 64, 3, (3, 3), 256, 256),
    plan.Layer("a", 64, 64, (3, 3), 256, 256, "first"),
    plan.Layer("b", 128, 64, (3, 3), 64, 256, "a"),
    plan.Layer("side", 128, 64, (1, 1), 64, 256, "first", beside="b"),
    plan.Layer("c", 128, 128, (3, 3), 64, 64, "b", shortcuts=("b",)),
    plan.Layer("last", 10, 128, (1, 1), 64, 64, "c"),
]


def kept(layers: list[plan.Layer], pruned: dict[str, plan.Pruned]) -> dict[str, int]:
    """Weights of each layer."""
    blocks = {name: p.block[0] * p.block[1] for name, p in pruned.items()}
    return {layer.name: pruned[layer.name].kept * blocks[layer.name] for layer in layers}


@pytest.mark.parametrize("ratio", [4, 20])
@pytest.mark.parametrize("interval", [2000, 9000])
def test_a_plan_is_balanced_and_prunes_as_much_as_it_should(ratio, interval):
    pruned = plan.plan(LAYERS, ratio, interval, {"last": 1})
    left = kept(LAYERS, pruned)
    assert left["last"] == 1280
    total = sum(layer.weights for layer in LAYERS)
    products = sum(layer.weights * layer.pixels for layer in LAYERS)
    most = max(
        sum(left.values()) * ratio / total,
        sum(left[layer.name] * layer.pixels for layer in LAYERS) * ratio / products,
    )
    assert 0.85 < most <= 1
    assert pruned["b"].block == pruned["side"].block
    cycles = {layer.name: pruned[layer.name].kept * layer.pixels for layer in LAYERS}
    cycles["b"] += cycles.pop("side")
    assert max(cycles.values()) <= interval
    assert min(c for name, c in cycles.items() if name != "last") > 0.85 * interval


def test_random_blocks_are_as_many_as_planned_in_every_row():
    rng = np.random.default_rng(0)
    pruned = plan.plan(LAYERS, 10, 4000)
    for layer in LAYERS:
        rows, columns = pruned[layer.name].block
        mask = plan.random_kept(rng, layer, pruned[layer.name])
        blocks = mask[::rows, :, :, ::columns]
        assert mask.sum() == kept(LAYERS, pruned)[layer.name]
        assert blocks.sum() == pruned[layer.name].kept
        counts = blocks.reshape(len(blocks), -1).sum(axis=1)
        assert counts.max() - counts.min() <= 1


def test_a_network_pruned_at_random_takes_as_long_as_planned():
    rng = np.random.default_rng(0)
    network = _dense(residual(channels=(16, 32)))
    pruned = plan.plan(plan.layers_of(network), 4, 8000)
    images = rng.integers(-128, 128, (2, *network.input.shape))
    thin = plan.randomly_pruned(rng, network, pruned, images)
    chosen = {name: Fold(*p.block) for name, p in pruned.items()}
    timeline = Timeline(lowering.lower(thin, chosen))
    assert timeline.interval <= 8000
    assert timeline.utilisation * timeline.interval / 8000 > 0.9
    for node, value in zip(thin.nodes, thin.trace(images), strict=True):
        if isinstance(node.operation, Convolution):
            p = pruned[node.name]
            assert node.operation.products == p.kept * p.block[0] * p.block[1]
        elif isinstance(node.operation, Threshold):
            assert abs(value.mean()) < 0.1


def _dense(network: Network) -> Network:
    """All weights there."""
    nodes = []
    for node in network.nodes:
        operation = node.operation
        if isinstance(operation, Convolution):
            weights = np.ones_like(operation.weights)
            operation = replace(operation, weights=weights, block=None)
        elif isinstance(operation, Threshold):
            # Within the sums of any weights.
            operation = Threshold(0 * operation.thresholds, operation.flips)
        nodes.append(Node(node.name, operation, node.sources))
    return Network(tuple(nodes))


def test_layers_of_a_network():
    found = plan.layers_of(residual(channels=(16, 32)))
    beside = [layer for layer in found if layer.beside]
    assert [(layer.size, layer.outputs, layer.pixels, layer.image) for layer in beside] == [
        ((1, 1), 32, 64, 256)
    ]
    assert sum(bool(layer.shortcuts) for layer in found) == 3
    names = [layer.name for layer in found]
    assert all(layer.source in ("", *names) for layer in found)
    assert plan.layers_of(chain())[1].source == "convolution1"  # a pool in between


@pytest.mark.parametrize(
    ("ratio", "interval", "shares", "message"),
    [
        (20, 100, {}, "layer 'first' has 256 pixels"),
        (20, 4000, {"c": 1}, "20 times fewer .* cannot be had with shares"),
        (20, 4000, {"side": 1}, "shares of side"),
    ],
)
def test_what_cannot_be_planned(ratio, interval, shares, message):
    with pytest.raises(ValueError, match=message):
        plan.plan(LAYERS, ratio, interval, shares)
