"""Whole networks by lookup, in integers: accuracy, fine-tuning, and what streamlining leaves."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..models import data
from ..models.amu.convert import Choice, Conversion, convert
from ..models.amu.convolution import Convolution
from ..models.amu.examples import EXAMPLES
from ..models.amu.finetune import Schedule, finetune, shifted
from ..models.amu.network import Network
from ..models.amu.operations import Lookup
from ..models.amu.streamline import Streamlined, streamline
from ..models.threads import one_thread
from .report import Bar, Progress, Row

TRAIN, TEST = slice(8000), slice(8000, None)
"""The rows that the MNIST network was trained on, and the others."""
_PEER = "halut's learner, layer by layer"


@dataclass(frozen=True)
class _Target:
    """What is asked of the MNIST network, by the length of its codebooks."""

    accuracy: float
    kept: float
    """Of the hidden layers' outputs, at most."""
    halut_kept: str
    tuned: float | None


_TARGETS = {
    8: _Target(0.9515, 0.48, "123 and 118 of 256", 0.96),
    16: _Target(0.9165, 0.25, "64 and 63 of 256", None),
}


def networks_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Streamlining of examples, and the MNIST network from conversion to fine-tuning."""
    yield from _examples(quick)
    for length in (16,) if quick else (16, 8):
        try:
            yield from _mnist(length, quick, progress)
        except data.MissingData as missing:
            yield Row.skip(f"MNIST by lookup, length {length}", str(missing))
    if not quick:
        try:
            yield from _convolutions(progress)
        except data.MissingData as missing:
            yield Row.skip("MNIST, convolutions by lookup", str(missing))


def mnist_mlp() -> nn.Sequential:
    """The trained 784-256-256-10 network; pixels are 0 to 1.

    Raises :class:`.data.MissingData`.
    """
    stored = data.load("mnist_fc_halut.npz")
    layers: list[nn.Module] = []
    for i in range(3):
        weight = torch.from_numpy(stored[f"W{i}"].T.copy())
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": torch.from_numpy(stored[f"b{i}"])})
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def convert_mnist(length: int, progress: Progress) -> Conversion:
    """All three layers by lookup, a codebook for so many inputs.

    Raises :class:`.data.MissingData`.
    """
    images, labels = data.mnist(fetch=True)
    rows = (images / 255).astype(np.float32)
    return convert(
        mnist_mlp(), rows[TRAIN], Choice(length=length),
        validation=rows[TEST], labels=labels[TEST],
        progress=lambda what: progress(f"MNIST, length {length}: {what}"),
    )  # fmt: skip


def _examples(quick: bool) -> Iterator[Row]:
    """Random networks before and after, on random rows."""
    seeds, rows = (3, 64) if quick else (20, 256)
    for name, example in EXAMPLES.items():
        different = kept = total = 0
        for seed in range(seeds):
            network = example(seed)
            slim = streamline(network)
            x = np.random.default_rng(seed).integers(0, 256, (rows, *network.input.shape))
            different += int((slim.network(x) != network(x)).sum())
            kept += sum(node.kept for node in slim.nodes)
            total += sum(node.total for node in slim.nodes)
        yield Row(f"streamlining {seeds} random networks ({name}), {rows} rows: values that differ",
                  different, Bar("==", 0), f"{kept:,} of {total:,} outputs kept")  # fmt: skip


def _mnist(length: int, quick: bool, progress: Progress) -> Iterator[Row]:
    target, what = _TARGETS[length], f"MNIST, all layers by lookup, length {length}"
    found = convert_mnist(length, progress)
    report, network = found.report, found.network
    books = ", ".join(str(layer.codebooks) for layer in report.layers)
    errors = ", ".join(f"{layer.error:.3f}" for layer in report.layers)
    yield Row(
        f"{what} (C = {books}): accuracy of the integers on {report.rows:,} other rows",
        report.accuracy, Bar(">=", target.accuracy),
        f"{target.accuracy:.2%} ({_PEER}); {report.float_accuracy:.2%} in floating point; layers' "
        f"errors {errors}",
    )  # fmt: skip
    slim = streamline(network)
    images, labels = data.mnist(fetch=True)
    test = images[TEST].astype(np.int64)
    yield from _streamlined(what, network, slim, test)
    hidden = slim.nodes[:-1]
    yield Row(f"{what}: outputs of hidden layers kept, the larger share",
              max(node.share for node in hidden), Bar("<=", target.kept),
              " and ".join(str(node.kept) for node in hidden) + " of 256; "
              f"{target.halut_kept} ({_PEER})")  # fmt: skip
    for pixels in (1,) if quick else (0, 1):
        epochs = 6 if quick else 20
        tuned = finetune(
            slim.network, images[TRAIN].astype(np.int64), labels[TRAIN], Schedule(epochs=epochs),
            augment=shifted((28, 28), pixels) if pixels else None,
            progress=lambda epoch: progress(f"{what}: {epoch}"),
        )  # fmt: skip
        how = f"{epochs} epochs" + (", images shifted by up to a pixel" if pixels else "")
        got = float((tuned.network(test).argmax(axis=1) == labels[TEST]).mean())
        bar = Bar(">=", target.tuned) if target.tuned is not None and pixels else None
        yield Row(f"{what}, fine-tuned ({how}): accuracy", got, bar)


def _convolutions(progress: Progress) -> Iterator[Row]:
    """A small convolution chain, trained here."""
    what = "MNIST, two convolutions and a layer by lookup"
    pixels, labels = data.mnist(fetch=True)
    images = torch.from_numpy(pixels.reshape(-1, 1, 28, 28) / 255).float()
    progress(f"{what}: training")
    with one_thread():
        module = _train(images[TRAIN], torch.from_numpy(labels[TRAIN]))
        found = convert(
            module, images[:2000], Choice(length=4),
            layers={"0": Choice(codebooks=1), "5": Choice(length=8)},
            validation=images[TEST], labels=labels[TEST],
            progress=lambda step: progress(f"{what}: {step}"),
        )  # fmt: skip
    report = found.report
    yield Row(f"{what}: accuracy of the integers", report.accuracy, None,
              f"{report.float_accuracy:.2%} in floating point; "
              + "; ".join(map(str, report.layers)))  # fmt: skip
    test = pixels[TEST].reshape(-1, 28, 28, 1).astype(np.int64)
    yield from _streamlined(what, found.network, streamline(found.network), test)


def _train(images: torch.Tensor, labels: torch.Tensor) -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(784, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(6):
        for batch in torch.randperm(len(images)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(images[batch]), labels[batch]).backward()
            optimiser.step()
    return module.eval()


def _streamlined(what: str, network: Network, slim: Streamlined, rows: np.ndarray) -> Iterator[Row]:
    different = int((slim.network(rows) != network(rows)).sum())
    yield Row(f"{what}, streamlined: values that differ", different, Bar("==", 0),
              "; ".join(str(slim).splitlines()))  # fmt: skip
    left, before = _entries(slim.network), _entries(network)
    yield Row(f"{what}: entries of tables left", left / before, None, f"{left:,} of {before:,}")


def _entries(network: Network) -> int:
    operations = [node.operation for node in network.nodes]
    return sum(
        (o.layer if isinstance(o, Lookup) else o).tables.size
        for o in operations if isinstance(o, Lookup | Convolution)
    )  # fmt: skip
