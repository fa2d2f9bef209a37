"""What `load` takes, and the common vocabulary."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from thresher.mapper import importers
from thresher.mapper.coverage import coverage
from thresher.mapper.importers import kinds
from thresher.mapper.views import Views
from thresher.models import data
from torch import nn


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that can be imported, with callables of all sorts."""
    found = ModuleType("some_networks")
    monkeypatch.setitem(sys.modules, "some_networks", found)

    class Marked(nn.Sequential):
        example_inputs = (torch.ones(2, 6),)

    layers = (nn.Linear(6, 4), nn.ReLU(), nn.Flatten(0), nn.Linear(8, 3))
    found.__dict__.update(
        pair=lambda: (nn.Sequential(*layers).eval(), (torch.ones(2, 6),)),
        alone=lambda: (nn.Sequential(*layers).eval(), torch.ones(2, 6)),
        marked=lambda: Marked(*layers),
        instance=Marked(*layers),
        nested=type(
            "Nested", (), {"pair": staticmethod(lambda: (Marked(*layers), torch.ones(2, 6)))}
        ),
        bare=lambda: nn.ReLU(),
        other=lambda: 3,
        needy=lambda x: x,
        number=3,
    )
    return found


@pytest.mark.parametrize("name", ["pair", "alone", "marked", "instance", "nested.pair"])
def test_callables(networks: ModuleType, name: str) -> None:
    graph = importers.load(f"some_networks:{name}")
    assert [(op.kind, *op.fused) for op in graph.ops] == [
        ("load",), ("linear", "relu", "reshape"), ("linear",),
    ]  # fmt: skip
    assert graph.ops[1].weight_bytes == 28
    plain = importers.load(
        f"some_networks:{name}", element_bytes=None, fuse=False, views=Views(reshape=False)
    )
    assert [op.kind for op in plain.ops] == ["load", "linear", "relu", "reshape", "linear"]
    assert plain.ops[1].weight_bytes == 112
    viewed = importers.load(f"some_networks:{name}", fuse=False)
    assert [op.kind for op in viewed.ops] == ["load", "linear", "relu", "linear"]


def test_modules_of_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import torch\n\ndef net():\n    return torch.nn.ReLU(), torch.ones(2)\n"
    (tmp_path / "my_network_here.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert [op.kind for op in importers.load("my_network_here:net").ops] == ["load", "relu"]
    assert sys.path == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("some_networks:absent", "'some_networks' has no 'absent'"),
        ("no_such_networks:absent", "no module 'no_such_networks'"),
        ("some_networks:number", "is int; expected package.module:callable"),
        ("some_networks:bare", "returned ReLU without example inputs; expected"),
        ("some_networks:other", "returned int; expected package.module:callable"),
        ("some_networks:needy", "cannot be called without arguments"),
        ("some_networks:nested.absent", "has no 'nested.absent'"),
        ("some_networks.txt", "no .json file, no .onnx file and no package.module:callable"),
    ],
)
def test_what_is_expected_is_said(networks: ModuleType, source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        importers.load(source)


def test_json_files(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    ops = [
        {"op": "load", "in": [], "out": ["x"]},
        {"op": "Conv:r0", "in": ["x"], "out": ["a"], "weight_bytes": 3},
        {"op": "relu_", "in": ["a"], "out": ["b"]},
        {"op": "Sum:r1", "in": ["a", "b"], "out": ["c"]},
        {"op": "sum", "in": ["c"], "out": ["d"]},
        {"op": "Wavelet", "in": ["d"], "out": ["e"]},
    ]
    sizes = dict.fromkeys("xabcde", 4)
    path.write_text(json.dumps({"name": "net", "tensors": sizes, "ops": ops}))
    graph = importers.load(path)
    assert [op.kind for op in graph.ops] == ["load", "conv2d", "relu", "add", "sum", "wavelet"]
    with pytest.raises(ValueError, match="dimensions are for ONNX files"):
        importers.load(path, dimensions={"batch": 1})


def test_reference_graphs_have_known_kinds_and_stay_as_they_are() -> None:
    try:
        names = sorted(data.path("graphs/light_resnet50.json").parent.glob("*.json"))
    except data.MissingData as missing:
        pytest.skip(str(missing))
    assert names
    for path in names:
        graph = importers.load(path)
        coverage(graph, []).check()
        assert len(graph.ops) == len(json.loads(path.read_text())["ops"])
        assert all(t.view is None for t in graph.tensors.values())


@pytest.mark.parametrize(
    ("torch_name", "operator", "rank", "kind"),
    [
        ("_native_batch_norm_legit_no_training", "BatchNormalization", 4, "batch_norm"),
        ("BatchNorm2d", "BatchNormalization", 4, "batch_norm"),
        ("conv2d", "Conv", 4, "conv2d"),
        ("Conv1d", "Conv", 3, "conv1d"),
        ("ConvTranspose2d", "ConvTranspose", 4, "conv_transpose2d"),
        ("relu_", "Relu", 4, "relu"),
        ("LeakyReLU", "LeakyRelu", 2, "leaky_relu"),
        ("SiLU", "Swish", 2, "silu"),
        ("hardswish", "HardSwish", 2, "hardswish"),
        ("_softmax", "Softmax", 2, "softmax"),
        ("max_pool2d_with_indices", "MaxPool", 4, "max_pool2d"),
        ("AdaptiveAvgPool2d", "GlobalAveragePool", 4, "adaptive_avg_pool2d"),
        ("stack", "Concat", 4, "cat"),
        ("view", "Flatten", 4, "reshape"),
        ("permute", "Transpose", 4, "transpose"),
        ("native_layer_norm", "LayerNormalization", 3, "layer_norm"),
        ("true_divide", "Div", 1, "div"),
        ("iadd", "Sum", 1, "add"),
        ("LocalResponseNorm", "LRN", 4, "local_response_norm"),
    ],
)
def test_one_vocabulary(torch_name: str, operator: str, rank: int, kind: str) -> None:
    assert kinds.from_torch(torch_name) == kinds.from_onnx(operator, rank) == kind
    assert kind in kinds.VOCABULARY
