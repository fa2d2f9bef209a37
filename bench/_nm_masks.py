"""What N:M is made of, against stored data: masks, SR-STE's gradient, sums; by SORE's RTL too."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch

from ..hdl.sore.workloads import workload
from ..models import data, floating
from ..models.nm.config import NmConfig
from ..models.nm.gemm import gemm
from ..models.nm.masks import backward_mask, forward_mask, mask
from ..models.nm.program import Gemm
from ..models.nm.pruning import PrunedLinear, Pruning
from ..models.nm.sore_config import SoreConfig
from ..sim.simulate import simulate
from ._nm_core import Fed, Memories
from ._nm_core import simulate as run_core
from .report import Bar, Progress, Row

FILE = "nm_masks.npz"
RATIOS = ((1, 4), (2, 4), (2, 8), (4, 8), (1, 16), (2, 16))
_DIRECTIONS: tuple[tuple[Literal["along", "across"], Callable[..., torch.Tensor]], ...] = (
    ("along", forward_mask), ("across", backward_mask),
)  # fmt: skip
"""Of groups of SORE whose lanes are outputs, and whose mask that is."""
_SAME = Bar("==", 0)
_NM, _TORCH = "NM-sparsity's code, run", "torch, run"


def mask_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Values that differ from stored ones, and from PyTorch's masks where RTL selects."""
    try:
        stored = data.load(FILE)
    except data.MissingData as missing:
        yield Row.skip("N:M masks, gradient and sums", str(missing), _SAME)
    else:
        yield from _masks(stored)
        yield from _gradient(stored)
        yield from _sums(stored, progress)
    yield from _sore(quick, progress)


def _masks(stored: Mapping[str, np.ndarray]) -> Iterator[Row]:
    weight, kernel = torch.from_numpy(stored["lin_w"]), torch.from_numpy(stored["conv_w"])
    cases = {}
    for kept, group in RATIOS:
        cases[f"lin_{kept}_{group}_ff_mask"] = forward_mask(weight, kept, group)
        cases[f"lin_{kept}_{group}_bp_mask"] = backward_mask(weight, kept, group)
    cases["conv_2_8_nhwc_mask"] = forward_mask(kernel, 2, 8)
    cases["conv_2_8_flat_mask"] = mask(kernel.flatten(1), 2, 8).reshape(kernel.shape)
    cases["tie_mask_2_8"] = mask(torch.ones(stored["tie_mask_2_8"].shape), 2, 8)
    wrong = sum(int((found.numpy() != stored[name]).sum()) for name, found in cases.items())
    yield Row(f"masks of {len(cases)} cases (6 ratios, both directions, a convolution, ties): "
              "values that differ", wrong, _SAME, _NM)  # fmt: skip
    dense = torch.from_numpy(stored["torch24_dense"])
    pairs = dense.unflatten(1, (-1, 4))
    full = (pairs != 0).sum(-1) == 2  # elsewhere zeros fill up, whichever
    ours = dense[mask(dense, 2, 4)].reshape(*full.shape, 2)[full]
    theirs = torch.from_numpy(stored["torch24_vals"]).reshape(*full.shape, 2)[full]
    yield Row(f"values of torch's 2:4 encoding, {int(full.sum()):,} groups: that differ",
              int((ours != theirs).sum()), _SAME, _TORCH)  # fmt: skip


def _gradient(stored: Mapping[str, np.ndarray]) -> Iterator[Row]:
    """With an identity as input, the outputs' gradient is that of the weights, transposed."""
    weight, upstream = (torch.from_numpy(stored[name]) for name in ("lin_w", "lin_upstream_grad"))
    layer = PrunedLinear(
        weight.shape[1], weight.shape[0], bias=False, pruning=Pruning("srste", 2, 8, decay=2e-4)
    )
    with torch.no_grad():
        layer.weight.copy_(weight)
    layer(torch.eye(weight.shape[1])).backward(upstream.T)
    assert layer.weight.grad is not None
    different = layer.weight.grad.numpy() != stored["lin_2_8_srste_grad"]
    yield Row("SR-STE's gradient: values that differ", int(different.sum()), _SAME, _NM)


