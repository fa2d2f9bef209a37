"""Trained networks whose answers FPGA boards gave: the reference files ``binary_*.npz``.

Xilinx' BNN-PYNQ (BSD-3): a convolutional network for CIFAR-10's classes, and one of dense layers
for MNIST's digits, with weights and activations of one bit.  There bits are 1 and 0, and layers
count equal ones; of ``n`` products of 1 and -1 whose sum is s, ``(n + s) / 2`` are equal.  What is
left out here changes no answer: outputs beyond the 10 classes, and inputs that are always 0, which
are in the thresholds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..data import load
from .network import Network, Node
from .operations import Convolution, Input, Kind, MaxPool, Operation, Threshold

_CLASSES = 10

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Stored:
    """A network, what it reads, and what upstream answered."""

    network: Network
    inputs: np.ndarray
    """Rows of the network's input."""
    answers: np.ndarray
    """Of every row."""
    read: Callable[[np.ndarray], np.ndarray]
    """The answers in the network's results."""


def stored(name: Literal["cnv", "lfc"]) -> Stored:
    """One of the two by name; raises :class:`.data.MissingData`."""
    return {"cnv": cnv, "lfc": lfc}[name]()


def cnv() -> Stored:
    """Six convolutions without padding, two pools, three dense layers; two images of 32 x 32.

    The answers are the scores of ten classes, int64 [2, 10], as a board gave them: how many of
    512 products are 1.  Raises :class:`.data.MissingData`.
    """
    file = load("binary_cnv_cifar10.npz")
    # The range -1 to 1 in steps of 1/128, as upstream's host rounds it.
    pixels = np.floor((file["images"] / 255 * 2 - 1) * 128 + 0.5).clip(-128, 127).astype(np.int64)
    operations: list[Operation] = [Input((32, 32, 3), signed=True)]
    for layer in range(6):
        weights = _weights(file, layer)
        weights = weights.reshape(len(weights), 3, 3, -1)
        thresholds = file[f"t{layer}"].astype(np.int64)
        # The first layer's sums count halves; they fire above the threshold.
        sums = thresholds // 2 + 1 if layer == 0 else _sums(thresholds + 1, weights[0].size)
        operations += [Convolution(weights), _threshold(sums)]
        if layer in (1, 3):
            operations.append(MaxPool((2, 2), (2, 2)))
    for layer in (6, 7, 8):
        weights = _weights(file, layer)
        if layer == 8:
            operations.append(_dense(weights[:_CLASSES]))
            break
        sums = _sums(file[f"t{layer}"].astype(np.int64) + 1, weights.shape[1])
        operations += [_dense(weights), _threshold(sums)]
    last = weights.shape[1]
    return Stored(_chain(operations), pixels, file["scores"], lambda y: (_flat(y) + last) // 2)


def lfc() -> Stored:
    """Dense layers 784-1024-1024-1024-10; 1,000 of MNIST's test images, bright pixels being 1.

    The answers are upstream's predictions, int64 [1000]: the highest class whose bit is 1, or 0
    where no bit is.  Raises :class:`.data.MissingData`.
    """
    file = load("binary_lfc_mnist.npz")
    images = file["images"].reshape(len(file["images"]), 1, 1, -1)
    inputs = np.where(images / 255 * 2 - 1 >= 0, 1, -1)
    pixels = inputs.shape[-1]
    operations: list[Operation] = [Input((1, 1, pixels), bits=1)]
    for layer in range(4):
        weights = _weights(file, layer)
        sums = _sums(file[f"t{layer}"].astype(np.int64) + 1, weights.shape[1])
        if layer == 0:
            # Upstream pads images with bits that are 0.
            sums += weights[:, pixels:].sum(axis=1)
            weights = weights[:, :pixels]
        if layer == 3:
            weights, sums = weights[:_CLASSES], sums[:_CLASSES]
        operations += [_dense(weights), _threshold(sums)]
    answers = file["predictions"].astype(np.int64)
    return Stored(_chain(operations), inputs, answers, _highest)


def _weights(file: Arrays, layer: int) -> np.ndarray:
    """1 and -1 [outputs, products]."""
    bits = np.unpackbits(file[f"w{layer}"], axis=1)[:, : file[f"shape{layer}"][1]]
    return bits.astype(np.int64) * 2 - 1


def _sums(equal: np.ndarray, products: int) -> np.ndarray:
    """The sum of which so many products are 1."""
    return 2 * equal - products


def _dense(weights: np.ndarray) -> Convolution:
    return Convolution(weights[:, None, None])


def _threshold(sums: np.ndarray) -> Threshold:
    return Threshold(sums, np.zeros(sums.shape, bool))


def _chain(operations: list[Operation]) -> Network:
    """The operations in a row, thresholds clipped to what sums can need."""
    nodes, kind, layers = [], None, 0
    for place, operation in enumerate(operations):
        if isinstance(operation, Threshold):
            assert kind is not None
            clipped = operation.thresholds.clip(kind.low, kind.high + 1)
            operation = Threshold(clipped, operation.flips)
        layers += isinstance(operation, Convolution)
        name = f"{type(operation).__name__.lower()}{layers}"
        result: object = operation.result(*([] if kind is None else [kind]))  # type: ignore[call-arg]
        assert isinstance(result, Kind)
        kind = result
        nodes.append(Node(name, operation, (place - 1,) if place else ()))
    return Network(tuple(nodes))


def _flat(results: np.ndarray) -> np.ndarray:
    return results.reshape(len(results), -1)


def _highest(bits: np.ndarray) -> np.ndarray:
    return (np.arange(_CLASSES) * (_flat(bits) > 0)).max(axis=1)
