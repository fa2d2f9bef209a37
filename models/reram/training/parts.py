"""Layers whose weights lie in crossbars, as the matrices that lie there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ..config import ReramConfig
from ..mapping import Layout
from .sets import Rule, largest, polarised, polarities, quantised, whole_crossbars

Stage = Literal["prune", "polarise", "quantise"]
"""In this order; each keeps what those before have fixed."""


@dataclass(frozen=True)
class Pruning:
    """Shares that structured pruning keeps of a layer, rounded up to whole crossbars.

    What is kept moves together: fragments are those of the rows that remain.  The outputs of a
    network's last layer are its results: give it a ``Pruning`` of its own, by name.
    """

    outputs: float = 1.0
    """Of the filters: columns."""
    inputs: float = 1.0
    """Of the filter shapes: rows."""
    whole: bool = True
    """Whether counts are multiples of a crossbar's ``outputs`` and ``rows``, so that whole
    crossbars vanish; otherwise they are the shares, rounded."""

    def __post_init__(self) -> None:
        for name in ("outputs", "inputs"):
            if not 0 < (share := getattr(self, name)) <= 1:
                raise ValueError(f"{name} = {share} is no share to keep, above 0 and up to 1")


@dataclass
class Part:
    """A linear layer or a convolution, its weights as [inputs, outputs], and what binds them."""

    name: str
    module: nn.Linear | nn.Conv2d
    config: ReramConfig
    layout: Layout
    rule: Rule = "energy"
    pruning: Pruning | None = None
    inputs: Tensor = field(init=False)
    """int64: the rows that are kept."""
    outputs: Tensor = field(init=False)
    """int64: the columns that are kept."""
    signs: Tensor | None = None
    """1 or -1 [kept inputs, kept outputs], once fixed."""
    step: float | None = None
    """What an integer weight of 1 is worth, once fixed."""

    def __post_init__(self) -> None:
        matrix = self.whole()
        self.inputs, self.outputs = (
            torch.arange(size, device=matrix.device) for size in matrix.shape
        )

    def whole(self) -> Tensor:
        """The weights [inputs, outputs] with what was pruned."""
        weight = self.module.weight.detach()
        if weight.ndim == 4 and self.layout == "position":
            weight = weight.permute(0, 2, 3, 1)
        return weight.reshape(len(weight), -1).T

    def matrix(self) -> Tensor:
        """A copy of the weights [kept inputs, kept outputs]: what lies in crossbars."""
        return self.whole()[self.inputs[:, None], self.outputs]

    def shaped(self, matrix: Tensor) -> Tensor:
        """Such a matrix in the shape of the layer's weights, 0 where those were pruned."""
        whole = torch.zeros_like(self.whole())
        whole[self.inputs[:, None], self.outputs] = matrix
        shape = self.module.weight.shape
        if len(shape) == 4 and self.layout == "position":
            outputs, channels, height, width = shape
            return whole.T.reshape(outputs, height, width, channels).permute(0, 3, 1, 2)
        return whole.T.reshape(shape)

    def write(self, matrix: Tensor) -> None:
        """Takes the weights over; what was pruned is 0."""
        self.module.weight.data.copy_(self.shaped(matrix))

    @property
    def levels(self) -> int:
        """The largest magnitude of an integer weight."""
        return self.config.weight_limits[1]

    def project(self, stage: Stage, matrix: Tensor) -> Tensor:
        """The nearest weights of the stage's set that keep what is fixed."""
        if stage == "prune":
            outputs, inputs = self._kept(matrix)
            return matrix * inputs[:, None] * outputs
        if self.config.mapping == "polarised":
            signs = self.signs
            if signs is None:
                signs = polarities(matrix, self.config.fragment_rows, self.rule)
            matrix = polarised(matrix, signs)
        if stage == "quantise":
            whole, step = quantised(matrix, self.levels, self.step)
            matrix = whole * step
        return matrix

    def fix(self, stage: Stage) -> float:
        """Puts the weights into the stage's set for good: masks, signs or the step.

        Returns the share of the weights' sum of squares that is left.
        """
        matrix = self.matrix()
        before = matrix.square().sum()
        if not bool(before.isfinite()):
            raise ValueError(f"{self.name} has weights that are no numbers; train at a lower rate")
        if stage == "prune":
            outputs, inputs = self._kept(matrix)
            self.inputs, self.outputs = self.inputs[inputs], self.outputs[outputs]
            matrix = matrix[inputs][:, outputs]
        elif stage == "polarise":
            self.signs = polarities(matrix, self.config.fragment_rows, self.rule)
        else:
            self.step = quantised(self.project("polarise", matrix), self.levels)[1]
        matrix = self.project(stage, matrix) if stage != "prune" else matrix
        self.write(matrix)
        return float(matrix.square().sum() / before) if before else 1.0

    def bounds(self) -> Tensor:
        """What :func:`hold` takes: of every weight 1 or -1, its sign; 2 either; 0 pruned."""
        free = torch.full_like(self.matrix(), 2.0) if self.signs is None else self.signs
        return self.shaped(free)

    def turned(self, scales: Tensor) -> None:
        """Signs follow outputs [outputs] that were multiplied with ``scales``."""
        if self.signs is not None:
            self.signs = torch.where(scales[self.outputs] < 0, -self.signs, self.signs)

    def integers(self) -> Tensor:
        """int64 [kept inputs, kept outputs]: what the mapping takes; after ``fix('quantise')``."""
        if self.step is None:
            raise ValueError(f"{self.name} is not quantised yet")
        return quantised(self.matrix(), self.levels, self.step)[0].to(torch.int64)

    def _kept(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """bool: outputs and inputs that pruning leaves of a matrix."""
        pruning = self.pruning or Pruning()
        c, energy = self.config, matrix.square()
        units = (c.outputs, c.rows) if pruning.whole else (1, 1)
        columns = whole_crossbars(pruning.outputs, matrix.shape[1], units[0])
        outputs = largest(energy.sum(dim=0), columns)
        rows = whole_crossbars(pruning.inputs, matrix.shape[0], units[1])
        return outputs, largest((energy * outputs).sum(dim=1), rows)


def hold(weight: Tensor, bounds: Tensor) -> None:
    """Takes weights that have left their masks and signs back to the nearest that have not."""
    weight.mul_((weight * bounds > 0) | (bounds > 1))


def parts_of(
    module: nn.Module,
    config: ReramConfig,
    layout: Layout,
    rule: Rule = "energy",
    pruning: Pruning | Mapping[str, Pruning] | None = None,
    skip: tuple[str, ...] = (),
) -> list[Part]:
    """The linear layers and convolutions of ``module`` but those in ``skip``.

    Raises :class:`ValueError` for what no crossbar's mapping holds: groups, dilation, padding by
    other than zeros, transposed or other dimensions' convolutions, and shared weights; and for
    names in ``pruning`` or ``skip`` that no module has.
    """
    by_name = pruning if isinstance(pruning, Mapping) else {}
    unknown = {*by_name, *skip} - {name for name, _ in module.named_modules()}
    if unknown:
        raise ValueError(
            f"{type(module).__name__} has no part called {', '.join(sorted(unknown))}; "
            "named_modules() lists them"
        )
    found: list[Part] = []
    names: dict[int, str] = {}
    for name, layer in module.named_modules(remove_duplicate=False):
        if name in skip:
            continue
        if isinstance(layer, nn.Conv2d):
            _check(name, layer)
        elif isinstance(layer, nn.modules.conv._ConvNd):
            raise ValueError(
                f"{name} is a {type(layer).__name__}, which crossbars' mapping does not hold; "
                "write it as Conv2d, or name it in skip"
            )
        elif not isinstance(layer, nn.Linear):
            continue
        other = names.setdefault(id(layer.weight), name)
        if other != name:
            raise ValueError(
                f"{name} shares its weights with {other}; give it its own, or name both in skip"
            )
        kept = pruning.get(name) if isinstance(pruning, Mapping) else pruning
        found.append(Part(name, layer, config, layout, rule, kept))
    if not found:
        raise ValueError(f"{type(module).__name__} has no Linear or Conv2d to lie in crossbars")
    return found


def _check(name: str, layer: nn.Conv2d) -> None:
    if layer.groups != 1:
        raise ValueError(
            f"{name} has groups = {layer.groups}: a crossbar's columns see all rows; write it as "
            f"{layer.groups} convolutions, or name it in skip"
        )
    if any(step != 1 for step in layer.dilation):
        raise ValueError(
            f"{name} has dilation = {layer.dilation}, whose windows have gaps; take 1, or name it "
            "in skip"
        )
    if layer.padding_mode != "zeros":
        raise ValueError(
            f"{name} pads with {layer.padding_mode!r}; take 'zeros', or name it in skip"
        )
