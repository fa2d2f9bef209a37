"""RTL with a chip's arrays in it: equality, the independent check of its statistics, speed."""

import dataclasses
import math
from collections.abc import Iterator
from functools import cache

import numpy as np

from ..models import data
from ..models.reram.array import Chip, product
from ..models.reram.crossbar import Crossbar
from ..models.reram.devices import Devices, draw
from ..models.reram.layer import Layer
from ..models.reram.layer_config import ReramLayerConfig
from ..models.reram.wires import Wires
from ..sim.analogue import Cosimulation, cosimulate
from ..sim.toolchain import ToolMissing
from .report import Bar, Progress, Row, show

_REAL, _NAME = "crossbar/real_layer_polarised_m8.npz", "res1_0_conv2_b8"
_LARGE = "res3_1_conv1_b8"
"""Ten crossbars."""
_STORED = ((_NAME, 3), (_NAME, 4), ("res1_0_conv2_b16", 4), (_LARGE, 3))
"""Layers, and bits of ADCs."""
_FLAWS = {
    "variation of 0.1": Devices(variation=0.1, on_off=30),
    "1 % of cells stuck at each end": Devices(stuck_off=0.01, stuck_on=0.01),
    "5 % of sign indicators inverted": Devices(sign_faults=0.05),
    "ADCs with offsets and nonlinearity": Devices(adc_offset=0.4, adc_nonlinearity=0.2),
    "drops along wires": Devices(wires=Wires(1e-4, 1e-4), on_off=100),
    "read noise of 0.3 levels": Devices(read_noise=0.3),
}
_ALL = Devices(
    variation=0.1, on_off=30, stuck_off=0.01, stuck_on=0.01, sign_faults=0.05, adc_offset=0.4,
    adc_nonlinearity=0.2, read_noise=0.3, wires=Wires(1e-4, 1e-4),
)  # fmt: skip
_CHIPS, _MODELS = 100, 2000
"""Drawn for the RTL, and for the model alone."""


def cosim_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Differences from the model and from stored results, statistics, cycles a second."""
    try:
        for part in (_stored, _equal, _statistics, _speed):
            yield from part(quick, progress)
    except (data.MissingData, ToolMissing) as missing:
        yield Row.skip("RTL with a chip's arrays in it", str(missing))


def _stored(quick: bool, progress: Progress) -> Iterator[Row]:
    """CrossSim's results of a trained polarised layer, cells and ADCs ideal up to saturation."""
    for name, bits in _STORED[: 1 if quick else None]:
        what = f"{name}, ADCs of {bits} bits"
        progress(f"stored results of {what}")
        layer, images = _layer(name, bits, flip=False)
        expected = data.load(_REAL)[f"{name}_y_adc{bits}"]
        for which, chip in (("its own arrays", None), ("a chip", Chip.ideal(layer.mapping))):
            wrong = _results(cosimulate(layer, images, chip)) != expected
            yield Row(f"RTL with {which}, {what}: results that differ from CrossSim's",
                      int(wrong.sum()), Bar("==", 0), f"{wrong.size} results")  # fmt: skip


def _equal(quick: bool, progress: Progress) -> Iterator[Row]:
    """Each flaw alone, and all together under stalls, after a reset, and on cocotb."""
    layer, images = _layer()
    own = cosimulate(layer, images).results
    progress("RTL with a chip without flaws")
    wrong = int((cosimulate(layer, images, draw(layer.mapping, Devices())).results != own).sum())
    yield Row(f"RTL with a chip without flaws, {_NAME}: results that differ from those of its own "
              "arrays", wrong, Bar("==", 0), f"{own.size} results")  # fmt: skip
    for name, devices in _FLAWS.items():
        progress(f"RTL with {name}")
        chip = draw(layer.mapping, devices, 1)
        yield _difference(f"RTL with {name}", layer, images, chip, cosimulate(layer, images, chip))
    chip = draw(layer.mapping, _ALL, 2)
    for seed in range(2 if quick else 10):
        progress(f"RTL with all flaws under stalls, {seed}")
        run = cosimulate(layer, images, chip, stall="random", seed=seed, reset_at=3000 + 977 * seed)
        yield _difference(f"RTL with all flaws, stalls {seed}, reset", layer, images, chip, run)
    if not quick:
        progress(f"RTL of {_LARGE}")
        large, windows = _layer(_LARGE)
        worn = draw(large.mapping, _ALL, 3)
        run = cosimulate(large, windows, worn, stall="random")
        yield _difference(f"RTL with all flaws, {_LARGE}, stalls", large, windows, worn, run)
    what = "RTL with all flaws on cocotb"
    try:
        progress(what)
        few = images[:2] if quick else images
        run = cosimulate(layer, few, chip, backend="cocotb", stall="random")
        yield _difference(what, layer, few, chip, run)
    except ToolMissing as missing:
        yield Row.skip(what, str(missing), Bar("==", 0))


