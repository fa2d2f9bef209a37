"""Layers of binary and binary complex networks as torch modules, to be trained.

A complex image of C channels is a real tensor [rows, 2 * C, height, width] whose channel 2c is the
real and 2c + 1 the imaginary part of channel c, as in :class:`.operations.Parts`: so torch's own
pooling, dropout and optimisers do, a real layer reads the parts of a complex one as they are, and
nothing needs complex numbers of the device.  A vector is [rows, 2 * C] likewise.

In evaluation mode all is exact, on any device: sums are the integers that they stand for, and batch
norm computes in double precision, in the order of :class:`.folding.Norm`.  So the network that
:mod:`.convert` makes of a module gives the same, bit for bit.

Weights are *latent* real numbers whose signs count (sgn(0) = 1).  Gradients go straight through
signs where what was binarised lies in -1..1, and are 0 elsewhere.
"""

from math import log2
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..windows import Pair
from .operations import Fill


class _Binarise(torch.autograd.Function):
    """1 where x >= 0, else -1; the gradient passes where -1 <= x <= 1."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        # Written as numbers at once: several times as fast as by way of truth values.
        return torch.ge(x, 0, out=torch.empty_like(x)).mul_(2).sub_(1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return torch.le(x.abs(), 1, out=torch.empty_like(x)).mul_(gradient)


def binarise(x: Tensor) -> Tensor:
    """The sign of every number, sgn(0) = 1: of a complex value's parts the quadrant it lies in.

    The gradient is that of ``x.clamp(-1, 1)``.
    """
    return cast(Tensor, _Binarise.apply(x))


def rounded(x: Tensor) -> Tensor:
    """The nearest integers; the gradient is that of ``x``."""
    return x + (x.round() - x).detach()


class Sign(nn.Module):
    """:func:`binarise`: bits, of a batch norm's results or of sums."""

    def forward(self, x: Tensor) -> Tensor:
        """1 and -1, of the shape of ``x``."""
        return binarise(x)


