"""What the engine is run on: random layers, corners, layers that two public programs learnt."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...models.amu.config import AmuConfig
from ...models.amu.encoder import Encoder
from ...models.amu.half import half_bits, sortable
from ...models.amu.layer import Format, Layer
from ...models.data import load
from ..engine import Beats, Workload, WorkloadSource
from .contents import Contents, extreme_layer, fixed_layer, random_layer
from .cycles import load_beats, timing
from .shape import Shape

Source = WorkloadSource[AmuConfig]
Evaluate = Callable[[np.ndarray], dict[str, Any]]

ROWS = 256
"""Rows where the caller does not say how many."""


def workload(
    name: str,
    config: AmuConfig,
    layer: Layer,
    values: np.ndarray,
    evaluate: Evaluate = lambda results: {},
    bits: np.ndarray | None = None,
) -> Workload:
    """``values`` int [rows, inputs] through ``layer`` on an engine of ``config``.

    Half-precision numbers are ``values`` in their order (:mod:`thresher.models.amu.half`) and
    ``bits``, what is sent.  ``evaluate`` judges results [rows, outputs].
    """
    shape = Shape(config)
    contents = Contents.of(config, layer)
    results = layer(values)
    sent = values if bits is None else bits
    predicted = timing(shape, len(values))
    loads: dict[str, Beats] = {}
    if config.contents == "loaded":
        loads = {
            "thresholds": contents.threshold_beats,
            "tables": contents.table_beats,
            "biases": contents.bias_beats,
        }
    return Workload(
        name=name,
        config=config,
        inputs=loads | {"x": row_beats(shape, sent[:, layer.encoder.dims])},
        outputs={"y": result_beats(shape, results)},
        start="x",
        stop="y",
        cycles=predicted.cycles,
        ideal_cycles=predicted.ideal,
        counters={"rows": len(values), "load_beats": load_beats(shape) if loads else 0},
        evaluate=lambda outputs: (
            {"cycles_a_row": predicted.cycles / len(values)}
            | evaluate(results_of(shape, outputs["y"]))
        ),
    )


def row_beats(shape: Shape, values: np.ndarray) -> np.ndarray:
    """Beats [beats, lanes, levels] of what trees look at [rows, codebooks, levels]."""
    lanes = shape.config.parallel_codebooks
    fill = shape.groups * lanes - shape.config.codebooks
    padded = np.pad(values, ((0, 0), (0, fill), (0, 0)))
    return padded.reshape(-1, lanes, shape.config.levels)


def result_beats(shape: Shape, results: np.ndarray) -> dict[str, np.ndarray]:
    """Beats of results [rows, outputs]."""
    lanes = shape.config.parallel_outputs
    padded = np.pad(results, ((0, 0), (0, shape.folds * lanes - shape.config.outputs)))
    last = np.arange(shape.folds) == shape.folds - 1
    return {"values": padded.reshape(-1, lanes), "last": np.tile(last, len(results)).astype(int)}


def results_of(shape: Shape, beats: Mapping[str, np.ndarray]) -> np.ndarray:
    """[rows, outputs] from their beats."""
    width = shape.folds * shape.config.parallel_outputs
    return np.asarray(beats["values"]).reshape(-1, width)[:, : shape.config.outputs]


def _drawn(config: AmuConfig, seed: int) -> tuple[Layer, np.random.Generator]:
    """The engine's own layer or, where it is loaded, a random one."""
    rng = np.random.default_rng(seed)
    return fixed_layer(config) if config.contents == "fixed" else random_layer(config, rng), rng


def _random(config: AmuConfig, samples: int | None, seed: int) -> Workload:
    layer, rng = _drawn(config, seed)
    shape = samples or ROWS, int(layer.encoder.dims.max()) + 1
    if config.input_kind == "float16":
        bits = rng.integers(0, 1 << 16, shape)
        bits[(bits & 0x7FFF) > 0x7C00] &= 0xFC00  # no NaN
        return workload("random", config, layer, sortable(bits), bits=bits)
    low, high = config.input.limits
    return workload("random", config, layer, rng.integers(low, high + 1, shape))


def _ties(config: AmuConfig, samples: int | None, seed: int) -> Workload:
    layer, rng = _drawn(config, seed)
    trees = layer.encoder
    codes = rng.integers(0, trees.prototypes, (samples or ROWS, trees.codebooks))
    return _toward("ties", config, layer, codes, rng)


def _extremes(config: AmuConfig, samples: int | None, seed: int) -> Workload:
    layer, rng = _drawn(config, seed)
    if config.contents == "loaded":
        layer = extreme_layer(config, rng)
    output = rng.integers(0, layer.outputs, samples or ROWS)
    columns = layer.tables[:, :, output]
    codes = np.where(rng.random(len(output)) < 0.5, columns.argmax(axis=1), columns.argmin(axis=1))
    return _toward("extremes", config, layer, codes.T, rng)


def _toward(
    name: str, config: AmuConfig, layer: Layer, codes: np.ndarray, rng: np.random.Generator
) -> Workload:
    """Rows that come near ``codes`` (:func:`_choosing`)."""
    values = _choosing(layer, codes)
    if config.input_kind != "float16":
        return workload(name, config, layer, values)
    values = values.clip(-0x7C00, 0x7C00)
    zeros = rng.integers(0, 2, values.shape) << 15  # of either sign
    bits = half_bits(values) | np.where(values == 0, zeros, 0)
    return workload(name, config, layer, values, bits=bits)


