"""What networks become as stages, and what they do not."""

from collections.abc import Callable

import numpy as np
import pytest
from thresher.models.bcnn import folds, lowering
from thresher.models.bcnn.network import Network, Node
from thresher.models.bcnn.operations import (
    Add,
    Bias,
    Convolution,
    Input,
    MaxPool,
    Operation,
    Parts,
    Sum,
    Threshold,
)
from thresher.models.bcnn.stages import Fold, Stage, Tap

RNG = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return RNG.choice((-1, 1), shape).astype(np.int8)


def threshold(*shape: int, value: int = 0) -> Threshold:
    return Threshold(np.full(shape, value), np.zeros(shape, bool))


def network(*nodes: tuple[str, Operation, tuple[int, ...]]) -> Network:
    return Network(tuple(Node(*node) for node in nodes))


def stage(net: Network, folds: dict[str, Fold], place: int = -1) -> Stage:
    found = lowering.lower(net, folds)[place]
    assert isinstance(found, Stage)
    return found


def test_taps_are_those_words_of_which_something_is_kept():
    w = weights(4, 3, 3, 4, 2)
    kept = RNG.random((2, 3, 3, 2)) < 0.4
    kept[1] = False
    w *= kept.repeat(2, axis=0).repeat(2, axis=3)[..., None]
    net = network(
        ("x", Input((5, 5, 4), 1, complex=True), ()),
        ("c", Convolution(w, (2, 1), (1, 0), block=(2, 2)), (0,)),
    )
    one = stage(net, {"c": Fold(1, 2)})
    expected = [Tap(0, i - 1, j, s) for i, j, s in np.argwhere(kept[0]).tolist()]
    assert [list(group) for group in one.groups[:2]] == [expected, expected]
    assert [len(group) for group in one.groups[2:]] == [1, 1]
    assert all(tap.null for group in one.groups[2:] for tap in group)
    assert (one.taps, one.pixels, one.lanes) == (2 * len(expected) + 2, 9, 2)
    row, column, word = expected[0].row + 1, expected[0].column, expected[0].word
    np.testing.assert_array_equal(
        one.weights[len(expected), 0], w[1, row, column, 2 * word : 2 * word + 2]
    )


def test_what_is_added_is_one_stage():
    net = network(
        ("x", Input((4, 4, 4), 1), ()),
        ("main", Convolution(weights(6, 3, 3, 4), (2, 2), (1, 1)), (0,)),
        ("b", Bias(np.full(6, 5)), (1,)),
        ("side", Convolution(weights(6, 1, 1, 4), (2, 2)), (0,)),
        ("a", Add(), (2, 3)),
        ("t", threshold(6, value=10), (4,)),
        ("next", Convolution(weights(6, 1, 1, 6)), (5,)),
        ("a2", Add((3,)), (6, 5)),
        ("sum", Sum(), (7,)),
        ("b2", Bias(np.arange(6)), (8,)),
    )
    stages = lowering.lower(net, [Fold(2, 4), Fold(3, 2)])
    assert [s.name for s in stages] == ["x", "t", "b2"]
    _, first, last = stages
    assert isinstance(first, Stage)
    assert isinstance(last, Stage)
    assert [r.windows.padding for r in first.readers] == [(1, 1), (0, 0)]
    assert [tap.reader for tap in first.groups[0]] == [0] * 9 + [1]
    assert first.thresholds is not None
    assert first.thresholds.tolist() == [5] * 6  # what remains of 10 behind the bias of 5
    assert (first.low, first.high) == (-40, 40)
    assert last.total
    assert last.shortcuts[0].factor == 3
    assert last.shortcuts[0].reader.channels == 3
    assert (last.low, last.high) == (-9, 9)
    assert last.biases is not None
    assert last.biases.tolist() == list(range(6))
    assert (last.pixels, last.beats, last.kind.shape) == (4, 2, (1, 1, 6))


def test_thresholds_behind_a_bias_stay_within_what_sums_need():
    net = network(
        ("x", Input((1, 1, 2), 1), ()),
        ("c", Convolution(weights(2, 1, 1, 2)), (0,)),
        ("b", Bias(np.array([-100, 100])), (1,)),
        ("t", threshold(2, value=0), (2,)),
    )
    found = stage(net, {"c": Fold(1, 1)}).thresholds
    assert found is not None
    assert found.tolist() == [3, -2]


