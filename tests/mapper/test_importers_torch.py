"""Networks of PyTorch: operators one by one give what the module gives, bit for bit."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from thresher.mapper import fusion
from thresher.mapper.importers.imported import Imported
from thresher.mapper.importers.pytorch import from_torch
from thresher.mapper.views import Views
from torch import nn

F = nn.functional


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """No shortcut in the reference: it rounds differently."""
    held = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch.manual_seed(1)
    yield
    torch.backends.mha.set_fastpath_enabled(held)


def results(module: nn.Module, inputs: tuple[Any, ...]) -> list[torch.Tensor]:
    with torch.no_grad():
        copies = tuple(x.clone() if isinstance(x, torch.Tensor) else x for x in inputs)
        return torch.utils._pytree.tree_leaves(module(*copies))


def check(module: nn.Module, *inputs: Any, **options: Any) -> Imported:
    """Fused and not, with the example and with other inputs; the graph that is not fused."""
    module.eval()
    plain = from_torch(module, inputs, element_bytes=None, **options)
    fused = from_torch(module, inputs, element_bytes=None, fuse=True, views=Views(), **options)
    others = tuple(
        torch.randn_like(x) if isinstance(x, torch.Tensor) and x.is_floating_point() else x
        for x in inputs
    )
    for imported in (plain, fused):
        for given in (inputs, others):
            found = dict(zip(imported.graph.outputs, imported.run(given), strict=True))
            wanted = results(module, given)
            assert len(imported.outputs) == len(wanted)
            for name, value in zip(imported.outputs, wanted, strict=True):
                assert name is not None
                assert torch.equal(found[name], value)
                assert imported.graph.tensors[name].shape == tuple(value.shape)
    return plain


class Residual(nn.Module):
    """Convolutions, a residual sum in place, a concatenation, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, stride=1, padding="same", groups=2)
        self.branch = nn.Conv2d(8, 4, 1)
        self.last = nn.Linear(12, 5)
        self.norm.running_mean = torch.randn(8)
        self.norm.running_var = torch.rand(8) + 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.first(x)), inplace=True)
        y = self.second(F.pad(x, (1, 1, 1, 1)))[:, :, 1:-1, 1:-1].contiguous()
        y += x
        y = torch.cat([F.max_pool2d(y, 2), self.branch(F.avg_pool2d(x, 2))], 1)
        return self.last(torch.flatten(F.adaptive_avg_pool2d(y, 1), 1))


