"""What a cost model needs to know of an operator, in JSON's types."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from . import kinds

Attributes = dict[str, Any]


class Shape(tuple[int, ...]):
    """Of a tensor among an operator's arguments."""


Arguments = Mapping[str, Any]
"""By PyTorch's names; tensors are :class:`Shape`."""

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding")
_POOL = ("input", "kernel_size", "stride", "padding")
NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(kinds.CONVOLUTIONS, (*_CONVOLUTION, "dilation", "groups")),
    **dict.fromkeys(kinds.TRANSPOSED, (*_CONVOLUTION, "output_padding", "groups", "dilation")),
    **{f"max_pool{n}d": (*_POOL, "dilation", "ceil_mode") for n in (1, 2, 3)},
    **{f"avg_pool{n}d": (*_POOL, "ceil_mode", "count_include_pad") for n in (1, 2, 3)},
    "linear": ("input", "weight", "bias"),
    "matmul": ("input", "other"),
    "scaled_dot_product_attention": (
        "query", "key", "value", "attn_mask", "dropout_p", "is_causal",
    ),
    "cat": ("tensors", "dim"),
    "einsum": ("equation", "tensors"),
    "split": ("input", "sizes", "dim"),
    "pad": ("input", "pad", "mode", "value"),
    "softmax": ("input", "dim"),
    "log_softmax": ("input", "dim"),
    "mean": ("input", "dim", "keepdim"),
    "sum": ("input", "dim", "keepdim"),
    "layer_norm": ("input", "normalized_shape"),
    "leaky_relu": ("input", "negative_slope"),
    "clamp": ("input", "min", "max"),
    "hardtanh": ("input", "min_val", "max_val"),
    "gelu": ("input", "approximate"),
    "embedding": ("weight", "input"),
}  # fmt: skip
"""Arguments of PyTorch's functions and ATen operators, in their order, where attributes are made
of them."""


