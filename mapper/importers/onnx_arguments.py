"""Attributes and constant operands of ONNX operators as PyTorch's arguments."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .attributes import Shape

if TYPE_CHECKING:
    from .onnx_models import Reader

_Settings = dict[str, Any]
_Shapes = list[Shape | None]
_Maker = Callable[["Reader", Any, _Settings, _Shapes], _Settings]


def _windows(reader: "Reader", node: Any, s: _Settings, shapes: _Shapes) -> _Settings:
    automatic = {b"SAME_UPPER": "same", b"SAME_LOWER": "same_lower", b"VALID": "valid"}
    kernel = s.get("kernel_shape") or (shapes[1][2:] if len(shapes) > 1 and shapes[1] else ())
    padding = automatic.get(s.get("auto_pad", b""))
    image = shapes[0] or ()
    if padding in ("same", "same_lower"):
        # Of the result's size, which strides divide, rounded up.
        stride = s.get("strides") or [1] * len(kernel)
        dilation = s.get("dilations") or [1] * len(kernel)
        total = [
            max((-(-n // t) - 1) * t + d * (k - 1) + 1 - n, 0)
            for n, t, d, k in zip(image[2:], stride, dilation, kernel, strict=True)
        ]
        half = [t // 2 for t in total] if padding == "same" else [-(-t // 2) for t in total]
        padding = [*half, *(t - h for t, h in zip(total, half, strict=True))]
    return {
        "weight": shapes[1] if len(shapes) > 1 else None,
        "kernel_size": list(kernel),
        # ONNX's default is 1, where PyTorch's is the window.
        "stride": s.get("strides") or [1] * len(kernel),
        "padding": s.get("pads") if padding is None else padding,
        "dilation": s.get("dilations"),
        "groups": s.get("group"),
    }


def _products(reader: "Reader", node: Any, s: _Settings, shapes: _Shapes) -> _Settings:
    left, right = shapes[0] or Shape(), shapes[1] or Shape()
    if s.get("transA"):
        left = Shape(left[::-1])
    if s.get("transB"):
        right = Shape(right[::-1])
    return {"input": left, "other": right, "in_features": left[-1]}


def _recurrent(reader: "Reader", node: Any, s: _Settings, shapes: _Shapes) -> _Settings:
    image = shapes[0] or Shape((1, 1, 1))
    first = s.get("layout", 0)
    return {
        "input_size": image[2],
        "hidden_size": s["hidden_size"],
        "bidirectional": s.get("direction") == b"bidirectional",
        "steps": image[first],
        "batch": image[1 - first],
    }


def _attention(reader: "Reader", node: Any, s: _Settings, shapes: _Shapes) -> _Settings:
    found = []
    for place, heads in enumerate(("q_num_heads", "kv_num_heads", "kv_num_heads")):
        shape = shapes[place] or Shape()
        if len(shape) == 3:
            shape = Shape((shape[0], s[heads], shape[1], shape[2] // s[heads]))
        found.append(shape)
    return {
        "query": found[0], "key": found[1], "value": found[2], "is_causal": s.get("is_causal"),
    }  # fmt: skip


def _padded(reader: "Reader", node: Any, s: _Settings, shapes: _Shapes) -> _Settings:
    pads = s.get("pads") or s.get("paddings") or reader.read(node, 1)
    axes = reader.read(node, 3)
    if pads is None:
        return {}
    rank = len(shapes[0] or ())
    axes = [a % rank for a in axes] if axes is not None else list(range(rank))
    pairs = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    value = s.get("value", reader.read(node, 2))
    return {
        "pad": [x for axis in reversed(range(rank)) for x in pairs.get(axis, (0, 0))],
        "mode": s.get("mode", b"constant").decode(),
        "value": value[0] if isinstance(value, list) else value,
    }


def _sliced(reader: "Reader", node: Any, s: _Settings, shapes: _Shapes) -> _Settings:
    starts = s.get("starts", reader.read(node, 1))
    axes = s.get("axes", reader.read(node, 3))
    steps = reader.read(node, 4) or [1] * len(starts or ())
    if starts is None or len(starts) != 1:
        return {}
    return {"dim": axes[0] if axes else 0, "start": starts[0], "step": steps[0]}


def _axis(reader: "Reader", node: Any, s: _Settings, shapes: _Shapes) -> _Settings:
    return {"dim": s["axis"]} if "axis" in s else {}


def _axes(reader: "Reader", node: Any, s: _Settings, shapes: _Shapes) -> _Settings:
    return {"dim": s.get("axes", reader.read(node, 1)), "keepdim": s.get("keepdims", 1)}


ARGUMENTS: dict[str, _Maker] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "MaxPool", "AveragePool"), _windows),
    **dict.fromkeys(("Gemm", "MatMul"), _products),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    **dict.fromkeys(("Concat", "Split", "Softmax", "LogSoftmax"), _axis),
    **dict.fromkeys(("ReduceMean", "ReduceSum"), _axes),
    "Attention": _attention,
    "Einsum": lambda reader, node, s, shapes: {
        "equation": s["equation"].decode(), "tensors": shapes
    },
    "Pad": _padded,
    "Slice": _sliced,
    "Transpose": lambda reader, node, s, shapes: {
        "dims": s.get("perm") or list(reversed(range(len(shapes[0] or ()))))
    },
    "LeakyRelu": lambda reader, node, s, shapes: {"negative_slope": s.get("alpha", 0.01)},
    "Gelu": lambda reader, node, s, shapes: {
        "approximate": s.get("approximate", b"none").decode()
    },
    "Clip": lambda reader, node, s, shapes: dict(
        zip(("min", "max"), reader.bounds(node, s), strict=True)
    ),
    "LayerNormalization": lambda reader, node, s, shapes: {
        "normalized_shape": list((shapes[0] or ())[s.get("axis", -1) :])
    },
}  # fmt: skip
"""By type of operator: makes the arguments besides the first operand's shape of the model, the
node, its attributes and its operands' shapes."""
