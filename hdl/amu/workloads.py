"""What the engine is run on: random layers, corners, layers that two public programs learnt."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...models.amu.config import AmuConfig
from ...models.amu.layer import Layer
from ..engine import Beats, Workload, WorkloadSource
from .contents import Contents, fixed_layer, random_layer
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

    Half-precision numbers are ``values`` in their order (:func:`.half.sortable`) and ``bits``, what
    is sent.  ``evaluate`` judges results [rows, outputs].
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


def _random(config: AmuConfig, samples: int | None, seed: int) -> Workload:
    rng = np.random.default_rng(seed)
    layer = fixed_layer(config) if config.contents == "fixed" else random_layer(config, rng)
    rows, inputs = samples or ROWS, int(layer.encoder.dims.max()) + 1
    if config.input_kind == "float16":
        bits = rng.integers(0, 1 << 16, (rows, inputs))
        bits[(bits & 0x7FFF) > 0x7C00] &= 0xFC00  # no NaN
        return workload("random", config, layer, sortable(bits), bits=bits)
    low, high = config.input.limits
    return workload("random", config, layer, rng.integers(low, high + 1, (rows, inputs)))


def sortable(bits: np.ndarray) -> np.ndarray:
    """Integers in the order of the half-precision numbers of ``bits``, the zeros equal."""
    bits = np.asarray(bits).astype(np.int64)
    return np.where(bits >> 15, -(bits & 0x7FFF), bits)


WORKLOADS: dict[str, Source] = {
    "random": WorkloadSource("random trees, tables and rows", _random),
}
