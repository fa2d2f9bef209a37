"""Fine-tuning a network of integer layers: thresholds, tables and biases, by gradients.

Forwards, a batch meets exactly the integers of the network: hard codes, rounded tables, rounded
and saturated activations.  Backwards, a rounding is the identity, and a code is the product of
its path's probabilities, each ``sigmoid((x - threshold) / temperature)`` (straight-through; after
Stella Nera, Schönleber et al.).  Inputs that trees look at stay: a network that was streamlined
stays so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..threads import one_thread
from .convolution import Convolution, MaxPool, Patches
from .encoder import Encoder
from .layer import Format
from .network import Network, Node, Operation
from .operations import Add, Concat, Dense, Flatten, Input, Lookup, Select

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast."""

    epochs: int = 20
    batch: int = 128
    rate: float = 0.02
    """Of learning, at first; it falls to 0 along a cosine.  A step of Adam moves a table's entry
    by so much of the tables' standard deviation, a threshold by so much of its input's."""
    temperature: float = 0.3
    """Of the paths' probabilities, in standard deviations of a level's input."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "rate", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} is not above 0")


@dataclass(frozen=True)
class Tuned:
    """The result of :func:`finetune`."""

    network: Network
    losses: tuple[float, ...]
    """Of each epoch, on average."""


def finetune(
    network: Network,
    rows: np.ndarray,
    targets: np.ndarray,
    schedule: Schedule | None = None,
    *,
    loss: Loss = functional.cross_entropy,
    augment: Augment | None = None,
    device: str | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Tuned:
    """Trains ``network`` on integer ``rows`` [rows, *shape] with ``targets`` [rows, ...].

    ``loss(outputs, targets)`` is given the last node's values times a factor that is learned
    beside the tables; the default takes labels, or probabilities of the classes.  ``augment``
    changes a batch of rows before it is used.  ``device`` is CUDA's where there is one.  Tables
    keep their widths, counted from the least of each column.

    Raises :class:`ValueError` where rows and targets do not fit, or the loss is no number.
    """
    schedule = schedule or Schedule()
    if len(rows) != len(targets) or not len(rows):
        raise ValueError(f"{len(rows)} rows and {len(targets)} targets; give one for each")
    network(rows[:1])  # raises where rows are not what the input takes
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    inputs, wanted = torch.from_numpy(np.asarray(rows)), torch.from_numpy(np.asarray(targets))
    with one_thread():
        first = inputs[torch.linspace(0, len(inputs) - 1, min(512, len(inputs))).long()]
        model = Trainable(network, first, schedule.temperature).to(device)
        optimiser = torch.optim.Adam(list(model.groups(schedule.rate)), betas=(0.9, 0.99))
        random = torch.Generator().manual_seed(schedule.seed)
        batches = -(-len(inputs) // schedule.batch)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, schedule.epochs * batches)
        losses = []
        for epoch in range(schedule.epochs):
            total = 0.0
            for chosen in torch.randperm(len(inputs), generator=random).split(schedule.batch):
                batch = inputs[chosen] if augment is None else augment(inputs[chosen], random)
                optimiser.zero_grad()
                value = loss(model(batch.to(device)), wanted[chosen].to(device))
                if not value.isfinite():
                    raise ValueError(f"the loss is {value.item()}; lower the rate of learning")
                value.backward()
                optimiser.step()
                cosine.step()
                total += value.item() * len(chosen)
            losses.append(total / len(inputs))
            progress(f"epoch {epoch + 1} of {schedule.epochs}: loss {losses[-1]:.4g}")
    return Tuned(model.integers(), tuple(losses))


def shifted(size: tuple[int, int], pixels: int) -> Augment:
    """Moves each image by up to so many pixels up, down, left and right; zeros come in.

    Rows are images of ``size`` (height, width), channels last, flattened or not.
    """

    def augment(rows: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        images = rows.reshape(len(rows), *size, -1)
        padded = functional.pad(images, (0, 0, pixels, pixels, pixels, pixels))
        down, right = torch.randint(2 * pixels + 1, (2, len(rows), 1), generator=random)
        y, x = down + torch.arange(size[0]), right + torch.arange(size[1])
        each = torch.arange(len(rows))[:, None, None]
        return padded[each, y[:, :, None], x[:, None, :]].reshape(rows.shape)

    return augment


class Trainable(nn.Module):
    """A network whose tables and thresholds have gradients."""

    def __init__(self, network: Network, rows: torch.Tensor, temperature: float):
        super().__init__()
        self.network = network
        self.tabled = nn.ModuleDict()
        values = network.trace(rows.numpy())
        for place, node in enumerate(network.nodes):
            if isinstance(node.operation, Lookup | Convolution):
                source = values[node.sources[0]]
                pixels = source.reshape(-1, source.shape[-1]).astype(np.float32)
                tabled = _Tabled(node.operation, pixels.std(axis=0), temperature)
                self.tabled[str(place)] = tabled
        last = values[-1].astype(np.float64)
        spread = float((last - last.mean(axis=-1, keepdims=True)).std()) or 1.0
        self.factor = nn.Parameter(torch.tensor(float(np.log(4 / spread))))

    def groups(self, rate: float) -> Iterator[dict]:
        """What is trained, each with a rate of learning of its own."""
        for tabled in self.tabled.children():
            assert isinstance(tabled, _Tabled)
            unit = float(tabled.tables.detach().std()) or 1.0
            yield {"params": [tabled.tables, tabled.bias], "lr": rate * unit}
            yield {"params": [tabled.thresholds], "lr": rate}
        yield {"params": [self.factor], "lr": rate / 4}

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        values: list[torch.Tensor] = [rows.float()]
        for place, node in enumerate(self.network.nodes[1:], 1):
            sources = [values[s] for s in node.sources]
            if str(place) in self.tabled:
                values.append(self.tabled[str(place)](*sources))
            else:
                values.append(_plain(node.operation, *sources))
        return values[-1] * self.factor.exp()

    def integers(self) -> Network:
        """The network as it is now."""
        nodes = []
        for place, node in enumerate(self.network.nodes):
            operation = node.operation
            if str(place) in self.tabled:
                tabled = self.tabled[str(place)]
                assert isinstance(tabled, _Tabled)
                operation = tabled.integers()
            nodes.append(Node(node.name, operation, node.sources))
        return Network(tuple(nodes))


class _Tabled(nn.Module):
    """A lookup, or a convolution by lookup: one is the other with a kernel of one pixel."""

    dims: torch.Tensor
    units: torch.Tensor

    def __init__(self, operation: Lookup | Convolution, spread: np.ndarray, temperature: float):
        super().__init__()
        self.operation = operation
        of = operation.layer if isinstance(operation, Lookup) else operation
        self.levels, self.temperature = of.encoder.levels, temperature
        self.input, self.shift, self.output = of.input, of.shift, of.output
        spread = np.maximum(spread, 1.0)[of.encoder.dims]  # [codebooks, levels]
        nodes = np.repeat(spread, 1 << np.arange(self.levels), axis=1)
        self.register_buffer("dims", torch.from_numpy(of.encoder.dims))
        self.register_buffer("units", torch.from_numpy(nodes.astype(np.float32)))
        # A threshold's value lies half way between the integers that it separates.
        thresholds = torch.from_numpy(of.encoder.thresholds + 0.5).float()
        self.thresholds = nn.Parameter(thresholds / self.units)
        tables = torch.from_numpy(of.tables).float()
        self.tables = nn.Parameter(tables if tables.ndim == 5 else tables[None, None])
        self.bias = nn.Parameter(torch.from_numpy(of.bias).float())
        self.range = 2 ** int(tables.amax(-2).sub(tables.amin(-2)).max()).bit_length() - 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tables = self._tables()
        height, width, codebooks, prototypes, outputs = tables.shape
        if isinstance(self.operation, Lookup):
            codes = self._codes(x.reshape(-1, x.shape[-1])).flatten(1)
            sums = (codes @ tables.reshape(-1, outputs)).reshape(*x.shape[:-1], -1)
        else:
            py, px = self.operation.padding
            x = functional.pad(x, (0, 0, px, px, py, py))
            codes = self._codes(x.reshape(-1, x.shape[-1]))
            images = codes.reshape(*x.shape[:3], codebooks * prototypes).movedim(-1, 1)
            kernel = tables.reshape(height, width, -1, outputs).permute(3, 2, 0, 1)
            sums = functional.conv2d(images, kernel, None, self.operation.stride).movedim(1, -1)
        return _requantise(sums + _rounded(self.bias), self.shift, self.output)

    def _codes(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, codebooks, prototypes]: 1 at the code, with the gradient of the paths."""
        x = x[:, self.dims]
        hard = torch.ones_like(x[:, :, :1])
        soft = torch.ones_like(hard)
        for level in range(self.levels):
            nodes = slice((1 << level) - 1, (2 << level) - 1)
            over = x[:, :, level, None] - (self.thresholds * self.units)[:, nodes]
            right = torch.sigmoid(over / (self.units[:, nodes] * self.temperature))
            soft = torch.stack([soft * (1 - right), soft * right], -1).flatten(2)
            taken = (over > 0).float()
            hard = torch.stack([hard * (1 - taken), hard * taken], -1).flatten(2)
        return hard + (soft - soft.detach())

    def _tables(self) -> torch.Tensor:
        """Rounded, each column within its width."""
        rounded = self.tables.detach().round()
        least = rounded.amin(dim=-2, keepdim=True)
        return self.tables + (rounded.minimum(least + self.range) - self.tables.detach())

    def integers(self) -> Lookup | Convolution:
        """The operation as it is now, with unsigned tables."""
        with torch.no_grad():
            tables = self._tables().round().long().cpu().numpy()
            thresholds = (self.thresholds * self.units).double().cpu().numpy()
            bias = self.bias.round().long().cpu().numpy()
        least = tables.min(axis=3, keepdims=True)
        tables, bias = tables - least, bias + least.sum(axis=(0, 1, 2, 3))
        low, high = self.input.limits
        # x > t is x > floor(t) where x is an integer.
        thresholds = np.clip(np.floor(thresholds), low - 1, high).astype(np.int64)
        encoder = Encoder(self.dims.cpu().numpy(), thresholds)
        if isinstance(self.operation, Convolution):
            return replace(self.operation, encoder=encoder, tables=tables, bias=bias)
        layer = self.operation.layer
        return Lookup(replace(layer, encoder=encoder, tables=tables[0, 0], bias=bias))


