"""Networks with faulty memories: encodings, and what clipped activations are worth, as rows.

Every interval is of 95 %, by the bootstrap over seeds; every seed draws all faults anew.  Areas
are means of the accuracy over the logarithm of the rate of faults.  Activations are in floating
point, and ADCs resolve what stuck cells add up, so that nothing but cells is at fault.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..models import data
from ..models.reram.array import FRACTION
from ..models.reram.config import ReramConfig
from ..models.reram.devices import Devices, draw
from ..models.reram.layer_config import ReramLayerConfig
from ..models.reram.residual import Residual
from ..models.reram.resilience import clipact, proact
from ..models.reram.resilience.activations import HyReLU, clipped, largest, register, replaced
from ..models.reram.resilience.curves import Curve, Interval, sweep
from ..models.reram.resilience.memories import (
    Cells,
    Flaws,
    Float32,
    Int8,
    Memory,
    Stored,
    accuracy,
)
from ..models.reram.resnet import ResNet
from ..models.reram.training.convert import Converted
from ..models.reram.training.digits import dense_digits, polarised_digits, splits
from ..models.reram.training.norms import fold
from ..models.threads import one_thread
from ._curves import Figure, Panel, Series
from .report import Bar, Progress, Row, show

_STUCK: tuple[Flaws, ...] = ("off", "on", "mixed")
_STORED = "crossbar/stuckat_encoding_resnet20.json"
_LOSS = Bar("<=", 0.005)
"""Of accuracy without faults: half a point."""
SEEDS = 20
SIGNED = ReramConfig(fragment_rows=1, adc_bits=2, flip=False)
"""Sign and magnitude: a sign indicator a weight, so that any weights are polarised."""
FORMS = ReramConfig(adc_bits=5)
OFFSET = ReramConfig(mapping="offset", fragment_rows=128, adc_bits=9, skip="none")
DUAL = ReramConfig(mapping="dual", fragment_rows=128, adc_bits=9, skip="none")

Curves = dict[str, dict[str, dict[str, Curve]]]
"""By picture, panel and label."""
Images = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Study:
    """A trained network, images to choose thresholds by and others to judge it."""

    name: str
    network: nn.Module
    fit: Images
    judge: Images
    cells: tuple[float, ...]
    """Rates of stuck cells."""
    signs: tuple[float, ...]
    """Of sign indicators."""
    memories: dict[str, tuple[Memory, tuple[float, ...]]]
    """That activations are clipped against, with rates."""
    search: Images
    """Of ``fit``, those that thresholds are searched by."""
    epochs: int
    """Of ProAct, a layer and decay."""
    loss: float
    """Share of the images of ``fit`` that ProAct may lose."""
    polarised: Converted | None = None
    """Trained with fragments of one sign, in cells of 2 bits."""


def fault_rows(quick: bool, progress: Progress, curves: Curves | None = None) -> Iterator[Row]:
    """Every figure; all curves are put into ``curves``, for :func:`fault_figures`."""
    curves = {} if curves is None else curves
    with one_thread():
        for study in (_digits,) if quick else (_digits, _residual):
            try:
                yield from _study_rows(study(progress), progress, curves)
            except data.MissingData as missing:
                yield Row.skip((study.__doc__ or "").rstrip("."), str(missing), _LOSS)
        if not quick:
            try:
                yield from _definition(progress)
            except data.MissingData as missing:
                yield Row.skip("stored faults", str(missing))


def fault_figures(curves: Curves) -> dict[str, Figure]:
    """Pictures of what :func:`fault_rows` has found, by their files' stems.

    Wrong answers, with their intervals, over the share of bits, cells or signs that are faulty.
    """
    return {
        f"reram_{what.lower().replace(' ', '_')}": Figure(
            what, "share that is faulty",
            [
                Panel(f"wrong answers, {panel}", [_series(*line) for line in lines.items()])
                for panel, lines in panels.items()
            ],
            x_unit="", x_log=True,
        )
        for what, panels in curves.items()
    }  # fmt: skip


def _series(label: str, curve: Curve) -> Series:
    found = curve.intervals
    return Series(
        label, curve.rates, [1 - i.mean for i in found], [1 - i.high for i in found],
        [1 - i.low for i in found],
    )  # fmt: skip


def _study_rows(study: _Study, progress: Progress, curves: Curves) -> Iterator[Row]:
    yield from _encodings(study, progress, curves)
    if study.polarised is not None:
        yield from _converters(study.polarised)
    yield from _clipping(study, progress, curves)


def _encodings(study: _Study, progress: Progress, curves: Curves) -> Iterator[Row]:
    """Polarity x encoding x rate."""
    encodings = {
        "sign and magnitude": (study.network, SIGNED),
        "offset": (study.network, OFFSET),
        "dual": (study.network, DUAL),
    }
    if study.polarised is not None:
        encodings[f"fragments of {FORMS.fragment_rows}"] = study.polarised.module, FORMS
    panels = curves.setdefault(f"{study.name} stuck cells", {})
    for flaws in _STUCK:
        panel = "half stuck off, half on" if flaws == "mixed" else f"cells stuck {flaws}"
        lines = panels.setdefault(panel, {})
        for name, (network, config) in encodings.items():
            progress(f"{study.name}, {name}, {panel}")
            lines[name] = _swept(study, network, Cells(config, flaws), study.cells)
            yield _area(f"{study.name}, {name}, {panel}", lines[name])
        gain = lines["sign and magnitude"].gain(lines["offset"])
        yield Row(f"{study.name}, {panel}: area that sign and magnitude has more than offset",
                  gain.mean, Bar(">", 0) if flaws == "off" else None, _reach(gain))  # fmt: skip
    lines = curves.setdefault(f"{study.name} signs", {}).setdefault("sign indicators inverted", {})
    for name, (network, config) in encodings.items():
        if config.mapping == "polarised":
            progress(f"{study.name}, {name}, sign indicators")
            lines[name] = _swept(study, network, Cells(config, "signs"), study.signs)
            yield _area(f"{study.name}, {name}, sign indicators inverted", lines[name])


def _converters(trained: Converted) -> Iterator[Row]:
    """How often stuck cells add up more than the converters resolve that suffice without."""
    config = ReramConfig()
    for rate in (0.01, 0.1):
        beyond = columns = 0
        for layer in trained.layers.values():
            for seed in range(SEEDS):
                chip = draw(layer.mapping(), Devices(stuck_on=rate), seed)
                sums = chip.cells.sum(axis=2) >> FRACTION
                beyond += int((sums > config.adc_top).sum())
                columns += sums.size
        yield Row(f"fragments of {config.fragment_rows}, {config.adc_bits} bits and flip, "
                  f"{rate:.0%} of cells stuck on: columns that can saturate an ADC",
                  beyond / columns, None, "their codes then lack some of what is counted",
                  )  # fmt: skip


def _clipping(study: _Study, progress: Progress, curves: Curves) -> Iterator[Row]:
    """What clipped activations are worth."""
    network, name = study.network, study.name
    most = {part: float(found.max()) for part, found in largest(network, study.fit[0]).items()}
    progress(f"{name}, ProAct")
    trained = proact.train(network, study.fit[0], epochs=study.epochs, loss=study.loss)
    always = {
        "ReLU": network,
        "saturating": clipped(network, most, "saturate"),
        "ProAct": trained,
        "ProAct, hard": replaced(trained, _hard),
    }
    panels = curves.setdefault(f"{name} activations", {})
    lost: dict[str, float] = dict.fromkeys(("FT-ClipAct", "ProAct", "ProAct, hard"), -1.0)
    for memory, (holds, rates) in study.memories.items():
        progress(f"{name}, FT-ClipAct, {memory}")
        stored = Stored(network, holds)
        thresholds = clipact.search(network, stored, rates, 2, *study.search)
        modules = {**always, "FT-ClipAct": clipped(network, thresholds)}
        progress(f"{name}, activations, {memory}")
        lines = panels[memory] = sweep(modules, stored, rates, SEEDS, *study.judge)
        for label, curve in lines.items():
            gain = curve.gain(lines["ReLU"])
            yield _area(
                f"{name}, {memory}, {label}",
                curve,
                "" if label == "ReLU" else f"; {gain.mean:+.3g} of ReLU's, {_reach(gain)}",
            )
            if label in lost:
                lost[label] = max(lost[label], lines["ReLU"].clean - curve.clean)
        if isinstance(holds, Cells):
            yield _as_registers(study, memory, stored, thresholds, most)
    for label, loss in lost.items():
        bar = None if label == "ProAct, hard" else _LOSS
        # Shares of images: what differs by less than one is rounding.
        yield Row(f"{name}, {label}: accuracy lost without faults, the most of all memories",
                  round(loss, 9), bar,
                  f"{len(study.judge[0])} images that chose nothing")  # fmt: skip


def _as_registers(
    study: _Study, memory: str, stored: Stored, thresholds: dict[str, float], most: dict[str, float]
) -> Row:
    """Thresholds as the engine compares with them, results of 8 bits."""
    config = ReramLayerConfig(output_bits=8, clip="zero")
    rounded = {}
    for name, threshold in thresholds.items():
        step = most[name] / 255
        rounded[name] = register(config, threshold, step) * step
    exact, found = (
        accuracy(clipped(study.network, t).eval(), stored(), *study.judge)
        for t in (thresholds, rounded)
    )
    return Row(f"{study.name}, {memory}, FT-ClipAct: accuracy lost by thresholds as registers of 8 "
               "bits", round(exact - found, 9), _LOSS)  # fmt: skip


def _definition(progress: Progress) -> Iterator[Row]:
    """Stored faults: what they are of, and what they would be of cells that weights fill."""
    table = json.loads(data.path(_STORED).read_text(encoding="utf-8"))
    study, module = _residual(progress), _resnet()
    rates = (0.001, 0.005)
    images, labels = (torch.cat(both) for both in zip(study.fit, study.judge, strict=True))
    stored = {"off": "1.0", "on": "0.0", "mixed": "0.5"}
    for what, config, key in (
        ("sign and 7 bits of magnitude in four cells", _with(SIGNED, weight_bits=7), "signmag"),
        ("sign and 8 bits of magnitude in four cells", SIGNED, None),
        ("offset, 8 bits", _with(OFFSET, flip=False), "offset"),
    ):
        for flaws in _STUCK:
            progress(f"stored faults, {what}, {flaws}")
            memory = Stored(module, Cells(config, flaws))
            curve = sweep({"": module}, memory, rates, SEEDS, images, labels)[""]
            beside = f"{show(curve.clean)} without faults; {_points(curve)}"
            if key:
                names = [f"{key}_psa0={stored[flaws]}_rate={rate}" for rate in rates]
                beside += "; stored " + ", ".join(show(table[name][0]) for name in names)
                beside += " of 4 seeds, 0.788 without faults"
            yield Row(f"ResNet-20, batch norm apart, {what}, stuck {flaws}: accuracy at "
                      f"{rates[0]:.1%}", curve.intervals[0].mean, None, beside)  # fmt: skip


def _swept(study: _Study, network: nn.Module, memory: Memory, rates: tuple[float, ...]) -> Curve:
    return sweep({"": network}, Stored(network, memory), rates, SEEDS, *study.judge)[""]


def _area(what: str, curve: Curve, beside: str = "") -> Row:
    return Row(f"{what}: area under accuracy", curve.auc.mean, None,
               f"{_reach(curve.auc)}; clean {show(curve.clean)}; {_points(curve)}{beside}",
               )  # fmt: skip


def _with(config: ReramConfig, **changes: int) -> ReramConfig:
    return ReramConfig(**{**config.model_dump(), **changes})


def _points(curve: Curve) -> str:
    points = zip(curve.rates, curve.intervals, strict=True)
    return ", ".join(f"{show(found.mean)} at {rate:g}" for rate, found in points)


def _reach(found: Interval) -> str:
    return f"{found.low:.3g} to {found.high:.3g}"


def _hard(_: str, part: nn.Module) -> nn.Module:
    assert isinstance(part, HyReLU)
    return part.hard()


def _digits(progress: Progress) -> _Study:
    """scikit-learn's digits."""
    progress("training networks of digits")
    train, test = splits()
    network = copy.deepcopy(dense_digits())
    fold(network)
    network.requires_grad_(False)
    cells = (0.01, 0.03, 0.1, 0.2)
    memories: dict[str, tuple[Memory, tuple[float, ...]]] = {
        "bits of FP32": (Float32(), (1e-6, 1e-5, 1e-4)),
        "bits of INT8": (Int8(), (1e-3, 1e-2, 0.1)),
        "cells, sign and magnitude": (Cells(SIGNED, "mixed"), cells[1:]),
        "cells, offset": (Cells(OFFSET, "mixed"), cells[1:]),
    }
    return _Study(
        name="digits",
        network=network,
        fit=(train.images, train.labels),
        judge=(test.images, test.labels),
        cells=cells,
        signs=(0.001, 0.01, 0.03, 0.1),
        memories=memories,
        search=(train.images[:400], train.labels[:400]),
        epochs=8,
        loss=0.0,
        polarised=polarised_digits(ReramConfig()),
    )


