"""N:M masks: of every ``group`` consecutive values along an axis, the ``kept`` largest remain.

The hardware selects by the same rule:

* Magnitudes are compared, so both zeros are one value.
* Of equal magnitudes, the one at the larger index wins.
* Where the axis is no multiple of ``group``, zeros pad it at its end.  Padding loses against every
  real value here, zeros too.  (Hardware may keep a zero of the padding in place of a real zero:
  the product is the same.)
* A NaN has no magnitude to compare and is refused.

N:M skips multiplications only along the axis that a product adds up over.  For a weight [outputs,
inputs, ...] of a linear layer or a convolution, that is the inputs forward (:func:`forward_mask`)
and the outputs backward (:func:`backward_mask`), at each place of a convolution's kernel.
"""

import torch
from torch import Tensor
from torch.nn import functional


def check(kept: int, group: int) -> None:
    """Raises :class:`ValueError` where no N:M mask is meant."""
    if group < 1:
        raise ValueError(f"group = {group} is not at least 1")
    if not 1 <= kept <= group:
        raise ValueError(
            f"kept = {kept} is not from 1 to group = {group}; {group} keeps all values"
        )


def mask(values: Tensor, kept: int, group: int, dim: int = -1) -> Tensor:
    """True where ``values``, of any shape and real type, are kept; bool, of the same shape.

    Groups lie along ``dim``, from its start.  Every device gives the same mask.  Raises
    :class:`ValueError` for a NaN, ``kept`` outside 1 to ``group``, or complex values.
    """
    check(kept, group)
    if values.is_complex():
        raise ValueError(f"values are {values.dtype}; masks compare real magnitudes")
    if not values.ndim:
        raise ValueError("values have no axis; give at least one dimension")
    if values.isnan().any():
        raise ValueError("values hold a NaN, which is neither large nor small; remove it")
    if not values.numel():
        return torch.zeros_like(values, dtype=torch.bool)
    # int8's abs(-128) would be -128.
    wide = values.detach() if values.is_floating_point() else values.long()
    magnitudes = wide.abs().movedim(dim, 0)
    size = len(magnitudes)
    padded = functional.pad(magnitudes.reshape(size, -1), (0, 0, 0, -size % group), value=-1)
    # Positions in front: each of the few steps below is then over whole rows at once.
    groups = padded.unflatten(0, (-1, group)).transpose(0, 1).contiguous()
    # By how many others of its group.
    beaten = torch.zeros(groups.shape, dtype=torch.int16, device=groups.device)
    for apart in range(1, group):
        later_wins = groups[apart:] >= groups[:-apart]
        beaten[:-apart] += later_wins
        beaten[apart:] += ~later_wins
    chosen = (beaten < kept).transpose(0, 1).flatten(0, 1)[:size]
    return chosen.reshape(magnitudes.shape).movedim(0, dim).contiguous()


def forward_mask(weight: Tensor, kept: int, group: int) -> Tensor:
    """The mask of a weight [outputs, inputs, ...] in the forward product: along the inputs.

    A grouped convolution has the inputs of one of its groups there.
    """
    return mask(weight, kept, group, dim=1)


def backward_mask(weight: Tensor, kept: int, group: int, parts: int = 1) -> Tensor:
    """Its mask in the backward product: along the outputs, from the dense weight.

    ``parts`` are a convolution's groups: each backward sum is over the outputs of one of them, so
    no N:M group reaches into the next.
    """
    if weight.shape[0] % parts:
        raise ValueError(f"{weight.shape[0]} outputs do not divide into {parts} groups")
    return mask(weight.unflatten(0, (parts, -1)), kept, group, dim=1).flatten(0, 1)


def padding(size: int, group: int) -> int:
    """Zeros that pad an axis of ``size`` to whole groups."""
    return -size % group
