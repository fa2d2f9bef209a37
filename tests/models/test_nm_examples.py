"""Example networks: their data, and that pruned ones learn, the same way every time."""

from dataclasses import replace

import pytest
import torch
from thresher.models import data
from thresher.models.nm.examples import (
    EXAMPLES,
    Example,
    Recipe,
    Split,
    accuracy,
    cnn,
    digits,
    mlp,
    mnist,
    train,
)
from thresher.models.nm.pruning import Pruned, Pruning


def blobs() -> Split:
    """Two classes around two points, 24 numbers each."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 2
    points = torch.randn(300, 24, generator=random) + 2 * labels[:, None] - 1
    return Split((points[:200], labels[:200]), (points[200:], labels[200:]))


SMALL = Example(lambda: mlp((24, 16, 16, 2)), blobs, Recipe(epochs=3, batch=32), ("4",))


@pytest.mark.parametrize("pruning", [Pruning(), Pruning(format="fp16"), Pruning("dense")])
def test_small_networks_learn(pruning):
    first, again = (train(SMALL, pruning, seed=1, device="cpu") for _ in range(2))
    assert first == replace(again, module=first.module)
    assert first.accuracy > 0.95
    assert len(first.losses) == 3
    assert first.losses[-1] < first.losses[0]
    other = train(SMALL, pruning, seed=2, device="cpu")
    assert other.losses != first.losses
    assert accuracy(first.module, *blobs().test) == first.accuracy


def test_the_seed_alone_decides_the_first_weights():
    """Of whatever method, and without touching PyTorch's own generator."""
    state = torch.get_rng_state()
    still = replace(SMALL, recipe=Recipe(epochs=1, rate=0.0, decay=0.0))
    found = [train(still, Pruning(method), 3, device="cpu") for method in ("bdwp", "dense")]
    first, second = (result.module.state_dict() for result in found)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), state)


def test_divergence_is_said():
    wild = replace(SMALL, recipe=Recipe(rate=1e6))
    with pytest.raises(ValueError, match=r"lower the rate|NaN"):
        train(wild, Pruning(), device="cpu")
    with pytest.raises(ValueError, match="epochs = 0"):
        Recipe(epochs=0)


def test_networks_take_their_data():
    for build, shape in ((mlp, (2, 784)), (cnn, (2, 1, 8, 8))):
        assert build()(torch.zeros(shape)).shape == (2, 10)
    assert cnn((4, 8), size=7, classes=3)(torch.zeros(1, 1, 7, 7)).shape == (1, 3)


def test_digits_are_split_and_pruned_networks_learn_them():
    try:
        split = digits()
    except data.MissingData as missing:
        pytest.skip(str(missing))
    assert split.train[0].shape == (1198, 1, 8, 8)
    assert split.test[0].shape == (599, 1, 8, 8)
    assert (split.train[0].min(), split.train[0].max()) == (0, 1)
    small = Example(lambda: cnn((8, 16)), lambda: split, Recipe(epochs=2, batch=64), None)
    found = train(small, Pruning("bdwp", 2, 8), device="cpu")
    assert found.accuracy > 0.6
    assert [isinstance(part, Pruned) for part in found.module if hasattr(part, "weight")] == [
        False, True, False,
    ]  # fmt: skip


def test_mnist_is_split():
    try:
        split = mnist()
    except data.MissingData as missing:
        pytest.skip(str(missing))
    assert split.train[0].shape == (8000, 784)
    assert split.test[1].shape == (2000,)
    assert split.train[0].max() == 1
    with pytest.raises(ValueError, match="train = 10000 is not from 1 to 9999"):
        mnist(10_000)


def test_examples_keep_layers_that_there_are_dense():
    for example in EXAMPLES.values():
        module = example.build()
        assert set(example.keep_dense or ()) <= {name for name, _ in module.named_modules()}