def test_convolutions_with_residual_and_concatenation() -> None:
    imported = check(Residual(), torch.randn(2, 3, 8, 8))
    ops = {op.name: op for op in imported.graph.ops}
    assert ops["conv2d"].attributes == {
        "macs": 2 * 64 * 8 * 27, "in_channels": 3, "out_channels": 8, "kernel": [3, 3],
        "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1,
    }  # fmt: skip
    assert ops["conv2d"].weight_bytes == 4 * 8 * 27
    assert ops["conv2d_1"].attributes["padding"] == [1, 1]
    assert ops["conv2d_1"].attributes["macs"] == 2 * 100 * 8 * 4 * 9
    assert ops["cat"].attributes["dim"] == 1
    assert ops["pad"].attributes["padding"] == [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert ops["max_pool2d"].attributes["stride"] == [2, 2]
    linear = ops["linear"]
    assert (linear.kind, linear.weight_bytes) == ("linear", 4 * (5 * 12 + 5))
    assert linear.attributes == {
        "macs": 2 * 60, "rows": 2, "in_features": 12, "out_features": 5,
    }  # fmt: skip
    assert [op.kind for op in imported.graph.ops][:4] == ["load", "conv2d", "batch_norm", "relu"]
    assert imported.graph.tensors["conv2d"].bytes == 4 * 2 * 8 * 64
    fused = fusion.fuse(imported.graph)
    padded = next(op for op in fused.ops if op.name == "conv2d_1")
    assert padded.attributes["padding"] == [2, 2]
    assert padded.fused[0] == "pad"


def test_bytes_of_elements() -> None:
    model = nn.Linear(6, 3).eval()
    own = from_torch(model, torch.randn(2, 6), element_bytes=None).graph
    one = from_torch(model, torch.randn(2, 6)).graph
    assert (own.tensors["linear"].bytes, own.ops[1].weight_bytes) == (24, 4 * 21)
    assert own.tensors["linear"].dtype == "float32"
    assert (one.tensors["linear"].bytes, one.ops[1].weight_bytes) == (6, 21)
    assert one.tensors["linear"].dtype == "int8"
    with pytest.raises(ValueError, match="element_bytes is 0"):
        from_torch(model, torch.randn(2, 6), element_bytes=0)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, **options: Any) -> None:
        super().__init__()
        self.layer = kind(6, 5, num_layers=2, bidirectional=True, **options)

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_layers(kind: type[nn.RNNBase], batch_first: bool) -> None:
    shape = (2, 7, 6) if batch_first else (7, 2, 6)
    graph = check(Recurrent(kind, batch_first=batch_first), torch.randn(*shape)).graph
    op = graph.ops[1]
    gates = 4 if kind is nn.LSTM else 3
    macs = 14 * 2 * gates * 5 * ((6 + 5) + (10 + 5))
    assert op.kind == kind.__name__.lower()
    assert op.attributes == {
        "macs": macs, "input_size": 6, "hidden_size": 5, "layers": 2, "bidirectional": True,
        "steps": 7, "batch": 2,
    }  # fmt: skip
    assert len(op.outputs) == (3 if kind is nn.LSTM else 2)
    parameters = sum(p.numel() for p in kind(6, 5, num_layers=2, bidirectional=True).parameters())
    states = (2 if kind is nn.LSTM else 1) * 4 * 2 * 5  # zeros to begin with
    assert op.weight_bytes + sum(graph.tensors[t].bytes for t in graph.inputs) in (
        4 * (parameters + states),
        4 * (parameters + states // 2),  # one tensor of zeros for both
    )


def test_lstm_with_projection_counts_its_products() -> None:
    graph = check(Recurrent(nn.LSTM, proj_size=3), torch.randn(4, 2, 6)).graph
    layers = [2 * (4 * 5 * (width + 3) + 5 * 3) for width in (6, 6)]
    assert graph.ops[1].attributes["macs"] == 8 * sum(layers)


@pytest.mark.parametrize("first", [False, True])
def test_transformer_encoder_layer(first: bool) -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=first)
    graph = check(layer, torch.randn(2, 5, 16)).graph
    attention = next(op for op in graph.ops if op.kind == "scaled_dot_product_attention")
    assert attention.attributes == {
        "macs": 2 * 4 * 5 * 5 * 8, "batch": 2, "heads": 4, "queries": 5, "keys": 5,
        "head_size": 4, "causal": False,
    }  # fmt: skip
    assert sum(op.kind == "linear" for op in graph.ops) == 4
    parameters = sum(p.numel() for p in layer.parameters())
    assert sum(op.weight_bytes for op in graph.ops) == 4 * parameters


