"""Crossbars: equality, wires, speed and input cycles, as rows."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from ..models import data
from ..models.reram.array import product
from ..models.reram.config import ReramConfig
from ..models.reram.crossbar import Crossbar
from ..models.reram.devices import Devices, draw
from ..models.reram.kernel import KernelMissing
from ..models.reram.mapping import Layout, map_weights
from ..models.reram.resnet import (
    Convolution,
    CrossbarNetwork,
    ResNet,
    layer_cycles,
    mean_cycles,
)
from ..models.reram.skipping import effective_cycles
from ..models.reram.wires import Approximation, Wires, any_of, currents, effective
from ..models.threads import one_thread
from ._bars import Bars
from ._bars import draw as draw_bars
from .report import Bar, Progress, Row, show

_CROSSSIM, _REAL = "crossbar/crosssim_bitsliced_adc.npz", "crossbar/real_layer_polarised_m8.npz"
_WIRES, _IMAGES = "crossbar/crosssim_irdrop_vs_nodal.npz", "crossbar/cifar10_jpeg_test400.npz"
_CELL = 10e3
"""Ohms of a cell at its highest level, in the stored crossbars."""
_ONE_THREAD = "one thread, CPU-seconds"


def array_rows(quick: bool, progress: Progress, pictures: Path | None = None) -> Iterator[Row]:
    """Every figure of the behavioural array; cycles by layer as a picture in that folder."""
    parts = (_stored, _real_layers, _nodal, _convolutions, _products, _images, _cycles)
    for part in parts:
        try:
            with one_thread():
                yield from part(quick, progress)
        except (data.MissingData, KernelMissing) as missing:
            yield Row.skip((part.__doc__ or "").rstrip("."), str(missing), Bar("==", 0))
    if pictures is not None:
        with suppress(data.MissingData), one_thread():
            draw_bars(_picture(), pictures, "reram_cycles")


def _picture() -> Bars:
    """Effective cycles by layer: what is skipped, and which inputs are neighbours."""
    pixels, network = ResNet.pixels(data.load(_IMAGES)["images"][:16]), _network("resnet20")
    parts: dict[str, list[float]] = {}
    names: list[str] = []
    layouts: dict[Layout, str] = {"channel": "positions", "position": "channels"}
    for layout, neighbours in layouts.items():
        for skip in ("leading", "any"):
            found = layer_cycles(network, ReramConfig.preset(skip=skip), pixels, layout)
            names = [layer.name.removeprefix("layer") for layer in found]
            parts[f"{skip} zeros, {neighbours} adjacent"] = [layer.mean for layer in found]
    return Bars("ResNet-20, fragments of 8", "effective cycles of 16", names, parts, stacked=False)


def _stored(quick: bool, progress: Progress) -> Iterator[Row]:
    """CrossSim's products."""
    progress("CrossSim's products")
    file = data.load(_CROSSSIM)
    wrong, total, configurations = Counter(), 0, 0
    for name, expected in file.items():
        which, found, bits = name.partition("_int_adc")
        if not found:
            continue
        config = (
            ReramConfig.preset("isaac", adc_bits=int(bits), flip=False)
            if which == "isaac"
            else ReramConfig(
                fragment_rows=int(which.removeprefix("forms")), adc_bits=int(bits), flip=False,
                input_bits=8,
            )
        )  # fmt: skip
        mapping = map_weights(config, file[f"{which}_W"].T)
        for how in ("numpy", "kernel"):
            wrong[how] += int((Crossbar(mapping, how)(file[f"{which}_X"]) != expected).sum())
        total, configurations = total + expected.size, configurations + 1
    for how, what in (("numpy", "golden"), ("kernel", "compiled")):
        yield Row(f"CrossSim's products, {configurations} configurations: integers that differ, "
                  f"{what}", wrong[how], Bar("==", 0), f"{total:,} compared")  # fmt: skip


def _real_layers(quick: bool, progress: Progress) -> Iterator[Row]:
    """Trained polarised layers on real activations."""
    progress("trained polarised layers")
    file = data.load(_REAL)
    wrong = cycles = total = 0
    layers = [name.removesuffix("_W") for name in file if name.endswith("_W")]
    for layer in layers:
        bits = int(layer.rpartition("_b")[2])
        weights, inputs = file[f"{layer}_W"].T, file[f"{layer}_X"]
        for adc_bits in (3, 4, 5):
            config = ReramConfig(input_bits=bits, adc_bits=adc_bits, flip=False)
            expected = file[f"{layer}_y_adc{adc_bits}"]
            found = Crossbar(map_weights(config, weights), "kernel")(inputs)
            wrong, total = wrong + int((found != expected).sum()), total + expected.size
        for skip, name in (("leading", "eic"), ("any", "planes")):
            config = ReramConfig.preset(input_bits=bits, skip=skip)
            cycles += int((effective_cycles(config, inputs) != file[f"{layer}_{name}"]).sum())
    yield Row(f"{len(layers)} trained polarised layers, 3 to 5 bits: integers that differ", wrong,
              Bar("==", 0), f"{total:,} compared")  # fmt: skip
    yield Row("their effective input cycles, both ways of skipping: counts that differ", cycles,
              Bar("==", 0))  # fmt: skip


