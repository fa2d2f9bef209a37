"""A small convolutional network for scikit-learn's written digits, dense and in crossbars.

Three convolutions of 3x3 with batch norm and ReLU (16, 32 and 32 channels, halved in size after the
second and the third) and a linear layer.  1,297 of the 1,797 digits train, always the same; nothing
is done to them but the scaling to 0..1.

What was trained is kept in the cache of builds (``$THRESHER_CACHE`` or the user's cache folder),
under a hash of the sources, PyTorch's version and what was asked for.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path
from torch import Tensor, nn
from torch.nn import functional

from ... import data
from ...threads import one_thread
from .. import mapping
from ..config import ReramConfig
from ..mapping import Layout
from .admm import Batches, Schedule, one_cycle
from .convert import Converted, Laid, convert, laid
from .norms import fold
from .parts import parts_of
from .sets import Rule

EPOCHS, BATCH, RATE = 20, 32, 4e-3
"""Of the dense network."""
SCHEDULE = Schedule(rounds=6, retrain=12, rate=4e-3)
"""Of polarisation."""
_TEST = 500
_SOURCES = data.__file__, mapping.__file__
"""Besides the training's own, what a trained network depends on."""


@dataclass(frozen=True)
class Split:
    """Images float32 [count, 1, 8, 8] from 0 to 1, in steps of 1/16, and labels int64 [count]."""

    images: Tensor
    labels: Tensor

    def accuracy(self, module: nn.Module) -> float:
        """Share of the images whose label the module in evaluation mode finds."""
        with torch.no_grad():
            return float((module(self.images).argmax(dim=1) == self.labels).float().mean())


@dataclass(frozen=True)
class Trained(Converted):
    """A network in crossbars, with what it comes from."""

    dense: nn.Module
    """As it was before, in floating point with batch norms; in evaluation mode."""
    seconds: float
    """Of the processor, one thread, from the dense network to this one; as it was measured when it
    was trained."""


def splits() -> tuple[Split, Split]:
    """Images to train with and 500 to test with.  Raises :class:`..data.MissingData`."""
    pixels, labels = data.digits()
    images = torch.from_numpy(pixels.reshape(-1, 1, 8, 8) / np.float32(16))
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(images)))
    test, train = order[:_TEST], order[_TEST:]
    found = torch.from_numpy(labels)
    return Split(images[train], found[train]), Split(images[test], found[test])


def network(seed: int = 0) -> nn.Sequential:
    """Not trained yet."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            *block(1, 16), *block(16, 32), nn.MaxPool2d(2), *block(32, 32), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(128, 10),
        )  # fmt: skip


def batches(split: Split, seed: int, size: int = BATCH) -> Batches:
    """Epochs in random order."""
    generator = torch.Generator().manual_seed(seed)

    def epoch() -> list[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(split.images), generator=generator)
        return [(split.images[some], split.labels[some]) for some in order.split(size)]

    return epoch


def dense_digits(seed: int = 0) -> nn.Sequential:
    """The trained network in floating point; in evaluation mode."""
    module = network(seed)

    def train() -> dict[str, np.ndarray]:
        epochs, optimiser = batches(splits()[0], seed), torch.optim.Adam(module.parameters())
        for epoch in range(EPOCHS):
            for group in optimiser.param_groups:
                group["lr"] = RATE * one_cycle((epoch + 0.5) / EPOCHS)
            for images, labels in epochs():
                optimiser.zero_grad()
                functional.cross_entropy(module(images), labels).backward()
                optimiser.step()
        return _state(module)

    _load(module, _cached(f"dense {seed}", train))
    return module.eval()


def polarised_digits(
    config: ReramConfig, seed: int = 0, layout: Layout = "channel", rule: Rule = "energy"
) -> Trained:
    """The network with the weights that ``config``'s crossbars hold.

    A mapping other than ``polarised`` leaves quantisation alone.  Trained on first use (seconds).
    Raises :class:`..data.MissingData` where scikit-learn is not installed.
    """
    dense = dense_digits(seed)

    def train() -> dict[str, np.ndarray]:
        started = time.process_time()
        found = convert(
            dense, config, batches(splits()[0], seed + 1), layout=layout, rule=rule,
            schedules={"polarise": SCHEDULE},
        )  # fmt: skip
        arrays = {"seconds": np.array(time.process_time() - started)} | _state(found.module)
        for name, layer in found.layers.items():
            shares = json.dumps(dict(layer.kept))
            arrays |= {f"{name}.step": np.array(layer.step), f"{name}.kept": np.array(shares)}
        return arrays

    arrays = _cached(f"{config.model_dump_json()} {seed} {layout} {rule}", train)
    module = network(seed).eval()
    fold(module)
    _load(module, arrays)
    layers: dict[str, Laid] = {}
    for part in parts_of(module, config, layout, rule):
        part.step = float(arrays[f"{part.name}.step"])
        layers[part.name] = laid(part, json.loads(str(arrays[f"{part.name}.kept"])))
    return Trained(module, layers, dense, float(arrays["seconds"]))


def _state(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


def _load(module: nn.Module, arrays: dict[str, np.ndarray]) -> None:
    names = module.state_dict()
    module.load_state_dict({name: torch.from_numpy(arrays[name]) for name in names})


def _cached(what: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What ``make`` gives on one thread, or gave before."""
    sources = [*sorted(Path(__file__).parent.glob("*.py")), *map(Path, _SOURCES)]
    parts = [what.encode(), torch.__version__.encode(), *(path.read_bytes() for path in sources)]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]
    given = os.environ.get("THRESHER_CACHE")
    folder = Path(given).expanduser() if given else user_cache_path("thresher") / "builds"
    made = folder / key / "trained.npz"
    if not made.is_file():
        with one_thread():
            arrays = make()
        made.parent.mkdir(parents=True, exist_ok=True)
        partial = made.with_name(f"{os.getpid()}.npz")
        np.savez(partial, allow_pickle=False, **arrays)
        partial.replace(made)  # at once: another process may be reading
    os.utime(made.parent)  # what was not used for longest is evicted first
    with np.load(made, allow_pickle=False) as file:
        return dict(file)
