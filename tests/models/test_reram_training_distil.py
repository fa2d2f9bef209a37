"""A stored network polarised with few images: what it is taught with, and what comes of it."""

import numpy as np
import pytest
import torch
from thresher.models import data
from thresher.models.reram.config import ReramConfig
from thresher.models.reram.residual import Residual
from thresher.models.reram.resnet import ResNet
from thresher.models.reram.training import distil
from thresher.models.reram.training.admm import Schedule
from thresher.models.threads import one_thread


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


def stored():
    try:
        return data.load("crossbar/resnet14_cifar10_state.npz")
    except data.MissingData as missing:
        pytest.skip(str(missing))


def images(count):
    return data.load("crossbar/cifar10_jpeg_test400.npz")["images"][:count]


def test_the_module_is_the_stored_network():
    state, pixels = stored(), ResNet.pixels(images(4))
    network = Residual(state)
    with torch.no_grad():
        expected = ResNet(state)(pixels)
        assert torch.allclose(network(pixels), expected, atol=1e-4)
        outline = distil.Outlined(network)(pixels)
    assert torch.allclose(outline[:, -10:], expected, atol=1e-4)
    loss = distil.Outline.of(network, pixels)
    assert outline.shape[1] == sum(loss.sizes) + 10
    assert float(loss(outline, outline)) == pytest.approx(0, abs=1e-5)
    # Each block that gives nothing is off by all of itself.
    nothing = torch.cat([torch.zeros_like(outline[:, :-10]), outline[:, -10:]], 1)
    assert float(loss(nothing, outline)) == pytest.approx(len(loss.sizes), rel=1e-4)


def test_folds_judge_every_image_once():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 12))
    found = distil.folds(labels, 4)
    assert np.array_equal(np.sort(np.concatenate([judged for _, judged in found])), np.arange(120))
    for taught, judged in found:
        assert not set(taught) & set(judged)
        assert (np.bincount(labels[judged]) == 3).all()


def test_images_are_made_of_those_there_are():
    """Of images of one value each, cuts show two of them and blends one in between."""
    pixels = torch.arange(5.0)[:, None, None, None].expand(5, 3, 8, 6)
    generator = torch.Generator().manual_seed(0)
    found = distil.mixed(pixels, 500, generator)
    assert found.shape == (500, 3, 8, 6)
    rounded = (1e3 * found).round()  # resampling a single value rounds
    values = [len(image[0].unique()) for image in rounded]
    assert set(values) == {1, 2}
    assert 0.1 < np.mean(np.array(values) == 2) < 0.3  # three in ten, but for the same value twice
    again = distil.mixed(pixels, 500, torch.Generator().manual_seed(0))
    assert torch.equal(found, again)


def test_moved_images_show_what_is_there():
    """A picture that is brighter to the right, and so where the image is flipped not."""
    picture = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    found = distil.moved(picture, 400, torch.Generator().manual_seed(1))
    assert found.min() >= 0
    assert found.max() <= 1
    rising = (found[:, 0, 8, 10] > found[:, 0, 8, 5]).float().mean()
    assert 0.4 < rising < 0.6
    assert len(found.sum((1, 2, 3)).unique()) == 400


def test_a_network_taught_a_little_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path))
    monkeypatch.setattr(distil, "EPOCH", 32)
    short = Schedule(rounds=1, retrain=1)
    monkeypatch.setattr(distil, "SCHEDULES", {"polarise": short, "quantise": short})
    state, config = stored(), ReramConfig(fragment_rows=8, input_bits=8)
    found, seconds = distil.polarised_resnet(state, config, images(20))
    assert found.violations == 0
    assert list(found.layers) == [*ResNet(state).convolutions, "classifier.2"]
    monkeypatch.delattr(distil, "convert")
    again, same = distil.polarised_resnet(state, config, images(20))
    assert seconds == same
    pixels = ResNet.pixels(images(2))
    with torch.no_grad():
        assert torch.equal(found.module(pixels), again.module(pixels))
    with pytest.raises(NameError):
        distil.polarised_resnet(state, config, images(19))
