"""The generated crossbar engine in simulation, against products and counts of another origin."""

from collections.abc import Iterator
from functools import reduce
from itertools import product
from operator import or_
from typing import Literal

import numpy as np
import torch

from ..hdl.engine import engine
from ..hdl.reram.delays import delays
from ..hdl.reram.workloads import TASKS, workload
from ..models import data
from ..models.reram.array import Chip
from ..models.reram.array import product as serial_product
from ..models.reram.kernel import KernelMissing
from ..models.reram.layer import Layer
from ..models.reram.layer_config import ReramLayerConfig
from ..models.reram.layer_cycles import row_steps, schedule
from ..sim.simulate import Report, simulate
from .report import Bar, Progress, Row

NAME = "reram"
_REAL = "crossbar/real_layer_polarised_m8.npz"


def rtl_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Equality of every stage, and cycles against the bits that are read, counted apart."""
    for part in (_stored, _ladder, _cycles, _whole):
        if quick and part is _whole:
            continue
        try:
            yield from part(quick, progress)
        except (data.MissingData, KernelMissing) as missing:
            yield Row.skip((part.__doc__ or "").rstrip("."), str(missing), Bar("==", 0))


def _stored(quick: bool, progress: Progress) -> Iterator[Row]:
    """Trained polarised layers on real activations, out of RTL."""
    file = data.load(_REAL)
    names = [name.removesuffix("_W") for name in file if name.endswith("_W")]
    cases = [("res1_0_conv2_b16", 4), ("res1_0_conv2_b16", 5)]
    if not quick:
        cases = [(name, bits) for name in names for bits in (3, 4, 5)]
    wrong = inexact = total = exact = 0
    for name, bits in cases:
        progress(f"RTL of {name}, ADCs of {bits} bits")
        x, weights = file[f"{name}_X"].astype(np.int64), file[f"{name}_W"].T.astype(np.int64)
        config = ReramLayerConfig.preset(
            channels=x.shape[1], height=1, width=1, kernel=1, padding=0,
            features=weights.shape[1], input_bits=16 if "b16" in name else 8, adc_bits=bits,
            flip=False, activation="none", output_bits=32,
        )  # fmt: skip
        layer = Layer(config, weights, np.zeros(config.features, int), 1, 0, (1 << 31) - 1)
        report = simulate(NAME, config, workload(name, layer, x[:, :, None, None]))
        found = _results(report).reshape(len(x), -1)
        wrong += int((found != file[f"{name}_y_adc{bits}"]).sum()) + len(report.failures())
        total += found.size
        if config.lossless:
            inexact, exact = inexact + int((found != x @ weights).sum()), exact + found.size
    yield Row("trained polarised layers through RTL and stub: sums that differ from CrossSim's",
              wrong, Bar("==", 0), f"{total:,} compared")  # fmt: skip
    yield Row("the same, ADCs that lose nothing: sums that differ from the integer product",
              inexact, Bar("==", 0), f"{exact:,} compared")  # fmt: skip


def _ladder(quick: bool, progress: Progress) -> Iterator[Row]:
    """A convolution of ResNet-20: by PyTorch, bit by bit, and out of RTL."""
    mappings = ("polarised",) if quick else ("polarised", "offset", "dual")
    source = engine(NAME).workloads["resnet"]
    wrong, total = {"bit-serial model": 0, "RTL and stub": 0}, 0
    for mapping in mappings:
        progress(f"a convolution of ResNet-20, {mapping}")
        config = source.configure(ReramLayerConfig.preset(mapping=mapping, features=16))
        config = config.replace(adc_bits=config.lossless_adc_bits)
        layer, images = TASKS["resnet"](config, 1, 0)
        report = simulate(NAME, config, workload("resnet", layer, images))
        kernels = layer.weights.T.reshape(config.features, config.channels, 3, 3)
        exact = torch.nn.functional.conv2d(
            torch.as_tensor(images).double(), torch.as_tensor(kernels).double(), padding=1
        )
        wanted = exact.long().permute(0, 2, 3, 1).reshape(-1, config.features).numpy()
        rows = layer.lines(images).reshape(-1, config.inputs)
        serial = serial_product(Chip.ideal(layer.mapping), rows)
        results = layer.results(wanted + layer.biases)
        wrong["bit-serial model"] += int((serial != wanted).sum())
        wrong["RTL and stub"] += int((_results(report).reshape(results.shape) != results).sum())
        total += results.size
    for what, count in wrong.items():
        yield Row(f"a convolution of ResNet-20, 8 x 8 pixels of 16 channels, {what}: values that "
                  "differ from the integer convolution's", count, Bar("==", 0),
                  f"{total:,} compared; {', '.join(mappings)}")  # fmt: skip


def _cycles(quick: bool, progress: Progress) -> Iterator[Row]:
    """Cycles against the bits that are read."""
    one = ReramLayerConfig.preset(rows=256, features=8, height=6, width=6)
    below = one.replace(rows=40, input_bits=8)
    missed = off = runs = 0
    over: list[int] = []
    skips: tuple[Literal["none", "leading", "any"], ...] = ("none", "leading", "any")
    for skip, task in product(skips, TASKS):
        for shape in (one, below) if not quick or skip == "any" else (one,):
            config = engine(NAME).workloads[task].configure(shape.replace(skip=skip))
            frames = 7 if task == "adversarial" else 1 if quick else 8
            layer, images = TASKS[task](config, frames, 0)
            # Where no activation is 0, a vector takes longer to convert than the next to come.
            steady = shape is one and task != "adversarial"
            images = images | 1 if steady else images
            progress(f"cycles of {task}, skipping {skip}, crossbars in rows: {config.down}")
            report = simulate(NAME, config, workload(task, layer, images))
            counts = _counted(layer, images)
            runs, off = runs + 1, off + len(report.failures())
            missed += abs(report.registers["steps"] - sum(counts))
            if steady:
                steps = row_steps(config, layer.lines(images))
                begun = schedule(config, steps, delays(config)).first
                over.append(report.cycles - begun - config.scan * sum(counts))
    yield Row("bits of fragments that RTL reads: distance from a count one by one", missed,
              Bar("==", 0),
              f"{runs} runs: {', '.join(TASKS)}; skipping {', '.join(skips)}")  # fmt: skip
    wait = delays(one)
    constant = wait.sums + one.features + wait.results
    yield Row(f"cycles of RTL from a layer's first step, less {one.scan} times the bits counted "
              f"one by one, less {constant}: the largest distance from 0, of one row of crossbars",
              max(abs(each - constant) for each in over), Bar("==", 0),
              f"{len(over)} runs; {wait.sums} to the last sum, {one.features} features, "
              f"{wait.results} to their results")  # fmt: skip
    yield Row("runs of these whose cycles or results are not those foreseen", off, Bar("==", 0),
              f"{runs} runs, rows of crossbars below each other too")  # fmt: skip


def _whole(quick: bool, progress: Progress) -> Iterator[Row]:
    """A whole layer of ResNet-20."""
    config = ReramLayerConfig.preset("large")
    progress("a layer of 64 channels of ResNet-20")
    report = simulate(NAME, config, "resnet", samples=2)
    yield Row("a layer of 64 channels of ResNet-20, 10 crossbars: values that differ, and "
              "cycles", report.mismatches + abs(report.cycles - report.cycles_formula),
              Bar("==", 0), f"{report.cycles:,} cycles for 2 images")  # fmt: skip
    yield Row("the same: share of these cycles in which the busiest row of crossbars converts",
              report.utilisation)  # fmt: skip


def _counted(layer: Layer, images: np.ndarray) -> list[int]:
    """The bits that are read of every vector, one fragment after the other."""
    c = layer.config
    rows = layer.lines(images).reshape(-1, c.inputs).tolist()
    counts = []
    for row in rows:
        unions = [
            reduce(or_, row[start : start + c.fragment_rows])
            for start in range(0, c.inputs, c.fragment_rows)
        ]
        bits = {
            "none": len(unions) * c.input_bits,
            "leading": sum(union.bit_length() for union in unions),
            "any": sum(union.bit_count() for union in unions),
        }
        counts.append(bits[c.skip])
    return counts


def _results(report: Report) -> np.ndarray:
    return np.asarray(report.outputs["results"])
