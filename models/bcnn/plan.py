"""How to prune a network so that all of its stages take as long.

Of every stage so many blocks of weights are kept that its taps fill the interval; a block is what
is computed in one cycle.  What is left to choose is how large the blocks are: a stage whose blocks
are larger keeps more.  They are chosen so that the whole network keeps one ``ratio``-th of its
weights and of its products, every stage about the same share.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import gcd, prod

import numpy as np

from ..windows import Pair
from .folds import Edge, Option, arrange, divisors
from .lowering import Pool, Sums, View, parts
from .network import Network, Node
from .operations import Convolution, Threshold
from .stages import Fold


@dataclass(frozen=True)
class Layer:
    """A convolution, by its shape."""

    name: str
    outputs: int
    channels: int
    size: Pair
    """Of the window."""
    pixels: int
    """Of what comes out."""
    image: int
    """Pixels of what it reads."""
    source: str = ""
    """The layer whose results it reads, be there pools in between; none: the input."""
    shortcuts: tuple[str, ...] = ()
    """The layers whose results are added to its sums."""
    beside: str = ""
    """An earlier layer to whose sums its own are added: both have the same blocks."""

    @property
    def weights(self) -> int:
        """Complex ones count once."""
        return self.outputs * self.channels * prod(self.size)


@dataclass(frozen=True)
class Pruned:
    """What of a layer is kept."""

    block: Pair
    """Outputs and channels: the fold for which it is meant, too."""
    kept: int
    """Blocks.  About equally many in every row of blocks, which are those of the same outputs."""
    total: int
    """Blocks that there are."""


def plan(
    layers: Sequence[Layer], ratio: float, interval: int, shares: Mapping[str, float] | None = None
) -> dict[str, Pruned]:
    """For each of ``layers`` what to keep so that frames may come ``interval`` cycles apart.

    No more than one ``ratio``-th of all weights, and of all products, is kept.  Layers in
    ``shares`` keep about that share, those with 1 all of their weights; the rest have what remains.

    Raises :class:`ValueError` where a layer has more pixels than ``interval`` cycles, and where
    those in ``shares`` keep too much.
    """
    shares = dict(shares or {})
    stages = _stages(layers)
    if unknown := set(shares) - {stage.name for stage in stages}:
        raise ValueError(f"shares of {', '.join(sorted(unknown))}, which are no layers with blocks")
    limits = [sum(s.weights for s in stages) / ratio, sum(s.products for s in stages) / ratio]
    choices = [stage.choices(interval, shares.get(stage.name)) for stage in stages]
    fixed = [stage.name in shares for stage in stages]

    def nearest(share: float) -> list[int]:
        return [
            0 if f else int(np.argmin([abs(np.log(c.share / share)) for c in those]))
            for f, those in zip(fixed, choices, strict=True)
        ]

    def fits(taken: list[int]) -> bool:
        chosen = [those[n] for those, n in zip(choices, taken, strict=True)]
        weights = sum(c.weights for c in chosen)
        products = sum(c.weights * s.pixels for c, s in zip(chosen, stages, strict=True))
        return weights <= limits[0] and products <= limits[1]

    low, high = 0.0, 1.0
    taken = [0] * len(stages)
    if not fits(taken):
        raise ValueError(
            f"{ratio} times fewer weights and products cannot be had with shares = {shares} and "
            f"interval = {interval}; keep smaller shares"
        )
    for _ in range(40):
        middle = (low + high) / 2
        found = nearest(middle)
        if fits(found):
            low, taken = middle, found
        else:
            high = middle
    _fill(taken, choices, fits)
    chosen = [those[n] for those, n in zip(choices, taken, strict=True)]
    return _blocks(layers, stages, chosen, interval)


def _fill(
    taken: list[int], choices: "list[list[_Choice]]", fits: Callable[[list[int]], bool]
) -> None:
    """Spends what is left on the stages that keep the least share, as long as it fits."""
    while True:
        order = sorted(range(len(taken)), key=lambda n: choices[n][taken[n]].share)
        for n in order:
            if taken[n] + 1 < len(choices[n]):
                more = [t + (k == n) for k, t in enumerate(taken)]
                if fits(more):
                    taken[:] = more
                    break
        else:
            return


@dataclass(frozen=True)
class _Choice:
    """So many lanes of a stage."""

    lanes: int
    taps: int
    weights: int
    """That are kept."""
    share: float


@dataclass(frozen=True)
class _Stage:
    """Layers that are computed together."""

    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        return self.layers[0].name

    @property
    def pixels(self) -> int:
        return self.layers[0].pixels

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)

    @property
    def products(self) -> int:
        return self.weights * self.pixels

    def folds(self) -> list[Fold]:
        """All that there are."""
        channels = gcd(*(layer.channels for layer in self.layers))
        return [
            Fold(p, s) for p, s in product(divisors(self.layers[0].outputs), divisors(channels))
        ]

    def choices(self, interval: int, share: float | None) -> "list[_Choice]":
        """By the number of lanes, with as many taps as there is time for; with ``share`` the one
        of the fewest lanes that have time for that."""
        most = interval // self.pixels
        found = []
        for lanes in sorted({f.outputs * f.channels for f in self.folds()}):
            taps = min(most, self.weights // lanes)
            if share is not None:
                taps = max(round(share * self.weights / lanes), 1)
            if 0 < taps <= most and self.fitting(lanes, taps, interval):
                kept = taps * lanes
                found.append(_Choice(lanes, taps, kept, kept / self.weights))
        if not found:
            raise ValueError(
                f"layer {self.name!r} has {self.pixels} pixels, and no fold of it takes no more "
                f"than interval = {interval} cycles"
            )
        return found if share is None else found[:1]

    def split(self, choice: "_Choice") -> list[int]:
        """Blocks that each layer keeps: about the same share."""
        beside = [max(round(choice.share * y.weights / choice.lanes), 1) for y in self.layers[1:]]
        return [choice.taps - sum(beside), *beside]

    def fitting(self, lanes: int, taps: int, interval: int) -> list[Fold]:
        """Folds of so many lanes with no more groups than taps, whose words come in time."""
        return [
            fold
            for fold in self.folds()
            if fold.outputs * fold.channels == lanes
            and self.layers[0].outputs // fold.outputs <= taps
            and all(y.image * (y.channels // fold.channels) <= interval for y in self.layers)
        ]


def _stages(layers: Sequence[Layer]) -> list[_Stage]:
    beside: dict[str, list[Layer]] = {}
    for layer in layers:
        beside.setdefault(layer.beside or layer.name, []).append(layer)
    return [_Stage(tuple(group)) for group in beside.values()]


def _blocks(
    layers: Sequence[Layer], stages: list[_Stage], chosen: list[_Choice], interval: int
) -> dict[str, Pruned]:
    """The folds of so many lanes whose neighbours fit best."""
    place = {layer.name: n for n, stage in enumerate(stages, 1) for layer in stage.layers}
    outputs = {layer.name: layer.outputs for layer in layers}
    reading = [
        # Parts of complex bits, where a layer reads twice the channels.
        Edge(
            place.get(source, 0),
            place[layer.name],
            2,
            1 if shortcut else layer.channels // outputs.get(source, layer.channels),
            shortcut,
        )
        for layer in layers
        for shortcut, sources in ((False, (layer.source,)), (True, layer.shortcuts))
        for source in sources
    ]
    options = [
        [
            Option(
                fold,
                0,
                0,
                sum(
                    kept // (stage.layers[0].outputs // fold.outputs)
                    for kept in stage.split(choice)
                ),
            )
            for fold in stage.fitting(choice.lanes, choice.taps, interval)
        ]
        for stage, choice in zip(stages, chosen, strict=True)
    ]
    pixel = next(layer for layer in layers if not layer.source)
    first = Option(Fold(pixel.channels, pixel.channels), 0, pixel.image, interval // pixel.image)
    folds = arrange(reading, options, first)
    return {
        layer.name: Pruned(
            (option.fold.outputs, option.fold.channels), kept, layer.weights // choice.lanes
        )
        for stage, choice, option in zip(stages, chosen, folds, strict=True)
        for layer, kept in zip(stage.layers, stage.split(choice), strict=True)
    }


def layers_of(network: Network) -> list[Layer]:
    """The shapes of a network's convolutions, by their names."""
    found = parts(network)
    names: list[str] = [""]
    made: list[Layer] = []
    for part in found:
        if isinstance(part, Pool):
            names.append(names[part.view.stage])
            continue
        made += _of(part, names)
        names.append(part.terms[0].name)
    return made