class Binary(nn.Module):
    """Of layers with weights: the latent ones, and which of them are there."""

    kept: Tensor
    """bool [outputs, channels, height, width]: False where pruned."""
    exploring: bool = False
    """In training, gradients reach pruned weights as if these were there: so they learn what they
    would be worth."""

    def __init__(
        self,
        channels: int,
        outputs: int,
        size: Pair,
        complex: bool,
        real_input: bool,
        block: Pair | None,
    ) -> None:
        super().__init__()
        if min(channels, outputs, *size) < 1:
            raise ValueError(
                f"{channels} channels, {outputs} outputs, a window of {size}: all >= 1"
            )
        if real_input and not complex:
            raise ValueError("real_input is for complex weights; real ones read nothing else")
        self.channels, self.outputs, self.size = channels, outputs, size
        self.complex, self.real_input = complex, real_input
        shape = (outputs, channels, *size)
        self.weight = nn.Parameter(torch.empty(*shape, 2) if complex else torch.empty(shape))
        self.register_buffer("kept", torch.ones(shape, dtype=torch.bool))
        self.block = block
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weights with E|w|**2 = 2 / (inputs + outputs), Glorot's rule.

        Parts of complex ones are independent and normal: magnitudes are Rayleigh distributed,
        phases uniform, as for deep complex networks (Trabelsi et al.), and quadrants are equally
        likely.
        """
        terms = (self.channels + self.outputs) * self.size[0] * self.size[1]
        nn.init.normal_(self.weight, std=((1 if self.complex else 2) / terms) ** 0.5)

    @property
    def block(self) -> Pair | None:
        """Outputs and channels that are pruned together; None where nothing is to be pruned."""
        return self._block

    @block.setter
    def block(self, block: Pair | None) -> None:
        if block is not None:
            rows, columns = block
            if min(block) < 1 or self.outputs % rows or self.channels % columns:
                raise ValueError(
                    f"blocks of {block} do not divide {self.outputs} outputs and "
                    f"{self.channels} channels"
                )
        self._block = block

    @torch.no_grad()
    def prune(self, kept: Tensor) -> None:
        """Keeps the blocks [outputs / rows, channels / columns, height, width] that are True.

        Raises :class:`ValueError` for another shape, and without a ``block``.
        """
        if self.block is None:
            raise ValueError("set `block`, the outputs and channels that are pruned together")
        rows, columns = self.block
        shape = (self.outputs // rows, self.channels // columns, *self.size)
        if tuple(kept.shape) != shape:
            raise ValueError(f"there are {shape} blocks of {self.block}, not {tuple(kept.shape)}")
        whole = kept.bool().repeat_interleave(rows, 0).repeat_interleave(columns, 1)
        self.kept.copy_(whole)

    def binary(self) -> Tensor:
        """1 and -1, and 0 where pruned: [outputs, channels, height, width], or [..., 2]."""
        kept = self.kept[..., None] if self.complex else self.kept
        weight = binarise(self.weight)
        if self.exploring and self.training:
            return weight * kept + (weight - weight.detach()) * ~kept
        return weight * kept

    def real(self) -> Tensor:
        """:meth:`binary` as real weights of parts: [(2) outputs, (2) channels, height, width]."""
        weight = self.binary()
        if not self.complex:
            return weight
        a, b = weight.unbind(-1)
        if self.real_input:
            return torch.stack((a, b), 1).flatten(0, 1)
        rows = torch.stack((a, -b), 2), torch.stack((b, a), 2)
        return torch.stack(rows, 1).flatten(2, 3).flatten(0, 1)

    def extra_repr(self) -> str:
        """The arguments."""
        what = f"{self.channels}, {self.outputs}, {self.size}"
        return (
            what
            + (", complex" if self.complex else "")
            + (f", block={self.block}" if self.block else "")
        )


class BinaryConv2d(Binary):
    """Sums of products with the signs of latent weights, complex ones with ``complex``::

        (A + iB) * (x + iy) = (A*x - B*y) + i (B*x + A*y)

    Of ``channels`` and to ``outputs`` channels, complex ones counted once.  What is read are bits,
    or integers in the first layer, where ``real_input`` says that the weights are complex and what
    they read is not.  Outside of the image lie zeros (``fill = "zero"``, as torch has it) or ones
    (1 + i).
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        fill: Fill = "zero",
        *,
        complex: bool = False,
        real_input: bool = False,
        block: Pair | None = None,
    ) -> None:
        super().__init__(channels, outputs, pair(size), complex, real_input, block)
        if fill not in ("zero", "one"):
            raise ValueError(f"fill = {fill!r}; 'zero' or 'one'")
        self.stride, self.padding = pair(stride), pair(padding)
        self.fill: Fill = fill

    def forward(self, x: Tensor) -> Tensor:
        """[rows, (2) outputs, ...]"""
        padding = self.padding
        if self.fill == "one" and any(padding):
            down, across = padding
            x, padding = functional.pad(x, (across, across, down, down), value=1.0), (0, 0)
        sums = functional.conv2d(x, self.real(), stride=self.stride, padding=padding)
        # Fast algorithms for convolutions do not compute with integers alone.
        return sums if self.training else rounded(sums)


class BinaryLinear(Binary):
    """A dense layer: a :class:`BinaryConv2d` of one pixel, on vectors [rows, (2) channels]."""

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        complex: bool = False,
        real_input: bool = False,
        block: Pair | None = None,
    ) -> None:
        super().__init__(channels, outputs, (1, 1), complex, real_input, block)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, (2) outputs]"""
        sums = functional.linear(x, self.real().flatten(1))
        return sums if self.training else rounded(sums)


class Flatten(nn.Module):
    """Images as vectors [rows, channels * height * width], parts beside each other."""

    def __init__(self, complex: bool = False) -> None:
        super().__init__()
        self.complex = complex

    def forward(self, x: Tensor) -> Tensor:
        """torch's order of channels, rows and columns; behind them the parts."""
        if not self.complex:
            return x.flatten(1)
        return x.unflatten(1, (-1, 2)).movedim(2, -1).flatten(1)


