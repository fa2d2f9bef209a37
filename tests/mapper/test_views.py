"""Views: operators run on bytes at planned places give what PyTorch gives, in any legal order."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from thresher.mapper.fusion import STRIDED, fuse
from thresher.mapper.graph import LOAD, Graph, Op, Tensor
from thresher.mapper.importers.imported import Imported
from thresher.mapper.importers.pytorch import from_torch
from thresher.mapper.views import Views, apply
from torch import nn

F = nn.functional
ALL = Views(reshape=True, in_place=True, concatenate=True)


def in_memory(imported: Imported, order: list[int]) -> dict[str, torch.Tensor]:
    """Every tensor that owns bytes in an array of its own; views within it.  Tensors that are
    read are taken from the bytes, and nothing else."""
    graph = imported.graph
    memory = {
        t.name: np.full(t.bytes, 0xA5, np.uint8) for t in graph.tensors.values() if not t.view
    }

    def bytes_of(name: str) -> np.ndarray:
        root, offset = graph.root(name)
        return memory[root][offset : offset + graph.tensors[name].bytes]

    def read(name: str) -> torch.Tensor:
        tensor = graph.tensors[name]
        flat = torch.from_numpy(bytes_of(name).copy()).view(getattr(torch, tensor.dtype))
        return flat.reshape(tensor.shape)

    def write(name: str, value: torch.Tensor) -> None:
        bytes_of(name)[:] = value.contiguous().reshape(-1).view(torch.uint8).numpy()

    for name, value in imported.state.items():
        write(name, value.detach())
    for place in order:
        op = graph.ops[place]
        values = imported.compute(op.name, [read(t) for t in op.inputs])
        for name, value in zip(op.outputs, values, strict=True):
            write(name, value)
    return {t: read(t) for t in graph.outputs}


def some_order(graph: Graph, rng: random.Random) -> list[int]:
    """A random one that keeps what must come before what."""
    left = set(range(len(graph.ops)))
    order: list[int] = []
    while left:
        ready = [i for i in sorted(left) if not graph.predecessors[i] & left]
        order.append(rng.choice(ready))
        left.remove(order[-1])
    return order


def check(module: nn.Module, inputs: tuple[torch.Tensor, ...], seed: int = 0) -> Imported:
    """All kinds of views, fused and not, in some orders; the graph with all views."""
    rng = random.Random(seed)
    with torch.no_grad():
        wanted = torch.utils._pytree.tree_leaves(module.eval()(*inputs))
    plain = from_torch(module, inputs, element_bytes=None)
    last = plain
    residual = replace(STRIDED, residual=True)
    for base in (plain.graph, fuse(plain.graph), fuse(plain.graph, residual)):
        for bits in range(8):
            views = Views(bool(bits & 1), bool(bits & 2), bool(bits & 4))
            imported = plain.of(views(base))
            for name in imported.graph.outputs:  # what is delivered is it alone
                root, _ = imported.graph.root(name)
                assert imported.graph.tensors[root].bytes == base.tensors[name].bytes
            for order in (list(range(len(imported.graph.ops))), some_order(imported.graph, rng)):
                found = in_memory(imported, order)
                for name, value in zip(imported.outputs, wanted, strict=True):
                    assert name is not None
                    assert torch.equal(found[name], value), (views, name)
            last = imported if base is plain.graph and views == ALL else last
    return last


class Wild(nn.Module):
    """A random network of what views are about."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        rng = random.Random(self.seed)
        values = [x, x * 1.5, y + 0.5]
        for _ in range(rng.randrange(8, 24)):
            a = rng.choice(values[-6:])
            match rng.choice([0, 1, 2, 2, 2, 3, 4, 5, 6, 7]):
                case 0:
                    values.append(F.relu(a))
                case 1:
                    others = [v for v in values if v.shape == a.shape]
                    values.append(a + rng.choice(others))
                case 2:
                    others = [v for v in values if v.shape[2:] == a.shape[2:]]
                    values.append(torch.cat([a, *rng.sample(others, min(2, len(others)))], 1))
                case 3:
                    values += a.chunk(2, 1)
                case 4:
                    values.append(a[:, 1:] if a.shape[1] > 1 else a * 2)
                case 5:
                    values.append(a.reshape(1, -1, 2).reshape(1, -1, 2, 2))
                case 6:
                    values.append(a.transpose(2, 3))
                case _:
                    values.append(a * torch.tanh(a))
        return (rng.choice(values), values[-1])


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_in_memory(seed: int) -> None:
    torch.manual_seed(seed)
    check(Wild(seed), (torch.randn(1, 4, 2, 2), torch.randn(1, 2, 2, 2)), seed)


