"""Structural pruning: whole blocks, evenly, as many as planned."""

from itertools import product

import numpy as np
import pytest
import torch
from thresher.models.bcnn import nets, plan
from thresher.models.bcnn.convert import convert
from thresher.models.bcnn.layers import Binary, BinaryConv2d
from thresher.models.bcnn.operations import Convolution, Input
from thresher.models.bcnn.plan import Pruned
from thresher.models.bcnn.pruning import (
    Pruner,
    blocks_of,
    drop_channels,
    evenly,
    norms_of,
    strongest,
)
from torch import nn


def layers_of(module):
    return {name: m for name, m in module.named_modules() if isinstance(m, Binary)}


def kept_blocks(layer):
    """How many, found weight by weight; blocks are whole."""
    rows, columns = layer.block
    count = 0
    for m, c, i, j in product(
        range(0, layer.outputs, rows), range(0, layer.channels, columns), *map(range, layer.size)
    ):
        part = layer.kept[m : m + rows, c : c + columns, i, j]
        assert part.all() or not part.any()
        count += bool(part.any())
    return count


@pytest.mark.parametrize("complex", [False, True])
def test_norms_are_sums_of_magnitudes(complex):
    torch.manual_seed(0)
    layer = BinaryConv2d(6, 4, (2, 3), complex=complex, block=(2, 3))
    norms = norms_of(layer)
    assert norms.shape == (2, 2, 2, 3)
    assert norms.numel() == blocks_of(layer, (2, 3))
    for r, c, i, j in product(range(2), range(2), range(2), range(3)):
        part = layer.weight[2 * r : 2 * r + 2, 3 * c : 3 * c + 3, i, j]
        assert float(norms[r, c, i, j]) == pytest.approx(float(part.abs().sum().detach()))