class BatchNorm(nn.Module):
    """Batch norm of vectors or images; of complex ones with one real scale a channel::

        z' = scale * (z - E z) / sqrt(E|z - E z|**2 + eps) + shift

    The variance is that of both parts together, the shift is complex.  A real scale keeps what is
    behind it foldable: a complex one would turn the plane, so that a sign depended on both parts.
    Training follows torch: the batch's own variance without Bessel's correction, running averages
    with it.
    """

    mean: Tensor
    """Running: [channels], or [2 * channels] of parts."""
    variance: Tensor
    """Running: [channels]."""

    def __init__(
        self, channels: int, complex: bool = False, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.channels, self.complex, self.eps, self.momentum = channels, complex, eps, momentum
        parts = 2 * channels if complex else channels
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(parts))
        self.register_buffer("mean", torch.zeros(parts))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape and kind of ``x``."""
        if self.training:
            return self._train(x)
        mean, variance, scale, shift = (
            v.double() for v in (self.mean, self.variance, self.scale, self.shift)
        )
        y = (x.double() - self._of(x, mean)) / self._of(x, (variance + self.eps).sqrt())
        y = y * self._of(x, scale) + self._of(x, shift)
        # Rounding must not make a zero of a negative number: its sign is all that counts.
        single = y.to(x.dtype)
        return torch.where(y < 0, single.clamp(max=-torch.finfo(x.dtype).tiny), single)

    def _train(self, x: Tensor) -> Tensor:
        """With the batch's statistics; keeps the running ones."""
        count = x.numel() // x.shape[1]
        if count < 2:
            raise ValueError("one value a channel has no variance; train with more rows")
        if not self.complex:
            return functional.batch_norm(
                x, self.mean, self.variance, self.scale, self.shift, True, self.momentum, self.eps
            )
        # Parts that are centred have a common mean of 0, and half of the variance in common.
        mean = x.mean([d for d in range(x.ndim) if d != 1])
        centred = (x - self._of(x, mean)).reshape(len(x), self.channels, -1)
        zeros, half = torch.zeros_like(self.variance), torch.zeros_like(self.variance)
        y = functional.batch_norm(
            centred, zeros, half, self.scale * 0.5**0.5, None, True, 1.0, self.eps / 2
        )
        with torch.no_grad():
            self.mean.lerp_(mean.to(self.mean), self.momentum)
            # torch corrected it for twice as many numbers as there are complex ones.
            self.variance.lerp_(half * ((2 * count - 1) / (count - 1)), self.momentum)
        return y.reshape(x.shape) + self._of(x, self.shift)

    def _of(self, x: Tensor, values: Tensor) -> Tensor:
        """``values``, one a channel or one a part, to go with ``x``."""
        if self.complex and len(values) == self.channels:
            values = values.repeat_interleave(2)
        return values.reshape(-1, *[1] * (x.ndim - 2))

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.channels}{', complex' if self.complex else ''}"


class Add(nn.Module):
    """Sums, plus ``factors[k]`` times the k-th other: bits (a shortcut), or sums (a projection,
    with a factor of 1)."""

    def __init__(self, *factors: int) -> None:
        super().__init__()
        if any(int(f) != f for f in factors):
            raise ValueError(f"factors are integers, not {factors}")
        self.factors = tuple(int(f) for f in factors) or (1,)

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Of the shape of each."""
        if len(others) != len(self.factors):
            raise ValueError(f"{len(self.factors)} factors for {len(others)} shortcuts")
        return first + sum(f * o for f, o in zip(self.factors, others, strict=True))


class PixelSum(nn.Module):
    """All pixels' sums added up, [rows, channels]: average pooling that stays an integer."""

    def forward(self, x: Tensor) -> Tensor:
        """Of [rows, channels, height, width]."""
        return x.sum((2, 3))


class Scores(nn.Module):
    """Logits of sums: ``scale * (sum + bias)`` with integer biases, learnt, and a fixed scale.

    The scale is the power of two nearest to ``1 / sqrt(terms)``, what sums of so many products
    spread by; a power of two, so that logits are the integers that an engine gives, exactly.
    """

    def __init__(self, outputs: int, terms: int) -> None:
        super().__init__()
        if terms < 1:
            raise ValueError(f"terms = {terms}; the products in a sum, at least 1")
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = 2.0 ** -round(log2(terms) / 2)

    @property
    def biases(self) -> Tensor:
        """Integers, in units of sums."""
        return rounded(self.bias / self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of ``x``: [rows, outputs] or images."""
        return (x + self.biases.reshape(-1, *[1] * (x.ndim - 2))) * self.scale


@torch.no_grad()
def clip(module: nn.Module) -> None:
    """Latent weights into -1..1, where they can still change: after every step of training."""
    for layer in module.modules():
        if isinstance(layer, Binary):
            layer.weight.clamp_(-1, 1)


def pair(value: int | Pair) -> Pair:
    """Both where one is given."""
    return (value, value) if isinstance(value, int) else value
