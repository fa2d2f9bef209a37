"""Faulty memories against the golden crossbar and plain bits; curves against arithmetic by hand."""

import json

import numpy as np
import pytest
import torch
from thresher.models import data
from thresher.models.reram.array import product
from thresher.models.reram.config import ReramConfig
from thresher.models.reram.devices import draw
from thresher.models.reram.mapping import map_weights, matrix, patches
from thresher.models.reram.residual import Residual
from thresher.models.reram.resilience.curves import Curve, Interval, area, sweep
from thresher.models.reram.resilience.memories import (
    Cells,
    Float32,
    Int8,
    Stored,
    accuracy,
    flipped,
)
from thresher.models.reram.resnet import ResNet, polarise
from thresher.models.reram.training.norms import fold
from thresher.models.threads import one_thread
from torch import nn
from torch.nn import functional

SIGNED = {"fragment_rows": 1, "adc_bits": 2, "flip": False}


@pytest.fixture(autouse=True)
def alone():
    """Small products do not wait for other threads."""
    with one_thread():
        yield


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32])
def test_each_bit_flips_with_the_probability_alone(dtype):
    """Bits of all positions alike; hits of a low rate are among those of a higher one."""
    words = np.random.default_rng(1).integers(0, 1 << 8 * dtype().itemsize, (400, 50), dtype)
    before = words.copy()
    width = 8 * words.itemsize

    def hits(rate):
        apart = flipped(words, rate, (5,)) ^ before
        return (apart[..., None] >> np.arange(width, dtype=dtype)) & 1

    low, high = hits(0.02), hits(0.4)
    for rate, found in ((0.02, low), (0.4, high)):
        sigma = np.sqrt(rate * (1 - rate) / found[..., 0].size)
        assert np.abs(found.mean(axis=(0, 1)) - rate).max() < 5 * sigma
    assert not (low & ~high).any()
    assert np.array_equal(words, before)
    assert np.array_equal(flipped(words, 0.0, (5,)), before)
    # Neighbours do not flip together.
    assert abs(np.corrcoef(high[..., 0].ravel(), high[..., 1].ravel())[0, 1]) < 0.05


def test_float32_is_exact_and_int8_is_rounded_once():
    """Without faults; with them, INT8 stays within its range."""
    weights = np.random.default_rng(2).normal(size=(7, 5)).astype(np.float32)
    assert np.array_equal(Float32().store(weights)(0.0, (0,)), weights)
    held = Int8().store(weights)
    step = np.abs(weights).max() / 127
    assert np.abs(held(0.0, (0,)) - weights).max() <= step * 0.5001
    faulty = held(0.3, (0,)) / step
    assert np.allclose(faulty, np.rint(faulty), atol=1e-3)
    assert faulty.min() >= -128.001
    assert faulty.max() <= 127.001


def test_float32_flips_are_those_of_ieee_754():
    """0.5 with one bit of sign, exponent (126, all bits but the highest and the lowest) or fraction
    inverted, by arithmetic; every one of them occurs, and at this rate hardly two at once."""
    found = Float32().store(np.full((200, 100), 0.5, np.float32))(0.002, (3,))
    exponents = {0.5 * 2.0 ** ((1 if k in (0, 7) else -1) * 2**k) for k in range(8)}
    single = {-0.5} | exponents | {0.5 * (1 + 2.0**-j) for j in range(1, 24)}
    values = set(found.ravel().tolist()) - {0.5}
    assert single <= values
    several = sum(value not in single for value in found[found != 0.5].tolist())
    assert several < 0.06 * (found != 0.5).sum()