def _residual(progress: Progress) -> _Study:
    """ResNet-20."""
    file = data.load("crossbar/cifar10_jpeg_test400.npz")
    pixels, labels = ResNet.pixels(file["images"]), torch.from_numpy(file["labels"]).long()
    cells = (5e-4, 1e-3, 2e-3, 5e-3, 0.02)
    memories: dict[str, tuple[Memory, tuple[float, ...]]] = {
        "bits of FP32": (Float32(), (1e-6, 1e-5, 1e-4)),
        "bits of INT8": (Int8(), (3e-4, 1e-3, 3e-3)),
        "cells, sign and magnitude": (Cells(SIGNED, "mixed"), cells[1:4]),
    }
    fit = pixels[::2], labels[::2]
    network = _resnet()
    fold(network)
    return _Study(
        name="ResNet-20",
        network=network.requires_grad_(False),
        fit=fit,
        judge=(pixels[1::2], labels[1::2]),
        cells=cells,
        signs=(1e-3, 3e-3, 0.01, 0.03),
        memories=memories,
        search=fit,
        epochs=4,
        loss=0.005,
    )


def _resnet() -> Residual:
    """With its batch norms apart from its weights."""
    return Residual(data.load("crossbar/resnet20_cifar10_state.npz")).requires_grad_(False)
