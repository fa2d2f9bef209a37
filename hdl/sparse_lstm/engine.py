"""The sparse-state LSTM in the registry: workloads, register texts, random configurations."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...models.sparse_lstm import golden, workloads
from ...models.sparse_lstm.char_model import CharModel
from ...models.sparse_lstm.config import SparseLstmConfig
from ...models.sparse_lstm.task import Task
from ..engine import Beats, Engine, Workload, WorkloadSource
from . import layout
from .component import SparseLstm
from .cycles import timing

CHAR_STEPS = 32
"""Characters that the character model reads where the caller does not say."""


def workload(name: str, task: Task, config: SparseLstmConfig, **registers: int) -> Workload:
    """``task`` on an engine of ``config``: its beats, its golden states, its cycles.

    ``registers`` (``threshold``, ``skip_inputs``, ``skip_states``) are loaded at run time
    instead of the configuration's values; the engine stays the same.
    """
    run_as = config.replace(**registers)
    trace = golden.run(run_as, task.parameters, task.steps)
    predicted = timing(trace)
    dense = timing(trace, skip_inputs=False, skip_states=False)
    on_chip = config.weights == "on_chip"

    def evaluate(outputs: Mapping[str, Beats]) -> dict[str, Any]:
        going_on = ~trace.steps.start.all(axis=1)  # a first step has no state to skip
        states, columns = trace.state_columns()[going_on], trace.input_columns()
        return {
            **task.judge(layout.states(config, outputs["h"])),
            "state_sparsity": float((trace.hp == 0).mean()),
            "joint_state_sparsity": 1 - float(states.mean()) if len(states) else None,
            "joint_input_sparsity": 1 - float(columns.mean()) if columns.size else None,
            "wrapped_sums": int(trace.wrapped.sum()),
            "saturated_cells": int(trace.saturated.sum()),
            "dense_cycles_formula": dense.cycles,
            "speedup_over_dense": dense.cycles / predicted.cycles,
        }

    outputs: dict[str, Beats] = {"h": layout.state_beats(trace)}
    if not on_chip:
        outputs["fetch"] = layout.fetched_columns(trace)
    return Workload(
        name=name,
        config=config,
        inputs={
            "weights": layout.weight_beats(config, task.parameters)
            if on_chip
            else layout.fetched_beats(trace, task.parameters),
            "biases": layout.bias_beats(config, task.parameters),
            "x": layout.input_beats(config, task.steps),
        },
        outputs=outputs,
        start="x",
        stop="h",
        cycles=predicted.cycles,
        ideal_cycles=predicted.ideal,
        registers={
            "threshold": run_as.threshold,
            "skip_inputs": run_as.skip_inputs,
            "skip_states": run_as.skip_states,
        },
        counters={
            "steps": predicted.steps,
            "input_passes": predicted.input_passes,
            "state_passes": predicted.state_passes,
        },
        evaluate=evaluate,
    )


def _source(
    name: str, summary: str, task: Callable[[SparseLstmConfig, int | None, int], Task]
) -> WorkloadSource[SparseLstmConfig]:
    """A workload whose task dictates shape and formats; a threshold that is set stays."""

    def build(config: SparseLstmConfig, samples: int | None, seed: int) -> Workload:
        return workload(name, task(config, samples, seed), config)

    def configure(config: SparseLstmConfig) -> SparseLstmConfig:
        fitted = task(config, 1, 0).fit(config)
        if "threshold" in config.model_fields_set:
            fitted = fitted.replace(threshold=config.threshold)
        return fitted

    return WorkloadSource(summary, build, configure)


def _char(config: SparseLstmConfig, samples: int | None, seed: int) -> Task:
    kind = config.input_kind if "input_kind" in config.model_fields_set else "index"
    return CharModel.load().task(config.batch, samples or CHAR_STEPS, kind)


def _silero(threshold: float) -> Callable[[SparseLstmConfig, int | None, int], Task]:
    return lambda config, samples, seed: workloads.silero(samples, threshold)


def random_config(rng: np.random.Generator) -> SparseLstmConfig:
    """A small configuration, anything that the rules allow."""
    while True:
        batch, banks = int(rng.choice([1, 1, 2, 3, 4])), int(rng.choice([1, 1, 1, 2, 3]))
        rows = 4 * int(rng.integers(banks, banks + 4))
        units = int(rng.integers(1, rows // 4 + 1))
        parallel = [e for e in range(1, batch + 1) if batch % e == 0] + [batch * units]
        kind = rng.choice(["vector", "vector", "vector", "index"])
        streamed = banks == 1 and rng.random() < 0.3
        ports = [p for p in range(1, rows * banks + 1) if rows * banks % p == 0]
        weight_bits, state_bits, input_bits = (int(b) for b in rng.integers(2, 10, 3))
        entries = 1 << rng.integers(4, 9, 2)
        cell_bits = int(rng.integers(4, 17))
        fields = {
            "input_size": int(rng.integers(1, 20)),
            "hidden_size": int(rng.integers(1, 20)),
            "layers": int(rng.choice([1, 1, 2])),
            "bidirectional": bool(rng.random() < 0.3),
            "batch": batch,
            "banks": banks,
            "lanes": rows * batch * banks,
            "elements": int(rng.choice(parallel)),
            "window": int(rng.integers(1, 5)),
            "queue": int(rng.integers(2, 9)),
            "dsp_pack": bool(rng.random() < 0.3),
            "input_kind": str(kind),
            "weights": "streamed" if streamed else "on_chip",
            "weight_port": int(rng.choice(ports)),
            "weight_bits": weight_bits,
            "weight_frac": weight_bits - int(rng.integers(0, 3)),
            "input_weight_frac": weight_bits - int(rng.integers(1, 4)),
            "input_bits": input_bits,
            "input_frac": state_bits - int(rng.integers(1, 4)),
            "state_bits": state_bits,
            "accumulator_bits": int(rng.integers(6, 30)),
            "product_shift": int(rng.choice([0, 0, 1, 3])),
            "bias_bits": int(rng.integers(2, 17)),
            "bias_frac": int(rng.integers(0, 6)),
            "gate_bits": int(rng.integers(2, 13)),
            "sigmoid_entries": int(entries[0]),
            "tanh_entries": int(entries[1]),
            "cell_bits": cell_bits,
            "cell_frac": int(rng.integers(0, cell_bits)),
            "threshold": int(rng.integers(0, (1 << (state_bits - 1)) // 2 + 1)),
            "skip_inputs": bool(rng.random() < 0.8),
            "skip_states": bool(rng.random() < 0.8),
            "prune_output": bool(rng.random() < 0.5),
        }
        try:
            return SparseLstmConfig(**fields)
        except ValueError:
            continue


ENGINE = Engine(
    name="sparse_lstm",
    summary="LSTM layers that multiply only nonzero states and inputs",
    paper="Ardakani, Ji, Gross: Learning to Skip Ineffectual Recurrent Computations in LSTMs "
    "(DATE 2019)",
    headline="over 90 % of states pruned without loss of accuracy; up to 5.2x over dense states",
    config=SparseLstmConfig,
    component=SparseLstm,
    workloads={
        "char": _source("char", "character model of Python's documentation, one-hot input", _char),
        "ocr": _source(
            "ocr", "BiLSTM reading a line of print, 8-bit weights and states",
            lambda config, samples, seed: workloads.ocr("W8A8", samples),
        ),
        "ocr_w4a4": _source(
            "ocr_w4a4", "the same with 4-bit weights and states",
            lambda config, samples, seed: workloads.ocr("W4A4", samples),
        ),
        "ocr_interleaved": _source(
            "ocr_interleaved", "both directions of ocr step by step in turn",
            lambda config, samples, seed: workloads.ocr("W8A8", samples, interleaved=True),
        ),
        "silero": _source("silero", "voice detection in a minute of speech", _silero(0.0)),
        "silero_pruned": _source(
            "silero_pruned", "the same, states below 0.05 pruned", _silero(0.05)
        ),
        "random": WorkloadSource(
            "random weights, inputs and restarts",
            lambda config, samples, seed: workload(
                "random", workloads.random(config, samples, seed), config
            ),
        ),
        **{
            corner: WorkloadSource(
                (text.__doc__ or corner).splitlines()[0],
                lambda config, samples, seed, corner=corner: _corner(config, samples, seed, corner),
            )
            for corner, text in workloads.CORNERS.items()
        },
    },
    registers={
        "threshold": "states of smaller magnitude count as zero in the next step",
        "skip_inputs": "skip zero input columns",
        "skip_states": "skip zero state columns",
        "steps": "steps begun",
        "input_passes": "passes over input columns",
        "state_passes": "passes over state columns",
        "wait_input": "cycles idle for want of input",
        "wait_state": "cycles idle until the step before has its states",
        "wait_weights": "cycles idle for want of streamed weights",
        "wait_results": "cycles idle because the cell unit has not read the results before",
        "wait_output": "cycles in which a beat of h was held up",
    },
    random_config=random_config,
    cycles="a step of n passes over nonzero columns: about max(n * groups, emissions * folds); "
    "exactly: thresher.hdl.sparse_lstm.cycles.timing",
)  # fmt: skip


def _corner(config: SparseLstmConfig, samples: int | None, seed: int, corner: str) -> Workload:
    task = workloads.adversarial(config, corner, samples, seed)
    return workload(corner, task, config, threshold=task.config.threshold)
