"""Networks whose operations, too, are random: whatever fits, in any order, small."""

from collections.abc import Callable

import numpy as np

from .convolution import MaxPool, Patches
from .examples import random_convolution, random_layer
from .layer import Format
from .network import Network, Node, Operation
from .operations import Add, Concat, Dense, Flatten, Input, Kind, Lookup, Select

CHANNELS = 3
"""Most channels of an image between two operations."""


def drawn(seed: int = 0) -> Network:
    """A network of up to a few nodes: vectors or images, odd shapes, any strides and padding."""
    return _Drawing(np.random.default_rng(seed)).network()


class _Drawing:
    """The nodes so far."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.nodes: list[Node] = []
        self.kinds: list[Kind] = []

    def network(self) -> Network:
        rng = self.rng
        image = rng.random() < 0.7
        shape = (*self.pair(1, 7), self.number(1, 3)) if image else (self.number(1, 12),)
        self.put(Input(shape, self.format()))
        for _ in range(self.number(1, 3)):
            image = len(self.last.shape) == 3
            self.any_of(*(
                [self.convolution, self.convolution, self.pool, self.patches, self.pixelwise]
                if image else [self.pixelwise]
            ), self.branches)  # fmt: skip
        if len(self.last.shape) == 3 and rng.random() < 0.6:
            self.put(Flatten())
            self.pixelwise()
        return Network(tuple(self.nodes))

    @property
    def last(self) -> Kind:
        return self.kinds[-1]

    def put(self, operation: Operation, *sources: int) -> int:
        """Adds a node, on the last one where no sources are named; returns its place."""
        place = len(self.nodes)
        sources = sources or ((place - 1,) if place else ())
        self.nodes.append(Node(f"{type(operation).__name__.lower()}{place}", operation, sources))
        self.kinds.append(operation.result(*(self.kinds[s] for s in sources)))
        return place

    def any_of(self, *makers: Callable[[], object]) -> None:
        makers[self.number(0, len(makers) - 1)]()

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pair(self, low: int, high: int) -> tuple[int, int]:
        return self.number(low, high), self.number(low, high)

    def format(self) -> Format:
        return Format(self.number(2, 8), bool(self.rng.integers(2)))

    def sizes(self) -> dict[str, int]:
        return {"codebooks": self.number(1, 3), "levels": self.number(1, 3)}

    def window(self, halved: bool = False) -> tuple[tuple[int, int], ...]:
        """A size that fits the last image, a stride, and a padding."""
        size, padding = [], []
        for side in self.last.shape[:2]:
            size.append(self.number(1, min(3, side + 1)))
            most = size[-1] // 2 if halved else size[-1] - 1
            padding.append(self.number(min(most, max(0, size[-1] - side)), most))
        return (size[0], size[1]), self.pair(1, 2), (padding[0], padding[1])

    def convolution(self, same: bool = False) -> None:
        """``same``: of the size that the image has."""
        kernel, stride, padding = self.window()
        if same:
            kernel, stride = tuple(2 * p + 1 for p in padding), (1, 1)
        self.put(random_convolution(
            self.rng, self.last.channels, self.number(1, CHANNELS), kernel=(kernel[0], kernel[1]),
            stride=(stride[0], stride[1]), padding=padding, input=self.last.format,
            output=self.format(), **self.sizes(),
        ))  # fmt: skip

    def pool(self) -> None:
        self.put(MaxPool(*self.window(halved=True)))

    def patches(self) -> None:
        self.put(Patches(*self.window()))
        self.dense()

    def pixelwise(self) -> None:
        self.any_of(self.lookup, self.lookup, self.dense)

    def lookup(self, output: Format | None = None) -> int:
        return self.put(Lookup(random_layer(
            self.rng, self.last.channels, self.number(1, 4), input=self.last.format,
            output=output or self.format(), **self.sizes(),
        )))  # fmt: skip

    def dense(self) -> None:
        weights = self.rng.integers(-9, 10, (self.last.channels, self.number(1, CHANNELS)))
        bias = self.rng.integers(-99, 99, weights.shape[1])
        self.put(Dense(weights, bias, self.last.format, self.number(0, 4), self.format()))

    def branches(self) -> None:
        """Two ways from the last node that meet again."""
        fork = len(self.nodes) - 1
        ends = []
        for _ in range(2):
            self.put(Select(tuple(self.rng.permutation(self.kinds[fork].channels).tolist())), fork)
            for _ in range(self.number(0, 2)):
                if len(self.last.shape) == 3 and self.rng.integers(2):
                    self.convolution(same=True)
                else:
                    self.pixelwise()
            ends.append(len(self.nodes) - 1)
        a, b = (self.kinds[end] for end in ends)
        if self.rng.integers(2):
            if a.format != b.format:
                ends[1] = self.lookup(a.format)
            self.put(Concat(), *ends)
            return
        channels = tuple(range(min(a.channels, b.channels)))
        ends = [self.put(Select(channels), end) for end in ends]
        self.put(Add(self.format(), self.pair(0, 2), self.number(0, 3)), *ends)
