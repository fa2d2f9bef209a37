"""Models of binary networks against PyTorch: sums, folded thresholds, converted networks."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..models.bcnn import layers
from ..models.bcnn.convert import convert, to_rows, to_tensor
from ..models.bcnn.drawn import random_convolution
from ..models.bcnn.folding import Norm, fold
from ..models.bcnn.operations import Convolution, Input, Kind
from ..models.windows import Windows
from .report import Bar, Progress, Row

SUMS = (1, 64, 2304, 27 * 255, 2 * 9 * 512)
"""The largest of some layers; the last two are of 8-bit colours, and a complex ResNet-18's."""


def model_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """What is to be equal, and in how many of how many cases it is not."""
    for part in (_convolutions, _thresholds, _converted):
        yield from part(quick, progress)


def _convolutions(quick: bool, progress: Progress) -> Iterator[Row]:
    """Golden convolutions and layers for training beside torch's, which are complex themselves."""
    cases = 1000 if quick else 5000
    progress(f"{cases} convolutions drawn at random")
    rng = np.random.default_rng(9)
    wrong, sums, layer_wrong, layer_sums = 0, 0, 0, 0
    for _ in range(cases):
        kind, made, x = _random_case(rng)
        wanted = _by_torch(made, kind, x)
        got = made(x)
        wrong, sums = wrong + int((got != wanted).sum()), sums + got.size
        layer = _layer(made, kind)
        for training in (True, False):
            y = layer.train(training)(to_tensor(x, kind))
            y = to_rows(y, made.result(kind))
            layer_wrong, layer_sums = layer_wrong + int((y != wanted).sum()), layer_sums + y.size
    what = "strides, paddings, fills 0 and 1 + i, pruned blocks, bits and integers at random"
    yield Row("golden convolutions: sums that differ from torch's in complex128", wrong,
              Bar("==", 0), f"{sums:,} of {cases:,} convolutions; {what}")  # fmt: skip
    yield Row("layers for training, in training and in evaluation: sums that differ", layer_wrong,
              Bar("==", 0), f"{layer_sums:,} of the same convolutions")  # fmt: skip


def _random_case(rng: np.random.Generator) -> tuple[Kind, Convolution, np.ndarray]:
    """A kind of source, a convolution for it, and rows of it."""
    size = rng.integers(1, 6, 2)
    shape = (*(size + rng.integers(0, 8, 2)), int(rng.integers(1, 25)))
    given = (
        Input(shape, 1, complex=bool(rng.integers(4)))
        if rng.integers(4)
        else Input(shape, 8, signed=bool(rng.integers(2)))
    )
    kind = given.result()
    stride, padding = (
        tuple(int(n) for n in pair) for pair in (rng.integers(1, 4, 2), rng.integers(0, size))
    )
    windows = Windows(
        (int(size[0]), int(size[1])), (stride[0], stride[1]), (padding[0], padding[1])
    )
    outputs = int(rng.integers(1, 17))
    made = random_convolution(
        rng, kind, outputs, windows,
        complex=kind.complex or (given.bits > 1 and bool(rng.integers(2))),
        fill="one" if given.bits == 1 and rng.integers(2) else "zero",
        block=(outputs, 1) if rng.integers(2) else None,
    )  # fmt: skip
    return kind, made, _random_rows(rng, given, 2)


def _random_rows(rng: np.random.Generator, given: Input, count: int) -> np.ndarray:
    kind = given.result()
    values = rng.integers(kind.low, kind.high + 1, (count, *kind.shape, 1 + kind.complex))
    values = np.where(values > 0, 1, -1) if kind.format == "bits" else values
    return values if kind.complex else values[..., 0]


def _by_torch(made: Convolution, kind: Kind, x: np.ndarray) -> np.ndarray:
    """The convolution, by complex numbers."""

    def complex_of(values: np.ndarray, both: bool) -> Tensor:
        real = torch.from_numpy(values.astype(np.float64))
        z = torch.view_as_complex(real) if both else real.to(torch.complex128)
        return z.permute(0, 3, 1, 2)

    z, weights = complex_of(x, kind.complex), complex_of(made.weights, made.complex)
    (down, across), (height, width) = made.padding, z.shape[2:]
    outside = 0 if made.fill == "zero" else 1 + 1j if kind.complex else 1
    padded = torch.full(
        (*z.shape[:2], height + 2 * down, width + 2 * across), outside, dtype=z.dtype
    )
    padded[:, :, down : down + height, across : across + width] = z
    y = functional.conv2d(padded, weights, stride=made.stride).permute(0, 2, 3, 1)
    y = torch.view_as_real(y.contiguous()).numpy()
    return y if made.complex else y[..., 0]