def _difference(what: str, layer: Layer, images: np.ndarray, chip: Chip, run: Cosimulation) -> Row:
    """Of results from those of the golden model, NumPy's; with those of an ideal chip beside."""
    rows = layer.lines(images).reshape(-1, layer.config.inputs)
    golden = layer.results(product(chip, rows) + layer.biases)
    found = _results(run)
    ideal = layer.results(product(Chip.ideal(layer.mapping), rows) + layer.biases)
    return Row(f"{what}: results that differ from the model's", int((found != golden).sum()),
               Bar("==", 0), f"{int((found != ideal).sum())} of {found.size} differ from an ideal "
               f"chip's; sign errors {run.run.registers['sign_errors']}")  # fmt: skip


def _statistics(quick: bool, progress: Progress) -> Iterator[Row]:
    """Chips in the RTL against other chips in the model; a figure of a chip is its mean error."""
    layer, images = _layer()
    rows = layer.lines(images).reshape(-1, layer.config.inputs)
    ideal = product(Chip.ideal(layer.mapping), rows)
    many = _MODELS if quick else 10 * _MODELS
    one = draw(layer.mapping, Devices(read_noise=0.3))

    def chips(seed: int) -> Chip:
        return draw(layer.mapping, Devices(variation=0.1, read_noise=0.1), seed)

    def reads(seed: int) -> Chip:
        return dataclasses.replace(one, seed=seed)

    for what, make in (("chips with variation of 0.1", chips), ("reads with noise of 0.3", reads)):
        progress(f"{_CHIPS} {what} in the RTL")
        found = np.array(
            [_results(cosimulate(layer, images, make(seed))) - ideal for seed in range(_CHIPS)]
        )
        progress(f"{many:,} {what} in the model")
        seeds = range(_CHIPS, _CHIPS + many)
        expected = np.array([Crossbar(make(seed))(rows) - ideal for seed in seeds])
        mean, deviation = _apart(found.mean(axis=(1, 2)), expected.mean(axis=(1, 2)))
        furthest = np.abs(_apart(found, expected)).max(axis=(1, 2))
        levels = expected.mean(axis=(1, 2))
        for name, off, most, value in (
            ("mean", mean, furthest[0], levels.mean()),
            ("standard deviation", deviation, furthest[1], levels.std(ddof=1)),
        ):
            yield Row(
                f"{_CHIPS} {what} in the RTL, {_NAME}: {name} of the mean error, distance from "
                f"that of {many:,} others in the model, in standard errors", abs(float(off)),
                Bar("<=", 3), f"{show(float(value))}; of {ideal.size} single results' at most "
                f"{show(float(most))}",
            )  # fmt: skip


def _apart(found: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances of means and of standard deviations along the first axis, in the standard errors
    that samples of one and the same distribution have."""
    few = 1 / len(found) + 1 / len(expected)
    mean, deviation = expected.mean(axis=0), expected.std(axis=0, ddof=1)
    fourth = ((expected - mean) ** 4).mean(axis=0) / deviation**4  # 3 where normal
    return (
        (found.mean(axis=0) - mean) / (deviation * math.sqrt(few)),
        (found.std(axis=0, ddof=1) / deviation - 1) / (np.sqrt((fourth - 1) * few) / 2),
    )


def _speed(quick: bool, progress: Progress) -> Iterator[Row]:
    """Of the simulator, one thread."""
    layer, images = _layer()
    images = np.tile(images, (4 if quick else 40, 1, 1, 1))
    rate = {}
    for what, devices in (("its own arrays", None), ("a chip", Devices(variation=0.1)),
                          ("a chip with read noise", Devices(read_noise=0.3))):  # fmt: skip
        progress(f"speed of the RTL with {what}")
        chip = devices and draw(layer.mapping, devices)
        runs = [cosimulate(layer, images, chip).run for _ in range(3)]
        rate[what] = max(run.cycles / run.seconds for run in runs)
        yield Row(f"RTL with {what}, {_NAME}: cycles simulated a second", round(rate[what]), None,
                  f"{show(rate[what] / rate['its own arrays'])} of its own arrays'")  # fmt: skip


@cache
def _layer(name: str = _NAME, adc_bits: int = 4, flip: bool = True) -> tuple[Layer, np.ndarray]:
    """A trained layer's windows one by one, and what came under them; results are its sums."""
    file = data.load(_REAL)
    weights, rows = file[f"{name}_W"].T, file[f"{name}_X"]
    config = ReramLayerConfig(
        channels=len(weights), height=1, width=1, kernel=1, padding=0, features=weights.shape[1],
        input_bits=int(name.rpartition("b")[2]), adc_bits=adc_bits, flip=flip, activation="none",
        output_bits=32,
    )  # fmt: skip
    layer = Layer(config, weights, np.zeros(weights.shape[1], np.int64), 1, 0, (1 << 31) - 1)
    return layer, rows[:, :, None, None].astype(np.int64)


def _results(run: Cosimulation) -> np.ndarray:
    """[vectors, features]."""
    return run.results.transpose(0, 2, 3, 1).reshape(-1, run.results.shape[1])
