"""What weights that crossbars hold cost a trained network, as rows."""

import itertools
from collections.abc import Iterator
from typing import get_args

import numpy as np
import torch

from ..models import data
from ..models.reram.config import ReramConfig
from ..models.reram.mapping import Layout
from ..models.reram.resnet import ResNet
from ..models.reram.training.admm import Schedule
from ..models.reram.training.convert import convert
from ..models.reram.training.digits import (
    SCHEDULE,
    Split,
    Trained,
    batches,
    dense_digits,
    polarised_digits,
    splits,
)
from ..models.reram.training.digits_residual import (
    dense_residual,
    enlarged,
    polarised_residual,
)
from ..models.reram.training.distil import folds, polarised_resnet
from ..models.reram.training.parts import Pruning
from ..models.reram.training.placed import placed
from ..models.reram.training.sets import Rule
from ..models.threads import one_thread
from .report import Bar, Progress, Row

_SEEDS = 3
_POINTS = {4: 0.7, 8: 1.5, 16: 4.0}
"""That polarised weights may cost on the digits, by rows of a fragment."""
_SECONDS = 60
_RESNET_POINTS = {4: 2.5, 8: 4.0}
"""Likewise for ResNet-14."""
_FOLDS = 4


def training_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Polarised and quantised networks, and beside them what they are not."""
    try:
        yield from _digits(quick, progress)
    except data.MissingData as missing:
        yield Row.skip("digits: accuracy lost to polarised weights", str(missing))
    try:
        yield from _residual(progress)
        if not quick:
            yield from _resnet(progress)
    except data.MissingData as missing:
        yield Row.skip("ResNet-14: accuracy lost to polarised weights", str(missing))


def _config(rows: int, mapping: str = "polarised") -> ReramConfig:
    """With ADCs that lose nothing."""
    fields = {"fragment_rows": rows, "input_bits": 8, "mapping": mapping}
    lossless = ReramConfig.model_validate(fields).lossless_adc_bits
    return ReramConfig.model_validate(fields | {"adc_bits": lossless})


def _digits(quick: bool, progress: Progress) -> Iterator[Row]:
    train, test = splits()
    base = _mean(test.accuracy(dense_digits(seed)) for seed in range(_SEEDS))
    what = f"digits, mean of {_SEEDS} seeds"
    yield Row(f"{what}: accuracy in floating point", base, None, "500 digits that did not train")
    progress("digits, 8 bits")
    dense = _mean(
        test.accuracy(polarised_digits(_config(8, "dual"), seed).module) for seed in range(_SEEDS)
    )
    yield Row(f"{what}: points lost to 8-bit weights alone", 100 * (base - dense), None)
    layouts: tuple[Layout, ...] = get_args(Layout)[: 1 if quick else None]
    rules: tuple[Rule, ...] = get_args(Rule)[: 1 if quick else None]
    for rows, layout, rule in itertools.product(_POINTS, layouts, rules):
        name = f"{what}, fragments of {rows}, {layout}-major, signs by {rule}"
        found: list[Trained] = []
        for seed in range(_SEEDS):
            progress(f"{name}, seed {seed}")
            found.append(polarised_digits(_config(rows), seed, layout, rule))
        yield from _judged(name, rows, test, base, found)
        on_crossbars = _mean(
            test.accuracy(placed(each, train.images[:100], layout)) for each in found
        )
        yield Row(f"{name}: points lost on crossbars with inputs of 8 bits, too",
                  100 * (base - on_crossbars), Bar("<=", _POINTS[rows]),
                  f"ADCs of {_config(rows).adc_bits} bits")  # fmt: skip
        if (layout, rule) == (layouts[0], rules[0]):
            none = Schedule(rounds=0, retrain=0)
            naive = convert(
                dense_digits(), _config(rows), list,
                schedules={"polarise": none, "quantise": none},
            )  # fmt: skip
            yield Row(f"digits, fragments of {rows}: accuracy of the nearest polarised weights "
                      "without training", test.accuracy(naive.module), None,
                      "one seed; chance is 0.1")  # fmt: skip
    yield from _pruned(test, train, progress)


def _pruned(test: Split, train: Split, progress: Progress) -> Iterator[Row]:
    """Half of the filters and filter shapes between the first and the last layer."""
    config = ReramConfig(rows=32, columns=32, input_bits=8)
    half = Pruning(outputs=0.5, inputs=0.5)
    pruning = {"3": half, "7": half, "12": Pruning(inputs=0.5)}
    progress("digits, pruned")
    dense = dense_digits()
    with one_thread():
        found = convert(
            dense, config, batches(train, 1), pruning=pruning,
            schedules={"prune": SCHEDULE, "polarise": SCHEDULE},
        )  # fmt: skip
    before, after = found.crossbars
    what = "digits, half of filters and shapes pruned, fragments of 8, crossbars of 32 x 32, a seed"
    yield Row(f"{what}: crossbars saved, times", before / after, None, f"{before} to {after}")
    lost = 100 * (test.accuracy(dense) - test.accuracy(found.module))
    yield Row(f"{what}: points lost", lost, Bar("<=", _POINTS[8]))


def _residual(progress: Progress) -> Iterator[Row]:
    """ResNet-14 where there are images to train with."""
    state, test = data.load("crossbar/resnet14_cifar10_state.npz"), enlarged()[1]
    what = "ResNet-14 on digits of 16 x 16, one seed"
    progress(what)
    base = test.accuracy(dense_residual(state))
    yield Row(f"{what}: accuracy in floating point", base, None,
              "a substitute: there is no training set of CIFAR-10 here")  # fmt: skip
    for rows, points in _RESNET_POINTS.items():
        name = f"{what}, fragments of {rows}"
        progress(name)
        found, seconds = polarised_residual(state, _config(rows))
        for layer in found.layers.values():
            layer.mapping()  # refuses fragments of both signs
        lost = 100 * (base - test.accuracy(found.module))
        yield Row(f"{name}: points lost", lost, Bar("<=", points), f"{seconds:.0f} s")
        yield Row(f"{name}: fragments with both signs, laid out", found.violations, Bar("==", 0))


def _resnet(progress: Progress) -> Iterator[Row]:
    """Taught by itself, with no more than the 400 test images at hand, each judged unseen.

    Without bars: 300 images are too few to teach what 50,000 have taught.
    """
    state = data.load("crossbar/resnet14_cifar10_state.npz")
    file = data.load("crossbar/cifar10_jpeg_test400.npz")
    images, labels = file["images"], file["labels"]
    pixels = ResNet.pixels(images)
    with one_thread(), torch.no_grad():
        trained = ResNet(state)(pixels).argmax(dim=1).numpy()
    base = float((trained == labels).mean())
    what = f"ResNet-14, {len(labels)} JPEG images"
    yield Row(f"{what}: accuracy in floating point", base, None, "state and images as stored")
    for rows in _RESNET_POINTS:
        name = f"{what}, fragments of {rows}"
        found, violations, seconds = np.empty_like(trained), 0, 0.0
        for number, (taught, judged) in enumerate(folds(labels, _FOLDS)):
            progress(f"{name}, fold {number}")
            pupil, took = polarised_resnet(state, _config(rows), images[taught])
            with one_thread(), torch.no_grad():
                found[judged] = pupil.module(pixels[judged]).argmax(dim=1).numpy()
            for layer in pupil.layers.values():
                layer.mapping()  # refuses fragments of both signs
            violations, seconds = violations + pupil.violations, seconds + took
        accuracy, agreed = float((found == labels).mean()), float((found == trained).mean())
        yield Row(f"{name}: points lost", 100 * (base - accuracy), None,
                  f"{_FOLDS} folds, taught by its own scores with the images of the "
                  f"others, without labels; {agreed:.1%} classified as before; "
                  f"{seconds / _FOLDS:.0f} s a fold")  # fmt: skip
        yield Row(f"{name}: fragments with both signs, laid out", violations, Bar("==", 0))


def _judged(name: str, rows: int, test: Split, base: float, found: list[Trained]) -> Iterator[Row]:
    accuracies = [test.accuracy(each.module) for each in found]
    each = ", ".join(f"{accuracy:.1%}" for accuracy in accuracies)
    yield Row(f"{name}: points lost", 100 * (base - _mean(accuracies)), Bar("<=", _POINTS[rows]),
              f"accuracies {each}")  # fmt: skip
    for trained in found:
        for layer in trained.layers.values():
            layer.mapping()  # refuses fragments of both signs
    violations = sum(trained.violations for trained in found)
    yield Row(f"{name}: fragments with both signs, laid out", violations, Bar("==", 0))
    seconds = max(trained.seconds for trained in found)
    yield Row(f"{name}: seconds of one thread, the slowest", seconds, Bar("<=", _SECONDS),
              "when it was trained")  # fmt: skip


def _mean(values: "Iterator[float] | list[float]") -> float:
    whole = list(values)
    return sum(whole) / len(whole)
