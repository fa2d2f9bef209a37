"""What the LSTM engine is run on: trained networks on real data, random data, corners."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...models.sparse_lstm.config import SparseLstmConfig
from ..engine import Beats, Workload, WorkloadSource
from . import layout
from .cycles import timing

if TYPE_CHECKING:  # golden models bring PyTorch: seconds that only a run is worth
    from ...models.sparse_lstm.task import Task

    MakeTask = Callable[[SparseLstmConfig, int | None, int], Task]

Source = WorkloadSource[SparseLstmConfig]

CHAR_STEPS = 32
"""Characters that the character model reads where the caller does not say."""

CORNERS = {
    "zero_state": "no state is ever nonzero",
    "full_state": "no state and no input is ever zero",
    "zero_runs": "zeros from end to end, but for three units",
    "saturation": "cell states at both ends of their range",
    "ties": "products and table arguments half way between two integers",
    "at_threshold": "states of exactly the threshold's magnitude",
    "restarts": "single elements of the batch start anew in mid-sequence",
}


def workload(name: str, task: "Task", config: SparseLstmConfig, **registers: int) -> Workload:
    """``task`` on an engine of ``config``: its beats, its golden states, its cycles.

    ``registers`` (``threshold``, ``skip_inputs``, ``skip_states``) are loaded at run time
    instead of the configuration's values; the engine stays the same.
    """
    from ...models.sparse_lstm import golden

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


def _trained(name: str, summary: str, task: "MakeTask") -> Source:
    """A workload whose task dictates shape and formats; a threshold that is set stays."""

    def build(config: SparseLstmConfig, samples: int | None, seed: int) -> Workload:
        return workload(name, task(config, samples, seed), config)

    def configure(config: SparseLstmConfig) -> SparseLstmConfig:
        fitted = task(config, 1, 0).fit(config)
        if "threshold" in config.model_fields_set:
            fitted = fitted.replace(threshold=config.threshold)
        return fitted

    return WorkloadSource(summary, build, configure)


def _made(name: str, summary: str, task: "MakeTask") -> Source:
    """A workload made for the configuration as it is; it may load another threshold."""

    def build(config: SparseLstmConfig, samples: int | None, seed: int) -> Workload:
        made = task(config, samples, seed)
        return workload(name, made, config, threshold=made.config.threshold)

    return WorkloadSource(summary, build)


def _char(config: SparseLstmConfig, samples: int | None, seed: int) -> "Task":
    from ...models.sparse_lstm.char_model import CharModel

    kind = config.input_kind if "input_kind" in config.model_fields_set else "index"
    return CharModel.load().task(config.batch, samples or CHAR_STEPS, kind)


def _ocr(network: Any, interleaved: bool = False) -> "MakeTask":
    def task(config: SparseLstmConfig, samples: int | None, seed: int) -> "Task":
        from ...models.sparse_lstm.workloads import ocr

        return ocr(network, samples, interleaved)

    return task


def _silero(threshold: float) -> "MakeTask":
    def task(config: SparseLstmConfig, samples: int | None, seed: int) -> "Task":
        from ...models.sparse_lstm.workloads import silero

        return silero(samples, threshold)

    return task


def _random(config: SparseLstmConfig, samples: int | None, seed: int) -> "Task":
    from ...models.sparse_lstm.workloads import random

    return random(config, samples, seed)


def _corner(corner: str) -> "MakeTask":
    def task(config: SparseLstmConfig, samples: int | None, seed: int) -> "Task":
        from ...models.sparse_lstm.workloads import adversarial

        return adversarial(config, corner, samples, seed)

    return task


WORKLOADS: dict[str, Source] = {
    "char": _trained("char", "character model of Python's documentation, one-hot input", _char),
    "ocr": _trained("ocr", "BiLSTM that reads a line of print, 8-bit weights", _ocr("W8A8")),
    "ocr_w4a4": _trained("ocr_w4a4", "the same with 4-bit weights and states", _ocr("W4A4")),
    "ocr_interleaved": _trained(
        "ocr_interleaved", "ocr, its two directions step by step in turn", _ocr("W8A8", True)
    ),
    "silero": _trained("silero", "voice detection in a minute of speech", _silero(0.0)),
    "silero_pruned": _trained("silero_pruned", "silero, states below 0.05 pruned", _silero(0.05)),
    "random": _made("random", "random weights, inputs and restarts", _random),
    **{name: _made(name, summary, _corner(name)) for name, summary in CORNERS.items()},
}