def _nodal(quick: bool, progress: Progress) -> Iterator[Row]:
    """Nodal analysis."""
    file = data.load(_WIRES)
    off = {"one factorisation": 0.0, "every input at once": 0.0}
    crossbars = [key.removesuffix("_G") for key in file if key.endswith("_G")]
    rows = []
    for name in crossbars:
        progress(f"wires, {name}")
        conductances, voltages, exact = (
            file[f"{name}_G"].T,
            file[f"{name}_v"],
            file[f"{name}_exact"],
        )
        size, ohms = name.split("_")[1:]
        wires = Wires(float(ohms) / _CELL, float(ohms) / _CELL)
        found = currents(conductances, voltages, wires)
        off["one factorisation"] = max(off["one factorisation"], _apart(found, exact))
        start = time.process_time()
        everything = effective(conductances, wires)
        took = time.process_time() - start
        every = "every input at once"
        off[every] = max(off[every], _apart(voltages @ everything, exact))
        if size == "16":
            continue
        fast = Approximation.calibrated(wires, any_of([conductances]))
        start = time.process_time()
        approximate = fast(conductances)
        fast_took = time.process_time() - start
        apart = np.abs(voltages @ approximate - exact).max() / exact.max()
        ideal = np.abs(file[f"{name}_ideal"] - exact).max() / exact.max()
        rows.append(Row(
            f"wires of {ohms} ohm a cell, {size} x {size}: error of the fast approximation, of "
            "the largest current", float(apart), Bar("<=", 0.02),
            f"{show(ideal)} without wires; {show(fast.error)} by its calibration; "
            f"{show(1e3 * fast_took)} ms instead of {show(1e3 * took)}",
        ))  # fmt: skip
    for how, error in off.items():
        yield Row(f"nodal analysis, {how}: largest relative error on {len(crossbars)} stored "
                  "crossbars", error, Bar("<=", 1e-8))  # fmt: skip
    yield from rows


def _convolutions(quick: bool, progress: Progress) -> Iterator[Row]:
    """Every convolution of ResNet-14 and ResNet-20."""
    pixels = ResNet.pixels(data.load(_IMAGES)["images"][: 1 if quick else 4])
    wrong, total = Counter(), Counter()
    for name in ("resnet14", "resnet20"):
        network = _network(name)
        for mapping in ("polarised", "offset", "dual"):
            for how in ("gemm", "kernel"):
                progress(f"convolutions of {name}, {mapping}, {how}")
                config = ReramConfig(mapping=mapping, input_bits=8)
                on_crossbars = CrossbarNetwork(network, config, pixels, how)

                def convolve(
                    layer: Convolution, x: torch.Tensor, on_crossbars=on_crossbars, how=how
                ) -> torch.Tensor:
                    quantiser = on_crossbars.quantisers[layer.name]
                    weights = on_crossbars.crossbars[layer.name].mapping.weights().T
                    exact = functional.conv2d(
                        quantiser(x).double(),
                        torch.as_tensor(weights.reshape(layer.weight.shape)).double(),
                        None, layer.stride, layer.size // 2,
                    )  # fmt: skip
                    found = on_crossbars.convolve(layer, x)
                    expected = exact.float() * (quantiser.weight_step * quantiser.input_step)
                    wrong[how] += int((found != expected).sum())
                    total[how] += found.numel()
                    return found

                network(pixels, convolve)
    for how, count in total.items():
        yield Row(f"every convolution of ResNet-14 and ResNet-20, 3 mappings, lossless ADC, {how}: "
                  "values that differ from the integer convolution", wrong[how], Bar("==", 0),
                  f"{count:,} compared")  # fmt: skip