def _layer(made: Convolution, kind: Kind) -> layers.BinaryConv2d:
    """The layer that would be converted to this convolution."""
    layer = layers.BinaryConv2d(
        made.channels, made.outputs, made.size, made.stride, made.padding, made.fill,
        complex=made.complex, real_input=made.complex and not kind.complex, block=(1, 1),
    )  # fmt: skip
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(made.weights).movedim(3, 1))
    layer.prune(torch.from_numpy(made.kept).movedim(3, 1))
    return layer


def _thresholds(quick: bool, progress: Progress) -> Iterator[Row]:
    """Folded batch norms at every sum."""
    channels = 1024 if quick else 4096
    names = ("batch norm and sign as layers", "torch.nn.functional.batch_norm, no ties")
    wrong, signs, flips, constants, ties = [0, 0], [0, 0], 0, 0, 0
    for high in SUMS:
        progress(f"thresholds at every sum up to {high:,}")
        for awkward in (True, False):
            rng = np.random.default_rng((high, awkward))
            norm = _norm(rng, channels, high, awkward)
            kind = Kind((1, 1, channels), "accumulators", False, -high, high)
            threshold = fold(norm, kind)
            flips += int(threshold.flips.sum())
            sums = np.arange(-high, high + 1)
            constants += int(
                ((threshold.thresholds == -high) | (threshold.thresholds > high)).sum()
            )
            for part in np.array_split(sums, max(len(sums) * channels >> 20, 1)):
                x = np.broadcast_to(part[:, None], (len(part), channels))
                z = torch.from_numpy(x.astype(np.float64))
                got = threshold(x)
                wanted = _sign(_module(norm)(z))
                wrong[0] += int((got != wanted).sum())
                signs[0] += got.size
                if awkward:
                    ties += int((norm(x)[:, norm.scale != 0] == 0).sum())
                    continue
                numbers = (norm.mean, norm.variance, norm.scale, norm.shift)
                mean, variance, scale, shift = (torch.from_numpy(n) for n in numbers)
                y = functional.batch_norm(z, mean, variance, scale, shift, eps=norm.eps)
                wrong[1] += int((got != _sign(y)).sum())
                signs[1] += got.size
    yield Row(f"folded thresholds: signs that differ from {names[0]}, float64", wrong[0],
              Bar("==", 0), f"{signs[0]:,}: all from -n to n, n = {', '.join(map(str, SUMS))}, of "
              f"{2 * channels:,} channels each; {flips:,} negative scales, {constants:,} "
              f"constants, {ties:,} ties")  # fmt: skip
    yield Row(f"the same: signs that differ from {names[1]}, float64", wrong[1], Bar("==", 0),
              f"{signs[1]:,}; it rounds in another order")  # fmt: skip


def _norm(rng: np.random.Generator, channels: int, high: int, awkward: bool) -> Norm:
    """Batch norms as training leaves them, or with zeros, ties and numbers far out."""
    spread = high**0.5
    mean, scale, shift = (rng.normal(0, s, channels) for s in (spread, 1, 0.5))
    variance = high * rng.uniform(0.2, 2, channels)
    if awkward:
        where = rng.random((4, channels))
        mean = np.where(where[0] < 0.6, rng.integers(-2 * high, 2 * high + 1, channels) / 2, mean)
        shift = np.where(where[1] < 0.6, 0, shift)
        scale = np.where(where[2] < 0.1, 0, scale) * 10.0 ** rng.integers(-6, 3, channels)
        variance = np.where(where[3] < 0.3, 0, 10.0 ** rng.uniform(-6, 6, channels))
    return Norm(mean, variance, scale, shift)


