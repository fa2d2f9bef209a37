"""The ADC study: how often converters clip, what that does to networks: rows and a picture."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..models import data
from ..models.reram.array import Chip, clipping, product
from ..models.reram.config import ReramConfig
from ..models.reram.kernel import KernelMissing
from ..models.reram.mapping import map_weights
from ..models.reram.resnet import Convolution, CrossbarNetwork, ResNet
from ..models.reram.training.convert import Converted
from ..models.reram.training.digits import polarised_digits, splits
from ..models.reram.training.placed import placed
from ..models.threads import one_thread
from ._bars import Bars, draw
from .report import Bar, Progress, Row, show

_REAL, _IMAGES = "crossbar/real_layer_polarised_m8.npz", "crossbar/cifar10_jpeg_test400.npz"

Found = dict[str, dict[str, float]]
"""A figure in per cent by what was read, and by ADC."""


def adc_rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """ADCs of 3 to 6 bits with and without flip, fragments of 8."""
    clips: Found = {}
    agreement: Found = {}
    for part in (_proof, _adc_layers, _adc_network, _adc_digits):
        try:
            with one_thread():
                yield from part(quick, progress, clips, agreement)
        except (data.MissingData, KernelMissing) as missing:
            yield Row.skip((part.__doc__ or "").rstrip("."), str(missing), Bar("==", 0))
    if pictures is not None:
        for found, title, stem in (
            (clips, "reads of something that clip, %", "reram_adcs_clip"),
            (agreement, "images classified as without loss, %", "reram_adcs_agreement"),
        ):
            if found:
                draw(_picture(found, title), pictures, stem)


def _proof(quick: bool, progress: Progress, clips: Found, agreement: Found) -> Iterator[Row]:
    """Lossless ADCs."""
    progress("every column of eight cells")
    counts = np.stack(np.meshgrid(*[np.arange(9)] * 3, indexing="ij"), -1).reshape(-1, 3)
    counts = counts[counts.sum(axis=1) <= 8]  # of cells at levels 1, 2, 3; their order is free
    columns = np.stack([([1] * a + [2] * b + [3] * c + [0] * 8)[:8] for a, b, c in counts], axis=1)
    every = np.arange(256)[:, None] >> np.arange(8) & 1
    for flip in (True, False):
        config = ReramConfig(weight_bits=2, input_bits=1, flip=flip)
        found = product(Chip.ideal(map_weights(config, columns)), every)
        yield Row(f"fragments of 8, 4 bits {'with' if flip else 'without'} flip: reads that lose, "
                  "of all columns and all inputs", int((found != every @ columns).sum()),
                  Bar("==", 0) if flip else None, f"{found.size:,} reads")  # fmt: skip


def _adc_layers(quick: bool, progress: Progress, clips: Found, agreement: Found) -> Iterator[Row]:
    """ADC study of trained polarised layers."""
    file = data.load(_REAL)
    for layer in (name.removesuffix("_W") for name in file if name.endswith("_b16_W")):
        progress(f"ADC study, {layer}")
        for bits, flip in _adcs():
            mapping = map_weights(ReramConfig(adc_bits=bits, flip=flip), file[f"{layer}_W"].T)
            rate = clipping(mapping, file[f"{layer}_X"]).rate
            _note(clips, f"polarised {layer.removesuffix('_b16')}", _adc(bits, flip), rate)
            yield Row(f"polarised {layer.removesuffix('_b16')}, {_adc(bits, flip)}: share of "
                      "non-zero reads that clip", rate,
                      Bar("==", 0) if mapping.config.lossless else None)  # fmt: skip


def _adc_network(quick: bool, progress: Progress, clips: Found, agreement: Found) -> Iterator[Row]:
    """ADC study of ResNet-14."""
    pixels = ResNet.pixels(data.load(_IMAGES)["images"][: 16 if quick else 200])
    network = ResNet(data.load("crossbar/resnet14_cifar10_state.npz"))
    few = pixels[:2]
    exact: torch.Tensor | None = None
    for bits, flip in _adcs():
        what = f"ResNet-14, dual, fragments of 8, {_adc(bits, flip)}"
        progress(f"ADC study, {what}")
        config = ReramConfig(mapping="dual", input_bits=8, adc_bits=bits, flip=flip)
        on_crossbars = CrossbarNetwork(network, config, pixels[:64])
        saturated = nonzero = 0

        def convolve(layer: Convolution, x: torch.Tensor, net=on_crossbars) -> torch.Tensor:
            nonlocal saturated, nonzero
            if not layer.first:
                rows = net.rows(layer, x)
                counted = clipping(
                    net.crossbars[layer.name].mapping, rows.reshape(-1, rows.shape[-1])
                )
                saturated, nonzero = saturated + counted.saturated, nonzero + counted.nonzero
            return net.convolve(layer, x)

        network(few, convolve)
        if exact is None:
            lossless = ReramConfig(mapping="dual", input_bits=8)
            exact = CrossbarNetwork(network, lossless, pixels[:64])(pixels).argmax(1)
        _note(clips, "ResNet-14, dual", _adc(bits, flip), saturated / nonzero)
        agree = float((on_crossbars(pixels).argmax(1) == exact).float().mean())
        _note(agreement, "ResNet-14, dual", _adc(bits, flip), agree)
        yield Row(f"{what}: top-1 agreement with lossless", agree,
                  Bar("==", 1) if config.lossless else None,
                  f"{show(saturated / nonzero)} of non-zero reads clip; {len(pixels)} images",
                  )  # fmt: skip


def _adc_digits(quick: bool, progress: Progress, clips: Found, agreement: Found) -> Iterator[Row]:
    """ADC study of a trained polarised network of written digits."""
    train, test = splits()
    images = test.images[: 100 if quick else None]
    trained = polarised_digits(ReramConfig(input_bits=8))
    exact: torch.Tensor | None = None
    for bits, flip in ((8, False), *_adcs()):
        what = f"digits CNN, polarised, fragments of 8, {_adc(bits, flip)}"
        progress(f"ADC study, {what}")
        config = ReramConfig(input_bits=8, adc_bits=bits, flip=flip)
        layers = {name: replace(laid, config=config) for name, laid in trained.layers.items()}
        scores = placed(Converted(trained.module, layers), train.images[:100])(images)
        if exact is None:
            exact = scores.argmax(1)  # eight bits hold everything
            continue
        agree = float((scores.argmax(1) == exact).float().mean())
        _note(agreement, "digits CNN, polarised", _adc(bits, flip), agree)
        yield Row(f"{what}: top-1 agreement with lossless", agree,
                  Bar("==", 1) if config.lossless else None, f"{len(images)} images")  # fmt: skip


def _note(found: Found, what: str, adc: str, share: float) -> None:
    found.setdefault(what, {})[adc] = 100 * share


def _picture(found: Found, title: str) -> Bars:
    names = list(next(iter(found.values())))
    parts = {what: list(shares.values()) for what, shares in found.items()}
    return Bars("ADCs of fragments of 8", title, names, parts, stacked=False)


def _adcs() -> Iterator[tuple[int, bool]]:
    return ((bits, flip) for bits in (3, 4, 5, 6) for flip in (False, True))


def _adc(bits: int, flip: bool) -> str:
    return f"{bits} bits {'with' if flip else 'without'} flip"