def _of(part: Sums, names: list[str]) -> list[Layer]:
    first = part.terms[0]

    def name(view: View) -> str:
        return names[view.stage]

    return [
        Layer(
            name=term.name,
            outputs=term.convolution.outputs,
            channels=term.convolution.channels,
            size=term.convolution.size,
            pixels=part.grid[0] * part.grid[1],
            image=term.view.kind.pixels,
            source=name(term.view),
            shortcuts=tuple(name(v) for v, _ in part.shortcuts) if term is first else (),
            beside="" if term is first else first.name,
        )
        for term in part.terms
    ]


def random_kept(rng: np.random.Generator, layer: Layer, pruned: Pruned) -> np.ndarray:
    """bool [outputs, height, width, channels]: blocks at random, as many in every row of blocks."""
    rows, columns = pruned.block
    shape = (layer.outputs // rows, *layer.size, layer.channels // columns)
    order = rng.random((shape[0], prod(shape[1:]))).argsort(axis=1).argsort(axis=1)
    each, more = divmod(pruned.kept, shape[0])
    counts = each + (rng.permutation(shape[0]) < more)
    kept = (order < counts[:, None]).reshape(shape)
    return kept.repeat(rows, axis=0).repeat(columns, axis=3)


def randomly_pruned(
    rng: np.random.Generator, network: Network, pruned: Mapping[str, Pruned], rows: np.ndarray
) -> Network:
    """``network`` of other weights, random ones in random blocks, and of thresholds that half of
    the sums that ``rows`` give reach, channel by channel: what a trained one takes of hardware,
    without training."""
    shapes = {layer.name: layer for layer in layers_of(network)}
    nodes: list[Node] = []
    values: list[np.ndarray] = []
    for node in network.nodes:
        operation, sources = node.operation, [values[source] for source in node.sources]
        match operation:
            case Convolution():
                kept = random_kept(rng, shapes[node.name], pruned[node.name])
                weights = rng.choice(np.array([-1, 1], np.int8), operation.weights.shape)
                weights *= kept[..., None] if operation.complex else kept
                operation = replace(operation, weights=weights, block=pruned[node.name].block)
            case Threshold():
                middle = np.median(sources[0], axis=(0, 1, 2)).astype(np.int64)
                operation = Threshold(middle, rng.random(middle.shape) < 0.5)
        nodes.append(Node(node.name, operation, node.sources))
        values.append(operation(*(sources or [rows])))  # type: ignore[call-arg]
    return Network(tuple(nodes))
