# amaranth: UnusedElaboratable=no
"""Whole networks: the integers of the model, in the cycles that are foreseen, whoever stalls."""

from functools import cache

import numpy as np
import pytest
from thresher.hdl.amu_network.pipeline import Pipeline
from thresher.hdl.amu_network.schedule import Arrival
from thresher.hdl.amu_network.stages import Options
from thresher.hdl.amu_network.workloads import WORKLOADS, beats, pipeline, results_of
from thresher.models.amu.convolution import MaxPool, Patches
from thresher.models.amu.examples import chain, mlp, random_convolution
from thresher.models.amu.files import save
from thresher.models.amu.layer import Format
from thresher.models.amu.network import Network, Node
from thresher.models.amu.network_config import AmuNetworkConfig
from thresher.models.amu.operations import Add, Concat, Dense, Input, Lookup
from thresher.models.amu.streamline import needed, streamline
from thresher.models.data import MissingData
from thresher.sim import stalls
from thresher.sim.beats import pack, unpack
from thresher.sim.verilator import run


def skip():
    """Two branches that wait, one behind the other, and an exact convolution: an image."""
    rng = np.random.default_rng(0)
    small = {"codebooks": 1, "levels": 2}
    signed = Format(8, signed=True)
    return Network((
        Node("x", Input((3, 5, 2))),
        Node("a", random_convolution(rng, 2, 2, output=signed, **small), (0,)),
        Node("sum", Add(Format(8), (0, 1), 1), (0, 1)),
        Node("b", random_convolution(rng, 2, 1, **small), (2,)),
        Node("both", Concat(), (2, 3)),
        Node("pairs", Patches((2, 1)), (4,)),
        Node("exact", Dense(rng.integers(-9, 9, (6, 2)), np.array([7, -7])), (5,)),
    ))  # fmt: skip


def apart():
    """Every other row: windows at the end of one are completed two rows of slots later."""
    rng = np.random.default_rng(0)
    signed = Format(8, signed=True)
    return Network((
        Node("x", Input((6, 4, 2))),
        Node("halved", MaxPool((1, 1), (2, 1)), (0,)),
        Node("a", random_convolution(rng, 2, 2, output=signed, codebooks=1, levels=2), (1,)),
        Node("sum", Add(Format(8), (0, 1), 1), (1, 2)),
    ))  # fmt: skip


NETWORKS = {
    "mlp": (mlp(0, (21, 12, 5)), 4),
    "chain": (chain(1, 6, 5, 2), 2),
    "skip": (skip(), 1),
    "apart": (apart(), 2),
}
LATE = np.arange(4093) > 1500


@cache
def made(name):
    network, lanes = NETWORKS[name]
    return Pipeline(network, lanes, Options(folds=2 * lanes))


def simulate(component, frames, **options):
    """Results [frames, *shape], and the run."""
    shapes = component.x.payload.shape(), component.y.payload.shape()
    sent = beats(frames, component.lanes)
    want = component.network(frames)
    result = run(
        component,
        {"x": pack(shapes[0], sent)},
        {"y": len(beats(want, shapes[1].length))},
        **options,
    )
    return results_of(component.network, unpack(shapes[1], result.outputs["y"])), result


def random_frames(network, count, seed=0):
    low, high = network.input.format.limits
    return np.random.default_rng(seed).integers(low, high + 1, (count, *network.input.shape))