class Several(nn.Module):
    """Two inputs, several results, multi-output operators, a constant, x * x."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.randn(8))
        self.weight = nn.Parameter(torch.randn(8, 4))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        a, b, _ = (x * x + self.scale).chunk(3, 1)
        top, where = y.max(1)
        c = torch.stack([a, b]).sum(0)
        low, high = torch.split(y, [2, 6], 1)
        return {"c": c, "top": top}, where, (x, y @ self.weight + torch.arange(4.0)), low, high, c


def test_several_inputs_and_results() -> None:
    imported = check(Several(), torch.randn(3, 8), torch.randn(4, 8))
    graph = imported.graph
    kinds = [op.kind for op in graph.ops]
    assert kinds.count("load") == 2
    square = next(op for op in graph.ops if op.kind == "pow")
    assert (square.name, square.inputs, square.attributes["exponent"]) == ("mul", ("x",), 2)
    split = next(op for op in graph.ops if op.kind == "split")
    # Chunks of 3, 3 and 2: the last is not read.
    assert (len(split.outputs), split.attributes["starts"]) == (2, [0, 3])
    product = next(op for op in graph.ops if op.kind == "linear")
    assert (product.weight_bytes, product.attributes["rows"]) == (4 * 32, 4)
    # The input that is a result too is copied, and one result is there twice.
    assert imported.outputs.count(imported.outputs[0]) == 2
    assert next(op for op in graph.ops if op.kind == "identity").inputs == ("x",)


class Shared(nn.Module):
    """A layer twice, and an embedding whose weight is the last layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.layer = nn.Linear(6, 6)
        self.last = nn.Linear(6, 11, bias=False)
        self.last.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.layer(self.layer(self.embedding(x))))


def test_shared_parameters_are_inputs_that_all_read() -> None:
    imported = check(Shared(), torch.randint(11, (2, 3)))
    graph = imported.graph
    assert sorted(graph.tensors[t].bytes for t in graph.inputs) == [24, 4 * 36, 4 * 66]
    assert set(imported.state) == set(graph.inputs)
    assert all(op.weight_bytes == 0 for op in graph.ops)
    embedding = next(op for op in graph.ops if op.kind == "embedding")
    last = graph.ops[-1]
    assert len(set(embedding.inputs) & set(last.inputs)) == 1
    # What is passed for a parameter is what is used.
    values = [
        torch.zeros_like(imported.state[t]) if t in imported.state else torch.ones(2, 3, 6)
        for t in last.inputs
    ]
    assert not imported.compute(last.name, values)[0].any()


