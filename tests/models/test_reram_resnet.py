"""Trained networks on crossbars: integer convolutions, and input cycles against stored means."""

import json

import numpy as np
import pytest
import torch
from thresher.models import data
from thresher.models.reram.config import ReramConfig
from thresher.models.reram.devices import Devices
from thresher.models.reram.resnet import (
    CrossbarNetwork,
    ResNet,
    layer_cycles,
    mean_cycles,
    polarise,
)
from thresher.models.reram.skipping import bits_read, effective_cycles
from thresher.models.threads import one_thread

NETWORKS = "resnet14", "resnet20"


def network(name):
    return ResNet(data.load(f"crossbar/{name}_cifar10_state.npz"))


def images(count):
    return ResNet.pixels(data.load("crossbar/cifar10_jpeg_test400.npz")["images"][:count])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("how", ["gemm", "kernel"])
@pytest.mark.parametrize(
    ("mapping", "layout"),
    [
        ("polarised", "channel"),
        ("polarised", "position"),
        ("offset", "channel"),
        ("dual", "position"),
    ],
)
def test_every_convolution_is_an_integer_one(name, how, mapping, layout):
    """On what enters it; the reference in float64, which holds every partial sum."""
    config = ReramConfig(mapping=mapping, input_bits=8)
    pixels = images(1)
    met = []
    with one_thread():
        on_crossbars = CrossbarNetwork(network(name), config, pixels, how, layout)

        def convolve(layer, x):
            quantiser = on_crossbars.quantisers[layer.name]
            weights = on_crossbars.crossbars[layer.name].mapping.weights()
            if mapping != "polarised":
                assert np.array_equal(weights, quantiser.weights)
            channels = x.shape[1]
            taps = weights.T.reshape(
                (-1, channels, layer.size, layer.size)
                if layout == "channel"
                else (-1, layer.size, layer.size, channels)
            )
            taps = taps if layout == "channel" else taps.transpose(0, 3, 1, 2)
            exact = torch.nn.functional.conv2d(
                quantiser(x).double(), torch.as_tensor(taps).double(), None, layer.stride,
                layer.size // 2,
            )  # fmt: skip
            found = on_crossbars.convolve(layer, x)
            scale = quantiser.weight_step * quantiser.input_step
            assert torch.equal(found, exact.float() * scale)
            assert exact.abs().max() < 1 << 24  # float32 tells all of these integers apart
            met.append(layer.name)
            return found

        on_crossbars.network(pixels, convolve)
    assert len(met) == len(on_crossbars.crossbars) == {"resnet14": 15, "resnet20": 21}[name]


def test_quantised_networks_classify_as_the_trained():
    labels = torch.as_tensor(data.load("crossbar/cifar10_jpeg_test400.npz")["labels"])
    pixels, trained = images(200), network("resnet20")
    config = ReramConfig(mapping="dual", input_bits=8)
    with one_thread():
        exact = trained(pixels).argmax(1)
        found = CrossbarNetwork(trained, config, pixels[:32])(pixels[:64]).argmax(1)
    assert (exact == labels[:200]).float().mean() > 0.77
    assert (found == exact[:64]).float().mean() > 0.95


@pytest.mark.parametrize("passes", ["offset", "two"])
def test_stuck_cells_in_a_network_either_way(passes):
    """One chip a layer; by products alone and read by read."""
    trained, pixels = network("resnet14"), images(1)
    config = ReramConfig(mapping="dual", input_bits=8, adc_bits=5, flip=False)
    stuck = Devices(stuck_off=0.003, stuck_on=0.001)
    with one_thread():
        scores = [
            CrossbarNetwork(trained, config, pixels, how, "channel", passes, stuck, seed)(pixels)
            for how, seed in (("gemm", 1), ("kernel", 1), ("gemm", 2))
        ]
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])


@pytest.mark.parametrize(("name", "m"), [("resnet14", 8), ("resnet20", 8), ("resnet14", 16)])
def test_effective_cycles(name, m):
    """The stored means leave open which windows and what weights of layers they are of."""
    stored = json.loads(data.path("crossbar/eic_resnet_cifar10_jpeg.json").read_text())[name]
    pixels = images(16)
    with one_thread():
        for layout, short, near in (("channel", "chan", 0.15), ("position", "pos", 0.4)):
            for place, skip in enumerate(("leading", "any")):
                config = ReramConfig(fragment_rows=m, skip=skip)
                found = mean_cycles(layer_cycles(network(name), config, pixels, layout))
                assert abs(found - stored[f"16b_{short}_major_m{m}"][place]) < near, (layout, skip)
                if m == 8 and layout == "channel":
                    assert abs(found - (12.0, 10.4)[place]) < 0.3


@pytest.mark.parametrize("skip", ["none", "leading", "any"])
def test_cycles_are_those_that_a_string_of_bits_shows(skip):
    rng = np.random.default_rng(0)
    config = ReramConfig(fragment_rows=4, input_bits=9, skip=skip)
    inputs = rng.integers(0, 512, (50, 10)) >> rng.integers(0, 10, (50, 10))
    inputs[0] = 0
    inputs[1] = [1] + [0] * 9  # the lowest bit alone
    inputs[2] = [0] * 9 + [256]  # the highest, in a fragment that is not full
    found = effective_cycles(config, inputs)
    assert found.shape == (50, 3)
    for row, cycles in zip(inputs, found, strict=True):
        for f in range(3):
            words = [f"{value:09b}" for value in row[4 * f : 4 * f + 4]]
            planes = ["1" in bits for bits in zip(*words, strict=True)]
            expected = {
                "none": 9,
                "leading": len("".join("01"[p] for p in planes).lstrip("0")),
                "any": sum(planes),
            }[skip]
            assert cycles[f] == expected
    whole = np.pad(inputs, ((0, 0), (0, 2))).reshape(50, 3, 4)
    assert np.array_equal(bits_read(config, whole).sum(axis=-1), found)


def test_polarising_takes_the_nearest():
    rng = np.random.default_rng(0)
    weights = rng.integers(-9, 10, (10, 30))
    found = polarise(weights, 4)
    for n in range(30):
        for start in (0, 4, 8):
            part = weights[start : start + 4, n]
            options = [np.maximum(part, 0), np.minimum(part, 0)]
            off = [((part - option) ** 2).sum() for option in options]
            assert ((part - found[start : start + 4, n]) ** 2).sum() == min(off)
            assert found[start : start + 4, n].min() >= 0 or found[start : start + 4, n].max() <= 0