@pytest.mark.parametrize("name", NETWORKS)
def test_results_are_the_models(name):
    component = made(name)
    for seed, kind in enumerate(("none", "random", "alternate")):
        frames = random_frames(component.network, 12, seed)
        patterns = {port: stalls.pattern(kind, port, seed) for port in ("x", "y")}
        got, result = simulate(component, frames, stalls=patterns)
        np.testing.assert_array_equal(got, component.network(frames))
        if kind == "none":
            assert result.output_cycles["y"][-1] + 1 == component.cycles(12)
            assert result.registers["waits"] == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_results_that_nobody_takes_hold_up_the_input(name):
    component = made(name)
    frames = random_frames(component.network, 60)
    got, result = simulate(component, frames, stalls={"y": LATE})
    np.testing.assert_array_equal(got, component.network(frames))
    assert result.registers["waits"] > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_late_frames_fall_in(name):
    """A frame that comes when the one before is on its way, or long gone."""
    component = made(name)
    frames = random_frames(component.network, 40)
    each = len(beats(frames[:1], component.lanes))
    begins = np.zeros(4093, bool)
    begins[np.cumsum(np.random.default_rng(0).integers(each, 3 * each, 4093 // (4 * each)))] = True
    for n in range(1, each):
        begins |= np.roll(begins, 1) & (np.arange(4093) % (n + 5) > 0)
    got, _ = simulate(component, frames, stalls={"x": begins})
    np.testing.assert_array_equal(got, component.network(frames))


def test_a_frame_takes_the_beats_of_its_pixels():
    component = made("chain")  # 6 x 5 pixels of 2 channels; strides make that 8 x 8 slots
    assert component.cycles(11) - component.cycles(10) == 8 * 8
    component = made("skip")  # 3 x 5 pixels of 2 channels, and no strides
    assert component.cycles(11) - component.cycles(10) == 3 * 5 * 2
    component = made("mlp")
    assert component.cycles(11) - component.cycles(10) == 6


def test_a_layer_has_its_own_latency_and_little_more():
    network, _ = NETWORKS["mlp"]
    component = Pipeline(network, 21)
    layers = sum(
        node.operation.layer.encoder.levels + 3 + 2  # ceil(log2 of 3 codebooks)
        for node in network.nodes[1:]
    )
    assert component.cycles(1) <= layers + 4
    assert component.cycles(1001) - component.cycles(1) == 1000


def test_queues_are_as_deep_as_they_must_be(monkeypatch):
    """One place less, and pixels are lost."""
    network, lanes = NETWORKS["skip"]
    assert made("skip").queues()["sum"][1] == made("skip").queues()["both"][1] == 0
    waiting = Arrival.waiting
    monkeypatch.setattr(Arrival, "waiting", lambda *a: max(waiting(*a) - 1, 0))
    component = Pipeline(network, lanes)
    frames = random_frames(network, 12)
    got, _ = simulate(component, frames)
    assert not np.array_equal(got, network(frames))


def test_what_no_tree_reads_is_not_computed():
    network = streamline(mlp(0, (64, 40, 5), codebooks=2)).network
    wide, narrow = network.nodes[1].operation, network.nodes[2].operation
    assert wide.layer.outputs == len(set(narrow.layer.encoder.dims.ravel()))
    assert needed(network)[0].sum() == len(set(wide.layer.encoder.dims.ravel()))


def test_files(tmp_path):
    file, other = str(tmp_path / "net.npz"), mlp(1)
    save(mlp(0), file)
    config = AmuNetworkConfig(file=file)
    assert len(config.digest) == 64
    assert AmuNetworkConfig.load(settings=[f"file={file}"]) == config
    save(other, file)
    with pytest.raises(ValueError, match=f"has the digest .* not {config.digest}: it has changed"):
        _ = config.content
    with pytest.raises(ValueError, match="it has changed; leave digest out"):
        AmuNetworkConfig.preset("default", file=file, digest=config.digest)
    with pytest.raises(ValueError, match="cannot be read"):
        AmuNetworkConfig.preset("default", file=str(tmp_path / "none.npz"))
    with pytest.raises(ValueError, match="name the file"):
        AmuNetworkConfig.preset("default", digest="0")
    row = random_frames(other, 1)
    np.testing.assert_array_equal(AmuNetworkConfig(file=file).content(row), other(row))


def test_digits(tmp_path):
    with pytest.raises(MissingData, match="28 x 28"):
        WORKLOADS["mnist"].build(AmuNetworkConfig(), 1, 0)
    layer = mlp(0, (16, 10)).nodes[1].operation.layer
    network = Network((Node("x", Input((784,), Format(8))), Node("y", Lookup(layer), (0,))))
    save(network, tmp_path / "digits.npz")
    config = AmuNetworkConfig(file=str(tmp_path / "digits.npz"))
    task = WORKLOADS["mnist"].build(config, 20, 0)
    assert 0 <= task.evaluate(task.outputs)["accuracy"] <= 1
    assert task.cycles == pipeline(config).cycles(20) == 20 * 98 + pipeline(config).cycles(1) - 98