@pytest.mark.parametrize("mapping", ["polarised", "offset", "dual"])
@pytest.mark.parametrize("flaws", ["off", "on", "mixed", "signs"])
@pytest.mark.parametrize("layout", ["channel", "position"])
def test_cells_give_the_weights_that_the_faulty_chip_multiplies_by(mapping, flaws, layout):
    """A convolution with them is the bit-serial product of the chip, integer by integer."""
    rng = np.random.default_rng([len(mapping), len(flaws), len(layout)])
    config = ReramConfig(
        mapping=mapping, fragment_rows=int(rng.choice([1, 4, 8])), adc_bits=6, input_bits=4,
        weight_bits=int(rng.integers(3, 9)), flip=bool(rng.integers(2)),
    )  # fmt: skip
    weights = rng.normal(size=(5, 3, 3, 3)).astype(np.float32)
    held = Cells(config, flaws, layout).store(weights)
    step = np.abs(weights).max() / config.weight_limits[1]
    whole = matrix(np.rint(weights / step).astype(np.int64), layout)
    if mapping == "polarised":
        whole = polarise(whole, config.fragment_rows)
    laid = map_weights(config, whole)
    images = rng.integers(0, 16, (2, 3, 6, 5))
    rows = patches(images, 3, 2, 1, layout)
    for rate in (0.0, 0.15):
        chip = draw(laid, Cells(config, flaws).devices(rate), (4, 0))
        expected = product(chip, rows.reshape(-1, rows.shape[-1])).reshape(*rows.shape[:3], -1)
        read = torch.from_numpy(held(rate, (4, 0))).double()
        found = functional.conv2d(torch.from_numpy(images).double(), read, None, 2, 1)
        found = (found / float(step)).permute(0, 2, 3, 1).numpy()
        assert np.allclose(found, expected, atol=1e-3 * max(1, np.abs(expected).max() / 1e3))


def test_polarity_says_which_way_weights_go():
    """Sign and magnitude without flip: nothing grows stuck off, nothing shrinks stuck on."""
    weights = np.random.default_rng(3).normal(size=(20, 30)).astype(np.float32)
    config = ReramConfig(**SIGNED)
    clean = Cells(config, "off").store(weights)(0.0, (0,))
    off, on, mixed, signs = (
        Cells(config, flaws).store(weights)(0.2, (0,)) for flaws in ("off", "on", "mixed", "signs")
    )
    assert (np.abs(off) <= np.abs(clean) + 1e-6).all()
    assert (np.abs(on) >= np.abs(clean) - 1e-6).all()
    assert (np.abs(mixed) > np.abs(clean) + 1e-6).any()
    assert (np.abs(mixed) < np.abs(clean) - 1e-6).any()
    assert np.array_equal(np.abs(signs), np.abs(clean))
    assert 0.1 < (signs != clean).mean() < 0.3


def test_stored_weights_are_named_and_drawn_alone():
    """The same seed gives the same faults, layers of one shape different ones."""
    module = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    module[2].load_state_dict(module[0].state_dict())
    stored = Stored(module, Int8())
    faulty, again = stored(0.2, 1), stored(0.2, 1)
    assert sorted(faulty) == ["0.weight", "2.weight"]
    assert all(torch.equal(faulty[name], again[name]) for name in faulty)
    assert not torch.equal(faulty["0.weight"], faulty["2.weight"])
    assert not torch.equal(faulty["0.weight"], stored(0.2, 2)["0.weight"])


def test_refusals():
    """What cannot be meant is named."""
    with pytest.raises(ValueError, match=r"adc_bits = 4 .* 24 levels .* set 5"):
        Cells(ReramConfig(), "on")
    with pytest.raises(ValueError, match=r"rate = 1\.0"):
        Stored(nn.Linear(2, 2), Int8())(1.0)
    with pytest.raises(ValueError, match=r"no torch\.nn\.Linear"):
        Stored(nn.Sequential(nn.ReLU()), Int8())
    with pytest.raises(ValueError, match=r"do not ascend"):
        area((0.1, 0.1), np.ones((2, 1)))
    images, labels = torch.rand(4, 2), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="seeds = 1"):
        sweep({"": nn.Linear(2, 2)}, Stored(nn.Linear(2, 2), Int8()), (0.1,), 1, images, labels)


def test_scores_that_are_no_numbers_are_wrong():
    """Even where argmax would fall on the label."""
    weights = {"weight": torch.tensor([[float("nan")], [1.0]]), "bias": torch.zeros(2)}
    images, labels = torch.ones(3, 1), torch.zeros(3, dtype=torch.int64)
    assert accuracy(nn.Linear(1, 2), weights, images, labels) == 0
    weights["weight"] = torch.tensor([[2.0], [1.0]])
    assert accuracy(nn.Linear(1, 2), weights, images, labels, batch=2) == 1


