"""The whole engine beyond what every engine must pass: loads, parity, trained layers, pace."""

from dataclasses import replace

import numpy as np
import pytest
from thresher.hdl.reram.component import Reram
from thresher.hdl.reram.engine import random_config
from thresher.hdl.reram.workloads import random_layer, workload
from thresher.models import data
from thresher.models.reram.layer import Layer
from thresher.models.reram.layer_config import ReramLayerConfig
from thresher.sim import simulate
from thresher.sim.interactive import Session

SMALL = ReramLayerConfig.preset("small")
REAL = "crossbar/real_layer_polarised_m8.npz"
SLOW = pytest.mark.slow


def hold(task, **how):
    report = simulate("reram", task.config, task, **how)
    assert report.holds, report.failures()
    return report


def pictures(config, count, seed=0):
    rng = np.random.default_rng(seed)
    shape = count, config.channels, config.height, config.width
    return rng.integers(0, 1 << config.input_bits, shape)


def bits_by_hand(config, row):
    """The bits that are read of the inputs of a vector, one fragment after the other."""
    total = 0
    for start in range(0, len(row), config.fragment_rows):
        union = 0
        for value in row[start : start + config.fragment_rows].tolist():
            union |= value
        bits = {"none": config.input_bits, "leading": union.bit_length(), "any": union.bit_count()}
        total += bits[config.skip]
    return total


@pytest.mark.parametrize(
    "skip", ["any", *(pytest.param(skip, marks=SLOW) for skip in ("none", "leading"))]
)
def test_cycles_are_those_of_the_bits_that_are_read(skip):
    """Of a crossbar whose converters are the bottleneck: beyond that a constant."""
    config = SMALL.replace(skip=skip, channels=1, kernel=2, padding=0, fragment_rows=2)
    rng = np.random.default_rng(0)
    over = set()
    for count in (1, 2, 5):
        images = pictures(config, count, count) | 1  # no fragment without a bit
        layer = random_layer(config, images, rng)
        rows = layer.lines(images).reshape(-1, config.inputs)
        report = hold(workload("few", layer, images))
        over.add(report.cycles - config.scan * sum(bits_by_hand(config, row) for row in rows))
    assert len(over) == 1


def test_weights_may_change_between_frames():
    rng = np.random.default_rng(0)
    images = pictures(SMALL, 2)
    first, second = (random_layer(SMALL, images, rng) for _ in range(2))
    beats = images.transpose(0, 2, 3, 1).reshape(2, -1)

    def results(layer, image):
        return layer(images[image : image + 1]).transpose(0, 2, 3, 1).ravel()

    with Session(Reram(SMALL)) as sim:

        def load(layer, *ports):
            for name, value in layer.registers().items():
                sim[name] = value
            for port in ports or layer.load():
                sim.push(port, layer.load()[port])

        load(first)
        sim.push("activations", beats[0])
        count = len(results(first, 0))
        np.testing.assert_array_equal(sim.pop("results", count), results(first, 0))
        load(second)
        sim.push("activations", beats[1])
        np.testing.assert_array_equal(sim.pop("results", count), results(second, 1))
        # In the middle of a frame a load waits, the next frame waits for it.
        sim.push("activations", np.concatenate([beats[1], beats[0]]))
        sim.tick(10)
        changed = Layer(
            SMALL, second.mapping.weights(), first.biases, second.multiplier, second.shift,
            second.threshold,
        )  # fmt: skip
        load(changed, "biases")
        np.testing.assert_array_equal(sim.pop("results", count), results(second, 1))
        np.testing.assert_array_equal(sim.pop("results", count), results(changed, 0))
        assert sim["vectors"] == 4 * 16


@pytest.mark.parametrize("seed", [None, *(pytest.param(seed, marks=SLOW) for seed in range(8))])
def test_words_with_a_wrong_parity_are_counted_and_used(seed):
    rng = np.random.default_rng(seed or 0)
    config = SMALL
    if seed is not None:
        config = random_config(rng).replace(mapping="polarised", height=3, width=3)
    images = pictures(config, 2) - (1 << config.input_bits - 1 if config.signed_inputs else 0)
    layer = random_layer(config, images, rng)
    task = workload("worn", layer, images)
    indicators = {name: np.array(v) for name, v in task.inputs["indicators"].items()}
    wrong = rng.random(len(indicators["parity"])) < 0.3
    indicators["parity"] = indicators["parity"] ^ wrong
    # What is read of fragment f makes every ADC beside it look at its word.
    steps = fragments_by_hand(config, layer.lines(images).reshape(-1, config.inputs))
    words = wrong.reshape(config.down, config.across, config.fragments, config.adcs)
    errors = int((words.sum(axis=(1, 3)) * steps).sum())
    task = replace(
        task,
        inputs={**task.inputs, "indicators": indicators},
        counters={**task.counters, "sign_errors": errors},
    )
    hold(task)


def fragments_by_hand(config, rows):
    """int [down, fragments]: the bits that are read in all vectors."""
    found = np.zeros(config.down * config.fragments, int)
    for f, start in enumerate(range(0, config.inputs, config.fragment_rows)):
        part = rows[:, start : start + config.fragment_rows]
        found[f] = sum(bits_by_hand(config, row) for row in part)
    return found.reshape(config.down, config.fragments)


@SLOW
@pytest.mark.parametrize("bits", [3, 4, 5])
@pytest.mark.parametrize("name", ["res1_0_conv2_b8", "res1_0_conv2_b16"])
def test_trained_layers(name, bits):
    """The stored products, out of RTL."""
    file = data.load(REAL)
    x, weights = file[f"{name}_X"].astype(np.int64), file[f"{name}_W"].T
    config = ReramLayerConfig(
        channels=x.shape[1], height=1, width=1, kernel=1, padding=0, features=weights.shape[1],
        input_bits=16 if "b16" in name else 8, adc_bits=bits, flip=False, activation="none",
        output_bits=32,
    )  # fmt: skip
    layer = Layer(config, weights, np.zeros(config.features, int), 1, 0, (1 << 31) - 1)
    report = hold(workload(name, layer, x[:, :, None, None]))
    found = np.asarray(report.outputs["results"]).reshape(len(x), -1)
    np.testing.assert_array_equal(found, file[f"{name}_y_adc{bits}"])
