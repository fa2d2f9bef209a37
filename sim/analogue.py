"""A layer on crossbars whose arrays are those of a chip, with all of its flaws: co-simulation.

The periphery is the generated RTL, cycle for cycle; every :class:`~thresher.hdl.reram.array.Array`
in it is replaced by what a :class:`~thresher.models.reram.array.Chip` reads, in C++ that the
compiled model shares.  The results are those of the golden layer on that chip, bit for bit, read
noise included: it is a hash of where and when, and the RTL says both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..hdl.reram.array import Array
from ..hdl.reram.component import Reram
from ..hdl.verilog import ports
from ..models.reram.array import Chip, normal_deviates
from ..models.reram.kernel import shape_of
from ..models.reram.layer import Layer
from ..models.reram.layer_config import ReramLayerConfig
from . import beats, stalls
from .run import Run, Wave
from .simulate import runner
from .substitute import Substitute

_HERE = Path(__file__).parent
_SOURCE = _HERE / "analogue.cpp"
_HEADER = _HERE.parent / "models" / "reram" / "read.h"

_BODY = """\
  import "DPI-C" function chandle thresher_chip_open(
    input string path, input int rows, input int bits);
  import "DPI-C" function void thresher_chip_close(input chandle chip);
  import "DPI-C" function void thresher_chip_read(
    input chandle chip, input int unsigned number, input int unsigned fragment,
    input int unsigned place, input int unsigned vector, input bit [{rows}-1:0] lines,
    output bit [{bits}-1:0] codes);

  chandle chip;
  string path;
  initial begin
    if (!$value$plusargs("thresher_chip=%s", path)) path = "";
    chip = thresher_chip_open(path, {rows}, {bits});
  end
  final thresher_chip_close(chip);

  // All columns are converted when they are sampled: one call a step.
  bit [{bits}-1:0] found, held;
  bit [{width}-1:0] stages [{latency}];
  always @(posedge clk) begin
    if (sample) begin
      thresher_chip_read(chip, {number}, {fragment}, {bit}, vector, lines, found);
      held <= found;
    end
    stages[0] <= held[{column} * {width} +: {width}];
    for (int k = 1; k < {latency}; k++) stages[k] <= stages[k - 1];
  end
  assign codes = stages[{latency} - 1];
"""


@dataclass(frozen=True)
class Cosimulation:
    """What a layer gave."""

    results: np.ndarray
    """int64 [n, features, height', width']."""
    run: Run
    """Beats, cycles, counters."""


def cosimulate(
    layer: Layer,
    images: np.ndarray,
    chip: Chip | None = None,
    *,
    backend: str = "verilator",
    stall: stalls.Kind = "none",
    seed: int = 0,
    reset_at: int | None = None,
    caught: bool = True,
    wave: Wave | None = None,
    progress: Callable[[int], object] | None = None,
) -> Cosimulation:
    """Runs ``layer`` on ``images`` [n, channels, height, width], one after the other.

    ``chip`` holds the layer's mapping; without one the arrays are the RTL's own, which have no
    flaws.  ``backend``: ``verilator`` or ``cocotb``.  ``stall`` holds all streams up, as ``seed``
    says; ``reset_at`` resets in that cycle and starts over; ``wave`` is a waveform to write.

    Sign indicators are loaded as the chip reads them, with the parity of what was written, which
    ``caught`` faults do not fit; else with parity that fits what is read.

    Raises :class:`ValueError` for another backend, for a chip of another layer and for images that
    do not fit, and as the backend does.
    """
    if backend not in ("verilator", "cocotb"):
        raise ValueError(f'backend "{backend}" runs no co-simulation; use "verilator" or "cocotb"')
    if chip is not None and chip.mapping is not layer.mapping:
        raise ValueError("the chip holds another mapping; draw one of layer.mapping")
    config: Any = layer.config
    component, lines, load = _component(config), layer.lines(images), layer.load(chip)
    if not caught:
        load["indicators"] = _fitting(load["indicators"])
    known = ports(component)
    given: dict[str, Any] = {**load, "activations": np.transpose(images, (0, 2, 3, 1)).ravel()}
    shape = (*lines.shape[:3], config.features)
    with TemporaryDirectory(prefix="thresher-") as folder:
        options: dict[str, Any] = {}
        if chip is not None:
            options["substitutes"] = [analogue_array(chip, Path(folder) / "chip")]
        run = runner(backend)(
            component,
            {name: beats.pack(known.inputs[name].shape, words) for name, words in given.items()},
            {"results": prod(shape)},
            registers=layer.registers(),
            stalls={name: stalls.pattern(stall, name, seed) for name in known.streams},
            reset_at=reset_at,
            timeout=10_000 + 8 * config.fragments * config.input_bits * config.scan,
            wave=wave,
            progress=progress,
            **options,
        )
    results = np.asarray(beats.unpack(known.outputs["results"].shape, run.outputs["results"]))
    if len(results) > prod(shape):
        raise RuntimeError(f"{len(results)} results came, more than the {prod(shape)} there are")
    return Cosimulation(results.reshape(shape).transpose(0, 3, 1, 2).astype(np.int64), run)


def analogue_array(chip: Chip, path: Path) -> Substitute:
    """What takes the place of the arrays of a layer's engine; writes the chip to ``path``.

    The chip's mapping is one of a :class:`ReramLayerConfig`.
    """
    config: Any = chip.mapping.config
    _write(chip, config, path)
    there = ports(Array(config)).registers
    width = config.adcs * config.adc_bits
    # "bit" is a keyword.
    names = {
        name: rf"\{name} " if there[name].width else "0"
        for name in ("number", "fragment", "bit", "column")
    }
    body = _BODY.format(
        rows=config.fragment_rows,
        bits=config.scan * width,
        width=width,
        latency=Array.LATENCY,
        **names,
    )
    return Substitute("Array", body, (_SOURCE,), (_HEADER,), (f"+thresher_chip={path}",))


def _write(chip: Chip, c: ReramLayerConfig, path: Path) -> None:
    """The file of a chip, as ``analogue.cpp`` reads it."""
    tables = [chip.cells, normal_deviates()]
    thresholds = 0
    if chip.thresholds is not None and chip.adc is not None:
        thresholds = chip.thresholds.size
        tables += [chip.thresholds, chip.adc]
    place = (
        c.down, c.across, c.fragments, c.outputs, c.scan, c.adcs, c.adc_outputs, c.adc_bits,
        normal_deviates().size, thresholds,
    )  # fmt: skip
    with path.open("wb") as file:
        np.array([*shape_of(chip), *place], np.int64).tofile(file)
        for table in tables:
            np.ascontiguousarray(table, np.int32).tofile(file)


def _fitting(indicators: dict[str, Any]) -> dict[str, Any]:
    """The words with the parity of what they hold."""
    words = zip(indicators["flips"], indicators["signs"], strict=True)
    ones = [sum(int(part).bit_count() for part in word) for word in words]
    return {**indicators, "parity": np.array(ones) & 1}


@lru_cache(maxsize=8)
def _component(config: ReramLayerConfig) -> Reram:
    """One object a configuration, so that repeated runs elaborate it once."""
    return Reram(config)