def test_pools_take_what_their_source_gives_and_parts_are_a_view():
    net = network(
        ("x", Input((4, 4, 3)), ()),
        ("c", Convolution(weights(4, 1, 1, 3, 2)), (0,)),
        ("t", threshold(4, 2), (1,)),
        ("parts", Parts(), (2,)),
        ("pool", MaxPool((2, 2), (2, 2)), (3,)),
        ("d", Convolution(weights(2, 1, 1, 8)), (4,)),
    )
    folds = {"c": Fold(2, 3), "d": Fold(1, 8)}
    pool = stage(net, folds, 2)
    assert pool.unit == "pool"
    assert pool.readers[0].kind.channels == 8
    assert not pool.readers[0].kind.complex
    assert pool.readers[0].source == 1
    assert pool.fold == Fold(4, 4)
    assert [tap.word for tap in pool.groups[1] if not tap.null] == [1] * 4
    assert stage(net, {**folds, "pool": Fold(8, 8)}, 2).fold == Fold(8, 8)


SOURCE = ("x", Input((4, 4, 4), 1), ())
CONV = ("c", Convolution(weights(6, 1, 1, 4)), (0,))
PRUNED = Convolution(weights(4, 1, 1, 4) * np.kron(np.eye(2), np.ones((2, 2)))
                     .astype(np.int8)[:, None, None], block=(2, 2))  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "folds", "message"),
    [
        ([CONV], {"c": Fold(4, 1)}, "'c': 4 outputs at once .* divide 6; take 1, 2, 3, 6"),
        ([CONV], {"c": Fold(1, 3)}, "'c': 3 channels at once .* divide 4"),
        ([CONV], {"c": Fold(0, 1)}, "'c': 0 outputs"),
        ([("c", PRUNED, (0,))], {"c": Fold(4, 2)}, "'c': 4 outputs of a block of 2 x 2"),
        ([("c", PRUNED, (0,))], {"c": Fold(2, 4)}, "'c': 4 channels of a block of 2 x 2"),
        ([CONV], {}, "no fold for 'c'"),
        ([CONV], {"c": Fold(1, 1), "d": Fold(1, 1)}, "folds of 'd', which the network lacks"),
        ([CONV], [], "0 folds for 1 stages"),
        (
            [CONV, ("t", threshold(6), (1,)), ("p", MaxPool((2, 2)), (2,))],
            {"c": Fold(1, 1), "p": Fold(2, 3)},
            "'p': .* outputs and channels are equal",
        ),
        (
            [CONV, ("t", threshold(6), (1,)), ("d", Convolution(weights(6, 1, 1, 6)), (2,)),
             ("a", Add(), (3, 1))],
            {},
            "node 'c': its sums are read by 't' and 'a', but sums go one way",
        ),
        (
            [CONV, ("d", CONV[1], (0,)), ("e", CONV[1], (0,)), ("a", Add((1, 1)), (1, 2, 3))],
            {},
            "node 'a': adds up the Convolutions 'c', 'd', 'e'; two at most",
        ),
        (
            [CONV, ("d", CONV[1], (0,)), ("a", Add(), (1, 2))],
            {"c": Fold(1, 1), "d": Fold(2, 1)},
            "'c' and 'd' are one stage, but their folds differ",
        ),
        (
            [CONV, ("s", Sum(), (1,)),
             ("d", Convolution(weights(6, 4, 4, 4)), (0,)), ("a", Add(), (2, 3))],
            {},
            "node 'a': adds a Sum to what is none",
        ),
        ([], {}, "node 'x' computes nothing"),
    ],
)  # fmt: skip
def test_what_cannot_be_lowered(nodes: list, folds: dict[str, Fold], message: str):
    with pytest.raises(ValueError, match=message):
        lowering.lower(network(SOURCE, *nodes), folds)


@pytest.mark.parametrize(
    "make",
    [
        lambda: lowering.lower(network(SOURCE, CONV), [Fold(1, 1)], 3),
        lambda: lowering.lower(network(SOURCE, CONV), [Fold(1, 1)], -4),
        lambda: folds.choose(network(SOURCE, CONV), lanes=4, lanes_in=3),
    ],
)
def test_words_of_the_input_divide_its_channels(make: Callable[[], object]):
    with pytest.raises(ValueError, match=r"lanes_in = -?[34] does not divide the 4 channels"):
        make()