def _module(norm: Norm) -> layers.BatchNorm:
    module = layers.BatchNorm(len(norm.mean), eps=norm.eps).double().eval()
    with torch.no_grad():
        for name in ("mean", "variance", "scale", "shift"):
            getattr(module, name).copy_(torch.from_numpy(getattr(norm, name)))
    return module


def _sign(x: Tensor) -> np.ndarray:
    return layers.binarise(x).detach().numpy()


class _Block(nn.Module):
    """Two convolutions past which a shortcut or a projection goes."""

    def __init__(self, channels: int, outputs: int, stride: int, complex: bool, factor: int):
        super().__init__()
        self.first = nn.Sequential(
            layers.BinaryConv2d(channels, outputs, 3, stride, 1, complex=complex, block=(4, 2)),
            layers.BatchNorm(outputs, complex),
            layers.Sign(),
        )
        self.second = layers.BinaryConv2d(outputs, outputs, 3, 1, 1, "one", complex=complex)
        same = stride == 1 and channels == outputs
        self.past = (
            nn.Identity()
            if same
            else layers.BinaryConv2d(channels, outputs, 1, stride, complex=complex)
        )
        self.add = layers.Add(factor if same else 1)
        self.last = nn.Sequential(layers.BatchNorm(outputs, complex), layers.Sign())

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.add(self.second(self.first(x)), self.past(x)))


def _random_module(rng: np.random.Generator, given: Input, complex: bool) -> nn.Module:
    """Residual blocks behind a first layer of integers, pools, and scores of either sort."""
    wide = int(rng.choice((8, 12)))
    parts: list[nn.Module] = [
        layers.BinaryConv2d(
            given.shape[2], wide, 3, padding=1, complex=complex, real_input=complex
        ),
        layers.BatchNorm(wide, complex),
        layers.Sign(),
    ]
    for _ in range(int(rng.integers(1, 4))):
        outputs, stride = wide + 4 * int(rng.integers(2)), int(rng.integers(1, 3))
        parts.append(_Block(wide, outputs, stride, complex, int(rng.integers(-3, 4)) or 1))
        wide = outputs
        if rng.integers(3) == 0:
            parts.append(nn.MaxPool2d(2, 1, 1))
    width = 2 * wide if complex else wide
    parts += [layers.BinaryConv2d(width, 10, 1), layers.PixelSum(), layers.Scores(10, 9 * width)]
    return nn.Sequential(*parts)


def _converted(quick: bool, progress: Progress) -> Iterator[Row]:
    """Networks converted from modules, rows at random."""
    for complex in (False, True):
        sort = "complex" if complex else "real"
        cases, rows = (30, 32) if quick else (100, 128)
        progress(f"{cases} {sort} networks converted")
        rng = np.random.default_rng(complex)
        torch.manual_seed(complex)
        wrong = total = thresholds = 0
        for _ in range(cases):
            given = Input((12, 10, 3), 8)
            module = _random_module(rng, given, complex)
            _settle(module, to_tensor(_random_rows(rng, given, 16), given.result()))
            network, x = convert(module, given), _random_rows(rng, given, rows)
            with torch.no_grad():
                y = module(to_tensor(x, given.result()))
            scores = module.get_submodule(str(len(list(module.children())) - 1))
            assert isinstance(scores, layers.Scores)
            wanted = to_rows(y / scores.scale, network.output)
            wrong, total = wrong + int((network(x) != wanted).sum()), total + wanted.size
            thresholds += sum(isinstance(m, layers.Sign) for m in module.modules())
        yield Row(f"{sort} networks converted from modules: scores that differ", wrong,
                  Bar("==", 0),
                  f"{total:,} of {cases} networks with {thresholds} thresholds")  # fmt: skip


@torch.no_grad()
def _settle(module: nn.Module, x: Tensor) -> None:
    """As after training: statistics of a batch, scales of either sign, weights pruned."""
    for layer in module.modules():
        if isinstance(layer, layers.BatchNorm):
            layer.scale.normal_()
            layer.shift.normal_(std=0.3)
            layer.momentum = 1.0
        elif isinstance(layer, layers.Binary) and layer.block is not None:
            rows, columns = layer.block
            layer.prune(torch.rand(layer.kept[::rows, ::columns].shape) < 0.6)
    module.train()(x)
    module.eval()
