"""Chips of crossbars by published components: totals, and what FORMS gains by what, as rows."""

import math
from collections.abc import Iterator
from itertools import accumulate
from operator import mul
from pathlib import Path

from ..models import data
from ..models.reram.chip import (
    BASELINES,
    Accelerator,
    Baseline,
    adc_area,
    adc_energy,
    break_even,
    breakdown,
)
from ..models.reram.config import ReramConfig
from ..models.reram.resnet import ResNet, layer_cycles, mean_cycles
from ..models.threads import one_thread
from ._bars import Bars, draw
from .report import Bar, Progress, Row, show

_IMAGES = "crossbar/cifar10_jpeg_test400.npz"
_NETWORKS = ("resnet14", "resnet20")
_FRAGMENTS = (4, 8, 16)
_SHORT: dict[Baseline, str] = {
    "offset": "ISAAC, 16 bits, offset",
    "dual": "ISAAC, 16 bits, dual",
    "optimised": "ISAAC, 8 bits, offset",
}
LENET = 23.18
"""Times fewer weights of LeNet-5 on MNIST after pruning, by the paper."""


def chip_rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """ISAAC's totals, FORMS' converters, factors over each baseline; these as a picture, too."""
    progress("chips by their components")
    yield from _published()
    yield from _converters()
    try:
        cycles = {(name, m): _cycles(name, m) for name in _NETWORKS for m in _FRAGMENTS}
    except data.MissingData as missing:
        yield Row.skip("factors by which FORMS gains", str(missing))
        return
    yield from _polarised(cycles)
    yield from _factors(cycles)
    if pictures is not None:
        draw(_picture(*cycles["resnet20", 8]), pictures, "reram_factors")


def _published() -> Iterator[Row]:
    """Sums beside those of the papers."""
    isaac, forms = Accelerator.isaac(), Accelerator.forms()
    adc = forms.unit_parts["ADC"]
    for what, found, published in (
        ("ISAAC's tile, mW", isaac.tile.mw, 330),
        ("ISAAC's tile, mm2", isaac.tile.mm2, 0.372),
        ("ISAAC's chip, W", isaac.chip.mw / 1000, 65.8),
        ("ISAAC's chip, mm2", isaac.chip.mm2, 85.4),
        ("ISAAC's chip, GOPs/s/mm2", isaac.gops_per_mm2(), 479),
        ("FORMS' compute unit, fragments of 8: ADCs, mW", adc.mw, 15.2),
        ("FORMS' compute unit, fragments of 8: ADCs, mm2", adc.mm2, 0.0091),
    ):
        yield Row(f"{what}: distance from the published value, of it",
                  abs(found / published - 1), Bar("<=", 0.02),
                  f"{found:.4g}, published {published}")  # fmt: skip


def _converters() -> Iterator[Row]:
    """ADCs against their bits, and when many small reads are worth it."""
    bits = range(3, 9)
    yield Row("ADC of 3 to 8 bits: pJ a sample", ", ".join(f"{adc_energy(n):.3f}" for n in bits),
              None, "through FORMS' of 4 and ISAAC's of 8 bits; linear and exponential parts as "
              "ISAAC has them")  # fmt: skip
    yield Row("ADC of 3 to 8 bits: um2", ", ".join(f"{1e6 * adc_area(n):.0f}" for n in bits), None,
              "likewise")  # fmt: skip


def _polarised(cycles: dict[tuple[str, int], tuple[float, float]]) -> Iterator[Row]:
    """Polarised fragments alone: same weights, same bits."""
    isaac, forms = Accelerator.isaac(), Accelerator.forms(weight_bits=16)
    for name in _NETWORKS:
        leading, every = cycles[name, 8]
        gain = forms.gops(leading) / isaac.gops()
        yield Row(f"polarised fragments of 8 alone, {_title(name)}, throughput over ISAAC with 16 "
                  "bits: distance from 0.54", abs(gain - 0.54), Bar("<=", 0.03),
                  f"{show(gain)} with {show(leading)} effective cycles of 16, as measured; "
                  f"{show(forms.gops(every) / isaac.gops())} where any zero plane is "
                  "skipped")  # fmt: skip
    for m in _FRAGMENTS:
        least = break_even(Accelerator.forms(m), isaac)
        leading, every = cycles["resnet20", m]
        yield Row(f"fragments of {m}: effective cycles of 16 at which ADCs take the energy of "
                  "ISAAC's", least, None,
                  f"measured {show(leading)}, any zero plane skipped {show(every)}: ADCs take "
                  f"{show(leading / least)} and {show(every / least)} times ISAAC's")  # fmt: skip


def _factors(cycles: dict[tuple[str, int], tuple[float, float]]) -> Iterator[Row]:
    """Each change by itself, and what they come to."""
    for m in _FRAGMENTS:
        goal, (leading, every) = Accelerator.forms(m), cycles["resnet20", m]
        for baseline, title in BASELINES.items():
            found = breakdown(goal, baseline, leading, every)
            beside = [
                show(math.prod(breakdown(goal, baseline, leading, every, metric=metric).values()))
                for metric in (Accelerator.gops_per_mm2, Accelerator.gops_per_watt)
            ]
            parts = " x ".join(f"{show(by)} {name}" for name, by in found.items())
            paper = " (paper 1.50 and 1.93)" if baseline == "optimised" else ""
            yield Row(f"FORMS, fragments of {m}, pruning left out, throughput over: {title}",
                      math.prod(found.values()), None,
                      f"{parts}; per mm2 {beside[0]}, per W {beside[1]}{paper}")  # fmt: skip
        yield Row(f"FORMS, fragments of {m}: GOPs/s/mm2, GOPs/s/W of the chip",
                  f"{goal.gops_per_mm2(every):.0f}, {goal.gops_per_watt(every):.0f}", None,
                  f"{goal.chip.mw / 1000:.1f} W, {goal.chip.mm2:.1f} mm2; any zero plane skipped, "
                  "operations on 8-bit weights")  # fmt: skip
    found = breakdown(Accelerator.forms(), "dual", *cycles["resnet20", 8], LENET)
    yield Row(f"FORMS, fragments of 8, pruned {LENET} times as the paper's LeNet-5, throughput "
              f"over: {BASELINES['dual']}", math.prod(found.values()))  # fmt: skip


def _picture(leading: float, every: float) -> Bars:
    """Throughput after each change."""
    goal, parts, names = Accelerator.forms(), {}, []
    for baseline, title in _SHORT.items():
        found = breakdown(goal, baseline, leading, every)
        del found["pruning"]  # the same for all, and as much as one prunes
        names = ["baseline", *(name.replace("skipping ", "skipping\n") for name in found)]
        parts[title] = list(accumulate(found.values(), mul, initial=1.0))
    return Bars(
        f"FORMS, fragments of 8, one change after the other (ResNet-20: {show(leading)} and "
        f"{show(every)} of 16 input cycles)",
        "throughput over the baseline", names, parts, stacked=False,
    )  # fmt: skip


def _cycles(name: str, rows: int) -> tuple[float, float]:
    """Effective cycles of 16, leading zeros skipped and all zero planes."""
    pixels = ResNet.pixels(data.load(_IMAGES)["images"][:16])
    network = ResNet(data.load(f"crossbar/{name}_cifar10_state.npz"))
    with one_thread():
        leading, every = (
            mean_cycles(
                layer_cycles(network, ReramConfig.preset(fragment_rows=rows, skip=skip), pixels)
            )
            for skip in ("leading", "any")
        )
    return leading, every


def _title(name: str) -> str:
    return name.replace("resnet", "ResNet-")
