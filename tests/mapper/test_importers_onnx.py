"""Networks in ONNX files, made here by hand."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thresher.mapper import importers
from thresher.mapper.fusion import fuse
from thresher.mapper.graph import Graph
from thresher.mapper.importers import onnx_models
from thresher.mapper.importers.pytorch import from_torch

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
FLOAT = onnx.TensorProto.FLOAT
node = onnx.helper.make_node


def tensor(name: str, *shape: int | str | None, kind: int = FLOAT) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], version: int = 18, **weights: Any
) -> Any:
    initial = [onnx.numpy_helper.from_array(np.asarray(w), n) for n, w in weights.items()]
    graph = onnx.helper.make_graph(nodes, "made", inputs, outputs, initial)
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", version)], ir_version=9
    )


def load(*args: Any, **weights: Any) -> Graph:
    return onnx_models.load(model(*args, **weights))


def weights(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def test_convolutions_and_pools_by_hand() -> None:
    two = {"strides": [2, 2]}
    graph = load(
        [
            node("Conv", ["x", "w", "b"], ["c"], pads=[1, 0, 2, 1], strides=[2, 1], group=2),
            node("Clip", ["c", "low", "high"], ["r"]),
            node("MaxPool", ["r"], ["m"], kernel_shape=[2, 3], auto_pad="SAME_UPPER", **two),
            node("GlobalAveragePool", ["m"], ["g"]),
            node("ConvTranspose", ["m", "u"], ["t"], name="up", **two),
        ],
        [tensor("x", 1, 4, 8, 8)], [tensor("g", 1, 6, 1, 1), tensor("t", 1, 3, 6, 8)],
        w=weights(6, 2, 3, 2), b=weights(6), low=np.float32(0), high=np.float32(6),
        u=weights(6, 3, 2, 2),
    )  # fmt: skip
    load_x, conv, clip, pool, mean, up = graph.ops
    assert (load_x.kind, load_x.outputs) == ("load", ("x",))
    assert graph.tensors["c"].shape == (1, 6, 5, 8)
    assert conv.attributes == {
        "macs": 5 * 8 * 6 * 2 * 6, "in_channels": 4, "out_channels": 6, "kernel": [3, 2],
        "stride": [2, 1], "padding": [1, 0, 2, 1], "dilation": [1, 1], "groups": 2,
    }  # fmt: skip
    assert conv.weight_bytes == 6 * 2 * 6 + 6
    assert (clip.kind, clip.weight_bytes) == ("relu6", 0)
    assert pool.kind == "max_pool2d"
    # Rows: 5 in, 3 out at 2 of 2: one more, after; columns: 8 in, 4 out at 2 of 3: one, after.
    assert pool.attributes["padding"] == [0, 0, 1, 1]
    assert pool.attributes["stride"] == [2, 2]
    assert (mean.kind, mean.attributes["output"]) == ("adaptive_avg_pool2d", [1, 1])
    assert (up.name, up.kind, up.attributes["macs"]) == ("up", "conv_transpose2d", 12 * 6 * 3 * 4)
    assert graph.outputs == ("g", "t")


def test_the_same_network_as_from_pytorch() -> None:
    """Kinds, attributes, shapes and bytes of parameters, layer by layer."""
    nn = torch.nn
    layers = (
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.LeakyReLU(0.1),
        nn.MaxPool2d(3, 2, 1), nn.ConvTranspose2d(8, 4, 2, 2), nn.Sigmoid(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.Softmax(1),
    )  # fmt: skip
    ours = from_torch(nn.Sequential(*layers).eval(), torch.randn(1, 3, 16, 16)).graph
    theirs = load(
        [
            node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
            node("BatchNormalization", ["c", "v", "v1", "v2", "v3"], ["n"]),
            node("LeakyRelu", ["n"], ["r"], alpha=0.1),
            node("MaxPool", ["r"], ["m"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
            node("ConvTranspose", ["m", "u", "ub"], ["t"], strides=[2, 2]),
            node("Sigmoid", ["t"], ["s"]),
            node("GlobalAveragePool", ["s"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("Gemm", ["f", "l", "lb"], ["y"], transB=1),
            node("Softmax", ["y"], ["z"]),
        ],
        [tensor("x", 1, 3, 16, 16)], [tensor("z", 1, 5)], w=weights(8, 3, 3, 3), b=weights(8),
        v=weights(8), v1=weights(8), v2=weights(8), v3=weights(8), u=weights(8, 4, 2, 2),
        ub=weights(4), l=weights(5, 4), lb=weights(5),
    )  # fmt: skip
    for mine, other in zip(ours.ops, theirs.ops, strict=True):
        assert (mine.kind, mine.weight_bytes) == (other.kind, other.weight_bytes)
        close = {k: v for k, v in other.attributes.items() if k != "slope"}
        assert {k: v for k, v in mine.attributes.items() if k != "slope"} == close
        assert ours.tensors[mine.outputs[0]].shape == theirs.tensors[other.outputs[0]].shape
    assert ours.ops[3].attributes["slope"] == pytest.approx(theirs.ops[3].attributes["slope"])


def test_products_of_parameters_and_of_tensors() -> None:
    graph = load(
        [
            node("Gemm", ["x", "w", "b"], ["a"], transA=1, transB=1),
            node("MatMul", ["a", "v"], ["c"]),
            node("Transpose", ["c"], ["d"]),
            node("MatMul", ["c", "d"], ["e"]),
            node("Gemm", ["c", "d", "e"], ["f"]),
        ],
        [tensor("x", 7, 3)], [tensor("f", 3, 3)], w=weights(5, 7), b=weights(5), v=weights(5, 4),
    )  # fmt: skip
    ops = graph.ops[1:]
    assert [op.kind for op in ops] == ["linear", "linear", "transpose", "matmul", "matmul"]
    assert [op.attributes["macs"] for op in ops] == [105, 60, 0, 36, 36]
    assert [op.weight_bytes for op in ops] == [40, 20, 0, 0, 0]
    assert ops[0].attributes["in_features"] == 7
    assert ops[2].attributes["permutation"] == [1, 0]
    assert ops[4].inputs == ("c", "d", "e")


def test_recurrent_split_and_embedding() -> None:
    both = "bidirectional"
    graph = load(
        [
            node("Gather", ["table", "x"], ["e"]),
            node("LSTM", ["e", "w", "r"], ["y", "", "cell"], hidden_size=4, direction=both),
            node("Split", ["cell", "sizes"], ["s0", "s1"], axis=2),
            node("Add", ["s0", "s1"], ["z"]),
            node("ReduceMean", ["y", "axes"], ["m"], keepdims=0),
        ],
        [tensor("x", 5, 2, kind=onnx.TensorProto.INT64)],
        [tensor("z", 2, 2, 2), tensor("m", 2, 2, 4)],
        table=weights(11, 6), w=weights(2, 16, 6), r=weights(2, 16, 4),
        sizes=np.array([2, 2]), axes=np.array([0]),
    )  # fmt: skip
    _, embedding, lstm, split, _, mean = graph.ops
    assert (embedding.kind, embedding.weight_bytes) == ("embedding", 66)
    assert lstm.attributes == {
        "macs": 10 * 2 * 4 * 4 * 10, "input_size": 6, "hidden_size": 4, "layers": 1,
        "bidirectional": True, "steps": 5, "batch": 2,
    }  # fmt: skip
    assert lstm.outputs == ("y", "cell")
    assert (split.attributes["dim"], split.attributes["starts"]) == (2, [0, 2])
    assert (split.weight_bytes, mean.weight_bytes) == (0, 0)
    assert mean.attributes == {"macs": 0, "dims": [0], "keepdim": False}


def test_pads_slices_and_their_settings() -> None:
    graph = load(
        [
            node("Pad", ["x", "pads"], ["p"]),
            node("Conv", ["p", "w"], ["c"], auto_pad="VALID"),
            node("Slice", ["c", "start", "end", "axis"], ["s"]),
            node("Concat", ["s", "s", "c"], ["o"], axis=-3),
        ],
        [tensor("x", 1, 2, 4, 4)], [tensor("o", 1, 7, 4, 4)], w=weights(3, 2, 3, 3),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]), start=np.array([-2]), end=np.array([9]),
        axis=np.array([1]),
    )  # fmt: skip
    pad, cut, cat = graph.ops[1], graph.ops[3], graph.ops[4]
    assert pad.attributes["padding"] == [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert (pad.weight_bytes, cut.weight_bytes) == (0, 0)
    assert cut.attributes == {"macs": 0, "dim": 1, "start": 1, "step": 1}
    assert (cat.inputs, cat.attributes["dim"]) == (("s", "c"), 1)
    conv = fuse(graph).ops[1]
    assert (conv.fused, conv.attributes["padding"]) == (("pad",), [1, 1])


def test_constants_are_folded_and_shared_parameters_are_inputs() -> None:
    graph = load(
        [
            node("Unsqueeze", ["k", "axes"], ["k2"]),
            node("Mul", ["x", "k2"], ["a"]),
            node("Shape", ["a"], ["shape"]),
            node("Constant", [], ["tail"], value_ints=[-1]),
            node("Slice", ["shape", "zero", "one"], ["head"]),
            node("Concat", ["head", "tail"], ["to"], axis=0),
            node("Reshape", ["a", "to"], ["r"]),
            node("MatMul", ["r", "w"], ["b"]),
            node("Add", ["b", "w1"], ["c"]),
            node("MatMul", ["c", "w"], ["d"]),
            node("Dropout", ["d"], ["e", "mask"]),
            node("Identity", ["e"], ["f"]),
        ],
        [tensor("x", 2, 4, 2), tensor("unread", 3)], [tensor("f", 2, 8)],
        k=weights(2), axes=np.array([0]), zero=np.array([0]), one=np.array([1]), w=weights(8, 8),
        w1=weights(1),
    )  # fmt: skip
    assert [op.kind for op in graph.ops] == ["load", "mul", "reshape", "linear", "add", "linear"]
    assert [op.weight_bytes for op in graph.ops] == [0, 2, 0, 0, 1, 0]
    assert graph.inputs == ("w",)
    assert graph.ops[3].inputs == ("r", "w")
    assert graph.tensors["w"].bytes == 64
    assert graph.outputs == ("d",)


def test_sizes_of_elements() -> None:
    made = model(
        [node("Cast", ["x"], ["y"], to=onnx.TensorProto.INT4), node("Cast", ["y"], ["z"], to=11)],
        [tensor("x", 3, 5)], [tensor("z", 3, 5, kind=11)], 21,
    )  # fmt: skip
    own = onnx_models.load(made, element_bytes=None)
    assert [t.bytes for t in own.tensors.values()] == [60, 8, 120]
    assert [t.dtype for t in own.tensors.values()] == ["float32", "int4", "float64"]
    assert [t.bytes for t in onnx_models.load(made, element_bytes=2).tensors.values()] == [30] * 3


def test_functions_are_inlined() -> None:
    body = onnx.helper.make_function(
        "own", "twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])],
        [onnx.helper.make_opsetid("", 18)],
    )  # fmt: skip
    graph = onnx.helper.make_graph(
        [node("twice", ["x"], ["y"], domain="own")], "g", [tensor("x", 2)], [tensor("y", 2)]
    )
    domains = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("own", 1)]
    made = onnx.helper.make_model(graph, opset_imports=domains, functions=[body], ir_version=9)
    found = onnx_models.load(made)
    assert [(op.kind, op.inputs) for op in found.ops] == [("load", ()), ("add", ("x",))]


def test_operators_of_others_need_declared_shapes() -> None:
    made = model(
        [node("Wavelet", ["x"], ["a"], domain="lab"), node("Relu", ["a"], ["y"])],
        [tensor("x", 4)], [tensor("y", 4)],
    )  # fmt: skip
    made.opset_import.append(onnx.helper.make_opsetid("lab", 1))
    with pytest.raises(ValueError, match=r"'a' of operator 'a' \(lab\.Wavelet\); give the model"):
        onnx_models.load(made)
    made.graph.value_info.append(tensor("a", 4))
    assert [op.kind for op in onnx_models.load(made).ops] == ["load", "wavelet", "relu"]


def test_dynamic_dimensions(tmp_path: Path) -> None:
    made = model(
        [node("MatMul", ["x", "w"], ["y"])], [tensor("x", "batch", None, 4)],
        [tensor("y", "batch", None, 3)], w=weights(4, 3),
    )  # fmt: skip
    path = tmp_path / "dynamic.onnx"
    onnx.save(made, path)
    with pytest.raises(
        ValueError, match=r"'batch' \(dimension 0 of input 'x'\), 'x.1' .*'batch': 1"
    ):
        importers.load(path)
    with pytest.raises(ValueError, match=r"'x\.1' \(dimension 1 .*dimensions=\{'x\.1': 1\}"):
        importers.load(path, dimensions={"batch": 2})
    with pytest.raises(ValueError, match=r"'rows': 3.*name no dynamic dimension"):
        importers.load(path, dimensions={"batch": 2, "x.1": 5, "rows": 3})
    with pytest.raises(ValueError, match="below 1"):
        importers.load(path, dimensions={"batch": 0, "x.1": 5})
    graph = importers.load(path, dimensions={"batch": 2, "x.1": 5})
    assert graph.name == "dynamic"
    assert graph.tensors["y"].shape == (2, 5, 3)
    assert graph.ops[1].attributes["rows"] == 10


def test_weights_outside_the_file_are_not_needed(tmp_path: Path) -> None:
    made = model(
        [node("MatMul", ["x", "w"], ["y"])], [tensor("x", 2, 300)], [tensor("y", 2, 20)],
        w=weights(300, 20),
    )  # fmt: skip
    path = tmp_path / "outside.onnx"
    onnx.save(made, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    assert importers.load(path).ops[1].weight_bytes == 6000


def test_what_cannot_be_imported(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing of the kind" * 9)
    with pytest.raises(ValueError, match="is not an ONNX model"):
        importers.load(broken)
    with pytest.raises(FileNotFoundError):
        importers.load(tmp_path / "absent.onnx")
    with pytest.raises(ValueError, match=r"checker refuses the model.*export it again"):
        load([node("Relu", ["nobody"], ["y"])], [tensor("x", 2)], [tensor("y", 2)])
    with pytest.raises(ValueError, match="shapes do not fit together"):
        load([node("Add", ["x", "z"], ["y"])], [tensor("x", 2), tensor("z", 3)], [tensor("y", 2)])
    branch = onnx.helper.make_graph([node("Neg", ["x"], ["b"])], "b", [], [tensor("b", 2)])
    with pytest.raises(ValueError, match="'pick' is If, control flow"):
        load(
            [node("If", ["c"], ["y"], name="pick", then_branch=branch, else_branch=branch)],
            [tensor("x", 2), tensor("c", kind=onnx.TensorProto.BOOL)], [tensor("y", 2)],
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"no fixed shape for 'i' of operator 'i' \(NonZero\)"):
        load(
            [node("NonZero", ["x"], ["i"]), node("Cast", ["i"], ["y"], to=1)],
            [tensor("x", 2)], [tensor("y", 1, None)],
        )  # fmt: skip


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "onnx":
            raise ImportError("No module named 'onnx'")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r'pip install "thresher\[onnx\]"'):
        importers.load("model.onnx")