def _plain(operation: Operation, *sources: torch.Tensor) -> torch.Tensor:
    """What has nothing to be trained, on floats that hold integers."""
    match operation:
        case Dense(weights, bias):
            matrix, offset = (torch.from_numpy(v).to(sources[0]) for v in (weights, bias))
            return _requantise(sources[0] @ matrix + offset, operation.shift, operation.output)
        case Add():
            a, b = (x * 2.0**shift for x, shift in zip(sources, operation.shifts, strict=True))
            return _requantise(a + b, operation.shift, operation.output)
        case Concat():
            return torch.cat(sources, -1)
        case Select(channels):
            return sources[0][..., list(channels)]
        case Flatten():
            return sources[0].flatten(1)
        case MaxPool(size, stride, padding):
            image = sources[0].movedim(-1, 1)
            return functional.max_pool2d(image, size, stride, padding).movedim(1, -1)
        case Patches((height, width), stride, (py, px)):
            padded = functional.pad(sources[0], (0, 0, px, px, py, py))
            view = padded.unfold(1, height, stride[0]).unfold(2, width, stride[1])
            return view.permute(0, 1, 2, 4, 5, 3).flatten(3)
        case Input() | Lookup() | Convolution():
            raise AssertionError("has tables, or is the input")


def _requantise(sums: torch.Tensor, shift: int, output: Format | None) -> torch.Tensor:
    if output is None:
        return sums
    low, high = output.limits
    scaled = sums / 2.0**shift
    rounded = torch.floor(scaled.detach() + 0.5)
    return (scaled + (rounded - scaled.detach())).clamp(low, high)


def _rounded(values: torch.Tensor) -> torch.Tensor:
    return values + (values.round() - values).detach()
