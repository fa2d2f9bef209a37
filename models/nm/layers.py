"""Layers to train, and the products that a training step makes of them."""

from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

Pass = Literal["forward", "backward", "gradient"]
PASSES: tuple[Pass, ...] = get_args(Pass)


@dataclass(frozen=True)
class Layer:
    """A convolution [outputs, inputs, kernel, kernel] of square kernels, or a linear layer: a
    convolution of images of one pixel."""

    name: str
    inputs: int
    """Channels."""
    outputs: int
    """Channels."""
    batch: int
    """Images."""
    height: int = 1
    """Of the input, in pixels."""
    width: int = 1
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    sparse: bool = True
    """Whether forward and backward products keep N of M weights."""
    backward: bool = True
    """Whether the gradient of the input is wanted; a network's first layer has no use for it."""

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "batch", "height", "width", "kernel", "stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"layer {self.name}: {name} = {getattr(self, name)} is below 1")
        if not 0 <= self.padding < self.kernel:
            raise ValueError(
                f"layer {self.name}: padding = {self.padding} is not from 0 to kernel - 1 = "
                f"{self.kernel - 1}"
            )
        if self.kernel > min(self.height, self.width) + 2 * self.padding:
            raise ValueError(
                f"layer {self.name}: kernel = {self.kernel} exceeds the padded image of "
                f"{self.height} x {self.width}; pad more"
            )

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the output."""
        height, width = (
            (size + 2 * self.padding - self.kernel) // self.stride + 1
            for size in (self.height, self.width)
        )
        return height, width

    @property
    def taps(self) -> int:
        """Pixels of a kernel."""
        return self.kernel**2

    @property
    def weights(self) -> int:
        """Their number."""
        return self.taps * self.inputs * self.outputs

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a dense forward product, as many as of the other passes."""
        return self.batch * prod(self.output) * self.weights

    @property
    def passes(self) -> tuple[Pass, ...]:
        """What a step makes."""
        return PASSES if self.backward else ("forward", "gradient")


def linear(name: str, inputs: int, outputs: int, batch: int, **more: bool) -> Layer:
    """A linear layer of ``batch`` rows."""
    return Layer(name, inputs, outputs, batch, **more)


def resnet18(batch: int, size: int = 224, width: int = 64, classes: int = 1000) -> list[Layer]:
    """The layers of a ResNet-18 on images of ``size`` pixels a side; ImageNet's by default.

    The first and the last layer are dense.  The first one's windows of 7 x 7 pixels are laid out
    in memory with the images, so to the array it is a convolution of one tap and 147 channels.
    """
    pixels = (size - 1) // 2 + 1
    layers = [
        Layer("conv1", 147, width, batch, pixels, pixels, sparse=False, backward=False),
    ]
    pixels = (pixels - 1) // 2 + 1  # pooling
    inputs = width
    for stage in range(4):
        outputs = width << stage
        for block in range(2):
            stride = 2 if stage and not block else 1
            name = f"layer{stage + 1}.{block}"
            layers.append(
                Layer(f"{name}.conv1", inputs, outputs, batch, pixels, pixels, 3, stride, 1)
            )
            if stride > 1:
                layers.append(
                    Layer(f"{name}.downsample", inputs, outputs, batch, pixels, pixels, 1, stride)
                )
            pixels = (pixels - 1) // stride + 1
            layers.append(Layer(f"{name}.conv2", outputs, outputs, batch, pixels, pixels, 3, 1, 1))
            inputs = outputs
    return [*layers, linear("fc", inputs, classes, batch, sparse=False)]
