"""Small networks of random weights, each from a seed: for tests, and to try generators with.

Thresholds lie where sums are, so that bits of either value come.
"""

import numpy as np

from ..windows import Pair, Windows
from .network import Network, Node
from .operations import (
    Add,
    Bias,
    Convolution,
    Fill,
    Input,
    Kind,
    MaxPool,
    Operation,
    Parts,
    Sum,
    Threshold,
)


def random_convolution(
    rng: np.random.Generator,
    source: Kind,
    outputs: int,
    windows: Windows,
    *,
    complex: bool = False,
    fill: Fill = "zero",
    block: Pair | None = None,
    kept: float = 0.5,
) -> Convolution:
    """Weights for ``source``; with ``block``, about the share ``kept`` of the blocks is there."""
    shape = (outputs, *windows.size, source.channels)
    weights = rng.choice((-1, 1), (*shape, 2) if complex else shape)
    if block is not None:
        rows, columns = block
        blocks = rng.random((outputs // rows, *windows.size, source.channels // columns)) < kept
        mask = blocks.repeat(rows, axis=0).repeat(columns, axis=3)
        weights *= mask[..., None] if complex else mask
    return Convolution(weights, windows.stride, windows.padding, fill, block)


def random_threshold(rng: np.random.Generator, source: Kind, terms: int) -> Threshold:
    """For sums of about so many products; one of 16 makes a constant."""
    shape = (source.channels, 2) if source.complex else (source.channels,)
    spread = max(source.high, 1) / max(terms, 1) ** 0.5
    values = np.round(rng.normal(0, spread / 2, shape))
    ends = rng.choice((source.low, source.high + 1), shape)
    values = np.where(rng.random(shape) < 1 / 16, ends, values)
    values = np.clip(values, source.low, source.high + 1).astype(np.int64)
    return Threshold(values, rng.random(shape) < 0.5)


def random_bias(rng: np.random.Generator, source: Kind) -> Bias:
    """Small ones."""
    return Bias(rng.integers(-9, 10, (source.channels, 2) if source.complex else source.channels))


def chain(seed: int = 0, height: int = 8, width: int = 8, channels: int = 8) -> Network:
    """Colours; real convolutions, one with a stride and one with padding; pooling; scores."""
    net = _Drawing(np.random.default_rng(seed))
    net.put(Input((height, width, 3)))
    net.layer(channels, Windows((3, 3), padding=(1, 1)))
    net.put(MaxPool((2, 2), (2, 2)))
    net.layer(2 * channels, Windows((3, 3), (2, 2), (1, 1)), fill="one")
    net.convolution(10, Windows(net.last.shape[:2]))
    net.put(random_bias(net.rng, net.last))
    return net.network()


def residual(
    seed: int = 0, size: int = 16, channels: tuple[int, ...] = (16, 32), kept: float = 0.25
) -> Network:
    """Colours; complex residual blocks, two for each of ``channels``, whose images halve from the
    second on by a projection; a sum over all pixels, and scores.  Of the weights in blocks of
    8 outputs and 8 channels about the share ``kept`` is not pruned."""
    net = _Drawing(np.random.default_rng(seed))
    same, whole = Windows((3, 3), padding=(1, 1)), Windows((1, 1))
    net.put(Input((size, size, 3), signed=True))
    net.layer(channels[0], same, complex=True)
    for outputs in channels:
        for step in range(2):
            halve = (2, 2) if outputs != channels[0] and not step else (1, 1)
            start = len(net.nodes) - 1
            net.layer(outputs, Windows((3, 3), halve, (1, 1)), block=(8, 8), kept=kept)
            sums = net.convolution(outputs, same, block=(8, 8), kept=kept)
            if halve == (1, 1):
                net.put(Add((4,)), sums, start)
            else:
                net.put(Add(), sums, net.convolution(outputs, Windows((1, 1), halve), start))
            net.threshold()
    net.convolution(10, whole)
    net.put(Sum())
    net.put(random_bias(net.rng, net.last))
    return net.network()


def drawn(seed: int = 0) -> Network:
    """A network of a few nodes with anything in it that fits, of odd shapes: real and complex
    bits, integers, strides, paddings, pruned blocks, pools, shortcuts, projections, scores."""
    net = _Drawing(np.random.default_rng(seed))
    bits = 1 if net.rng.integers(2) else net.number(2, 9)
    complex = bits == 1 and net.chance(0.5)
    net.put(Input((*net.pair(2, 6), net.number(1, 6)), bits, net.chance(0.5), complex))
    for _ in range(net.number(0, 2)):
        if net.last.format == "integers":
            net.any_layer()
        elif net.chance(0.3):
            net.put(net.random_pool())
        elif net.last.complex and net.chance(0.25):
            net.put(Parts())
            net.any_layer()
        elif net.chance(0.5):
            net.any_layer()
        else:
            net.block()
    net.any_sums()
    if net.chance(0.3):
        net.put(Sum())
    if net.chance(0.5):
        net.put(random_bias(net.rng, net.last))
    if net.chance(0.5):
        net.threshold()
        if net.chance(0.2):
            net.put(net.random_pool())
    return net.network()


class _Drawing:
    """The nodes so far."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.nodes: list[Node] = []
        self.kinds: list[Kind] = []
        self.terms = 1
        """Products in the last sums."""

    def network(self) -> Network:
        return Network(tuple(self.nodes))

    @property
    def last(self) -> Kind:
        return self.kinds[-1]

    def put(self, operation: Operation, *sources: int) -> int:
        """Adds a node, on the last one where no sources are named; returns its place."""
        place = len(self.nodes)
        sources = sources or ((place - 1,) if place else ())
        result: object = operation.result(*(self.kinds[s] for s in sources))  # type: ignore[call-arg]
        assert isinstance(result, Kind)
        self.nodes.append(Node(f"{type(operation).__name__.lower()}{place}", operation, sources))
        self.kinds.append(result)
        return place

    def convolution(
        self,
        outputs: int,
        windows: Windows,
        source: int | None = None,
        *,
        complex: bool = False,
        fill: Fill = "zero",
        block: Pair | None = None,
        kept: float = 0.5,
    ) -> int:
        """On the node ``source``, by default the last; returns its place."""
        source = len(self.nodes) - 1 if source is None else source
        kind = self.kinds[source]
        made = random_convolution(
            self.rng, kind, outputs, windows,
            complex=complex or kind.complex, fill=fill, block=block, kept=kept,
        )  # fmt: skip
        self.terms = round(made.products / outputs)
        return self.put(made, source)

    def threshold(self) -> int:
        return self.put(random_threshold(self.rng, self.last, self.terms))

    def layer(
        self,
        outputs: int,
        windows: Windows,
        *,
        complex: bool = False,
        fill: Fill = "zero",
        block: Pair | None = None,
        kept: float = 0.5,
    ) -> int:
        """A convolution and thresholds; returns their place."""
        self.convolution(outputs, windows, complex=complex, fill=fill, block=block, kept=kept)
        return self.threshold()

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pair(self, low: int, high: int) -> Pair:
        return self.number(low, high), self.number(low, high)

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def window(self, most: int, halved: bool = False) -> Windows:
        """That fits the last image; of up to ``most`` pixels a side, with any stride."""
        size, padding = [], []
        for side in self.last.shape[:2]:
            size.append(self.number(1, min(most, side + 1)))
            limit = size[-1] // 2 if halved else size[-1] - 1
            least = max(0, -(-(size[-1] - side) // 2))
            padding.append(self.number(min(limit, least), limit))
        stride = (1, 1) if self.chance(0.5) else self.pair(1, 3)
        return Windows((size[0], size[1]), stride, (padding[0], padding[1]))

    def random_pool(self) -> MaxPool:
        w = self.window(3, halved=True)
        return MaxPool(w.size, w.stride, w.padding)

    def any_convolution(self, source: int, outputs: int, windows: Windows, complex: bool) -> int:
        """Blocks and fill drawn."""
        kind, block = self.kinds[source], None
        if self.chance(0.4):
            divisors = [[d for d in range(1, n + 1) if n % d == 0]
                        for n in (outputs, kind.channels)]  # fmt: skip
            block = int(self.rng.choice(divisors[0])), int(self.rng.choice(divisors[1]))
        one = kind.format == "bits" and self.chance(0.3)
        return self.convolution(
            outputs, windows, source, complex=complex, fill="one" if one else "zero", block=block,
            kept=self.number(3, 9) / 10,
        )  # fmt: skip

    def any_sums(self) -> int:
        """A convolution, sometimes two of the same image; a dense layer one time out of four."""
        source, outputs = len(self.nodes) - 1, self.number(1, 6)
        complex = self.last.complex or (self.last.format == "integers" and self.chance(0.5))
        windows = Windows(self.last.shape[:2]) if self.chance(0.25) else self.window(3)
        sums = self.any_convolution(source, outputs, windows, complex)
        if self.chance(0.15):
            other = self.any_convolution(source, outputs, self.narrowed(windows), complex)
            return self.put(Add(), sums, other)
        return sums

    def any_layer(self) -> int:
        self.any_sums()
        if self.chance(0.1):
            self.put(random_bias(self.rng, self.last))
        if self.chance(0.1):
            self.put(Sum())
        return self.threshold()

    def narrowed(self, windows: Windows) -> Windows:
        """Others with as many of them in an image."""
        less = [self.number(0, p) for p in windows.padding]
        size, padding = (
            tuple(v - n * d for v, d in zip(values, less, strict=True))
            for values, n in ((windows.size, 2), (windows.padding, 1))
        )
        if any(s <= p for s, p in zip(size, padding, strict=True)):
            return windows
        return Windows((size[0], size[1]), windows.stride, (padding[0], padding[1]))

    def block(self) -> int:
        """Bits; a shortcut past one convolution, or past two, some with a projection."""
        start = len(self.nodes) - 1
        kind = self.last
        first = self.window(3)
        halve = first if self.chance(0.5) else None
        if halve is not None:
            self.any_convolution(start, self.number(1, 6), halve, kind.complex)
            self.threshold()
        middle, outputs = len(self.nodes) - 1, self.last.channels
        padding = self.pair(0, 1)
        same = Windows((2 * padding[0] + 1, 2 * padding[1] + 1), padding=padding)
        if halve is None or self.chance(0.5):
            others, factors = [middle], [self.factor()]
        else:
            outputs, others, factors = self.number(1, 6), [], []
        sums = self.any_convolution(middle, outputs, same, kind.complex)
        if halve is not None and (not others or self.chance(0.5)):
            others.append(self.any_convolution(start, outputs, self.narrowed(halve), kind.complex))
            factors.append(1)
        if self.kinds[start].shape == self.kinds[sums].shape and start not in others:
            others.append(start)
            factors.append(self.factor())
        self.put(Add(tuple(factors)), sums, *others)
        return self.threshold()

    def factor(self) -> int:
        return int(self.rng.choice((-2, -1, 1, 2, 3, 5)))
