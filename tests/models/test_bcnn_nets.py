"""Shapes of the networks, and what conversion makes of them."""

import numpy as np
import pytest
import torch
from thresher.models.bcnn import nets, plan
from thresher.models.bcnn.convert import convert
from thresher.models.bcnn.layers import Binary, Scores
from thresher.models.bcnn.operations import Input
from torch import nn

WEIGHTS = {
    # Of the literature's: 3x3 and 1x1 windows summed by hand.
    "nin": 3 * 192 * 25 + 192 * 160 + 160 * 96 + 96 * 192 * 25 + 2 * 192 * 192
    + 192 * 192 * 9 + 192 * 192,
    "resnet18": 9 * (3 * 64 + 4 * 64 * 64)
    + sum(9 * (c * 2 * c + 3 * 4 * c * c) + c * 2 * c for c in (64, 128, 256)),
}  # fmt: skip
HEAD = {"nin": 192 * 10, "resnet18": 512 * 10}


@pytest.mark.parametrize("sort", nets.SORTS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_networks_of_the_paper_have_the_literatures_weights(name, sort):
    module = getattr(nets, name)(sort)
    layers = [m for m in module.modules() if isinstance(m, (Binary, nn.Conv2d))]
    assert all(isinstance(m, Binary) == (sort != "real") for m in layers)
    weights = [m.kept.numel() if isinstance(m, Binary) else m.weight.numel() for m in layers]
    head = HEAD[name] * (2 if sort == "complex" else 1)
    assert (sum(weights[:-1]), weights[-1]) == (WEIGHTS[name], head)


@pytest.mark.parametrize("sort", nets.SORTS)
@pytest.mark.parametrize("make", [nets.nin, nets.resnet18])
def test_narrow_ones_score_and_learn(make, sort):
    torch.manual_seed(0)
    module = make(sort, width=1 / 16).train()
    x = torch.randint(0, 256, (4, 3, 32, 32)).float()
    loss = nn.functional.cross_entropy(module(x), torch.arange(4))
    loss.backward()
    for name, parameter in module.named_parameters():
        if not isinstance(module.get_submodule(name.rpartition(".")[0]), Scores):
            assert torch.count_nonzero(parameter.grad), name
    assert module.eval()(x).shape == (4, 10)


@pytest.mark.parametrize("sort", ["binary", "complex"])
@pytest.mark.parametrize("make", [nets.nin, nets.resnet18])
def test_converted_ones_give_the_same_scores(make, sort):
    torch.manual_seed(1)
    module = make(sort, width=1 / 16)
    x = torch.randint(0, 256, (6, 3, 32, 32)).float()
    with torch.no_grad():
        module.train()(x)
        wanted = module.eval()(x)
    network = convert(module, Input((32, 32, 3)))
    scores = network(x.movedim(1, 3).numpy().astype(np.int64)).reshape(6, 10)
    scale = next(m.scale for m in module.modules() if isinstance(m, Scores))
    assert np.array_equal(scores * scale, wanted.numpy())
    assert len(np.unique(scores)) > 6
    names = [name for name, m in module.named_modules() if isinstance(m, Binary)]
    assert [layer.name for layer in plan.layers_of(network)] == names


@pytest.mark.parametrize("window", [2, 3])
def test_plain_networks_of_odd_images(window):
    torch.manual_seed(2)
    module = nets.plain("complex", (9, 7, 2), (4, 6), (1, 2), 3, (3, 1), window)
    x = torch.randint(0, 16, (5, 2, 9, 7)).float()
    with torch.no_grad():
        module.train()(x)
        wanted = module.eval()(x)
    pooled = {2: (9 // 2 // 2, 7 // 2 // 2), 3: (3, 2)}[window]
    terms = 2 * 6 * pooled[0] * pooled[1]
    scale = 2.0 ** -round(np.log2(terms) / 2)
    network = convert(module, Input((9, 7, 2), 4))
    scores = network(x.movedim(1, 3).numpy().astype(np.int64)).reshape(5, 3)
    assert np.array_equal(scores * scale, wanted.numpy())
