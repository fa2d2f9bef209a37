"""What is special to the sparse-state LSTM engine; the rest is in test_engines.py."""

import numpy as np
import pytest
from thresher.hdl.engine import engine
from thresher.hdl.sparse_lstm import layout
from thresher.hdl.sparse_lstm.cycles import timing
from thresher.hdl.sparse_lstm.shape import Shape
from thresher.hdl.sparse_lstm.workloads import CORNERS, workload
from thresher.models.sparse_lstm import golden, workloads
from thresher.models.sparse_lstm.config import SparseLstmConfig
from thresher.models.sparse_lstm.task import Task
from thresher.sim import simulate

ENGINE = engine("sparse_lstm")

SHAPES = {
    "one column a pass": SparseLstmConfig(input_size=21, hidden_size=19, lanes=12),
    "two banks, two units a cycle": SparseLstmConfig(
        input_size=70, hidden_size=27, lanes=32, banks=2, elements=4, window=3, queue=4
    ),
    "batch 3, streamed weights": SparseLstmConfig(
        input_size=21, hidden_size=13, batch=3, lanes=24, weights="streamed", weight_port=4
    ),
}
"""Sizes that divide nothing."""


def run(task, config, stall="none", **registers):
    report = simulate(ENGINE, workload=workload("test", task, config, **registers), stall=stall)
    assert report.holds, report.failures()
    return report


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_corners(shape, corner):
    config = SHAPES[shape]
    task = workloads.adversarial(config, corner, 24, seed=1)
    for stall in ("none", "random"):
        run(task, config, stall, threshold=task.config.threshold)


def test_every_corner_of_the_models_is_a_workload():
    assert set(CORNERS) == set(workloads.CORNERS)
    assert set(CORNERS) < set(ENGINE.workloads)


def test_registers_change_cycles_but_skipping_changes_no_bit():
    config = SHAPES["two banks, two units a cycle"]
    task = workloads.random(config, 20, 5)
    sparse, dense = run(task, config), run(task, config, skip_inputs=0, skip_states=0)
    np.testing.assert_array_equal(sparse.outputs["h"]["values"], dense.outputs["h"]["values"])
    assert sparse.cycles < dense.cycles
    pruned = run(task, config, threshold=40)
    assert pruned.registers["state_passes"] < sparse.registers["state_passes"]


def test_unequal_banks_do_not_block_each_other():
    """More columns of one bank than its queue holds before the other bank has any."""
    config = SHAPES["two banks, two units a cycle"]
    x = np.zeros((6, 1, config.input_size), int)
    x[:, :, 0::2] = 3
    x[1::2, :, -1] = 5
    task = Task(
        config,
        golden.Parameters.random(config, np.random.default_rng(0)),
        golden.Steps.sequence(config, x),
    )
    run(task, config)
    run(task, config, "alternate")


def test_print_is_read_by_the_rtl():
    task = workloads.ocr("W4A4", samples=60, interleaved=True)
    config = task.config.replace(lanes=80, banks=2, elements=2)
    report = run(task, config)
    assert report.metrics["text"] == task.judge(golden_states(task))["text"]
    assert report.utilisation > 0.95


def test_speech_input_skipping_is_lossless_and_faster():
    task = workloads.silero(samples=60)
    config = task.config.replace(lanes=64)
    sparse, dense = (
        run(task, config, skip_states=0),
        run(task, config, skip_inputs=0, skip_states=0),
    )
    np.testing.assert_array_equal(sparse.outputs["h"]["values"], dense.outputs["h"]["values"])
    assert dense.cycles > 1.5 * sparse.cycles


def golden_states(task):
    return golden.run(task.config, task.parameters, task.steps).outputs


@pytest.mark.parametrize("seed", range(40))
def test_layout_there_and_back(seed):
    """States as beats and back; every weight stands in the memories exactly once."""
    rng = np.random.default_rng(seed)
    config = ENGINE.random_config(rng)
    task = workloads.random(config, 4, seed)
    trace = golden.run(config, task.parameters, task.steps)
    back = layout.states(config, layout.state_beats(trace))
    np.testing.assert_array_equal(back, trace.outputs)
    words = layout.weight_words(config, task.parameters)
    given = [*task.parameters.input_weights, *task.parameters.recurrent_weights]
    values = np.concatenate([w.ravel() for w in given])
    stored = np.bincount(words.ravel() - words.min())
    expected = np.bincount(values - words.min(), minlength=len(stored))
    expected[-words.min()] += words.size - values.size  # padding
    np.testing.assert_array_equal(stored, expected)


@pytest.mark.parametrize("seed", range(20))
def test_units_stand_once_in_the_slots(seed):
    config = ENGINE.random_config(np.random.default_rng(seed))
    slots = Shape(config).unit_of_slot
    assert sorted(slots[slots >= 0]) == list(range(config.hidden_size))


def test_dense_time_is_the_multipliers():
    """Predicted alone: a thousand units keep 192 lanes 99 % busy at any batch."""
    for batch, elements in ((1, 4), (8, 8), (16, 8)):
        config = SparseLstmConfig(
            input_size=50, hidden_size=1000, batch=batch, lanes=192, elements=elements,
            input_kind="index", skip_states=False,
        )  # fmt: skip
        task = workloads.random(config.replace(hidden_size=8, lanes=4 * batch, elements=1), 12, 0)
        steps = golden.Steps.sequence(config, task.steps.inputs[..., 0])
        h = np.ones((len(steps), batch, 1000), np.int32)
        nothing = np.zeros(len(steps), np.int64)
        predicted = timing(golden.Trace(config, steps, 0, h, h, nothing, nothing))
        assert predicted.ideal / predicted.cycles > 0.98


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"lanes": 10}, "nearest that fits: 8"),
        ({"lanes": 64, "elements": 3, "batch": 4}, "does not divide batch = 4"),
        ({"lanes": 64, "elements": 32}, "exceeds the 16"),
        ({"lanes": 64, "banks": 16}, "banks = 16 exceeds the 1 units"),
        ({"weight_port": 7}, "does not divide rows"),
        ({"sigmoid_entries": 100}, "not a power of two"),
        ({"input_kind": "index", "layers": 2}, "set layers = 1"),
        ({"weights": "streamed", "banks": 2}, "set banks = 1"),
        ({"input_frac": 9}, "lower input_weight_frac by 2"),
        ({"bias_frac": 20}, "exceeds accumulator_frac = 14"),
        ({"threshold": 200}, "above the largest state magnitude"),
        ({"dsp_pack": True, "weight_bits": 9}, "set dsp_pack = false"),
    ],
)
def test_bad_configurations_say_what_to_do(fields, says):
    with pytest.raises(ValueError, match=says):
        SparseLstmConfig(**fields)
