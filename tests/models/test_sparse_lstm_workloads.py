"""Trained networks on real data, and whether the corners are really reached."""

from functools import cache

import numpy as np
import pytest
import torch
from thresher.models.sparse_lstm.config import SparseLstmConfig
from thresher.models.sparse_lstm.golden import Parameters, Steps, Trace, run
from thresher.models.sparse_lstm.task import Task
from thresher.models.sparse_lstm.workloads import (
    CORNERS,
    adversarial,
    ocr,
    random,
    silero,
)

torch.set_num_threads(1)


def traced(task: Task) -> Trace:
    return run(task.config, task.parameters, task.steps)


@cache
def read(network: str) -> tuple[Task, Trace]:
    task = ocr(network)
    return task, traced(task)


@pytest.mark.parametrize(("network", "step"), [("W8A8", 2.6), ("W4A4", 0.17)])
def test_ocr_reads_what_its_authors_read(network, step):
    task, trace = read(network)
    figures = task.judge(trace.outputs)
    assert figures["text_equal"], figures
    assert figures["collapsed_is_ground_truth"], figures
    assert figures["hidden_values"] == 133_120
    assert figures["hidden_mean_distance"] < step
    assert trace.wrapped.sum() == trace.saturated.sum() == 0
    assert trace.state_columns().mean() > 0.8  # a dense network: little to skip by itself

    other = ocr(network, interleaved=True)
    assert other.steps.context[:4].tolist() == [0, 1, 0, 1]
    assert other.judge(traced(other).outputs) == figures


def test_ocr_judge_notices_a_wrong_state():
    task, trace = read("W8A8")
    h = trace.outputs
    assert not task.judge(-h)["text_equal"]
    wrong = h.copy()
    wrong[7, 0, 3] += 1
    assert task.judge(wrong)["hidden_mean_distance"] != task.judge(h)["hidden_mean_distance"]


def test_ocr_samples_cut_the_line():
    task = ocr("W4A4", samples=150)
    assert len(task.steps) == 300
    assert task.judge(traced(task).outputs)["text"].startswith("mally")


def test_silero_decides_like_the_float_network():
    dense, pruned = silero(), silero(threshold=0.05)
    assert pruned.config.threshold == 6
    traces = [traced(task) for task in (dense, pruned)]
    figures = [t.judge(trace.outputs) for t, trace in zip((dense, pruned), traces, strict=True)]
    assert [f["frames"] for f in figures] == [1875, 1875]
    assert figures[0]["decisions_flipped"] <= 2
    assert figures[1]["decisions_flipped"] <= 2
    assert figures[0]["probability_mean_error"] < 0.005
    assert traces[0].wrapped.sum() == traces[0].saturated.sum() == 0

    columns = [(t.input_columns().sum(), t.state_columns().sum()) for t in traces]
    inputs = columns[0][0]
    assert 256 * 1875 / (inputs + 128 * 1875) >= 1.55  # skipping inputs alone
    assert 256 * 1875 / sum(columns[1]) >= 1.95


def test_skipping_zero_inputs_changes_no_bit():
    task = silero(samples=200)
    trace = traced(task)
    skipped = ~trace.input_columns()
    rng = np.random.default_rng(0)
    for t in rng.integers(1, 200, 5):  # other weights in the columns that step t skips
        weights = task.parameters.input_weights[0].copy()
        weights[:, skipped[t]] = rng.integers(-128, 128, (512, skipped[t].sum()))
        changed = Parameters((weights,), *list(vars(task.parameters).values())[1:])
        alone = Steps.sequence(task.config, task.steps.inputs[t : t + 1])
        before, after = (run(task.config, p, alone).h for p in (task.parameters, changed))
        assert (before == after).all()


SHAPES = [
    SparseLstmConfig(input_size=70, hidden_size=150, lanes=4),
    SparseLstmConfig(input_size=5, hidden_size=9, lanes=12, batch=3, layers=2, bidirectional=True),
    SparseLstmConfig(input_size=11, hidden_size=20, lanes=8, batch=2, input_kind="index"),
    SparseLstmConfig(input_size=9, hidden_size=12, lanes=4, product_shift=5, threshold=9),
    SparseLstmConfig.preset("small"),
]


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("corner", CORNERS)
def test_corners_are_reached(corner, config):
    task = adversarial(config, corner, seed=1)
    trace = traced(task)
    assert len(task.steps) == 64
    state, inputs = trace.state_columns(), trace.input_columns()
    first = task.steps.start.all(axis=1)
    if corner == "zero_state":
        assert not trace.h.any()
    elif corner == "full_state":
        assert (trace.hp != 0).all()
        assert state[~first].all()
    elif corner == "zero_runs":
        assert (state.sum(axis=1)[~first] >= 1).all()
        assert (state.sum(axis=1) <= 3).all()
        assert inputs.sum() <= 0.1 * config.batch * inputs.size
    elif corner == "saturation":
        assert trace.saturated.any()
        assert np.abs(trace.c).max() == 2 ** (config.cell_bits - 1)
    elif corner == "at_threshold":
        assert task.config.threshold > 0
        assert (np.abs(trace.h) == task.config.threshold).any()
    elif corner == "restarts":
        alone = task.steps.start.any(axis=1) & ~first
        assert alone.any() or config.batch == 1
        assert first.sum() > config.contexts or config.batch > 1


def test_ties_are_reached():
    config = SHAPES[3]
    task = adversarial(config, "ties", seed=1)
    trace = traced(task)
    products = task.parameters.recurrent_weights[0] * trace.hp[:-1, 0, None, :]
    assert (products % 32 == 16).mean() > 0.05
    alone = run(config, task.parameters, Steps.sequence(config, np.zeros((1, 1, 9), int)))
    assert alone.h.any()
    table_step = 2 ** (config.accumulator_frac - 8 + 4)
    z = task.parameters.biases[0] << config.accumulator_frac - config.bias_frac
    assert (z % table_step == table_step // 2).all()


def test_random_is_reproducible_and_varied():
    config = SHAPES[1]
    one, two, other = (random(config, samples=40, seed=s) for s in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(vars(one.steps).values(), vars(two.steps).values(),
                                              strict=True))  # fmt: skip
    assert (traced(one).h == traced(two).h).all()
    assert (one.parameters.biases[0] != other.parameters.biases[0]).any()
    assert set(one.steps.context.tolist()) == {0, 1, 2, 3}
    assert len(np.unique(traced(one).h)) > 50


def test_fit_keeps_parallelism():
    task = ocr("W4A4", samples=1)
    fitted = task.fit(SparseLstmConfig(lanes=80, queue=8))
    assert (fitted.lanes, fitted.queue, fitted.weight_bits, fitted.hidden_size) == (80, 8, 4, 128)
    with pytest.raises(ValueError, match="lanes = 8 is not a multiple of"):
        random(SHAPES[1]).fit(SparseLstmConfig(lanes=8))


def test_unknown_corner():
    with pytest.raises(ValueError, match="'edge' is not one of zero_state"):
        adversarial(SHAPES[0], "edge")
