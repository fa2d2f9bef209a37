"""What N:M is made of, against stored data: masks, SR-STE's gradient, sums; by SORE's RTL too."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch

from ..hdl.sore.workloads import workload
from ..models import data, floating
from ..models.nm.gemm import gemm
from ..models.nm.masks import backward_mask, forward_mask, mask
from ..models.nm.pruning import PrunedLinear, Pruning
from ..models.nm.sore_config import SoreConfig
from ..sim.simulate import simulate
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
        yield from _sums(stored)
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


def _sums(stored: Mapping[str, np.ndarray]) -> Iterator[Row]:
    left = floating.decode(stored["mac_x"].view(np.uint16), floating.FP16)
    right = floating.decode(stored["mac_w"].view(np.uint16), floating.FP16).T
    found = gemm(left, right, np.arange(len(right))[:, None])
    different = found.view(np.uint32) != stored["mac_y_f32_sequential"].view(np.uint32)
    yield Row(
        f"FP16 products summed in FP32, {found.size:,} sums of {len(right)} terms: bits differ in",
        int(different.sum()), _SAME, "stored sequence of NumPy's FP32 operations",
    )  # fmt: skip


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