def _sums(stored: Mapping[str, np.ndarray], progress: Progress) -> Iterator[Row]:
    """The golden model's, and those of arrays in which products are added in ascending order."""
    x, w = (stored[name].view(np.uint16) for name in ("mac_x", "mac_w"))
    wanted = stored["mac_y_f32_sequential"].view(np.uint32)
    left, right = (floating.decode(part, floating.FP16) for part in (x, w.T))
    found = gemm(left, right, np.arange(len(right))[:, None])
    what = f"FP16 products summed in FP32, {found.size:,} sums of {len(right)} terms"
    source = "stored sequence of NumPy's FP32 operations"
    wrong = int((found.view(np.uint32) != wanted).sum())
    yield Row(f"{what}: that differ", wrong, _SAME, source)
    for name, run in (("output", _output_stationary), ("weight", _weight_stationary)):
        progress(f"{what} by RTL, {name}-stationary")
        wrong = int((run(x.astype(np.int64), w.astype(np.int64)) != wanted).sum())
        yield Row(f"{what}, RTL, {name}-stationary: that differ", wrong, _SAME, source)


def _output_stationary(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Bits of ``x @ w.T`` by an array of clusters of two MACs, all of whose entries are dense."""
    c = NmConfig(rows=4, columns=8, port_words=2, left_depth=256, right_depth=512, sums_depth=256)
    (rows, size), columns = x.shape, len(w)
    lines, tiles = rows // c.clusters, columns // (c.kept * c.columns)
    groups, repeat = size // c.group, c.group
    filled = Memories.zeros(c, lines * groups, tiles * size)
    # [line, cluster, group, element] to [cluster][line, group][element]
    words = x.reshape(lines, c.clusters, groups, c.group)
    filled.left[:] = words.swapaxes(0, 1).reshape(filled.left.shape)
    # [tile, entry, column, k] to [column][tile, k][entry]
    entries = w.reshape(tiles, c.kept, c.columns, size)
    filled.values[:] = entries.transpose(2, 0, 3, 1).reshape(filled.values.shape)
    filled.indices[:] = (np.arange(tiles * size) % c.group)[:, None]
    product = Gemm(
        dataflow="output", rows=lines // c.interleave, tiles=tiles, folds=groups, repeat=repeat
    )
    sums = run_core(Fed(c), filled, [product], single=True).sums[0, : rows * columns // c.columns]
    return sums.reshape(-1, rows, c.columns).swapaxes(0, 1).reshape(rows, columns)


def _weight_stationary(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The same by a plain array of single MACs."""
    c = NmConfig(
        rows=4, columns=4, kept=1, group=1, left_depth=1024, right_depth=2048, sums_depth=512
    )
    (rows, size), columns = x.shape, len(w)
    tiles, folds = columns // c.columns, size // c.clusters
    filled = Memories.zeros(c, rows * folds, tiles * size)
    filled.left[:, :, 0] = x.reshape(rows * folds, c.clusters).T
    entries = w.reshape(tiles, c.columns, size)
    filled.values[:] = entries.swapaxes(0, 1).reshape(filled.values.shape)
    product = Gemm(dataflow="weight", rows=rows, tiles=tiles, folds=folds)
    sums = run_core(Fed(c), filled, [product]).sums[0, : rows * tiles]
    return sums.reshape(tiles, rows, c.columns).swapaxes(0, 1).reshape(rows, columns)


def _sore(quick: bool, progress: Progress) -> Iterator[Row]:
    """SORE's RTL on weights with and without ties: which it keeps, beside PyTorch's masks."""
    ratios, groups = ((2, 8),) if quick else RATIOS, 64 if quick else 256
    count = wrong = 0
    failures = []
    for kept, group in ratios:
        for direction, select in _DIRECTIONS:
            progress(f"SORE, {kept}:{group}, {direction} lanes")
            config = SoreConfig(lanes=16, kept=kept, group=group, direction=direction)
            rng = np.random.default_rng(group + kept)
            few = rng.integers(-2, 3, (groups, group, 16)) / 2
            normal = rng.normal(size=(groups, group, 16))
            weights = np.where(rng.random((groups, 1, 1)) < 0.5, few, normal)
            weights = weights.reshape(-1, 16).astype(np.float32)  # [inputs, outputs]
            report = simulate("sore", config, workload("ties", config, weights), stall="random")
            failures += report.failures()
            wanted = select(torch.from_numpy(weights.T.copy()), kept, group).numpy().T
            found = _kept(config, np.asarray(report.outputs["entries"]), weights.shape)
            wrong += int((found != wanted).sum())
            count += weights.size
    yield Row(f"SORE's RTL, {count:,} weights, {len(ratios)} ratios, both directions, ties: masks "
              "differ from PyTorch's in", "; ".join(failures) or wrong, _SAME)  # fmt: skip


def _kept(config: SoreConfig, entries: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mask [inputs, outputs] that entries [beats, groups, N] stand for."""
    index = entries >> config.element_bits
    chosen = (index[..., None] == np.arange(config.group)).sum(axis=-2) == 1
    if config.direction == "along":  # [beats, lanes, M]
        return chosen.swapaxes(1, 2).reshape(shape)
    return chosen.reshape(shape)
