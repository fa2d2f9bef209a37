"""Fusion: what becomes one operator, and the reference graphs as an independent check."""

from pathlib import Path

import pytest
import torch
from thresher.mapper import fusion, graph_json
from thresher.mapper.fixed import FixedOrder
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.importers import onnx_models
from thresher.mapper.importers.pytorch import from_torch
from thresher.mapper.problem import Memory, lower
from thresher.models import data

COUNTS = {
    "bvlc_alexnet": (22, 11),
    "vgg19": (44, 24),
    "zfnet512": (22, 11),
    "squeezenet": (65, 38),
    "inception_v1": (142, 81),
    "inception_v2": (371, 93),
    "resnet50": (176, 72),
    "shufflenet": (203, 87),
    "densenet121": (668, 242),
}
"""Operators before and after, the load apart.  Dropouts, which do nothing, are in neither: they
make 24, 46, 66 and 143 of the first, second, fourth and fifth before."""


def light(name: str) -> Graph:
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    if not (path := folder / f"light_{name}.onnx").exists():
        pytest.skip(f"{path} is not in this onnx")
    return onnx_models.load(path)


@pytest.mark.parametrize("name", COUNTS)
def test_light_models_are_the_reference_graphs(name: str) -> None:
    """The same operators on tensors of the same sizes in the same order: made by other code."""
    plain = light(name)
    fused = fusion.fuse(plain)
    assert (len(plain.ops) - 1, len(fused.ops) - 1) == COUNTS[name]
    try:
        reference = graph_json.read(data.path(f"graphs/light_{name}.json"))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    for found, wanted in zip(fused.ops, reference.ops, strict=True):
        for mine, theirs in ((found.inputs, wanted.inputs), (found.outputs, wanted.outputs)):
            sizes = [fused.tensors[t].bytes for t in mine]
            assert sizes == [reference.tensors[t].bytes for t in theirs]
        # The reference counts the shapes of reshapes as parameters, a byte a dimension.
        assert 0 <= wanted.weight_bytes - found.weight_bytes <= 5 * found.fused.count("reshape")
    memory = Memory(1 << 40)
    mine, theirs = lower(fused, memory), lower(reference, memory)
    assert mine.floor == theirs.floor
    assert FixedOrder(mine).peak == FixedOrder(theirs).peak
    macs = [sum(op.attributes.get("macs", 0) for op in graph.ops) for graph in (plain, fused)]
    assert macs[0] == macs[1] > 1e8


def test_multiplications_of_known_networks() -> None:
    """Published: ResNet-50 4.09 G, VGG-19 19.6 G, SqueezeNet 1.0 of 13 x 13 maps 0.35 G."""
    counts = {
        name: sum(op.attributes.get("macs", 0) for op in light(name).ops)
        for name in ("resnet50", "vgg19", "squeezenet")
    }
    assert counts == {"resnet50": 4_089_184_256, "vgg19": 19_632_062_464, "squeezenet": 349_151_936}


def chain(outputs: tuple[str, ...] | None = None, **extra: tuple[str, ...]) -> Graph:
    """x -> conv -> batch norm -> relu -> add (with x) -> relu, and readers in ``extra``."""
    ops = [
        Op("x", "load", (), ("x",)),
        Op("conv", "conv2d", ("x",), ("a",), 10, {"macs": 7, "padding": [1, 1], "kernel": [3, 3]}),
        Op("norm", "batch_norm", ("a",), ("b",), 4, {"macs": 0}),
        Op("relu", "relu", ("b",), ("c",)),
        Op("sum", "add", ("c", "x"), ("d",), 0, {"macs": 1}),
        Op("last", "relu", ("d",), ("e",)),
        *(Op(name, "tanh", inputs, (f"{name}.y",)) for name, inputs in extra.items()),
    ]
    names = {t for op in ops for t in op.outputs}
    return Graph("chain", [Tensor(n, 6) for n in sorted(names)], ops, (), outputs)


def kinds(graph: Graph) -> list[tuple[str, ...]]:
    return [(op.kind, *op.fused) for op in graph.ops]