def attributes(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    """Of one operator; at least ``macs``, multiplications with accumulation in convolutions,
    products, recurrent layers and attention, and 0 for other kinds.

    Convolutions: ``in_channels, out_channels, kernel, stride, padding, dilation, groups``
    (``padding`` a side, or before all dimensions and then after all where the two differ: top,
    left, bottom, right); ``linear`` and ``matmul``: ``rows, in_features, out_features``, the
    latter with ``batch``, products of their own; ``einsum``: ``equation``; recurrent layers:
    ``input_size, hidden_size, layers, bidirectional, steps, batch``; attention: ``batch, heads,
    queries, keys, head_size``; pools: ``kernel, stride, padding``, adaptive ones ``output``;
    ``cat, split, softmax``: ``dim``, not negative, splits ``starts`` of their results along it;
    ``slice``: ``dim, start, step``; ``transpose``: ``permutation``; ``pad``: ``padding`` as
    [before, after] of every dimension, ``mode, value``; ``mean, sum``: ``dims``.
    """
    make = _MAKERS.get(kind)
    return {"macs": 0, **(make(kind, arguments, results) if make else {})}


def _per_side(value: Any, count: int, default: int) -> list[int]:
    """An integer or as many as there are dimensions."""
    if value is None or value == []:
        return [default] * count
    if isinstance(value, int):
        return [value] * count
    found = [int(v) for v in value]
    return found * count if len(found) == 1 else found


def _padding(value: Any, kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Symmetric: one number a dimension; otherwise those before and then those after."""
    if value == "valid":
        return [0] * len(kernel)
    if value in ("same", "same_lower"):
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        before, after = (large, small) if value == "same_lower" else (small, large)
    else:
        found = _per_side(value, len(kernel), 0)
        before = found[: len(kernel)]
        after = found[len(kernel) :] or before
    return before if before == after else before + after


def _convolution(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    weight, image = arguments["weight"], arguments["input"]
    kernel = list(weight[2:])
    dilation = _per_side(arguments.get("dilation"), len(kernel), 1)
    groups = int(arguments.get("groups") or 1)
    transposed = kind in kinds.TRANSPOSED
    own = weight[1]
    spatial = image[-len(kernel) :] if transposed else results[0][-len(kernel) :]
    batch = image[0] if len(image) == len(kernel) + 2 else 1
    return {
        "macs": batch * prod(spatial) * weight[0] * own * prod(kernel),
        "in_channels": weight[0] if transposed else own * groups,
        "out_channels": own * groups if transposed else weight[0],
        "kernel": kernel,
        "stride": _per_side(arguments.get("stride"), len(kernel), 1),
        "padding": _padding(arguments.get("padding"), kernel, dilation),
        "dilation": dilation,
        "groups": groups,
    }


def _linear(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    features, result = arguments["in_features"], results[0]
    rows = prod(result[:-1])
    return {
        "macs": rows * features * result[-1], "rows": rows, "in_features": features,
        "out_features": result[-1],
    }  # fmt: skip


def _matmul(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    left, right, result = arguments["input"], arguments["other"], results[0]
    features = left[-1]
    columns = right[-1] if len(right) > 1 else 1
    rows = left[-2] if len(left) > 1 else 1
    macs = prod(result) * features
    return {
        "macs": macs, "rows": rows, "in_features": features, "out_features": columns,
        "batch": prod(result) // max(rows * columns, 1),
    }  # fmt: skip


def _recurrent(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    hidden, size = arguments["hidden_size"], arguments["input_size"]
    layers = arguments.get("num_layers", 1)
    ways = 2 if arguments.get("bidirectional") else 1
    projected = arguments.get("proj_size") or hidden
    steps, batch = arguments["steps"], arguments["batch"]
    gates = {"lstm": 4, "gru": 3}.get(kind, 1)
    macs = 0
    for layer in range(layers):
        width = size if layer == 0 else projected * ways
        macs += ways * gates * hidden * (width + projected)
        macs += ways * hidden * projected * (projected != hidden)
    return {
        "macs": macs * steps * batch, "input_size": size, "hidden_size": hidden, "layers": layers,
        "bidirectional": ways == 2, "steps": steps, "batch": batch,
    }  # fmt: skip


def _cell(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    """One step of one layer."""
    hidden, size = arguments["hidden_size"], arguments["input_size"]
    batch = prod(arguments["input"][:-1])
    gates = {"lstm_cell": 4, "gru_cell": 3}.get(kind, 1)
    return {
        "macs": batch * gates * hidden * (size + hidden), "input_size": size,
        "hidden_size": hidden, "batch": batch,
    }  # fmt: skip


def _einsum(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    """As one loop over all indices, a multiplication for each operand but the first."""
    equation = "".join(str(arguments["equation"]).split())
    operands = arguments["tensors"]
    sizes: dict[str, int] = {}
    for labels, shape in zip(equation.partition("->")[0].split(","), operands, strict=True):
        before, dots, after = labels.partition("...")
        for label, size in [
            *zip(before, shape, strict=False),
            *zip(after, shape[len(shape) - len(after) :], strict=True),
        ]:
            sizes[label] = max(size, sizes.get(label, 1))
        if dots:
            inner = prod(shape[len(before) : len(shape) - len(after)])
            sizes["..."] = max(inner, sizes.get("...", 1))
    return {
        "macs": prod(sizes.values()) * max(len(operands) - 1, 1), "equation": equation,
    }  # fmt: skip


def _attention(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    query, key, value = arguments["query"], arguments["key"], arguments["value"]
    heads = query[-3] if len(query) > 2 else 1
    batch = prod(query[:-3])
    queries, keys = query[-2], key[-2]
    return {
        "macs": batch * heads * queries * keys * (query[-1] + value[-1]), "batch": batch,
        "heads": heads, "queries": queries, "keys": keys, "head_size": query[-1],
        "causal": bool(arguments.get("is_causal")),
    }  # fmt: skip


def _pool(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    count = int(kind[-2])
    kernel = _per_side(arguments["kernel_size"], count, 1)
    stride = arguments.get("stride")
    dilation = _per_side(arguments.get("dilation"), count, 1)
    return {
        "kernel": kernel,
        "stride": list(kernel) if stride in (None, []) else _per_side(stride, count, 1),
        "padding": _padding(arguments.get("padding"), kernel, dilation),
        "dilation": dilation,
    }


def _adaptive(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    return {"output": list(results[0][-int(kind[-2]) :])}


def _dimension(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    found = arguments.get("dim", 0 if kind in ("cat", "split") else -1)
    rank = len(arguments["input"] if kind == "split" else results[0])
    return {} if found is None else {"dim": int(found) % max(rank, 1)}


def _slice(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    if "dim" not in arguments or not isinstance(arguments.get("start"), int):
        return {}
    image = arguments["input"]
    dim = arguments["dim"] % len(image)
    start = arguments["start"]
    start = min(max(start + image[dim] if start < 0 else start, 0), image[dim])
    return {"dim": dim, "start": start, "step": int(arguments.get("step") or 1)}


def _transpose(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    found = arguments.get("dims")
    if found is None:
        return {}
    return {"permutation": [int(d) % len(results[0]) for d in found]}


def _pad(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    rank, given = len(arguments["input"]), arguments.get("pad")
    if given is None:
        return {}
    found = [[0, 0] for _ in range(rank)]
    # PyTorch's pairs begin with the last dimension.
    for place in range(len(given) // 2):
        found[rank - 1 - place] = [int(given[2 * place]), int(given[2 * place + 1])]
    value = arguments.get("value")
    return {
        "padding": found,
        "mode": arguments.get("mode") or "constant",
        "value": 0 if value is None else value,
    }


def _reduction(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
    rank = len(arguments["input"])
    dims = arguments.get("dim")
    dims = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    return {
        "dims": sorted(int(d) % max(rank, 1) for d in dims),
        "keepdim": bool(arguments.get("keepdim")),
    }


def _named(**names: str) -> "Callable[[str, Arguments, Sequence[Shape]], Attributes]":
    """Arguments as they are, by other names; absent ones are left out."""

    def make(kind: str, arguments: Arguments, results: Sequence[Shape]) -> Attributes:
        found = {name: arguments.get(argument) for name, argument in names.items()}
        return {
            name: list(value) if isinstance(value, (tuple, list)) else value
            for name, value in found.items()
            if value is not None
        }

    return make


_MAKERS: dict[str, Callable[[str, Arguments, Sequence[Shape]], Attributes]] = {
    **dict.fromkeys(kinds.CONVOLUTIONS | kinds.TRANSPOSED, _convolution),
    **dict.fromkeys(kinds.RECURRENT, _recurrent),
    **dict.fromkeys(kinds.CELLS, _cell),
    **{f"{m}_pool{n}d": _pool for m in ("max", "avg") for n in (1, 2, 3)},
    **{f"adaptive_{m}_pool{n}d": _adaptive for m in ("max", "avg") for n in (1, 2, 3)},
    **dict.fromkeys(("cat", "split", "softmax", "log_softmax"), _dimension),
    "linear": _linear,
    "matmul": _matmul,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    "slice": _slice,
    "transpose": _transpose,
    "pad": _pad,
    "mean": _reduction,
    "sum": _reduction,
    "leaky_relu": _named(slope="negative_slope"),
    "clamp": _named(min="min", max="max"),
    "hardtanh": _named(min="min_val", max="max_val"),
    "gelu": _named(approximate="approximate"),
    "layer_norm": _named(shape="normalized_shape"),
}