def _choosing(layer: Layer, codes: np.ndarray) -> np.ndarray:
    """Rows that have ``codes`` [rows, codebooks], as far as trees allow, by values that equal the
    threshold or are next to it."""
    trees = layer.encoder
    books = np.arange(trees.codebooks)
    values = np.zeros((len(codes), int(trees.dims.max()) + 1), np.int64)
    for level in range(trees.levels):
        node = (1 << level) - 1 + (codes >> (trees.levels - level))
        right = codes >> (trees.levels - 1 - level) & 1
        values[:, trees.dims[:, level]] = trees.thresholds[books, node] + right
    return values.clip(*layer.input.limits)


def _fitted(config: AmuConfig, layer: Layer, **formats: Any) -> AmuConfig:
    """The engine of ``layer``, as parallel as ``config`` and with no fewer bits."""
    needed = AmuConfig.fit(layer)
    across = min(config.parallel_outputs, needed.outputs)
    return needed.replace(
        parallel_codebooks=min(config.parallel_codebooks, needed.codebooks),
        parallel_outputs=across,
        load_port=config.load_port if config.load_port and across % config.load_port == 0 else 0,
        table_bits=max(config.table_bits, needed.table_bits),
        bias_bits=max(config.bias_bits, needed.bias_bits),
        **formats,
    )


def _halut(name: str) -> Source:
    """Vectors that another engine's RTL was run on: half-precision inputs, signed tables."""

    def stored() -> tuple[Layer, dict[str, np.ndarray]]:
        file = {k: v for k, v in load("halut_rtl_vectors.npz").items() if k.startswith(f"{name}_")}
        found = {k.removeprefix(f"{name}_"): v for k, v in file.items()}
        books, levels = found["inp"].shape[1:]
        thresholds = found["thr"].reshape(books, 1 << levels)[:, :-1]
        trees = Encoder(
            np.arange(books * levels).reshape(books, levels), sortable(thresholds.view(np.uint16))
        )
        tables = found["lut"].transpose(1, 2, 0)
        return Layer(trees, tables, np.zeros(tables.shape[2], int), Format(16, True)), found

    def build(config: AmuConfig, samples: int | None, seed: int) -> Workload:
        layer, found = stored()
        bits = found["inp"].view(np.uint16)[:samples].reshape(-1, layer.encoder.dims.size)
        sums = found["out"][:samples]
        return workload(
            f"halut_{name}", config, layer, sortable(bits), bits=bits.astype(np.int64),
            evaluate=lambda results: {"wrong_sums": int((results != sums).sum())},
        )  # fmt: skip

    def configure(config: AmuConfig) -> AmuConfig:
        return _fitted(config, stored()[0], input_kind="float16")

    return WorkloadSource(f"vectors {name} of halut's RTL, with the sums of IEEE comparisons",
                          build, configure)  # fmt: skip


def _bolt(name: str, summary: str) -> Source:
    """A product that bolt learnt: its integers, and what they are worth."""

    def stored(codebooks: int) -> tuple[Layer, np.ndarray, dict[str, np.ndarray]]:
        file = load("halut_bolt_small.npz")
        there = [c for c in range(1, 65) if f"{name}_C{c}_bolt_vals" in file]
        nearest = min(there, key=lambda c: abs(c - codebooks))
        prefix = f"{name}_C{nearest}_bolt_"
        found = {k.removeprefix(prefix): v for k, v in file.items() if k.startswith(prefix)}
        dims = np.arange(found["dims"].size).reshape(found["dims"].shape)
        tables = found["lut_u8"].transpose(1, 2, 0)
        layer = Layer(Encoder(dims, found["vals"]), tables, np.zeros(tables.shape[2], int))
        if f"{name}_A_test" not in file:
            return layer, _choosing(layer, found["enc"].astype(np.int64)), found
        rows = file[f"{name}_A_test"]
        found["exact"] = rows @ file[f"{name}_B"]
        # A scaled value exceeds an integer if it does so rounded up.
        scaled = np.ceil((rows[:, found["dims"]] - found["x_offset"]) * found["x_scale"])
        return layer, scaled.clip(0, 255).astype(np.int64).reshape(len(rows), -1), found

    def build(config: AmuConfig, samples: int | None, seed: int) -> Workload:
        layer, values, found = stored(config.codebooks)

        def evaluate(results: np.ndarray) -> dict[str, Any]:
            products = results / found["lut_scale"] + found["lut_offset"]
            off = np.abs(products - found["Y_intsum"][: len(products)])
            figures = {"wrong_sums": int((off * found["lut_scale"] > 0.01).sum())}
            if "exact" not in found:
                return figures
            exact = found["exact"][: len(products)]
            spread = exact - found["exact"].mean(axis=0)
            error = ((products - exact) ** 2).sum()
            return figures | {"nmse": float(error / (spread**2).sum())}

        return workload(name, config, layer, values[:samples], evaluate)

    def configure(config: AmuConfig) -> AmuConfig:
        return _fitted(config, stored(config.codebooks)[0])

    return WorkloadSource(summary, build, configure)


WORKLOADS: dict[str, Source] = {
    "random": WorkloadSource("random trees, tables and rows", _random),
    "ties": WorkloadSource("inputs that equal a threshold, or are next to one", _ties),
    "extremes": WorkloadSource("the greatest and the least sums that there can be", _extremes),
    "halut_16x8": _halut("C16M8"),
    "halut_32x32": _halut("C32M32"),
    "halut_corner": _halut("corner_C16M8"),
    "ar1": _bolt("ar1", "rows of an AR(1) process times a matrix, as bolt learnt it"),
    "digits": _bolt("digits", "rows of written digits times a matrix, as bolt learnt it"),
    "uniform": _bolt("uni", "uniform rows times a matrix, as bolt learnt it"),
}