def _products(quick: bool, progress: Progress) -> Iterator[Row]:
    """Products a second."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (256, 128))
    cases = {  # fragments, adc_bits, flip
        "fragments of 8, 4 bits that clip": (8, 4, False),
        "fragments of 4, 3 bits that clip": (4, 3, False),
        "fragments of 16, 5 bits that clip": (16, 5, False),
        "fragments of 8, lossless by flipping": (8, 4, True),
    }
    for what, (m, bits, flip) in cases.items():
        progress(f"products a second, {what}")
        config = ReramConfig(fragment_rows=m, adc_bits=bits, flip=flip, input_bits=8)
        signs = rng.choice([-1, 1], (128 // m, 128)).repeat(m, axis=0)
        weights = signs * rng.integers(0, 256, (128, 128))
        crossbar = Crossbar(map_weights(config, weights))
        rate = _rate(lambda crossbar=crossbar: crossbar(inputs), len(inputs))
        if flip:
            bar, beside = None, f"as {crossbar.how}"
        else:
            few = inputs[:32]
            plain = _rate(lambda c=config, w=weights, x=few: _plain(c, w, x), len(few))
            assert np.array_equal(_plain(config, weights, few), crossbar(few))
            beside = f"plain NumPy {plain:,.0f}, {rate / plain:,.0f} times fewer"
            bar = Bar(">=", 60_000) if m == 8 else None
            beside += "; CrossSim 2,610" if m == 8 else ""
        yield Row(f"products/s, 128 x 128, 8 x 8 bits, 4 slices, batch 256, {what}", rate, bar,
                  f"{beside}; {_ONE_THREAD}")  # fmt: skip
        if m == 8 and not flip:
            worn = Devices(variation=0.1, stuck_off=1e-3, adc_offset=0.2)
            for kind, devices in (
                ("static flaws", worn),
                ("and read noise", Devices(variation=0.1, adc_offset=0.2, read_noise=0.1)),
            ):
                chip = draw(crossbar.mapping, devices)
                flawed = Crossbar(chip)
                assert np.array_equal(flawed(inputs[:2]), product(chip, inputs[:2]))
                rate = _rate(lambda c=flawed: c(inputs), len(inputs))
                yield Row(f"the same, {kind}", rate, None, _ONE_THREAD)


def _images(quick: bool, progress: Progress) -> Iterator[Row]:
    """ResNet-20 an image."""
    pixels = ResNet.pixels(data.load(_IMAGES)["images"][: 16 if quick else 64])
    network = _network("resnet20")
    for what, config, bound, beside in (
        ("4 bits that clip", ReramConfig(input_bits=8, flip=False), 100, "CrossSim 2,112"),
        ("lossless", ReramConfig(input_bits=8), 5, "PyTorch in floating point 1.6"),
    ):
        progress(f"ResNet-20, {what}")
        on_crossbars = CrossbarNetwork(network, config, pixels)
        rate = _rate(lambda run=on_crossbars: run(pixels), len(pixels))
        yield Row(f"ResNet-20, fragments of 8, 8-bit inputs, {what}: ms an image", 1e3 / rate,
                  Bar("<=", bound), f"{beside}; {_ONE_THREAD}")  # fmt: skip


def _cycles(quick: bool, progress: Progress) -> Iterator[Row]:
    """Effective input cycles."""
    pixels = ResNet.pixels(data.load(_IMAGES)["images"][:16])
    goals = {"leading": 12.0, "any": 10.4}
    for name in ("resnet14", "resnet20"):
        network = _network(name)
        for layout in ("channel", "position"):
            for m in (4, 8, 16):
                progress(f"input cycles of {name}, {layout}-major, fragments of {m}")
                if quick and (name, layout) != ("resnet20", "channel") and m != 8:
                    continue
                found = {
                    skip: layer_cycles(
                        network, ReramConfig.preset(fragment_rows=m, skip=skip), pixels, layout
                    )
                    for skip in goals
                }
                mean = {skip: mean_cycles(layers) for skip, layers in found.items()}
                what = f"effective cycles of 16, {name}, {layout}-major, fragments of {m}"
                if m == 8 and layout == "channel":
                    for skip, goal in goals.items():
                        # What a mean is of moves it by more than the bar: it is said.
                        alike = float(np.mean([layer.mean for layer in found[skip]]))
                        yield Row(f"{what}, {skip}: distance from {goal}",
                                  abs(mean[skip] - goal), Bar("<=", 0.3),
                                  f"mean {show(mean[skip])} by conversions, {show(alike)} with all "
                                  "layers alike; without the first and the shortcuts")  # fmt: skip
                else:
                    yield Row(f"{what}: leading, any", ", ".join(map(show, mean.values())))


def _network(name: str) -> ResNet:
    return ResNet(data.load(f"crossbar/{name}_cifar10_state.npz"))


def _apart(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(found / exact - 1).max())


def _rate(run: Callable[[], object], count: int) -> float:
    """Of ``count`` in a ``run``, a CPU-second: the fastest run of half a second's."""
    run()  # caches, tables
    best, start = float("inf"), time.process_time()
    while time.process_time() - start < 0.5:
        before = time.process_time()
        run()
        best = min(best, time.process_time() - before)
    return count / best


def _plain(config: ReramConfig, weights: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """A bit-serial product as one writes it in NumPy, its sums by BLAS; polarised, not flipped."""
    m = config.fragment_rows
    result = np.zeros((len(inputs), weights.shape[1]))
    for start in range(0, len(weights), m):
        part = weights[start : start + m]
        sign = np.where(part.min(axis=0) < 0, -1, 1)
        for s in range(config.slices):
            cells = (np.abs(part) >> s * config.cell_bits & config.top).astype(np.float32)
            for b in range(config.input_bits):
                bits = (inputs[:, start : start + m] >> b & 1).astype(np.float32)
                codes = np.minimum(bits @ cells, config.adc_top)
                result += sign * codes * 2.0 ** (b + s * config.cell_bits)
    return result.astype(np.int64)
