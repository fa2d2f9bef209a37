"""Trained modules become networks: steps like the module, integers like the steps."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from thresher.models.amu.convert import Choice, centred_error, convert
from thresher.models.amu.convolution import Convolution
from thresher.models.amu.layer import Format
from thresher.models.amu.modules import Affine, evaluate, steps
from thresher.models.amu.operations import Add, Dense, Lookup
from thresher.models.amu.streamline import streamline
from torch import nn


class Branches(nn.Module):
    """A residual block with batch norms, two branches that are joined, flattened images."""

    def __init__(self):
        super().__init__()
        self.conv0 = nn.Conv2d(3, 8, 3, padding=1)
        self.norm0 = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 8, 3, padding="same", bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 6, (3, 2), stride=(2, 1))
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout()
        self.last = nn.Linear(8 * 4 * 3 + 6 * 3 * 5, 10)

    def forward(self, x):
        a = torch.relu(self.drop(self.norm0(self.conv0(x))))
        b = torch.relu(a + self.norm1(self.conv1(a)))
        c = self.conv2(b).relu()
        return self.last(torch.cat([self.pool(b).flatten(1), torch.flatten(c, 1)], 1))


@pytest.fixture(scope="module")
def branches():
    """With statistics of its batch norms, and images."""
    torch.manual_seed(0)
    module = Branches()
    for _ in range(3):
        module(torch.randn(50, 3, 8, 6))
    return module.eval(), torch.rand(60, 3, 8, 6)


def mlp(*widths, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    return nn.Sequential(*[m for l in layers for m in (l, nn.ReLU())][:-1])


def test_steps_compute_what_the_module_does(branches):
    module, images = branches
    found = steps(module, (3, 8, 6))
    assert sum(isinstance(s.operation, Affine) for s in found) == 4
    assert [s.name for s in found if s.operation.relu] == ["conv0", "add", "conv2"]
    got = evaluate(found, images.movedim(1, -1))[-1]
    assert torch.allclose(got, module(images), atol=1e-5)


def test_a_relu_behind_pooling_is_one_before_it():
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.ReLU())
    module = nn.Sequential(module, nn.Linear(4 * 9, 3)).eval()
    images = torch.randn(5, 1, 8, 8)
    got = evaluate(steps(module, (1, 8, 8)), images.movedim(1, -1))[-1]
    assert torch.allclose(got, module(images), atol=1e-5)


def test_exact_layers_give_the_module_up_to_rounding(branches):
    """So scales, alignment of additions, padding and the order of flattened values are right."""
    module, images = branches
    found = convert(module, images, Choice(exact=True))
    with torch.no_grad():
        wanted = module(images).numpy()
    assert centred_error(found(images), wanted) < 1e-3
    assert any(isinstance(n.operation, Add) for n in found.network.nodes)
    assert all(layer.codebooks == 0 and layer.error < 1e-3 for layer in found.report.layers)
    with torch.no_grad():
        more = torch.rand(20, 3, 8, 6)
        assert centred_error(found(more), module(more).numpy()) < 2e-3


def test_lookups_of_all_pixels_there_are_lose_nothing():
    """Eight prototypes stand for every pixel of three channels that are 0 or 1."""
    torch.manual_seed(0)
    module = nn.Conv2d(3, 5, 3, stride=2, padding=1)
    images = torch.randint(0, 2, (60, 3, 9, 7)).float()
    found = convert(module, images, Choice(codebooks=1, levels=3))
    (layer,) = found.report.layers
    assert isinstance(found.network.nodes[-1].operation, Convolution)
    assert layer.error < 1e-3
    assert (layer.codebooks, layer.prototypes, layer.outputs) == (1, 8, 5)
    with torch.no_grad():
        wanted = module(images).movedim(1, -1).numpy()
    assert np.abs(found(images) - wanted).max() < 0.02


def test_choices_layer_by_layer(branches):
    module, images = branches
    choices = {
        "conv0": Choice(exact=True),
        "conv1": Choice(codebooks=8, levels=2),
        "last": Choice(length=24, table_bits=6),
    }
    found = convert(module, images, Choice(length=4), layers=choices, samples=3000)
    nodes = {n.name: n.operation for n in found.network.nodes}
    assert isinstance(nodes["conv0"], Dense)
    assert nodes["conv1"].tables.shape == (3, 3, 8, 4, 8)
    assert nodes["conv2"].tables.shape == (3, 2, 2, 16, 6)
    assert isinstance(nodes["last"], Lookup)
    assert nodes["last"].layer.encoder.codebooks == 8
    assert nodes["last"].layer.tables.max() == 63
    assert nodes["conv1"].tables.max() <= 255
    slim = streamline(found.network)
    assert [n.kept for n in slim.nodes] == [layer.kept for layer in found.report.layers]
    assert (slim.network(found.quantise(images)) == found.network(found.quantise(images))).all()
    assert "conv0: exact" in str(found.report)


def test_more_codebooks_err_less_and_labels_are_counted():
    module, rng = mlp(12, 10, 4), np.random.default_rng(0)
    rows = rng.random((600, 12))
    fresh = rng.random((300, 12))
    with torch.no_grad():
        labels = module(torch.from_numpy(fresh).float()).argmax(1).numpy()
    errors = []
    for codebooks in (1, 3, 9):
        found = convert(module, rows, Choice(codebooks=codebooks), validation=fresh, labels=labels)
        errors.append([layer.error for layer in found.report.layers])
        with torch.no_grad():
            wanted = module(torch.from_numpy(fresh).float()).numpy()
        assert centred_error(found(fresh), wanted) == pytest.approx(errors[-1][-1])
        assert found.report.accuracy == (found(fresh).argmax(1) == labels).mean()
        assert found.report.float_accuracy == 1
        assert found.report.rows == 300
    assert (np.diff(errors, axis=0) < 0).all()


def test_branches_of_an_addition_are_aligned_by_powers_of_two():
    """A branch a hundred times as large does not spoil an addition."""

    torch.manual_seed(1)
    module = _Uneven()
    with torch.no_grad():
        module.b.weight *= 100
    rows = torch.randn(300, 6)
    found = convert(module, rows, Choice(exact=True, table_bits=10), bits=10, input_bits=10)
    add = next(n.operation for n in found.network.nodes if isinstance(n.operation, Add))
    assert max(add.shifts) >= 4
    with torch.no_grad():
        assert centred_error(found(rows), module(rows).numpy()) < 1e-4
    assert found.network.input.format.signed


def test_a_module_that_ends_with_a_relu():
    rows = np.random.default_rng(0).random((400, 6))
    module = nn.Sequential(mlp(6, 8, 5), nn.ReLU())
    for choice in (Choice(exact=True), Choice(codebooks=1, levels=5)):
        found = convert(module, rows, choice)
        assert found.network.output.format == Format(8)
        with torch.no_grad():
            wanted = module(torch.from_numpy(rows).float()).numpy()
        assert (found(rows) >= 0).all()
        assert centred_error(found(rows), wanted) < (1e-3 if choice.exact else 0.9)


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()), (4,), "1: Sigmoid cannot be converted"),
        (nn.Sequential(nn.ReLU(), nn.Linear(4, 4)), (4,), "0: a ReLU is part of"),
        (nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4)), (4,), "0: a batch norm is folded"),
        (nn.Conv2d(4, 4, 3, groups=2), (4, 5, 5), "one group"),
        (nn.Conv2d(4, 4, 3, padding_mode="reflect", padding=1), (4, 5, 5), "zeros for padding"),
        (nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), (4, 5, 5), "rounds sizes down"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(4, 4)), (4,), "from dimension 1"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), (1, 5, 5), "gives a flattened image"),
    ],
)
def test_modules_that_cannot_be_converted(module, shape, message):
    with pytest.raises(ValueError, match=message):
        convert(nn.Sequential(module).eval(), torch.rand(9, *shape))


def test_arguments_that_do_not_fit():
    module = mlp(4, 5, 3)
    rows = np.random.default_rng(0).random((50, 4))
    with pytest.raises(ValueError, match="no layer 7; it has 0, 2"):
        convert(module, rows, layers={"7": Choice()})
    with pytest.raises(ValueError, match="NaN or infinity"):
        convert(module, np.where(rows > 0.9, np.nan, rows))
    with pytest.raises(ValueError, match=r"not \(0, 4\)"):
        convert(module, rows[:0])
    with pytest.raises(ValueError, match="0 does not fit what it reads"):
        convert(module, np.ones((9, 5)))
    with pytest.raises(ValueError, match=r"50 rows need as many labels, not \(3,\)"):
        convert(module, rows, labels=[0, 1, 2])
    with pytest.raises(ValueError, match="table_bits = 0 is not from 1"):
        Choice(table_bits=0)
    with pytest.raises(ValueError, match=r"torch\.fx cannot follow"):
        convert(_Asks(), rows)


def test_flattened_images_with_other_channels_are_not_added():
    """Their values lie in another order than PyTorch's."""

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.few, self.many = nn.Conv2d(2, 3, (1, 3)), nn.Conv2d(2, 6, 3)

        def forward(self, x):
            return self.few(x).flatten(1) + self.many(x).flatten(1)

    with pytest.raises(ValueError, match="add: adds flattened images with as many channels"):
        convert(Sum(), torch.rand(9, 2, 4, 4))


class _Asks(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class _Uneven(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.c(torch.relu(self.a(x) + self.b(x)))
