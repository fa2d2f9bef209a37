"""The golden layer: convolutions by PyTorch, the load decoded cell by cell, Python integers."""

from itertools import product as every

import numpy as np
import pytest
import torch
from thresher.hdl.reram.engine import random_config
from thresher.models.reram.array import Chip, product
from thresher.models.reram.devices import Devices, draw
from thresher.models.reram.layer import Layer, register_bits
from thresher.models.reram.layer_config import ReramLayerConfig
from thresher.models.reram.mapping import map_weights, matrix

SEEDS = range(30)


def drawn(rng, config):
    """A layer of random weights, biases and registers."""
    low, high = config.weight_limits
    weights = rng.integers(low, high + 1, (config.inputs, config.features))
    if config.mapping == "polarised":
        fragments = -(-config.inputs // config.fragment_rows)
        signs = rng.integers(-1, 2, (fragments, config.features))
        weights = np.abs(weights) * signs.repeat(config.fragment_rows, axis=0)[: config.inputs]
    bits = register_bits(config)
    return weights, Layer(
        config,
        weights,
        drawn_biases(rng, config, weights),
        multiplier=int(rng.integers(1 << bits["multiplier"])),
        shift=int(rng.integers(min(1 << bits["shift"], 12))),
        threshold=int(rng.integers(1 << bits["threshold"])),
    )


def drawn_biases(rng, config, weights):
    """Within 50, and within what there is room for."""
    half = 1 << config.input_bits - 1 if config.signed_inputs else 0
    room = (1 << config.bias_bits - 1) - 1 - half * int(np.abs(weights.sum(axis=0)).max())
    return rng.integers(-min(50, room), min(50, room) + 1, config.features)


def pictures(rng, config, count=2):
    low = -(1 << config.input_bits - 1) if config.signed_inputs else 0
    shape = count, config.channels, config.height, config.width
    return rng.integers(low, (1 << config.input_bits) + low, shape)


def finished(config, layer, total):
    """A sum's result, in Python's integers, from the definition."""
    y = total * layer.multiplier
    if layer.shift:
        y = (y + 2 ** (layer.shift - 1)) // 2**layer.shift
    if config.activation == "relu":
        y = max(y, 0)
    if abs(y) <= layer.threshold:
        return y
    return 0 if config.clip == "zero" else (layer.threshold if y > 0 else -layer.threshold)


@pytest.mark.parametrize("seed", SEEDS)
def test_lossless_layers_are_convolutions(seed):
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    config = config.replace(adc_bits=config.lossless_adc_bits)
    low, high = config.weight_limits
    shape = config.features, config.channels, config.kernel, config.kernel
    kernels = rng.integers(low, high + 1, shape)
    if config.mapping == "polarised":
        kernels = np.abs(kernels)
    weights = matrix(kernels, config.layout)
    biases = drawn_biases(rng, config, weights)
    layer = Layer(config, weights, biases, 1, 0, 1)
    images = pictures(rng, config)
    exact = torch.nn.functional.conv2d(
        torch.as_tensor(images).double(),
        torch.as_tensor(kernels).double(),
        torch.as_tensor(biases).double(),
        config.stride,
        config.padding,
    )
    np.testing.assert_array_equal(layer.sums(images), exact.long().numpy())


@pytest.mark.parametrize("seed", SEEDS)
def test_sums_become_results(seed):
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    _, layer = drawn(rng, config)
    images = pictures(rng, config)
    sums = layer.sums(images)
    wanted = [finished(config, layer, total) for total in sums.ravel().tolist()]
    assert layer(images).ravel().tolist() == wanted
    unclipped = Layer.__new__(Layer)
    unclipped.__dict__ |= vars(layer) | {"threshold": 1 << 60}
    assert layer.clipped(sums) == int((unclipped(images) != layer(images)).sum())


def test_sums_of_more_than_64_bits():
    config = ReramLayerConfig(
        weight_bits=16, adc_bits=12, scale_bits=18, output_bits=32, fragment_rows=128, channels=512
    )
    assert config.total_bits + config.scale_bits > 64
    layer = Layer(
        config, np.full((config.inputs, config.features), 65535), np.zeros(config.features, int),
        (1 << 18) - 1, 60, (1 << 32) - 1,
    )  # fmt: skip
    images = np.full((1, 512, 8, 8), 65535)
    results = layer(images)
    total = int(layer.sums(images)[0, 0, 4, 4])
    assert total == 65535**2 * config.inputs
    assert int(results[0, 0, 4, 4]) == (total * layer.multiplier + (1 << 59)) >> 60 > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_loaded_is_the_weights(seed):
    """Decoded in the order of the ports, from what a cell, an indicator and a bias are."""
    rng = np.random.default_rng(seed)
    config = c = random_config(rng)
    weights, layer = drawn(rng, config)
    beats = layer.load()
    cells = iter(beats["cells"]["levels"])
    indicators = zip(*(beats["indicators"][n] for n in ("flips", "signs", "parity")), strict=True)
    found = np.zeros((c.down * c.rows, c.across * max(c.outputs, c.features)), int)
    for _, d, a, f, q in every(*map(range, (c.planes, c.down, c.across, c.fragments, c.adcs))):
        flips, signs, parity = map(int, next(indicators))
        assert (flips.bit_count() + signs.bit_count() + parity) % 2 == 0
        for j in range(c.scan):
            levels = next(cells)
            assert levels.shape == (c.fragment_rows,)
            output, s = divmod(j, c.slices)
            if flips >> j & 1:
                levels = c.top - levels.astype(int)
            sign = -1 if signs >> output & 1 else 1
            row = (d * c.fragments + f) * c.fragment_rows
            column = a * c.outputs + q * c.adc_outputs + output
            held = sign * levels.astype(int) << s * c.cell_bits
            found[row : row + c.fragment_rows, column] += held
    assert next(cells, None) is None
    assert next(indicators, None) is None
    np.testing.assert_array_equal(found[: c.inputs, : c.features] - c.offset, weights)
    assert not found[c.inputs :].any()
    assert not found[:, c.features :].any()


def test_a_chip_has_its_own_signs_and_sums():
    config = ReramLayerConfig.preset("small")
    rng = np.random.default_rng(0)
    _, layer = drawn(rng, config)
    chip = draw(layer.mapping, Devices(variation=0.3, sign_faults=0.2, read_noise=0.2), 1)
    wrong = layer.load(chip)["indicators"]
    odd = [int(s).bit_count() + int(f).bit_count() + int(p) & 1 for f, s, p in
           zip(wrong["flips"], wrong["signs"], wrong["parity"], strict=True)]  # fmt: skip
    changed = wrong["signs"] ^ layer.load()["indicators"]["signs"]
    assert odd == [int(word).bit_count() & 1 for word in changed]
    assert sum(odd)
    images = pictures(rng, config)
    rows = layer.lines(images).reshape(-1, config.inputs)
    wanted = (product(chip, rows) + layer.biases).reshape(2, 4, 4, -1).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(layer.sums(images, chip), wanted)
    assert (layer.sums(images) != wanted).any()


def test_signed_activations():
    config = ReramLayerConfig.preset("small", signed_inputs=True)
    rng = np.random.default_rng(0)
    weights, layer = drawn(rng, config)
    images = pictures(rng, config)
    rows = layer.lines(images)
    assert rows.min() >= 0
    exact = (rows.reshape(-1, config.inputs) - 8) @ weights  # padding is 0
    ideal = product(Chip.ideal(map_weights(config, weights)), rows.reshape(-1, config.inputs))
    np.testing.assert_array_equal(ideal - 8 * weights.sum(axis=0), exact)
    found = layer.sums(images).transpose(0, 2, 3, 1).reshape(exact.shape)
    assert (found - exact == (found - exact)[0]).all()  # the biases


def test_what_does_not_fit_is_refused():
    config = ReramLayerConfig.preset("small")
    weights, biases = np.zeros((27, 5), int), np.zeros(5, int)
    layer = Layer(config, weights, biases, 1, 0, 15)
    with pytest.raises(ValueError, match="27 inputs and 5 features"):
        Layer(config, weights.T, biases, 1, 0, 15)
    with pytest.raises(ValueError, match=f"bias_bits = {config.bias_bits}"):
        Layer(config, weights, biases + (1 << config.bias_bits - 1), 1, 0, 15)
    with pytest.raises(ValueError, match="threshold = 16 is not from 0 to 15"):
        Layer(config, weights, biases, 1, 0, 16)
    with pytest.raises(TypeError, match="integer biases"):
        Layer(config, weights, biases * 1.0, 1, 0, 15)
    with pytest.raises(ValueError, match=r"not \[n, 3, 4, 4\]"):
        layer(np.zeros((2, 4, 4, 3), int))
    with pytest.raises(ValueError, match="from -1 to 0 do not fit 0 to 15"):
        layer(np.arange(-1, 1).repeat(24).reshape(1, 3, 4, 4))
    with pytest.raises(ValueError, match="a sign without a magnitude"):
        config.replace(activation="none", output_bits=1)
    with pytest.raises(TypeError, match="integer images"):
        layer(np.zeros((1, 3, 4, 4)))
