"""Engines as targets: cycles are the engines' own, refusals say why, the cheapest is chosen."""

import numpy as np
import pytest
from thresher.hdl.engine import engine
from thresher.mapper.engines import assign
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.targets import TARGETS, Amu, Binary, Host, Lstm, NmArray, Reram, target
from thresher.mapper.targets.base import Product, product
from thresher.models.nm import scheduler
from thresher.models.nm.config import NmConfig
from thresher.models.nm.layers import Layer
from thresher.models.reram.layer_config import ReramLayerConfig
from thresher.models.sparse_lstm.config import SparseLstmConfig


def network(**changes) -> Graph:
    """A convolution, a pooling and a linear layer; an LSTM."""
    conv = {
        "in_channels": 8, "out_channels": 16, "kernel": [3, 3], "stride": [1, 1],
        "padding": [1, 1], "dilation": [1, 1], "groups": 1, "macs": 16 * 8 * 9 * 64, **changes,
    }  # fmt: skip
    sizes = {
        "x": (1, 8, 8, 8), "c": (1, 16, 8, 8), "p": (1, 16, 4, 4), "f": (1, 256), "y": (1, 10),
        "s": (1, 5, 6), "h": (1, 5, 12),
    }  # fmt: skip
    tensors = [Tensor(n, int(np.prod(shape)), shape) for n, shape in sizes.items()]
    lstm = {"input_size": 6, "hidden_size": 12, "layers": 1, "steps": 5, "batch": 1, "macs": 4320}
    ops = [
        Op("x", "load", (), ("x",)),
        Op("c", "conv2d", ("x",), ("c",), 1152, conv, ("relu",)),
        Op("p", "max_pool2d", ("c",), ("p",)),
        Op("f", "reshape", ("p",), ("f",)),
        Op("y", "linear", ("f",), ("y",), 2560,
           {"rows": 1, "in_features": 256, "out_features": 10, "macs": 2560}),
        Op("s", "load", (), ("s",)),
        Op("h", "lstm", ("s",), ("h",), 912, lstm),
    ]  # fmt: skip
    return Graph("network", tensors, ops)


def op(graph: Graph, name: str) -> Op:
    return next(o for o in graph.ops if o.name == name)


def test_products_and_why_not() -> None:
    graph = network()
    assert product(graph, op(graph, "c")) == Product(1, 8, 8, 8, 16, 3, 1, 1)
    assert product(graph, op(graph, "y")).macs == 2560
    for changes, text in (
        ({"groups": 2}, "groups 2"), ({"kernel": [3, 1]}, "not square"),
        ({"padding": [1, 0, 1, 0]}, "not square"), ({"dilation": [2, 2]}, "dilation 2"),
    ):  # fmt: skip
        bad = network(**changes)
        for chosen in (Amu(), NmArray(), Reram()):
            assert text in chosen.supports(bad, op(bad, "c"))
            with pytest.raises(ValueError, match="does not run 'c'"):
                chosen.cost(bad, op(bad, "c"))
    bare = Graph("bare", [Tensor("x", 9), Tensor("c", 9)],
                 [Op("x", "load", (), ("x",)), Op("c", "conv2d", ("x",), ("c",))])  # fmt: skip
    assert Amu().supports(bare, bare.ops[1]) == "its shape is not known"
    assert "relu is fused into it" in NmArray().supports(graph, op(graph, "c"))
    assert "are not signs" in Binary().supports(graph, op(graph, "c"))
    assert Lstm().supports(graph, op(graph, "y")) == "linear is no LSTM"


def test_table_lookups_take_the_engine_s_cycles() -> None:
    graph, chosen = network(), Amu()
    cost = chosen.cost(graph, op(graph, "c"))
    amu = engine("amu")
    config = amu.config.preset(
        "default", codebooks=9, outputs=16, parallel_codebooks=4, parallel_outputs=8
    )
    work = amu.workloads["random"].build(config, 64, 0)
    assert cost.cycles == work.cycles
    assert (cost.macs, cost.read_bytes, cost.written_bytes) == (73728, 512, 1024)


