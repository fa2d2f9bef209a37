"""Small networks of random layers, each from a seed: for tests, and to try generators with.

Their layers are such that activations spread over the whole of their format.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ..windows import Pair
from .convolution import Convolution, MaxPool
from .encoder import Encoder
from .layer import Format, Layer
from .network import Network, Node
from .operations import BYTE, Add, Concat, Dense, Flatten, Input, Lookup

_SIGNED = Format(8, signed=True)


def random_encoder(
    rng: np.random.Generator, inputs: int, codebooks: int, levels: int, format: Format = BYTE
) -> Encoder:
    """Trees that look at random inputs; a threshold may be one that decides nothing."""
    low, high = format.limits
    dims = rng.integers(inputs, size=(codebooks, levels))
    return Encoder(dims, rng.integers(low - 1, high + 1, (codebooks, 2**levels - 1)))


def random_layer(
    rng: np.random.Generator,
    inputs: int,
    outputs: int,
    *,
    codebooks: int = 3,
    levels: int = 3,
    input: Format = BYTE,
    output: Format | None = BYTE,
    table_bits: int = 8,
) -> Layer:
    """Unsigned tables; sums centred in what :attr:`.Layer.output` holds."""
    encoder = random_encoder(rng, inputs, codebooks, levels, input)
    tables = rng.integers(1 << table_bits, size=(codebooks, encoder.prototypes, outputs))
    bias, shift = _centre(rng, codebooks, table_bits, outputs, output)
    return Layer(encoder, tables, bias, input, shift, output)


def random_convolution(
    rng: np.random.Generator,
    inputs: int,
    outputs: int,
    *,
    kernel: Pair = (3, 3),
    stride: Pair = (1, 1),
    padding: Pair = (1, 1),
    codebooks: int = 2,
    levels: int = 3,
    input: Format = BYTE,
    output: Format | None = BYTE,
    table_bits: int = 8,
) -> Convolution:
    """Likewise."""
    encoder = random_encoder(rng, inputs, codebooks, levels, input)
    shape = (*kernel, codebooks, encoder.prototypes, outputs)
    tables, terms = rng.integers(1 << table_bits, size=shape), codebooks * kernel[0] * kernel[1]
    bias, shift = _centre(rng, terms, table_bits, outputs, output)
    return Convolution(encoder, tables, bias, stride, padding, input, shift, output)


def _centre(
    rng: np.random.Generator, terms: int, bits: int, outputs: int, output: Format | None
) -> tuple[np.ndarray, int]:
    """A bias and a shift with which sums of so many random tables spread over ``output``."""
    spread = terms**0.5 * 2**bits  # from far below the mean to far above
    shift = 0 if output is None else max(round(np.log2(spread)) - output.bits, 0)
    low, high = (0, 0) if output is None else output.limits
    bias = (low + high << shift) / 2 - terms * (2**bits - 1) / 2
    return np.round(bias + rng.normal(0, spread / 8, outputs)).astype(np.int64), shift


def mlp(seed: int = 0, widths: tuple[int, ...] = (16, 12, 8, 5), codebooks: int = 3) -> Network:
    """Lookup layers in a row; the last one's sums are the result."""
    rng = np.random.default_rng(seed)
    nodes = [Node("x", Input((widths[0],)))]
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        output = None if i == len(widths) - 2 else BYTE
        layer = random_layer(rng, inputs, outputs, codebooks=codebooks, output=output)
        nodes.append(Node(f"layer{i}", Lookup(layer), (i,)))
    return Network(tuple(nodes))


def chain(seed: int = 0, height: int = 8, width: int = 7, channels: int = 8) -> Network:
    """Convolutions, one of them with a stride, pooling, and a layer on what is left."""
    rng = np.random.default_rng(seed)
    flat = _halves(_halves(height)) * _halves(_halves(width)) * channels
    return Network((
        Node("x", Input((height, width, 2))),
        Node("conv0", random_convolution(rng, 2, channels), (0,)),
        Node("pool", MaxPool((2, 2), (2, 2), (height % 2, width % 2)), (1,)),
        Node("conv1", random_convolution(rng, channels, channels, stride=(2, 2)), (2,)),
        Node("flat", Flatten(), (3,)),
        Node("classes", Lookup(random_layer(rng, flat, 5, output=None)), (4,)),
    ))  # fmt: skip


def residual(seed: int = 0, height: int = 6, width: int = 5, channels: int = 8) -> Network:
    """A residual block, a joint of two branches, and an exact layer."""
    rng = np.random.default_rng(seed)
    inner = random_convolution(rng, channels, channels, output=_SIGNED)
    narrow = random_convolution(rng, channels, 3, kernel=(1, 1), padding=(0, 0))
    wide = random_convolution(rng, channels, channels)
    flat = height * width * (channels + 3)
    weights, bias = rng.integers(-8, 8, (6, 4)), rng.integers(-8, 8, 4)
    return Network((
        Node("x", Input((height, width, 3))),
        Node("conv0", random_convolution(rng, 3, channels), (0,)),
        Node("conv1", random_convolution(rng, channels, channels), (1,)),
        Node("conv2", inner, (2,)),
        Node("sum", Add(BYTE, (1, 0), 1), (1, 3)),
        Node("narrow", narrow, (4,)),
        Node("wide", wide, (4,)),
        Node("joint", Concat(), (5, 6)),
        Node("flat", Flatten(), (7,)),
        Node("layer", Lookup(random_layer(rng, flat, 6, codebooks=5)), (8,)),
        Node("classes", Dense(weights, bias), (9,)),
    ))  # fmt: skip


def _halves(size: int) -> int:
    return (size + 1) // 2


EXAMPLES: dict[str, Callable[[int], Network]] = {"mlp": mlp, "chain": chain, "residual": residual}
"""By name, each from a seed."""
