"""The network of written digits: what is kept of it, and what polarised weights cost."""

import numpy as np
import pytest
import torch
from thresher.models import data
from thresher.models.reram.config import ReramConfig
from thresher.models.reram.training import digits, digits_residual
from thresher.models.reram.training.admm import Schedule

pytest.importorskip("sklearn")


def test_a_trained_network_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path))
    monkeypatch.setattr(digits, "EPOCHS", 2)
    monkeypatch.setattr(digits, "SCHEDULE", Schedule(rounds=1, retrain=1))
    config = ReramConfig(fragment_rows=4, weight_bits=6, input_bits=8)
    state = torch.get_rng_state()
    first = digits.polarised_digits(config, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.delattr(digits, "convert")  # from here on, training would fail
    again = digits.polarised_digits(config, seed=3)
    assert (first.violations, again.seconds) == (0, first.seconds)
    images = digits.splits()[1].images[:50]
    with torch.no_grad():
        assert torch.equal(first.module(images), again.module(images))
        assert torch.equal(first.dense(images), again.dense(images))
    assert list(first.layers) == list(again.layers)
    for name, layer in first.layers.items():
        other = again.layers[name]
        assert np.array_equal(layer.mapping().weights(), other.weights)
        assert np.array_equal(layer.bias, other.bias)
        assert (layer.step, dict(layer.kept)) == (other.step, dict(other.kept))
    for changed in ({"layout": "position"}, {"rule": "sum"}, {"seed": 4}):
        with pytest.raises(NameError):
            digits.polarised_digits(config, **({"seed": 3} | changed))


def test_images_to_train_and_to_test_are_apart():
    train, test = digits.splits()
    assert len(train.images) + len(test.images) == 1797
    assert len(test.images) == 500
    assert float(train.images.max()) == 1
    found = torch.cat([train.images, test.images]).flatten(1).sum(dim=0)
    pixels, labels = digits.data.digits()
    assert torch.allclose(found, torch.as_tensor(pixels.sum(axis=0) / 16).float())
    assert torch.equal(
        torch.cat([train.labels, test.labels]).bincount(), torch.as_tensor(labels).bincount()
    )


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "points"), [(4, 0.7), (8, 1.5), (16, 4.0)])
def test_what_polarised_weights_cost(rows, points):
    test = digits.splits()[1]
    lost = []
    for seed in range(3):
        found = digits.polarised_digits(ReramConfig(fragment_rows=rows, input_bits=8), seed)
        assert found.violations == 0
        assert found.seconds < 60
        lost.append(100 * (test.accuracy(found.dense) - test.accuracy(found.module)))
    assert sum(lost) / 3 <= points


def test_enlarged_images_are_the_same_digits():
    small, large = digits.splits()[1], digits_residual.enlarged()[1]
    assert large.images.shape == (500, 3, 16, 16)
    assert torch.equal(large.labels, small.labels)
    again = torch.nn.functional.avg_pool2d(large.images, 2)  # a bilinear image's inner pixels blur
    assert all(torch.equal(again[:, 0], again[:, channel]) for channel in (1, 2))
    assert torch.corrcoef(torch.stack([again[:, :1].flatten(), small.images.flatten()]))[0, 1] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "points"), [(4, 2.5), (8, 4.0)])
def test_what_polarised_weights_cost_a_residual_network(rows, points):
    state = data.load("crossbar/resnet14_cifar10_state.npz")
    test = digits_residual.enlarged()[1]
    found, _ = digits_residual.polarised_residual(state, ReramConfig(fragment_rows=rows))
    assert found.violations == 0
    lost = test.accuracy(digits_residual.dense_residual(state)) - test.accuracy(found.module)
    assert 100 * lost <= points
