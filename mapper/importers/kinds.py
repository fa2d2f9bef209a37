"""Kinds of operators: one vocabulary for what PyTorch and ONNX call by several names."""

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
TRANSPOSED = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
PRODUCTS = frozenset({"linear", "matmul"})
"""``linear``: the second operand is parameters, [out, in] or [in, out]; ``matmul``: both are
computed."""
RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
ATTENTION = frozenset({"scaled_dot_product_attention"})
ACTIVATIONS = frozenset(
    {
        "relu", "relu6", "sigmoid", "tanh", "gelu", "silu", "hardswish", "hardsigmoid", "hardtanh",
        "leaky_relu", "prelu", "elu", "selu", "celu", "mish", "softplus", "softsign", "clamp",
        "threshold", "logsigmoid", "erf", "exp", "sqrt", "rsqrt", "abs", "neg", "reciprocal",
        "log", "sign", "floor", "ceil", "round", "pow", "sin", "cos",
    }
)  # fmt: skip
"""Element by element, of one operand."""
ARITHMETIC = frozenset({"add", "sub", "mul", "div", "maximum", "minimum"})
"""Element by element, of two operands or more."""
NORMALISATIONS = frozenset(
    {
        "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm",
        "local_response_norm", "softmax", "log_softmax",
    }
)  # fmt: skip
POOLS = frozenset(
    {
        "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
        "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
        "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    }
)  # fmt: skip
MOVES = frozenset(
    {
        "cat", "reshape", "transpose", "pad", "slice", "split", "expand", "repeat", "gather",
        "index", "index_select", "slice_scatter", "flip", "roll", "pixel_shuffle", "copy", "to",
        "embedding", "upsample_nearest2d", "upsample_bilinear2d", "identity", "where", "constant",
        "masked_fill", "tril", "triu",
    }
)  # fmt: skip
"""What moves data and computes little or nothing."""
REDUCTIONS = frozenset({"mean", "sum", "max", "min", "argmax", "argmin", "prod", "amax", "amin"})
CELLS = frozenset({"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"})
OTHERS = frozenset(
    {
        "load", "einsum", "bilinear", "outer", "cumsum", "topk", "sort", "argsort", "scatter",
        "eq", "ne", "gt", "ge", "lt", "le", "logical_not", "logical_and", "logical_or",
        "bitwise_not", "bitwise_and", "bitwise_or", "any", "all", "var", "std", "logsumexp",
        "linalg_vector_norm", "norm", "interpolate", "unfold", "fold",
    }
)  # fmt: skip
VOCABULARY = (
    OTHERS | CELLS | CONVOLUTIONS | TRANSPOSED | PRODUCTS | RECURRENT | ATTENTION | ACTIVATIONS
    | ARITHMETIC | NORMALISATIONS | POOLS | MOVES | REDUCTIONS
)  # fmt: skip
"""Every kind with a meaning here; other operators keep their own name, in lower case."""

_TORCH = {
    "reshape": "view unsafe_view view_copy flatten unsqueeze squeeze unflatten reshape_as view_as "
    "ravel unsqueeze_copy squeeze_copy",
    "transpose": "permute t movedim moveaxis swapaxes swapdims permute_copy transpose_copy t_copy",
    "matmul": "mm bmm addmm baddbmm addbmm",
    "slice": "select narrow select_copy slice_copy getitem",
    "split": "chunk split_with_sizes unbind tensor_split split_copy split_with_sizes_copy",
    "cat": "concat concatenate stack",
    "identity": "clone contiguous detach alias dropout dropout1d dropout2d dropout3d alpha_dropout "
    "feature_dropout feature_alpha_dropout lift_fresh_copy lift_fresh lift detach_copy alias_copy "
    "requires_grad",
    "batch_norm": "native_batch_norm native_batch_norm_legit_no_training cudnn_batch_norm "
    "native_batch_norm_legit batch_norm1d batch_norm2d batch_norm3d",
    "layer_norm": "native_layer_norm",
    "group_norm": "native_group_norm",
    "instance_norm": "instance_norm1d instance_norm2d instance_norm3d",
    "pad": "constant_pad_nd zero_pad1d zero_pad2d zero_pad3d constant_pad1d constant_pad2d "
    "constant_pad3d reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d",
    "div": "truediv true_divide divide itruediv",
    "add": "iadd",
    "sub": "subtract rsub isub",
    "mul": "multiply imul",
    "clamp": "clip clamp_min clamp_max",
    "expand": "expand_as broadcast_to expand_copy broadcast_tensors",
    "repeat": "tile repeat_interleave",
    "to": "to_copy type float half bfloat16 double int long bool type_as",
    "silu": "swish",
    "pow": "square",
    "interpolate": "upsample resize",
    "unfold": "im2col",
    "fold": "col2im",
    "logsigmoid": "log_sigmoid",
    "hardswish": "hard_swish",
    "embedding": "embedding_bag",
    "scaled_dot_product_attention": "scaled_dot_product_flash_attention "
    "scaled_dot_product_flash_attention_for_cpu scaled_dot_product_efficient_attention "
    "scaled_dot_product_attention_math",
    "max_pool1d": "max_pool1d_with_indices",
    "max_pool2d": "max_pool2d_with_indices",
    "max_pool3d": "max_pool3d_with_indices",
}


def _plain(name: str) -> str:
    """As a class, a function and an in-place operator have it in common."""
    return name.replace("_", "").lower()


_TORCH_KIND = {_plain(kind): kind for kind in VOCABULARY} | {
    _plain(name): kind for kind, names in _TORCH.items() for name in names.split()
}

_ONNX = {
    "Add": "add", "Sum": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "maximum",
    "Min": "minimum", "Gemm": "linear", "MatMul": "matmul", "LSTM": "lstm", "GRU": "gru",
    "RNN": "rnn_tanh", "Attention": "scaled_dot_product_attention", "Clip": "clamp",
    "Einsum": "einsum", "Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt",
    "LessOrEqual": "le", "Equal": "eq", "Not": "logical_not", "And": "logical_and",
    "Or": "logical_or", "Resize": "interpolate", "Upsample": "interpolate",
    "TopK": "topk", "CumSum": "cumsum", "ReduceLogSumExp": "logsumexp", "ReduceL2": "norm",

    "LeakyRelu": "leaky_relu", "PRelu": "prelu", "Swish": "silu", "HardSigmoid": "hardsigmoid",
    "LogSoftmax": "log_softmax", "BatchNormalization": "batch_norm",
    "LayerNormalization": "layer_norm", "GroupNormalization": "group_norm",
    "InstanceNormalization": "instance_norm", "RMSNormalization": "rms_norm",
    "LRN": "local_response_norm", "Concat": "cat", "Reshape": "reshape", "Flatten": "reshape",
    "Squeeze": "reshape", "Unsqueeze": "reshape", "Expand": "expand", "Tile": "repeat",
    "Cast": "to", "CastLike": "to", "Dropout": "identity", "Gather": "gather",
    "GatherElements": "gather", "GatherND": "index", "DepthToSpace": "pixel_shuffle",
    "ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax", "ReduceMin": "amin",
    "ReduceProd": "prod", "ArgMax": "argmax", "ArgMin": "argmin", "Trilu": "triu",
    "Softsign": "softsign", "Softplus": "softplus", "ConstantOfShape": "constant",
}  # fmt: skip
_ONNX_SIZED = {
    "Conv": "conv{}d", "ConvTranspose": "conv_transpose{}d", "MaxPool": "max_pool{}d",
    "AveragePool": "avg_pool{}d", "GlobalAveragePool": "adaptive_avg_pool{}d",
    "GlobalMaxPool": "adaptive_max_pool{}d",
}  # fmt: skip
_LOWER = {
    name.lower(): kind for name, kind in {**_ONNX, **_ONNX_SIZED}.items()
}  # as files in JSON call them


def from_torch(name: str) -> str:
    """The kind of what PyTorch calls ``name``: an ATen operator without its overload, a function
    or method, or a module's class."""
    return _TORCH_KIND.get(_plain(name), name.strip("_").lower())


def from_onnx(operator: str, rank: int) -> str:
    """The kind of an ONNX operator whose first operand has ``rank`` dimensions."""
    if operator in _ONNX_SIZED:
        return _ONNX_SIZED[operator].format(max(rank - 2, 1))
    return _ONNX.get(operator, operator.lower())


def from_json(kind: str, operands: int = 1) -> str:
    """The kind of what a file calls ``kind``: PyTorch's or ONNX's name in lower case.  Where that
    leaves the dimensions open, they are two; ``sum`` of several operands is ONNX's."""
    if kind in _LOWER and (kind not in VOCABULARY or operands > 1):
        return _LOWER[kind].format(2)
    return from_torch(kind)