@pytest.mark.parametrize("keep", [1, 4, 5, 7, 8, 30, 71, 72])
def test_strongest_blocks_are_spread_over_rows(keep):
    torch.manual_seed(keep)
    layer = BinaryConv2d(8, 8, 3, block=(2, 4))  # 4 rows of 18 blocks
    norms, kept = norms_of(layer).flatten(1), strongest(layer, keep).flatten(1)
    assert kept.sum() == keep
    counts = kept.sum(1)
    assert counts.max() - counts.min() <= 1
    for own, chosen in zip(norms, kept, strict=True):
        if chosen.any() and not chosen.all():
            assert own[chosen].min() >= own[~chosen].max()
    # Of the rows that have one more, the last one weighs at least what others' next would.
    if keep % 4:
        last = [own.sort(descending=True).values[keep // 4] for own in norms]
        more = counts > keep // 4
        assert min(v for v, m in zip(last, more, strict=True) if m) >= max(
            v for v, m in zip(last, more, strict=True) if not m
        )


def test_pruning_is_gradual_and_lets_blocks_return():
    torch.manual_seed(1)
    module = nn.Sequential(BinaryConv2d(16, 16, 3))
    layer = module[0]
    pruner = Pruner(module, {"0": Pruned((4, 4), 12, 144)}, 0.2, 0.7)
    for progress, kept in ((0.0, 144), (0.2, 144), (0.45, round(12 + 132 / 8)), (0.7, 12)):
        if progress == 0.45:
            pruner.step(0.4)
            gone = int((~layer.kept[::4, ::4]).flatten().int().argmax())
            at = np.unravel_index(gone, (4, 4, 3, 3))
            with torch.no_grad():
                layer.weight[4 * at[0] : 4 * at[0] + 4, 4 * at[1] : 4 * at[1] + 4, at[2], at[3]] = 1
        pruner.step(progress)
        assert (int(layer.kept.sum()) // 16, pruner.met) == (kept, progress == 0.7)
        if progress >= 0.45:
            assert layer.kept[4 * at[0], 4 * at[1], at[2], at[3]]
    settled = layer.kept.clone()
    nn.init.normal_(layer.weight)
    pruner.step(1.0)
    assert torch.equal(layer.kept, settled)


@pytest.mark.parametrize("sort", ["binary", "complex"])
def test_a_share_of_every_layer(sort):
    torch.manual_seed(2)
    module = nets.plain(sort, (8, 8, 1), (32, 64, 64), (2,))
    layers = layers_of(module)
    first, *_, last = layers
    pruned = evenly(module, 10, (8, 4), (first, last))
    Pruner(module, pruned, 0.0, 0.5).step(1.0)
    every, kept = (
        sum(int(n) for n in counts)
        for counts in zip(*((y.kept.numel(), y.kept.sum()) for y in layers.values()), strict=True)
    )
    assert 10 <= every / kept < 11
    for name, layer in layers.items():
        if name in (first, last):
            assert layer.kept.all()
            assert layer.block is None
        else:
            assert kept_blocks(layer) == pruned[name].kept
            assert layer.kept.flatten(1).any(1).all()
    assert evenly(module, 4, (7, 3), (first,))[last].block == (5, 2)


def test_plans_are_met_and_stay_in_converted_networks():
    torch.manual_seed(3)
    module = nets.resnet("complex", (8, 8, 1), (16, 32), 1)
    given = Input((8, 8, 1), 4)
    layers = plan.layers_of(convert(module.eval(), given))
    first, *_, last = (layer.name for layer in layers)
    planned = plan.plan(layers, 5, 2000, {first: 1, last: 1})
    Pruner(module, planned).step(1.0)
    network = convert(module, given)
    found = {n.name: n.operation for n in network.nodes if isinstance(n.operation, Convolution)}
    assert found.keys() == planned.keys()
    for name, pruned in planned.items():
        block = pruned.block[0] * pruned.block[1]
        assert found[name].products == pruned.kept * block
        assert found[name].block == (pruned.block if pruned.kept < pruned.total else None)


@pytest.mark.parametrize("block", [(1, 2), (2, 2), (2, 4)])
def test_channels_that_are_not_read_are_not_made(block):
    torch.manual_seed(4)
    source = BinaryConv2d(4, 8, 3, complex=True, block=(block[0], 2))
    reader = BinaryConv2d(8, 4, 3, complex=True, block=(2, block[1]))
    weigh = norms_of(reader).sum((0, 2, 3))
    count = drop_channels(reader, source, 0.5)
    assert count == len(weigh) // 2
    gone = ~reader.kept.flatten(2).any(2).any(0)
    assert gone.sum() == count * block[1]
    assert torch.equal(gone, ~source.kept.flatten(1).any(1))
    columns = gone[:: block[1]]
    assert weigh[columns].max() <= weigh[~columns].min()
    kept = source.kept[~gone], reader.kept[:, ~gone]
    assert all(k.all() for k in kept)


def test_errors():
    module = nets.plain("binary", (8, 8, 1), (32, 64), ())
    names = list(layers_of(module))
    with pytest.raises(ValueError, match="no layers nothing"):
        Pruner(module, {"nothing": Pruned((1, 1), 1, 1)})
    with pytest.raises(ValueError, match=r"blocks of \(5, 4\) do not divide 64 outputs"):
        Pruner(module, {names[1]: Pruned((5, 4), 1, 1)})
    with pytest.raises(ValueError, match="0 of 288 blocks; keep 1 to 288"):
        Pruner(module, {names[1]: Pruned((8, 8), 0, 288)})
    with pytest.raises(ValueError, match="alone are more than one 20-th"):
        evenly(module, 20, (8, 8), names)
    with pytest.raises(ValueError, match="take blocks of fewer channels"):
        evenly(module, 50, (1, 32), names[:1])
    first, second = (layers_of(module)[name] for name in names[:2])
    with pytest.raises(ValueError, match="set the `block`"):
        drop_channels(second, first, 0.5)
    first.block, second.block = (4, 1), (8, 2)
    with pytest.raises(ValueError, match="not made of rows of 4"):
        drop_channels(second, first, 0.5)
    second.block = (8, 8)
    with pytest.raises(ValueError, match="share = 1"):
        drop_channels(second, first, 1)