def test_chain_by_hand() -> None:
    found = fusion.fuse(chain())
    assert kinds(found) == [("load",), ("conv2d", "batch_norm", "relu"), ("add", "relu")]
    conv = found.ops[1]
    assert (conv.name, conv.inputs, conv.outputs, conv.weight_bytes) == ("conv", ("x",), ("c",), 14)
    assert set(found.tensors) == {"x", "c", "e"}
    assert found.outputs == ("e",)


def test_residual_sums_add_their_multiplications() -> None:
    rules = fusion.Rules(residual=True)
    found = fusion.fuse(chain(), rules)
    assert kinds(found) == [("load",), ("conv2d", "batch_norm", "relu", "add", "relu")]
    assert found.ops[1].inputs == ("x",)
    assert found.ops[1].attributes["macs"] == 8


def test_residual_sum_comes_after_both_operands() -> None:
    """The other operand is written between: the operator moves behind it."""
    ops = [
        Op("x", "load", (), ("x",)),
        Op("first", "conv2d", ("x",), ("a",)),
        Op("pool", "max_pool2d", ("x",), ("p",)),
        Op("twice", "split", ("p",), ("q", "r")),
        Op("sum", "add", ("a", "q"), ("s",)),
        Op("last", "cat", ("s", "r"), ("t",)),
    ]
    names = {t for op in ops for t in op.outputs}
    graph = Graph("late", [Tensor(n, 4) for n in names], ops)
    found = fusion.fuse(graph, fusion.Rules(residual=True))
    assert [op.name for op in found.ops] == ["x", "pool", "twice", "first", "last"]
    assert found.ops[3].inputs == ("x", "q")


@pytest.mark.parametrize(
    ("graph", "wanted"),
    [
        (chain(other=("b",)), ("conv2d", "batch_norm")),  # read by two
        (chain(outputs=("b", "e")), ("conv2d", "batch_norm")),  # delivered
        (chain(outputs=("a", "e")), ("conv2d",)),
    ],
)
def test_what_others_need_stays(graph: Graph, wanted: tuple[str, ...]) -> None:
    assert wanted in kinds(fusion.fuse(graph))


def test_rules() -> None:
    assert kinds(fusion.fuse(chain(), fusion.NONE)) == kinds(chain())
    assert kinds(fusion.fuse(chain(), fusion.COMPUTE)) == [
        ("load",), ("conv2d", "batch_norm", "relu"), ("add",), ("relu",),
    ]  # fmt: skip
    only = fusion.Rules(frozenset({"add"}), frozenset({"relu"}))
    assert [k for k in kinds(fusion.fuse(chain(), only)) if len(k) > 1] == [("add", "relu")]


def test_refused_fusions_are_left() -> None:
    def accept(base: Op, merged: Op) -> bool:
        return not (base.kind == "conv2d" and "relu" in merged.fused)

    assert kinds(fusion.fuse(chain(), accept=accept)) == [
        ("load",), ("conv2d", "batch_norm"), ("relu",), ("add", "relu"),
    ]  # fmt: skip
    assert fusion.fuse(padded(), accept=lambda base, merged: False).ops[1].kind == "pad"


def test_strided_readers_take_transposes_and_slices() -> None:
    ops = [
        Op("x", "load", (), ("x",)),
        Op("l", "linear", ("x",), ("a",)),
        Op("first", "slice", ("a",), ("b",)),
        Op("halves", "split", ("a",), ("c", "d")),
        Op("t", "transpose", ("b",), ("e",)),
        Op("m", "matmul", ("e", "c"), ("f",)),
        Op("n", "matmul", ("f", "d"), ("g",)),
        Op("last", "slice", ("g",), ("h",)),
    ]
    sizes = {"x": 2, "a": 6, "b": 2, "c": 3, "d": 3, "e": 2, "f": 4, "g": 4, "h": 2}
    graph = Graph("strided", [Tensor(n, s) for n, s in sizes.items()], ops)
    found = fusion.fuse(graph, fusion.STRIDED)
    assert kinds(found)[2:] == [
        ("matmul", "split", "slice", "transpose"), ("matmul", "split"), ("slice",),
    ]  # fmt: skip
    assert [op.inputs for op in found.ops[2:]] == [("a",), ("f", "a"), ("g",)]
    assert set(found.tensors) == {"x", "a", "f", "g", "h"}
    assert kinds(fusion.fuse(graph)) == kinds(graph)


