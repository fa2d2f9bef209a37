"""The stored residual networks as modules: layers, norms and ReLUs are modules of their own."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """:class:`.resnet.ResNet` of the same state, in floating point."""

    def __init__(self, state: Mapping[str, np.ndarray]) -> None:
        """From the arrays of a state dict; in evaluation mode."""
        super().__init__()
        self.conv1, self.bn1 = _convolution(state["conv1.weight"].shape)
        self.relu = nn.ReLU()
        stages: dict[str, list[nn.Module]] = {}
        for name in state:
            stage, _, rest = name.partition(".")
            if rest.endswith(".conv1.weight"):
                prefix = name.removesuffix("conv1.weight")
                shapes = {
                    key.removeprefix(prefix): value.shape
                    for key, value in state.items()
                    if key.startswith(prefix)
                }
                stages.setdefault(stage, []).append(_Block(shapes))
        self.stages = list(stages)
        for stage, blocks in stages.items():
            self.add_module(stage, nn.Sequential(*blocks))
        outputs, features = state["classifier.2.weight"].shape
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, outputs)
        )
        self.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})
        self.eval()

    def blocks(self, pixels: Tensor) -> list[Tensor]:
        """What leaves the first layer, and each block."""
        found = [self.relu(self.bn1(self.conv1(pixels)))]
        for stage in self.stages:
            for block in self.get_submodule(stage).children():
                found.append(block(found[-1]))
        return found

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores [batch, 10] of :meth:`.resnet.ResNet.pixels`."""
        return self.classifier(self.blocks(pixels)[-1])


class _Block(nn.Module):
    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        first, shortcut = shapes["conv1.weight"], shapes.get("downsample.0.weight")
        stride = 2 if shortcut else 1
        self.conv1, self.bn1 = _convolution(first, stride)
        self.conv2, self.bn2 = _convolution(shapes["conv2.weight"])
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.downsample = nn.Sequential(*_convolution(shortcut, stride)) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu1(self.bn1(self.conv1(x)))
        beside = x if self.downsample is None else self.downsample(x)
        return self.relu2(self.bn2(self.conv2(inner)) + beside)


def _convolution(shape: tuple[int, ...], stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    outputs, inputs, size, _ = shape
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return layer, nn.BatchNorm2d(outputs)