def test_crossbars_take_the_engine_s_cycles_at_most() -> None:
    small = ReramLayerConfig.preset("small")
    graph = Graph(
        "layer",
        [Tensor("x", 128, (2, small.channels, small.height, small.width)), Tensor("y", 64)],
        [Op("x", "load", (), ("x",)),
         Op("y", "conv2d", ("x",), ("y",), 0,
            {"out_channels": small.features, "kernel": [small.kernel] * 2,
             "stride": [small.stride] * 2, "padding": [small.padding] * 2})],
    )  # fmt: skip
    reram = engine("reram")
    work = reram.workloads["random"].build(small.replace(skip="none"), 2, 0)
    cost = Reram(small.replace(skip="none")).cost(graph, graph.ops[1])
    assert cost.cycles == work.cycles


def test_the_array_takes_what_its_scheduler_says() -> None:
    graph = network()
    config = NmConfig.preset("small")
    bare = Op("c", "conv2d", ("x",), ("c",), 1152, op(graph, "c").attributes)
    cost = NmArray(config).cost(graph, bare)
    layer = Layer("c", 8, 16, 4, 8, 8, 3, 1, 1)  # four images, for one
    assert cost.cycles == np.ceil(scheduler.choose(config, layer, "forward").cost.cycles)
    assert "75% of the products are padding" in cost.note
    assert NmArray(config, sparse=False).cost(graph, bare).cycles > cost.cycles


def test_a_dense_lstm_takes_the_engine_s_cycles() -> None:
    config = SparseLstmConfig(
        lanes=12, skip_inputs=False, skip_states=False, input_size=6, hidden_size=12
    )
    lstm = engine("sparse_lstm")
    work = lstm.workloads["random"].build(config, 5, 0)
    graph = network()
    cost = Lstm(config).cost(graph, op(graph, "h"))
    # Where a sequence begins, states are 0 and not multiplied: the run knows that beforehand.
    begins = 5 * 12 - work.counters["state_passes"]
    assert cost.cycles == work.ideal_cycles + begins * config.groups
    assert Lstm(config).supports(graph, op(graph, "h")) is None


def test_binary_stages_by_hand() -> None:
    binary = network(binary=True)
    bare = Op("c", "conv2d", ("x",), ("c",), 144, op(binary, "c").attributes, ("batch_norm",))
    assert Binary(32).cost(binary, bare).cycles == 64 * 9 * 16 * 8 // 32
    assert Binary(1 << 20).cost(binary, bare).cycles == 64 * 9


def test_the_cheapest_engine_runs_it() -> None:
    graph = network()
    targets = [Amu(), Reram(), NmArray(), Lstm(), Host()]
    found = assign(graph, targets, bytes_per_cycle=8)
    assert [line.op for line in found.lines] == ["c", "p", "f", "y", "h"]
    for line in found.lines:
        costs = {
            t.name: max(c.cycles, -(-c.bytes // 8))
            for t in targets
            if t.supports(graph, op(graph, line.op)) is None
            for c in [t.cost(graph, op(graph, line.op))]
        }
        assert line.cycles == costs[line.engine] == min(costs.values())
    said = found.to_json()
    assert said["cycles"] == sum(said["engines"].values()) == found.cycles
    for point in said["roofline"]:
        assert point["roof"] == point["macs_per_byte"] * 8
    with pytest.raises(ValueError, match=r"nothing runs 'p' .* add the target 'host'"):
        assign(graph, [Amu()])


def test_targets_from_texts() -> None:
    assert target("amu:length=4,levels=5") == Amu(Amu().config.replace(levels=5), 4)
    assert target("reram:preset=forms4").config == ReramLayerConfig.preset("forms4")
    assert target("host:bytes_per_cycle=2").bytes_per_cycle == 2
    for text, message in (
        ("amuu", "did you mean amu"), ("amu:lengt=4", "did you mean length"),
        ("amu:length", "not of the form key=value"), ("nm_array:rows=0", "rows = 0 is not"),
        ("host:preset=small", "there is no setting of target host"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            target(text)
    assert set(TARGETS) >= {"amu", "nm_array", "reram", "bcnn_conv", "sparse_lstm"}
