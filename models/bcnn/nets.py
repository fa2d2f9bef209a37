"""Networks of one topology in three arithmetics: real, binary and binary complex.

``real``: weights and activations in floating point, with ReLU.  ``binary``: signs, but for the
pixels that enter, which are integers.  ``complex``: quadrants likewise; a complex channel is two
bits and a complex weight two, so that a network of as many channels has twice the bits.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from . import layers
from .layers import BatchNorm, BinaryConv2d, PixelSum, Scores, Sign

Sort = Literal["real", "binary", "complex"]
SORTS: tuple[Sort, ...] = ("real", "binary", "complex")

NIN = ((192, 5), (160, 1), (96, 1), (192, 5), (192, 1), (192, 1), (192, 3), (192, 1))
"""Outputs and windows of Network in Network for CIFAR; pools lie behind the third and the sixth."""
RESNET18 = (64, 128, 256, 512)
"""Channels of its four steps, two blocks each."""
SHORTCUT = 8
"""What a shortcut's bit counts beside sums of products: about a third of what those spread by."""


class Sums(nn.Sequential):
    """A convolution and the batch norm behind it."""

    def __init__(
        self, sort: Sort, channels: int, outputs: int, size: int, stride: int = 1,
        first: bool = False,
    ):  # fmt: skip
        super().__init__(
            convolution(sort, channels, outputs, size, stride, first), norm(sort, outputs)
        )


def convolution(
    sort: Sort, channels: int, outputs: int, size: int, stride: int = 1, first: bool = False
) -> nn.Module:
    """With zeros around the image, of half a window; the ``first`` one reads real pixels."""
    if sort == "real":
        return nn.Conv2d(channels, outputs, size, stride, size // 2, bias=False)
    return BinaryConv2d(
        channels, outputs, size, stride, size // 2, complex=sort == "complex",
        real_input=first and sort == "complex",
    )  # fmt: skip


def norm(sort: Sort, channels: int) -> nn.Module:
    """Batch norm."""
    return nn.BatchNorm2d(channels) if sort == "real" else BatchNorm(channels, sort == "complex")


def activation(sort: Sort) -> nn.Module:
    """ReLU or signs."""
    return nn.ReLU() if sort == "real" else Sign()


def head(sort: Sort, channels: int, classes: int, pixels: int) -> nn.Sequential:
    """Classes of every pixel, added up: logits.  Of complex channels both parts count."""
    if sort == "real":
        return nn.Sequential(nn.Conv2d(channels, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    channels *= 2 if sort == "complex" else 1
    return nn.Sequential(
        BinaryConv2d(channels, classes, 1), PixelSum(), Scores(classes, channels * pixels)
    )


def plain(
    sort: Sort, image: tuple[int, int, int], widths: Sequence[int], pools: Sequence[int],
    classes: int = 10, sizes: Sequence[int] | None = None, window: int = 2,
) -> nn.Sequential:  # fmt: skip
    """Convolutions in a row, of ``widths`` outputs and windows of ``sizes`` pixels (3 by default).

    ``image``: height, width, channels.  Behind the convolutions that ``pools`` counts, from 1,
    lie max pools of ``window`` pixels and stride 2.
    """
    height, width, channels = image
    padding = window // 2 if window % 2 else 0
    made: list[nn.Module] = []
    for n, (outputs, size) in enumerate(zip(widths, sizes or [3] * len(widths), strict=True), 1):
        made += [*Sums(sort, channels, outputs, size, first=n == 1), activation(sort)]
        if n in pools:
            made.append(nn.MaxPool2d(window, 2, padding))
            height, width = ((side + 2 * padding - window) // 2 + 1 for side in (height, width))
        channels = outputs
    return nn.Sequential(*made, head(sort, channels, classes, height * width))


def nin(sort: Sort, width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """Network in Network for images of 32 x 32 x 3; ``width`` times its channels."""
    widths = [round(outputs * width) for outputs, _ in NIN]
    sizes = [size for _, size in NIN]
    return plain(sort, (32, 32, 3), widths, (3, 6), classes, sizes, window=3)


class Block(nn.Module):
    """Two convolutions with a shortcut of what enters, or a projection where its shape changes.

    Where there are bits, the shortcut is added to the second convolution's sums, in front of the
    batch norm, as an integer: so a sign of both remains a threshold.
    """

    def __init__(self, sort: Sort, channels: int, outputs: int, stride: int = 1):
        super().__init__()
        self.first = nn.Sequential(Sums(sort, channels, outputs, 3, stride), activation(sort))
        self.second = convolution(sort, outputs, outputs, 3)
        changes = stride != 1 or channels != outputs
        self.side = convolution(sort, channels, outputs, 1, stride) if changes else nn.Identity()
        self.add = layers.Add(1 if changes or sort == "real" else SHORTCUT)
        self.last = nn.Sequential(norm(sort, outputs), activation(sort))

    def forward(self, x: Tensor) -> Tensor:
        """[rows, (2) outputs, ...]"""
        return self.last(self.add(self.second(self.first(x)), self.side(x)))


def resnet(
    sort: Sort, image: tuple[int, int, int], steps: Sequence[int], blocks: int = 2,
    classes: int = 10,
) -> nn.Sequential:  # fmt: skip
    """A convolution, and steps of residual blocks, all but the first halving the image."""
    side = image[0]
    made: list[nn.Module] = [
        Sums(sort, image[2], steps[0], 3, first=True), activation(sort)
    ]  # fmt: skip
    channels = steps[0]
    for step, outputs in enumerate(steps):
        for block in range(blocks):
            stride = 2 if step and not block else 1
            made.append(Block(sort, channels, outputs, stride))
            side, channels = -(-side // stride), outputs
    return nn.Sequential(*made, head(sort, channels, classes, side * side))


def resnet18(sort: Sort, width: float = 1.0, classes: int = 10) -> nn.Sequential:
    """ResNet-18 for images of 32 x 32 x 3; ``width`` times its channels."""
    return resnet(sort, (32, 32, 3), [round(c * width) for c in RESNET18], 2, classes)
