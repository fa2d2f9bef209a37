"""Structural pruning during training: whole blocks of weights, as hardware skips them.

A *block* is what a stage computes in a cycle: so many outputs of so many channels at one place of
the window.  Of every layer so many blocks stay, those of the largest sums of latent magnitudes,
about as many in every row of blocks (which are those of the same outputs), so that no output is
left without inputs and groups take about equally long.  What is pruned goes gradually (Zhu and
Gupta's cubic schedule): latent weights of pruned blocks stay as they are and may come back while
others shrink.

*Channels* go where all blocks that read them do: then nobody needs the blocks that make them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor, nn

from ..windows import Pair
from .layers import Binary
from .plan import Pruned


def blocks_of(layer: Binary, block: Pair) -> int:
    """How many there are.  Raises :class:`ValueError` where ``block`` does not divide the layer."""
    if layer.outputs % block[0] or layer.channels % block[1]:
        raise ValueError(
            f"blocks of {block} do not divide {layer.outputs} outputs and {layer.channels} channels"
        )
    return layer.kept.numel() // prod(block)


def evenly(
    module: nn.Module, ratio: float, block: Pair, spare: Collection[str] = ()
) -> dict[str, Pruned]:
    """A plan that keeps one ``ratio``-th of all weights, the same share of each layer but those in
    ``spare``, of which all are kept.

    ``block`` becomes smaller where it does not divide a layer.  Raises :class:`ValueError` where
    those that are spared are too many, or a row of blocks would be left without any.
    """
    layers = _layers(module)
    count = {name: layer.outputs * layer.channels * prod(layer.size) for name, layer in layers}
    kept = {name for name in count if name in spare}
    left = sum(count.values()) / ratio - sum(count[name] for name in kept)
    share = left / max(sum(n for name, n in count.items() if name not in kept), 1)
    if share <= 0:
        raise ValueError(f"{', '.join(sorted(kept))} alone are more than one {ratio}-th")
    found = {}
    for name, layer in layers:
        own = _largest(layer.outputs, block[0]), _largest(layer.channels, block[1])
        total = blocks_of(layer, own)
        number = total if name in kept else min(int(share * total), total)
        if number < layer.outputs // own[0]:
            raise ValueError(
                f"{name}: {share:.3f} of {total} blocks of {own} are fewer than one for each "
                f"{own[0]} outputs; take blocks of fewer channels, or more channels"
            )
        found[name] = Pruned(own, number, total)
    return found


def _largest(whole: int, most: int) -> int:
    return next(n for n in range(min(whole, most), 0, -1) if whole % n == 0)


def _layers(module: nn.Module) -> list[tuple[str, Binary]]:
    return [(name, m) for name, m in module.named_modules() if isinstance(m, Binary)]


@dataclass
class Pruner:
    """Prunes the layers of ``module`` that ``plan`` names, until it is met.

    Raises :class:`ValueError` for layers that the module lacks, and blocks that do not divide.
    """

    module: nn.Module
    plan: Mapping[str, Pruned]
    begin: float = 0.1
    """Of the training, from 0 to 1: until then all is kept."""
    end: float = 0.6
    """From then on all that is to be pruned is; masks stay, and the rest settles."""
    met: bool = field(default=False, init=False)
    """Whether the plan is."""

    def __post_init__(self) -> None:
        layers = dict(_layers(self.module))
        if unknown := set(self.plan) - set(layers):
            raise ValueError(
                f"the module has no layers {', '.join(sorted(unknown))}; its are "
                f"{', '.join(layers)}"
            )
        for name, pruned in self.plan.items():
            total = blocks_of(layers[name], pruned.block)
            if not 1 <= pruned.kept <= total:
                raise ValueError(f"{name}: {pruned.kept} of {total} blocks; keep 1 to {total}")
            if pruned.kept < total:
                layers[name].block = pruned.block

    def step(self, progress: float) -> None:
        """To be called often, with how much of the training is done, from 0 to 1."""
        if self.met:
            return
        done = min(max((progress - self.begin) / max(self.end - self.begin, 1e-9), 0.0), 1.0)
        layers = dict(_layers(self.module))
        for name, pruned in self.plan.items():
            layer, total = layers[name], blocks_of(layers[name], pruned.block)
            keep = round(pruned.kept + (total - pruned.kept) * (1 - done) ** 3)
            layer.exploring = 0 < done < 1
            if keep < total:
                layer.prune(strongest(layer, keep))
        self.met = done == 1


def strongest(layer: Binary, keep: int) -> Tensor:
    """bool [rows, columns, height, width]: the ``keep`` blocks of the largest L1 norms, about as
    many in every row; where that leaves some, the largest of all."""
    assert layer.block is not None
    norms = norms_of(layer)
    rows, flat = len(norms), norms.flatten(1)
    order = flat.argsort(1, descending=True).argsort(1)
    each, more = divmod(keep, rows)
    kept = order < each
    if more and each < flat.shape[1]:
        following = flat.masked_fill(order != each, -1.0).amax(1)
        chosen = following.topk(more).indices
        kept[chosen] = order[chosen] <= each
    return kept.reshape(norms.shape)


def norms_of(layer: Binary) -> Tensor:
    """Sums of magnitudes [rows, columns, height, width], of both parts where complex."""
    assert layer.block is not None
    rows, columns = layer.block
    latent = layer.weight.detach().abs()
    latent = latent.sum(-1) if layer.complex else latent
    return latent.unflatten(0, (-1, rows)).unflatten(2, (-1, columns)).sum((1, 3))


def drop_channels(reader: Binary, source: Binary, share: float) -> int:
    """Prunes the share of columns of ``reader`` that weigh least, and of ``source``, whose results
    it alone reads, the rows that nobody needs then; returns the number of columns pruned.

    Raises :class:`ValueError` where a column is not some of the source's rows, or the share is
    not from 0 to below 1.
    """
    if reader.block is None or source.block is None:
        raise ValueError("set the `block` of both layers")
    columns, rows = reader.block[1], source.block[0]
    if columns % rows or source.outputs != reader.channels:
        raise ValueError(
            f"columns of {columns} channels are not made of rows of {rows} outputs; choose blocks "
            "of which one divides the other"
        )
    if not 0 <= share < 1:
        raise ValueError(f"share = {share}; from 0 to below 1")
    norms = norms_of(reader)
    kept = _blocks_kept(reader)
    weigh = (norms * kept).sum((0, 2, 3))
    gone = weigh.argsort()[: int(share * len(weigh))]
    kept[:, gone] = False
    reader.prune(kept)
    made = _blocks_kept(source)
    each = columns // rows
    made[(gone[:, None] * each + torch.arange(each, device=gone.device)).flatten()] = False
    source.prune(made)
    return len(gone)


def _blocks_kept(layer: Binary) -> Tensor:
    """What of ``layer`` is there, block by block."""
    assert layer.block is not None
    rows, columns = layer.block
    return layer.kept[::rows, ::columns].clone()
