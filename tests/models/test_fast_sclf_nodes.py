"""Leaves of polar codes against their definitions; published and derived counts of steps."""

import numpy as np
import pytest
from thresher.models.codes.named import polar
from thresher.models.fast_sclf.nodes import Leaf, leaves, steps

CODE = "polar-512-256-crc24c"


def pattern(leaf):
    """The frozen bits of a leaf."""
    frozen = np.zeros(leaf.size, bool)
    if leaf.kind == "rate-0":
        frozen[:] = True
    elif leaf.kind == "rep":
        frozen[:-1] = True
    elif leaf.kind == "spc":
        frozen[0] = True
    return frozen


@pytest.mark.parametrize("seed", range(30))
def test_leaves_are_the_largest_nodes_of_a_kind(seed):
    rng = np.random.default_rng(seed)
    n = 1 << rng.integers(1, 8)
    frozen = rng.random(n) < rng.choice([0.1, 0.5, 0.9])
    if seed % 2:
        frozen = np.sort(frozen)[::-1]  # large nodes
    largest = int(rng.choice([1, 4, 16, n]))
    found = leaves(frozen, largest)
    assert [leaf.offset for leaf in found] == np.cumsum([0, *(x.size for x in found)])[:-1].tolist()
    assert np.array_equal(np.concatenate([pattern(leaf) for leaf in found]), frozen)
    assert all(leaf.offset % leaf.size == 0 and leaf.size <= largest for leaf in found)
    kinds = [
        pattern(Leaf(kind, 0, level)).tolist()
        for kind in ("rate-0", "rate-1", "rep", "spc")
        for level in range(8)
    ]
    for leaf in found:  # no node above is of a kind, unless it is too large
        start = leaf.offset & -2 * leaf.size
        above = frozen[start : start + 2 * leaf.size].tolist()
        assert 2 * leaf.size > largest or leaf.size == n or above not in kinds
    assert leaves(frozen) == leaves(frozen, n)


def test_right_children_join_at_their_level():
    found = leaves(np.array([1, 1, 1, 0, 1, 0, 0, 1], bool))
    assert [(x.kind, x.offset, x.level, x.joins) for x in found] == [
        ("rep", 0, 2, None),
        ("rep", 4, 1, 2),
        ("rate-1", 6, 0, 1),
        ("rate-0", 7, 0, 0),
    ]


def test_splits_are_as_many_as_can_matter():
    splits = {kind: [Leaf(kind, 0, 3).splits(x) for x in (1, 2, 4, 8, 32)] for kind in
              ("rate-0", "rep", "rate-1", "spc")}  # fmt: skip
    assert splits == {
        "rate-0": [0, 0, 0, 0, 0],
        "rep": [1, 1, 1, 1, 1],
        "rate-1": [1, 1, 3, 7, 8],
        "spc": [1, 1, 3, 7, 7],
    }


@pytest.mark.parametrize(("lists", "expected"), [(2, 154), (4, 204), (8, 259), (32, 359)])
def test_steps_of_the_code_of_the_paper(lists, expected):
    assert steps(leaves(polar(CODE).frozen), lists) == expected


def test_steps_with_few_processing_elements():
    found = leaves(polar(CODE).frozen)
    rows = {8: 436, 16: 298, 32: 238, 64: 214, 128: 206, 256: 204}
    assert {pes: steps(found, 4, pes) for pes in rows} == rows


def test_steps_bit_by_bit():
    code = polar(CODE)
    found = leaves(code.frozen, 1)
    assert steps(found, 1) == 2 * 512 - 2
    assert steps(found, 4) == 2 * 512 - 2 + 280  # a split for each bit that is not frozen


@pytest.mark.parametrize("largest", [0, -4, 12])
def test_leaves_are_powers_of_two(largest):
    with pytest.raises(ValueError, match=f"leaf of {largest} bits is not a power of two"):
        leaves(np.arange(8) < 4, largest)
