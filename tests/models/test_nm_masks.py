"""N:M masks against what public implementations gave, brute force, and the corner cases."""

import itertools

import numpy as np
import pytest
import torch
from thresher.models import data
from thresher.models.nm.masks import backward_mask, forward_mask, mask, padding

RATIOS = [(1, 4), (2, 4), (2, 8), (4, 8), (1, 16), (2, 16)]


@pytest.fixture(scope="module")
def stored():
    try:
        return data.load("nm_masks.npz")
    except data.MissingData as missing:
        pytest.skip(str(missing))


def brute_force(values: np.ndarray, kept: int, group: int) -> np.ndarray:
    """Along the last axis: who is beaten by fewer than ``kept`` others of its group."""
    result = np.zeros(values.shape, bool)
    for *place, i in np.ndindex(values.shape):
        row = [abs(float(x)) for x in values[tuple(place)]]
        start = i // group * group
        others = range(start, min(start + group, len(row)))
        beaten = sum((row[j], j) > (row[i], i) for j in others)
        result[(*place, i)] = beaten < kept
    return result


@pytest.mark.parametrize(("kept", "group"), RATIOS)
def test_stored_masks_of_a_linear_layer(stored, kept, group):
    weight = torch.from_numpy(stored["lin_w"])
    forward, backward = forward_mask(weight, kept, group), backward_mask(weight, kept, group)
    assert np.array_equal(forward.numpy(), stored[f"lin_{kept}_{group}_ff_mask"])
    assert np.array_equal(backward.numpy(), stored[f"lin_{kept}_{group}_bp_mask"])
    assert not torch.equal(forward, backward)


def test_stored_masks_of_a_convolution(stored):
    weight = torch.from_numpy(stored["conv_w"])
    assert np.array_equal(forward_mask(weight, 2, 8).numpy(), stored["conv_2_8_nhwc_mask"])
    flat = mask(weight.flatten(1), 2, 8).reshape(weight.shape)
    assert np.array_equal(flat.numpy(), stored["conv_2_8_flat_mask"])


def test_stored_ties(stored):
    expected = stored["tie_mask_2_8"].astype(bool)
    assert np.array_equal(mask(torch.ones(expected.shape), 2, 8).numpy(), expected)


def test_torch_keeps_the_same_values_of_a_2_4_mask(stored):
    """Compressed by torch, the dense stored matrix gives its kept values in our order."""
    dense = torch.from_numpy(stored["torch24_dense"])
    chosen = mask(dense, 2, 4)
    assert torch.equal(dense.masked_fill(~chosen, 0), dense)
    # Where a group has fewer than two non-zeros, torch chooses which zeros fill it.
    full = (dense != 0).unflatten(-1, (-1, 4)).sum(-1) == 2
    ours = dense[chosen].reshape(*full.shape, 2)
    theirs = torch.from_numpy(stored["torch24_vals"]).reshape(ours.shape)
    assert full.float().mean() > 0.9
    assert torch.equal(ours[full], theirs[full])
    # Metadata: two bits an index, four groups to 16 bits, reordered; as torch itself reads it.
    conversions = pytest.importorskip("torch.sparse._semi_structured_conversions")
    back = conversions.sparse_semi_structured_to_dense_cutlass(
        torch.from_numpy(stored["torch24_vals"]), torch.from_numpy(stored["torch24_meta"])
    )
    assert torch.equal(mask(back, 2, 4) & (back != 0), chosen & (dense != 0))


@pytest.mark.parametrize("kind", ["normal", "ties", "int8", "specials"])
def test_brute_force(kind):
    rng = np.random.default_rng(7)
    for _ in range(20):
        group = int(rng.integers(1, 17))
        kept = int(rng.integers(1, group + 1))
        shape = (int(rng.integers(1, 4)), int(rng.integers(1, 40)))
        values = {
            "normal": lambda s=shape: rng.normal(size=s).astype(np.float32),
            "ties": lambda s=shape: rng.integers(-2, 3, s).astype(np.float16),
            "int8": lambda s=shape: rng.choice([-128, -127, 0, 127], s).astype(np.int8),
            "specials": lambda s=shape: rng.choice([np.inf, -np.inf, 0.0, -0.0, 5e-324], s),
        }[kind]()
        got = mask(torch.from_numpy(values), kept, group)
        assert np.array_equal(got.numpy(), brute_force(values, kept, group)), (kept, group, shape)


@pytest.mark.parametrize("dim", [0, 1, 2, -2])
def test_any_axis(dim):
    values = torch.randn(9, 8, 7, generator=torch.Generator().manual_seed(1))
    got = mask(values, 3, 4, dim)
    assert got.is_contiguous()
    assert torch.equal(got.movedim(dim, -1), mask(values.movedim(dim, -1).clone(), 3, 4))


def test_padding_loses_against_real_zeros():
    assert mask(torch.zeros(3), 2, 8).tolist() == [False, True, True]
    assert mask(torch.zeros(9), 2, 8).tolist() == [False] * 6 + [True] * 3
    assert padding(9, 8) == 7
    assert padding(16, 8) == 0


def test_backward_groups_stay_within_a_convolutions_groups():
    weight = torch.randn(12, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    got = backward_mask(weight, 1, 4, parts=2)  # six outputs each: groups of four and two
    for part in range(2):
        here = slice(part * 6, part * 6 + 6)
        assert torch.equal(got[here], mask(weight[here], 1, 4, dim=0))
    assert not torch.equal(got, mask(weight, 1, 4, dim=0))
    with pytest.raises(ValueError, match="12 outputs do not divide into 5"):
        backward_mask(weight, 1, 4, parts=5)


def test_bad_input():
    values = torch.tensor([1.0, float("nan")])
    with pytest.raises(ValueError, match="NaN"):
        mask(values, 1, 2)
    for kept, group in [(3, 2), (0, 2)]:
        with pytest.raises(ValueError, match=f"kept = {kept} is not from 1 to group = 2"):
            mask(torch.ones(4), kept, group)
    with pytest.raises(ValueError, match="group = 0"):
        mask(torch.ones(4), 1, 0)
    with pytest.raises(ValueError, match="complex"):
        mask(torch.ones(4, dtype=torch.complex64), 1, 2)
    with pytest.raises(ValueError, match="axis"):
        mask(torch.tensor(1.0), 1, 2)
    assert mask(torch.ones(0, 8), 1, 4).shape == (0, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_the_same_masks():
    values = torch.from_numpy(np.random.default_rng(3).integers(-4, 5, (64, 100)).astype("f4"))
    for kept, group in itertools.product((1, 2, 4), (4, 8)):
        assert torch.equal(mask(values.cuda(), kept, group).cpu(), mask(values, kept, group))