class Transposed(nn.Module):
    """One parameter in two layouts, and parameters that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(5, 4))
        self.g = nn.Parameter(torch.randn(5, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = (x @ self.w) @ self.w.t()
        return F.linear(y, (self.g * self.w / self.w.norm()).T)


def test_parameters_in_two_layouts_are_one() -> None:
    graph = check(Transposed(), torch.randn(3, 5)).graph
    assert [graph.tensors[t].bytes for t in graph.inputs] == [80]


def test_overwritten_views_and_slices() -> None:
    class Overwrites(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x * 2
            y[:, 1:3] += 1
            z = y.view(-1)
            z.mul_(3)
            return y + z.view_as(y)

    check(Overwrites(), torch.randn(2, 4))


def test_products_of_computed_factors() -> None:
    class Products(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
            z = torch.einsum("bik,bkj->bij", x, y)
            return z, torch.einsum("...i, ...j -> ij", x[0], z[0]), x @ y, F.linear(x[0], y[0].T)

    graph = check(Products(), torch.randn(2, 3, 4), torch.randn(2, 4, 5)).graph
    assert [op.attributes["macs"] for op in graph.ops if op.kind == "einsum"] == [120, 3 * 20]
    found = [op.attributes for op in graph.ops if op.kind == "matmul"]
    assert [a["macs"] for a in found] == [120, 60]
    assert [(a["batch"], a["rows"], a["in_features"], a["out_features"]) for a in found] == [
        (2, 3, 4, 5), (1, 3, 4, 5),
    ]  # fmt: skip


def test_gates() -> None:
    class Gates(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            y = torch.sigmoid(x + 1)
            return torch.sigmoid(x) * x, y * (x + 1), y, x * torch.sigmoid(2 * x)

    graph = check(Gates(), torch.randn(4, 5)).graph
    kinds = [op.kind for op in graph.ops]
    assert kinds.count("silu") == 1  # the second one's gate is a result, the last is another's
    assert kinds.count("sigmoid") == 2
    assert next(op for op in graph.ops if op.kind == "silu").inputs == ("x",)


def test_expanded_and_overlapping_operands() -> None:
    class Overlaps(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return x.expand(3, -1).cumsum(0), x.unfold(1, 3, 1).sum(-1), x[:, None].mT @ x

    check(Overlaps(), torch.randn(1, 7))


def test_cells() -> None:
    class Cells(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.gru = nn.LSTMCell(4, 5), nn.GRUCell(5, 3)

        def forward(self, x: torch.Tensor, h: torch.Tensor) -> Any:
            a, b = self.lstm(x)
            return self.gru(a, h), b

    for module in (Cells(), torch.fx.symbolic_trace(Cells())):
        graph = check(module, torch.randn(2, 4), torch.randn(2, 3)).graph
        macs = {op.kind: op.attributes.get("macs") for op in graph.ops}
        assert (macs["lstm_cell"], macs["gru_cell"]) == (2 * 4 * 5 * 9, 2 * 3 * 3 * 8)


def test_other_convolutions_and_pools() -> None:
    class Others(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Conv1d(4, 6, 4, padding="same", dilation=1)
            self.up = nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=1, groups=1)
            self.deep = nn.Conv3d(2, 4, (1, 3, 3), padding=(0, 1, 1))

        def forward(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Any:
            pooled, where = F.max_pool2d(y, 3, 2, 1, return_indices=True)
            return (
                F.relu6(self.line(x)),
                F.hardswish(self.up(y)),
                F.silu(self.deep(z)),
                pooled,
                where,
            )

    graph = check(
        Others(), torch.randn(1, 4, 9), torch.randn(1, 3, 6, 6), torch.randn(1, 2, 3, 4, 4)
    ).graph
    ops = {op.kind: op for op in graph.ops}
    assert ops["conv1d"].attributes["padding"] == [1, 2]
    assert ops["conv1d"].attributes["macs"] == 9 * 6 * 16
    assert ops["conv_transpose2d"].attributes["macs"] == 36 * 3 * 4 * 9
    assert ops["conv_transpose2d"].attributes["in_channels"] == 3
    assert ops["conv3d"].attributes["padding"] == [0, 1, 1]
    assert len(ops["max_pool2d"].outputs) == 2
    assert {"relu6", "hardswish", "silu"} <= ops.keys()


class Modules(nn.Module):
    """As torch.fx traces it: whole modules, in-place sums, lists of parts."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )  # fmt: skip
        self.twice = nn.Linear(6, 6)
        self.lstm = nn.LSTM(6, 5)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.body(x)
        y = x.view(x.size(0), 4, -1)[:, :, :6]
        a, b = self.twice(self.twice(y)).chunk(2, dim=1)
        out, (h, _) = self.lstm(torch.cat((a, b), 0))
        y = out + 1
        y += h
        return y, torch.cat(x.chunk(2, 1)[::-1], dim=1)


def test_symbolic_traces() -> None:
    model = Modules().eval()
    graph = fx_graph(model, torch.randn(2, 3, 8, 8))
    kinds = [op.kind for op in graph.ops]
    assert kinds[:5] == ["load", "conv2d", "batch_norm", "relu", "max_pool2d"]
    ops = {op.kind: op for op in graph.ops}
    assert ops["conv2d"].attributes["macs"] == 2 * 36 * 4 * 27
    assert ops["conv2d"].weight_bytes == 4 * 108
    assert ops["max_pool2d"].attributes["kernel"] == [2, 2]
    assert ops["lstm"].attributes["macs"] == 4 * 2 * 4 * 5 * 11
    assert sorted(graph.tensors[t].bytes for t in graph.inputs) == [24, 144]


def fx_graph(model: nn.Module, *inputs: torch.Tensor) -> Any:
    """By a symbolic trace, checked."""
    return check(torch.fx.symbolic_trace(model), *inputs).graph


