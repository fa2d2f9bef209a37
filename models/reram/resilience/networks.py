"""Networks of the sweeps as modules whose ReLUs are modules."""

from torch import Tensor, nn

from ..resnet import ResNet


class Residual(nn.Module):
    """:class:`..resnet.ResNet`, computing the same in floating point."""

    def __init__(self, network: ResNet, folded: bool = True) -> None:
        """Batch norm is ``folded`` into weights, which sets each filter's scale, or stays."""
        super().__init__()
        names = [name.removesuffix("conv1") for name in network.convolutions]
        self.first = _convolution(network, "conv1", folded)
        self.activation = nn.ReLU()
        self.blocks = nn.Sequential(
            *[_Block(network, name, folded) for name in names if name.endswith(".")]
        )
        weight, bias = network.classifier
        self.classifier = nn.Linear(weight.shape[1], weight.shape[0])
        self.classifier.load_state_dict({"weight": weight, "bias": bias})
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores [batch, 10] of :meth:`..resnet.ResNet.pixels`."""
        return self.classifier(self.blocks(self.activation(self.first(pixels))).mean((2, 3)))


class _Block(nn.Module):
    def __init__(self, network: ResNet, name: str, folded: bool) -> None:
        super().__init__()
        shortcut = f"{name}downsample.0"
        self.first, self.inner = _convolution(network, f"{name}conv1", folded), nn.ReLU()
        self.second, self.outer = _convolution(network, f"{name}conv2", folded), nn.ReLU()
        beside = shortcut in network.convolutions
        self.shortcut = _convolution(network, shortcut, folded) if beside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.second(self.inner(self.first(x))) + self.shortcut(x))


def _convolution(network: ResNet, name: str, folded: bool) -> nn.Module:
    layer = network.convolutions[name]
    outputs, inputs = layer.weight.shape[:2]
    module = nn.Conv2d(inputs, outputs, layer.size, layer.stride, layer.size // 2, bias=folded)
    if folded:
        module.load_state_dict({"weight": layer.weight, "bias": layer.bias})
        return module
    module.load_state_dict({"weight": network.weight(name)})
    norm = nn.BatchNorm2d(outputs)
    norm.load_state_dict(network.norm(name), strict=False)
    return nn.Sequential(module, norm)
