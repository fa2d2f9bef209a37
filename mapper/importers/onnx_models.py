"""Networks in ONNX files (extra ``onnx``)."""

from collections.abc import Collection, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import Graph
from . import kinds
from .assemble import Node, Trace, Value, assemble, starts
from .attributes import Arguments, Shape, attributes
from .onnx_arguments import ARGUMENTS

if TYPE_CHECKING:
    import onnx

SETTINGS = {
    "Reshape": 1, "Slice": 1, "Pad": 1, "Expand": 1, "Resize": 1, "Upsample": 1, "Tile": 1,
    "Squeeze": 1, "Unsqueeze": 1, "Split": 1, "TopK": 1, "OneHot": 1, "Clip": 1, "CumSum": 1,
    "ReduceMean": 1, "ReduceSum": 1, "ReduceMax": 1, "ReduceMin": 1, "ReduceProd": 1,
    "ReduceL2": 1, "Dropout": 1, "Trilu": 1, "Range": 0, "ConstantOfShape": 0,
    "AffineGrid": 1, "CenterCropPad": 1,
}  # fmt: skip
"""First of the operands that say what to do and are no parameters."""
CONTENT = 1 << 16
"""Bytes of a constant that may matter for shapes."""
CONTROL = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def load(
    source: "str | Path | onnx.ModelProto",
    *,
    element_bytes: int | None = 1,
    dimensions: Mapping[str, int] | None = None,
) -> Graph:
    """The graph of an ONNX model, an operator a node, not fused.

    Weights may be outside the file, missing, or made by ``ConstantOfShape``: sizes are enough.
    ``dimensions``: values of dynamic dimensions by name, of those without a name by input and
    axis, as ``"x.0"``.  Raises :class:`ImportError` without the extra and :class:`ValueError`, with
    names, for a model that the checker refuses, dynamic dimensions without a value, control flow,
    and tensors whose shape inference does not find.
    """
    try:
        import onnx
        from onnx import checker, inliner, shape_inference
    except ImportError as error:
        raise ImportError(
            'ONNX files need the package onnx: pip install "thresher[onnx]"'
        ) from error

    if isinstance(source, onnx.ModelProto):
        model, name = onnx.ModelProto(), source.graph.name or "model"
        model.CopyFrom(source)
    else:
        path = Path(source)
        name = path.stem
        try:
            model = onnx.load(path, load_external_data=False)
        except FileNotFoundError:
            raise
        except Exception as error:  # protobuf's own classes
            raise ValueError(f"{path} is not an ONNX model: {error}") from error
    outside = _without_content(model)
    try:
        checker.check_model(model)
    except checker.ValidationError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{name}: the ONNX checker refuses the model: {reason}; export it again"
        ) from error
    model = inliner.inline_local_functions(model)
    _fix_dimensions(model, name, dimensions or {}, outside)
    try:
        model = shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except shape_inference.InferenceError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{name}: shapes do not fit together: {reason}") from error
    return assemble(Reader(model, name, outside).trace(), element_bytes)


def _without_content(model: "onnx.ModelProto") -> set[str]:
    """Declares weights that lie outside the file, which need not be there, and large ones, which
    the checker and shape inference would copy, by type alone; their names."""
    from onnx import helper

    graph = model.graph
    found = list(graph.initializer)
    outside = [i for i in found if i.data_location == i.EXTERNAL or i.ByteSize() > CONTENT]
    names = {initial.name for initial in outside}
    declared = {entry.name for entry in graph.input}
    for initial in outside:
        if initial.name not in declared:
            shape = tuple(initial.dims)
            graph.input.append(
                helper.make_tensor_value_info(initial.name, initial.data_type, shape)
            )
    kept = [initial for initial in found if initial.name not in names]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return names


