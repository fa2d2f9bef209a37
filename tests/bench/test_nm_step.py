"""The bench of N:M training steps: its arrays, the bound, and costs by pass."""

import pytest
from thresher.bench._nm_step import RATIOS, array, bound, steps
from thresher.models.nm.layers import Layer, linear


def test_the_bound_is_two_of_three_products():
    assert [bound(*ratio) for ratio in ((2, 8), (2, 4), (1, 1))] == [2, 1.5, 1]


@pytest.mark.parametrize(("kept", "group"), RATIOS)
def test_arrays_differ_in_their_ratio_alone(kept: int, group: int):
    config, paper = array(kept, group), array()
    assert (config.rows, config.columns, config.beat_bits) == (32, 32, 1024)
    for one in (config, paper):
        assert one.clusters * one.left_depth * one.word_bits == 16 * 4096 * 128
        assert one.columns * one.right_depth * one.kept == 32 * 1024 * 2


def test_a_step_gains_no_more_than_the_bound_and_its_dense_layers_nothing():
    layer = Layer("body", 64, 64, 8, 8, 8, 3, 1, 1)
    told: list[str] = []
    sparse, dense, by_layer = steps(array(), [layer, layer], 1, told.append)
    assert told[0] == "body, forward"
    assert len(told) == 6  # each shape of a layer once, sparse and dense
    assert 1.2 < dense.total.cycles / sparse.total.cycles < bound(2, 8)
    # Gradients are dense in either; dense right operands take longer to write.
    assert sparse.costs["gradient"].streaming == dense.costs["gradient"].streaming
    assert sparse.costs["gradient"].written < dense.costs["gradient"].written
    assert sparse.total.cycles == sum(by_layer.values())
    # Of 9 x 8 groups 5 blocks of the array are made, where 4.5 would do.
    assert dense.costs["forward"].streaming == 2 * 8 * 64 * 5 * 4 * 2
    assert sparse.costs["forward"].streaming == 2 * 8 * 64 * 5 * 2
    alone = linear("fc", 64, 64, 32, sparse=False)
    sparse, dense, _ = steps(array(), [alone], 1, told.append)
    assert sparse == dense
