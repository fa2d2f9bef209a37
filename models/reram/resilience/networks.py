"""Networks of the sweeps as modules whose ReLUs are modules, batch norm folded."""

import torch
from torch import Tensor, nn

from ..resnet import Convolution, ResNet


class Residual(nn.Module):
    """:class:`..resnet.ResNet`, computing the same in floating point."""

    def __init__(self, network: ResNet) -> None:
        super().__init__()
        layers = network.convolutions
        self.first = _convolution(layers["conv1"])
        self.activation = nn.ReLU()
        names = [name.removesuffix("conv1") for name in layers if name.endswith(".conv1")]
        self.blocks = nn.Sequential(
            *[
                _Block(
                    layers[f"{name}conv1"],
                    layers[f"{name}conv2"],
                    layers.get(f"{name}downsample.0"),
                )
                for name in names
            ]
        )
        weight, bias = network.classifier
        self.classifier = nn.Linear(weight.shape[1], weight.shape[0])
        self.classifier.load_state_dict({"weight": weight, "bias": bias})
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores [batch, 10] of :meth:`..resnet.ResNet.pixels`."""
        return self.classifier(self.blocks(self.activation(self.first(pixels))).mean((2, 3)))


class _Block(nn.Module):
    def __init__(
        self, first: Convolution, second: Convolution, shortcut: Convolution | None
    ) -> None:
        super().__init__()
        self.first, self.inner = _convolution(first), nn.ReLU()
        self.second, self.outer = _convolution(second), nn.ReLU()
        self.shortcut = _convolution(shortcut) if shortcut else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.second(self.inner(self.first(x))) + self.shortcut(x))


def _convolution(layer: Convolution) -> nn.Conv2d:
    outputs, inputs = layer.weight.shape[:2]
    module = nn.Conv2d(inputs, outputs, layer.size, layer.stride, layer.size // 2)
    with torch.no_grad():
        module.weight.copy_(layer.weight)
        assert module.bias is not None
        module.bias.copy_(layer.bias)
    return module