def _fix_dimensions(
    model: "onnx.ModelProto", name: str, given: Mapping[str, int], outside: Collection[str]
) -> None:
    """Puts values for dynamic dimensions of inputs; those of other tensors follow of these."""
    initial = {*(i.name for i in model.graph.initializer), *outside}
    used: set[str] = set()
    missing: dict[str, str] = {}
    for entry in model.graph.input:
        if entry.name in initial:
            continue
        for axis, dim in enumerate(entry.type.tensor_type.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value > 0:
                continue
            key = dim.dim_param or f"{entry.name}.{axis}"
            if key in given:
                used.add(key)
                dim.dim_value = given[key]
            else:
                missing.setdefault(key, f"dimension {axis} of input {entry.name!r}")
    if missing:
        what = ", ".join(f"{key!r} ({where})" for key, where in missing.items())
        example = ", ".join(f"{key!r}: 1" for key in missing)
        raise ValueError(
            f"{name}: dynamic dimensions {what}; a schedule is made for fixed sizes: give them, "
            f"as dimensions={{{example}}}"
        )
    wrong = {k: v for k, v in given.items() if k not in used or v < 1}
    if wrong:
        raise ValueError(
            f"{name}: dimensions {wrong} name no dynamic dimension of an input or are below 1; "
            f"those that the model has are {sorted(used)}"
        )
    # What is said of others in terms of those dimensions is found anew.
    fixed = [entry for entry in model.graph.value_info if _value(entry) is not None]
    del model.graph.value_info[:]
    model.graph.value_info.extend(fixed)
    for entry in model.graph.output:
        for dim in entry.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.ClearField("dim_param")


class Reader:
    """A checked model with inferred shapes."""

    def __init__(self, model: "onnx.ModelProto", name: str, outside: Collection[str]) -> None:
        from onnx import helper, numpy_helper

        self.name = name
        self.graph = model.graph
        self._attribute = helper.get_attribute_value
        self._array = numpy_helper.to_array
        self.initial = {i.name: i for i in self.graph.initializer}
        sparse = {i.values.name: i for i in self.graph.sparse_initializer}
        self.small: dict[str, np.ndarray] = {}
        """Values of small constants, for settings."""
        self.values = {
            entry.name: value
            for group in (self.graph.input, self.graph.value_info, self.graph.output)
            for entry in group
            if (value := _value(entry)) is not None
        }
        for key, initial in self.initial.items():
            self.values[key] = _sized(tuple(initial.dims), initial.data_type)
            if prod(initial.dims) <= 64:
                self.small[key] = self._array(initial)
        for key, initial in sparse.items():
            self.values[key] = _sized(tuple(initial.dims), initial.values.data_type)
        self.constants = {*self.initial, *sparse, *outside}
        given = (i.name for i in self.graph.input)
        self.inputs = [name for name in given if name not in self.constants]

    def trace(self) -> Trace:
        """What :func:`.assemble.assemble` needs."""
        nodes = [self._node(place, node) for place, node in enumerate(self.graph.node)]
        return Trace(
            self.name,
            self.values,
            nodes,
            self.inputs,
            [o.name for o in self.graph.output],
            self.constants,
        )

    def _node(self, place: int, node: "onnx.NodeProto") -> Node:
        label = node.name or next((o for o in node.output if o), f"node{place}")
        if node.op_type in CONTROL:
            raise ValueError(
                f"{self.name}: {label!r} is {node.op_type}, control flow, which a fixed schedule "
                "cannot have; export the model unrolled, or simplify it"
            )
        settings = {a.name: self._attribute(a) for a in node.attribute}
        operands = tuple(v for v in node.input if v)
        results = tuple(v for v in node.output if v)
        for value in (*operands, *results):
            self._check(value, label, node)
        if node.op_type in ("Constant", "ConstantOfShape", "Shape", "Size"):
            self._constant(node, settings)
            return Node(label, "constant", (), results)
        shape = self.values[operands[0]].shape if operands else ()
        kind = kinds.from_onnx(node.op_type, len(shape))
        first = SETTINGS.get(node.op_type, len(node.input))
        if node.op_type == "Gather" and operands[0] in self.constants:
            kind = "embedding"
        low, high = self.bounds(node, settings) if node.op_type == "Clip" else (None, None)
        if (low, high) == (0, 6):
            kind = "relu6"

        def final(trace: Trace) -> dict[str, Any]:
            arguments = self._arguments(node, kind, settings)
            found = attributes(kind, arguments, [self._shape(v) for v in results])
            if kind == "split":
                found["starts"] = starts(trace, made, found["dim"])
            return found

        if node.op_type in ("MatMul", "Gemm"):
            constant = node.input[1] in self.constants
            kind = "linear" if constant else "matmul"
        # Constants are found on the way, as what comes later may need to know of them.
        if all(v in self.constants for v in operands) and operands:
            self.constants.update(results)
        made = Node(
            label, kind, operands, results, final, frozenset(v for v in node.input[first:] if v)
        )
        return made

    def _check(self, value: str, label: str, node: "onnx.NodeProto") -> None:
        if value not in self.values:
            if value in node.output and node.op_type in ("Dropout", "BatchNormalization"):
                self.values[value] = Value((), "float32", 32)  # what is for training only
                return
            raise ValueError(
                f"{self.name}: shape inference finds no fixed shape for {value!r} of operator "
                f"{label!r} ({node.domain + '.' if node.domain else ''}{node.op_type}); give the "
                "model fixed shapes, e.g. value_info for it, or export it with constants folded"
            )

    def _constant(self, node: "onnx.NodeProto", settings: dict[str, Any]) -> None:
        result = node.output[0]
        self.constants.add(result)
        if node.op_type == "Constant":
            for key, value in settings.items():
                array = self._array(value) if key == "value" else np.array(value)
                if array.size <= 64:
                    self.small[result] = array
        elif node.op_type == "ConstantOfShape":
            shape = self.values[result].shape
            if prod(shape) <= 64:
                fill = self._array(settings["value"]) if "value" in settings else np.zeros(1, "f4")
                self.small[result] = np.full(shape, fill.ravel()[0])
        elif node.op_type == "Shape":
            shape = self.values[node.input[0]].shape
            cut = slice(settings.get("start", 0), settings.get("end", len(shape)))
            self.small[result] = np.array(shape[cut], np.int64)
        else:
            self.small[result] = np.array(self.values[node.input[0]].size)

    def _shape(self, value: str) -> Shape:
        return Shape(self.values[value].shape)

    def read(self, node: "onnx.NodeProto", place: int) -> Any:
        """A constant operand as Python has it; None where it is absent or not known."""
        if len(node.input) <= place or node.input[place] not in self.small:
            return None
        return self.small[node.input[place]].tolist()

    def bounds(self, node: "onnx.NodeProto", settings: dict[str, Any]) -> tuple[Any, Any]:
        low = settings.get("min", self.read(node, 1))
        return low, settings.get("max", self.read(node, 2))

    def _arguments(self, node: "onnx.NodeProto", kind: str, settings: dict[str, Any]) -> Arguments:
        """Under PyTorch's names."""
        shapes = [self._shape(v) if v else None for v in node.input]
        found: dict[str, Any] = {"input": shapes[0] if shapes else None}
        make = ARGUMENTS.get(node.op_type)
        return found if make is None else {**found, **make(self, node, settings, shapes)}


def _value(entry: "onnx.ValueInfoProto") -> Value | None:
    kind = entry.type.tensor_type
    if not entry.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    if not all(d.HasField("dim_value") for d in kind.shape.dim):
        return None
    return _sized(tuple(d.dim_value for d in kind.shape.dim), kind.elem_type)


def _sized(shape: tuple[int, ...], kind: int) -> Value:
    import onnx
    from onnx import helper

    name = onnx.TensorProto.DataType.Name(kind).lower() if kind else "undefined"
    small = {"int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2}
    bits = small.get(name) or 8 * np.dtype(helper.tensor_dtype_to_np_dtype(kind)).itemsize
    names = {"float": "float32", "double": "float64"}
    return Value(shape, names.get(name, name), bits)