class Dense(nn.Module):
    """Concatenations of concatenations, as in DenseNet; then a split."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(4 + 2 * i, 2, 3, padding=1) for i in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + 1
        for layer in self.layers:
            x = torch.cat([x, F.relu(layer(x))], 1)
        a, b = x.chunk(2, 1)
        return (a * b).flatten(1)


def test_nested_concatenations_share_one_piece_of_memory() -> None:
    imported = check(Dense(), (torch.randn(1, 4, 5, 5),))
    kinds = [op.kind for op in imported.graph.ops]
    assert not {"cat", "reshape", "split"} & set(kinds)
    whole = "cat_2"
    offsets = {
        t.name: imported.graph.root(t.name)[1]
        for t in imported.graph.tensors.values()
        if imported.graph.root(t.name)[0] == whole
    }
    assert offsets["cat_1"] == offsets["cat"] == offsets["add"] == 0
    assert (offsets["relu"], offsets["relu_1"], offsets["relu_2"]) == (400, 600, 800)
    assert (offsets["split.0"], offsets["split.1"]) == (0, 500)


def test_attention_that_reads_slices_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mha, "get_fastpath_enabled", lambda: False)
    layer = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
    imported = check(layer, (torch.randn(2, 3, 8),))
    strided = imported.of(fuse(from_torch(layer, torch.randn(2, 3, 8)).graph, STRIDED))
    assert [op.kind for op in strided.graph.ops] == [
        "load", "linear", "scaled_dot_product_attention", "linear", "add", "linear", "linear",
        "add",
    ]  # fmt: skip


def test_larger_batches_are_copied() -> None:
    imported = check(Dense(), (torch.randn(2, 4, 5, 5),))
    kinds = [op.kind for op in imported.graph.ops]
    assert kinds.count("cat") == 3
    assert kinds.count("split") == 1


def small(*ops: Op, outputs: tuple[str, ...] | None = None, **shapes: tuple[int, ...]) -> Graph:
    tensors = [Tensor(n, int(np.prod(shape)), shape) for n, shape in shapes.items()]
    loads = [Op(f"load_{n}", LOAD, (), (n,)) for n in shapes if n in ("x", "y")]
    return Graph("small", tensors, [*loads, *ops], (), outputs)


A, B, C = (1, 2), (1, 3), (1, 5)


def joined(*extra: Op, parts: tuple[str, ...] = ("a", "b"), **more: Any) -> Graph:
    """Two results and their concatenation."""
    outputs = more.pop("outputs", None)
    shapes = {"x": A, "y": B, "a": A, "b": B, "c": more.pop("c", C), **more}
    return small(
        Op("a", "relu", ("x",), ("a",)), Op("b", "tanh", ("y",), ("b",)), *extra,
        Op("c", "cat", parts, ("c",), 0, {"dim": 1}), outputs=outputs, **shapes,
    )  # fmt: skip


def views_of(graph: Graph, **rules: bool) -> dict[str, tuple[str, int]]:
    found = apply(graph, **rules)
    return {t.name: (t.view, t.offset) for t in found.tensors.values() if t.view is not None}


def test_concatenation_in_place_by_hand() -> None:
    found = apply(joined(), concatenate=True)
    assert [op.name for op in found.ops] == ["load_x", "load_y", "a", "b"]
    assert (found.tensors["a"].view, found.tensors["b"].offset) == ("c", 2)
    assert found.outputs == ("c",)
    # A part that others read stays legal.
    assert views_of(joined(Op("d", "tanh", ("a",), ("d",)), d=A), concatenate=True)


@pytest.mark.parametrize(
    "graph",
    [
        joined(parts=("x", "b")),  # an input
        joined(outputs=("c", "a")),  # a part is delivered by itself
        joined(parts=("a",), c=(1, 4)),  # what reads a tensor twice names it once
        joined(Op("d", "cat", ("a", "b"), ("d",), 0, {"dim": 0}), d=(9, 1), c=(1, 6)),
    ],
    ids=["input", "output", "twice", "sizes"],
)
def test_parts_that_must_be_copied(graph: Graph) -> None:
    assert "c" in {op.name for op in apply(graph, concatenate=True).ops}


def test_a_part_of_two_concatenations_lies_in_the_larger() -> None:
    more = Op("d", "cat", ("a", "b", "e"), ("d",), 0, {"dim": 1})
    graph = joined(Op("e", "relu", ("b",), ("e",)), more, d=(1, 8), e=B)
    found = apply(graph, concatenate=True)
    assert {op.name for op in found.ops} >= {"c"}
    assert "d" not in {op.name for op in found.ops}
    assert found.root("e") == ("d", 5)


def test_fused_concatenations_compute_and_stay() -> None:
    graph = small(
        Op("a", "relu", ("x",), ("a",)), Op("b", "tanh", ("y",), ("b",)),
        Op("c", "cat", ("a", "b"), ("c",), 0, {"dim": 1}, ("relu",)), x=A, y=B, a=A, b=B, c=C,
    )  # fmt: skip
    assert not views_of(graph, concatenate=True)


def test_in_place_by_hand() -> None:
    graph = small(
        Op("a", "conv2d", ("x",), ("a",)), Op("b", "relu", ("a",), ("b",)),
        Op("c", "add", ("a", "b"), ("c",)), Op("d", "sub", ("c", "y"), ("d",)),
        x=A, y=A, a=A, b=A, c=A, d=A,
    )  # fmt: skip
    # b may not overwrite a, which c reads; c may; d not y, an input.
    assert views_of(graph, in_place=True) == {"c": ("a", 0), "d": ("c", 0)}
    assert not views_of(graph)


def test_in_place_leaves_outputs_and_what_reads_otherwise() -> None:
    graph = small(
        Op("a", "conv2d", ("x",), ("a",)), Op("b", "relu", ("a",), ("b",)),
        Op("t", "transpose", ("b",), ("t",)), Op("r", "reshape", ("b",), ("r",)),
        Op("m", "mul", ("b", "r"), ("m",)),
        outputs=("a", "m", "t"), x=(2, 2), a=(2, 2), b=(2, 2), t=(2, 2), r=(4,), m=(2, 2),
    )  # fmt: skip
    assert views_of(graph, in_place=True) == {"r": ("b", 0)}


def test_reshapes_of_inputs() -> None:
    shapes = {"x": (2, 3), "r": (6,), "a": (6,)}
    read = small(Op("r", "reshape", ("x",), ("r",)), Op("a", "relu", ("r",), ("a",)), **shapes)
    assert views_of(read) == {"r": ("x", 0)}
    assert [op.name for op in apply(read).ops] == ["load_x", "a"]
    # What lies off chip already would not be written again: the copy stays.
    given = small(Op("r", "reshape", ("x",), ("r",)), x=(2, 3), r=(6,))
    assert not views_of(given)
    assert views_of(read, reshape=False) == {}


def test_slices() -> None:
    def cut(dim: int, start: int, shape: tuple[int, ...], step: int = 1) -> dict[str, Any]:
        return views_of(
            small(
                Op("s", "slice", ("x",), ("s",), 0, {"dim": dim, "start": start, "step": step}),
                Op("a", "relu", ("s",), ("a",)), x=(1, 6, 4), s=shape, a=shape,
            ),
            concatenate=True,
        )  # fmt: skip

    assert cut(1, 2, (1, 3, 4)) == {"s": ("x", 8)}
    assert cut(2, 1, (1, 6, 2)) == {}
    assert cut(1, 0, (1, 3, 4), step=2) == {}


def test_graphs_of_sizes_alone_stay() -> None:
    tensors = [Tensor(n, 4) for n in "xab"]
    ops = [Op("x", LOAD, (), ("x",)), Op("a", "conv", ("x",), ("a",))]
    graph = Graph("sizes", tensors, [*ops, Op("b", "relu", ("a",), ("b",))])
    assert not views_of(graph, in_place=True, concatenate=True)
