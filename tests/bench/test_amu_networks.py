"""The bench of lookup networks: what it needs, and what its rows say without it."""

import pytest
import torch
from thresher.bench import _amu_networks as networks
from thresher.bench.report import Row
from thresher.models import data


def test_examples_are_streamlined_without_a_difference_and_mnist_may_be_absent(monkeypatch):
    def absent(fetch=False):
        raise data.MissingData("no MNIST; set THRESHER_MNIST")

    monkeypatch.setattr(data, "mnist", absent)
    rows = list(networks.networks_rows(quick=True, progress=lambda what: None))
    assert [row.holds for row in rows] == [True, True, True, None]
    assert all(isinstance(row, Row) for row in rows)
    assert rows[-1].skipped.startswith("no MNIST")


def test_a_difference_is_counted(monkeypatch):
    def careless(network):
        found = networks_streamline(network)
        last = found.network.nodes[-1].operation
        (last.bias if hasattr(last, "bias") else last.layer.bias)[0] += 1
        return found

    networks_streamline = networks.streamline
    monkeypatch.setattr(networks, "streamline", careless)
    assert all(row.holds is False for row in networks._examples(quick=True))


def test_the_mnist_network_is_the_one_of_the_facts():
    """On the 1,000 images at hand, which it was trained on."""
    stored = data.load("binary_lfc_mnist.npz")
    images = stored["images"].reshape(-1, 784) / 255
    with torch.no_grad():
        scores = networks.mnist_mlp()(torch.from_numpy(images).float())
    assert (scores.argmax(1).numpy() == stored["labels"]).mean() == pytest.approx(1, abs=0.001)
