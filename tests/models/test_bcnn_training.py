"""Training: reproducible, and it learns; pruned as planned."""

import pytest
import torch
from thresher.models.bcnn import nets, training
from thresher.models.bcnn.layers import Binary
from thresher.models.bcnn.pruning import Pruner, evenly
from thresher.models.bcnn.training import Images, Recipe
from thresher.models.threads import one_thread

RECIPE = Recipe(epochs=10, batch=16)


def stripes(count, seed):
    """Bright rows or columns on noise: two classes that one pixel does not tell apart."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=draw)
    images = torch.randint(0, 8, (count, 1, 6, 6), generator=draw)
    for image, label, at in zip(
        images, labels, torch.randint(0, 6, (count,), generator=draw), strict=True
    ):
        image[0, at] += 16 * label
        image[0, :, at] += 16 * (1 - label)
    return Images(images.float(), labels)


def make(sort):
    return lambda: nets.plain(sort, (6, 6, 1), (16, 32), (1,), classes=2)


def prune(module):
    return Pruner(module, evenly(module, 2, (4, 4), ("0",)), 0.0, 0.5)


@pytest.mark.parametrize("sort", nets.SORTS)
def test_networks_learn_and_the_same_every_time(sort):
    images, test = stripes(256, 0), stripes(200, 1)
    pruner = None if sort == "real" else prune
    with one_thread():
        state = torch.get_rng_state()
        short = Recipe(1, 16)
        one, again, other = (
            training.train(make(sort), images, short, seed=seed, prune=pruner).state_dict()
            for seed in (3, 3, 4)
        )
        first = training.train(make(sort), images, RECIPE, seed=3, prune=pruner)
        assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, one[k]) for k, v in again.items())
    assert any(not torch.equal(v, one[k]) for k, v in other.items())
    assert training.accuracy(first, test) > 0.9
    if sort != "real":
        kept, every = training.weights(first)
        layers = [m for m in first.modules() if isinstance(m, Binary)]
        assert every == sum(m.outputs * m.channels * m.size[0] * m.size[1] for m in layers)
        assert 2 <= every / kept < 2.2
        assert all(m.weight.abs().max() <= 1 for m in layers)


def test_a_plan_is_met_even_if_it_ends_with_the_training():
    images = stripes(64, 2)
    module = training.train(
        make("binary"), images, Recipe(1, 16),
        prune=lambda module: Pruner(module, evenly(module, 3, (4, 4)), 0.0, 1.0),
    )  # fmt: skip
    kept, every = training.weights(module)
    assert every >= 3 * kept


def test_a_trained_network_is_where_another_begins():
    images = stripes(64, 3)
    start = training.train(make("complex"), images, Recipe(1, 16), seed=1)
    same = training.train(make("complex"), images, Recipe(1, 16, rate=0.0), seed=2, start=start)
    own = dict(start.named_parameters())
    assert all(torch.equal(v, own[k]) for k, v in same.named_parameters())


def test_images_come_apart():
    pytest.importorskip("sklearn")
    train, test = training.digits(5)
    assert (len(train), len(test)) == (1297, 500)
    assert train.images.shape[1:] == (1, 8, 8)
    assert (train.images.min(), train.images.max()) == (0, 16)
    assert set(test.labels.tolist()) == set(range(10))
    again, other = training.digits(5)[0], training.digits(6)[0]
    assert torch.equal(train.images, again.images)
    assert not torch.equal(train.labels, other.labels)
    every = torch.cat([train.images, test.images]).flatten(1)
    whole = torch.from_numpy(training.data.digits()[0]).float()
    assert torch.equal(every.sum(1).sort().values, whole.sum(1).sort().values)


def test_too_few_images_are_an_error():
    with pytest.raises(ValueError, match="8 images are no batch of 16"):
        training.train(make("binary"), stripes(8, 0), RECIPE)
