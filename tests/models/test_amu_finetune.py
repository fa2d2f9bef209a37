"""Fine-tuning: integers forwards, gradients of paths backwards, integers again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from thresher.models.amu.examples import EXAMPLES, mlp, random_layer
from thresher.models.amu.finetune import Schedule, Trainable, finetune, shifted
from thresher.models.amu.network import Network, Node
from thresher.models.amu.operations import Input, Lookup
from thresher.models.amu.streamline import streamline
from torch.nn import functional


def rows_of(network, number=60, seed=0):
    low, high = network.input.format.limits
    rng = np.random.default_rng(seed)
    return rng.integers(low, high + 1, (number, *network.input.shape))


def outputs(model, rows):
    """What the model's last node gives, without the learned factor."""
    with torch.no_grad():
        return (model(torch.from_numpy(rows)) / model.factor.exp()).numpy()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_batch_meets_the_integers(name):
    network = EXAMPLES[name](1)
    rows = rows_of(network)
    model = Trainable(network, torch.from_numpy(rows), 0.3)
    assert np.abs(outputs(model, rows) - network(rows)).max() < 0.01
    assert (model.integers()(rows) == network(rows)).all()


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_was_trained_is_what_comes_out(name):
    """Also after steps so large that columns reach the end of their width."""
    network = EXAMPLES[name](2)
    rows = rows_of(network)
    model = Trainable(network, torch.from_numpy(rows), 0.3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim:
                noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
                parameter += noise * parameter.std() / 2
    tuned = model.integers()
    assert np.abs(outputs(model, rows) - tuned(rows)).max() < 0.01
    assert (tuned(rows) != network(rows)).any()
    for before, after in zip(network.nodes, tuned.nodes, strict=True):
        if isinstance(before.operation, Lookup):
            assert after.operation.layer.tables.min() == 0
            assert after.operation.layer.tables.max() <= 255


def test_gradients_are_those_of_the_paths():
    """Beside the expectation over independent decisions, written out."""
    rng = np.random.default_rng(0)
    layer = random_layer(rng, 6, 4, codebooks=2, levels=2, output=None)
    network = Network((Node("x", Input((6,))), Node("y", Lookup(layer), (0,))))
    rows = torch.from_numpy(rows_of(network, 5))
    model = Trainable(network, rows, 0.5)
    weights = torch.from_numpy(rng.normal(size=(5, 4))).float()
    (model(rows) / model.factor.exp().detach() * weights).sum().backward()
    tabled = model.tabled["1"]
    spread = np.maximum(rows.numpy().astype(np.float32).std(axis=0), 1)
    thresholds = torch.from_numpy(layer.encoder.thresholds + 0.5).double().requires_grad_()
    total = torch.zeros(())
    for row, weight in zip(rows, weights, strict=True):
        for c, dims in enumerate(layer.encoder.dims):
            right = [
                torch.sigmoid((row[dims[l]] - thresholds[c, node]) / (spread[dims[l]] * 0.5))
                for l, node in ((0, 0), (1, 1), (1, 2))
            ]
            first, low, high = right
            paths = [
                (1 - first) * (1 - low), (1 - first) * low, first * (1 - high), first * high,
            ]  # fmt: skip
            entry = torch.from_numpy(layer.tables[c]).double()
            total = total + sum(p * e @ weight.double() for p, e in zip(paths, entry, strict=True))
    total.backward()
    units = tabled.units.double()
    assert torch.allclose(tabled.thresholds.grad.double() / units, thresholds.grad, rtol=1e-3)


def test_tuning_lowers_the_loss_and_keeps_the_shape():
    """Labels that a network of other tables gives; the trees see what they need."""
    teacher = mlp(0, (8, 6, 3), codebooks=4)
    rows = rows_of(teacher, 1000)
    labels = teacher(rows).argmax(axis=1)
    nodes = list(teacher.nodes)
    layer = nodes[-1].operation.layer
    rng = np.random.default_rng(1)
    shuffled = replace(layer, tables=rng.permuted(layer.tables, axis=1))
    network = Network((*nodes[:-1], replace(nodes[-1], operation=Lookup(shuffled))))
    said = []
    schedule = Schedule(epochs=4, batch=64, rate=0.03)
    tuned = finetune(network, rows, labels, schedule, device="cpu", progress=said.append)
    before, after = ((n(rows).argmax(axis=1) == labels).mean() for n in (network, tuned.network))
    assert after > before + 0.2
    assert tuned.losses[-1] < 0.7 * tuned.losses[0]
    assert len(said) == 4
    again = finetune(network, rows, labels, schedule, device="cpu")
    assert (again.network(rows) == tuned.network(rows)).all()
    kept = [[n.kept for n in streamline(n).nodes] for n in (network, tuned.network)]
    assert kept[0] == kept[1]


def test_losses_and_augmentation_of_ones_own():
    network = mlp(3)
    rows = rows_of(network, 100)
    target = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    seen = []

    def cleared(batch, random):
        seen.append(len(batch))
        return batch * (torch.rand(batch.shape, generator=random) < 0.9)

    tuned = finetune(
        network, rows, target, Schedule(epochs=2, batch=40, rate=1e-3),
        loss=functional.mse_loss, augment=cleared, device="cpu",
    )  # fmt: skip
    assert seen == [40, 40, 20] * 2
    assert tuned.network.kinds[-1].shape == (5,)


def test_shifted_images():
    """Each is one of the nine, with zeros where nothing was; flattened or not."""
    images = torch.arange(1, 61).reshape(1, 4, 5, 3).repeat(200, 1, 1, 1)
    moved = shifted((4, 5), 1)(images, torch.Generator().manual_seed(0))
    wide = np.zeros((6, 7, 3), int)
    wide[1:5, 1:6] = images[0]
    windows = {wide[y : y + 4, x : x + 5].tobytes() for y in range(3) for x in range(3)}
    assert {image.numpy().tobytes() for image in moved} == windows
    flat = shifted((4, 5), 1)(images.flatten(1), torch.Generator().manual_seed(0))
    assert (flat == moved.flatten(1)).all()


def test_arguments_that_do_not_fit():
    network = mlp(0)
    rows = rows_of(network, 4)
    with pytest.raises(ValueError, match="4 rows and 3 targets"):
        finetune(network, rows, np.zeros(3, int))
    with pytest.raises(ValueError, match="rows are integers"):
        finetune(network, rows + 0.5, np.zeros(4, int))
    with pytest.raises(ValueError, match="rate = 0 is not above 0"):
        Schedule(rate=0)
    with pytest.raises(ValueError, match="the loss is nan"):
        finetune(network, rows, np.full((4, 5), np.nan, np.float32), device="cpu")