def test_area_is_the_mean_over_the_logarithm():
    """By hand: decades of unlike width, one rate alone."""
    accuracies = np.array([[1.0, 0.8], [0.5, 0.8], [0.1, 0.8]])
    assert np.allclose(area((1e-4, 1e-3, 1e-1), accuracies), [(0.75 * 1 + 0.3 * 2) / 3, 0.8])
    assert np.allclose(area((1e-3,), accuracies[:1]), accuracies[0])


def test_intervals_hold_the_mean_as_often_as_they_say():
    """Of accuracies that fail in a few seeds, which no normal distribution describes."""
    rng = np.random.default_rng(4)
    samples = np.where(rng.random((300, 20)) < 0.3, 0.1, 0.9)
    within = [found.low <= 0.66 <= found.high for found in map(Interval.of, samples)]
    assert 0.87 < np.mean(within) < 0.99
    assert Interval.of(np.full(5, 0.25)) == Interval(0.25, 0.25, 0.25)


def test_curves_of_one_sweep_are_of_the_same_faults():
    """A module beside itself gains exactly nothing; one that is always wrong loses all."""
    torch.manual_seed(0)
    module = nn.Linear(8, 3)
    images = torch.randn(200, 8)
    labels = module(images).argmax(dim=1)
    stored = Stored(module, Int8())
    found = sweep({"a": module, "b": module}, stored, (0.01, 0.1), 4, images, labels)
    assert found["a"].clean > 0.97
    assert found["a"].gain(found["b"]) == Interval(0, 0, 0)
    for at, rate in enumerate((0.01, 0.1)):
        again = [accuracy(module, stored(rate, seed), images, labels) for seed in range(4)]
        assert found["a"].accuracies[at].tolist() == again
    assert found["a"].auc.mean == pytest.approx(found["a"].accuracies.mean(axis=0).mean())
    nothing = Curve((0.01, 0.1), 0.0, np.zeros((2, 4)))
    assert found["a"].gain(nothing).mean == pytest.approx(found["a"].auc.mean)
    with pytest.raises(ValueError, match="no pairs"):
        found["a"].gain(Curve((0.02, 0.1), 0.0, np.zeros((2, 4))))


@pytest.mark.parametrize(("name", "folded"), [("resnet14", True), ("resnet20", False)])
def test_a_residual_module_is_the_network(name, folded):
    """Its scores, batch norm folded or apart."""
    state = data.load(f"crossbar/{name}_cifar10_state.npz")
    network = Residual(state)
    if folded:
        fold(network)
    pixels = ResNet.pixels(data.load("crossbar/cifar10_jpeg_test400.npz")["images"][:2])
    with torch.no_grad():
        assert torch.allclose(network(pixels), ResNet(state)(pixels), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("flaws", "share"), [("off", "1.0"), ("on", "0.0"), ("mixed", "0.5")])
def test_stored_faults_are_of_seven_bits_in_cells_for_eight(flaws, share):
    """Sign and magnitude, against an independent sweep of 4 seeds (its pixels are scaled
    otherwise: shares of the accuracy without faults are compared, within 4 standard errors).

    The highest cell of a magnitude up to 127 stuck on is 192: 1.5 times the largest weight.
    """
    file = data.load("crossbar/cifar10_jpeg_test400.npz")
    pixels, labels = ResNet.pixels(file["images"]), torch.from_numpy(file["labels"]).long()
    path = data.path("crossbar/stuckat_encoding_resnet20.json")
    table = json.loads(path.read_text(encoding="utf-8"))
    module = Residual(data.load("crossbar/resnet20_cifar10_state.npz"))
    memory = Stored(module, Cells(ReramConfig(**SIGNED, weight_bits=7), flaws))
    curve = sweep({"": module}, memory, (0.001, 0.005), 12, pixels, labels)[""]
    for rate, found in zip(curve.rates, curve.accuracies, strict=True):
        mean, deviation = table[f"signmag_psa0={share}_rate={rate}"]
        error = np.hypot(deviation / 2, found.std(ddof=1) / np.sqrt(12)) + 0.005
        assert abs(found.mean() / curve.clean - mean / 0.788) < 4 * error / 0.788
