"""Hash trees that are grown and improved, against every tree there is."""

from itertools import product

import numpy as np
import pytest
from thresher.models.amu.trees import BINS, Bins, Tree, grow, improve


def rounded(rng, rows, inputs, steps=3):
    """Rows with many equal values."""
    return np.round(rng.normal(size=(rows, inputs)) * steps) / steps


def error(codes, target):
    return sum(
        np.square(target[codes == k] - target[codes == k].mean(axis=0)).sum()
        for k in np.unique(codes)
    )


def thresholds(column):
    return [-np.inf, *np.unique(column)]


@pytest.mark.parametrize("inputs", ["few values", "many values", "constant", "neighbours"])
def test_bins_and_thresholds_tell_the_same_rows_apart(inputs):
    rng = np.random.default_rng(0)
    column = {
        "few values": rng.integers(-3, 4, 900) / 7,
        "many values": np.maximum(rng.normal(size=3000), 0),
        "constant": np.full(50, 0.1),
        "neighbours": np.nextafter(1.0, [0.0, 1.0, 2.0] * 5),
    }[inputs]
    bins = Bins(column[:, None])
    above = column[:, None] > bins.thresholds[0]
    assert (above == (bins.index[0][:, None] > np.arange(BINS))).all()
    assert bins.varying[0] == (inputs != "constant")
    found, values = len(np.unique(bins.index[0])), len(np.unique(column))
    assert found == values if values <= BINS else 100 < found <= BINS


@pytest.mark.parametrize("seed", range(5))
def test_one_level_is_the_best_of_all_inputs_and_thresholds(seed):
    rng = np.random.default_rng(seed)
    rows = rounded(rng, 60, 4)
    target = rng.normal(size=(60, 3)) + rows[:, :1] ** 2
    bins = Bins(rows)
    tree = grow(bins, target, 1, np.ones(4, bool))
    best = min(
        error(rows[:, d] > threshold, target)
        for d in range(4)
        for threshold in thresholds(rows[:, d])
    )
    assert error(tree.codes(bins), target) == pytest.approx(best)


def test_a_tree_looks_where_it_may():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(200, 6))
    allowed = np.array([False, True, False, False, True, False])
    tree = grow(Bins(rows), rows, 3, allowed)
    assert set(tree.dims) <= {1, 4}
    improve(Bins(rows), rng.normal(size=(200, 8)), tree, allowed)
    assert set(tree.dims) <= {1, 4}


@pytest.mark.parametrize("seed", range(5))
def test_improving_finds_the_best_level_and_never_loses(seed):
    """The level of the leaves is changed first: no other inputs and thresholds are better."""
    rng = np.random.default_rng(seed)
    rows, cost = rounded(rng, 40, 3, 2), rng.normal(size=(40, 4))
    bins, every = Bins(rows), np.ones(3, bool)
    tree = Tree(rng.integers(0, 3, 2), rng.integers(0, 3, 3))
    before = cost[np.arange(40), tree.codes(bins)].sum()
    upper = Tree(tree.dims[:1], tree.cuts[:1]).codes(bins)
    best = min(
        sum(
            cost[i, 2 * node + (rows[i, d] > pair[node])] for i, node in enumerate(upper)
        )
        for d in range(3)
        for pair in product(thresholds(rows[:, d]), repeat=2)
    )  # fmt: skip
    improve(bins, cost, tree, every)
    after = cost[np.arange(40), tree.codes(bins)].sum()
    assert after <= min(before, best) + 1e-9
    improve(bins, cost, tree, every)
    assert cost[np.arange(40), tree.codes(bins)].sum() <= after + 1e-9


def test_a_good_tree_is_left_alone():
    rng = np.random.default_rng(2)
    bins = Bins(rng.normal(size=(100, 4)))
    tree = Tree(np.array([2, 0]), np.array([50, 30, 70]))
    codes = tree.codes(bins)
    improve(bins, 1.0 - np.eye(4)[codes], tree, np.ones(4, bool))
    assert (tree.codes(bins) == codes).all()
    assert tree.dims.tolist() == [2, 0]