def test_transformer_read_in_any_order_is_the_reference_graph() -> None:
    """But for the last two normalisations, which this fuses too."""
    with torch.device("meta"):
        words = torch.randn(1, 128, 512), torch.randn(1, 128, 512)
        model = torch.nn.Transformer(batch_first=True).eval()
        graph = from_torch(model, words, fuse=fusion.STRIDED).graph
    assert sum(op.weight_bytes for op in graph.ops) == sum(p.numel() for p in model.parameters())
    try:
        reference = graph_json.read(data.path("graphs/tv_transformer.json"))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    theirs = [op for op in reference.ops if op.kind != "layer_norm"]
    assert [op.kind for op in graph.ops] == [op.kind for op in theirs]
    for mine, other in zip(graph.ops, theirs, strict=True):
        assert [graph.tensors[t].bytes for t in (*mine.inputs, *mine.outputs)] == [
            reference.tensors[t].bytes for t in (*other.inputs, *other.outputs)
        ]
    memory = Memory(1 << 40)
    mine, wanted = lower(graph, memory), lower(reference, memory)
    assert mine.floor == wanted.floor == 327_680
    assert FixedOrder(mine).peak == FixedOrder(wanted).peak == 458_752


def test_results_of_another_size_and_views_stay() -> None:
    ops = [
        Op("x", "load", (), ("x",)),
        Op("a", "linear", ("x",), ("a",)),
        Op("grow", "add", ("a",), ("b",), 8),  # broadcast against its parameters
        Op("c", "relu", ("v",), ("c",)),
    ]
    tensors = [Tensor("x", 2), Tensor("a", 2), Tensor("b", 8), Tensor("c", 8)]
    graph = Graph("grows", [*tensors, Tensor("v", 8, view="b")], ops)
    assert kinds(fusion.fuse(graph)) == kinds(graph)


def padded(**changes: object) -> Graph:
    pad = {"padding": [[0, 0], [0, 0], [1, 0], [2, 0]], "mode": "constant", "value": 0, **changes}
    ops = [
        Op("x", "load", (), ("x",)),
        Op("pad", "pad", ("x",), ("p",), 0, pad),
        Op("conv", "conv2d", ("p",), ("c",), 9, {"padding": [1, 1], "kernel": [3, 3], "macs": 5}),
    ]
    return Graph("padded", [Tensor("x", 4), Tensor("p", 9), Tensor("c", 4)], ops)


def test_pads_become_the_convolutions() -> None:
    conv = fusion.fuse(padded()).ops[1]
    assert (conv.inputs, conv.fused, conv.attributes["macs"]) == (("x",), ("pad",), 5)
    assert conv.attributes["padding"] == [2, 3, 1, 1]  # top, left, bottom, right
    same = fusion.fuse(padded(padding=[[0, 0], [0, 0], [2, 2], [1, 1]])).ops[1]
    assert same.attributes["padding"] == [3, 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 1.0},
        {"mode": "reflect"},
        {"padding": [[0, 0], [1, 0], [0, 0], [0, 0]]},
        {"padding": [[0, 0], [0, 0], [-1, 0], [0, 0]]},
        {"padding": None},
    ],
)
def test_pads_that_are_no_zeros_around_an_image_stay(changes: dict[str, object]) -> None:
    assert [op.kind for op in fusion.fuse(padded(**changes)).ops] == ["load", "pad", "conv2d"]


def test_fusion_of_what_is_fused_changes_nothing() -> None:
    once = fusion.fuse(light("shufflenet"))
    assert kinds(fusion.fuse(once)) == kinds(once)
