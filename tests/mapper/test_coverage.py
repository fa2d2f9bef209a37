"""Where operators run."""

import io
import json

import pytest
from rich.console import Console
from thresher.mapper.coverage import HOST_KINDS, coverage, fuse_for
from thresher.mapper.graph import Graph, Op, Tensor


class Only:
    """Takes one kind, up to so many inputs' bytes."""

    def __init__(self, name: str, kind: str, most: int = 100) -> None:
        self.name = name
        self.kind = kind
        self.most = most

    def supports(self, graph: Graph, op: Op) -> str | None:
        if op.kind != self.kind:
            return f"computes {self.kind} alone"
        size = sum(graph.tensors[t].bytes for t in op.inputs)
        return None if size <= self.most else f"{size} bytes are more than {self.most}"


def network() -> Graph:
    ops = [
        Op("x", "load", (), ("x",)),
        Op("c1", "conv2d", ("x",), ("a",), 5, {"macs": 60}, ("relu",)),
        Op("c2", "conv2d", ("a",), ("b",), 5, {"macs": 30}),
        Op("l", "linear", ("b",), ("c",), 7, {"macs": 10}),
        Op("s", "softmax", ("c",), ("d",)),
    ]
    sizes = {"x": 10, "a": 200, "b": 10, "c": 10, "d": 10}
    return Graph("network", [Tensor(n, s) for n, s in sizes.items()], ops)


def test_places_shares_and_reasons() -> None:
    found = coverage(network(), [Only("array", "conv2d"), Only("big", "conv2d", 900)])
    assert [line.runs for line in found.lines] == ["memory", "array", "big", "host", "host"]
    assert found.lines[1].engines == ("array", "big")
    assert found.lines[2].reasons == {"array": "200 bytes are more than 100"}
    shares = found.shares
    assert list(shares) == ["array", "big", "host"]
    assert (shares["array"].macs, shares["array"].bytes, shares["array"].operators) == (60, 215, 1)
    assert (shares["host"].macs, shares["host"].bytes) == (10, 27 + 20)
    assert shares["array"].of_macs == pytest.approx(0.6)
    assert sum(s.of_bytes for s in shares.values()) == pytest.approx(1)
    assert sum(s.of_operators for s in shares.values()) == pytest.approx(1)
    found.check()
    with pytest.raises(ValueError, match=r"no engine takes 'l' \(linear; array: computes conv2d"):
        found.check(allow_host=False)


def test_unknown_operators_are_named_with_a_way_out() -> None:
    graph = Graph(
        "odd",
        [Tensor("x", 1), Tensor("y", 1), Tensor("z", 1)],
        [
            Op("x", "load", (), ("x",)),
            Op("odd1", "wavelet", ("x",), ("y",)),
            Op("odd2", "relu", ("y",), ("z",), fused=("fourier",)),
        ],
    )
    found = coverage(graph, [])
    assert [line.runs for line in found.lines] == ["memory", "unknown", "unknown"]
    with pytest.raises(ValueError, match=r"'odd1' \(wavelet\), 'odd2' \(relu \+ fourier\)"):
        found.check()
    coverage(graph, [], host=HOST_KINDS | {"wavelet", "fourier"}).check()
    coverage(graph, [Only("w", "wavelet"), Only("r", "relu")]).check(allow_host=False)
    odd = [Op(f"o{i}", "odd", ("x",), (f"y{i}",)) for i in range(12)]
    tensors = [Tensor("x", 1), *(Tensor(f"y{i}", 1) for i in range(12))]
    many = Graph("many", tensors, [Op("x", "load", (), ("x",)), *odd])
    with pytest.raises(ValueError, match="and 4 more"):
        coverage(many, []).check()


class Bare(Only):
    """Takes no operator with others fused into it, but for activations."""

    def supports(self, graph: Graph, op: Op) -> str | None:
        if set(op.fused) - {"relu"}:
            return f"computes no {op.fused}"
        return super().supports(graph, op)


def test_fusion_keeps_operators_on_their_engines() -> None:
    ops = [
        Op("x", "load", (), ("x",)),
        Op("c", "conv2d", ("x",), ("a",)),
        Op("r", "relu", ("a",), ("b",)),
        Op("n", "local_response_norm", ("b",), ("c",)),
        Op("p", "max_pool2d", ("c",), ("d",)),
        Op("m", "softmax", ("d",), ("e",)),
    ]
    graph = Graph("lrn", [Tensor(n, 4) for n in "xabcde"], ops)
    found = fuse_for(graph, [Bare("array", "conv2d")])
    assert [(op.kind, *op.fused) for op in found.ops[1:]] == [
        ("conv2d", "relu"), ("local_response_norm",), ("max_pool2d", "softmax"),
    ]  # fmt: skip
    places = coverage(found, [Bare("array", "conv2d")]).lines
    assert [line.runs for line in places] == ["memory", "array", "host", "host"]


def test_as_json_and_as_a_table() -> None:
    found = coverage(network(), [Only("array", "conv2d")])
    data = json.loads(json.dumps(found.to_json()))
    assert data["shares"]["array"]["macs"] == 60
    assert data["operators"][2]["reasons"] == {"array": "200 bytes are more than 100"}
    text = io.StringIO()
    Console(file=text, width=160).print(found)
    assert "array" in text.getvalue()
    assert "1 × array: 200 bytes are more than 100" in text.getvalue()
    assert "conv2d 1, linear 1, softmax 1" in text.getvalue()


def test_names_of_targets() -> None:
    with pytest.raises(ValueError, match="'host', as another place"):
        coverage(network(), [Only("host", "conv2d")])
    with pytest.raises(ValueError, match="'a', as another place"):
        coverage(network(), [Only("a", "conv2d"), Only("a", "linear")])
