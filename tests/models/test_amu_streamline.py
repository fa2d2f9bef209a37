"""Streamlined networks give what they gave, with no output that nobody reads."""

from dataclasses import replace

import numpy as np
import pytest
from thresher.models.amu.examples import EXAMPLES, chain, mlp, random_layer, residual
from thresher.models.amu.layer import Format
from thresher.models.amu.network import Network, Node
from thresher.models.amu.operations import Add, Concat, Dense, Input, Lookup, Select
from thresher.models.amu.streamline import needed, streamline


def rows(network, seed=0, number=20):
    low, high = network.input.format.limits
    return np.random.default_rng(seed).integers(low, high + 1, (number, *network.input.shape))


def masked(network, required):
    """What comes out where every output that is not required is cleared."""
    values = []
    for place, node in enumerate(network.nodes):
        value = node.operation(*(values[s] for s in node.sources)) if place else rows(network)
        values.append(np.where(required[place], value, 0))
    return values[-1]


def without_skips(network):
    """The same, but additions read their second branch only: what a naive pass sees."""
    nodes = [
        replace(node, sources=node.sources[1:] * 2) if isinstance(node.operation, Add) else node
        for node in network.nodes
    ]
    return Network(tuple(nodes))


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("seed", range(3))
def test_results_are_the_same(name, seed):
    network = EXAMPLES[name](seed)
    result = streamline(network)
    x = rows(network, seed)
    assert (result.network(x) == network(x)).all()
    assert all(n.kept < n.total for n in result.nodes[:1])
    assert [n.name for n in streamline(result.network).nodes if n.kept < n.total] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_output_kept_matters(name):
    """Each is one that a tree looks at, or that a result is made of."""
    network = EXAMPLES[name](4)
    required = needed(network)
    assert (masked(network, required) == network(rows(network))).all()
    for place, node in enumerate(network.nodes):
        if isinstance(node.operation, Lookup) and place < len(network.nodes) - 1:
            readers = [network.nodes[p] for p in network.consumers()[place]]
            dims = [
                r.operation.layer.encoder.dims for r in readers if isinstance(r.operation, Lookup)
            ]
            if len(dims) == len(readers):
                assert set(np.flatnonzero(required[place])) == set(np.concatenate(dims).ravel())


def test_an_mlp_by_hand():
    network = mlp(0)
    result = streamline(network)
    layers = [n.operation.layer for n in network.nodes[1:]]
    slim = [n.operation.layer for n in result.network.nodes[1:]]
    for layer, after, kept in zip(layers, layers[1:], slim, strict=False):
        read = np.unique(after.encoder.dims)
        assert (kept.tables == layer.tables[:, :, read]).all()
    assert slim[-1].outputs == layers[-1].outputs
    assert [(n.kept, n.total) for n in result.nodes] == [
        *((s.outputs, l.outputs) for s, l in zip(slim, layers, strict=True))
    ]
    assert "layer0: " in str(result)


def test_flattened_positions_share_their_channels():
    network = chain(1)
    conv, last = (network.nodes[p].operation for p in (3, 5))
    channels = np.unique(last.layer.encoder.dims % 8)
    slim = streamline(network).network
    assert slim.kinds[3].channels == len(channels)
    assert (slim.nodes[3].operation.tables == conv.tables[..., channels]).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_residual_needs_both_of_its_branches(seed):
    """And a pass that overlooks it gives another result, which this test would see."""
    network = residual(seed)
    x = rows(network)
    required = needed(network)
    names = [n.name for n in network.nodes]
    skip, main, total = (required[names.index(n)] for n in ("conv0", "conv2", "sum"))
    assert (main == total).all()
    assert not (total & ~skip).any()
    assert (masked(network, required) == network(x)).all()
    naive = needed(without_skips(network))
    assert (total & ~naive[names.index("conv0")]).any()
    assert (masked(network, naive) != network(x)).any()


def test_branches_of_an_addition_that_hold_more_are_selected_from():
    rng = np.random.default_rng(0)
    a, b = (random_layer(rng, 9, 9) for _ in range(2))
    last = random_layer(rng, 9, 3, output=None)
    network = Network((
        Node("x", Input((9,))),
        Node("a", Lookup(a), (0,)),
        Node("b", Lookup(b), (1,)),
        Node("sum", Add(Format(8)), (1, 2)),
        Node("y", Lookup(last), (3,)),
    ))  # fmt: skip
    slim = streamline(network).network
    kinds = {n.name: k.channels for n, k in zip(slim.nodes, slim.kinds, strict=True)}
    assert kinds["sum"] == kinds["b"] == len(np.unique(last.encoder.dims))
    read = np.unique(np.concatenate([last.encoder.dims.ravel(), b.encoder.dims.ravel()]))
    assert kinds["a"] == len(read) > kinds["sum"]
    assert any(isinstance(n.operation, Select) for n in slim.nodes)
    assert (slim(rows(network)) == network(rows(network))).all()


def test_a_dense_layer_forces_what_has_a_weight():
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 9, (8, 4))
    weights[[2, 5]] = 0
    network = Network((
        Node("x", Input((9,))),
        Node("a", Lookup(random_layer(rng, 9, 8)), (0,)),
        Node("dense", Dense(weights, np.arange(4), shift=4, output=Format(8)), (1,)),
        Node("y", Lookup(random_layer(rng, 4, 3)), (2,)),
    ))  # fmt: skip
    trees = network.nodes[3].operation.layer.encoder
    slim = streamline(network)
    assert [n.kept for n in slim.nodes] == [6, len(np.unique(trees.dims)), 3]
    assert (slim.network(rows(network)) == network(rows(network))).all()
    assert slim.nodes[0].share == 0.75


def test_of_a_node_that_nothing_is_needed_of_one_output_stays():
    rng = np.random.default_rng(0)
    layer = random_layer(rng, 9, 3)
    last = replace(layer, encoder=replace(layer.encoder, dims=np.full((3, 3), 8)))
    network = Network((
        Node("x", Input((9,))),
        Node("a", Lookup(random_layer(rng, 9, 5)), (0,)),
        Node("b", Lookup(random_layer(rng, 9, 5)), (0,)),
        Node("both", Concat(), (1, 2)),
        Node("y", Lookup(last), (3,)),
    ))  # fmt: skip
    slim = streamline(network)
    assert [n.kept for n in slim.nodes] == [1, 1, 3]
    assert (slim.network(rows(network)) == network(rows(network))).all()