def test_where_export_fails_a_symbolic_trace_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **options: Any) -> Any:
        raise RuntimeError("cannot\nat all")

    class Nested(nn.Module):
        """Has a module of torch.nn that is no operator."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(self.layer.linear1(x)).expand(3, -1, -1).transpose(1, 2) + 1

    monkeypatch.setattr(torch.export, "export", fails)
    with pytest.warns(UserWarning, match="traced by torch.fx, as .* failed: RuntimeError: cannot$"):
        graph = check(Nested(), torch.randn(1, 3, 8)).graph
    assert [op.kind for op in graph.ops] == [
        "load", "linear", "relu", "expand", "transpose", "add",
    ]  # fmt: skip


def test_fallback_says_what_it_cannot() -> None:
    class Refused(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.sum() > 0:
                return x
            return -x

    with pytest.raises(ValueError, match=r"Refused: torch\.export cannot follow .*torch\.fx"):
        from_torch(Refused(), torch.randn(3))

    class Old(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x + 1
            z = y.view(-1)
            y.mul_(2)
            return z + 1

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count.add_(x)
            return self.count * 2

    with pytest.raises(ValueError, match="'add_' overwrites 'count', which the module keeps"):
        from_torch(torch.fx.symbolic_trace(Counts()), torch.randn(3))
    imported = from_torch(Counts(), torch.ones(3))
    # Exported, the new count is delivered, too, and not among the results.
    assert (len(imported.outputs), len(imported.graph.outputs)) == (1, 2)
    assert torch.equal(imported.run()[0], 2 * torch.ones(3))
    with pytest.raises(ValueError, match=r"'mul_' overwrites .*which 'add_1' reads after it"):
        from_torch(torch.fx.symbolic_trace(Old()), torch.randn(3))


def test_exported_programs_and_their_modules() -> None:
    inputs = (torch.randn(2, 3, 8, 8),)
    model = Residual().eval()
    program = torch.export.export(model, inputs)
    for source, given in ((program, ()), (program.module(), inputs)):
        imported = from_torch(source, given, element_bytes=None)
        assert torch.equal(imported.run()[0], results(model, inputs)[0])


def test_weights_without_content() -> None:
    with torch.device("meta"):
        model = Residual().eval()
        graph = from_torch(model, torch.randn(1, 3, 8, 8)).graph
    assert sum(op.weight_bytes for op in graph.ops) == 8 * 27 + 4 * 8 + 8 * 36 + 8 + 36 + 65
    assert not graph.inputs


def test_bad_modules() -> None:
    with pytest.raises(ValueError, match=r"norm \(BatchNorm2d\) is in training mode; call .eval"):
        from_torch(Residual(), torch.randn(1, 3, 8, 8))
    batch = torch.export.Dim("batch", min=2, max=8)
    program = torch.export.export(
        Residual().eval(), (torch.randn(2, 3, 8, 8),), dynamic_shapes={"x": {0: batch}}
    )
    with pytest.raises(ValueError, match=r"dimension 0 of 'x' is dynamic .*without dynamic_shapes"):
        from_torch(program)

    class Drops(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.dropout(x, 0.5)

    with pytest.raises(ValueError, match="runs as in training"):
        from_torch(Drops().eval(), torch.randn(3))

    class Empty(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x[:0] * 2, x[:0]])

    with pytest.raises(ValueError, match="no elements"):
        from_torch(Empty(), torch.randn(3))


def test_compute_refuses_wrong_inputs() -> None:
    imported = from_torch(nn.Linear(6, 3).eval(), torch.randn(2, 6))
    with pytest.raises(ValueError, match="no operator 'conv'"):
        imported.compute("conv", [])
    with pytest.raises(ValueError, match="has 1 inputs; 2 were given"):
        imported.compute("linear", [torch.ones(2, 6)] * 2)
    with pytest.raises(ValueError, match=r"'input' is \[2, 6\] of torch.float32; \[6, 2\]"):
        imported.compute("linear", [torch.ones(6, 2)])
